"""Rows of SQLite's that refer to nothing: it lets them be, and no key of PostgreSQL's lets them in. Found before anything is touched.

Only what is certain is told: whole numbers, texts and UUIDs, as they compare
over there. References between values of other types are proved by the server.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..across.folded import WITHOUT, folds_of
from ..across.misfit import shortened
from ..schema import PortableSchema, Table
from ..sqlite.schema import quoted
from ..sqlite.source import TEXT, rowid_of
from ..sqlite.words import counts_itself
from .choices import Choices, ColumnChoice
from .survey import EXAMPLES
from .uniques_there import folding_columns

__all__ = ["FOR_NEW_ROWS", "Orphans", "Referring", "orphans_of", "place_of", "references_of"]

WHOLE = frozenset(("smallint", "integer", "bigint"))
FOR_NEW_ROWS = ("NOT VALID", "NOT ENFORCED")


@dataclass(frozen=True)
class Orphans:
    """The rows that one foreign key does not let in."""

    table: str
    """SQLite's."""
    columns: tuple[str, ...]
    references: str
    rows: int
    examples: tuple[str, ...] = ()
    """The first of them, by row id; where `by` says something with what stands there and what would have to."""
    by: str = ""
    """What SQLite finds a row by that the key over there does not: `without case`, by a collation; empty: it finds none."""

    @property
    def nothing(self) -> str:
        """What they refer to, as people are told."""
        if self.by:
            return f"a row of {self.references} only {self.by}, as no foreign key of PostgreSQL's does"
        return f"no row of {self.references}"

    @property
    def place(self) -> str:
        """Where they are, as people are told."""
        return place_of(self.table, self.columns)


@dataclass(frozen=True)
class Referring:
    """A foreign key over there, by what its columns are in SQLite; all of them are carried."""

    table: Table
    referred: Table
    pairs: tuple[tuple[ColumnChoice, ColumnChoice], ...]
    is_compared_there: bool = False
    """Whether a column of it there has a collation of somebody's own: only the server compares such values."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Those that refer."""
        return tuple(mine.column for mine, _ in self.pairs)


def place_of(table: str, columns: Sequence[str]) -> str:
    """Name a column, or several, as people are told."""
    names = ", ".join(columns)
    return f"{table}.{names}" if len(columns) == 1 else f"{table} ({names})"


@dataclass(frozen=True)
class _Kind:
    """How values of one kind are compared there, in SQLite's words."""

    stored: tuple[str, ...]
    """As what SQLite has to hold a value, for it to be certain."""
    words: str
    """`{}` is the column."""


NUMBERS = _Kind(("integer",), "CAST({} AS INTEGER)")
TEXTS = _Kind(("text", "integer"), "CAST({} AS TEXT) COLLATE BINARY")
UUIDS = _Kind(
    ("text", "blob"),
    "CASE typeof({0}) WHEN 'blob' THEN lower(hex({0}))"
    " ELSE replace(replace(replace(replace(replace(lower({0}), '-', ''), '{{', ''), '}}', ''), 'urn:', ''), 'uuid:', '')"
    " END COLLATE BINARY",
)


def references_of(
    schema: PortableSchema, choices: Choices, live: PortableSchema | None
) -> Iterator[Referring]:
    """Yield the foreign keys that every row is held against.

    `schema` is SQLite's; `live` has the tables of the target where they are there, else they are made.
    """
    tables = {table.name: table for table in schema.tables}
    chosen = {name: {one.into: one for one in found} for name, found in choices.columns.items()}
    back = {into: name for name, into in choices.names.items()}
    over_there = live or choices.schema
    there = {back[one.name]: one for one in over_there.tables if one.name in back}
    folding = {name: folding_columns(one, over_there.types) for name, one in there.items()}
    for name in choices.order:
        for one in there[name].foreign_keys if name in there else ():
            if one.references not in back or one.definition.endswith(FOR_NEW_ROWS):
                continue
            referred = tables[back[one.references]]
            key = referred.primary_key.columns if referred.primary_key else ()
            mine = [chosen[name].get(column) for column in one.columns]
            theirs = [chosen[referred.name].get(column) for column in one.referenced or key]
            pairs = [(a, b) for a, b in zip(mine, theirs, strict=False) if a is not None and b is not None]
            # one of the columns stays behind
            if mine and len(pairs) == len(mine) == len(theirs):
                own = {a.into for a, _ in pairs} & folding[name]
                other = {b.into for _, b in pairs} & folding[referred.name]
                yield Referring(tables[name], referred, tuple(pairs), bool(own or other))


def orphans_of(
    connection: sqlite3.Connection, schema: PortableSchema, choices: Choices, live: PortableSchema | None
) -> tuple[Orphans, ...]:
    """Look for them, within the caller's read transaction; the rest is as of `references_of`."""
    looking = _Looking(connection)
    return tuple(orphans for one in references_of(schema, choices, live) for orphans in looking.of(one))


