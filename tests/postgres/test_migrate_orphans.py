"""Rows that refer to nothing: SQLite lets them be, and the preflight tells of them before anything is touched."""

from __future__ import annotations

import pytest

import dbtasks
from dbtasks.errors import Refused, TargetUnreachable
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

ORPHANS = "INSERT INTO orders (id, customer_id) VALUES (20, 99), (21, 2), (22, 98)"


def test_rows_that_refer_to_nothing_are_counted_in_the_preflight(move: Move) -> None:
    made(move.path, ORPHANS)
    shown = move.invoke("--dry-run", code=10).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("Misfit")]
    assert line == "Misfit   orders.customer_id: 2 rows refer to no row of customer: row 20; row 22"
    document = move.document("--dry-run", code=10)["plan"]
    assert document["misfits"] == 2
    assert document["orphans"] == [
        {
            "table": "orders",
            "columns": ["customer_id"],
            "references": "customer",
            "rows": 2,
            "examples": ["20", "22"],
            "by": None,
        }
    ]
    with pytest.raises(
        Refused, match=r"2 rows refer to nothing: the first column is orders\.customer_id"
    ) as caught:
        move.migrate()
    assert caught.value.details == "orders.customer_id, 2 to no row of customer: row 20; row 22"
    assert "--cast" not in caught.value.hint and "--on-error=skip" in caught.value.hint
    assert move.databases() == []
    assert move.migrate(on_error="skip").rejected == 2


def test_orphans_are_known_by_what_the_target_compares(move: Move) -> None:
    made(
        move.path,
        """CREATE TABLE kind (name VARCHAR(9) COLLATE NOCASE PRIMARY KEY, part TEXT, UNIQUE (name, part)) WITHOUT ROWID;
        CREATE TABLE one (k VARCHAR(9) PRIMARY KEY REFERENCES kind (name), p TEXT, FOREIGN KEY (k, p) REFERENCES kind (name, part))
            WITHOUT ROWID;
        CREATE TABLE thing (id CHAR(36) PRIMARY KEY, up CHAR(36) REFERENCES thing (id), no CHAR(36) REFERENCES thing (id));
        INSERT INTO kind VALUES ('a', 'x'), ('b', NULL);
        INSERT INTO one VALUES ('a', 'x'), ('A', NULL), ('b', 'y');
        INSERT INTO thing VALUES ('0C8B7CA0-5F0A-4B1B-8B4A-0C8B7CA05F0A', NULL, NULL),
            ('1c8b7ca0-5f0a-4b1b-8b4a-0c8b7ca05f0a', '0c8b7ca0-5f0a-4b1b-8b4a-0c8b7ca05f0a', '2c8b7ca05f0a4b1b8b4a0c8b7ca05f0a')""",
    )
    casts = tuple(f"thing.{name}:uuid" for name in ("id", "up", "no"))
    found = {(one.table, one.columns): one for one in move.plan(casts=casts).orphans}
    assert {key: (one.rows, one.examples) for key, one in found.items()} == {
        ("one", ("k",)): (1, ("'A': 'A', and there it is 'a'",)),
        ("one", ("k", "p")): (1, ("'b'",)),
        ("thing", ("no",)): (1, ("2",)),
    }


def test_a_reference_that_only_a_collation_of_sqlite_finds_is_no_orphan_but_told_as_that(move: Move) -> None:
    made(
        move.path,
        """PRAGMA foreign_keys = ON;
        CREATE TABLE country (code TEXT COLLATE NOCASE PRIMARY KEY);
        CREATE TABLE place (code TEXT COLLATE RTRIM, part TEXT COLLATE NOCASE, PRIMARY KEY (code, part));
        CREATE TABLE city (id INTEGER PRIMARY KEY, country TEXT REFERENCES country);
        CREATE TABLE stop (id INTEGER PRIMARY KEY, a TEXT, b TEXT, FOREIGN KEY (a, b) REFERENCES place);
        INSERT INTO country VALUES ('DE'); INSERT INTO place VALUES ('x', 'y');
        INSERT INTO city VALUES (1, 'de'), (2, 'DE'), (3, 'dE'); INSERT INTO stop VALUES (1, 'x', 'y'), (2, 'x  ', 'Y');
        PRAGMA foreign_keys = OFF; INSERT INTO city VALUES (4, 'fr')""",
    )
    shown = move.invoke("--dry-run", code=10).stdout
    assert [line for line in shown.splitlines() if line.startswith("Misfit")] == [
        "Misfit   city.country: 1 row refers to no row of country: row 4",
        "Misfit   city.country: 2 rows refer to a row of country only without case, as no foreign key of PostgreSQL's does:"
        " row 1: 'de', and there it is 'DE'; row 3: 'dE', and there it is 'DE'",
        "Misfit   stop (a, b): 1 row refers to a row of place only without blanks at the end and without case, as no foreign key"
        " of PostgreSQL's does: row 2: 'x  ', 'Y', and there it is 'x', 'y'",
    ]
    found = move.document("--dry-run", code=10)["plan"]["orphans"]
    assert [one["by"] for one in found] == [
        None,
        "without case",
        "without blanks at the end and without case",
    ]
    with pytest.raises(Refused) as caught:
        move.migrate()
    assert caught.value.message == (
        "1 row refers to nothing: the first column is city.country; 2 rows refer to a row only without case: the first"
        " column is city.country; 1 row refers to a row only without blanks at the end and without case: the first column"
        " is stop (a, b)"
    )
    # what the plan counts is what is left out, and what is mended so goes
    assert move.plan(on_error="skip").rejects == {"city": 3, "stop": 1}
    made(
        move.path,
        "UPDATE city SET country = 'DE' WHERE country = 'de' COLLATE NOCASE; DELETE FROM city WHERE id = 4;"
        "UPDATE stop SET a = 'x', b = 'y'",
    )
    assert not move.migrate().rejected


