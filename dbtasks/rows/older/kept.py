"""What a column of PostgreSQL would round, cut or change without a word in a value that is of its type: refused before that."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from decimal import Decimal
from math import isinf
from typing import Any

from ..postgres.spelling import LIMIT_BYTES, TypeName
from .values import NotTaken

__all__ = ["keeping"]

Reader = Callable[[Any], str]
Prove = Callable[[str], None]

NUMBER = re.compile(r"-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
EXPONENT_DIGITS = 6
"""What has more is too large for any type, or nothing, and the server says so."""
LONGEST_FLOAT = 400
FLOAT_DIGITS = {"float4": 9, "float8": 17}
"""As many tell every value of the type apart."""
ONE_CHAR = re.compile(r"[\x01-\x7f]?|\\[0-3][0-7][0-7]")
FRACTION = re.compile(r"\.([0-9]+)")
CLOCKS = ("time", "timetz", "timestamp", "timestamptz", "interval")


def keeping(type_: TypeName, read: Reader) -> Reader:
    """Return a reader of this type's values that refuses those of which the column would keep less; `read` where it keeps all.

    Raises:
        NotTaken: it keeps a part of every value.
    """
    prove = _prover(type_)
    if prove is None:
        return read

    def read_kept(value: Any) -> str:
        text = read(value)
        prove(text)
        return text

    return read_kept


def _prover(type_: TypeName) -> Prove | None:
    name = type_.name
    if type_.fields and not type_.fields.endswith("second"):
        raise NotTaken(f"in an interval of {type_.fields} the server leaves out what is finer")
    if name == "numeric" and type_.modifiers:
        return _scale(int(type_.modifiers[1]) if len(type_.modifiers) > 1 else 0)
    if name in FLOAT_DIGITS:
        return _float(name)
    if name in ("varchar", "bpchar") and type_.modifiers:
        return _length(int(type_.modifiers[0]))
    if name in CLOCKS and type_.modifiers:
        return _fraction(int(type_.modifiers[0]))
    return {"name": _name, "char": _char, "oid": _positive}.get(name)


def _scale(scale: int) -> Prove:
    def prove(text: str) -> None:
        found = NUMBER.fullmatch(text)
        if not found or len(found[3] or "") > EXPONENT_DIGITS:
            return
        digits = found[1] + (found[2] or "")
        used = digits.rstrip("0")
        finest = int(found[3] or 0) - len(found[2] or "") + len(digits) - len(used)
        if used and finest < -scale:
            raise NotTaken(f"a number of finer digits than the {scale} behind the point that are kept")

    return prove


def _float(name: str) -> Prove:
    def prove(text: str) -> None:
        if NUMBER.fullmatch(text) and not _is_kept(text, name):
            raise NotTaken("a number of more digits than are kept")

    return prove


def _is_kept(text: str, name: str) -> bool:
    """Whether a number stands in the column as it is written: exactly, or as the shortest that is read back as it."""
    written = float(text)
    kept = _single(written) if name == "float4" else written
    if isinf(kept) or kept == 0:
        return True  # too large, too small: the server says so
    if kept == written and repr(kept) == text:
        return True
    if len(text) > LONGEST_FLOAT:
        return False
    meant = Decimal(text)
    # what came by way of a double is written as that
    return _tells(kept, meant, FLOAT_DIGITS[name]) or (
        kept == written and _tells(written, meant, FLOAT_DIGITS["float8"])
    )


def _tells(kept: float, meant: Decimal, most: int) -> bool:
    digits = len("".join(map(str, meant.as_tuple().digits)).strip("0")) or 1
    return Decimal(kept) == meant or (digits <= most and Decimal(f"{kept:.{digits - 1}e}") == meant)


def _single(number: float) -> float:
    try:
        (kept,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return float("inf")
    return float(kept)


def _length(most: int) -> Prove:
    def prove(text: str) -> None:
        # blanks that are too many are cut without a word
        if len(text) > most:
            raise NotTaken(f"a text of more than the {most} characters that are kept")

    return prove


def _fraction(most: int) -> Prove:
    def prove(text: str) -> None:
        found = FRACTION.search(text)
        if found and len(found[1].rstrip("0")) > most:
            raise NotTaken(f"more digits behind the second than the {most} that are kept")

    return prove


def _name(text: str) -> None:
    if len(text.encode("utf-8", "surrogatepass")) > LIMIT_BYTES:
        raise NotTaken(f"a text of more than the {LIMIT_BYTES} bytes that are kept")


def _char(text: str) -> None:
    if not ONE_CHAR.fullmatch(text):
        raise NotTaken("a text of more than the one byte that is kept")


def _positive(text: str) -> None:
    if text.startswith("-"):
        raise NotTaken("a number below zero, of which the server makes another one")
