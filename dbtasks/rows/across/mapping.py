"""Which type a column gets on the other engine: two tables of data, and the choice by them.

A type is chosen only where every value comes back from it as it was: SQLite's
declared type says what to try, and the values decide. docs/rows.md prints both tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ...nouns import many
from ..postgres.needs import CATALOG
from ..postgres.spelling import TypeName
from .profile import Profile

__all__ = ["FROM_POSTGRES", "FROM_SQLITE", "Attempt", "Chosen", "declared_for", "not_kept", "type_for"]

ARGUMENTS = re.compile(r"\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)")
EXACT_DIGITS = 15
"""Decimal digits that a float of SQLite's keeps, however they are."""


@dataclass(frozen=True)
class Chosen:
    """What a column becomes, and how its values are spelled there."""

    type: str
    how: str
    """`as it is`, `boolean`, `bytes`, `number`, `integer`, `real`."""


@dataclass(frozen=True)
class Attempt:
    """One line of the table from SQLite: a declared type that holds one of these words may become this type."""

    words: tuple[str, ...]
    type: str
    how: str
    kinds: frozenset[str]
    """Storage classes its values may have."""
    form: str = ""
    """What its texts must all be."""
    flag: bool = False
    finite: bool = False


def _attempt(
    words: str, type_: str, how: str, kinds: str, *, form: str = "", flag: bool = False, finite: bool = False
) -> Attempt:
    return Attempt(tuple(words.split()), type_, how, frozenset(kinds.split()), form, flag, finite)


FROM_SQLITE = (
    _attempt("BOOL", "boolean", "boolean", "integers", flag=True),
    _attempt("DATETIME TIMESTAMP", "timestamp without time zone", "as it is", "texts", form="timestamp"),
    _attempt("DATE", "date", "as it is", "texts", form="date"),
    _attempt("TIME", "time without time zone", "as it is", "texts", form="time"),
    _attempt("UUID GUID", "uuid", "as it is", "texts", form="uuid"),
    _attempt("JSON", "json", "as it is", "texts", form="json"),
    _attempt("INT", "bigint", "number", "integers"),
    _attempt("REAL FLOA DOUB", "double precision", "number", "reals integers"),
    _attempt("DEC NUM MONEY", "numeric", "number", "reals integers", finite=True),
    # whatever it was declared as: by the values
    _attempt("", "text", "as it is", "texts"),
    _attempt("", "bytea", "bytes", "blobs"),
    _attempt("", "bigint", "number", "integers"),
    _attempt("", "double precision", "number", "reals"),
    _attempt("", "numeric", "number", "reals integers", finite=True),
)
"""Declared type and values to type; the first line that fits them is taken."""

EMPTY = (
    *(
        ("BOOL", "boolean"),
        ("DATETIME", "timestamp without time zone"),
        ("TIMESTAMP", "timestamp without time zone"),
    ),
    *(
        ("DATE", "date"),
        ("TIME", "time without time zone"),
        ("UUID", "uuid"),
        ("GUID", "uuid"),
        ("JSON", "json"),
        ("INT", "bigint"),
    ),
    *(("CHAR", "text"), ("CLOB", "text"), ("TEXT", "text"), ("BLOB", "bytea"), ("REAL", "double precision")),
    *(
        ("FLOA", "double precision"),
        ("DOUB", "double precision"),
        ("DEC", "numeric"),
        ("NUM", "numeric"),
        ("MONEY", "numeric"),
        ("", "text"),
    ),
)
"""For a column that holds nothing but NULL, or no row."""

FROM_POSTGRES = {
    "int2": ("SMALLINT", "as it is"),
    "int4": ("INTEGER", "as it is"),
    "int8": ("BIGINT", "integer"),
    "oid": ("INTEGER", "as it is"),
    "bool": ("BOOLEAN", "as it is"),
    "float4": ("REAL", "real"),
    "float8": ("DOUBLE", "real"),
    "bytea": ("BLOB", "bytes"),
    "date": ("DATE", "as it is"),
    "timestamp": ("DATETIME", "as it is"),
    "time": ("TIME", "as it is"),
    "uuid": ("UUID_TEXT", "as it is"),
    "json": ("JSON_TEXT", "as it is"),
    "varchar": ("VARCHAR", "as it is"),
    "bpchar": ("CHAR", "as it is"),
}
"""PostgreSQL's own types to declared type; every other one, arrays among them, is TEXT: what the server writes for the value."""


