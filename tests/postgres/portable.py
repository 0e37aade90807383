"""A database written into a rows file, and made again of nothing but that file: without pg_dump."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from psycopg2 import sql

from dbtasks.engines.postgres.facts import reading_snapshot, relations
from dbtasks.rows.copy import copy_tables
from dbtasks.rows.file import FileSink, FileSource
from dbtasks.rows.lines import COPY_OPTIONS
from dbtasks.rows.postgres.create import Creation
from dbtasks.rows.postgres.creating import creating
from dbtasks.rows.postgres.source import PostgresSource
from dbtasks.rows.postgres.spelling import split_name
from dbtasks.rows.schema import PortableSchema, document_of
from dbtasks.sessions import PsycopgSession, connect
from tests.fix_postgres import PgDatabase


def written(database: PgDatabase, *tables: str) -> bytes:
    """Write a database, or these tables of it, as a rows file, uncompressed."""
    with connect(database.target) as session, reading_snapshot(session):
        source = source_of(session, *tables)
        buffer = io.BytesIO()
        sink = FileSink(buffer, {"schema": document_of(source.schema)})
        copy_tables(source, sink, source.tables)
        sink.finish()
    return buffer.getvalue()


def source_of(session: PsycopgSession, *tables: str) -> PostgresSource:
    found = [r for r in relations(session) if not tables or str(r) in tables]
    return PostgresSource(
        session,
        [r.oid for r in found if r.kind == "r"],
        without_rows=[r.oid for r in found if r.kind == "p"],
        sequences=[r.oid for r in found if r.kind == "S"],
    )


def described(database: PgDatabase) -> PortableSchema:
    with connect(database.target) as session, reading_snapshot(session):
        return source_of(session).schema


def lines_of(schema: PortableSchema) -> list[str]:
    """One part of the schema per line, so that a difference can be read."""
    document = document_of(schema)
    return [
        f"{kind} {json.dumps(part, sort_keys=True)}" for kind, parts in document.items() for part in parts
    ]


def made_again(document: bytes, database: PgDatabase, **options: Any) -> Creation:
    """Make the schema and load the rows, in one transaction."""
    source = FileSource(io.BytesIO(document), "file.json")
    with connect(database.target) as session:
        session.execute("BEGIN")
        with creating(session, source.schema, **options) as creation:
            for header in source.headers():
                _load(session, source, header.name)
        session.execute("COMMIT")
    return creation


def made_of(schema: PortableSchema, database: PgDatabase, **options: Any) -> Creation:
    """Make a schema without rows."""
    with connect(database.target) as session:
        session.execute("BEGIN")
        with creating(session, schema, **options) as creation:
            pass
        session.execute("COMMIT")
    return creation


def _load(session: PsycopgSession, source: FileSource, name: str) -> None:
    table = source.schema.table(name)
    assert table
    whole = json.loads(b"[%b]" % b"".join(source.pieces()))
    if not table.data_columns:
        return
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    for row in whole:
        # NULL is what stands without quotes
        line = io.StringIO()
        writer = csv.writer(
            line, quoting=csv.QUOTE_ALL, doublequote=False, escapechar="\\", lineterminator=""
        )
        pieces = []
        for value in row:
            line.seek(0)
            line.truncate()
            writer.writerow([json.dumps(value) if not isinstance(value, str) else value])
            pieces.append("null" if value is None else line.getvalue())
        text.write(",".join(pieces) + "\n")
    text.seek(0)
    columns = [sql.Identifier(column.name) for column in table.data_columns]
    query = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
        sql.Identifier(*split_name(name)), sql.SQL(", ").join(columns), sql.SQL(COPY_OPTIONS)
    )
    with session._connection.cursor() as cursor:
        cursor.copy_expert(query, text)


def texts_of(database: PgDatabase) -> dict[str, list[tuple[Any, ...]]]:
    """Return every table's own rows as the server spells them, sorted."""
    found = {}
    for table in described(database).tables:
        if table.partition_by or not table.columns:
            continue
        columns = [sql.SQL("{}::text").format(sql.Identifier(column.name)) for column in table.columns]
        query = sql.SQL("SELECT {} FROM ONLY {}").format(
            sql.SQL(", ").join(columns), sql.Identifier(*split_name(table.name))
        )
        with connect(database.target) as session:
            found[table.name] = sorted(session.rows(query), key=repr)
    return found
