"""Rows of a migration are counted by SQLite itself: none is lost in the reading, whatever a column is called."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from dbtasks.engines.postgres.migration import load as migrate_load
from dbtasks.errors import CountsDiffer
from dbtasks.rows.sqlite.numbered import NumberedLong, NumberedRows
from tests.fix_postgres import PgDatabase
from tests.postgres.arriving import arrive
from tests.postgres.leaving import Move, made, move
from tests.postgres.test_across import made as anew

__all__ = ["move"]

LONG = "x" * 400_000
"""More than is held of a row: it is read alone, by its number."""


def without_shop(move: Move, script: str, live: str = "") -> None:
    """Let other tables go, into such as are there or into none."""
    move.path.unlink()
    made(move.path, script)
    if live:
        move.server.create_database(move.name).run(live)


@pytest.mark.parametrize(
    ("column", "index"),
    [
        ("rowid INTEGER", "CREATE INDEX r ON t (rowid);"),
        ("rowid INTEGER", ""),
        ("RowID INTEGER GENERATED ALWAYS AS (kind)", "CREATE INDEX r ON t (rowid);"),
        ("rowid TEXT GENERATED ALWAYS AS ('n' || kind) STORED", ""),
    ],
)
@pytest.mark.parametrize("is_there", [False, True])
def test_every_row_arrives_where_a_column_is_called_as_the_number_of_the_row(
    move: Move, column: str, index: str, is_there: bool
) -> None:
    without_shop(
        move,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, kind INTEGER, body TEXT, {column}); {index}",
        "CREATE TABLE t (id bigint PRIMARY KEY, body text)" if is_there else "",
    )
    named = "" if "GENERATED" in column else ", rowid"
    with closing(sqlite3.connect(move.path)) as connection:
        for number, kind, body in ((1, 5, "a"), (2, 5, "b"), (3, 5, LONG), (6, 6, "d")):
            values = (number, kind, body, kind)[: 4 if named else 3]
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT INTO t (id, kind, body{named}) VALUES ({marks})", values)
        connection.commit()
    report = move.migrate()
    assert move.database.run("SELECT id, length(body) FROM t ORDER BY id") == [
        (1, 1),
        (2, 1),
        (3, len(LONG)),
        (6, 1),
    ]
    (table,) = report.tables
    assert (table.proof.source_rows, table.proof.target_rows) == (4, 4)


def test_every_row_arrives_where_columns_have_all_names_of_the_number_of_the_row(
    move: Move,
) -> None:
    without_shop(
        move,
        f"""
        CREATE TABLE own (id INTEGER PRIMARY KEY, rowid INTEGER, _rowid_ TEXT, oid REAL, body TEXT);
        CREATE TABLE keyed (name TEXT PRIMARY KEY, rowid INTEGER, _rowid_ INTEGER, oid INTEGER, body TEXT);
        CREATE TABLE bare (rowid INTEGER, _rowid_ INTEGER, oid INTEGER, body BLOB);
        CREATE TABLE refers (rowid INTEGER, _rowid_ INTEGER, oid INTEGER REFERENCES own (id));
        INSERT INTO own VALUES (1, 7, 'x', 1.5, 'a'), (2, 7, 'x', 1.5, '{LONG}'), (3, 1, 'x', 1.5, 'c');
        INSERT INTO keyed VALUES ('k', 7, 7, 7, 'a'), ('l', 7, 7, 7, '{LONG}');
        INSERT INTO bare VALUES (7, 7, 7, NULL), (7, 7, 7, '{LONG}'), (1, 1, 1, x'00');
        INSERT INTO refers VALUES (5, 5, 1);
        """,
    )
    report = move.migrate(casts=("bare.body:bytea",))
    counted = {table.name: (table.proof.source_rows, table.proof.target_rows) for table in report.tables}
    assert counted == {"own": (3, 3), "keyed": (2, 2), "bare": (3, 3), "refers": (1, 1)}
    assert move.database.run("SELECT rowid, length(body) FROM bare ORDER BY length(body) NULLS FIRST") == [
        (7, None),
        (1, 1),
        (7, len(LONG)),
    ]


def test_a_row_without_any_number_is_told_by_its_place(move: Move) -> None:
    without_shop(
        move,
        "CREATE TABLE t (rowid INTEGER, _rowid_ INTEGER, oid INTEGER, body TEXT);"
        "INSERT INTO t VALUES (7, 7, 7, 'a'), (7, 7, 7, x'ff'), (7, 7, 7, 'c')",
    )
    plan = move.plan()
    assert plan.choices.columns["t"][3].examples == ("2: x'ff' (1 byte) is no text",)
    report = move.migrate(on_error="skip")
    assert report.rejects is not None
    (reject,) = map(json.loads, report.rejects.read_text().splitlines())
    assert (reject["row"], reject["values"]["body"]) == (2, {"blob": "ff"})
    assert move.database.run("SELECT body FROM t ORDER BY 1") == [("a",), ("c",)]


def test_a_table_without_rowid_arrives_where_its_key_is_not_there(move: Move) -> None:
    without_shop(
        move,
        "CREATE TABLE t (code TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID; INSERT INTO t VALUES ('a', 1), ('b', 2)",
        "CREATE TABLE t (n bigint)",
    )
    move.migrate()
    assert move.database.run("SELECT n FROM t ORDER BY 1") == [(1,), (2,)]


THREE = "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')"


ONE_TWICE = THREE.replace("id INTEGER PRIMARY KEY, a TEXT", "id INTEGER, a TEXT, PRIMARY KEY (id, a)")


def losing(monkeypatch: pytest.MonkeyPatch, start: int, end: int) -> None:
    """Let the reading of rows lose all but some: a fault that nobody has found yet."""
    reading = migrate_load.numbered

    def some(*given: Any) -> Generator[NumberedRows | NumberedLong]:
        for batch in reading(*given):
            assert isinstance(batch, NumberedRows)
            yield batch.part(start, end)

    monkeypatch.setattr(migrate_load, "numbered", some)


def test_a_row_that_was_not_read_is_missed_by_sqlites_own_count(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, 0, 2)
    with pytest.raises(CountsDiffer, match=r"^t has 3 rows, and 2 were read$"):
        arrive(anew(tmp_path / "a.db", THREE), pg_db)
    assert pg_db.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(0,)]


def test_a_row_that_was_not_read_is_missed_where_rows_may_be_left_out(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losing(monkeypatch, 0, 2)
    with pytest.raises(CountsDiffer, match=r"^t has 3 rows, and 2 were read$"):
        arrive(anew(tmp_path / "a.db", THREE), pg_db, skip=True)


def test_a_row_that_was_read_in_the_place_of_another_is_missed_by_sqlites_own_range_of_the_key(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = migrate_load.numbered

    def another(*given: Any) -> Generator[NumberedRows | NumberedLong]:
        for batch in reading(*given):
            assert isinstance(batch, NumberedRows)
            yield batch.part(1, 3)
            yield NumberedRows((2,), [[2], ["z"]])

    monkeypatch.setattr(migrate_load, "numbered", another)
    with pytest.raises(CountsDiffer, match=r"^the key of t reaches farther than that of the rows"):
        arrive(anew(tmp_path / "a.db", ONE_TWICE), pg_db)


@pytest.mark.parametrize(
    ("encoding", "value"),
    [("UTF-8", b"\xff\xfe" * 200_000), ("UTF-8", "é€😀" * 50_000), ("UTF-16le", "é€😀" * 50_000)],
    ids=["no text", "text", "text of another encoding"],
)
def test_a_long_text_goes_into_bytes_as_it_is_and_if_it_is_none(
    move: Move, encoding: str, value: bytes | str
) -> None:
    without_shop(move, f"PRAGMA encoding = '{encoding}'; CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)")
    with closing(sqlite3.connect(move.path)) as connection:
        connection.execute("INSERT INTO t VALUES (1, CAST(? AS TEXT)), (2, 'a')", (value,))
        connection.commit()
    move.migrate(casts=("t.body:bytea",))
    expected = value if isinstance(value, bytes) else value.encode()
    assert bytes(move.database.run("SELECT body FROM t WHERE id = 1")[0][0]) == expected
