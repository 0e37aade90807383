"""When two values mean the same: by one table of rules, for a column's type on each side.

Within one engine, and one type, values are compared as they stand: PostgreSQL's
own words, SQLite's storage class and bits. Between two types of PostgreSQL, and
between PostgreSQL and SQLite, both sides are read into one form. What no rule
brings together is not guessed: the column is named, or the value stays as it
is, which is like nothing on the other side, and is counted.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from decimal import Decimal
from enum import StrEnum
from operator import itemgetter
from typing import Any

__all__ = [
    "NEGATIVE_ZERO",
    "Family",
    "Reader",
    "Unlike",
    "family_of",
    "number_of",
    "postgres_reader",
    "sqlite_reader",
]

Reader = Callable[[Any], Any]


class Unlike(Exception):
    """A value for which there is no rule in a column of this type."""


class Family(StrEnum):
    """Types of PostgreSQL whose values can be compared with one another."""

    NUMBER = "number"
    BOOLEAN = "boolean"
    TEXT = "text"
    PADDED = "character"
    BYTES = "bytea"
    UUID = "uuid"
    DATE = "date"
    TIME = "time"
    TIMESTAMP = "timestamp"
    INSTANT = "timestamp with time zone"
    JSON = "json"
    WORDS = "words"
    """Any other: only as PostgreSQL writes it."""


FAMILIES = {
    **dict.fromkeys(
        ("smallint", "integer", "bigint", "oid", "numeric", "real", "double precision"), Family.NUMBER
    ),
    **dict.fromkeys(("text", "character varying", "name", "citext", "xml", '"char"'), Family.TEXT),
    "boolean": Family.BOOLEAN,
    "character": Family.PADDED,
    "bytea": Family.BYTES,
    "uuid": Family.UUID,
    "date": Family.DATE,
    "time without time zone": Family.TIME,
    "timestamp without time zone": Family.TIMESTAMP,
    "timestamp with time zone": Family.INSTANT,
    "json": Family.JSON,
    "jsonb": Family.JSON,
}
MODIFIER = re.compile(r"\s*\([\d\s,-]*\)")
DEEPEST_DOMAIN = 32
EXACT_DIGITS = 18
PLAIN_DIGITS = 40
"""Beyond them a number is written with an exponent."""
NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
NEGATIVE_ZERO = re.compile(r"-(?:0+\.?0*|\.0+)(?:[eE][+-]?[0-9]{1,6})?")
"""Another value than 0 to whoever divides by it."""
UNENDING = {"inf": "Infinity", "-inf": "-Infinity"}
STAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?)?"
    r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)?"
)
TIME = re.compile(r"[0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6}0*)?)?")
BOOLEANS = {"true": True, "t": True, "false": False, "f": False}


def family_of(type_: str, domains: Mapping[str, str]) -> Family | None:
    """Return the family of a type as PostgreSQL spells it, `domains` by what they stand on; None: it is not known."""
    if not type_:
        return None
    for _ in range(DEEPEST_DOMAIN):
        bare = MODIFIER.sub("", type_)
        if bare not in domains:
            break
        type_ = domains[bare]
    return FAMILIES.get(bare, Family.WORDS)


def number_of(value: Any) -> Any:
    """Return one form for every spelling of a number: an int where it is whole and short, else a text.

    Nothing is expanded: `1e999999` stays as short as it is. What is no number stays as it is.
    """
    if type(value) is float:
        value = repr(value)
    text = str(value).strip() if isinstance(value, int | str) else ""
    if text in UNENDING:
        return UNENDING[text]
    if NEGATIVE_ZERO.fullmatch(text):
        return "-0"
    if len(text) <= EXACT_DIGITS and text.removeprefix("-").isdecimal() and text.isascii():
        return int(text)
    if not NUMBER.fullmatch(text):
        return value
    negative, digits, exponent = Decimal(text).as_tuple()
    written = "".join(map(str, digits)).lstrip("0")
    short = written.rstrip("0")
    if not short:
        return 0
    power = int(exponent) + len(written) - len(short)
    sign = "-" if negative else ""
    if power >= 0 and len(short) + power <= EXACT_DIGITS:
        return int(f"{sign}{short}") * 10**power
    if power >= 0 and len(short) + power <= PLAIN_DIGITS:
        return f"{sign}{short}{'0' * power}"
    if -PLAIN_DIGITS <= power < 0:
        padded = short.rjust(1 - power, "0")
        return f"{sign}{padded[:power]}.{padded[power:]}"
    return f"{sign}{short}e{power}"


def postgres_reader(family: Family, type_: str = "") -> Reader | None:
    """Return what makes one form of PostgreSQL's values; None: they stay as they are.

    With their type where they stand beside SQLite's own floats: of two spellings that are as short, each side takes its own.
    """
    return _double if type_ == "double precision" else _POSTGRES.get(family)


def sqlite_reader(family: Family) -> Reader:
    """Return what makes the same form of SQLite's values; it raises `Unlike` where there is no rule for one."""
    return _SQLITE[family]


