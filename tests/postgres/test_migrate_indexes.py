"""Keys and indexes that PostgreSQL cannot have: told before anything is touched, and no end to a migration."""

from __future__ import annotations

import random
import sqlite3
import string
from contextlib import closing

import pytest

from dbtasks.errors import LoadFailed
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

INDEXES = "SELECT indexname FROM pg_indexes WHERE tablename = 't' ORDER BY 1"
MANY = [f"c{number}" for number in range(33)]
LETTERS = "".join(random.Random(1).choices(string.ascii_letters, k=10_000))
CANNOT = {
    "json": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, doc JSON UNIQUE); CREATE INDEX by_doc ON t (doc);"
        "CREATE UNIQUE INDEX by_both ON t (id, doc); INSERT INTO t VALUES (1, '{}')",
        [
            "the unique key (doc) of t is over doc, and json has no order there: not carried",
            "the index by_doc is over doc, and json has no order there: not carried",
            "the index by_both is over doc, and json has no order there: not carried",
        ],
    ),
    "computed": (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED UNIQUE);"
        "CREATE TABLE c (b INTEGER REFERENCES t (b)); INSERT INTO t (id, a) VALUES (1, 1), (2, 2)",
        [
            "the foreign key of c (b) to t refers to columns that are no key",
            "t.b is computed, and not carried",
            "the unique key (b) of t is over b, which is computed: not carried",
        ],
    ),
    "wide": (
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'{name} INT' for name in MANY)}, UNIQUE ({', '.join(MANY)}));"
        f"CREATE INDEX wide ON t ({', '.join(MANY)}); INSERT INTO t (id) VALUES (1)",
        [
            f"the unique key ({', '.join(MANY)}) of t is over 33 columns, and an index has 32 at most there: not carried",
            "the index wide is over 33 columns, and an index has 32 at most there: not carried",
        ],
    ),
}


def anew(move: Move, script: str, *rows: tuple[object, ...]) -> Move:
    move.path.unlink()
    made(move.path, script)
    with closing(sqlite3.connect(move.path)) as connection:
        for row in rows:
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(row))})", row)
        connection.commit()
    return move


@pytest.mark.parametrize("why", CANNOT)
def test_a_key_or_an_index_that_postgresql_cannot_have_is_told_and_left(move: Move, why: str) -> None:
    script, losses = CANNOT[why]
    plan = anew(move, script).plan()
    assert sorted(plan.losses) == sorted(losses)
    assert sum(table.proof.target_rows for table in move.migrate().tables) >= 1
    assert move.database.run(INDEXES) == [("t_pkey",)]


def test_an_index_on_a_text_that_is_too_long_is_left_out_and_told(move: Move) -> None:
    anew(
        move,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT, n INT); CREATE INDEX by_body ON t (body); CREATE INDEX by_n ON t (n)",
        (1, LETTERS, 1),
        (2, "short", 2),
        (3, "x" * 10_000, 3),
    )
    told = [text for text in move.plan().warnings if "the index by_body" in text]
    assert told == [
        "t.body: 2 rows have more than 2,696 bytes for the index by_body:"
        " where the server cannot make them shorter, it is left out"
    ]
    report = move.migrate()
    assert (report.rows, report.rejected) == (3, 0)
    assert any("the index by_body of public.t was not made" in text for text in report.warnings)
    assert report.page is not None and "by_body of public.t was not made" in report.page.read_text()
    assert move.database.run(INDEXES) == [("by_n",), ("t_pkey",)]


@pytest.mark.parametrize(
    "key",
    ["body TEXT UNIQUE", "body TEXT); CREATE UNIQUE INDEX k ON t (body", "body TEXT, UNIQUE (body, id)"],
)
def test_a_row_whose_key_is_too_long_is_named_and_may_be_left_out(move: Move, key: str) -> None:
    anew(
        move,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {key})",
        (1, "short"),
        (2, LETTERS),
        (3, "x" * 10_000),
        (4, LETTERS[:3_000]),
        (5, LETTERS[:2_600]),
    )
    assert any("such a row does not go in" in text for text in move.plan().warnings)
    with pytest.raises(
        LoadFailed, match=r"2 rows of t do not go in: row 2, 4: .*body.*: is too long for a key"
    ) as caught:
        move.migrate()
    assert "--on-error=skip" in caught.value.hint
    assert move.databases() == []
    assert move.migrate(on_error="skip").rejected == 2
    assert move.database.run("SELECT id FROM t ORDER BY 1") == [(1,), (3,), (5,)]


