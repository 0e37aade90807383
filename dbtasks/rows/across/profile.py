"""What the values of a SQLite column are, whatever it was declared as: learnt in one pass, in flat memory."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from .. import Batch
from ..cells import LongBytes, LongText
from .json_form import is_json

__all__ = ["FORMS", "Profile", "profiles_of_batch"]

CLASSES = {int: "integers", float: "reals", str: "texts", bytes: "blobs"}
# as PostgreSQL writes them itself: what is read back is the same text
DATE = re.compile(r"\d{4}-\d\d-\d\d")
MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d{0,5}[1-9])?")
TIME = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{0,5}[1-9])?")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _is_date(text: str) -> bool:
    return bool(DATE.fullmatch(text)) and _exists(date.fromisoformat, text)


def _is_moment(text: str) -> bool:
    return bool(MOMENT.fullmatch(text)) and _exists(datetime.fromisoformat, text[:19])


def _is_json(text: str) -> bool:
    return _exists(lambda held: json.loads(held, parse_constant=_no_json), text)


def _no_json(name: str) -> Any:
    raise ValueError(name)


def _exists(read: Any, text: str) -> bool:
    try:
        read(text)
    except (ValueError, RecursionError):
        return False
    return True


FORMS = {
    "date": _is_date,
    "timestamp": _is_moment,
    "time": lambda text: bool(TIME.fullmatch(text)),
    "uuid": lambda text: bool(UUID.fullmatch(text)),
    "json": _is_json,
}
"""Forms that all texts of a column may have, by name."""


class _Seen:
    """The parts of a text on their way: how long it is, and whether it is one that PostgreSQL has."""

    def __init__(self, parts: Iterator[str]) -> None:
        self._parts = parts
        self.length = 0
        self.fits = True

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        part = next(self._parts)
        self.length += len(part)
        self.fits = self.fits and _is_fit(part)
        return part


def _is_fit(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


@dataclass
class Profile:
    """The values of one column so far."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys((*CLASSES.values(), "nulls"), 0))
    """How many of each storage class."""
    forms: set[str] = field(default_factory=lambda: set(FORMS))
    """Those that every text had."""
    strangers: dict[str, int] = field(default_factory=dict)
    """By form, the number of the first row whose text did not have it."""
    is_flag: bool = True
    """Whether every integer was 0 or 1."""
    largest: int = 0
    is_finite: bool = True
    negative_zeros: int = 0
    """Reals that are -0.0, which only a floating-point type has."""
    longest: int = 0
    """Characters of the longest text."""
    whole_digits: int = 0
    digits_behind: int = 0
    """Of the numbers, as they are written."""
    unfit: int = 0
    """Texts with a zero byte, or that are no UTF-8: PostgreSQL has none."""

    def add(self, value: Any) -> None:
        """Learn from one value."""
        if value is None:
            self.counts["nulls"] += 1
            return
        if isinstance(value, LongText):
            self._long_text(value)
            return
        if isinstance(value, LongBytes):
            self.counts["blobs"] += 1
            return
        self.counts[CLASSES[type(value)]] += 1
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, int):
            self.is_flag = self.is_flag and value in (0, 1)
            self.largest = max(self.largest, value)
            self.whole_digits = max(self.whole_digits, len(str(abs(value))))
        elif isinstance(value, float):
            self._real(value)

    def _text(self, value: str) -> None:
        self.longest = max(self.longest, len(value))
        self._keep({form for form in self.forms if FORMS[form](value)})
        self.unfit += not _is_fit(value)

    def _keep(self, forms: set[str]) -> None:
        for form in self.forms - forms:
            self.strangers[form] = sum(self.counts.values())
        self.forms = forms

    def _long_text(self, value: LongText) -> None:
        """Learn from a text that is too long to be held; of the forms only JSON has such ones."""
        self.counts["texts"] += 1
        seen = _Seen(value.parts)
        self._keep({"json"} if "json" in self.forms and is_json(seen) else set())
        for _ in seen:
            pass
        self.longest = max(self.longest, seen.length)
        self.unfit += not seen.fits

    def _real(self, value: float) -> None:
        if not math.isfinite(value):
            self.is_finite = False
            return
        self.negative_zeros += value == 0 and math.copysign(1, value) < 0
        _, digits, exponent = Decimal(repr(value)).as_tuple()
        behind = max(0, -int(exponent))
        self.digits_behind = max(self.digits_behind, behind)
        self.whole_digits = max(self.whole_digits, len(digits) + int(exponent), 0)

    @property
    def kinds(self) -> frozenset[str]:
        """The storage classes there are, but for NULL."""
        return frozenset(kind for kind, number in self.counts.items() if number and kind != "nulls")


def profiles_of_batch(batch: Batch, profiles: Mapping[str, Profile]) -> None:
    """Learn from the rows of a batch, in the order of these columns; a wide one is not held.

    Raises:
        ValueError: a row is not as long as there are columns, or none.
    """
    cells = batch.cells()
    for row in batch.values() if cells is None else (cells,):
        for profile, value in zip(profiles.values(), row, strict=True):
            profile.add(value)
