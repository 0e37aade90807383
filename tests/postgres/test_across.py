"""From SQLite into PostgreSQL and back, by rows files: what goes comes back equal, what does not is listed first."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from dbtasks.rows.across.convert import csv_from_sqlite, rows_for_sqlite, unfit_for_sqlite
from dbtasks.rows.across.profile import Profile, profiles_of_batch
from dbtasks.rows.across.to_postgres import ToPostgres, to_postgres
from dbtasks.rows.across.to_sqlite import ToSqlite, to_sqlite
from dbtasks.rows.file import FileSource
from dbtasks.rows.lines import COPY_OPTIONS
from dbtasks.rows.losses import prove_losses
from dbtasks.rows.postgres.creating import creating
from dbtasks.rows.postgres.spelling import split_name
from dbtasks.rows.sqlite.create import creating as creating_sqlite
from dbtasks.rows.sqlite.schema import quoted
from dbtasks.sessions import connect
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres import odd, rich
from tests.postgres.portable import described, texts_of
from tests.postgres.portable import written as written_postgres
from tests.sqlite.portable import written as written_sqlite


def profiled(document: bytes) -> dict[str, dict[str, Profile]]:
    source = FileSource(io.BytesIO(document), "file.json")
    found: dict[str, dict[str, Profile]] = {}
    for header in source.headers():
        table = source.schema.table(header.name)
        assert table
        known: dict[str, Profile] = {name: Profile() for name in header.columns}
        for batch in source.rows(table):
            profiles_of_batch(batch, known)
        found[header.name] = known
    return found


def into_postgres(document: bytes, database: PgDatabase) -> ToPostgres:
    source = FileSource(io.BytesIO(document), "file.json")
    mapped = to_postgres(source.schema, profiled(document))
    prove_losses(mapped.losses, accepted=True)
    with connect(database.target) as session:
        session.execute("BEGIN")
        with creating(session, mapped.schema):
            for header in source.headers():
                table = source.schema.table(header.name)
                assert table
                query = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
                    sql.Identifier(*split_name(mapped.names[header.name])),
                    sql.SQL(", ").join(map(sql.Identifier, header.columns)),
                    sql.SQL(COPY_OPTIONS),
                )
                session.copy_in(query, csv_from_sqlite(source.rows(table), mapped.hows[header.name]))
        session.execute("COMMIT")
    return mapped


def into_sqlite(document: bytes, path: Path) -> ToSqlite:
    source = FileSource(io.BytesIO(document), "file.json")
    mapped = to_sqlite(source.schema)
    prove_losses(mapped.losses, accepted=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        with creating_sqlite(connection, mapped.schema):
            for header in source.headers():
                table = source.schema.table(header.name)
                assert table
                hows = mapped.hows[header.name]
                names = ", ".join(map(quoted, header.columns))
                marks = ", ".join("?" * len(hows))
                insert = f"INSERT INTO {quoted(mapped.names[header.name])} ({names}) VALUES ({marks})"
                for batch in source.rows(table):
                    connection.executemany(insert, rows_for_sqlite(batch, hows))
        connection.execute("COMMIT")
    return mapped


def rows_of(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY name"
        names = [name for (name,) in connection.execute(query)]
        return {
            name: sorted(connection.execute(f"SELECT * FROM {quoted(name)}").fetchall(), key=repr)
            for name in names
        }


def made(path: Path, script: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(script)
        connection.commit()
    return path


def test_chinook_goes_into_postgresql_and_comes_back_equal(
    chinook: Path, any_db: PgDatabase, tmp_path: Path
) -> None:
    original, back = chinook / "Chinook_Sqlite.sqlite", tmp_path / "back.db"
    there = into_postgres(written_sqlite(original), any_db)
    assert there.losses == ()
    schema = described(any_db)
    assert len(schema.tables) == 11
    assert sum(len(table.foreign_keys) for table in schema.tables) == 11
    track = schema.table("public.Track")
    assert track
    types = {column.name: (column.type, column.identity) for column in track.columns}
    assert types["TrackId"] == ("bigint", "by default")
    assert (types["Name"][0], types["UnitPrice"][0]) == ("character varying(200)", "numeric(10,2)")
    into_sqlite(written_postgres(any_db), back)
    assert rows_of(back) == rows_of(original)


TYPED = """
CREATE TABLE typed (
    id INTEGER PRIMARY KEY AUTOINCREMENT, flag BOOLEAN DEFAULT 1, small BOOL, born DATE, at DATETIME DEFAULT CURRENT_TIMESTAMP,
    t TIME, u UUID, j JSON, price DECIMAL(10,2) DEFAULT 0.5, ratio REAL, n NUMERIC, b BLOB, anything, name VARCHAR(10) DEFAULT 'it''s', long VARCHAR(3)
);
CREATE TABLE child (typed_id INTEGER REFERENCES TYPED (ID) ON DELETE CASCADE ON UPDATE SET NULL, k TEXT, PRIMARY KEY (typed_id, k)) WITHOUT ROWID;
CREATE INDEX "by name" ON typed (name DESC, [price]);
CREATE UNIQUE INDEX child_k ON child (k);
INSERT INTO typed VALUES (7, 1, 0, '2024-02-29', '2024-02-29 23:59:59.5', '12:00:01', '00000000-0000-0000-0000-00000000000a', '{"a" : [1, 1.0]}',
    10.25, 1e300, 3, x'00ff', 'text', 'ten chars!', 'longer');
