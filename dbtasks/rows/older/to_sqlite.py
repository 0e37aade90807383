"""What a plain JSON value of an older file means in a column of SQLite: decided by its declared type."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from .values import WHOLE, NotTaken, Number, Unending, bytes_of, json_of, kind_of

__all__ = ["sqlite_reader_for"]

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1
DIGITS = 19
TOO_LONG = "a number of more digits than SQLite keeps"
LONGEST_NUMBER = 400
LIKE_A_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""Of such a text a column of numbers makes one."""


def sqlite_reader_for(declared: str, affinity: str) -> Callable[[Any], Any]:
    """Return what reads the values of a column: `declared` as it was, `affinity` as SQLite derives it."""
    name = declared.upper()

    def read(value: Any) -> Any:
        if isinstance(value, bool):
            if "BOOL" not in name:
                raise NotTaken("true or false, in a column that is not declared as BOOLEAN")
            return int(value)
        if isinstance(value, Number | Unending):
            return _number(value, affinity)
        if isinstance(value, list):
            return _json(value, name)
        if "BLOB" in name:
            return bytes_of(value)
        if affinity in ("INTEGER", "REAL", "NUMERIC") and LIKE_A_NUMBER.fullmatch(value.strip()):
            raise NotTaken("a text that is a number: SQLite would make one of it")
        return value

    return read


def _number(value: Any, affinity: str) -> Any:
    if affinity == "TEXT":
        raise NotTaken("a number, of which SQLite would make a text here")
    if isinstance(value, Unending):
        if value == "NaN":
            raise NotTaken("NaN, of which SQLite makes NULL")
        return float(value)
    if WHOLE.fullmatch(value) and len(value.lstrip("-")) <= DIGITS and SMALLEST <= int(value) <= LARGEST:
        whole = int(value)
        if affinity == "REAL" and int(float(whole)) != whole:
            raise NotTaken(TOO_LONG)
        return whole
    try:
        number = float(value)
        kept = len(value) <= LONGEST_NUMBER and Decimal(repr(number)) == Decimal(value)
    except ArithmeticError:
        # an exponent that nobody writes
        kept = False
    if not kept:
        raise NotTaken(TOO_LONG)
    return number


def _json(value: Any, name: str) -> str:
    if "JSON" not in name:
        raise NotTaken(f"{kind_of(value)}, in a column that is not declared as JSON")
    return json_of(value)
