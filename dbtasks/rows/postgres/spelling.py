"""Names and types of PostgreSQL, as they stand in a portable schema, and as SQL: nothing of them is taken over as it is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .needs import CATALOG, Kind, Need
from .words import NotWritten, Words

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["LIMIT_BYTES", "Part", "TypeName", "identifier", "joined", "plain", "split_name", "type_of"]

LIMIT_BYTES = 63
"""The server cuts longer names silently, and means something else."""
NAME = re.compile(r'(?:"((?:[^"]|"")*)"|([^."]*))\.(?:"((?:[^"]|"")*)"|([^."]*))', re.DOTALL)
INTERNAL = {
    "bigint": "int8",
    "bit": "bit",
    "bit varying": "varbit",
    "boolean": "bool",
    "character": "bpchar",
    "character varying": "varchar",
    "double precision": "float8",
    "integer": "int4",
    "real": "float4",
    "smallint": "int2",
    "time with time zone": "timetz",
    "time without time zone": "time",
    "timestamp with time zone": "timestamptz",
    "timestamp without time zone": "timestamp",
}
"""Types that the server spells in words of SQL's, by their own names."""
FIELDS = frozenset(
    (
        *(
            "year",
            "month",
            "day",
            "hour",
            "minute",
            "second",
            "year to month",
            "day to hour",
            "day to minute",
        ),
        *("day to second", "hour to minute", "hour to second", "minute to second"),
    )
)


@dataclass(frozen=True)
class Part:
    """A piece of a statement, and what it calls for."""

    sql: Any
    needs: frozenset[Need] = frozenset()


def plain(text: str) -> Part:
    """Return words of our own as a part."""
    from psycopg2 import sql

    return Part(sql.SQL(text))


def joined(between: str, *parts: Part) -> Part:
    """Put parts together."""
    from psycopg2 import sql

    needs = frozenset[Need]().union(*(part.needs for part in parts))
    return Part(sql.SQL(between).join([part.sql for part in parts]), needs)


def identifier(*names: str) -> Composable:
    """Return a name, with its schema where there are two, as SQL.

    Raises:
        NotWritten: no object of PostgreSQL's has such a name.
    """
    from psycopg2 import sql

    for name in names:
        try:
            size = len(name.encode())
        except UnicodeEncodeError as exc:
            raise NotWritten(f"the name {name!r}") from exc
        if not 0 < size <= LIMIT_BYTES or "\0" in name:
            raise NotWritten(f"the name {name[:70]!r}")
    return sql.Identifier(*names)


def split_name(name: str) -> tuple[str, str]:
    """Take apart what `schemas.table_name` puts together.

    Raises:
        NotWritten: it never does.
    """
    found = NAME.fullmatch(name)
    if not found:
        raise NotWritten(f"the name {name[:140]!r}")
    schema, own = (
        quoted.replace('""', '"') if quoted is not None else bare
        for quoted, bare in ((found[1], found[2]), (found[3], found[4]))
    )
    return schema, own


@dataclass(frozen=True)
class TypeName:
    """A type as it is used for a column."""

    schema: str
    name: str
    modifiers: tuple[str, ...] = ()
    fields: str = ""
    """Of an interval."""
    is_array: bool = False

    @property
    def part(self) -> Part:
        """The type as SQL."""
        from psycopg2 import sql

        if (self.schema, self.name) == (CATALOG, "interval"):
            # in any other spelling the number would be of its fields, not of its digits
            whole: Composable = sql.SQL(f"interval {self.fields}".rstrip())
        else:
            whole = identifier(self.schema, self.name)
        if self.modifiers:
            values = [
                sql.SQL(text) if re.fullmatch(r"-?[0-9]+", text) else identifier(text)
                for text in self.modifiers
            ]
            whole = whole + sql.SQL("(") + sql.SQL(", ").join(values) + sql.SQL(")")
        return Part(whole + sql.SQL("[]" if self.is_array else ""), frozenset({self.need}))

    @property
    def need(self) -> Need:
        """The type itself."""
        return Need(Kind.TYPE, self.schema, self.name)


@lru_cache(1024)
def type_of(text: str) -> TypeName:
    """Read a type as `format_type` spells it.

    Raises:
        NotWritten: it does not spell one so.
    """
    words = Words(text)
    first = words.peek()
    if first.kind == "quoted" or words.peek(1).text == ".":
        schema, name = words.qualified()
        modifiers = _modifiers(words)
        return TypeName(schema or CATALOG, name, modifiers, is_array=_brackets(words))
    spelled: list[str] = []
    modifiers = ()
    while words.peek().text not in ("", "["):
        if words.peek().text == "(" and spelled and not modifiers:
            modifiers = _modifiers(words)
        else:
            spelled.append(words.name())
    is_array = _brackets(words)
    name = " ".join(spelled)
    if spelled[:1] == ["interval"] and len(spelled) > 1:
        fields = " ".join(spelled[1:])
        if fields not in FIELDS or (modifiers and not fields.endswith("second")):
            raise NotWritten(f"the type {text[:80]!r}")
        return TypeName(CATALOG, "interval", modifiers, fields, is_array)
    if len(spelled) != 1 and name not in INTERNAL:
        raise NotWritten(f"the type {text[:80]!r}")
    return TypeName(CATALOG, INTERNAL.get(name, name), modifiers, is_array=is_array)


def _modifiers(words: Words) -> tuple[str, ...]:
    if words.peek().text != "(":
        return ()
    inner = words.group()
    found: list[str] = []
    while True:
        minus = "-" if inner.accept("-") else ""
        word = inner.take()
        if not (word.kind == "number" and word.text.isdecimal()) and (minus or not word.is_name):
            raise NotWritten(f"{word.text[:40]!r} in a type")
        found.append(minus + (word.text if word.kind == "number" else _as_written(word.text)))
        if not inner.accept(","):
            inner.end()
            return tuple(found)


def _as_written(text: str) -> str:
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def _brackets(words: Words) -> bool:
    is_array = words.accept("[", "]")
    words.end()
    return is_array
