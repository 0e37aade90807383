"""Defaults of SQLite's in PostgreSQL's words: constants as their column spells them, and the present time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..across.misfit import Misfit
from ..across.spellers import line_of
from .words import tokens

__all__ = ["default_there"]

INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
STRING = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"")
BLOB = re.compile(r"[xX]'((?:[0-9a-fA-F]{2})*)'")
WORDS = {"TRUE": 1, "FALSE": 0}
UTC_NOW = "timezone('UTC'::text, now())"
SECOND = f"date_trunc('second'::text, {UTC_NOW})"
EPOCH = "date_part('epoch'::text, now())"
MILLISECOND = f"date_trunc('milliseconds'::text, {UTC_NOW})"
MOMENT, DAY, CLOCK, NUMBER_OF_SECONDS = "moment", "day", "clock", "seconds"
FINE, ZULU, FINE_ZULU = "moment with milliseconds", "moment with T and Z", "both"
NOW = {
    "CURRENT_TIMESTAMP": MOMENT,
    "DATETIME('now')": MOMENT,
    "DATETIME()": MOMENT,
    "STRFTIME('%Y-%m-%d %H:%M:%S','now')": MOMENT,
    "STRFTIME('%Y-%m-%d %H:%M:%f','now')": FINE,
    "STRFTIME('%Y-%m-%dT%H:%M:%SZ','now')": ZULU,
    "STRFTIME('%Y-%m-%dT%H:%M:%fZ','now')": FINE_ZULU,
    "CURRENT_DATE": DAY,
    "DATE('now')": DAY,
    "DATE()": DAY,
    "CURRENT_TIME": CLOCK,
    "TIME('now')": CLOCK,
    "STRFTIME('%s','now')": NUMBER_OF_SECONDS,
    "UNIXEPOCH()": NUMBER_OF_SECONDS,
    "UNIXEPOCH('now')": NUMBER_OF_SECONDS,
    "CAST(STRFTIME('%s','now')ASINTEGER)": NUMBER_OF_SECONDS,
    "CAST(STRFTIME('%s','now')ASINT)": NUMBER_OF_SECONDS,
}
"""Ways to say the present time, without blanks, words in upper case."""
THERE: Mapping[tuple[str, str], str] = {
    (MOMENT, "timestamp without time zone"): SECOND,
    (MOMENT, "timestamp with time zone"): "date_trunc('second'::text, now())",
    (MOMENT, "text"): f"to_char({UTC_NOW}, 'YYYY-MM-DD HH24:MI:SS'::text)",
    (MOMENT, "date"): f"({UTC_NOW})::date",
    (FINE, "timestamp without time zone"): MILLISECOND,
    (FINE, "timestamp with time zone"): "date_trunc('milliseconds'::text, now())",
    (FINE, "text"): f"to_char({UTC_NOW}, 'YYYY-MM-DD HH24:MI:SS.MS'::text)",
    (ZULU, "timestamp without time zone"): SECOND,
    (ZULU, "timestamp with time zone"): "date_trunc('second'::text, now())",
    (ZULU, "text"): f'to_char({UTC_NOW}, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\'::text)',
    (FINE_ZULU, "timestamp without time zone"): MILLISECOND,
    (FINE_ZULU, "timestamp with time zone"): "date_trunc('milliseconds'::text, now())",
    (FINE_ZULU, "text"): f'to_char({UTC_NOW}, \'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"\'::text)',
    (DAY, "date"): f"({UTC_NOW})::date",
    (DAY, "timestamp without time zone"): f"date_trunc('day'::text, {UTC_NOW})",
    (DAY, "text"): f"to_char({UTC_NOW}, 'YYYY-MM-DD'::text)",
    (CLOCK, "time without time zone"): f"({SECOND})::time",
    (CLOCK, "text"): f"to_char({UTC_NOW}, 'HH24:MI:SS'::text)",
    (NUMBER_OF_SECONDS, "bigint"): f"(floor({EPOCH}))::bigint",
    (NUMBER_OF_SECONDS, "double precision"): f"floor({EPOCH})",
    (NUMBER_OF_SECONDS, "timestamp with time zone"): "date_trunc('second'::text, now())",
    (NUMBER_OF_SECONDS, "timestamp without time zone"): SECOND,
}
TEXTS = ("text", "character varying", "character", "bytea")
PLAIN_NUMBERS = ("smallint", "integer", "bigint", "numeric", "double precision", "real")


def default_there(text: str, type_: str, how: str) -> str | None:
    """Return a default for a column of this type; empty where it is none, None where it is not carried."""
    said = text.strip()
    while said.startswith("(") and said.endswith(")") and _is_one_group(said):
        said = said[1:-1].strip()
    if not said or said.upper() == "NULL":
        return ""
    bare = type_.partition("(")[0]
    kind = NOW.get("".join(map(_same_case, tokens(said))))
    if kind is not None:
        return THERE.get((kind, "text" if bare == "character varying" else type_))
    value = _constant(said)
    if value is None:
        return None
    # in a column that is none of texts SQLite makes a number of it
    is_number = isinstance(value, str) and INTEGER.fullmatch(value) and bare not in TEXTS
    for one in (value, *((int(value),) if is_number else ())):
        try:
            return _literal(line_of((one,), (how,)), type_)
        except (Misfit, ValueError):
            continue
    return None


def _same_case(token: str) -> str:
    if not token.startswith("'"):
        return token.upper()
    return token.lower() if token.lower() == "'now'" else token


def _is_one_group(said: str) -> bool:
    depth = 0
    for place, mark in enumerate(found := tokens(said)):
        depth += (mark == "(") - (mark == ")")
        if depth == 0:
            return place == len(found) - 1
    return False


def _constant(said: str) -> int | float | str | bytes | None:
    if INTEGER.fullmatch(said):
        return int(said)
    if NUMBER.fullmatch(said):
        return float(said)
    if STRING.fullmatch(said):
        quote = said[0]
        return said[1:-1].replace(quote * 2, quote)
    if found := BLOB.fullmatch(said):
        return bytes.fromhex(found[1])
    return WORDS.get(said.upper())


def _literal(field: str, type_: str) -> str | None:
    bare = type_.partition("(")[0]
    if bare == "boolean":
        return "true" if field == "t" else "false"
    if bare in PLAIN_NUMBERS and NUMBER.fullmatch(field):
        return field
    if "\\" in field.removeprefix("\\\\x"):
        # line breaks and their like: nothing that anybody has as a default
        return None
    text = field.replace("\\\\x", "\\x") if bare == "bytea" else field
    return f"'{text.replace(chr(39), chr(39) * 2)}'::{type_}"
