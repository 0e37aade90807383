"""Numbers and truth values of SQLite in PostgreSQL's own words: what is written here is what the server writes back."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Sequence
from decimal import Context, Decimal
from typing import Any

from ..comparison.alike import number_of
from .misfit import Misfit, shortened

__all__ = ["booleans", "decimals", "floats", "prove_floats", "scaled", "short_floats", "whole"]

BOOLEANS = {"true": "t", "t": "t", "false": "f", "f": "f"}
WHOLE = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)
NOISE_ULPS = 4
"""So many of a float's smallest steps are noise of arithmetic."""
NOISE_UNITS = Decimal("0.01")
"""Of the last digit that is kept: a part of it that is no larger was never meant."""
FIXED_BELOW = 1e15
"""From here on the server writes floats with an exponent, and Python only from 1e16 on."""
EXACT = 1 << 53
"""Up to here double precision holds every whole number."""
SINGLE_DIGITS = 10
"""Fewer say which number of single precision is meant."""
MOST_BEFORE, MOST_BEHIND = 131_072, 16_383
"""Digits that numeric holds in front of the point and behind it."""
WIDE = Context(prec=2_000)
"""More digits than any value that is quantized."""

Column = Callable[[Sequence[Any]], list[str]]


def booleans(values: Sequence[Any]) -> list[str]:
    """Spell 0 and 1, and the words for them."""
    if set(map(type, values)) == {int} and {0, 1}.issuperset(values):
        return ["t" if value else "f" for value in values]
    return [_boolean(value) for value in values]


def _boolean(value: Any) -> str:
    if type(value) is int and value in (0, 1):
        return "t" if value else "f"
    if isinstance(value, str) and (found := BOOLEANS.get(value.lower())):
        return found
    raise Misfit(f"{shortened(value)} is neither 0 nor 1")


def _meant(value: str, text: str) -> str:
    """Return how a text's number is spelled if it is the number that the text says.

    By a second reading: what is spelled goes in and is what the proof compares, so nobody else would see it.
    """
    said = number_of(value)
    if said != number_of(text) and not (said == "-0" and text.strip("0.") == ""):
        raise Misfit(f"{shortened(value)} is no number that is kept as it is")
    return text


def whole(bits: int) -> Column:
    """Return what spells whole numbers of so many bits, a sign beside them."""
    low, high = -(1 << bits), (1 << bits) - 1

    def one(value: Any) -> int:
        if isinstance(value, str) and WHOLE.fullmatch(value):
            value = int(_meant(value, str(int(value))))
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int:
            raise Misfit(f"{shortened(value)} is no whole number")
        if not low <= value <= high:
            raise Misfit(f"{value} is beyond what the type holds")
        return value

    def spell(values: Sequence[Any]) -> list[str]:
        if set(map(type, values)) != {int}:
            values = [one(value) for value in values]
        if bits < 63 and values and not (low <= min(values) and max(values) <= high):
            values = [one(value) for value in values]
        return list(map(str, values))

    return spell


def floats(values: Sequence[Any]) -> list[str]:
    """Spell numbers that double precision holds exactly."""
    if set(map(type, values)) == {float} and min(values) > -FIXED_BELOW and max(values) < FIXED_BELOW:
        return [text[:-2] if text[-2:] == ".0" else text for text in map(repr, values)]
    return [_float(value) for value in values]


def prove_floats(values: Sequence[Any]) -> None:
    """See that double precision holds all of these exactly."""
    if set(map(type, values)) != {int} or max(values) > EXACT or min(values) < -EXACT:
        floats(values)


def _float(value: Any) -> str:
    number = value
    # the digits of a text that a float is not written with would be gone, and no checksum of floats would tell
    if type(value) is str and DECIMAL.fullmatch(value) and Decimal(repr(float(value))) == Decimal(value):
        number = float(_meant(value, repr(float(value))))
    if type(value) is int and int(float(value)) == value:
        number = float(value)
    if type(number) is not float:
        raise Misfit(f"{shortened(value)} is no number that double precision holds exactly")
    if not math.isfinite(number):
        return "Infinity" if number > 0 else "-Infinity"
    text = repr(number)
    text = text[:-2] if text.endswith(".0") else text
    if "e" in text or abs(number) < FIXED_BELOW:
        return text
    digits = text.lstrip("-").replace(".", "")
    behind = digits[1:].rstrip("0")
    return f"{'-' if number < 0 else ''}{digits[0]}{'.' if behind else ''}{behind}e+15"


