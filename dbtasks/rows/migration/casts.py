"""`--cast=TABLE.COLUMN:TYPE`: a type that somebody chose for one column of SQLite."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...errors import UsageError
from ..across.candidates import LONGEST_VARCHAR, for_type
from ..postgres.spelling import type_of
from ..postgres.words import NotWritten
from ..schema import PortableSchema

__all__ = ["Cast", "casts_for"]

FLAG = "--cast=TABLE.COLUMN:TYPE"
ARGUMENTS = re.compile(r"\s*(\([\d\s,]*\))")
SPELLINGS = {
    **dict.fromkeys(("int", "int4", "integer"), "integer"),
    **dict.fromkeys(("int8", "bigint"), "bigint"),
    **dict.fromkeys(("int2", "smallint"), "smallint"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("float8", "float", "double", "double precision"), "double precision"),
    **dict.fromkeys(("float4", "real"), "real"),
    **dict.fromkeys(("decimal", "numeric"), "numeric"),
    **dict.fromkeys(("varchar", "character varying"), "character varying"),
    **dict.fromkeys(("char", "character", "bpchar"), "character"),
    **dict.fromkeys(("timestamptz", "timestamp with time zone"), "timestamp with time zone"),
    **dict.fromkeys(("timestamp", "timestamp without time zone"), "timestamp without time zone"),
    **dict.fromkeys(("time", "time without time zone"), "time without time zone"),
    **{
        name: name
        for name in ("text", "bytea", "uuid", "json", "jsonb", "date", "interval", "inet", "cidr", "xml")
    },
}
"""Types that a cast may name, and how the server spells each."""
SIZED = {"character varying": 1, "character": 1, "numeric": 2}
"""How many numbers may stand in parentheses behind one."""
LONGEST = {"character varying": LONGEST_VARCHAR, "character": LONGEST_VARCHAR, "numeric": 1_000}
"""How large the first of them may be."""


@dataclass(frozen=True)
class Cast:
    """A column by its name, and its type as the server spells it."""

    column: str
    """`TABLE.COLUMN`, as it was written."""
    type: str

    @classmethod
    def parse(cls, text: str) -> Cast:
        """Read a flag's value.

        Raises:
            UsageError: it is none, or names a type that a migration has no way into.
        """
        column, colon, said = text.rpartition(":")
        if not colon or "." not in column.strip(".") or not said.strip():
            raise UsageError(f"{text!r} is no cast", hint=f"write {FLAG}, such as --cast=orders.paid:boolean")
        return cls(column.strip(), _spelled(text, said))


def _spelled(text: str, said: str) -> str:
    arguments = ARGUMENTS.search(said)
    bare = " ".join(ARGUMENTS.sub("", said).lower().split())
    type_ = SPELLINGS.get(bare)
    numbers = arguments[1].strip("()").split(",") if arguments else []
    if type_ is None or len(numbers) > SIZED.get(type_, 0) or any(not one.strip() for one in numbers):
        raise UsageError(
            f"--cast={text}: {said.strip()} is no type that a migration has a way into",
            hint=f"one of {', '.join(sorted(set(SPELLINGS.values())))}; with a length where it has one",
        )
    whole = type_ + (f"({','.join(one.strip() for one in numbers)})" if numbers else "")
    try:
        type_of(whole)
        for_type(whole)
        if numbers and not 0 < int(numbers[0]) <= LONGEST[type_]:
            raise ValueError(whole)
    except (NotWritten, ValueError) as exc:
        raise UsageError(f"--cast={text}: {said.strip()} is no type") from exc
    return whole


def casts_for(schema: PortableSchema, casts: Iterable[Cast]) -> Mapping[tuple[str, str], str]:
    """Return the type of each column that has a cast, by table and column.

    Raises:
        UsageError: there is no such column, or two casts name one.
    """
    known = {
        f"{table.name}.{column.name}".lower(): (table.name, column.name)
        for table in schema.tables
        for column in table.data_columns
    }
    found: dict[tuple[str, str], str] = {}
    for cast in casts:
        column = known.get(cast.column.lower())
        if column is None:
            raise UsageError(
                f"--cast={cast.column}:{cast.type} names no column of the tables that are migrated",
                hint=f"write {FLAG}, with names as SQLite has them",
            )
        if column in found:
            raise UsageError(f"two casts name {cast.column}")
        found[column] = cast.type
    return found
