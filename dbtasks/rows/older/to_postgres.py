"""What a plain JSON value of an older file means in a column of PostgreSQL: decided by its type, and refused where it could be two things.

A reader turns a value into the text that COPY takes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..comparison.alike import NEGATIVE_ZERO
from ..postgres.needs import CATALOG
from ..postgres.spelling import TypeName, type_of
from ..postgres.words import NotWritten
from ..schema import UserType
from .kept import keeping
from .values import NUMBER, WHOLE, Members, NotTaken, Number, Unending, bytes_of, json_of, kind_of

__all__ = ["Reader", "reader_for"]

Reader = Callable[[Any], str]

DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
# of a sixtieth second the server makes the next minute
CLOCK = r"[0-9]{2}:[0-9]{2}(?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
ZONE = r"(?:Z|[+-][0-9]{2}(?::?[0-9]{2}(?::[0-9]{2})?)?)"
TIME = re.compile(CLOCK)
ZONED_TIME = re.compile(CLOCK + ZONE)
STAMP = re.compile(rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ]{CLOCK}")
INSTANT = re.compile(STAMP.pattern + ZONE)
PYTHON_DELTA = re.compile(r"(?:(-?[0-9]+) days?, )?([0-9]{1,2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)")
DURATION = re.compile(
    r"P(?=[0-9T])(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+W)?(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+(?:\.[0-9]{1,6})?S)?)?"
)
UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
MARKS = {"NaN": "NaN", "Infinity": "Infinity", "-Infinity": "-Infinity"}
ARRAY_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"'})
DEEPEST_DOMAIN = 32

WORDS = frozenset(
    (
        *("inet", "cidr", "macaddr", "macaddr8", "bit", "varbit", "tsvector", "tsquery", "xml", "pg_lsn"),
        *("point", "line", "lseg", "box", "path", "polygon", "circle", "jsonpath"),
        *("int4range", "int8range", "numrange", "daterange"),
    )
)
"""Types of which a text is the server's own way of writing, and can be nothing else."""


def reader_for(type_: str, types: Mapping[str, UserType]) -> Reader:
    """Return what reads the values of a column, whose type is spelt as the server spells it.

    Raises:
        NotTaken: nobody said how values of this type stand in such a file.
    """
    name = _base(type_, types)
    if name.is_array:
        return _array(_single(type_, replace(name, is_array=False), types))
    return _single(type_, name, types)


def _base(type_: str, types: Mapping[str, UserType]) -> TypeName:
    spelled = type_
    for _ in range(DEEPEST_DOMAIN):
        try:
            name = type_of(spelled)
        except NotWritten as exc:
            raise NotTaken(f"no value of the type {type_} is taken") from exc
        domain = types.get(spelled)
        if domain is None or domain.kind != "domain":
            return name
        spelled = domain.base
    raise NotTaken(f"no value of the type {type_} is taken")


def _single(type_: str, name: TypeName, types: Mapping[str, UserType]) -> Reader:
    if name.schema == CATALOG and name.name in READERS:
        return keeping(name, READERS[name.name])
    if name.schema == CATALOG and name.name in WORDS:
        return _text
    own = next((held for text, held in types.items() if _names(text, name)), None)
    if own is not None and own.kind == "enum":
        return _one_of(own)
    if name.name == "citext":
        return _text
    raise NotTaken(f"of the type {type_}: how its values stand in such a file nobody said")


def _names(text: str, name: TypeName) -> bool:
    try:
        found = type_of(text)
    except NotWritten:
        return False
    return (found.schema, found.name) == (name.schema, name.name)


# -- one value ---------------------------------------------------------------------------------


def _whole(value: Any) -> str:
    if isinstance(value, Number) or type(value) is str:
        if WHOLE.fullmatch(value):
            return value
        raise NotTaken("a number with a fraction or an exponent" if isinstance(value, Number) else "a text")
    raise _unfit(value)


def _number(value: Any) -> str:
    if isinstance(value, Unending):
        return MARKS[value]
    if isinstance(value, str) and (NUMBER.fullmatch(value) or value in MARKS):
        return value
    raise _unfit(value)


def _boolean(value: Any) -> str:
    if isinstance(value, bool):
        return "t" if value else "f"
    if isinstance(value, Number) and value in ("0", "1"):
        return "t" if value == "1" else "f"
    raise _unfit(value)


