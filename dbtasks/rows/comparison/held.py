"""Rows that can be read, wherever they are: one side of a comparison."""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterator, Mapping
from contextlib import closing
from typing import Protocol

from ...models import EngineName
from .. import Batch
from ..schema import PortableSchema, Table

__all__ = ["HeldRows", "SourceRows"]


class HeldRows(Protocol):
    """The tables of one database in one snapshot, or those of a backup."""

    @property
    def engine(self) -> EngineName:
        """Whose values they are."""

    @property
    def schema(self) -> PortableSchema:
        """What is known of the tables; of a column without a PostgreSQL type nobody says which it has."""

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those whose rows can be read."""

    @property
    def unread(self) -> Mapping[str, str]:
        """Those whose rows cannot, and why not."""

    @property
    def withheld(self) -> Collection[str]:
        """Those of them that this login may not read, and another one may."""

    def read(self, names: Collection[str]) -> Iterator[tuple[Table, Iterator[Batch]]]:
        """Read these tables, each once, in whatever order they lie; can be asked for again.

        A table's batches are read, or left, before the next table is asked for.
        """


class _Source(Protocol):
    @property
    def schema(self) -> PortableSchema: ...

    @property
    def tables(self) -> tuple[Table, ...]: ...

    def rows(self, table: Table) -> Generator[Batch]: ...


class SourceRows:
    """The tables of an open database."""

    def __init__(
        self,
        engine: EngineName,
        source: _Source,
        unread: Mapping[str, str],
        withheld: Collection[str] = (),
    ) -> None:
        self.engine = engine
        self.unread = unread
        self.withheld = withheld
        self._source = source

    @property
    def schema(self) -> PortableSchema:
        """As its catalogue tells it."""
        return self._source.schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those whose rows may be read."""
        return self._source.tables

    def read(self, names: Collection[str]) -> Iterator[tuple[Table, Iterator[Batch]]]:
        """Read them one after the other."""
        for table in self.tables:
            if table.name in names:
                with closing(self._source.rows(table)) as batches:
                    yield table, batches
