"""What is counted before a migration is what happens: rows that are one in their new types, and rows that go with those left out."""

from __future__ import annotations

import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import Refused
from dbtasks.rows.migration import left_out
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

HEX = "6F9619FF8B86D011B42D00CF4FC964FF"
CLASHES: list[tuple[str, str, list[Any], list[int]]] = [
    ("", "integer", ["1", 1, "01", 2, None, None], [2, 3]),
    ("", "numeric", ["01.0", 1, "1.50", 1.5, "x"], [2, 4]),
    ("TEXT", "timestamptz", ["2024-01-01 10:00:00", "2024-01-01T10:00Z", "2024-01-01 11:00:00+01:00"], [2, 3]),
    ("DATETIME", "", ["2024-01-01 10:00:00", "2024-01-01T10:00:00.000", "2024-01-01 10:00:01"], [2]),
    ("", "boolean", [1, "true", "T", 0], [2, 3]),
    ("UUID", "", [HEX, f"{{{HEX.lower()}}}", bytes(16)], [2]),
    ("TEXT", "double precision", ["1", "1.0", "1e0", "-0", "0"], [2, 3, 5]),
    ("DECIMAL(6,2)", "", [0.3, 0.1 + 0.2, 0.5], [2]),
    ("TEXT", "bytea", ["a", b"a"], [2]),
    # SQLite holds them apart, and so does their type
    ("TEXT", "", ["1", "01"], []),
    ("INTEGER", "numeric", [1, 2.5, 3], []),
]  # fmt: skip


def filled(path: Path, *tables: tuple[str, list[Any]]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, (definition, values) in enumerate(tables):
            connection.execute(f"CREATE TABLE t{number} ({definition})")
            connection.executemany(f"INSERT INTO t{number} (v) VALUES (?)", [(value,) for value in values])
    return path


def rejected(report: dbtasks.MigrationReport) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for line in report.rejects.read_text().splitlines() if report.rejects else ():
        reject = json.loads(line)
        found.setdefault(reject["table"], []).append(reject["row"])
    return {name: sorted(rows) for name, rows in found.items()}


def told(report: dbtasks.MigrationReport) -> dict[str, int]:
    return {table.name: table.proof.rejected for table in report.tables if table.proof.rejected}


# -- what is twice in a key ------------------------------------------------------------------------


def test_values_that_are_one_in_their_new_type_are_counted_before(move: Move) -> None:
    filled(move.path, *((f"id INTEGER PRIMARY KEY, v {one[0]} UNIQUE", one[2]) for one in CLASHES))
    casts = tuple(f"t{number}.v:{one[1]}" for number, one in enumerate(CLASHES) if one[1])
    plan = move.plan(casts=casts)
    wanted = {f"t{number}": one[3] for number, one in enumerate(CLASHES) if one[3]}
    assert {one.table: one.rows for one in plan.clashes} == {name: len(rows) for name, rows in wanted.items()}
    shown = {one.table: [int(text.partition(":")[0]) for text in one.examples] for one in plan.clashes}
    assert shown == wanted
    # 'x' is no number
    assert plan.misfits == sum(map(len, wanted.values())) + 1
    assert plan.rejects == {}
    plan = move.plan(casts=casts, on_error="skip")
    report = dbtasks.migrate(move.settings(), plan)
    assert rejected(report) == {**wanted, "t1": [2, 4, 5]}
    assert plan.rejects == told(report)


def test_a_key_that_is_there_already_is_told_by_its_row_and_refused(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE tag (id INTEGER PRIMARY KEY, t TEXT UNIQUE); INSERT INTO tag VALUES (12, '7'), (13, '07')",
    )
    shown = move.invoke("--dry-run", "--cast=tag.t:integer", code=10).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("Misfit")]
    assert (
        line == "Misfit   tag.t: 1 row has a key that is there already, in the new types: row 13: as row 12"
    )
    plan = move.document("--dry-run", "--cast=tag.t:integer", code=10)["plan"]
    assert plan["clashes"] == [
        {"table": "tag", "columns": ["t"], "rows": 1, "examples": ["13: as row 12"], "index": None}
    ]
    assert plan["misfits"] == 1
    refused = move.invoke("--yes", "--cast=tag.t:integer", code=6).stderr
    assert "1 row has a key that is there already: the first is tag.t" in refused
    assert "row 13: as row 12" in refused and "state: nothing was touched" in refused
    assert "--on-error=skip" in refused
    assert not move.store.exists() or not (move.store / "manual").exists()


