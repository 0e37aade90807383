"""Rows of SQLite with their row ids, in flat memory: what has to be named is named by them.

Values too long to be held make SQLite itself stop in front of their row; it is
then read alone, and they are streamed.
"""

from __future__ import annotations

import codecs
import sqlite3
from collections.abc import Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from sys import getsizeof
from typing import Any

from .. import BATCH_BYTES
from ..across.misfit import shortened
from ..schema import Table
from .schema import quoted
from .source import CODECS, SLICE_BYTES, TEXT, rowid_of

__all__ = ["LongValue", "NumberedLong", "NumberedRows", "numbered"]

FETCHED = 64
"""Rows that are read before it is looked at how large they are."""
LONGEST_HELD = 1 << 18
"""A row with a value of more than this is read alone."""
NO_UTF8 = "Could not decode"
"""How Python says that a text of SQLite's is none."""
MOST = 5_000


@dataclass(frozen=True)
class NumberedRows:
    """Some rows as SQLite gave them."""

    ids: Sequence[int | str]
    columns: Sequence[Sequence[Any]]
    """The values of each column."""

    @property
    def count(self) -> int:
        """How many."""
        return len(self.ids)

    @property
    def rows(self) -> list[tuple[Any, ...]]:
        """Return them one by one."""
        return [*zip(*self.columns, strict=True)] if self.columns else [()] * self.count

    def part(self, start: int, end: int) -> NumberedRows:
        """Return some of them."""
        return NumberedRows(self.ids[start:end], [values[start:end] for values in self.columns])


@dataclass(frozen=True)
class NumberedLong:
    """One row with values that are too long to be held: each of them is a `LongValue`."""

    ids: Sequence[int]
    values: Sequence[Any]
    count = 1


