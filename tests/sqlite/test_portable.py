"""A SQLite file comes up again from its rows file alone, of its own words; a crafted one makes tables at most."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import LoadFailed, Refused
from dbtasks.rows.schema import Column, Index, PortableSchema, Sequence, Table
from dbtasks.rows.sqlite.schema import quoted
from tests.sqlite.portable import described, made_again, made_of, written
from tests.sqlite.test_rows import HOSTILE

ODD = """
CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL DEFAULT 'x''y;', UNIQUE (name COLLATE NOCASE));
CREATE TABLE unused (id INTEGER PRIMARY KEY AUTOINCREMENT);
CREATE TABLE keyed (a TEXT, b BLOB, n NUMERIC DEFAULT (1 + 1), PRIMARY KEY (b, a DESC)) WITHOUT ROWID;
CREATE TABLE [odd name] ("sel ect" int, `tick` DATETIME DEFAULT CURRENT_TIMESTAMP, anything, -- a comment; with a semicolon
    total AS (anything * 2) STORED, /* and another */ seen GENERATED ALWAYS AS (upper(tick)),
    CONSTRAINT fine CHECK ("sel ect" > 0 OR anything LIKE '%;%'));
CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES counted (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    up INTEGER REFERENCES child);
CREATE TABLE grown (a int);
ALTER TABLE grown ADD COLUMN b TEXT DEFAULT 'later';
CREATE TABLE renamed_from (a int, b int);
ALTER TABLE renamed_from RENAME TO "renamed; to";
ALTER TABLE "renamed; to" RENAME COLUMN a TO "new ""name"" x";
CREATE UNIQUE INDEX "odd; index" ON [odd name] (lower("sel ect") DESC, anything COLLATE NOCASE) WHERE anything <> ';';
CREATE INDEX if_any ON counted (name);
INSERT INTO counted (name) VALUES ('a'), ('b'), ('c');
DELETE FROM counted WHERE id = 3;
INSERT INTO keyed VALUES ('t', x'00ff', 1.5), (1, 'z', NULL);
INSERT INTO [odd name] ("sel ect", anything) VALUES (1, 9223372036854775807), (2, x'00'), (3, '9007199254740993');
INSERT INTO child VALUES (1, 1, NULL), (5, 2, 1);
INSERT INTO grown (a) VALUES (1);
INSERT INTO "renamed; to" VALUES (1, 2);
"""


def content(path: Path) -> list[Any]:
    """Return every definition, every row with its rowid's order, and where each AUTOINCREMENT stands."""
    with closing(sqlite3.connect(path)) as connection:
        found: list[Any] = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY 2"
        ).fetchall()
        names = [name for kind, name, *_ in found if kind == "table"]
        return found + [
            connection.execute(f"SELECT * FROM {quoted(name)} ORDER BY 1").fetchall() for name in names
        ]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.db"
    name = '"' + HOSTILE.replace('"', '""') + '"'
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(ODD)
        connection.execute(f"CREATE TABLE {name} ({name} TEXT)")
        connection.execute(f"INSERT INTO {name} VALUES ('x')")
        connection.commit()
    return path


def test_one_of_everything_comes_up_again_of_its_own_words(odd: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    made_again(written(odd), copy)
    assert described(copy) == described(odd)
    assert content(copy) == content(odd)
    with closing(sqlite3.connect(copy)) as connection:
        # what was given once is not given again
        assert connection.execute("INSERT INTO counted (name) VALUES ('d') RETURNING id").fetchone() == (4,)


def test_chinook_comes_up_again(chinook: Path, tmp_path: Path) -> None:
    original, copy = chinook / "Chinook_Sqlite.sqlite", tmp_path / "copy.db"
    made_again(written(original), copy)
    assert described(copy) == described(original)
    assert content(copy) == content(original)


CRAFTED = (
    "CREATE TABLE t (a); DROP TABLE canary",
    "DROP TABLE canary",
    "CREATE TABLE t (a) -- \n; DROP TABLE canary",
    "CREATE TABLE t AS SELECT * FROM canary",
    "CREATE TABLE other (a)",
    "CREATE TEMP TABLE t (a)",
    "CREATE TABLE temp.t (a)",
    "CREATE VIRTUAL TABLE t USING fts5(a)",
    "CREATE VIEW t AS SELECT 1",
    "CREATE TABLE IF NOT EXISTS t (a)",
    "create table t (a)",
    "CREATE TRIGGER t AFTER INSERT ON canary BEGIN SELECT 1; END",
    "CREATE TABLE t (a CHECK (a IN (SELECT 1)))",
    "CREATE TABLE t (a",
    "ATTACH 'evil.db' AS t",
    "PRAGMA writable_schema = on",
    "VACUUM INTO 'evil.db'",
    "BEGIN; COMMIT",
    "",
    "CREATE TABLE t (a)\0",
    "CREATE TABLE t (a DEFAULT '\udcff')",
)


@pytest.fixture
def live(tmp_path: Path) -> Path:
    path = tmp_path / "live.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE canary (a)")
        connection.execute("INSERT INTO canary VALUES (1)")
    return path