def test_a_key_of_several_columns_and_one_without_rowid_are_looked_at(move: Move) -> None:
    made(
        move.path,
        """CREATE TABLE pair (a TEXT, b TEXT, c TEXT, UNIQUE (a, b));
        INSERT INTO pair VALUES ('1', '2', ''), ('01', '2', ''), ('1', '02', ''), ('1', '3', ''), ('01', NULL, ''), ('1', NULL, '');
        CREATE TABLE apart (k TEXT PRIMARY KEY) WITHOUT ROWID;
        INSERT INTO apart VALUES ('7'), ('07'), ('8');
        CREATE TABLE index_ (a TEXT); CREATE UNIQUE INDEX one ON index_ (a DESC);
        INSERT INTO index_ VALUES ('1'), ('+1')""",
    )
    casts = ("pair.a:integer", "pair.b:integer", "apart.k:integer", "index_.a:integer")
    found = {one.place: one.examples for one in move.plan(casts=casts).clashes}
    assert found == {
        "pair (a, b)": ("2: as row 1", "3: as row 1"),
        "apart.k": ("'7': as row '07'",),
        "index_.a": ("2: as row 1",),
    }
    plan = move.plan(casts=casts, on_error="skip")
    assert (
        told(dbtasks.migrate(move.settings(), plan)) == plan.rejects == {"apart": 1, "index_": 1, "pair": 2}
    )


def test_a_key_that_only_the_target_has_is_looked_at(move: Move) -> None:
    made(
        move.path, "CREATE TABLE t (a TEXT, b TEXT); INSERT INTO t VALUES ('x', 'u'), ('y', 'v'), ('x', 'U')"
    )
    database = move.server.create_database(move.name)
    database.run("CREATE TABLE t (a text UNIQUE, b text); CREATE UNIQUE INDEX low ON t (lower(b))")
    plan = move.plan(tables=("t",))
    assert [(one.place, one.examples) for one in plan.clashes] == [("t.a", ("3: as row 1",))]
    assert plan.warnings == (
        "not counted before: t: rows that the unique index low turns down: it is over some rows, or over more than columns;"
        " the load finds them",
    )
    with pytest.raises(Refused, match=r"1 row has a key that is there already: the first is t\.a") as caught:
        dbtasks.migrate(move.settings(), plan)
    assert "--cast" not in caught.value.hint


def test_a_key_that_takes_one_null_there_is_looked_at(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER UNIQUE); INSERT INTO t VALUES (1, NULL), (2, 5), (3, NULL)",
    )
    database = move.server.create_database(move.name)
    database.run("CREATE TABLE t (id bigint PRIMARY KEY, a bigint, UNIQUE NULLS NOT DISTINCT (a))")
    clashes = move.plan(tables=("t",)).clashes
    assert [(one.place, one.examples) for one in clashes] == [("t.a", ("3: as row 1",))]


def test_a_row_that_does_not_fit_is_in_nobodys_way(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b TEXT); INSERT INTO t VALUES (1, '1', x'00'), (2, '01', '')",
    )
    plan = move.plan(casts=("t.a:integer",), on_error="skip")
    assert plan.clashes == ()
    assert plan.rejects == {"t": 1} == told(dbtasks.migrate(move.settings(), plan))


def test_a_key_whose_values_stay_apart_is_not_read_again(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    known = left_out.keys_of_rows
    monkeypatch.setattr(
        left_out,
        "keys_of_rows",
        lambda *given, **how: read.append([one.column for one in given[2]]) or known(*given, **how),
    )
    filled(
        move.path,
        ("id INTEGER PRIMARY KEY, v TEXT UNIQUE", ["a"]),
        ("v DATETIME UNIQUE", ["2024-01-01 10:00:00", "2024-01-02 10:00:00.500000"]),
        ("u UUID UNIQUE, v INTEGER", [1]),
        ("w DATETIME UNIQUE, v INTEGER", [1]),
    )
    made(move.path, f"UPDATE t2 SET u = '{HEX.lower()}'; UPDATE t3 SET w = '2024-01-01 10:00:00.0'")
    move.plan(exclude_tables=("orders",))
    assert read == [["w"]]


# -- types that are weaker for a few values --------------------------------------------------------


def test_the_plan_and_the_report_list_the_columns_of_a_weaker_type(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, due DATE);"
        " INSERT INTO t VALUES (1, '2024-01-01'), (2, '2024-01-02'), (7, 'soon')",
    )
    shown = move.invoke("--dry-run").stdout.splitlines()
    assert [line for line in shown if line.startswith("Weaker")] == [
        "Weaker   t.due: text instead of date, 1 of 3 values stands in the way: row 7: 'soon' is no date;"
        " mend that, or say --cast=t.due:date"
    ]
    plan = move.document("--dry-run")["plan"]
    (due,) = [column for table in plan["tables"] for column in table["columns"] if column["column"] == "due"]
    assert due["weaker"] == {
        "type": "date",
        "values": 1,
        "examples": ["7: 'soon' is no date"],
        "cast": "--cast=t.due:date",
    }
    report = move.migrate()
    assert report.page and report.document
    page, document = report.page.read_text(), report.document.read_text()
    assert "t.due: text instead of date, for 1 value of 3, the first in row 7: --cast=t.due:date" in page
    assert '"weaker": {"type": "date", "values": 1, "row": "7", "cast": "--cast=t.due:date"}' in json.dumps(
        json.loads(document)
    )
    assert "soon" not in page + document


