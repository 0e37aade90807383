"""Rows of a document into tables of a SQLite file, in bulk; every value keeps its storage class."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from ....errors import ArchiveDamaged, LoadFailed
from ....events import OnEvent, Progress
from ....models import Archive
from ....rows import Batch
from ....rows.schema import Table
from ...rows.archive import Head, opened_rows, prove_header
from ...rows.filling import none_of_its_tables, prove_all_came, prove_rows_came
from .wide import bytes_of_text, insert_statement, insert_wide, is_odd, stored_as

__all__ = ["fill_tables"]

ODD = b'{"text":'
"""How a value begins that is text and holds what is no character; a quote inside a text has a backslash."""


def fill_tables(
    live: sqlite3.Connection,
    filled: Sequence[str],
    head: Head,
    archive: Archive,
    on_event: OnEvent,
    *,
    only: bool = False,
) -> None:
    """Bring in every table that the document holds; each has to be one of these, unless only these are wanted.

    Raises:
        Refused: one is not. CountsDiffer: other rows came than the document has. LoadFailed, ArchiveDamaged: one does not go in.
    """
    waiting = set(filled)
    with opened_rows(archive) as document:
        for header in document.headers():
            if only and header.name not in waiting:
                continue
            if header.name not in waiting:
                raise none_of_its_tables(archive, header)
            waiting.discard(header.name)
            prove_header(archive, head, header)
            came = 0
            insert = _Insert(live, header.name, header.columns, archive.path.name)
            with closing(document.rows(Table(header.name))) as batches:
                for batch in batches:
                    came += insert.take(batch)
                    on_event(Progress(document.size_bytes))
            prove_rows_came(archive, header.name, came, document.row_count)
    prove_all_came(archive, waiting)


class _Insert:
    """Rows into one table, in bulk; text that is no text goes in as the bytes that it is."""

    def __init__(self, live: sqlite3.Connection, table: str, columns: tuple[str, ...], archive: str) -> None:
        self._live = live
        self._table = table
        self._archive = archive
        self._columns = columns
        self._codec = stored_as(live)

    def take(self, batch: Batch) -> int:
        """Insert them and return how many there were.

        Raises:
            LoadFailed: the table does not take one. ArchiveDamaged: a row is none.
        """
        cells = batch.cells()
        odd = cells is None and any(ODD in piece for piece in batch.lines())
        try:
            if cells is not None:
                insert_wide(self._live, self._table, self._columns, cells)
                return 1
            rows = batch.values()
            if any(len(row) != len(self._columns) for row in rows):
                raise ValueError("a row has not as many values as its table has columns")
            if odd:
                for row in rows:
                    self._live.execute(self._statement(row), [self._bound(value) for value in row])
            else:
                self._live.executemany(self._statement(()), rows)
        except (
            sqlite3.IntegrityError,
            sqlite3.ProgrammingError,
            sqlite3.InterfaceError,
            OverflowError,
        ) as exc:
            raise LoadFailed(f"rows of {self._table} do not go in: {exc}") from exc
        except (ValueError, TypeError, RecursionError) as exc:
            raise ArchiveDamaged(
                f"{self._archive}: a row of {self._table} cannot be read", details=str(exc)
            ) from exc
        return len(rows)

    def _statement(self, row: Sequence[Any]) -> str:
        values = ["CAST(? AS TEXT)" if is_odd(value) else "?" for value in row]
        return insert_statement(self._table, self._columns, values)

    def _bound(self, value: Any) -> Any:
        return bytes_of_text(value, self._codec) if is_odd(value) else value