def before_and_after(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize("words", CRAFTED)
def test_g21_words_that_are_not_one_table_are_refused(live: Path, words: str) -> None:
    before = before_and_after(live)
    with pytest.raises(Refused, match="the table t in the rows file is nothing that SQLite keeps"):
        made_of(PortableSchema(tables=(Table("t", (Column("a", ""),), definition=words),)), live)
    assert before_and_after(live) == before
    assert not list(live.parent.glob("evil*"))


@pytest.mark.parametrize(
    "words",
    [
        "CREATE INDEX i ON canary (a)",
        "CREATE INDEX j ON t (a)",
        "CREATE INDEX i ON t (a); DROP TABLE canary",
        "CREATE INDEX main.i ON t (a)",
        "CREATE TABLE i (a)",
        "DELETE FROM canary",
        "CREATE INDEX i ON t ((SELECT 1))",
    ],
)
def test_g21_words_that_are_not_one_index_of_the_table_are_refused(live: Path, words: str) -> None:
    before = before_and_after(live)
    table = Table("t", (Column("a", ""),), indexes=(Index("i", words),), definition="CREATE TABLE t (a)")
    with pytest.raises(Refused, match="the index i in the rows file is nothing that SQLite keeps"):
        made_of(PortableSchema(tables=(table,)), live)
    assert before_and_after(live) == before


@pytest.mark.parametrize("name", ["sqlite_master", "sqlite_sequence", "sqlite_stat1", "sqlite_new"])
def test_g21_sqlites_own_tables_are_not_made(live: Path, name: str) -> None:
    with pytest.raises(Refused):
        made_of(PortableSchema(tables=(Table(name, definition=f"CREATE TABLE {name} (a)"),)), live)


def test_g21_a_number_is_given_to_a_table_that_counts_only(live: Path) -> None:
    plain = Table("t", definition="CREATE TABLE t (a)")
    counted = Table("c", definition="CREATE TABLE c (a INTEGER PRIMARY KEY AUTOINCREMENT)")
    for table in ("t", "c2", "canary"):
        with pytest.raises(Refused, match="does not count"):
            made_of(PortableSchema(tables=(plain,), sequences=(Sequence(table, 5, table=table),)), live)
    with pytest.raises(Refused, match="does not count"):
        made_of(PortableSchema(tables=(counted,), sequences=(Sequence("canary", 5, table="canary"),)), live)


def test_what_this_sqlite_lacks_is_listed_before_anything_is_touched(live: Path) -> None:
    before = before_and_after(live)
    t = Table(
        "t",
        indexes=(
            Index("i", "CREATE INDEX i ON t (a COLLATE ours)"),
            Index("k", "CREATE INDEX k ON t (shout(a))"),
        ),
        definition="CREATE TABLE t (a)",
    )
    u = Table("u", definition="CREATE TABLE u (a CHECK (shout(a)))")
    with pytest.raises(Refused) as caught:
        made_of(PortableSchema(tables=(t, u)), live, accept_losses=True)
    assert caught.value.details == "the table u needs what is not there: no such function: shout"
    with pytest.raises(Refused) as caught:
        made_of(PortableSchema(tables=(t,)), live)
    assert caught.value.details.splitlines() == [
        "the index i needs what is not there: no such collation sequence: ours",
        "the index k needs what is not there: no such function: shout",
    ]
    assert before_and_after(live) == before
    assert len(made_of(PortableSchema(tables=(t,)), live, accept_losses=True).losses) == 2
    assert [table.indexes for table in described(live).tables if table.name == "t"] == [()]


def test_names_that_are_taken_are_told_in_either_case(odd: Path, live: Path) -> None:
    schema = described(odd)
    for name in ("canary", "CANARY"):
        table = replace(schema.tables[0], name=name, definition=f"CREATE TABLE {name} (a)", indexes=())
        with pytest.raises(Refused, match=f"already has {name}"):
            made_of(PortableSchema(tables=(table,)), live)


def test_rows_that_break_an_index_leave_nothing_behind(tmp_path: Path) -> None:
    original, copy = tmp_path / "a.db", tmp_path / "b.db"
    with closing(sqlite3.connect(original)) as connection:
        connection.executescript(
            "CREATE TABLE t (a); CREATE UNIQUE INDEX i ON t (a); INSERT INTO t VALUES (1), (2)"
        )
        connection.commit()
    with pytest.raises(LoadFailed, match="the index i cannot be made"):
        made_again(written(original).replace(b"\n[2]", b"\n[1]"), copy)
    assert described(copy).tables == ()
