"""A SQLite file in PostgreSQL as its choices say, for tests: without the flow around it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from psycopg2 import sql

from dbtasks.rows.across.spellers import lines_of, long_line
from dbtasks.rows.migration.casts import Cast
from dbtasks.rows.migration.choices import Choices, choose, survey_for
from dbtasks.rows.migration.forms import form_of
from dbtasks.rows.postgres.creating import creating
from dbtasks.rows.postgres.source import fix_values
from dbtasks.rows.postgres.spelling import split_name
from dbtasks.rows.schema import PortableSchema, Table
from dbtasks.rows.sqlite.numbered import NumberedLong, NumberedRows, numbered
from dbtasks.rows.sqlite.schema import beside_tables, describe
from dbtasks.sessions import connect
from tests.fix_postgres import PgDatabase

TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"


@contextmanager
def opened(path: Path) -> Iterator[tuple[sqlite3.Connection, PortableSchema]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN")
        names = sorted(name for (name,) in connection.execute(TABLES))
        yield connection, describe(connection, names)


def chosen(path: Path, *casts: str, live: PortableSchema | None = None) -> Choices:
    with opened(path) as (connection, schema):
        parsed = [Cast.parse(cast) for cast in casts]
        survey = survey_for(schema, parsed, live)
        survey.read(connection)
        return choose(schema, survey, casts=parsed, live=live, beside=beside_tables(connection))


def lines(path: Path, choices: Choices, table: str) -> list[str]:
    """Return the rows of a table as they are sent."""
    with opened(path) as (connection, schema):
        found = schema.table(table)
        assert found
        kept = [one.column for one in choices.columns[table]]
        places = [place for place, column in enumerate(found.data_columns) if column.name in kept]
        return list(_lines(connection, found, places, choices.hows(table)))


def _lines(
    connection: sqlite3.Connection, table: Table, places: Sequence[int], hows: Sequence[str]
) -> Iterator[str]:
    for batch in numbered(connection, table):
        if isinstance(batch, NumberedRows):
            yield from lines_of([[row[place] for place in places] for row in batch.rows], hows)
        elif isinstance(batch, NumberedLong):
            yield b"".join(long_line([batch.values[place] for place in places], hows)).decode()


def brought(path: Path, choices: Choices, database: PgDatabase) -> dict[str, tuple[list[str], list[str]]]:
    """Make the tables, bring in the rows, and return for each what was sent and what COPY gives back."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    with connect(database.target) as session:
        session.execute("BEGIN")
        with creating(session, choices.schema):
            for name in choices.order:
                sent = lines(path, choices, name)
                into = sql.SQL("{} ({})").format(
                    sql.Identifier(*split_name(choices.names[name])),
                    sql.SQL(", ").join(sql.Identifier(one.into) for one in choices.columns[name]),
                )
                block = "".join(f"{line}\n" for line in sent).encode()
                session.copy_in(sql.SQL("COPY {} FROM STDIN").format(into), iter([block]))
                fix_values(session)
                came: list[bytes] = []
                session.copy_out(sql.SQL("COPY {} TO STDOUT").format(into), came.append)
                found[name] = (sent, [line.decode().rstrip("\n") for line in came])
        session.execute("COMMIT")
    return found


def formed(rows: Sequence[str], choices: Choices, table: str) -> list[list[str]]:
    """Return the rows in the form in which both sides are compared."""
    columns: list[Any] = [list(column) for column in zip(*(row.split("\t") for row in rows), strict=True)]
    for place, one in enumerate(choices.columns[table]):
        form = form_of(one.how)
        if form and columns:
            columns[place] = form(columns[place])
    return [list(row) for row in zip(*columns, strict=True)]