def type_for(declared: str, profile: Profile) -> Chosen | None:
    """Return the type of PostgreSQL's that holds all values of a column of SQLite; None: there is none."""
    name = declared.upper()
    if profile.unfit:
        return None
    if not profile.kinds:
        type_ = next(type_ for word, type_ in EMPTY if word in name)
        hows = {"boolean": "boolean", "bytea": "bytes"}
        return Chosen(_with_length(type_, name, profile), hows.get(type_, "as it is"))
    for attempt in FROM_SQLITE:
        if (not attempt.words or any(word in name for word in attempt.words)) and _fits(attempt, profile):
            return Chosen(_with_length(attempt.type, name, profile), attempt.how)
    return None


def _fits(attempt: Attempt, profile: Profile) -> bool:
    return (
        profile.kinds <= attempt.kinds
        and (not attempt.form or attempt.form in profile.forms)
        and (not attempt.flag or profile.is_flag)
        and (not attempt.finite or profile.is_finite)
    )


def _with_length(type_: str, declared: str, profile: Profile) -> str:
    """Keep `(40)` and `(10,2)` where every value keeps to it: SQLite itself does not mind."""
    found = ARGUMENTS.search(declared)
    if found is None:
        return type_
    first, second = int(found[1]), int(found[2] or 0)
    if type_ == "text" and "CHAR" in declared and first > 0 and profile.longest <= first:
        return f"character varying({first})"
    fits = profile.digits_behind <= second and profile.whole_digits <= first - second
    if type_ == "numeric" and 0 < first <= 1000 and second <= first and fits:
        return f"numeric({first},{second})"
    return type_


def not_kept(declared: str, profile: Profile, chosen: Chosen) -> str:
    """Say why a column does not become what it was declared as; empty: it does, or was declared as nothing known."""
    name, (base, _, length) = declared.upper(), chosen.type.partition("(")
    wanted = next((type_ for word, type_ in EMPTY if word and word in name), None)
    if wanted is None or not profile.kinds:
        return ""
    if base.replace("character varying", "text") != wanted:
        return _misfit(next(attempt for attempt in FROM_SQLITE if attempt.type == wanted), profile)
    if length or not ARGUMENTS.search(name):
        return ""
    if wanted == "text" and "CHAR" in name:
        return f"its longest text has {profile.longest:,} characters"
    if wanted == "numeric":
        return (
            f"its numbers have up to {profile.whole_digits} digits before the point"
            f" and {profile.digits_behind} behind it"
        )
    return ""


def _misfit(attempt: Attempt, profile: Profile) -> str:
    others = [
        many(profile.counts[kind], kind.removesuffix("s")) for kind in sorted(profile.kinds - attempt.kinds)
    ]
    if others:
        return f"it holds {' and '.join(others)}"
    if attempt.form in profile.strangers:
        return f"the text in row {profile.strangers[attempt.form]:,} would not come back from it as it is"
    if attempt.flag:
        return "it holds other integers than 0 and 1"
    return "it holds infinity"


def declared_for(type_: TypeName) -> Chosen:
    """Return the declared type for a column of PostgreSQL, a domain's by what it stands on."""
    if type_.is_array or type_.schema != CATALOG:
        return Chosen("TEXT", "as it is")
    if type_.name == "numeric" and type_.modifiers and int(type_.modifiers[0]) <= EXACT_DIGITS:
        return Chosen(f"NUMERIC({','.join(type_.modifiers)})", "number")
    declared, how = FROM_POSTGRES.get(type_.name, ("TEXT", "as it is"))
    sized = f"({type_.modifiers[0]})" if type_.name in ("varchar", "bpchar") and type_.modifiers else ""
    return Chosen(declared + sized, how)
