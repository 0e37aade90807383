"""Rows of an older tool's document into tables of a SQLite file that are there."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from ....errors import LoadFailed
from ....events import OnEvent
from ....models import Archive
from ....rows.file import Header
from ....rows.older.to_sqlite import sqlite_reader_for
from ....rows.sqlite.schema import describe, plain_tables
from ...rows.archive import Head, opened_older
from ...rows.filling import none_of_its_tables, prove_all_came, prove_rows_came
from ...rows.older import OlderTable, named_here, prove_values, read_rows, tables_of, without_computed
from .. import facts
from ..affinity import affinity_of
from .wide import insert_statement

__all__ = ["fill_older", "place_older", "prove_older"]


def place_older(connection: sqlite3.Connection, archive: Archive, head: Head) -> tuple[Head, tuple[str, ...]]:
    """Look the document's tables up by their names, in whatever case.

    Returns the head with the names that are here, without columns that are computed here, and what is to be said of these.

    Raises:
        Refused: two of them are one here.
    """
    here = {name.lower(): name for name in plain_tables(connection, facts.table_names(connection))}
    found = {name: [here[name.lower()]] for name in head.filled if name.lower() in here}
    placed = named_here(archive, head, found)
    return without_computed(placed, describe(connection, [name for (name,) in found.values()]))


def _table_of(connection: sqlite3.Connection, head: Head) -> Callable[[Header], OlderTable | None]:
    there = set(facts.table_names(connection))
    live = describe(connection, [name for name in head.filled if name in there])

    def reader_of(declared: str) -> Callable[[Any], Any]:
        return sqlite_reader_for(declared, affinity_of(declared))

    return tables_of(head, live, reader_of)


def prove_older(connection: sqlite3.Connection, archive: Archive, head: Head) -> None:
    """Read every value as its column will; see `prove_values`."""
    prove_values(archive, _table_of(connection, head))


def fill_older(
    live: sqlite3.Connection, filled: Sequence[str], head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Bring in every table of the document, in the caller's transaction.

    Raises:
        Refused: one is none of those that were emptied. CountsDiffer: other rows came than the document has.
        LoadFailed: a row does not go in.
    """
    waiting = set(filled)
    table_of = _table_of(live, head)
    with opened_older(archive) as document:
        for header in document.headers():
            table = table_of(header)
            if table is None or table.name not in waiting:
                raise none_of_its_tables(archive, header)
            waiting.discard(table.name)
            insert = insert_statement(table.name, table.columns)
            came = 0
            for rows in read_rows(document, table, on_event):
                try:
                    live.executemany(insert, rows)
                except (sqlite3.IntegrityError, sqlite3.ProgrammingError, OverflowError) as exc:
                    raise LoadFailed(f"rows of {table.name} do not go in: {exc}") from exc
                came += len(rows)
            prove_rows_came(archive, table.name, came, document.row_count)
    prove_all_came(archive, waiting)
