"""Which types a column of SQLite may become when it is migrated, in the order in which they are tried: data, and reading it.

Here, unlike in a restore (`mapping`), a value may change its spelling: numbers
since 1970 become timestamps. docs/migrate-types.md prints the tables.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..schema import Column, UserType

__all__ = ["LONGEST_VARCHAR", "Candidate", "for_declared", "for_type", "needs_value", "wider_than"]

ARGUMENTS = re.compile(r"\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\)")
BARE = re.compile(r"\s*\([\d\s,-]*\)")
DEEPEST_DOMAIN = 32
STAMP, STAMPTZ = "timestamp without time zone", "timestamp with time zone"
LONGEST_VARCHAR = 10_485_760
"""The server has none that is longer."""
DOUBLE = "double precision"
LOOSER = {
    "timestamp": ("date",),
    "timestamp:cut": ("timestamp", "date"),
    "timestamptz": ("timestamp", "date"),
    "timestamptz:cut": ("timestamp", "timestamptz", "timestamp:cut", "date"),
    "text": ("timestamp", "timestamptz", "date", "time", "json", "jsonb"),
}
"""Ways that take every value that these others take."""


@dataclass(frozen=True)
class Candidate:
    """A type, how values are spelled for it, and what a column is that has nothing else."""

    type: str
    how: str
    holds: str
    """Words for what its values are, behind `holds`."""
    unit: str = ""
    """What its numbers count since 1970, or `days`: only where they can hardly be anything else."""
    last: bool = False
    """Taken with its misfits where nothing fits."""
    remark: str = ""
    """Words for what becomes of its values, where that is more than the type says."""

    @property
    def fits_what_fits(self) -> tuple[str, ...]:
        """The ways of which this one takes every value, too: it need not be tried where they fit."""
        return LOOSER.get(self.how, ())


TEXT = Candidate("text", "text", "texts", last=True)
BYTES = Candidate("bytea", "bytea", "blobs", last=True)
NUMBERS = (
    Candidate("bigint", "bigint", "whole numbers"),
    Candidate(DOUBLE, "double", "numbers"),
    Candidate("numeric", "numeric", "numbers"),
)


def _since_1970(type_: str, how: str) -> tuple[Candidate, ...]:
    return (
        Candidate(
            type_,
            f"{how}:days",
            "days of the Julian period",
            unit="days",
            remark="of which milliseconds are kept",
        ),
        *(
            Candidate(type_, f"{how}:{unit}", f"{unit} since 1970", unit=unit)
            for unit in ("seconds", "milliseconds", "microseconds")
        ),
    )


IN_UTC = "in UTC where they say no zone"
ZONED = (
    Candidate(STAMPTZ, "timestamptz", "timestamps", remark=IN_UTC),
    Candidate(STAMPTZ, "timestamptz:cut", "timestamps", remark=IN_UTC),
)
LOCAL = (
    Candidate(STAMP, "timestamp", "timestamps without a zone"),
    Candidate(STAMP, "timestamp:cut", "timestamps without a zone"),
)
WRITTEN = (LOCAL[0], ZONED[0], LOCAL[1], ZONED[1])
MOMENTS = (*WRITTEN, *_since_1970(STAMPTZ, "timestamptz"))
DATE = Candidate("date", "date", "dates")
TIME = Candidate("time without time zone", "time", "times of day")
UUID = Candidate("uuid", "uuid", "UUIDs, as text or in 16 bytes")
JSON = Candidate("json", "json", "JSON")
FLAG = Candidate("boolean", "boolean", "only 0 and 1")

DECLARED: tuple[tuple[str, tuple[Candidate, ...]], ...] = (
    ("BOOL", (FLAG, *NUMBERS)),
    ("TIMESTAMPTZ", (*ZONED, *_since_1970(STAMPTZ, "timestamptz"), *NUMBERS)),
    ("WITH TIME ZONE", (*ZONED, *_since_1970(STAMPTZ, "timestamptz"), *NUMBERS)),
    ("DATETIME", (*MOMENTS, *NUMBERS)),
    ("TIMESTAMP", (*MOMENTS, *NUMBERS)),
    ("DATE", (DATE, *MOMENTS, *NUMBERS)),
    ("TIME", (TIME, *WRITTEN, *NUMBERS)),
    ("UUID", (UUID, BYTES)),
    ("GUID", (UUID, BYTES)),
    ("JSONB", (Candidate("jsonb", "jsonb", "JSON"), JSON)),
    ("JSON", (JSON,)),
    ("INT", NUMBERS),
    ("REAL", NUMBERS[1:]),
    ("FLOA", NUMBERS[1:]),
    ("DOUB", NUMBERS[1:]),
    ("DEC", NUMBERS[2:]),
    ("NUM", NUMBERS[2:]),
    ("MONEY", NUMBERS[2:]),
    ("CHAR", ()),
    ("CLOB", ()),
    ("TEXT", ()),
    ("BLOB", (BYTES,)),
    ("BINARY", (BYTES,)),
    ("BYTEA", (BYTES,)),
)
"""What stands in the declared type, and what is tried in this order; text comes behind every one."""

ANYTHING = (*NUMBERS, BYTES)
"""For a column without a type, or of one that says nothing: only its values say what it is."""


def for_declared(declared: str) -> tuple[Candidate, ...]:
    """Return what a column of this declared type may become, the narrowest first."""
    name = declared.upper()
    found = next((types for word, types in DECLARED if word in name), ANYTHING)
    return (*_sized(name, found), TEXT)


def _sized(declared: str, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
    """Try `(40)` and `(10,2)` first: SQLite itself does not mind them."""
    said = ARGUMENTS.search(declared)
    if said is None:
        return found
    first, second = int(said[1]), int(said[2] or 0)
    if not found and "CHAR" in declared and 0 < first <= LONGEST_VARCHAR:
        return (
            Candidate(f"character varying({first})", f"text:{first}", f"texts of up to {first} characters"),
        )
    if found and found[0].how == "numeric" and 0 < first <= 1000 and 0 <= second <= first:
        holds = f"numbers of up to {first} digits, {second} behind the point"
        return (Candidate(f"numeric({first},{second})", f"numeric:{first},{second}", holds), *found)
    return found


def wider_than(declared: str) -> Candidate:
    """Return what a column becomes that has no value: what it was declared as, or text."""
    name = declared.upper()
    found = next((types for word, types in DECLARED if word in name), ())
    return (*_sized(name, found), TEXT)[0]


# -- types that are given ----------------------------------------------------------------------

GIVEN: Mapping[str, tuple[Candidate, ...]] = {
    "boolean": (FLAG,),
    **{name: (Candidate(name, name, "whole numbers"),) for name in ("smallint", "integer", "bigint")},
    DOUBLE: (Candidate(DOUBLE, "double", "numbers"),),
    "real": (Candidate("real", "real", "numbers that real keeps as they are"),),
    "uuid": (UUID,),
    "json": (JSON,),
    "jsonb": (Candidate("jsonb", "jsonb", "JSON"),),
    "date": (DATE,),
    "time without time zone": (TIME,),
    STAMP: (*LOCAL, *_since_1970(STAMP, "timestamp")),
    STAMPTZ: (*ZONED, *_since_1970(STAMPTZ, "timestamptz")),
    "interval": (
        Candidate("interval", "interval", "intervals as text"),
        Candidate("interval", "interval:microseconds", "microseconds"),
    ),
    "bytea": (
        BYTES,
        Candidate("bytea", "bytea:text", "blobs, and texts whose bytes are taken"),
    ),
    **{name: (Candidate(name, "text", "texts"),) for name in ("text", "citext")},
}
ZONED_TIME = "time with time zone"
PRECISE = (STAMP, STAMPTZ, TIME.type, ZONED_TIME, "interval")
MICROSECONDS = 6
SIZED = {"character varying": "text", "character": "padded", "numeric": "numeric"}


def for_type(type_: str, types: Sequence[UserType] = ()) -> tuple[Candidate, ...]:
    """Return the ways into a type that is given, as the server spells it; `types` are those of the user's."""
    known = {one.name: one for one in types}
    spelled = type_
    for _ in range(DEEPEST_DOMAIN):
        found = known.get(BARE.sub("", spelled))
        if found is None or found.kind != "domain":
            break
        spelled = found.base
    if found is not None and found.kind == "enum":
        if any("," in label for label in found.labels):
            return (Candidate(type_, "text", f"labels of {found.name}"),)
        return (Candidate(type_, f"enum:{','.join(found.labels)}", f"labels of {found.name}"),)
    bare, said = BARE.sub("", spelled), ARGUMENTS.search(spelled)
    if bare in SIZED:
        arguments = ",".join(part for part in (said.groups() if said else ()) if part)
        if bare == "character" and not arguments:
            arguments = "1"
        holds = "numbers" if bare == "numeric" else "texts"
        how = f"{SIZED[bare]}:{arguments}" if arguments else SIZED[bare]
        return (Candidate(type_, how, holds),)
    if bare.startswith("interval ") and bare.endswith(" second"):
        bare = "interval"
    digits = int(said[1]) if said and bare in PRECISE else MICROSECONDS
    words = f"words:{digits}" if bare == ZONED_TIME else "words"
    ways = GIVEN.get(bare) or (Candidate(type_, words, "what only the server reads"),)
    return tuple(replace(way, type=type_, how=_with_digits(way.how, digits), last=False) for way in ways)


def _with_digits(how: str, digits: int) -> str:
    """Let no value have more digits of a second than the type keeps."""
    if digits >= MICROSECONDS or how.startswith("words"):
        return how
    if how == "interval":
        return f"{how}:text,{digits}"
    return f"{how}{',' if ':' in how else ':,'}{digits}"


def needs_value(column: Column) -> bool:
    """Whether a row without a value for this column cannot be."""
    return column.not_null and not (column.default or column.identity or column.generated)