def test_a_long_text_is_warned_of_where_an_index_of_a_table_that_is_there_is_over_it(move: Move) -> None:
    anew(move, "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT, hashed TEXT)", (1, LETTERS, LETTERS))
    move.server.create_database(move.name).run(
        "CREATE TABLE t (id bigint PRIMARY KEY, body text, hashed text); CREATE INDEX by_body ON t (body);"
        "CREATE INDEX by_hash ON t USING hash (hashed)"
    )
    assert move.plan().warnings == (
        "t.body: 1 row has more than 2,696 bytes for the index by_body: where the server cannot make them shorter,"
        " such a row does not go in",
    )
    with pytest.raises(LoadFailed, match="a row of t does not go in: row 1: index row"):
        move.migrate()
    assert move.migrate(on_error="skip").rejected == 1


def test_a_key_and_a_row_that_is_twice_may_both_be_in_the_way(move: Move) -> None:
    same = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    anew(
        move,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT, u UUID); CREATE UNIQUE INDEX a ON t (body, u)",
        (1, "x", same),
        (2, "x", same.upper()),
        (3, LETTERS, same),
    )
    assert move.migrate(on_error="skip").rejected == 2
    assert move.database.run("SELECT id FROM t") == [(1,)]


def test_a_row_that_is_left_out_already_is_too_long_for_no_index(move: Move) -> None:
    same = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
    anew(
        move,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, u UUID UNIQUE, body TEXT, more TEXT);"
        "CREATE INDEX by_body ON t (body); CREATE UNIQUE INDEX by_more ON t (more)",
        (1, same, "x", "x"),
        (2, same.upper(), LETTERS, LETTERS),
    )
    report = move.migrate(on_error="skip")
    assert (report.rejected, [text for text in report.warnings if "was not made" in text]) == (1, [])
    assert move.database.run(INDEXES) == [("by_body",), ("by_more",), ("t_pkey",), ("t_u_key",)]


def test_names_of_indexes_that_the_target_has_are_left_to_it(move: Move) -> None:
    anew(
        move,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE); CREATE INDEX by_name ON t (a); INSERT INTO t VALUES (1, 'x')",
    )
    move.server.create_database(move.name).run(
        "CREATE TABLE other (id int); CREATE INDEX by_name ON other (id); CREATE INDEX t_pkey ON other (id);"
        "CREATE INDEX t_a_key ON other (id); CREATE SEQUENCE t_id_seq"
    )
    plan = move.plan()
    assert plan.losses == ("the index by_name is called by_name_2 there: its name is taken",)
    assert plan.choices.only_target == ("public.other",)
    assert move.migrate().rows == 1
    assert move.database.run(INDEXES) == [("by_name_2",), ("t_a_key1",), ("t_pkey1",)]
    assert move.database.run("INSERT INTO t (a) VALUES ('y') RETURNING id") == [(2,)]


def test_what_sqlite_does_with_rows_in_the_way_is_told_where_it_is_not_to_refuse_them(move: Move) -> None:
    anew(
        move,
        "CREATE TABLE t (a TEXT UNIQUE ON CONFLICT REPLACE, b INT NOT NULL ON CONFLICT IGNORE DEFAULT 4, c INT UNIQUE ON CONFLICT ABORT);"
        "CREATE TABLE u (a TEXT UNIQUE ON CONFLICT ABORT, b TEXT DEFAULT 'ON CONFLICT FAIL')",
    )
    assert move.plan().losses == (
        "the table t goes without its ON CONFLICT IGNORE and ON CONFLICT REPLACE: such a row is refused there",
    )
