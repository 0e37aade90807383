"""SQLite as a table source: each value by its own storage class, whatever its column was declared as.

JSON holds most values as they are. The others come as an object of one name:
integers that not every JSON reader holds exactly, infinities, blobs, and text
that is no text. Values too long to be held make SQLite itself stop in front of
their row; it is then read by its rowid, and they are streamed.
"""

from __future__ import annotations

import codecs
import json
import math
import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from sys import getsizeof
from typing import Any

from .. import BATCH_BYTES, Batch
from ..cells import cells_of
from ..lines import from_values, read_values, string_part
from ..schema import PortableSchema, Table
from .schema import describe, quoted
from .words import counts_itself

__all__ = [
    "CODECS",
    "EXACT",
    "LONG_BYTES",
    "SLICE_BYTES",
    "TEXT",
    "LongRow",
    "Rows",
    "SqliteSource",
    "rowid_of",
    "spelled",
]

EXACT = (1 << 53) - 1
"""The largest integer that every JSON reader holds exactly."""
LONG_BYTES = 1 << 20
"""A value of more than this is streamed."""
SLICE_BYTES = 1 << 18
TEXT = partial(str, encoding="utf-8", errors="surrogateescape")
ROWIDS = ("rowid", "_rowid_", "oid")
CODECS = {"UTF-8": "utf-8", "UTF-16le": "utf-16-le", "UTF-16be": "utf-16-be"}


def spelled(value: Any) -> Any:
    """Return what stands in JSON for one value of SQLite's."""
    if isinstance(value, bytes):
        return {"blob": value.hex()}
    if isinstance(value, int) and not -EXACT <= value <= EXACT:
        return {"integer": str(value)}
    if isinstance(value, float) and not math.isfinite(value):
        return {"real": str(value)}
    if isinstance(value, str) and not _is_text(value):
        return {"text": value.encode("utf-8", "surrogateescape").hex()}
    return value


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


class SqliteSource:
    """The tables of one open database, within the caller's read transaction."""

    def __init__(
        self, connection: sqlite3.Connection, tables: Sequence[str], *, without_rows: Sequence[str] = ()
    ) -> None:
        self._connection = connection
        self._with_rows = frozenset(tables)
        self._schema = describe(connection, sorted((*tables, *without_rows)))

    @property
    def schema(self) -> PortableSchema:
        """All tables that were named."""
        return self._schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those whose rows are asked for."""
        return tuple(table for table in self._schema.tables if table.name in self._with_rows)

    def rows(self, table: Table) -> Generator[Batch]:
        """Read the rows in the order of their rowid."""
        with self._reading():
            rowid = rowid_of(self._connection, table)
            if rowid is None:
                yield from self._read(table, "")
                return
            last: int | None = None
            while True:
                where = f" WHERE {rowid} > {last}" if last is not None else ""
                done = 0
                try:
                    with self._limited():
                        for batch in self._read(table, f"{where} ORDER BY {rowid}"):
                            yield batch
                            done += batch.count
                    return
                except sqlite3.DataError:
                    pass
                query = (
                    f"SELECT {rowid} FROM {quoted(table.name)}{where} ORDER BY {rowid} LIMIT 1 OFFSET {done}"  # noqa: S608 - quoted
                )
                ((last,),) = self._connection.execute(query)
                yield LongRow(self._connection, table, rowid, int(last or 0))

    def _read(self, table: Table, rest: str) -> Iterator[Rows]:
        names = ", ".join(quoted(column.name) for column in table.data_columns)
        rows: list[tuple[Any, ...]] = []
        waiting = 0
        cursor = self._connection.execute(f"SELECT {names} FROM {quoted(table.name)}{rest}")  # noqa: S608 - quoted
        try:
            for row in cursor:
                rows.append(row)
                waiting += sum(map(getsizeof, row))
                if waiting >= BATCH_BYTES:
                    yield Rows(rows)
                    rows, waiting = [], 0
        except sqlite3.DataError:
            # what came before the row that is too long
            if rows:
                yield Rows(rows)
            raise
        if rows:
            yield Rows(rows)

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Let text that is not UTF-8 come with its bytes, and not as an error."""
        before = self._connection.text_factory
        self._connection.text_factory = TEXT
        try:
            yield
        finally:
            self._connection.text_factory = before

    @contextmanager
    def _limited(self) -> Iterator[None]:
        before = self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONG_BYTES)
        try:
            yield
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)


