"""Dates and times as SQLite's users spell them, in PostgreSQL's own words: what is written here is what the server writes back.

SQLite has no type for them. Texts come with a blank or a T, with fractions, with
an offset or a Z; numbers are seconds, milliseconds or microseconds since 1970, or
days since the beginning of the Julian period. One column mostly has one spelling,
so a batch is first looked at as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from ...nouns import many
from .misfit import Misfit, shortened

__all__ = [
    "DAYS",
    "IN_DIGITS",
    "SECONDS",
    "SINCE_1970",
    "clock_words",
    "dates",
    "days",
    "durations",
    "epochs",
    "moments",
    "prove_epochs",
    "shape_of",
    "short",
    "times",
]

HOUR_24 = ("2", "4")
"""24:00 is midnight to the server, no time to SQLite, and to Python it depends on the version."""
STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[ T]((?!24)\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?"
    # as far from Greenwich as the server goes
    r"(?: ?(?:(Z|UTC)|([+-](?:0\d|1[0-5]))(?::?([0-5]\d))?(?: UTC)?))?)?",
    re.ASCII,
)
CLOCK = re.compile(r"((?!24)\d\d:\d\d)(?::(\d\d)(?:[.](\d{1,12}))?)?", re.ASCII)
FRACTION = re.compile(r"\.([0-9]+)")
PARTS = re.compile(
    r"(?:[0-9]+(?:\.([0-9]*))?|\.([0-9]+))(?:\s*(ms|millis|us|micro))?", re.ASCII | re.IGNORECASE
)
"""The numbers in the words of an interval: the digits behind the point, and the unit where that is less than a second."""
SMALL = {"": 0, "ms": 3, "millis": 3, "us": 6, "micro": 6}
"""How many digits of a second stand before the first one of such a unit."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_IN_DAYS = 2440587.5
"""1970 in days of the Julian period."""
MICROSECONDS = 6
EARLIEST, LATEST = -2_208_988_800, 7_258_118_400
"""Seconds from 1970 to 1900 and to 2200: a number that says another year was hardly meant as a moment."""
DAYS = (2_415_020.5, 2_524_593.5)
"""The same in days of the Julian period."""
SECONDS = 10**8
"""March 1973: a column whose numbers are all smaller holds something else."""
SINCE_1970 = {
    "seconds": (timedelta(seconds=1), 1, 0),
    "milliseconds": (timedelta(milliseconds=1), 10**3, 10**11),
    "microseconds": (timedelta(microseconds=1), 10**6, 10**14),
}
"""Unit, how many there are in a second, and the least number that is one: smaller ones would be any number."""
IN_DIGITS = re.compile(
    r"^(?:(?:19|20|21)\d\d|\d\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    r"(?:(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\d{3}){0,2})?)?)?(?:\.\d+)?$",
    re.ASCII | re.MULTILINE,
)
"""A number that reads as a date, and perhaps a time, without anything between its parts: 20240131, 202401311230, 2401311230."""
Column = Callable[[Sequence[Any]], list[str]]
LENGTHS = {19: "", 20: "Z", 25: "+00:00", 26: "", 27: "Z", 32: "+00:00"}
"""Of the spellings that need no reading: with or without six digits of a second, and how each ends."""


DIGITS = str.maketrans("123456789", "000000000")


def shape_of(text: str) -> str:
    """Return how a text is spelled, whatever it says: texts of one shape are in the order of the moments they say."""
    return text.translate(DIGITS)


# -- texts ---------------------------------------------------------------------------------


def moments(zoned: bool | None, *, cut: bool = False) -> Callable[[Sequence[Any]], list[str]]:
    """Return what spells texts as timestamps.

    `zoned` False: without a time zone, and none may say one. True: with time zone; what says none is meant in UTC, as
    SQLite's own CURRENT_TIMESTAMP is. `cut` leaves out digits beyond microseconds.
    """

    def one(value: Any) -> str:
        return _moment(value, zoned=bool(zoned), cut=cut)

    def spell(values: Sequence[Any]) -> list[str]:
        found = _alike(values, zoned=bool(zoned))
        return [one(value) for value in values] if found is None else found

    return spell


