"""References of tables that are there to tables that a migration does not fill: no row that refers to an empty one goes in."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

from ..schema import PortableSchema, Table
from .choices import Choices, ColumnChoice
from .keyed import keys_of_rows, shown_rows
from .orphans import FOR_NEW_ROWS, Orphans, place_of
from .survey import EXAMPLES

__all__ = ["LeadingOut", "leading_out", "orphans_led_out"]


@dataclass(frozen=True)
class LeadingOut:
    """A foreign key to a table that gets no rows."""

    table: Table
    """SQLite's."""
    columns: tuple[ColumnChoice, ...]
    references: str
    """The table over there."""

    @property
    def names(self) -> tuple[str, ...]:
        """Those that refer, by SQLite's names."""
        return tuple(one.column for one in self.columns)

    @property
    def uncounted(self) -> str:
        """What cannot be told before, where that table has rows."""
        place = place_of(self.table.name, self.names)
        return f"{place}: rows that refer to no row of {self.references}, which is not filled: only the server compares them"

    def rows(self, connection: sqlite3.Connection) -> Generator[int]:
        """Yield the number of every row that refers to something."""
        with closing(keys_of_rows(connection, self.table, self.columns)) as keys:
            for number, _ in keys:
                yield number


def leading_out(
    schema: PortableSchema, choices: Choices, live: PortableSchema | None
) -> Iterator[LeadingOut]:
    """Yield these; `schema` is SQLite's, and where tables are made there are none."""
    tables = {table.name: table for table in schema.tables}
    filled = {*choices.names.values()}
    there = {table.name: table.foreign_keys for table in live.tables} if live else {}
    for name in choices.order:
        chosen = {one.into: one for one in choices.columns[name]}
        for key in there.get(choices.names[name], ()):
            columns = tuple(chosen[column] for column in key.columns if column in chosen)
            is_whole = len(columns) == len(key.columns) and not key.definition.endswith(FOR_NEW_ROWS)
            if key.references not in filled and is_whole:
                yield LeadingOut(tables[name], columns, key.references)


def orphans_led_out(connection: sqlite3.Connection, one: LeadingOut) -> Orphans | None:
    """Return the rows that refer to something, if there are any, within the caller's read transaction."""
    count, first = 0, list[int]()
    with closing(one.rows(connection)) as rows:
        for number in rows:
            count += 1
            if len(first) < EXAMPLES:
                first.append(number)
    if not count:
        return None
    shown = shown_rows(connection, one.table, first)
    examples = tuple(shown[number] for number in first)
    return Orphans(one.table.name, one.names, one.references, count, examples)
