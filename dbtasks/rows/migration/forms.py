"""One form for what was sent to PostgreSQL and for what COPY gives back of it: how a migration proves every row.

`spellers` write a value as the server writes it, so nearly always the form is the
field itself, and a row's line is compared whole. The few others stand here.
"""

from __future__ import annotations

import codecs
import re
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from ..across.spellers import NULL
from .json_sum import json_sum, json_sum_of

__all__ = ["form_of", "form_of_pieces", "is_compared"]

Form = Callable[[Sequence[str]], list[str]]
ESCAPED = re.compile(r"\\(.)")
MEANT = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "v": "\v"}


def is_compared(how: str) -> bool:
    """Whether the values of a column can be compared: what only the server can read, it may write differently."""
    name, _, said = how.partition(":")
    return name != "words" and (name != "interval" or said.startswith("microseconds"))


def form_of(how: str) -> Form | None:
    """Return what makes one form of the fields of a column, on both sides; None: they are the same as they stand."""
    if how.partition(":")[0] == "padded":
        return _of_each(lambda field: field.rstrip(" "))
    if how == "jsonb":
        return _of_each(lambda field: json_sum_of(_plain(field)))
    # the shortest spelling of a float is not always the only one
    if how == "double":
        return _of_each(lambda field: repr(float(field)))
    return _of_each(_short) if how == "real" else None


def form_of_pieces(how: str) -> Callable[[Iterable[bytes]], bytes] | None:
    """Return the same for a field that comes in pieces, where it need not be held for that."""
    return _summed if how == "jsonb" else None


def _summed(pieces: Iterable[bytes]) -> bytes:
    rest = iter(pieces)
    first = next(rest, b"")
    return first if first == NULL.encode() else json_sum(_texts(chain((first,), rest))).encode()


def _texts(pieces: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    held = ""
    for piece in pieces:
        text = held + decoder.decode(piece)
        # half of an escape waits for the other
        held = "\\" if (len(text) - len(text.rstrip("\\"))) % 2 else ""
        yield _plain(text[:-1] if held else text)


def _of_each(read: Callable[[str], str]) -> Form:
    return lambda fields: [field if field == NULL else read(field) for field in fields]


def _short(field: str) -> str:
    return repr(struct.unpack("f", struct.pack("f", float(field)))[0])


def _plain(field: str) -> str:
    return ESCAPED.sub(lambda found: MEANT.get(found[1], found[1]), field) if "\\" in field else field