# -- what goes with what is left out ---------------------------------------------------------------

CHAIN = """
    PRAGMA foreign_keys = OFF;
    CREATE TABLE region (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE shop (id INTEGER PRIMARY KEY, region_id INTEGER REFERENCES region (id));
    CREATE TABLE sale (id INTEGER PRIMARY KEY, shop_id INTEGER REFERENCES shop (id), before_id INTEGER REFERENCES sale (id));
    INSERT INTO region VALUES (1, 'north'), (2, x'00');
    INSERT INTO shop VALUES (1, 1), (2, 2), (3, NULL), (4, 99);
    INSERT INTO sale VALUES (1, 1, NULL), (2, 2, 1), (3, 1, 2), (4, 1, 3), (5, 3, NULL), (6, 4, 5);
"""


def test_rows_that_go_with_one_that_is_left_out_are_counted_before(move: Move) -> None:
    made(move.path, CHAIN)
    assert move.plan().falls == ()
    shown = move.invoke("--dry-run", "--on-error=skip", code=10).stdout.splitlines()
    assert {line for line in shown if line.startswith(("Falls", "Rejects"))} == {
        "Falls    shop.region_id: 1 row refers to a row of region that is left out: row 2",
        "Falls    sale.shop_id: 2 rows refer to a row of shop that is left out: row 2; row 6",
        "Falls    sale.before_id: 2 rows refer to a row of sale that is left out: row 3; row 4",
        "Rejects  7 rows will be left out: 1 of region, 2 of shop, 4 of sale",
    }
    document = move.document("--dry-run", "--on-error=skip", code=10)["plan"]
    assert document["rejects"] == {"region": 1, "shop": 2, "sale": 4}
    assert {
        "table": "shop",
        "columns": ["region_id"],
        "references": "region",
        "rows": 1,
        "examples": ["2"],
    } in (document["falls"])
    plan = move.plan(on_error="skip")
    assert plan.warnings == ()
    report = dbtasks.migrate(move.settings(), plan)
    assert told(report) == plan.rejects
    assert rejected(report) == {"region": [2], "shop": [2, 4], "sale": [2, 3, 4, 6]}


@pytest.mark.long
def test_what_skipping_would_cost_is_told_before_somebody_asks_for_it(move: Move) -> None:
    made(move.path, CHAIN)
    made(
        move.path,
        "CREATE TABLE person (id INTEGER PRIMARY KEY, age INTEGER); INSERT INTO person VALUES (1, '')",
    )
    rows = sum(move.plan().choices.rows.values())
    flags = ("--cast=person.age:int",)
    shown = move.invoke("--dry-run", *flags, code=10).stdout.splitlines()
    assert [line for line in shown if line.startswith("Rejects")] == [
        f"Rejects  --on-error=skip would leave out 8 rows of {rows}: 1 of person, 1 of region, 2 of shop, 4 of sale"
    ]
    document = move.document("--dry-run", *flags, code=10)["plan"]
    assert (document["rejects"], document["would_reject"]["sale"]) == ({}, 4)
    with pytest.raises(Refused) as caught:
        move.migrate(casts=("person.age:int",))
    assert caught.value.hint == (
        'mend the rows; where \'\' is no value: UPDATE "person" SET "age" = NULL WHERE "age" = \'\';'
        " or choose a type: --cast=TABLE.COLUMN:TYPE;"
        f" or leave out 8 of {rows} rows, with what refers to such a row (1 of person, 1 of region, 2 of shop, 4 of sale):"
        " --on-error=skip"
    )
    made(move.path, caught.value.hint.partition("where '' is no value: ")[2].partition(";")[0])
    report = move.migrate(casts=("person.age:int",), on_error="skip")
    assert dict(report.causes) == {
        "region: a value that does not fit, or that the server turned down": 1,
        "shop: a reference to a row that is not there, or was left out too": 2,
        "sale: a reference to a row that is not there, or was left out too": 4,
    }
    assert report.page is not None and report.document is not None
    assert "<li>4 of sale: a reference to a row" in report.page.read_text("utf-8")
    assert json.loads(report.document.read_text("utf-8"))["causes"] == dict(report.causes)


