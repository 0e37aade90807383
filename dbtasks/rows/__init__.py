"""Rows, wherever they come from and go to: a *table source* gives them, a *table sink* takes them.

One implementation of each per engine and one for the file; backup, restore,
migration and row-level comparison are a source and a sink put together
(`copy`, `compare`). What both sides must agree on stands in `schema`.

A `Batch` is a few rows at a time, never more than a bounded number of bytes in
memory. It offers them in two ways, and nobody pays for the one not asked for:
as the lines of the `rows` file, which both PostgreSQL's COPY and SQLite can
make and take in bulk; and as Python values, for whoever converts or compares.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any, Protocol

from .schema import PortableSchema, Table

__all__ = ["BATCH_BYTES", "Batch", "TableSink", "TableSource"]

BATCH_BYTES = 1 << 18
"""About how much one batch holds: larger ones are no faster, and several are on their way at once."""


class Batch(Protocol):
    """Some rows of one table, in order; each way of reading them is used at most once."""

    @property
    def count(self) -> int:
        """How many rows."""

    def lines(self) -> Iterable[bytes]:
        """Return the rows as the file holds them, `[1,"a"],\\n[2,null]`, without an end of line behind the last.

        In pieces, which may be cut anywhere: one row can be larger than what should be in memory.
        """

    def values(self) -> Sequence[Sequence[Any]]:
        """Return the rows whole, however large one is, as Python values.

        From PostgreSQL: None, int, bool and its own texts. From SQLite: None, int, float, bytes and str, in which bytes
        that are no UTF-8 stand as lone surrogates (`surrogateescape`). From a file: as from the engine that it came from.
        """

    def cells(self) -> Iterator[Any] | None:
        """Return the values of the only row one by one, long ones in parts, as `cells.cells_of`; None: all of it can be held."""


class TableSource(Protocol):
    """Tables in one snapshot; the connection and the transaction are the caller's."""

    @property
    def schema(self) -> PortableSchema:
        """What there is, in the order in which rows are read fastest."""

    def rows(self, table: Table) -> Generator[Batch]:
        """Read the rows of one table, those of its `data_columns`.

        Whoever stops before the end closes it: until then the connection is busy.

        Raises:
            QueryFailed, ArchiveDamaged: they cannot be read to their end.
        """


class TableSink(Protocol):
    """Where rows go; all of it takes effect at once when the caller says so, or not at all."""

    def take(self, table: Table, batches: Iterator[Batch]) -> int:
        """Take all rows of one table and return how many there were; each table once."""