class LongValue:
    """A value that is read while it is written."""

    def __init__(
        self, connection: sqlite3.Connection, table: str, column: str, rowid: int, kind: str
    ) -> None:
        self.kind = kind
        """`text` or `blob`."""
        self.known: dict[str, str] = {}
        """What was found out by reading all of it, for whoever asks again."""
        self._connection = connection
        self._place = (table, column, rowid)
        with self._opened() as blob:
            self.size = len(blob)
        self._encoding = ""
        if kind == "text":
            ((encoding,),) = connection.execute("PRAGMA encoding")
            self._encoding = CODECS[encoding]

    def __str__(self) -> str:
        return f"a {self.kind} of {self.size:,} bytes"

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        with self._connection.blobopen(*self._place, readonly=True) as blob:
            yield blob

    def _slices(self) -> Iterator[bytes]:
        with self._opened() as blob:
            while piece := blob.read(SLICE_BYTES):
                yield piece

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes; of a text those of UTF-8, cut between characters.

        Raises:
            UnicodeDecodeError: it is text that is none.
        """
        if not self._encoding:
            yield from self._slices()
            return
        decoder = codecs.getincrementaldecoder(self._encoding)()
        for piece in self._slices():
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()

    def octets(self) -> Iterator[bytes]:
        """Yield the bytes; of a text those of UTF-8, whether it is text or not.

        Raises:
            UnicodeDecodeError: it is text of another encoding, and none.
        """
        return self._slices() if self._encoding == CODECS["UTF-8"] else self.pieces()

    @property
    def is_plain(self) -> bool:
        """Whether it is text that PostgreSQL can hold; reads all of it."""
        try:
            return not any(b"\0" in piece for piece in self.pieces())
        except (UnicodeDecodeError, UnicodeEncodeError):
            return False


def numbered(
    connection: sqlite3.Connection, table: Table, only: Collection[str] | None = None
) -> Generator[NumberedRows | NumberedLong]:
    """Read the rows of one table in the order of their rowid, within the caller's read transaction; `only` these columns of it.

    Whoever stops before the end closes it. Of a table whose rowid cannot be asked for the ids are the values of its key, or
    without a key the rows' places; and its rows are held whole, however long.
    """
    wanted = [column.name for column in table.data_columns if only is None or column.name in only]
    with _reading(connection):
        rowid = rowid_of(connection, table)
        if rowid is None:
            yield from _by_key(connection, table, wanted)
            return
        names = ", ".join((rowid, *map(quoted, wanted)))
        last: int | None = None
        while True:
            rest = f"{f' WHERE {rowid} > {last}' if last is not None else ''} ORDER BY {rowid}"
            try:
                with _limited(connection):
                    query = f"SELECT {names} FROM {quoted(table.name)}{rest}"  # noqa: S608 - quoted
                    for ids, *columns in _batches(connection.execute(query)):
                        yield NumberedRows(ids, columns)
                        last = int(ids[-1])
                return
            except sqlite3.DataError:
                pass
            except sqlite3.OperationalError as exc:
                if connection.text_factory is not str or not str(exc).startswith(NO_UTF8):
                    raise
                # from here on slower: text comes with its bytes, whatever they are
                connection.text_factory = TEXT
                continue
            rest = f"{f' WHERE {rowid} > {last}' if last is not None else ''} ORDER BY {rowid}"
            query = f"SELECT {rowid} FROM {quoted(table.name)}{rest} LIMIT 1"  # noqa: S608 - quoted
            ((number,),) = connection.execute(query)
            last = int(number)
            row = _long_row(connection, table, wanted, rowid, last)
            # the row in front of a long one is lost with it, and is none itself
            is_long = any(isinstance(value, LongValue) for value in row.values)
            yield row if is_long else NumberedRows(row.ids, [(value,) for value in row.values])


def _batches(cursor: sqlite3.Cursor) -> Iterator[list[list[Any]]]:
    """Yield rows, by column, until there are enough of them; also those in front of one that is too long."""
    columns: list[list[Any]] = []
    waiting = 0
    while True:
        rows: list[tuple[Any, ...]] = []
        try:
            # one by one into the list: what came before an error is kept
            rows.extend(islice(cursor, FETCHED))
        except sqlite3.DataError:
            if found := _joined(columns, [*zip(*rows, strict=True)]):
                yield found
            raise
        fetched = [*zip(*rows, strict=True)]
        columns = _joined(columns, fetched)
        waiting += sum(map(_size, fetched))
        if len(rows) < FETCHED:
            break
        if waiting >= BATCH_BYTES or len(columns[0]) >= MOST:
            yield columns
            columns, waiting = [], 0
    if columns:
        yield columns


def _joined(columns: list[list[Any]], more: Sequence[Sequence[Any]]) -> list[list[Any]]:
    if not columns:
        return [*map(list, more)]
    for held, values in zip(columns, more, strict=False):
        held.extend(values)
    return columns


def _size(values: Sequence[Any]) -> int:
    """Return about how much of memory these take."""
    try:
        return sum(map(len, values))
    except TypeError:
        return sum(map(getsizeof, values))


def _by_key(connection: sqlite3.Connection, table: Table, wanted: Sequence[str]) -> Iterator[NumberedRows]:
    key = table.primary_key.columns if table.primary_key else ()
    names = ", ".join(map(quoted, (*key, *wanted))) or "NULL"
    connection.text_factory = TEXT
    # in the order in which it lies, whichever of its columns are asked for
    query = f"SELECT {names} FROM {quoted(table.name)} NOT INDEXED"  # noqa: S608 - quoted
    done = 0
    for columns in _batches(connection.execute(query)):
        keys = zip(*columns[: len(key)], strict=True)
        places = range(done + 1, done + len(columns[0]) + 1)
        done += len(places)
        ids = [", ".join(map(shortened, values)) for values in keys] if key else places
        yield NumberedRows(ids, columns[len(key) :] if key or wanted else [])


def _long_row(
    connection: sqlite3.Connection, table: Table, wanted: Sequence[str], rowid: str, number: int
) -> NumberedLong:
    values: list[Any] = []
    connection.text_factory = TEXT
    where = f"FROM {quoted(table.name)} WHERE {rowid} = {number}"
    for column in wanted:
        try:
            with _limited(connection):
                ((value,),) = connection.execute(f"SELECT {quoted(column)} {where}")
        except sqlite3.DataError:
            ((kind,),) = connection.execute(f"SELECT typeof({quoted(column)}) {where}")
            value = LongValue(connection, table.name, column, number, str(kind))
        values.append(value)
    return NumberedLong((number,), tuple(values))


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    before = connection.text_factory
    connection.text_factory = str
    try:
        yield
    finally:
        connection.text_factory = before


@contextmanager
def _limited(connection: sqlite3.Connection) -> Iterator[None]:
    before = connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_HELD)
    try:
        yield
    finally:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, before)
