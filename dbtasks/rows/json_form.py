"""Whether a text that comes in parts is JSON, by the rules of `json.loads`, without holding it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

from .alike import NEGATIVE_ZERO

__all__ = ["BELOW_ZERO", "is_json", "why_no_json"]

DEEPEST = 900
"""Python's own reader goes no deeper by much."""
LONGEST_WORD = 4_300
"""Digits of a number, as there."""
SPACE = re.compile(r"[ \t\r\n]*")
IN_STRING = re.compile(r'[^"\\\x00-\x1f]*+(?:\\(?:u[0-9a-fA-F]{4}|["\\/bfnrt])[^"\\\x00-\x1f]*+)*+')
LONGEST_ESCAPE = 6
WORD = re.compile(r"[-+.0-9A-Za-z]*")
SCALAR = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null")


ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})|\\.|[^\\]+", re.DOTALL)
HIGH, LOW = range(0xD800, 0xDC00), range(0xDC00, 0xE000)
"""The two halves of a character beyond the first 65,536."""
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


class _Reader:
    def __init__(self, parts: Iterable[str]) -> None:
        self._parts: Iterator[str] = iter(parts)
        self._held = ""

    def document(self) -> None:
        open_ = ""
        while True:
            closed = self._value()
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
                self._name()
        if self._next():
            raise _NoJson

    def _open(self, bracket: str) -> None:
        """Hear of an array or object that begins."""

    def _close(self, bracket: str) -> None:
        """Hear of one that ends."""

    def _inside(self, text: str) -> None:
        """Hear of what stands in a string, in parts that cut no escape."""

    def _scalar(self, text: str) -> None:
        """Hear of a number, or of one of the three words."""

    def _value(self) -> bool:
        """Read a value; False where one only begins that holds others."""
        first = self._next()
        if first in ("[", "{"):
            return False
        if first == '"':
            self._string()
            return True
        while (word := WORD.match(self._held)) and word.end() == len(self._held):
            if len(self._held) > LONGEST_WORD or not self._more():
                break
        text = word[0] if word else ""
        if len(text) > LONGEST_WORD or not SCALAR.fullmatch(text):
            raise _NoJson
        self._scalar(text)
        self._held = self._held[len(text) :]
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
        self._held = self._held[1:]
        while True:
            inside = IN_STRING.match(self._held)
            end = inside.end() if inside else 0
            self._inside(self._held[:end])
            self._held = self._held[end:]
            if self._held.startswith('"'):
                self._held = self._held[1:]
                return
            if len(self._held) >= LONGEST_ESCAPE or not self._more():
                raise _NoJson

    def _next(self) -> str:
        """Return the next character that is no space; empty: there is none."""
        while True:
            space = SPACE.match(self._held)
            self._held = self._held[space.end() if space else 0 :]
            if self._held or not self._more():
                return self._held[:1]

    def _take(self) -> str:
        taken = self._next()
        self._held = self._held[1:]
        return taken

    def _more(self) -> bool:
        part = next(self._parts, None)
        if part is None:
            return False
        self._held += part
        return True


class _Binary(_Reader):
    """Sees, too, what jsonb would not hold, or not as it is."""

    def __init__(self, parts: Iterable[str]) -> None:
        super().__init__(parts)
        self._names: list[set[int]] = []
        self._name_parts: list[str] | None = None
        """Of a name that is being read."""
        self._half = False
        """Whether the first half of a character was the last thing in a string."""

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
