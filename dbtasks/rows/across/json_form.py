"""Whether a text that comes in parts is JSON, by the rules of `json.loads`, without holding it.

An array or object that lies whole in what is held is read by Python's own
reader, which is written in C, and plain values that follow each other by one
pattern; only what is cut by the end of a part, and what these do not take, is
looked at token by token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Any, NoReturn

from ..comparison.alike import NEGATIVE_ZERO

__all__ = ["BELOW_ZERO", "is_json", "why_no_json"]

DEEPEST = 900
"""Python's own reader goes no deeper by much."""
LONGEST_WORD = 4_300
"""Digits of a number, as there."""
SPACE = re.compile(r"[ \t\r\n]*")
PLAIN = r'(?:"[^"\\\x00-\x1f]*+"|-?(?:0|[1-9][0-9]{0,999})(?:\.[0-9]{1,999})?(?:[eE][-+]?[0-9]{1,999})?|true|false|null)'
"""A value that stands for itself; of a longer number somebody has to say how long it is."""
GAP = r"[ \t\r\n]*+"
# so many at once: each can be gone back behind, which is remembered
ITEMS = re.compile(f"(?:{GAP}{PLAIN}{GAP},){{0,1000}}")
NO_ZERO_BELOW = r"(?!-0(?:\.0+)?(?![0-9.]))"
ITEMS_OF_JSONB = re.compile(f"(?:{GAP}{NO_ZERO_BELOW}{PLAIN}{GAP},){{0,1000}}")
MEMBERS = re.compile(rf'(?:{GAP}"[^"\\\x00-\x1f]*+"{GAP}:{GAP}{PLAIN}{GAP},){{0,1000}}')
IN_STRING = re.compile(r'[^"\\\x00-\x1f]*+(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])[^"\\\x00-\x1f]*+)*+')
LONGEST_ESCAPE = 6
WORD = re.compile(r"[-+.0-9A-Za-z]*")
SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")
STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
NO_BRACKET = re.compile(r"[^\[\]{}]+")
STEP = {"[": 1, "{": 1, "]": -1, "}": -1}
MISSES = 16
"""What is cut by the end of a part is cut in everything that it stands in: so often it is tried in vain."""
ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\.|[^\\]+", re.DOTALL)
HIGH, LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
"""The two halves of a character beyond the first 65,536."""
ZERO = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
HALF = "holds half a character, which jsonb does not"
BELOW_ZERO = "holds a zero below zero, which jsonb does not"


class _NoJson(Exception):
    """It is none, or not such as is wanted; the text says why, where anybody asked."""


def is_json(parts: Iterable[str]) -> bool:
    """Read a text to its end, or as far as that tells."""
    return not why_no_json(parts)


def why_no_json(parts: Iterable[str], *, binary: bool = False) -> str:
    """Return why a text is no JSON, or with `binary` none that jsonb keeps as it is; empty where it is.

    Nothing of it is held but, with `binary`, a number for each name of the objects that are open.
    """
    try:
        (_Binary(parts) if binary else _Reader(parts)).document()
    except _NoJson as exc:
        return str(exc) or "is no JSON"
    return ""


def _no_constant(name: str) -> NoReturn:
    # NaN and its like are Python's, not JSON's
    raise ValueError(name)


def _number(text: str) -> float:
    if len(text) > LONGEST_WORD:
        raise ValueError
    return 0.0


def _number_of_jsonb(text: str) -> float:
    if NEGATIVE_ZERO.fullmatch(text):
        raise ValueError
    return _number(text)


def _no_name_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