def _text(value: Any) -> str:
    if type(value) is not str:
        raise _unfit(value)
    return value


def _pattern(pattern: re.Pattern[str], otherwise: str) -> Reader:
    def read(value: Any) -> str:
        if type(value) is not str:
            raise _unfit(value)
        if not pattern.fullmatch(value):
            raise NotTaken(otherwise)
        return value

    return read


def _stamp(value: Any) -> str:
    text = _text(value)
    if STAMP.fullmatch(text):
        return text
    if INSTANT.fullmatch(text):
        raise NotTaken("a datetime with a zone: the column holds none, and which clock is meant nobody said")
    raise NotTaken("no ISO 8601 datetime of up to six digits behind the second")


def _instant(value: Any) -> str:
    text = _text(value)
    if INSTANT.fullmatch(text):
        return text
    if STAMP.fullmatch(text):
        raise NotTaken("a datetime without a zone: which instant is meant nobody said")
    raise NotTaken("no ISO 8601 datetime of up to six digits behind the second")


def _interval(value: Any) -> str:
    text = _text(value)
    if DURATION.fullmatch(text):
        return text
    found = PYTHON_DELTA.fullmatch(text)
    if not found:
        raise NotTaken("neither an ISO 8601 duration nor as Python writes one")
    days = f"{found[1]} days " if found[1] else ""
    return f"{days}+{found[2]}"


def _bytes(value: Any) -> str:
    if type(value) is not str:
        raise _unfit(value)
    return f"\\x{bytes_of(value).hex()}"


def _json(value: Any) -> str:
    if type(value) is str:
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            pass
        else:
            raise NotTaken("a text that is JSON itself: the string, or what stands in it, could be meant")
    return json_of(value)


def _jsonb(value: Any) -> str:
    text = _json(value)
    _prove_keys(value)
    return text


def _prove_keys(value: Any) -> None:
    """See that jsonb keeps all of it: no member takes the place of another, and no zero loses its sign."""
    if isinstance(value, Number) and NEGATIVE_ZERO.fullmatch(value):
        raise NotTaken("holds a zero below zero, of which 0 is kept")
    if isinstance(value, Members):
        if len({key for key, _ in value}) < len(value):
            raise NotTaken("an object with a key twice, of which one member is kept")
        for _, held in value:
            _prove_keys(held)
    elif isinstance(value, list):
        for held in value:
            _prove_keys(held)


READERS: dict[str, Reader] = {
    **dict.fromkeys(("int2", "int4", "int8", "oid"), _whole),
    **dict.fromkeys(("numeric", "float4", "float8"), _number),
    **dict.fromkeys(("text", "varchar", "bpchar", "name", "char"), _text),
    "bool": _boolean,
    "date": _pattern(DATE, "no ISO 8601 date"),
    "time": _pattern(TIME, "no ISO 8601 time without a zone"),
    "timetz": _pattern(ZONED_TIME, "no ISO 8601 time with a zone"),
    "timestamp": _stamp,
    "timestamptz": _instant,
    "interval": _interval,
    "uuid": _pattern(UUID, "no UUID"),
    "bytea": _bytes,
    "json": _json,
    "jsonb": _jsonb,
}


def _one_of(type_: UserType) -> Reader:
    labels = frozenset(type_.labels)

    def read(value: Any) -> str:
        if type(value) is not str:
            raise _unfit(value)
        if value not in labels:
            raise NotTaken(f"none of the values of {type_.name}")
        return value

    return read


# -- arrays ----------------------------------------------------------------------------------


def _array(read: Reader) -> Reader:
    def read_all(value: Any) -> str:
        if type(value) is not list:
            raise _unfit(value)
        if read in (_json, _jsonb) and any(type(item) is list for item in value):
            raise NotTaken("a list in a list: another dimension, or a value that is JSON, could be meant")
        return _elements(value, read)

    return read_all


def _elements(value: list[Any], read: Reader) -> str:
    def element(item: Any) -> str:
        if item is None:
            return "NULL"
        if type(item) is list:
            return _elements(item, read)
        return f'"{read(item).translate(ARRAY_ESCAPES)}"'

    try:
        return "{" + ",".join(map(element, value)) + "}"
    except RecursionError as exc:
        raise NotTaken("nested deeper than anybody writes") from exc


def _unfit(value: Any) -> NotTaken:
    return NotTaken(kind_of(value))
