"""What a table of PostgreSQL's holds once, as its keys and indexes say it, and what that means for rows of SQLite's. Pure.

An application's migrations made it, or we do: the texts are the server's own, or ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..postgres.words import NotWritten, Words
from ..schema import Column, Index, Key, Table, UserType
from ..schema import Sequence as Numbers
from .choices import ColumnChoice
from .conditions_there import WHOLE, Constant, Unread, constant_of, read_condition
from .keyed import Where, compared_as

__all__ = ["COMPARED_THERE", "UniqueThere", "folding_columns", "uniques_there"]

FOLDS = {"lower": "NOCASE", "rtrim": "RTRIM"}
"""Functions that are what `folded.FOLDED` makes of a collation, where they go by the rules of C."""
BYTEWISE = ("C", "POSIX")
OPCLASSES = frozenset(("text_pattern_ops", "varchar_pattern_ops", "bpchar_pattern_ops"))
"""Those that take the same values for equal as there being none."""
CONSTANTS = ("true", "false")
"""A column of such a name stands in quotes."""
TEXTS = (("text",), ("character", "varying"))
SAME_AS_TEXT = frozenset(("text", "character", "boolean", "uuid"))
"""What values are compared as that are equal where their texts are; so are whole numbers."""
ALL_APART = re.compile(
    r"nextval\('[^']+'::regclass\)|(?:\w+\.)?(?:gen_random_uuid|uuid_generate_v4|uuidv7)\(\)"
)
"""Defaults that give no two rows the same, unless a sequence begins again."""
ALL_ALIKE = ("now()", "CURRENT_TIMESTAMP", "CURRENT_DATE", "LOCALTIMESTAMP", "CURRENT_USER")
"""Those that give all rows of a transaction the same."""
MORE_THAN_COLUMNS = "it is over some rows, or over more than columns"
COMPARED_THERE = "only the server compares what is in it"
SOME_PARTITIONS = "not all partitions have it"


@dataclass(frozen=True)
class UniqueThere:
    """A key or a unique index of a table, by what its columns are in SQLite."""

    index: str
    """Its name; empty: it is a key."""
    columns: tuple[ColumnChoice, ...] = ()
    """Without those in which all rows have the same; empty where they cannot be told."""
    folds: tuple[str, ...] = ()
    """By what collation each compares, of `keyed.FOLDS`; empty: as it stands."""
    where: Where | None = None
    nulls_are_equal: bool = False
    why: str = ""
    """Why only the server can say which rows clash, in words; empty: it can be looked at."""
    over: tuple[str, ...] = ()
    """All its columns, by their names there."""

    @property
    def is_folded(self) -> bool:
        """Whether it holds less apart than its columns as they stand."""
        return any(self.folds)

    @property
    def unknown(self) -> list[str]:
        """The columns that only the server compares."""
        return [one.column for one in self.columns if not compared_as(one)]


class _Part(NamedTuple):
    """One of the columns an index is over, as it is read."""

    name: str
    fold: str = ""
    """A collation."""
    is_bytewise: bool = False
    """Whether it goes by bytes whatever the column's own collation is."""
    is_cast: bool = False
    """Whether it is over the column's text, whatever the column is."""


@dataclass(frozen=True)
class _Said:
    """The same by the names there, as it is read."""

    index: str
    parts: tuple[_Part, ...]
    nulls_are_equal: bool = False
    where: Words | None = None


def uniques_there(
    table: Table,
    chosen: Mapping[str, ColumnChoice],
    types: Sequence[UserType],
    sequences: Sequence[Numbers] = (),
) -> Iterator[UniqueThere]:
    """Yield what the rows of a migration have to be told apart by; `chosen` are its columns by their names there.

    `types` are those of the user's, `sequences` those that fill columns. What no two rows can have alike, because every row
    gets a number or NULL in it, is left out.
    """
    reading = _Reading(table, chosen, types, sequences)
    for key in (*([table.primary_key] if table.primary_key else ()), *table.unique):
        yield from _as_far_as_it_goes(reading.of(_key(key)), key)
    for one in table.indexes:
        try:
            said = _index(one)
        except (NotWritten, Unread):
            yield UniqueThere(one.name, why=MORE_THAN_COLUMNS)
        else:
            yield from _as_far_as_it_goes(reading.of(said), one) if said else ()


def _as_far_as_it_goes(found: Iterator[UniqueThere], of: Key | Index) -> Iterator[UniqueThere]:
    # which rows go to a partition that has it the server knows
    return (replace(one, why=one.why or SOME_PARTITIONS) for one in found) if of.is_partly else found


