"""The lines of a `rows` file, made in bulk: one row is one line, and a line break never stands inside a value.

PostgreSQL writes them almost by itself. With QUOTE '"', ESCAPE '\\', NULL 'null'
a row of COPY's CSV is the inside of a JSON array, but for control characters
that stand raw in its values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "BETWEEN",
    "COPY_OPTIONS",
    "ESCAPED",
    "Lines",
    "copy_part",
    "from_csv",
    "from_values",
    "native",
    "read_values",
    "string_part",
]

COPY_OPTIONS = "FORMAT csv, QUOTE '\"', ESCAPE E'\\\\', NULL 'null'"
ESCAPED = str.maketrans({"\\": "\\\\", '"': '\\"'})
"""What gets a backslash between those quotes."""
BETWEEN = b"],\n["
"""What stands between two rows, and nowhere else."""
SEPARATOR = b"\0"
"""Stands in no text of PostgreSQL's, so it keeps rows apart while their values are worked on."""
CONTROL = bytes(set(range(32)) - {0, 10})
OFTEN = ((b"\n", b"\\n"), (b"\t", b"\\t"), (b"\r", b"\\r"))
ESCAPES = {code: b"\\u%04x" % code for code in range(32)} | {
    8: b"\\b",
    9: b"\\t",
    10: b"\\n",
    12: b"\\f",
    13: b"\\r",
}
SELDOM = re.compile(rb"[\x01-\x1f]")
IN_STRING = ((b"\\", b"\\\\"), (b'"', b'\\"'), *OFTEN)
IN_FIELD = ((b"\\", b"\\\\"), *OFTEN, (b"\b", b"\\b"), (b"\f", b"\\f"), (b"\v", b"\\v"))
"""Of COPY's text format, the backslash first."""
ALL_CONTROL = re.compile(rb"[\x00-\x1f]")


@dataclass(frozen=True)
class Lines:
    """A batch whose lines are there already."""

    count: int
    text: bytes

    def lines(self) -> Iterable[bytes]:
        """Return them in one piece."""
        return (self.text,)

    def values(self) -> Sequence[Sequence[Any]]:
        """Parse them."""
        rows: list[list[Any]] = read_values(b"[%b]" % self.text)
        return rows

    def cells(self) -> None:
        """They can be held."""


def read_values(text: bytes, *, strict: bool = True) -> Any:
    """Read JSON of our own; an object is a value of SQLite's that says what it is. `strict=False` lets control characters be raw."""
    return json.loads(text, object_hook=native, strict=strict, parse_constant=_no_value)


def _no_value(word: str) -> Any:
    raise ValueError(f"{word} is no value")


def native(held: dict[str, str]) -> Any:
    """Return the value of SQLite's that an object of JSON stands for."""
    ((kind, text),) = held.items()
    if kind == "integer":
        return int(text)
    if kind == "real":
        return float(text)
    data = bytes.fromhex(text)
    return data if kind == "blob" else data.decode("utf-8", "surrogateescape")


def from_csv(rows: Sequence[bytes]) -> Lines:
    """Make lines of rows as COPY hands them over: each ends with a line break, and others may stand in its values.

    All of it is done to the whole batch at once, in a few passes of C.
    """
    data = SEPARATOR.join(rows)
    count = len(rows)
    # translate finds control characters several times faster than a regular expression
    if data.count(b"\n") == count and len(data.translate(None, CONTROL)) == len(data):
        return Lines(count, b"[%b]" % data[:-1].replace(b"\n\0", BETWEEN))
    data = data[:-1].replace(b"\n\0", SEPARATOR)
    for raw, escaped in OFTEN:
        if raw in data:
            data = data.replace(raw, escaped)
    if len(data.translate(None, CONTROL)) != len(data):
        data = SELDOM.sub(lambda found: ESCAPES[found[0][0]], data)
    return Lines(count, b"[%b]" % data.replace(SEPARATOR, BETWEEN))


def string_part(text: bytes) -> bytes:
    """Return a part of a text as it stands inside a JSON string; characters may be cut at its ends."""
    for raw, escaped in IN_STRING:
        text = text.replace(raw, escaped)
    return ALL_CONTROL.sub(lambda found: ESCAPES[found[0][0]], text)


def copy_part(text: bytes) -> bytes:
    """Return a part of a text as COPY's text format spells it; characters may be cut at its ends."""
    for raw, escaped in IN_FIELD:
        if raw in text:
            text = text.replace(raw, escaped)
    return text


def from_values(rows: Sequence[Sequence[Any]], default: Callable[[Any], Any] | None = None) -> Lines:
    """Make lines of values that JSON holds as they are, or that `default` spells; none of them may be an array.

    Raises:
        UnicodeEncodeError: a text holds what is no character. ValueError: a number is none.
    """
    text = json.dumps(rows, ensure_ascii=False, allow_nan=False, separators=(",\n", ":"), default=default)
    # a raw line break stands between values and nowhere else, so one encoding of the whole batch is enough
    text = text[1:-1].replace("],\n[", "\0").replace("\n", "").replace("\0", "],\n[")
    return Lines(len(rows), text.encode())