def _alike(values: Sequence[Any], *, zoned: bool) -> list[str] | None:
    """Spell texts of one length and shape, without looking at each; None: they have to be."""
    try:
        lengths = set(map(len, values))
    except TypeError:
        return None
    length = lengths.pop() if len(lengths) == 1 else 0
    if length not in LENGTHS or (LENGTHS[length] and not zoned):
        return None
    if set(map(type, values)) != {str} or not all(map(str.isascii, values)):
        return None
    whole = "".join(values)
    ending = LENGTHS[length]
    bare = length - len(ending)
    marks = {4: "-", 7: "-", 13: ":", 16: ":"}
    marks |= {bare + place: mark for place, mark in enumerate(ending)}
    if bare == 26:
        marks[19] = "."
    if any(whole[place::length].strip(mark) for place, mark in marks.items()):
        return None
    between = set(whole[10::length])
    if not between <= {" ", "T"} or _has_more(whole, length, marks):
        return None
    if HOUR_24 in zip(whole[11::length], whole[12::length], strict=True):
        return None
    try:
        all(map(datetime.fromisoformat, values))
    except ValueError:
        return None
    if "T" in between:
        whole = whole.replace("T", " ")
    texts = [whole[at : at + bare] for at in range(0, len(whole), length)]
    if bare == 26:
        texts = [text.rstrip("0").rstrip(".") if text[-1] == "0" else text for text in texts]
    return [f"{text}+00" for text in texts] if zoned else texts


def _has_more(whole: str, length: int, marks: dict[int, str]) -> bool:
    """Whether anything but digits stands between the marks."""
    digits = [place for place in range(length) if place not in marks and (place != 10 or length == 10)]
    return not all(whole[place::length].isdigit() for place in digits)


def _moment(value: Any, *, zoned: bool, cut: bool) -> str:
    found = STAMP.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Misfit(f"{shortened(value)} is no timestamp")
    day, minutes, seconds, fraction, utc, hours, rest = found.groups()
    if not zoned and (utc or hours):
        raise Misfit(f"{shortened(value)} has a time zone, and the type has none")
    fraction = _fraction(value, fraction, cut=cut)
    try:
        at = datetime.fromisoformat(f"{day} {minutes or '00:00'}:{seconds or '00'}")
        if hours:
            sign = -1 if hours[0] == "-" else 1
            offset = sign * timedelta(hours=int(hours[1:]), minutes=int(rest or 0))
            at = at.replace(tzinfo=timezone(offset)).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError) as exc:
        raise Misfit(f"{shortened(value)} is in no calendar") from exc
    return f"{at.isoformat(' ')}{fraction}{'+00' if zoned else ''}"


def _fraction(value: Any, digits: str | None, *, cut: bool) -> str:
    digits = (digits or "").rstrip("0")
    if len(digits) > MICROSECONDS:
        if not cut:
            raise Misfit(f"{shortened(value)} has more digits than microseconds have")
        digits = digits[:MICROSECONDS].rstrip("0")
    return f".{digits}" if digits else ""


def dates(values: Sequence[Any]) -> list[str]:
    """Spell texts as dates; one with a time has to be at midnight."""
    if set(map(type, values)) == {str} and set(map(len, values)) == {10}:
        whole = "".join(values)
        is_plain = not (whole[4::10].strip("-") or whole[7::10].strip("-") or not whole.isascii())
        if is_plain and not _has_more(whole, 10, {4: "-", 7: "-"}):
            try:
                all(map(date.fromisoformat, values))
            except ValueError:
                pass
            else:
                return list(values)
    return [_date(value) for value in values]


def _date(value: Any) -> str:
    try:
        text = _moment(value, zoned=False, cut=False)
    except Misfit as exc:
        raise Misfit(str(exc).replace("timestamp", "date")) from exc
    day, _, clock = text.partition(" ")
    if clock != "00:00:00":
        raise Misfit(f"{shortened(value)} has a time, and a date has none")
    return day


def times(values: Sequence[Any]) -> list[str]:
    """Spell texts as times of day."""
    return [_time(value) for value in values]