def short_floats(values: Sequence[Any]) -> list[str]:
    """Spell numbers that come back from single precision as they are: mostly those of up to six digits."""
    return [_short_float(value) for value in values]


def _short_float(value: Any) -> str:
    try:
        text = _float(value)
        number = float(value)
        kept = _single(number)
    except (Misfit, OverflowError) as exc:
        raise Misfit(f"{shortened(value)} is nothing that real holds") from exc
    if kept != number:
        raise Misfit(f"{shortened(value)} has more digits than real keeps")
    return text


def _single(number: float) -> float:
    """Return what is read of a number that was kept in single precision: the shortest that means the same there."""
    kept = struct.pack("f", number)
    near: float = struct.unpack("f", kept)[0]
    texts = (f"{near:.{digits}g}" for digits in range(1, SINGLE_DIGITS))
    return next((float(text) for text in texts if struct.pack("f", float(text)) == kept), near)


def decimals(values: Sequence[Any]) -> list[str]:
    """Spell numbers digit by digit."""
    return [_decimal(value) for value in values]


def _decimal(value: Any) -> str:
    if type(value) is int:
        return str(value)
    if type(value) is float:
        if not math.isfinite(value):
            return "Infinity" if value > 0 else "-Infinity"
        text = repr(value)
        text = text[:-2] if text.endswith(".0") else text
        return _fixed(Decimal(text)) if "e" in text or text == "-0" else text
    if type(value) is str and DECIMAL.fullmatch(value):
        text = _fixed(Decimal(value))
        before, _, behind = text.lstrip("-").partition(".")
        if len(before) > MOST_BEFORE or len(behind) > MOST_BEHIND:
            raise Misfit(f"{shortened(value)} has more digits than numeric holds")
        return _meant(value, text)
    raise Misfit(f"{shortened(value)} is no number")


def _fixed(number: Decimal) -> str:
    """Return a number without an exponent; PostgreSQL has no zero below zero."""
    return format(number if number else number.copy_abs(), "f")


def scaled(precision: str, scale: str = "0") -> Column:
    """Return what spells numbers of so many digits, of which these stand behind the point; none is rounded, but for noise."""
    before, behind = int(precision) - int(scale), int(scale)
    unit = Decimal(1).scaleb(-behind)

    def one(value: Any) -> str:
        number = Decimal(_decimal(value))
        if not number.is_finite():
            raise Misfit(f"{shortened(value)} has no end, and the type has {precision} digits")
        # far more than `WIDE` has, too
        if number and number.adjusted() >= before:
            raise Misfit(f"{shortened(value)} has more than {before} digits in front of the point")
        rounded = number.quantize(unit, context=WIDE)
        off = abs(rounded - number)
        is_noise = (
            isinstance(value, float)
            and rounded != 0
            and off <= unit * NOISE_UNITS
            and abs(float(rounded) - value) <= NOISE_ULPS * math.ulp(value)
        )
        if off and not is_noise:
            raise Misfit(f"{shortened(value)} has more than {behind} digits behind the point")
        if rounded and rounded.adjusted() >= before:
            raise Misfit(f"{shortened(value)} has more than {before} digits in front of the point")
        return _fixed(rounded)

    # a number of so few digits is a float of its own: what is written so and read again is the same one
    most = min(10.0**before, FIXED_BELOW / 10.0**behind) if behind >= 0 else 0.0
    form, zero = f"%.{max(behind, 0)}f", format(Decimal(0).scaleb(-behind).copy_negate(), "f")

    def spell(values: Sequence[Any]) -> list[str]:
        are_numbers = bool(values) and {int, float}.issuperset(map(type, values))
        if are_numbers and min(values) > -most and max(values) < most:
            texts = [form % value for value in values]
            if [*map(float, texts)] == [*values] and zero not in texts:
                return texts
        return [one(value) for value in values]

    return spell
