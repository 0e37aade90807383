"""db.migrate: what SQLite databases are made of, beside plain tables of plain rows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import TargetUnreachable, UsageError
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

NAMED_ALIKE = """
    CREATE TABLE docs_content (id INTEGER PRIMARY KEY, body TEXT);
    CREATE VIRTUAL TABLE docs USING fts5 (body, content='docs_content', content_rowid='id');
    CREATE TABLE docs_archive (id INTEGER PRIMARY KEY, body TEXT);
    CREATE TABLE docs_plain (id INTEGER PRIMARY KEY, archive_id INTEGER REFERENCES docs_archive (id));
    CREATE VIRTUAL TABLE places USING rtree (id, low, high);
    CREATE TABLE places_named (id INTEGER PRIMARY KEY);
    INSERT INTO docs_content VALUES (1, 'c');
    INSERT INTO docs_archive VALUES (1, 'a'), (2, 'b');
    INSERT INTO docs_plain VALUES (7, 2);
    INSERT INTO places VALUES (1, 0, 1);
    INSERT INTO places_named VALUES (5);
"""


# -- what is no database ---------------------------------------------------------------------------


@pytest.mark.parametrize("flag", ["--dry-run", "--yes"])
def test_a_file_that_is_no_database_is_a_wrong_flag(move: Move, flag: str) -> None:
    environ = {"DATABASE_URL": move.server.url(move.name)}
    ran = move.project.invoke("db.migrate", "--from=tasks.py", flag, **environ)
    assert ran.returncode == 2, ran.stderr
    assert f"--from: {move.project.root / 'tasks.py'} is not a SQLite database" in ran.stderr
    assert "db.migrate --from=app.db" in ran.stderr
    assert "state: nothing was touched" in ran.stderr
    own = dbtasks.load_settings(move.project.root, environ={}, url="sqlite:///tasks.py")
    with pytest.raises(UsageError, match=r"the configured database: .*tasks\.py is not a SQLite database"):
        dbtasks.plan_migration(own, dbtasks.MigrationJob(target=move.server.url(move.name)))


def test_a_file_of_one_byte_is_no_database_though_sqlite_takes_it_for_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "flag").write_bytes(b"1")
    config = dbtasks.load_settings(tmp_path, environ={}, url="postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(UsageError, match=r"--from: .*flag is not a SQLite database"):
        dbtasks.plan_migration(config, dbtasks.MigrationJob(source="flag"))


def test_a_url_with_a_slash_too_many_is_a_wrong_flag_with_the_right_spelling(move: Move) -> None:
    environ = {"DATABASE_URL": move.server.url(move.name)}
    ran = move.project.invoke("db.migrate", f"--from=sqlite:////{move.path}", "--dry-run", **environ)
    assert ran.returncode == 2, ran.stderr
    assert "a SQLite URL has four slashes before an absolute path, not more" in ran.stderr
    assert "sqlite:////srv/app/app.db" in ran.stderr
    ran = move.project.invoke("db.migrate", f"--from=/{move.path}", "--dry-run", **environ)
    assert ran.returncode == 0, ran.stderr


def test_a_file_that_is_not_there_is_told_by_its_path(move: Move) -> None:
    with pytest.raises(TargetUnreachable, match=r"there is no SQLite database at .*gone\.db"):
        move.plan(source="gone.db")


# -- virtual tables --------------------------------------------------------------------------------


def test_a_table_that_is_only_named_like_the_insides_of_a_virtual_one_goes(move: Move) -> None:
    made(move.path, NAMED_ALIKE)
    report = move.migrate()
    assert {table.name: table.proof.target_rows for table in report.tables} == {
        "customer": 2,
        "orders": 3,
        "docs_content": 1,
        "docs_archive": 2,
        "docs_plain": 1,
        "places_named": 1,
    }
    assert move.database.run("SELECT body FROM docs_plain p JOIN docs_archive a ON a.id = p.archive_id") == [
        ("b",)
    ]
    told = "\n".join(report.losses)
    assert "the virtual table docs is not carried" in told
    assert "the foreign key" not in told


# -- keys without a value ----------------------------------------------------------------------------

NO_NUMBER = """
    CREATE TABLE down (id INTEGER PRIMARY KEY DESC, name TEXT);
    CREATE TABLE inner (id INTEGER, name TEXT, PRIMARY KEY (id DESC));
    INSERT INTO down VALUES (3, 'a'), (NULL, 'b'), (4, 'c');
    INSERT INTO inner (name) VALUES ('a');