def rowid_of(connection: sqlite3.Connection, table: Table) -> str | None:
    """Return what stands for the rowid in SQL; None where nothing does: without one, or with columns of all its names.

    `table` may have some of its columns only: SQLite itself is asked for all of them, computed ones too.
    """
    (whole,) = describe(connection, (table.name,)).tables
    taken = {column.name.lower() for column in whole.columns}
    name = next((name for name in ROWIDS if name not in taken), None)
    if name is None:
        own = counts_itself(whole)
        return None if own is None else quoted(own)
    try:
        connection.execute(f"SELECT {name} FROM {quoted(table.name)} LIMIT 0")  # noqa: S608 - quoted
    except sqlite3.OperationalError:
        return None
    return name


@dataclass(frozen=True)
class Rows:
    """A batch of rows as SQLite gave them."""

    rows: list[tuple[Any, ...]]

    @property
    def count(self) -> int:
        """How many."""
        return len(self.rows)

    def lines(self) -> Iterable[bytes]:
        """Spell them; in bulk where nothing in them has to be looked at one by one."""
        if not any(map(_is_large, zip(*self.rows, strict=True))):
            try:
                return (from_values(self.rows, default=spelled).text,)
            except (ValueError, UnicodeEncodeError):
                pass
        return (from_values([[spelled(value) for value in row] for row in self.rows]).text,)

    def values(self) -> Sequence[Sequence[Any]]:
        """Return them as they are."""
        return self.rows

    def cells(self) -> None:
        """They can be held."""


def _is_large(column: Iterable[Any]) -> bool:
    """Whether a column has an integer that has to be spelled."""
    numbers = [value for value in column if type(value) is int]
    return bool(numbers) and (max(numbers) > EXACT or min(numbers) < -EXACT)


class LongRow:
    """One row with values too long to be held; they are read while its lines are."""

    count = 1

    def __init__(self, connection: sqlite3.Connection, table: Table, rowid: str, number: int) -> None:
        self._connection = connection
        self._table = table
        self._where = f" FROM {quoted(table.name)} WHERE {rowid} = {number}"
        self._number = number

    def lines(self) -> Iterable[bytes]:
        """Yield the row in pieces."""
        for position, column in enumerate(self._table.data_columns):
            yield b"," if position else b"["
            yield from self._value(column.name)
        yield b"]"

    def values(self) -> Sequence[Sequence[Any]]:
        """Return the row whole."""
        return [read_values(b"".join(self.lines()))]

    def cells(self) -> Iterator[Any]:
        """Return its values one by one."""
        return cells_of(self.lines())

    def _value(self, column: str) -> Iterator[bytes]:
        before = self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONG_BYTES)
        try:
            ((value,),) = self._connection.execute(f"SELECT {quoted(column)}{self._where}")
            yield json.dumps(spelled(value), ensure_ascii=False).encode()
            return
        except sqlite3.DataError:
            pass
        finally:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
        ((kind,),) = self._connection.execute(f"SELECT typeof({quoted(column)}){self._where}")
        if kind == "text" and self._is_text(column):
            yield b'"'
            for part in self._decoded(column):
                yield string_part(part.encode())
            yield b'"'
            return
        yield b'{"%b":"' % (b"text" if kind == "text" else b"blob")
        for piece in self._slices(column):
            yield piece.hex().encode()
        yield b'"}'

    def _slices(self, column: str) -> Iterator[bytes]:
        with self._connection.blobopen(self._table.name, column, self._number, readonly=True) as blob:
            while piece := blob.read(SLICE_BYTES):
                yield piece

    def _is_text(self, column: str) -> bool:
        try:
            for _ in self._decoded(column):
                pass
        except UnicodeDecodeError:
            return False
        return True

    def _decoded(self, column: str) -> Iterator[str]:
        ((encoding,),) = self._connection.execute("PRAGMA encoding")
        decoder = codecs.getincrementaldecoder(CODECS[encoding])()
        for piece in self._slices(column):
            yield decoder.decode(piece)
        yield decoder.decode(b"", final=True)