class _Reader:
    items = ITEMS
    reads = json.JSONDecoder(parse_constant=_no_constant, parse_int=_number, parse_float=_number)

    def __init__(self, parts: Iterable[str]) -> None:
        self._parts: Iterator[str] = iter(parts)
        self._held = ""
        self._at = 0
        self._misses = 0

    def document(self) -> None:
        open_ = ""
        while True:
            if open_[-1:] == "[":
                self._skip(self.items)
            closed = self._value(len(open_))
            if not closed:
                open_ += self._take()
                self._open(open_[-1])
                if len(open_) > DEEPEST:
                    raise _NoJson
                closed = self._is_empty(open_[-1])
            # what has ended may be the last of what it stands in
            while closed and open_:
                following = self._take()
                if following == "]}"["[{".index(open_[-1])]:
                    self._close(open_[-1])
                    open_ = open_[:-1]
                elif following == ",":
                    break
                else:
                    raise _NoJson
            if closed and not open_:
                break
            if open_[-1] == "{":
                self._members()
                self._name()
        if self._next():
            raise _NoJson

    def _skip(self, run: re.Pattern[str]) -> None:
        """Go behind what is held of a run, each with the comma behind it: another has to follow."""
        while (found := run.match(self._held, self._at)) and found.end() > self._at:
            self._at = found.end()

    def _members(self) -> None:
        self._skip(MEMBERS)

    def _open(self, bracket: str) -> None:
        """Hear of an array or object that begins."""

    def _close(self, bracket: str) -> None:
        """Hear of one that ends."""

    def _inside(self, text: str) -> None:
        """Hear of what stands in a string, in parts that cut no escape."""

    def _scalar(self, text: str) -> None:
        """Hear of a number, or of one of the three words."""

    def _value(self, depth: int) -> bool:
        """Read a value; False where one only begins that holds others."""
        first = self._next()
        if first in ("[", "{"):
            return self._whole(depth)
        if first == '"':
            self._string()
            return True
        while (word := WORD.match(self._held, self._at)) and word.end() == len(self._held):
            if len(word[0]) > LONGEST_WORD or not self._more():
                break
        text = word[0] if word else ""
        if len(text) > LONGEST_WORD or not SCALAR.fullmatch(text):
            raise _NoJson
        self._scalar(text)
        self._at += len(text)
        return True

    def _whole(self, depth: int) -> bool:
        """Read an array or object that is held to its end; False: it is not, or somebody has to see why it is none."""
        if self._misses >= MISSES:
            return False
        try:
            value, end = self.reads.raw_decode(self._held, self._at)
        except (ValueError, RecursionError):
            self._misses += 1
            return False
        text = self._held[self._at : end]
        if not self._is_fine(text, value) or _is_deeper(text, DEEPEST - depth):
            self._misses = MISSES
            return False
        self._at = end
        return True

    def _is_fine(self, text: str, value: Any) -> bool:
        """Whether what was read whole is all that is wanted of it."""
        del text, value
        return True

    def _is_empty(self, open_: str) -> bool:
        """Whether nothing stands between these brackets; a closing one is left to be taken."""
        return self._next() == ("]" if open_ == "[" else "}")

    def _name(self) -> None:
        if self._next() != '"':
            raise _NoJson
        self._string()
        if self._take() != ":":
            raise _NoJson

    def _string(self) -> None:
        self._at += 1
        while True:
            inside = IN_STRING.match(self._held, self._at)
            end = inside.end() if inside else self._at
            self._inside(self._held[self._at : end])
            self._at = end
            if self._held.startswith('"', end):
                self._at += 1
                return
            if len(self._held) - end >= LONGEST_ESCAPE or not self._more():
                raise _NoJson

    def _next(self) -> str:
        """Return the next character that is no space; empty: there is none."""
        while True:
            space = SPACE.match(self._held, self._at)
            self._at = space.end() if space else self._at
            if self._at < len(self._held) or not self._more():
                return self._held[self._at : self._at + 1]

    def _take(self) -> str:
        taken = self._next()
        self._at += len(taken)
        return taken

    def _more(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        self._held, self._at, self._misses = self._held[self._at :] + part, 0, 0
        return True


def _is_deeper(text: str, levels: int) -> bool:
    """Whether what stands in JSON goes deeper than so many brackets."""
    if text.count("[") + text.count("{") <= levels:
        return False
    brackets = NO_BRACKET.sub("", STRING.sub("", text))
    return max(accumulate(map(STEP.__getitem__, brackets))) > levels


class _Binary(_Reader):
    """Sees, too, what jsonb would not hold, or not as it is."""

    items = ITEMS_OF_JSONB
    reads = json.JSONDecoder(
        parse_constant=_no_constant,
        parse_int=_number_of_jsonb,
        parse_float=_number_of_jsonb,
        object_pairs_hook=_no_name_twice,
    )

    def __init__(self, parts: Iterable[str]) -> None:
        super().__init__(parts)
        self._names: list[set[int]] = []
        self._name_parts: list[str] | None = None
        """Of a name that is being read."""
        self._half = False
        """Whether the first half of a character was the last thing in a string."""

    def _is_fine(self, text: str, value: Any) -> bool:
        if "\\u" not in text:
            return True
        try:
            # half a character is no UTF-8
            json.dumps(value, ensure_ascii=False).encode()
        except (UnicodeEncodeError, RecursionError):
            return False
        return not ZERO.search(text)

    def _members(self) -> None:
        """Skip none: each name has to be seen."""

    def _open(self, bracket: str) -> None:
        if bracket == "{":
            self._names.append(set())

    def _close(self, bracket: str) -> None:
        if bracket == "{":
            self._names.pop()

    def _name(self) -> None:
        self._name_parts = []
        super()._name()

    def _scalar(self, text: str) -> None:
        if NEGATIVE_ZERO.fullmatch(text):
            raise _NoJson(BELOW_ZERO)

    def _inside(self, text: str) -> None:
        if self._name_parts is not None:
            self._name_parts.append(text)
        if "\\u" in text or self._half:
            self._escapes(text)

    def _escapes(self, text: str) -> None:
        for found in ESCAPE.finditer(text):
            code = int(found[1] or "0020", 16)
            if not code:
                raise _NoJson("holds a zero character, which jsonb does not")
            if self._half != (code in LOW):
                raise _NoJson(HALF)
            self._half = code in HIGH

    def _string(self) -> None:
        super()._string()
        if self._half:
            raise _NoJson(HALF)
        if self._name_parts is None:
            return
        # one name has more than one spelling
        name = hash(json.loads('"' + "".join(self._name_parts) + '"'))
        self._name_parts = None
        if name in self._names[-1]:
            raise _NoJson("has a name twice, of which jsonb keeps one")
        self._names[-1].add(name)
