"""Rows of SQLite's by what a key of PostgreSQL's sees of them: two values are one where they are equal in their new type.

`'1'` and `1` in a column of whole numbers, a moment with a blank and one with a T.
Read in flat memory, and of each row only a digest of its key is handed on.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from hashlib import blake2b
from itertools import repeat
from string import ascii_lowercase, ascii_uppercase
from typing import Any

from ..across.misfit import Misfit
from ..across.spellers import NULL, long_misfit, speller
from ..comparison.alike import number_of
from ..schema import Table
from ..sqlite.numbered import LongValue, NumberedLong, numbered
from ..sqlite.schema import quoted
from .choices import ColumnChoice

__all__ = [
    "Row",
    "Where",
    "are_kept_apart",
    "are_written_alike",
    "compared_as",
    "keys_of_rows",
    "rows_that_do_not_fit",
    "shown_rows",
]

DIGEST_BYTES = 16
FLOATS = frozenset(("double", "real"))
NUMBERS = FLOATS | {"smallint", "integer", "bigint", "numeric"}
PLAIN = frozenset(("boolean", "uuid", "bytea", "date", "time", "timestamp", "timestamptz", "enum"))
SINCE_1970 = frozenset(("seconds", "milliseconds", "microseconds"))
ANY_NUMBER = frozenset(("integer", "real"))
TO_SECONDS = "substr($, 11, 1) = '{}' AND substr($, 17, 1) = ':' AND length($) = 19"
TO_MICROSECONDS = (
    "substr($, 11, 1) = '{}' AND substr($, 17, 1) = ':'"
    " AND (length($) = 19 OR length($) = 26 AND substr($, 20, 1) = '.' AND substr($, 21) <> '000000')"
)
WRITTEN = {
    "date": ("length($) = 10",),
    "timestamp": (TO_MICROSECONDS.format(" "), TO_MICROSECONDS.format("T")),
    "timestamptz": (TO_SECONDS.format(" "), TO_SECONDS.format("T")),
    "uuid": tuple(
        f"length($) = {length} AND substr($, 1, 1) <> '{{' AND $ = lower($)" for length in (36, 32)
    ),
}
"""What is so of all texts of a column, `$`, that are written in one way."""
Fields = list[str | None]
Row = Mapping[str, str | None]
"""What is compared of a row's values, by their columns' names there: `NULL` where there is none, None where it cannot be spelled or held."""
SMALL = str.maketrans(ascii_uppercase, ascii_lowercase)
FOLDS: Mapping[str, Callable[[str], str]] = {
    "NOCASE": lambda field: field.translate(SMALL),
    "RTRIM": lambda field: field.rstrip(" "),
}
"""What is left of a text where a key compares by a collation, as `folded.FOLDED` has it over there."""


@dataclass(frozen=True)
class Where:
    """Which rows a key is over, as the condition of an index says it."""

    columns: tuple[ColumnChoice, ...]
    """What it looks at."""
    holds: Callable[[Row], bool]


def compared_as(one: ColumnChoice) -> str:
    """Return what the values of a column are compared as over there; empty where only the server can tell."""
    name, _, said = one.how.partition(":")
    if name in NUMBERS:
        return "number"
    if name in PLAIN:
        return name
    if name == "text" and "citext" not in one.type:
        return "text"
    if name == "padded":
        return "character"
    return "interval" if name == "interval" and said.startswith("microseconds") else ""


def are_kept_apart(one: ColumnChoice) -> bool:
    """Whether no two values that SQLite tells apart become one, by what kinds of them there are."""
    name, _, said = one.how.partition(":")
    kind = compared_as(one)
    if not one.kinds or name == "enum":
        return True
    if name == "numeric" and said:
        # what arithmetic left in the last steps of a float goes
        return one.kinds == {"integer"}
    if kind == "number" or kind == "boolean":
        return one.kinds <= ANY_NUMBER
    if kind == "text":
        return one.kinds <= ANY_NUMBER or one.kinds == {"text"}
    if kind == "bytea":
        return len(one.kinds) == 1
    if kind == "uuid":
        return one.kinds == {"blob"}
    return one.kinds == {"integer"} and (kind == "interval" or said.partition(",")[0] in SINCE_1970)


def are_written_alike(connection: sqlite3.Connection, table: Table, one: ColumnChoice) -> bool:
    """Whether all texts of a column are written in one way, so that no two say the same: SQLite looks, which is fast."""
    if one.kinds != {"text"}:
        return False
    name = quoted(one.column)
    for written in WRITTEN.get(one.how.partition(":")[0], ()):
        otherwise = f"{name} IS NOT NULL AND NOT ({written.replace('$', name)})"
        query = f"SELECT EXISTS (SELECT 1 FROM {quoted(table.name)} WHERE {otherwise})"  # noqa: S608 - quoted
        if connection.execute(query).fetchone() == (0,):
            return True
    return False


def keys_of_rows(
    connection: sqlite3.Connection,
    table: Table,
    columns: Sequence[ColumnChoice],
    *,
    nulls_are_equal: bool = False,
    folds: Sequence[str] = (),
    where: Where | None = None,
) -> Generator[tuple[int, bytes]]:
    """Yield the number of every row that has a value in each of these columns, and a digest of them as they are compared.

    `folds` names the collation by which each compares, of `FOLDS`, if it does by one; `where` leaves rows out. A row with a value that does not fit has none, and neither has one with a value too long to be held, which no index holds.
    The number of a row is its rowid; of a table WITHOUT ROWID its place.
    """
    absent = NULL if nulls_are_equal else None
    by = folds or [""] * len(columns)
    asked = (*columns, *(where.columns if where else ()))
    for numbers, values in _read(connection, table, {one.column for one in asked}):
        fields = [
            _folded(_fields(values[one.column], one, absent), fold)
            for one, fold in zip(columns, by, strict=True)
        ]
        taken = _taken(values, where) if where else repeat(True, len(numbers))
        for number, key, is_taken in zip(numbers, zip(*fields, strict=True), taken, strict=True):
            if is_taken and None not in key:
                line = "\t".join(str(field) for field in key)
                yield number, blake2b(line.encode(), digest_size=DIGEST_BYTES).digest()


def rows_that_do_not_fit(
    connection: sqlite3.Connection, table: Table, columns: Sequence[ColumnChoice]
) -> Generator[int]:
    """Yield the number of every row with a value that does not fit one of these columns."""
    for numbers, values in _read(connection, table, {one.column for one in columns}):
        lost: set[int] = set()
        for one in columns:
            lost.update(_unfit(values[one.column], one))
        yield from (numbers[place] for place in sorted(lost))


def shown_rows(connection: sqlite3.Connection, table: Table, wanted: Collection[int]) -> Mapping[int, str]:
    """Return how rows of these numbers are told: by their rowid, or by their key."""
    found: dict[int, str] = {}
    before = 0
    with closing(numbered(connection, table, {table.data_columns[0].name})) as batches:
        for batch in batches:
            if isinstance(batch.ids[0], int):
                return {number: str(number) for number in wanted}
            for number in wanted:
                if before <= number < before + batch.count:
                    found[number] = str(batch.ids[number - before])
            before += batch.count
            if len(found) == len(wanted):
                break
    return found


def _read(
    connection: sqlite3.Connection, table: Table, names: Collection[str]
) -> Iterator[tuple[Sequence[int], Mapping[str, Sequence[Any]]]]:
    wanted = [column.name for column in table.data_columns if column.name in names]
    before = 0
    with closing(numbered(connection, table, wanted)) as batches:
        for batch in batches:
            columns = (
                [(value,) for value in batch.values] if isinstance(batch, NumberedLong) else batch.columns
            )
            places = range(before, before + batch.count)
            numbers = [
                place if isinstance(id_, str) else id_ for place, id_ in zip(places, batch.ids, strict=True)
            ]
            before += batch.count
            yield numbers, dict(zip(wanted, columns, strict=True))


def _fields(values: Sequence[Any], one: ColumnChoice, absent: str | None) -> Fields:
    """Spell values as they are compared; None: there is nothing to compare."""
    present = [value for value in values if value is not None]
    fields = iter(_compared(_spelled(present, one.how), one))
    return [absent if value is None else next(fields) for value in values]


def _folded(fields: Fields, by: str) -> Fields:
    fold = FOLDS.get(by)
    return [field if field in (None, NULL) else fold(field) for field in fields] if fold else fields


def _taken(values: Mapping[str, Sequence[Any]], where: Where) -> Iterator[bool]:
    """Say of each row whether the condition takes it."""
    names = [one.into for one in where.columns]
    fields = [_fields(values[one.column], one, NULL) for one in where.columns]
    if not fields:
        # it looks at nothing that differs
        is_taken = where.holds({})
        return (is_taken for _ in next(iter(values.values())))
    return (where.holds(dict(zip(names, row, strict=True))) for row in zip(*fields, strict=True))


def _spelled(values: Sequence[Any], how: str) -> Fields:
    try:
        if not any(isinstance(value, LongValue) for value in values):
            return [*speller(how).spell(values)]
    except Misfit:
        pass
    return [_one(value, how) for value in values]


def _one(value: Any, how: str) -> str | None:
    try:
        return None if isinstance(value, LongValue) else speller(how).spell((value,))[0]
    except Misfit:
        return None


def _compared(fields: Fields, one: ColumnChoice) -> Fields:
    kind = compared_as(one)
    if kind == "number":
        read = _float if one.how.partition(":")[0] in FLOATS else _number
        return [None if field is None else read(field) for field in fields]
    if kind == "character":
        return [None if field is None else field.rstrip(" ") for field in fields]
    return fields


def _number(field: str) -> str:
    found = str(number_of(field))
    return "0" if found == "-0" else found


def _float(field: str) -> str:
    return _number(repr(float(field)))


def _unfit(values: Sequence[Any], one: ColumnChoice) -> Iterator[int]:
    """Yield the places of those that do not fit."""
    how = speller(one.how)
    present = [value for value in values if value is not None]
    try:
        if not any(isinstance(value, LongValue) for value in present):
            (how.prove or how.spell)(present)
            present = []
    except Misfit:
        pass
    for place, value in enumerate(values):
        if value is None:
            if one.not_null:
                yield place
        elif present and (long_misfit(value, one.how) if isinstance(value, LongValue) else how.fits(value)):
            yield place