# -- PostgreSQL's words ---------------------------------------------------------------------


def _bytes(value: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("\\x"))
    except ValueError as exc:
        raise Unlike from exc


def _double(value: str) -> Any:
    try:
        found = float(value)
    except (ValueError, TypeError):
        return value
    return value if found != found else number_of(found)


def _padded(value: str) -> str:
    return value.rstrip(" ")


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise Unlike
    return value


def _of_text(read: Reader) -> Reader:
    return lambda value: read(_string(value))


def _document(value: str) -> Any:
    """Read JSON by what it says: white space, order of names and the spelling of numbers are nothing."""
    try:
        read = json.loads(value, parse_float=_Number, parse_int=_Number, object_pairs_hook=_Object)
        return repr(_shape(read))
    except (ValueError, RecursionError):
        return value


class _Number(str):
    """A number as it is written in JSON."""


class _Object(tuple[tuple[str, Any], ...]):
    """Names and values of an object: json keeps a name that comes twice."""


def _shape(value: Any) -> Any:
    if isinstance(value, _Object):
        return {"object": [(name, _shape(held)) for name, held in sorted(value, key=itemgetter(0))]}
    if isinstance(value, list):
        return [_shape(held) for held in value]
    return (number_of(str(value)),) if isinstance(value, _Number) else value


def _stamped(value: str) -> datetime | None:
    """Return a moment; None where Python's calendar has none such, as before Christ or at infinity."""
    if not STAMP.fullmatch(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        return None


def _date(value: str) -> Any:
    found = _stamped(value)
    midnight = found is not None and found.tzinfo is None and found.time() == time()
    return found.date().isoformat() if found is not None and midnight else value


def _timestamp(value: str) -> Any:
    found = _stamped(value)
    if found is None or (found.tzinfo is not None and found.utcoffset()):
        return value
    return found.replace(tzinfo=None).isoformat()


def _instant(value: str) -> Any:
    found = _stamped(value)
    if found is None:
        return value
    try:
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC).isoformat()
    except OverflowError:
        return value


def _time(value: str) -> Any:
    if not TIME.fullmatch(value):
        return value
    try:
        return time.fromisoformat(value).isoformat()
    except ValueError:
        return value


_POSTGRES: dict[Family, Reader] = {
    Family.NUMBER: number_of,
    # the text of somebody's file may be none
    Family.PADDED: _of_text(_padded),
    Family.BYTES: _of_text(_bytes),
    Family.DATE: _of_text(_date),
    Family.TIME: _of_text(_time),
    Family.TIMESTAMP: _of_text(_timestamp),
    Family.INSTANT: _of_text(_instant),
    Family.JSON: _of_text(_document),
}


# -- SQLite's values -----------------------------------------------------------------------


def _number(value: Any) -> Any:
    if isinstance(value, bytes):
        raise Unlike
    return number_of(value)


def _boolean(value: Any) -> bool:
    if isinstance(value, int | float) and value in (0, 1):
        return bool(value)
    if isinstance(value, str) and value.lower() in BOOLEANS:
        return BOOLEANS[value.lower()]
    raise Unlike


def _text(value: Any) -> str:
    if isinstance(value, int):
        return str(value)
    return _string(value)


def _blob(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise Unlike
    return value


def _uuid(value: Any) -> str:
    if isinstance(value, bytes) and len(value) == 16:
        return str(uuid.UUID(bytes=value))
    text = _string(value)
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return text


def _json(value: Any) -> Any:
    # a number is a document too
    return _document(str(value) if isinstance(value, int) else _string(value))


_SQLITE: dict[Family, Reader] = {
    Family.NUMBER: _number,
    Family.BOOLEAN: _boolean,
    Family.TEXT: _text,
    Family.PADDED: lambda value: _padded(_text(value)),
    Family.BYTES: _blob,
    Family.UUID: _uuid,
    Family.DATE: _of_text(_date),
    Family.TIME: _of_text(_time),
    Family.TIMESTAMP: _of_text(_timestamp),
    Family.INSTANT: _of_text(_instant),
    Family.JSON: _json,
    Family.WORDS: _string,
}
