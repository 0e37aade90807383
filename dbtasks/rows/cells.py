"""One row that is too wide to be held, read value by value: a short value as it is, a long one in parts.

The row is a line of the `rows` file, in pieces that may be cut anywhere; no
more of it is in memory than a few of them.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .lines import native

__all__ = ["LONG_CHARS", "LongBytes", "LongText", "bytes_of_hex", "cells_of"]

LONG_CHARS = 1 << 18
"""A value of less than this comes as it is."""
UNITS = re.compile(r'[^"\\]*+(?:\\(?:u[0-9a-fA-F]{4}|[^u])[^"\\]*+)*+')
"""Of a JSON string: as far as nothing is cut. It never goes back, and so remembers no way back."""
ENDING = re.compile(UNITS.pattern + '"')
LONGEST_UNIT = 6
MARKED = re.compile(r'\{\s*"(integer|real|blob|text)"\s*:\s*"')
LONGEST_MARK = 64
SCALAR_END = re.compile(r"[,\]]")
SPACE = " \t\r\n"


@dataclass(frozen=True)
class LongText:
    """A text; its parts are read once, before the next value of the row is asked for. What is left of them is skipped."""

    parts: Iterator[str]


@dataclass(frozen=True)
class LongBytes:
    """A blob, in the same way."""

    parts: Iterator[bytes]


def cells_of(pieces: Iterable[bytes]) -> Iterator[Any]:
    """Yield the values of one row: as `Batch.values` would, or long ones as `LongText` and `LongBytes`.

    Raises:
        ValueError: it is no row.
    """
    return _Line(pieces).cells()


class _Line:
    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._held = ""

    def cells(self) -> Iterator[Any]:
        self._take("[")
        ended = self._peek() == "]" and self._take("]") == "]"
        while not ended:
            cell = self._cell()
            yield cell
            if isinstance(cell, LongText | LongBytes):
                for _ in cell.parts:
                    pass
                if self._closing:
                    self._take("}")
            ended = self._take(",]") == "]"
        if self._held.strip(SPACE) or self._more():
            raise ValueError("something stands behind a row")

    def _cell(self) -> Any:
        first = self._peek()
        self._closing = first == "{"
        if first == '"':
            self._take('"')
            whole = self._short()
            return LongText(self._parts()) if whole is None else whole
        if first == "{":
            return self._marked()
        while not (end := SCALAR_END.search(self._held)):
            if len(self._held) > LONG_CHARS or not self._more():
                raise ValueError("a value has no end")
        text, self._held = self._held[: end.start()], self._held[end.start() :]
        return json.loads(text)

    def _marked(self) -> Any:
        """Read a value of SQLite's that says what it is."""
        self._fill(LONGEST_MARK)
        mark = MARKED.match(self._held)
        if mark is None:
            raise ValueError("a value is none")
        kind = mark[1]
        self._held = self._held[mark.end() :]
        whole = self._short()
        if whole is not None:
            self._take("}")
            return native({kind: whole})
        if kind == "blob":
            return LongBytes(bytes_of_hex(self._parts()))
        if kind == "text":
            return LongText(_escaped(bytes_of_hex(self._parts())))
        raise ValueError("a number has no end")

    def _short(self) -> str | None:
        """Read a string that begins here whole; None where it is long."""
        self._fill(LONG_CHARS)
        end = ENDING.match(self._held)
        if end is None:
            return None
        text, self._held = self._held[: end.end()], self._held[end.end() :]
        return str(json.loads(f'"{text}'))

    def _parts(self) -> Iterator[str]:
        """Yield what is left of a string, and leave what stands behind it."""
        half = ""
        ended = False
        while not ended:
            units = UNITS.match(self._held)
            end = units.end() if units else 0
            ended = self._held[end : end + 1] == '"'
            if len(self._held) - end > LONGEST_UNIT and not ended:
                raise ValueError("a text is spelled wrong")
            text = half + str(json.loads(f'"{self._held[:end]}"'))
            if half:
                text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            # the other half of a character may come with the next part
            half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" and not ended else ""
            self._held = self._held[end + ended :]
            if text := text[: len(text) - len(half)]:
                yield text
            if not ended and not self._more():
                raise ValueError("a text has no end")

    # -- what is held of it ---------------------------------------------------------------

    def _more(self) -> bool:
        for piece in self._pieces:
            if text := self._decoder.decode(piece):
                self._held += text
                return True
        self._decoder.decode(b"", final=True)
        return False

    def _fill(self, characters: int) -> None:
        while len(self._held) < characters and self._more():
            pass

    def _peek(self) -> str:
        self._held = self._held.lstrip(SPACE)
        while not self._held:
            if not self._more():
                raise ValueError("a row has no end")
            self._held = self._held.lstrip(SPACE)
        return self._held[0]

    def _take(self, wanted: str) -> str:
        found = self._peek()
        if found not in wanted:
            raise ValueError(f"{found!r} stands where one of {wanted!r} should")
        self._held = self._held[1:]
        return found


def bytes_of_hex(parts: Iterable[str]) -> Iterator[bytes]:
    r"""Yield the bytes that hexadecimal digits spell; PostgreSQL puts a `\x` in front of them.

    Raises:
        ValueError: they are none.
    """
    odd, first = "", True
    for part in parts:
        text = (odd + part).removeprefix("\\x") if first else odd + part
        first = False
        even = len(text) & ~1
        odd = text[even:]
        yield bytes.fromhex(text[:even])
    if odd:
        raise ValueError("half a byte")


def _escaped(parts: Iterable[bytes]) -> Iterator[str]:
    """Turn bytes that are no text into what `surrogateescape` makes of all of them."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for part in parts:
        yield decoder.decode(part)
    yield decoder.decode(b"", final=True)