def _time(value: Any) -> str:
    found = CLOCK.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise Misfit(f"{shortened(value)} is no time of day")
    minutes, seconds, digits = found.groups()
    fraction = _fraction(value, digits, cut=False)
    try:
        return time.fromisoformat(f"{minutes}:{seconds or '00'}").isoformat() + fraction
    except ValueError as exc:
        raise Misfit(f"{shortened(value)} is no time of day") from exc


def short(spell: Column, digits: int) -> Column:
    """Return what spells so, but nothing with more digits of a second."""

    def spell_short(values: Sequence[Any]) -> list[str]:
        texts = spell(values)
        for value, text in zip(values, texts, strict=True):
            if (found := FRACTION.search(text)) and len(found[1]) > digits:
                raise _too_fine(value, digits)
        return texts

    return spell_short


def _too_fine(value: Any, digits: int) -> Misfit:
    kept = many(digits, "digit") if digits else "none"
    return Misfit(f"{shortened(value)} has more digits of a second than the type, which has {kept}")


def clock_words(spell: Column, digits: int) -> Column:
    """Return what spells words that only the server reads, but none in which it would round digits of a second.

    A part of an hour or a day counts by its digits, too: that is more than it has to be.
    """

    def spell_words(values: Sequence[Any]) -> list[str]:
        texts = spell(values)
        for value in values:
            if isinstance(value, str) and _digits_of(value) > digits:
                raise _too_fine(value, digits)
        return texts

    return spell_words


def _digits_of(text: str) -> int:
    """Return how many digits of a second the words of an interval or a time have at most."""
    most = 0
    for whole, bare, unit in PARTS.findall(text):
        most = max(most, len((whole or bare).rstrip("0")) + SMALL[unit.lower()])
    return most


# -- numbers -------------------------------------------------------------------------------


def epochs(unit: str, *, zoned: bool = True) -> Callable[[Sequence[Any]], list[str]]:
    """Return what spells numbers since 1970 in this unit as timestamps, in UTC."""
    step, per_second, least = SINCE_1970[unit]
    low, high = EARLIEST * per_second, LATEST * per_second
    ending = "+00" if zoned else ""

    def one(value: Any) -> str:
        if isinstance(value, str | bytes) or not (
            value == 0 or (least <= abs(value) and low <= value < high)
        ):
            raise Misfit(f"{shortened(value)} is no number of {unit} since 1970, from 1900 to 2200")
        return _written(EPOCH + step * value) + ending

    return lambda values: [one(value) for value in values]


def prove_epochs(unit: str) -> Callable[[Sequence[Any]], object]:
    """Return what sees that these are numbers since 1970 in this unit."""
    spell = epochs(unit)
    least, most = max(1, SINCE_1970[unit][2]), LATEST * SINCE_1970[unit][1]

    def prove(values: Sequence[Any]) -> None:
        are_numbers = bool(values) and {int, float}.issuperset(map(type, values))
        if not (are_numbers and least <= min(values) and max(values) < most):
            spell(values)

    return prove


def days(*, zoned: bool = True) -> Callable[[Sequence[Any]], list[str]]:
    """Return what spells days of the Julian period, as SQLite's julianday() gives them: to the millisecond."""
    ending = "+00" if zoned else ""

    def one(value: Any) -> str:
        if isinstance(value, str | bytes) or not DAYS[0] <= value < DAYS[1]:
            raise Misfit(f"{shortened(value)} is no day of the Julian period, from 1900 to 2200")
        at = EPOCH + timedelta(milliseconds=round((value - EPOCH_IN_DAYS) * 86_400_000))
        return _written(at) + ending

    return lambda values: [one(value) for value in values]


def _written(at: datetime) -> str:
    text = at.replace(tzinfo=None).isoformat(" ")
    return text.rstrip("0") if "." in text else text


def durations(values: Sequence[Any]) -> list[str]:
    """Spell whole numbers of microseconds as intervals of hours, minutes and seconds."""
    return [_duration(value) for value in values]


def _duration(value: Any) -> str:
    if type(value) is not int:
        raise Misfit(f"{shortened(value)} is no whole number of microseconds")
    seconds, micro = divmod(abs(value), 10**6)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    fraction = f".{micro:06}".rstrip("0") if micro else ""
    return f"{'-' if value < 0 else ''}{hours:02}:{minute:02}:{second:02}{fraction}"