class _Looking:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def of(self, one: Referring) -> Iterator[Orphans]:
        """Yield what one foreign key does not let in, if there is anything."""
        kinds = [_kind(mine, theirs) for mine, theirs in one.pairs]
        certain = [kind for kind in kinds if kind is not None]
        # else values are compared otherwise
        if len(certain) == len(kinds) and not one.is_compared_there:
            yield from self._looked(one.table, one.referred, one.pairs, certain)

    def _looked(
        self,
        table: Table,
        referred: Table,
        pairs: Sequence[tuple[ColumnChoice, ColumnChoice]],
        kinds: Sequence[_Kind],
    ) -> Iterator[Orphans]:
        names = [quoted(mine.column) for mine, _ in pairs]
        asked = [
            f"typeof({name}) IN ({', '.join(map(repr, kind.stored))})"
            for name, kind in zip(names, kinds, strict=True)
        ]
        left = [kind.words.format(name) for name, kind in zip(names, kinds, strict=True)]
        right = [_referred(referred, b, kind) for (_, b), kind in zip(pairs, kinds, strict=True)]
        some = " AND ".join(f"{quoted(b.column)} IS NOT NULL" for _, b in pairs)
        values = left[0] if len(left) == 1 else f"({', '.join(left)})"
        ids, order = self._ids(table)
        by, alike = _alike(referred, pairs, kinds)
        query = (
            f"SELECT {ids}{''.join(f', {one}' for one in alike)} FROM {quoted(table.name)} AS f"  # noqa: S608 - quoted
            f" WHERE {' AND '.join(asked)} AND {values}"
            f" NOT IN (SELECT {', '.join(right)} FROM {quoted(referred.name)} WHERE {some}){order}"
        )
        rows, examples = Counter[str](), defaultdict[str, list[str]](list)
        before, self._connection.text_factory = self._connection.text_factory, TEXT
        try:
            for found in self._connection.execute(query):
                key, (mine, theirs) = found[: len(found) - len(alike)], _halves(found[-len(alike) :], alike)
                how = by if theirs and None not in theirs else ""
                rows[how] += 1
                if len(examples[how]) < EXAMPLES:
                    said = f": {_shown(mine)}, and there it is {_shown(theirs)}" if how else ""
                    examples[how].append(f"{_shown(key)}{said}")
        finally:
            self._connection.text_factory = before
        columns = tuple(mine.column for mine, _ in pairs)
        for how in sorted(rows):
            yield Orphans(table.name, columns, referred.name, rows[how], tuple(examples[how]), how)

    def _ids(self, table: Table) -> tuple[str, str]:
        rowid = rowid_of(self._connection, table)
        if rowid is not None:
            return rowid, f" ORDER BY {rowid}"
        key = table.primary_key.columns if table.primary_key else ()
        return ", ".join(map(quoted, key)) or "'without a number'", ""


def _shown(values: Sequence[Any]) -> str:
    return ", ".join(map(shortened, values))


def _halves(values: Sequence[Any], asked: Sequence[str]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return what stands in the row, and what SQLite finds by it; nothing where that was not asked."""
    middle = len(asked) // 2
    return (values[:middle], values[middle:]) if asked else ((), ())


def _alike(
    referred: Table,
    pairs: Sequence[tuple[ColumnChoice, ColumnChoice]],
    kinds: Sequence[_Kind],
) -> tuple[str, list[str]]:
    """Return by what collation SQLite compares texts, and what asks for the values of a row, `f`, and for those it finds so."""
    by = folds_of(referred, [(b.column, "") for _, b in pairs])
    words = " and ".join(dict.fromkeys(WITHOUT[one] for one in by if one in WITHOUT))
    if not words or any(kind is not TEXTS for kind in kinds):
        return "", []
    mine = [f"CAST(f.{quoted(a.column)} AS TEXT)" for a, _ in pairs]
    # its own collation counts, because it stands on the left
    equal = " AND ".join(f"o.{quoted(b.column)} = {text}" for (_, b), text in zip(pairs, mine, strict=True))
    theirs = [
        f"(SELECT o.{quoted(b.column)} FROM {quoted(referred.name)} AS o WHERE {equal} LIMIT 1)"  # noqa: S608 - quoted
        for _, b in pairs
    ]
    return words, [*mine, *theirs]


def _referred(table: Table, one: ColumnChoice, kind: _Kind) -> str:
    # the row's own number is found without reading all of them
    if kind is NUMBERS and counts_itself(table) == one.column:
        return quoted(one.column)
    return kind.words.format(quoted(one.column))


def _kind(mine: ColumnChoice, theirs: ColumnChoice) -> _Kind | None:
    """Return how the values of these are compared; None where only the server can tell."""
    if WHOLE.issuperset((mine.type, theirs.type)) and WHOLE.issuperset((mine.how, theirs.how)):
        return NUMBERS
    if _is_text(mine) and _is_text(theirs):
        return TEXTS
    return UUIDS if (mine.type, theirs.type, mine.how, theirs.how) == ("uuid",) * 4 else None


def _is_text(one: ColumnChoice) -> bool:
    # `character` is another thing: blanks at the end are nothing to it
    is_spelled = one.how.partition(":")[0] == "text"
    return is_spelled and one.type.partition("(")[0] in ("text", "character varying")
