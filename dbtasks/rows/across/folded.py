"""Unique keys of SQLite that compare by a collation: what they hold apart there, and what holds the same apart in PostgreSQL. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..schema import Table
from ..sqlite.words import collations, index_items, index_parts, keys_said

__all__ = ["BINARY", "FOLDED", "WITHOUT", "FoldedKey", "folded_keys", "folds_of"]

BINARY = "BINARY"
# by the rules of C only the letters of ASCII have a case, as for SQLite
FOLDED = {"NOCASE": 'lower({} COLLATE "C")', "RTRIM": 'rtrim({} COLLATE "C")'}
"""SQLite's own collations, and what is the same for all that they take for the same; `{}` is the column."""
WITHOUT = {"NOCASE": "without case", "RTRIM": "without blanks at the end"}
"""Words for them."""


@dataclass(frozen=True)
class FoldedKey:
    """A unique key or index that compares by a collation, of a column or its own."""

    columns: tuple[str, ...]
    by: tuple[str, ...]
    """The collation of each, in upper case."""
    index: str = ""
    """The index's name; empty: it is a primary key or a unique one."""
    is_plain: bool = True
    """Whether it is over all rows, and says no collation itself: then a key may stand in for it."""

    @property
    def place(self) -> str:
        """What it is, as people are told."""
        return (
            f"the unique index {self.index}" if self.index else f"the unique key ({', '.join(self.columns)})"
        )


def folded_keys(table: Table) -> Iterator[FoldedKey]:
    """Yield the keys of a table that hold more apart than their columns as they stand."""
    said = keys_said(table)
    for key in (*([table.primary_key] if table.primary_key else ()), *table.unique):
        own: dict[str, str] = {}
        for items in said:
            if {column for column, _, _ in items} == {*key.columns}:
                own |= {column: collation for column, collation, _ in items if collation}
        yield from _folded(table, key.columns, own)
    for one in table.indexes:
        is_unique, over, where = index_parts(one.definition)
        parts = index_items(over, table)
        if is_unique and parts:
            columns = tuple(column for column, _, _ in parts)
            own = {column: collation for column, collation, _ in parts if collation}
            yield from _folded(table, columns, own, one.name, is_plain=not (own or where))


def _folded(
    table: Table, columns: tuple[str, ...], own: dict[str, str], index: str = "", *, is_plain: bool = True
) -> Iterator[FoldedKey]:
    by = folds_of(table, [(column, own.get(column, "")) for column in columns])
    if {*by} != {BINARY}:
        yield FoldedKey(columns, by, index, is_plain)


def folds_of(table: Table, columns: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return how these columns compare, each with the collation that stands behind it, if any does."""
    known = collations(table)
    return tuple(said or known.get(column.lower(), BINARY) for column, said in columns)
