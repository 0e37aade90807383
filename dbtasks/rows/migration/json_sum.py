"""One short sum for every way to write a JSON document, whose text may come in parts: none of it is held.

White space, the order of names and the spelling of numbers and of characters are
nothing. What is no JSON gets a sum as well, and nothing is said of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import Any

from ..comparison.alike import number_of

__all__ = ["json_sum", "json_sum_of"]

BYTES = 16
SHORT = 256
"""A string of up to this many bytes is taken as it stands."""
WHOLE = 1 << 8 * BYTES
BETWEEN = re.compile(r"[ \t\r\n,:]*")
WORD = re.compile(r'[^ \t\r\n,:\[\]{}"]+')
LONGEST_NUMBER = 200_000
"""Digits; no number of PostgreSQL's has more."""
INSIDE = re.compile(
    r'(?:[^"\\]++|\\[^u]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*+"
)
"""Of a string, whole characters only."""
LONGEST_ESCAPE = 12


def json_sum(parts: Iterable[str]) -> str:
    """Return the sum of a document, in hexadecimal."""
    return _Reader(parts).whole().hex()


def json_sum_of(text: str) -> str:
    """Return the same of a text that is held, for much less; of one name twice the last counts, as it does in jsonb."""
    try:
        return _sum(b"[" + _value(READ(text))).hex()
    except (ValueError, RecursionError):
        # no JSON, or very deep, or a number of thousands of digits
        return json_sum((text,))


class _Number(str):
    """A number with a point or an exponent, as it is written."""


READ = json.JSONDecoder(parse_float=_Number, strict=False).decode


def _value(value: Any) -> bytes:
    if type(value) is str:
        return _text(value.encode("utf-8", "surrogatepass"))
    if type(value) is list:
        return _sum(b"[" + b"".join(map(_value, value)))
    if type(value) is dict:
        members = sum(
            int.from_bytes(_sum(_text(name.encode("utf-8", "surrogatepass")) + _value(held)), "big")
            for name, held in value.items()
        )
        return _sum(b"{" + (members % WHOLE).to_bytes(BYTES, "big"))
    if value is None or type(value) is bool:
        return WORDS[value]
    return _bare(str(value))


def _sum(data: bytes) -> bytes:
    return blake2b(data, digest_size=BYTES).digest()


def _text(data: bytes) -> bytes:
    """Return what a string is in the sum of what it stands in: itself, or its own sum."""
    return b'"%d:%b' % (len(data), data) if len(data) <= SHORT else b"'" + _sum(data)


def _bare(text: str) -> bytes:
    """Return the same of a number or one of the three words."""
    said = repr(number_of(text) if len(text) <= LONGEST_NUMBER else text)
    return b"#%b," % said.encode("utf-8", "replace")


WORDS = {None: _bare("null"), True: _bare("true"), False: _bare("false")}


class _String:
    """See `_text`."""

    def __init__(self) -> None:
        self._sum = blake2b(digest_size=BYTES)
        self._begun = b""
        self._is_short = True

    def take(self, part: bytes) -> None:
        self._sum.update(part)
        self._is_short = self._is_short and len(self._begun) + len(part) <= SHORT
        if self._is_short:
            self._begun += part

    def whole(self) -> bytes:
        return _text(self._begun) if self._is_short else b"'" + self._sum.digest()


class _Array:
    def __init__(self) -> None:
        self._sum = blake2b(b"[", digest_size=BYTES)

    def take(self, value: bytes) -> None:
        self._sum.update(value)

    def whole(self) -> bytes:
        return self._sum.digest()


class _Object:
    """Its members are added up, in whatever order they come."""

    def __init__(self) -> None:
        self._members = 0
        self._name: bytes | None = None

    def take(self, value: bytes) -> None:
        if self._name is None:
            self._name = value
        else:
            self._members += int.from_bytes(_sum(self._name + value), "big")
            self._name = None

    def whole(self) -> bytes:
        return _sum(b"{" + (self._members % WHOLE).to_bytes(BYTES, "big"))


class _Reader:
    def __init__(self, parts: Iterable[str]) -> None:
        self._parts: Iterator[str] = iter(parts)
        self._held = ""
        self._at = 0

    def whole(self) -> bytes:
        open_: list[Any] = [_Array()]
        while mark := self._next():
            if mark in "[{":
                self._at += 1
                open_.append(_Array() if mark == "[" else _Object())
            elif mark in "]}":
                self._at += 1
                # one too many is no JSON
                done = open_.pop() if len(open_) > 1 else _Array()
                open_[-1].take(done.whole())
            else:
                open_[-1].take(self._string() if mark == '"' else self._word())
        while len(open_) > 1:
            done = open_.pop()
            open_[-1].take(done.whole())
        whole: bytes = open_[0].whole()
        return whole

    def _next(self) -> str:
        """Return the next mark that means something; empty: there is none."""
        while True:
            between = BETWEEN.match(self._held, self._at)
            self._at = between.end() if between else self._at
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def _word(self) -> bytes:
        while True:
            found = WORD.match(self._held, self._at)
            end = found.end() if found else self._at + 1
            if end < len(self._held) or not self._more():
                break
        text = self._held[self._at : end]
        self._at = end
        return _bare(text)

    def _string(self) -> bytes:
        self._at += 1
        found = _String()
        while True:
            inside = INSIDE.match(self._held, self._at)
            end = inside.end() if inside else self._at
            found.take(_read(self._held[self._at : end]))
            self._at = end
            if self._held.startswith('"', end):
                self._at += 1
                return found.whole()
            if len(self._held) - end >= LONGEST_ESCAPE:
                # half a character, which jsonb does not take: the other marks are read as they stand
                found.take(b"\\")
                self._at += 1
            elif not self._more():
                found.take(self._held[end:].encode("utf-8", "replace"))
                self._at = len(self._held)
                return found.whole()

    def _more(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        self._held, self._at = self._held[self._at :] + part, 0
        return True


def _read(text: str) -> bytes:
    """Return what stands in a string, or in a part of one, that may be escaped."""
    if "\\" in text:
        try:
            text = str(json.loads(f'"{text}"', strict=False))
        except ValueError:
            # an escape that JSON does not have
            pass
    return text.encode("utf-8", "surrogatepass")