"""


def test_null_in_a_key_of_whole_numbers_is_a_misfit_and_its_row_can_be_left_out(move: Move) -> None:
    made(move.path, NO_NUMBER.replace("inner", '"inner"'))
    shown = move.invoke("--dry-run", code=10).stdout
    assert (
        "Misfit   down.id: 1 value will not fit bigint: row 2: NULL, and a primary key of PostgreSQL's takes none, though SQLite's does"
        in shown
    )
    report = move.migrate(on_error=dbtasks.OnError.SKIP)
    assert report.rejects is not None
    (reject,) = map(json.loads, report.rejects.read_text().splitlines())
    assert f": row {reject['row']}: {reject['reason'].removeprefix('id: ')}" in shown
    proofs = {table.name: table.proof for table in report.tables}
    assert (proofs["down"].target_rows, proofs["down"].key_low, proofs["down"].key_high) == (
        2,
        ("3",),
        ("4",),
    )
    # SQLite counts the one by itself, and the other not
    assert [len(proofs[name].next_values) for name in ("down", "inner")] == [0, 1]


@pytest.mark.parametrize("long", ["", "x" * 300_000], ids=["short rows", "long ones"])
def test_null_in_a_key_goes_into_a_column_that_takes_it(move: Move, long: str) -> None:
    made(move.path, "DROP TABLE orders; DROP TABLE customer; CREATE TABLE pair (a INT PRIMARY KEY, b TEXT)")
    rows = f"(NULL, 'x{long}'), (7, 'y{long}'), (NULL, 'z{long}')"
    made(move.path, f"INSERT INTO pair VALUES {rows}")
    move.server.create_database(move.name).run("CREATE TABLE pair (a bigint, b text)")
    (table,) = move.migrate().tables
    assert (table.proof.target_rows, table.proof.key_low, table.proof.key_high) == (3, ("7",), ("7",))


# -- what is shown, and what is kept --------------------------------------------------------------


def test_a_value_that_chose_a_type_is_shown_before_and_kept_in_no_report(move: Move) -> None:
    made(move.path, "CREATE TABLE card (day DATE); INSERT INTO card VALUES ('4111-SECRET')")
    assert "(row 1: '4111-SECRET' is no date)" in move.invoke("--dry-run").stdout
    said = move.document("--yes")
    kept = [path.read_text("utf-8") for path in (move.store / "reports").iterdir()]
    assert len(kept) == 2
    for text in (json.dumps(said), *kept):
        assert "declared DATE, holds texts (row 1)" in text
        assert "4111" not in text


# -- references to what an index makes unique --------------------------------------------------------

BY_INDEX = """
    CREATE TABLE country (id INTEGER PRIMARY KEY, code TEXT, name TEXT, area TEXT);
    CREATE UNIQUE INDEX country_code ON country (code DESC);
    CREATE UNIQUE INDEX country_name ON country (name) WHERE name > 'a';
    CREATE UNIQUE INDEX country_area ON country (lower(area));
    CREATE TABLE city (code TEXT REFERENCES country (code) ON DELETE CASCADE,
                       name TEXT REFERENCES country (name), area TEXT REFERENCES country (area));
    INSERT INTO country VALUES (1, 'de', 'x', 'y'), (2, 'fr', 'z', 'w');
    INSERT INTO city VALUES ('fr', 'z', 'w');
"""


def test_a_reference_to_columns_of_a_unique_index_comes_along(move: Move) -> None:
    made(move.path, BY_INDEX)
    report = move.migrate()
    assert move.database.run(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'city'::regclass AND contype = 'f'"
    ) == [("FOREIGN KEY (code) REFERENCES country(code) ON DELETE CASCADE",)]
    assert sorted(told for told in report.losses if "foreign key of city" in told) == [
        f"the foreign key of city ({column}) to country refers to columns that are no key"
        for column in ("area", "name")
    ]


# -- a write that broke off --------------------------------------------------------------------------

BROKEN_OFF = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("PRAGMA cache_size = 5")
connection.execute("UPDATE wide SET note = note || 'half'")
os._exit(9)
"""


def test_f07_a_dry_run_does_not_roll_back_what_a_crash_left(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE wide (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO wide (note)"
        " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT printf('%1000d', i) FROM n",
    )
    subprocess.run([sys.executable, "-c", BROKEN_OFF, str(move.path)], check=False)
    journal = move.path.with_name("app.db-journal")
    before = move.path.read_bytes(), journal.read_bytes()
    ran = move.invoke("--dry-run", code=6)
    assert "a write to app.db broke off" in ran.stderr
    assert "state: nothing was touched" in ran.stderr
    assert (move.path.read_bytes(), journal.read_bytes()) == before
    assert move.migrate().rows == 505
    assert move.database.run("SELECT count(*) FROM wide WHERE note LIKE '%half'") == [(0,)]
