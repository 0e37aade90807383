"""A SQLite file written into a rows file, and made again of nothing but that."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from dbtasks.engines.sqlite.facts import table_names
from dbtasks.rows.copy import copy_tables
from dbtasks.rows.file import FileSink, FileSource
from dbtasks.rows.schema import PortableSchema, document_of
from dbtasks.rows.sqlite.create import SqliteCreation, creating
from dbtasks.rows.sqlite.schema import describe, plain_tables, quoted
from dbtasks.rows.sqlite.source import SqliteSource


def written(path: Path) -> bytes:
    with closing(sqlite3.connect(path)) as connection:
        source = SqliteSource(connection, plain_tables(connection, table_names(connection)))
        buffer = io.BytesIO()
        sink = FileSink(buffer, {"schema": document_of(source.schema)})
        copy_tables(source, sink, source.tables)
        sink.finish()
    return buffer.getvalue()


def described(path: Path) -> PortableSchema:
    with closing(sqlite3.connect(path)) as connection:
        return describe(connection, sorted(plain_tables(connection, table_names(connection))))


def made_again(document: bytes, path: Path, **options: Any) -> SqliteCreation:
    source = FileSource(io.BytesIO(document), "file.json")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        with creating(connection, source.schema, **options) as creation:
            for header in source.headers():
                table = source.schema.table(header.name)
                assert table
                names = ", ".join(quoted(name) for name in header.columns)
                for batch in source.rows(table):
                    for row in batch.values():
                        marks = ", ".join(
                            "CAST(? AS TEXT)" if isinstance(value, str) else "?" for value in row
                        )
                        held = [
                            value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
                            for value in row
                        ]
                        connection.execute(
                            f"INSERT INTO {quoted(table.name)} ({names}) VALUES ({marks})", held
                        )
        connection.execute("COMMIT")
    return creation


def made_of(schema: PortableSchema, path: Path, **options: Any) -> SqliteCreation:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        with creating(connection, schema, **options) as creation:
            pass
        connection.execute("COMMIT")
    return creation
