"""Types and sequences of a portable schema as PostgreSQL statements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ...schemas import quoted
from ..schema import Sequence, UserType
from .needs import CATALOG, Kind, Need
from .spelling import Part, identifier, joined, plain, split_name, type_of
from .words import NotWritten, Words

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["collated", "literal", "sequence_made", "sequence_options", "type_made", "value_set"]


def literal(value: str | int | bool) -> Part:
    """Return a value as SQL.

    Raises:
        NotWritten: here and below: PostgreSQL holds no such thing.
    """
    from psycopg2 import sql

    if not isinstance(value, str):
        return Part(sql.Literal(value))
    try:
        value.encode()
    except UnicodeEncodeError as exc:
        raise NotWritten("a text that is none") from exc
    if "\0" in value:
        raise NotWritten("a zero byte")
    doubled = value.replace("'", "''")
    # psycopg2 spells it by how strings were read when it connected, which is changed since
    spelled = f"'{doubled}'" if "\\" not in value else "E'" + doubled.replace("\\", "\\\\") + "'"
    return Part(sql.SQL(spelled))


def collated(collation: str) -> Part:
    """Return `COLLATE …`, or nothing."""
    if not collation:
        return plain("")
    name, needs = _collation(collation)
    return joined(" ", plain("COLLATE"), Part(name, needs))


def _collation(text: str) -> tuple[Composable, frozenset[Need]]:
    words = Words(text)
    schema, name = words.qualified()
    words.end()
    schema = schema or CATALOG
    return identifier(schema, name), frozenset({Need(Kind.COLLATION, schema, name)})


# -- types --------------------------------------------------------------------------------


def type_made(type_: UserType, conditions: Iterable[Part] = ()) -> Part:
    """Return `CREATE TYPE`, or `CREATE DOMAIN` with a default and checks."""
    name = Part(identifier(*split_name(type_.name)))
    if type_.kind == "domain":
        made = [
            plain("CREATE DOMAIN"),
            name,
            plain("AS"),
            type_of(type_.base).part,
            collated(type_.collation),
        ]
        return joined(" ", *made, plain("NOT NULL" if type_.not_null else ""), *conditions)
    if type_.kind == "enum":
        how, parts = "ENUM", [literal(label) for label in type_.labels]
    elif type_.kind == "composite":
        how, parts = (
            "",
            [
                joined(" ", Part(identifier(one.name)), type_of(one.type).part, collated(one.collation))
                for one in type_.attributes
            ],
        )
    elif type_.kind == "range":
        how, parts = "RANGE", _range_options(type_)
    else:
        raise NotWritten(f"a type that is a {type_.kind[:40]!r}")
    return joined("", plain("CREATE TYPE "), name, plain(f" AS {how} ("), joined(", ", *parts), plain(")"))


def _range_options(type_: UserType) -> list[Part]:
    found = [_assigned("subtype", type_of(type_.base).part)]
    if type_.collation:
        found.append(_assigned("collation", Part(*_collation(type_.collation))))
    for option, text, kind in (
        ("subtype_opclass", type_.subtype_opclass, Kind.OBJECT),
        ("canonical", type_.canonical, Kind.FUNCTION),
        ("subtype_diff", type_.subtype_diff, Kind.FUNCTION),
    ):
        if text:
            names = split_name(text)
            found.append(_assigned(option, Part(identifier(*names), frozenset({Need(kind, *names)}))))
    if type_.multirange:
        found.append(_assigned("multirange_type_name", Part(identifier(*split_name(type_.multirange)))))
    return found


def _assigned(option: str, value: Part) -> Part:
    return joined(" = ", plain(option), value)


# -- sequences ----------------------------------------------------------------------------


def sequence_made(sequence: Sequence) -> Part:
    """Return `CREATE SEQUENCE`."""
    name = Part(identifier(*split_name(sequence.name)))
    of_type = [plain("AS"), type_of(sequence.type).part] if sequence.type else []
    return joined(" ", plain("CREATE SEQUENCE"), name, *of_type, sequence_options(sequence))


def sequence_options(sequence: Sequence) -> Part:
    """Return how it counts."""
    options = [
        ("INCREMENT BY", sequence.increment),
        ("MINVALUE", sequence.minimum),
        ("MAXVALUE", sequence.maximum),
        ("START WITH", sequence.start),
        ("CACHE", sequence.cache),
    ]
    said = [joined(" ", plain(option), literal(value)) for option, value in options if value is not None]
    return joined(" ", *said, plain("CYCLE" if sequence.cycle else "NO CYCLE"))


def value_set(sequence: Sequence) -> Part:
    """Return the statement that lets it go on where it stood."""
    from psycopg2 import sql

    whole = quoted(*split_name(sequence.name))
    call = sql.SQL("SELECT pg_catalog.setval({}::pg_catalog.regclass, {}, {})")
    return Part(
        call.format(literal(whole).sql, literal(sequence.last_value).sql, literal(sequence.is_called).sql)
    )
