"""Keys of SQLite that compare by a collation: what was one text there is one text in PostgreSQL, or it is told."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

FOLDED = """
    CREATE TABLE "column" (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE UNIQUE);
    CREATE TABLE pair (id INTEGER PRIMARY KEY, v VARCHAR(40) COLLATE NOCASE, b INTEGER DEFAULT 0, UNIQUE (v, b));
    CREATE TABLE key (v TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE of_key (id INTEGER PRIMARY KEY, v TEXT REFERENCES key (v));
    CREATE TABLE behind (id INTEGER PRIMARY KEY, v TEXT, UNIQUE (v COLLATE NOCASE));
    CREATE TABLE "an index" (id INTEGER PRIMARY KEY, v TEXT);
    CREATE UNIQUE INDEX "the index" ON "an index" (v COLLATE NOCASE DESC);
    CREATE TABLE part (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE);
    CREATE UNIQUE INDEX part_v ON part (v DESC) WHERE id > 0;
    CREATE TABLE over (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE);
    CREATE UNIQUE INDEX over_v ON over (v);
    INSERT INTO key VALUES ('Ada'); INSERT INTO of_key VALUES (1, 'Ada');
"""
TABLES = ("column", "pair", "key", "behind", "an index", "part", "over")


def test_what_is_unique_without_case_stays_so(move: Move) -> None:
    rows = "".join(f"""INSERT INTO "{name}" (v) VALUES ('A@x'), ('é'), ('É');""" for name in TABLES)
    made(move.path, FOLDED + rows)
    report = move.migrate()
    for name in TABLES:
        move.database.run(f"""INSERT INTO "{name}" (v) VALUES ('b')""")
        with pytest.raises(Exception, match="duplicate key"):
            move.database.run(f"""INSERT INTO "{name}" (v) VALUES ('a@X')""")
    told = [text for text in report.losses if "without case" in text]
    assert len(told) == len(TABLES)
    assert (
        "the unique key (v) of column compares without case: the unique index column_v_folded beside it keeps that"
        in told
    )
    assert (
        'the unique index the index of an index compares without case: it is over lower("v" COLLATE "C") there'
        in told
    )
    # what refers to it has a key that it can refer to
    assert move.database.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(2,)]


def test_a_key_that_compares_as_it_stands_gets_nothing_beside_it(move: Move) -> None:
    made(
        move.path,
        """CREATE TABLE plain (a TEXT UNIQUE, b INTEGER COLLATE NOCASE UNIQUE, c TEXT COLLATE BINARY UNIQUE, d TEXT COLLATE NOCASE);
        CREATE UNIQUE INDEX plain_d ON plain (d COLLATE BINARY);
        CREATE TABLE blanks (v TEXT COLLATE RTRIM UNIQUE); INSERT INTO blanks VALUES ('x')""",
    )
    move.migrate()
    found = move.database.run("SELECT indexname FROM pg_indexes WHERE tablename = 'plain' ORDER BY 1")
    assert [name for (name,) in found] == ["plain_a_key", "plain_b_key", "plain_c_key", "plain_d"]
    with pytest.raises(Exception, match="duplicate key"):
        move.database.run("INSERT INTO blanks VALUES ('x  ')")


@pytest.mark.parametrize(
    ("there", "is_told"),
    [
        ("v text UNIQUE", True),
        ('v text COLLATE "C" UNIQUE', True),
        ("v text UNIQUE); CREATE UNIQUE INDEX ON t (lower(v)", False),
        ("v text UNIQUE); CREATE UNIQUE INDEX ON t (upper(v), (id + 0)", False),
        ("v uuid UNIQUE", False),
    ],
)
def test_a_table_that_is_there_and_has_a_weaker_key_is_told(move: Move, there: str, is_told: bool) -> None:
    move.server.create_database(move.name).run(f"CREATE TABLE t (id bigint PRIMARY KEY, {there})")
    made(move.path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT COLLATE NOCASE UNIQUE)")
    plan = move.plan(tables=("t",))
    assert tuple(text for text in plan.losses if "unique" in text) == (
        (
            "the unique key (v) of t compares without case in SQLite, and public.t does not:"
            ' make a unique index over lower(v COLLATE "C") there to keep that',
        )
        if is_told
        else ()
    )


def test_a_collation_that_somebody_made_is_told(move: Move) -> None:
    with closing(sqlite3.connect(move.path)) as connection, connection:
        connection.create_collation("PHONE", lambda a, b: (a > b) - (a < b))
        connection.execute("CREATE TABLE p (id INTEGER PRIMARY KEY, v TEXT COLLATE PHONE UNIQUE)")
    assert "the unique key (v) of p compares by PHONE: no key of PostgreSQL's does" in move.plan().losses