INSERT INTO typed (id, small, ratio, n, price) VALUES (9, 1, 9e999, 0.1, 3);
INSERT INTO child VALUES (7, 'a"b\\c,
d');
DELETE FROM typed WHERE id = 10;
"""


def test_declared_types_become_types_where_every_value_comes_back(pg_db: PgDatabase, tmp_path: Path) -> None:
    original, back = made(tmp_path / "a.db", TYPED), tmp_path / "back.db"
    there = into_postgres(written_sqlite(original), pg_db)
    assert list(map(str, there.losses)) == [
        "typed.long is declared VARCHAR(3) and becomes text: its longest text has 6 characters"
    ]
    typed = described(pg_db).table("public.typed")
    assert typed
    assert {column.name: column.type for column in typed.columns} == {
        "id": "bigint",
        "flag": "boolean",
        "small": "boolean",
        "born": "date",
        "at": "timestamp without time zone",
        "t": "time without time zone",
        "u": "uuid",
        "j": "json",
        "price": "numeric(10,2)",
        "ratio": "double precision",
        "n": "numeric",
        "b": "bytea",
        "anything": "text",
        "name": "character varying(10)",
        "long": "text",
    }
    assert [index.definition.partition("USING")[2] for index in typed.indexes] == [
        " btree (name DESC, price)"
    ]
    given = pg_db.run(
        "INSERT INTO public.typed DEFAULT VALUES RETURNING id, flag, price::text, name, at IS NULL"
    )
    assert given == [(10, True, "0.50", "it's", False)]
    assert pg_db.run("DELETE FROM typed WHERE id = 7") == []
    assert pg_db.run("SELECT count(*) FROM child") == [(0,)]
    pg_db.run("DELETE FROM typed WHERE id = 10")
    into_sqlite(written_postgres(pg_db), back)
    before = rows_of(original)["typed"]
    # numerics without a scale are texts, which keeps every digit
    expected = [
        (*row[:10], None if row[10] is None else str(row[10]), *row[11:]) for row in before if row[0] == 9
    ]
    assert rows_of(back)["typed"] == expected


@pytest.mark.parametrize(
    ("script", "lost"),
    [
        (
            "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), ('x')",
            "t.a holds 1 integer and 1 text, which no one type does",
        ),
        (
            "CREATE TABLE t (a); INSERT INTO t VALUES (1.5), (x'00')",
            "t.a holds 1 real and 1 blob, which no one type does",
        ),
        (
            "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (char(97, 0))",
            "t.a holds 1 text with a zero byte or no UTF-8, which no one type does",
        ),
        (
            "CREATE TABLE t (a TEXT PRIMARY KEY); INSERT INTO t VALUES (NULL)",
            "the primary key of t holds NULL in a",
        ),
    ],
)
def test_what_no_type_holds_is_listed_first_and_holds_up_the_whole(
    tmp_path: Path, script: str, lost: str
) -> None:
    document = written_sqlite(made(tmp_path / "a.db", script))
    source = FileSource(io.BytesIO(document), "file.json")
    losses = to_postgres(source.schema, profiled(document)).losses
    assert [(str(loss), loss.holds_up) for loss in losses] == [(lost, True)]


def test_what_is_left_behind_on_the_way_to_postgresql_is_told(tmp_path: Path) -> None:
    script = """
        CREATE TABLE p (a TEXT COLLATE NOCASE CHECK (a <> ''), b AS (a || 'x'), c TEXT DEFAULT (lower('X')));
        CREATE TABLE q (x INTEGER REFERENCES gone (id), y INTEGER REFERENCES p (c));
        CREATE INDEX i ON p (lower(a)); CREATE INDEX j ON p (a) WHERE a > 'b';
    """
    document = written_sqlite(made(tmp_path / "a.db", script))
    source = FileSource(io.BytesIO(document), "file.json")
    losses = to_postgres(source.schema, profiled(document)).losses
    assert not any(loss.holds_up for loss in losses)
    assert [str(loss) for loss in losses] == [
        "the table p goes without its CHECKs",
        "the table p goes without its collations",
        "the default of p.c is not carried: lower('X')",
        "p.b is computed, and not carried",
        "the index i is over more than columns, and not carried",
        "the index j is over more than columns, and not carried",
        "the foreign key of q (x) to gone refers to what does not come along",
        "the foreign key of q (y) to p refers to columns that are no key",
    ]


def test_one_of_everything_goes_into_sqlite_and_what_does_not_is_told(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(odd.SCHEMA)
    path = tmp_path / "a.db"
    mapped = into_sqlite(written_postgres(pg_db), path)
    assert not any(loss.holds_up for loss in mapped.losses)
    told = {str(loss) for loss in mapped.losses}
    assert {
        "the sequence public.fresh is not carried: SQLite has none",
        "public.Everything.search is computed, and not carried",
        "the check arrays of public.Everything is not carried",
        "the table public.parts is one table, without partitions",
        "the table public.kid does not inherit any more",
    } <= told
    held = rows_of(path)
    assert {name: len(rows) for name, rows in held.items() if rows} == {
        "Everything": 1, "a": 2, "adopted": 1, "b": 2, "grandkid": 1, "hashed": 10, "kid": 1, "parts": 2,
    }  # fmt: skip
    assert [row[:2] for row in held["parts"]] == [(1, "de"), (2, "us")]
    assert held["b"] == [(10, 1, "(5,6,7)"), (None, 2, None)]
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_the_awkward_schema_goes_into_sqlite(pg_db: PgDatabase, tmp_path: Path) -> None:
    rich.fill(pg_db)
    pg_db.run("DROP TABLE public.nothing")
    path = tmp_path / "a.db"
    into_sqlite(written_postgres(pg_db), path)
    held = rows_of(path)
    assert (len(held["customer"]), len(held["orders"]), len(held[rich.HOSTILE])) == (50, 500, 2)
    texts = [row[1] for row in held["customer"]]
    assert texts == [row[1] for row in texts_of(pg_db)["public.customer"]]


def test_nan_is_no_number_to_sqlite(pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TABLE t (a float8, b numeric(5,2), c numeric); INSERT INTO t VALUES ('NaN', 'NaN', 'NaN'), (1, 2, 3)"
    )
    source = FileSource(io.BytesIO(written_postgres(pg_db)), "file.json")
    hows = to_sqlite(source.schema).hows["public.t"]
    (table,) = source.schema.tables
    counts = [unfit_for_sqlite(batch, hows) for batch in source.rows(table)]
    assert [sum(column) for column in zip(*counts, strict=True)] == [1, 1, 0]


VALUES = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))),
    st.binary(max_size=20),
    st.sampled_from(
        [
            "2024-01-01",
            "2024-01-01 00:00:00",
            "12:00:00",
            "{}",
            "null",
            "true",
            "0",
            "1",
            "1e5",
            " 1",
            "\\x00",
            "null",
            "",
        ]
    ),
    st.sampled_from([0, 1]),
)
DECLARED = st.sampled_from(
    [
        "",
        "INTEGER",
        "BOOLEAN",
        "TEXT",
        "VARCHAR(5)",
        "BLOB",
        "REAL",
        "NUMERIC",
        "DECIMAL(6,2)",
        "DATE",
        "DATETIME",
        "TIME",
        "UUID",
        "JSON",
    ]
)


@pytest.fixture(scope="module")
def across(pg: PgServer) -> Any:
    with pg.fresh() as database:
        yield database


@pytest.mark.long
@given(DECLARED, st.lists(VALUES, max_size=4))
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_goes_into_postgresql_is_read_there_as_it_was(
    across: PgDatabase, tmp_path_factory: pytest.TempPathFactory, declared: str, values: list[Any]
) -> None:
    path = tmp_path_factory.mktemp("across") / "a.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE t (v {declared})")
        connection.executemany("INSERT INTO t VALUES (?)", [(value,) for value in values])
        held = [value for (value,) in connection.execute("SELECT v FROM t ORDER BY rowid")]
    across.run("DROP TABLE IF EXISTS public.t")
    document = written_sqlite(path)
    source = FileSource(io.BytesIO(document), "file.json")
    mapped = to_postgres(source.schema, profiled(document))
    if any(loss.holds_up for loss in mapped.losses):
        return
    into_postgres(document, across)
    found = [value for (value,) in across.run("SELECT v::text FROM public.t")]
    how = mapped.hows["t"][0]
    assert len(found) == len(held)
    for text, value in zip(found, held, strict=True):
        assert same(text, value, how), (text, value, mapped.schema)


def same(text: str | None, value: Any, how: str) -> bool:
    if value is None or text is None:
        return text is value
    if isinstance(value, bytes):
        return text == f"\\x{value.hex()}"
    if isinstance(value, int | float):
        return (
            bool(text) is True and (text == "true") == bool(value)
            if how == "boolean"
            else float(text) == float(value)
            and (isinstance(value, float) or int(float(text)) == int(float(value)))
        )
    return text == value