def test_orphans_are_told_by_the_keys_that_tables_have_which_are_there(move: Move) -> None:
    database = move.server.create_database(move.name)
    database.run(
        "CREATE TABLE customer (id bigint PRIMARY KEY, name text, active boolean);"
        "CREATE TABLE orders (id bigint PRIMARY KEY, customer_id bigint, total numeric, paid_at timestamp, note text,"
        " photo bytea)"
    )
    made(move.path, ORPHANS)
    assert move.plan().misfits == 0
    database.run("ALTER TABLE orders ADD CONSTRAINT o FOREIGN KEY (customer_id) REFERENCES customer (id)")
    plan = move.plan()
    assert [(one.table, one.rows) for one in plan.orphans] == [("orders", 2)]
    with pytest.raises(Refused) as caught:
        dbtasks.migrate(move.settings(), plan)
    assert "--cast" not in caught.value.hint


def test_one_of_a_thing_is_not_several(move: Move) -> None:
    report = move.migrate(tables=("customer",))
    assert report.page
    assert "1 table, 2 rows" in report.page.read_text()
    assert " make 1 table, fill it," in " ".join(move.plan(tables=("customer",), target="another").steps)


def test_a_folder_is_called_one(move: Move) -> None:
    with pytest.raises(TargetUnreachable, match="is a folder, and a SQLite database is a file"):
        move.plan(source=str(move.project.root))


def test_references_that_are_looked_at_late_stay_so(move: Move) -> None:
    made(
        move.path,
        """CREATE TABLE a (id INTEGER PRIMARY KEY, b_id INTEGER NOT NULL REFERENCES b (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER NOT NULL REFERENCES a (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED);
        PRAGMA foreign_keys = OFF;
        INSERT INTO a VALUES (1, 1), (2, 9); INSERT INTO b VALUES (1, 1);""",
    )
    assert move.migrate(on_error="skip").rejected == 1
    move.database.run("INSERT INTO a VALUES (7, 7); INSERT INTO b VALUES (7, 7)")
    assert move.database.run("SELECT count(*) FROM a") == [(2,)]


OUTSIDE = """
    CREATE TABLE p (id INTEGER PRIMARY KEY);
    CREATE TABLE t (id INTEGER PRIMARY KEY, p INTEGER REFERENCES p);
    CREATE TABLE c (id INTEGER PRIMARY KEY, t INTEGER REFERENCES t);
    INSERT INTO p VALUES (1), (2);
    INSERT INTO t VALUES (1, 1), (2, NULL), (3, 2);
    INSERT INTO c VALUES (10, 1), (11, 2);
"""
OUTSIDE_THERE = (
    "CREATE TABLE p (id bigint PRIMARY KEY); CREATE TABLE t (id bigint PRIMARY KEY, p bigint REFERENCES p);"
    "CREATE TABLE c (id bigint PRIMARY KEY, t bigint REFERENCES t)"
)


def test_rows_that_refer_to_a_table_that_is_not_filled_are_counted_before(move: Move) -> None:
    move.path.unlink()
    made(move.path, OUTSIDE)
    database = move.server.create_database(move.name)
    database.run(OUTSIDE_THERE)
    shown = move.invoke("--dry-run", "--exclude-table=p", code=10).stdout
    assert "t.p: 2 rows refer to no row of public.p: row 1; row 3" in shown
    with pytest.raises(Refused, match=r"2 rows refer to nothing: the first column is t\.p"):
        move.migrate(exclude_tables=("p",))
    plan = move.plan(exclude_tables=("p",), on_error="skip")
    assert plan.rejects == {"t": 2, "c": 1}
    report = dbtasks.migrate(move.settings(), plan)
    assert (report.rows, report.rejected) == (2, 3)
    assert database.run("SELECT id FROM t UNION ALL SELECT id FROM c ORDER BY 1") == [(2,), (11,)]


def test_rows_that_refer_to_a_table_with_rows_of_its_own_are_said_to_be_uncounted(move: Move) -> None:
    move.path.unlink()
    made(move.path, OUTSIDE)
    database = move.server.create_database(move.name)
    database.run(OUTSIDE_THERE + "; INSERT INTO p VALUES (1), (2)")
    plan = move.plan(exclude_tables=("p",))
    assert (plan.orphans, plan.misfits) == ((), 0)
    assert plan.warnings == (
        "not counted before: t.p: rows that refer to no row of public.p, which is not filled: only the server compares them",
    )
    assert dbtasks.migrate(move.settings(), plan).rows == 5
