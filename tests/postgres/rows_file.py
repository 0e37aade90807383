"""What a rows backup holds, read by an ordinary JSON reader; and its values put back by their text."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg2 import sql

from dbtasks.engines.postgres.facts import reading_snapshot, relations
from dbtasks.rows.copy import copy_tables
from dbtasks.rows.file import FileSink, FileSource
from dbtasks.rows.lines import COPY_OPTIONS
from dbtasks.rows.postgres.csv import csv_of
from dbtasks.rows.postgres.source import PostgresSource, fix_reading
from dbtasks.rows.schema import document_of
from dbtasks.sessions import connect
from tests.fix_postgres import PgDatabase


def document(path: Path) -> dict[str, Any]:
    """Read a whole archive with the standard library alone."""
    with gzip.open(path, "rb") as stream:
        read: dict[str, Any] = json.load(stream)
    return read


def written(database: PgDatabase, *tables: str) -> dict[str, Any]:
    """Write these tables (or all) into memory and read the document."""
    read: dict[str, Any] = json.loads(written_bytes(database, *tables))
    return read


def written_bytes(database: PgDatabase, *tables: str) -> bytes:
    """Write these tables (or all) into memory."""
    with connect(database.target) as session, reading_snapshot(session):
        wanted = [r.oid for r in relations(session) if r.kind == "r" and (not tables or str(r) in tables)]
        source = PostgresSource(session, wanted)
        buffer = io.BytesIO()
        sink = FileSink(buffer, {"schema": document_of(source.schema)})
        copy_tables(source, sink, source.tables)
        sink.finish()
    return buffer.getvalue()


def loaded_back(database: PgDatabase, table: str, document: bytes) -> None:
    """Load the rows of a document's only table into another one, as a restore does."""
    with connect(database.target) as session:
        session.execute("BEGIN")
        # in place the role's own settings hold, but for those that reading needs
        session.execute(
            "SET DateStyle = 'SQL, DMY'; SET TimeZone = 'Asia/Kathmandu'; SET IntervalStyle = sql_standard"
        )
        session.execute("SET array_nulls = off; SET extra_float_digits = -15; SET bytea_output = escape")
        fix_reading(session)
        source = FileSource(io.BytesIO(document), "document")
        for header in source.headers():
            query = sql.SQL("COPY public.{} FROM STDIN ({})").format(
                sql.Identifier(table), sql.SQL(COPY_OPTIONS)
            )
            assert session.copy_in(query, csv_of(source.pieces(), header.name)) == source.row_count
        session.execute("COMMIT")


def rows_in(document: dict[str, Any], table: str) -> list[list[Any]]:
    """Return one table's rows; their number is the one the document says."""
    held = document["tables"][table]
    assert held["row_count"] == len(held["data"])
    rows: list[list[Any]] = held["data"]
    return rows


def put_back(database: PgDatabase, table: str, rows: Iterable[list[Any]]) -> None:
    """Insert rows into a table by their texts, as PostgreSQL reads them."""
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD'; SET lc_monetary = 'C'")
        for row in rows:
            values = sql.SQL(", ").join(sql.Literal(None if v is None else _text(v)) for v in row)
            cursor.execute(
                sql.SQL("INSERT INTO {} OVERRIDING SYSTEM VALUE VALUES ({})").format(
                    sql.Identifier(table), values
                )
            )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def bits(database: PgDatabase, table: str) -> bytes:
    """Return what the binary COPY writes of a table: equal bytes are equal values."""
    buffer = io.BytesIO()
    with closing(database.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET synchronize_seqscans = off")
        query = sql.SQL("COPY {} TO STDOUT (FORMAT binary)").format(sql.Identifier(table))
        cursor.copy_expert(query, buffer)
    return buffer.getvalue()


def without_outline(archive: Path, folder: Path) -> Path:
    """Write a copy of rows without definitions that does not tell their types either, as the first versions made them."""
    first, rest = gzip.decompress(archive.read_bytes()).split(b"\n", 1)
    told = json.loads(first.removeprefix(b'{"metadata": ').rstrip(b","))
    del told["outline"]
    copy = folder / "bare.json.gz"
    copy.write_bytes(gzip.compress(b'{"metadata": %b,\n%b' % (json.dumps(told).encode(), rest)))
    return copy
