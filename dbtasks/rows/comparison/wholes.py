"""Rows of partitions, read as those of the whole table: beside SQLite, which has no partitions, that is what there is."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from ...models import EngineName
from .. import Batch
from ..schema import PortableSchema, Table
from .held import HeldRows

__all__ = ["wholes_across"]


def wholes_across(ours: HeldRows, theirs: HeldRows) -> tuple[HeldRows, HeldRows]:
    """Return two sides as they are compared: within one engine as they are, else with partitioned tables as one."""
    if ours.engine is theirs.engine:
        return ours, theirs
    if ours.engine is EngineName.POSTGRESQL:
        return _Wholes(ours), theirs
    return ours, _Wholes(theirs)


class _Wholes:
    """The tables of one side, partitions by the name of the table they are parts of."""

    def __init__(self, held: HeldRows) -> None:
        self.engine = held.engine
        self._held = held
        self._above = {table.name: table.partition_of for table in held.schema.tables}
        self._whole = {name: self._top(name) for name in [*(t.name for t in held.tables), *held.unread]}

    def _top(self, name: str) -> str:
        met = {name}
        while (above := self._above.get(name)) in self._above and above not in met:
            met.add(above)
            name = above
        return name

    @property
    def schema(self) -> PortableSchema:
        """With the partitions."""
        return self._held.schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those without partitions, and each that has some: all of them can be read."""
        there = {table.name: table for table in self._held.tables}
        there |= {table.name: table for table in self.schema.tables if table.partition_by}
        unread = self.unread
        return tuple(t for name, t in there.items() if self._top(name) == name and name not in unread)

    @property
    def unread(self) -> Mapping[str, str]:
        """A table with one partition that cannot be read is not read."""
        return {self._whole[name]: why for name, why in self._held.unread.items()}

    @property
    def withheld(self) -> Collection[str]:
        """By the same names."""
        return {self._whole[name] for name in self._held.withheld}

    def read(self, names: Collection[str]) -> Iterator[tuple[Table, Iterator[Batch]]]:
        """Read these tables, partition by partition: each has its columns in an order of its own."""
        wanted = {table.name for table in self._held.tables if self._whole[table.name] in names}
        for table, batches in self._held.read(wanted):
            yield replace(table, name=self._whole[table.name]), batches
