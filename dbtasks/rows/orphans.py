"""Rows of SQLite's that refer to nothing: it lets them be, and no key of PostgreSQL's lets them in. Found before anything is touched.

Only what is certain is told: whole numbers, texts and UUIDs, as they compare
over there. References between values of other types are proved by the server.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .choices import Choices, ColumnChoice
from .misfit import shortened
from .schema import ForeignKey, PortableSchema, Table
from .sqlite import TEXT, rowid_of
from .sqlite_schema import quoted
from .sqlite_words import counts_itself
from .survey import EXAMPLES

__all__ = ["Orphans", "orphans_of"]

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
    """The first of them, by row id."""

    @property
    def place(self) -> str:
        """Where they are, as people are told."""
        names = ", ".join(self.columns)
        return f"{self.table}.{names}" if len(self.columns) == 1 else f"{self.table} ({names})"


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


def orphans_of(
    connection: sqlite3.Connection, schema: PortableSchema, choices: Choices, live: PortableSchema | None
) -> tuple[Orphans, ...]:
    """Look for them, within the caller's read transaction.

    `schema` is SQLite's; `live` has the tables of the target where they are there, else they are made.
    """
    found = _Looking(connection, schema, choices)
    back = {into: name for name, into in choices.names.items()}
    there = (live or choices.schema).tables
    references = {back[table.name]: table.foreign_keys for table in there if table.name in back}
    return tuple(
        orphans
        for name in choices.order
        for one in references.get(name, ())
        if one.references in back and not one.definition.endswith(FOR_NEW_ROWS)
        for orphans in found.of(name, one, back[one.references])
    )


class _Looking:
    def __init__(self, connection: sqlite3.Connection, schema: PortableSchema, choices: Choices) -> None:
        self._connection = connection
        self._tables = {table.name: table for table in schema.tables}
        self._chosen = {name: {one.into: one for one in found} for name, found in choices.columns.items()}

    def of(self, name: str, one: ForeignKey, other: str) -> Iterator[Orphans]:
        """Yield what one foreign key does not let in, if there is anything."""
        table, referred = self._tables[name], self._tables[other]
        key = referred.primary_key.columns if referred.primary_key else ()
        mine = [self._chosen[name].get(column) for column in one.columns]
        theirs = [self._chosen[other].get(column) for column in one.referenced or key]
        if not mine or len(mine) != len(theirs):
            return
        pairs = [(a, b) for a, b in zip(mine, theirs, strict=True) if a is not None and b is not None]
        kinds = [_kind(a, b) for a, b in pairs]
        certain = [kind for kind in kinds if kind is not None]
        if len(certain) < len(mine):
            # one of the columns stays behind, or its values are compared otherwise
            return
        yield from self._looked(table, referred, pairs, certain)

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
        query = (
            f"SELECT {ids} FROM {quoted(table.name)} WHERE {' AND '.join(asked)} AND {values}"  # noqa: S608 - quoted
            f" NOT IN (SELECT {', '.join(right)} FROM {quoted(referred.name)} WHERE {some}){order}"
        )
        rows, examples = 0, list[str]()
        before, self._connection.text_factory = self._connection.text_factory, TEXT
        try:
            for key in self._connection.execute(query):
                rows += 1
                if len(examples) < EXAMPLES:
                    examples.append(", ".join(map(shortened, key)))
        finally:
            self._connection.text_factory = before
        if rows:
            columns = tuple(mine.column for mine, _ in pairs)
            yield Orphans(table.name, columns, referred.name, rows, tuple(examples))

    def _ids(self, table: Table) -> tuple[str, str]:
        rowid = rowid_of(self._connection, table)
        if rowid is not None:
            return rowid, f" ORDER BY {rowid}"
        key = table.primary_key.columns if table.primary_key else ()
        return ", ".join(map(quoted, key)) or "'without a number'", ""


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
