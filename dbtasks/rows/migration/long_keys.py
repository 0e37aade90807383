"""Values that may be too long for an index of PostgreSQL: told before a migration, because only the server can tell how short it makes them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence

from ...nouns import many
from ..schema import PortableSchema, Table
from ..sqlite.schema import quoted
from ..sqlite.words import index_parts, plain_items
from .choices import Choices, ColumnChoice
from .orphans import place_of

__all__ = ["LONGEST_KEY", "long_keys"]

LONGEST_KEY = 2_696
"""Bytes that stand in one row of an index at most: a third of a page, without what the server writes in front of them."""
SHORT = frozenset(
    ("boolean", "smallint", "integer", "bigint", "real", "double precision", "uuid", "date", "interval")
)
"""Types whose values are never long; so are all dates and times."""
BTREE = " USING btree "
Key = tuple[str, Sequence[str], bool]
"""What it is called, its columns over there, and whether a migration can do without it."""


def long_keys(
    connection: sqlite3.Connection, schema: PortableSchema, choices: Choices, live: PortableSchema | None
) -> Iterator[str]:
    """Yield words for every key and index that some rows may be too long for, within the caller's read transaction.

    `schema` is SQLite's; `live` has the tables of the target where they are there, else they are made.
    """
    there = {table.name: table for table in (live or choices.schema).tables}
    known = {table.name for table in schema.tables}
    for name in choices.order:
        table = there.get(choices.names[name])
        if table is None or name not in known:
            continue
        chosen = {one.into: one for one in choices.columns[name]}
        keys = [
            (key, long)
            for key in _keys(table, is_made=live is None)
            if (long := [chosen[one] for one in key[1] if one in chosen and _may_be_long(chosen[one])])
        ]
        yield from _looked(connection, name, keys)


def _looked(
    connection: sqlite3.Connection, name: str, keys: Sequence[tuple[Key, Sequence[ColumnChoice]]]
) -> Iterator[str]:
    if not keys:
        return
    sums = [
        " + ".join(f"coalesce(length(CAST({quoted(one.column)} AS BLOB)), 0)" for one in long)
        for _, long in keys
    ]
    counts = ", ".join(f"coalesce(sum({one} > {LONGEST_KEY}), 0)" for one in sums)
    query = f"SELECT {counts} FROM {quoted(name)}"  # noqa: S608 - quoted
    (found,) = connection.execute(query)
    for ((what, _, is_dispensable), long), rows in zip(keys, found, strict=True):
        if rows:
            have = "has" if rows == 1 else "have"
            place = place_of(name, [one.column for one in long])
            end = "it is left out" if is_dispensable else "such a row does not go in"
            yield (
                f"{place}: {many(rows, 'row')} {have} more than {LONGEST_KEY:,} bytes for {what}:"
                f" where the server cannot make them shorter, {end}"
            )


def _keys(table: Table, *, is_made: bool) -> Iterator[Key]:
    if table.primary_key:
        yield "the primary key", table.primary_key.columns, False
    for key in table.unique:
        yield f"the unique key ({', '.join(key.columns)})", key.columns, False
    for one in table.indexes:
        is_unique, over, _ = index_parts(one.definition)
        items = plain_items(over, table)
        # other kinds of index have other limits, or none
        if items and BTREE in one.definition:
            yield f"the index {one.name}", [column for column, _ in items], is_made and not is_unique


def _may_be_long(one: ColumnChoice) -> bool:
    bare = one.type.partition("(")[0]
    return not (bare in SHORT or bare.startswith("time"))