def test_rows_fall_over_circles_long_chains_and_keys_of_any_shape(move: Move) -> None:
    made(
        move.path,
        """PRAGMA foreign_keys = OFF;
        CREATE TABLE p (id INTEGER PRIMARY KEY, up INTEGER REFERENCES p (id), note TEXT);
        WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
            INSERT INTO p SELECT i, nullif(i - 1, 0), CASE i WHEN 100 THEN x'00' END FROM n;
        CREATE TABLE a (id INTEGER PRIMARY KEY, b_id INTEGER REFERENCES b (id), n TEXT);
        CREATE TABLE b (id INTEGER PRIMARY KEY, a_id INTEGER REFERENCES a (id));
        INSERT INTO a VALUES (1, 1, ''), (2, 2, x'00'), (3, 2, ''); INSERT INTO b VALUES (1, 1), (2, 2), (3, 3);
        CREATE TABLE pair ("rowid" TEXT, k TEXT, note TEXT, PRIMARY KEY ("rowid", k)) WITHOUT ROWID;
        INSERT INTO pair VALUES ('x', 'y', x'00'), ('x', 'z', '');
        CREATE TABLE of_pair (i TEXT, j TEXT, FOREIGN KEY (i, j) REFERENCES pair ("rowid", k));
        INSERT INTO of_pair VALUES ('x', 'y'), ('x', 'z'), ('x', NULL);
        CREATE TABLE day (d DATETIME PRIMARY KEY, note TEXT);
        INSERT INTO day VALUES ('2024-01-01 10:00:00', ''), ('2024-01-01T10:00:00', x'00'), ('2024-01-02 10:00:00', x'00');
        CREATE TABLE of_day (d DATETIME REFERENCES day (d));
        INSERT INTO of_day VALUES ('2024-01-01T10:00:00'), ('2024-01-02T10:00:00')""",
    )
    plan = move.plan(on_error="skip")
    assert plan.rejects == {"a": 2, "b": 2, "day": 2, "of_day": 1, "of_pair": 1, "p": 301, "pair": 1}
    assert plan.warnings == ()
    assert told(dbtasks.migrate(move.settings(), plan)) == plan.rejects


def test_what_only_the_server_compares_is_named_as_not_counted(move: Move) -> None:
    made(
        move.path,
        """PRAGMA foreign_keys = OFF; CREATE TABLE p (k TEXT PRIMARY KEY, note TEXT); CREATE TABLE c (k TEXT REFERENCES p (k));
        INSERT INTO p VALUES ('10.0.0.1', x'00'); INSERT INTO c VALUES ('10.0.0.1')""",
    )
    plan = move.plan(on_error="skip", casts=("p.k:inet", "c.k:inet"))
    assert plan.rejects == {"p": 1}
    assert plan.warnings == (
        "not counted before: p.k: rows that are twice in a unique key: only the server compares them",
        "not counted before: c.k: rows that refer to one of p that is left out: only the server compares them",
    )


NAMES = "abcd"


def related(path: Path, seed: int) -> None:
    """Tables that refer to one another, some of whose rows fit nowhere, are there twice or refer to nothing."""
    chance = random.Random(seed)
    pool: list[Any] = [None, *range(8), "1", "02", "3", 4.0, "5.0"]
    with closing(sqlite3.connect(path)) as connection, connection:
        for name in NAMES:
            columns = [
                f"r{place} REFERENCES {chance.choice(NAMES)} (k)" for place in range(chance.randint(0, 2))
            ]
            key = chance.choice(("INTEGER PRIMARY KEY", "INTEGER UNIQUE", "NUMERIC UNIQUE", "UNIQUE"))
            connection.execute(
                f"CREATE TABLE {name} (k {key}, note TEXT, {', '.join(('u UNIQUE', *columns))})"
            )
            for _ in range(chance.randint(3, 25)):
                row = [
                    chance.choice(pool),
                    chance.choice(("", "", "", b"\0")),
                    *chance.choices(pool, k=1 + len(columns)),
                ]
                marks = ",".join("?" * len(row))
                with connection:
                    try:
                        connection.execute(f"INSERT OR IGNORE INTO {name} VALUES ({marks})", row)
                    except sqlite3.IntegrityError:
                        continue


@pytest.mark.parametrize(
    "seed", [0, 1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 40))]
)
def test_whatever_is_left_out_was_counted(move: Move, seed: int) -> None:
    related(move.path, seed)
    casts = tuple(f"{name}.{column}:integer" for name in NAMES for column in ("k", "u"))
    with closing(sqlite3.connect(move.path)) as connection:
        for name in NAMES:
            found = connection.execute(f"PRAGMA table_info({name})")
            casts += tuple(f"{name}.{column[1]}:integer" for column in found if column[1].startswith("r"))
    plan = move.plan(on_error="skip", casts=casts, tables=tuple(NAMES))
    report = dbtasks.migrate(move.settings(), plan)
    assert told(report) == plan.rejects
    assert (plan.misfits > 0) is (report.rejected > 0)