class _Reading:
    def __init__(
        self,
        table: Table,
        chosen: Mapping[str, ColumnChoice],
        types: Sequence[UserType],
        sequences: Sequence[Numbers],
    ) -> None:
        self._chosen = chosen
        self._begins_again = {one.column for one in sequences if one.cycle and one.table == table.name}
        self._columns = {column.name: column for column in table.columns}
        domains = {one.name: one for one in types if one.kind == "domain"}
        self._with_default = {name for name, one in domains.items() if one.default or one.base in domains}
        self._folding = folding_columns(table, types)
        self._given = dict(self._constants())

    def of(self, said: _Said) -> Iterator[UniqueThere]:
        """Yield what it is for the rows that come, if it can turn any down."""
        carried: list[tuple[ColumnChoice, str]] = []
        why = ""
        for part in said.parts:
            name, one = part.name, self._chosen.get(part.name)
            if one is not None:
                carried.append((one, part.fold))
                why = why or self._why_not(part, one)
            elif name in self._given:
                if self._given[name].value is None and not said.nulls_are_equal:
                    return
            elif self._is_all_apart(name):
                return
            else:
                why = f"{name} is not in SQLite, and only the server gives it a value"
        found = UniqueThere(
            said.index,
            tuple(one for one, _ in carried),
            tuple(fold for _, fold in carried),
            nulls_are_equal=said.nulls_are_equal,
            why=why or ("" if carried else "every row has the same in it"),
            over=tuple(part.name for part in said.parts),
        )
        if said.where is None:
            yield found
            return
        try:
            where = read_condition(said.where, self._chosen, self._given, self._folding)
            yield replace(found, where=where)
        except Unread:
            yield replace(found, why=why or MORE_THAN_COLUMNS)

    def _why_not(self, part: _Part, one: ColumnChoice) -> str:
        """Return why the values are not compared as those of their column are here; empty where they are."""
        if part.name in self._folding and not part.is_bytewise:
            return COMPARED_THERE
        is_same = compared_as(one) in SAME_AS_TEXT or one.how in WHOLE
        return MORE_THAN_COLUMNS if part.is_cast and not is_same else ""

    def _is_all_apart(self, name: str) -> bool:
        column = self._columns.get(name)
        if column is None or name in self._begins_again:
            return False
        return bool(column.identity or ALL_APART.fullmatch(column.default))

    def _constants(self) -> Iterator[tuple[str, Constant]]:
        """Yield the columns that SQLite has not, and in which every row gets the same value."""
        for name, column in self._columns.items():
            if name in self._chosen or column.generated or column.identity:
                continue
            try:
                yield name, self._constant(column)
            except Unread:
                continue

    def _constant(self, column: Column) -> Constant:
        if column.default in ALL_ALIKE:
            # which one, nobody asks
            return Constant(column.default, "the present")
        if not column.default and column.type in self._with_default:
            raise Unread(column.type)
        return constant_of(column.default) if column.default else Constant(None)


def folding_columns(table: Table, types: Sequence[UserType]) -> set[str]:
    """Return the columns with a collation of somebody's own, or a domain's: only the server compares what is in them."""
    own = {one.name for one in types if one.kind == "domain" and _is_own(one.collation)}
    return {column.name for column in table.columns if _is_own(column.collation) or column.type in own}


def _is_own(collation: str) -> bool:
    # of those that the server brings none takes two texts for one
    return bool(collation) and not collation.startswith("pg_catalog.")


# -- what their texts say ------------------------------------------------------------------------


def _key(key: Key) -> _Said:
    # a column may be called anything
    nulls_are_equal = key.definition.startswith("UNIQUE NULLS NOT DISTINCT ")
    return _Said("", tuple(map(_Part, key.columns)), nulls_are_equal)


def _index(one: Index) -> _Said | None:
    """Read the whole statement of an index; None where it is not unique.

    Raises:
        NotWritten, Unread: it is over more than columns, or says something else.
    """
    words = Words(one.definition)
    if not words.accept("CREATE", "UNIQUE", "INDEX"):
        return None
    words.name()
    words.expect("ON")
    words.accept("ONLY")
    words.qualified()
    words.expect("USING")
    words.name()
    parts = tuple(_parts(words.group()))
    if words.accept("INCLUDE"):
        words.group()
    nulls_are_equal = words.accept("NULLS", "NOT", "DISTINCT")
    if words.accept("WITH"):
        words.group()
    if words.accept("TABLESPACE"):
        words.name()
    where = words.rest() if words.accept("WHERE") else None
    words.end()
    return _Said(one.name, parts, nulls_are_equal, where)


def _parts(words: Words) -> Iterator[_Part]:
    while True:
        yield _part(words)
        if not words.accept(","):
            words.end()
            return


def _part(words: Words) -> _Part:
    fold = FOLDS.get(words.peek().text, "") if words.peek(1).text == "(" else ""
    if fold:
        words.take()
    part = _column(words)
    if fold and not part.is_bytewise:
        raise Unread("letters of the server's locale")
    if words.peek().kind == "word" and words.peek().text in OPCLASSES:
        words.take()
    words.accept("ASC") or words.accept("DESC")
    words.accept("NULLS", "FIRST") or words.accept("NULLS", "LAST")
    return part._replace(fold=fold)


def _column(words: Words) -> _Part:
    """Take a column, in parentheses or not, with what stands behind it."""
    if words.peek().text == "(":
        inner = words.group()
        part = _column(inner)
        inner.end()
    elif words.peek().text in CONSTANTS:
        raise Unread("a constant")
    else:
        part = _Part(words.name())
    while True:
        if words.accept("::"):
            if not any(words.accept(*text) for text in TEXTS):
                raise Unread("a cast")
            part = part._replace(is_cast=True)
        elif words.accept("COLLATE"):
            schema, collation = words.qualified()
            if schema not in ("", "pg_catalog") or collation not in BYTEWISE:
                raise Unread("a collation")
            part = part._replace(is_bytewise=True)
        else:
            return part
