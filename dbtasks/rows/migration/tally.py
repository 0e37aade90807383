"""Rows counted and summed up: two sides that hold the same rows come to the same, in whatever order they lie.

Of each row, spelled as PostgreSQL writes it, a digest is added to a sum. Neither
side sorts, nothing is held, and a row that is left out is simply not added.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby
from typing import Any

from ..across.spellers import NULL
from .arriving import WHOLE, Carried
from .forms import form_of, form_of_pieces, is_compared

__all__ = ["SEPARATOR", "Edges", "Forms", "Tally", "digest_of_pieces", "digests_of", "fields_of"]

DIGEST_BYTES = 16
FLOATS = frozenset(("double", "real"))
UNORDERED = frozenset(("jsonb",))
"""What is compared of these is a sum: none is lower than another."""
SEPARATOR = b"\t"
ABSENT = NULL.encode()
Edges = list[tuple[Any, Any] | None]


def digests_of(lines: Iterable[bytes]) -> list[bytes]:
    """Return the digest of each line."""
    return [blake2b(line, digest_size=DIGEST_BYTES).digest() for line in lines]


def digest_of_pieces(pieces: Iterable[bytes]) -> bytes:
    """Return the digest of one line that comes in pieces."""
    digest = blake2b(digest_size=DIGEST_BYTES)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()


def _sums_of(digests: Iterable[bytes]) -> tuple[int, int]:
    """Return the two halves of the sum of these."""
    words = array("Q", b"".join(digests))
    if sys.byteorder == "big":
        words.byteswap()
    return sum(words[::2]), sum(words[1::2])


class Forms:
    """What is compared of a table's lines: nearly always the whole line as it stands."""

    def __init__(self, carried: Carried, *, strict: bool = True) -> None:
        self.compared = [is_compared(how) for how in carried.hows]
        """Of each column whether it is."""
        self.strict = strict or FLOATS.isdisjoint(carried.hows)
        """Whether no two spellings of one value differ; without it, two of a float may, which hardly ever is so."""
        self._forms = [form_of(how) if strict or how not in FLOATS else None for how in carried.hows]
        self._of_pieces = list(map(form_of_pieces, carried.hows))
        self.is_whole = all(self.compared) and not any(self._forms)
        """Whether nothing has to be taken apart."""

    def of(self, lines: Sequence[bytes]) -> Sequence[bytes]:
        """Return of each line what is compared."""
        if self.is_whole or not lines:
            return lines
        columns = zip(*(line.decode().split("\t") for line in lines), strict=True)
        kept = [
            self._formed(fields, form)
            for fields, form, compared in zip(columns, self._forms, self.compared, strict=True)
            if compared
        ]
        if not kept:
            return [b""] * len(lines)
        return [line.encode() for line in map("\t".join, zip(*kept, strict=True))]

    def of_column(self, place: int, fields: Sequence[bytes]) -> Sequence[bytes]:
        """Return of one column's fields what is compared."""
        form = self._forms[place]
        return fields if form is None else [text.encode() for text in form([f.decode() for f in fields])]

    @staticmethod
    def _formed(fields: Sequence[str], form: Callable[[Sequence[str]], list[str]] | None) -> Sequence[str]:
        return fields if form is None else form(fields)

    def pieces(self, fields: Iterable[Iterable[bytes]]) -> Iterator[bytes]:
        """Return the same of one line whose fields come in pieces; those of numbers and padded texts are held whole."""
        first = True
        for pieces, form, of_pieces, compared in zip(
            fields, self._forms, self._of_pieces, self.compared, strict=True
        ):
            if not compared:
                for _ in pieces:
                    pass
                continue
            if not first:
                yield SEPARATOR
            first = False
            if form is None:
                yield from pieces
            elif of_pieces is not None:
                yield of_pieces(pieces)
            else:
                yield self._formed((b"".join(pieces).decode(),), form)[0].encode()


def fields_of(pieces: Iterable[bytes]) -> Iterator[Iterator[bytes]]:
    """Take a line apart whose pieces are cut at least in front of and behind each separator."""
    for is_between, field in groupby(pieces, lambda piece: piece == SEPARATOR):
        if not is_between:
            yield field


class Tally:
    """The rows of one table on one side."""

    def __init__(self, carried: Carried, *, strict: bool = True) -> None:
        self.forms = Forms(carried, strict=strict)
        self.rows = 0
        self._sums = [0, 0]
        self._key = [
            (place, carried.hows[place] in WHOLE)
            for place in carried.key_places
            if self.forms.compared[place] and carried.hows[place] not in UNORDERED
        ]
        self.edges: Edges = [None] * len(self._key)
        """The lowest and the highest value of each of the key's columns that have such, in the form that is compared."""

    @property
    def checksum(self) -> str:
        """The sum, in hexadecimal."""
        return "".join(f"{one % (1 << 64):016x}" for one in self._sums)

    def take(
        self, lines: Sequence[bytes], columns: Sequence[Sequence[Any]] = (), *, ranges: bool = True
    ) -> None:
        """Add lines without their ends; `columns` are their values where SQLite gave them.

        Without `ranges` those of whole numbers are the caller's to `extend`.
        """
        if not lines:
            return
        self.rows += len(lines)
        self._add(digests_of(self.forms.of(lines)))
        for number, (place, whole) in enumerate(self._key):
            if whole and not ranges:
                continue
            values = columns[place] if whole and columns else ()
            if set(map(type, values)) != {int}:
                fields = [line.split(SEPARATOR, place + 1)[place] for line in lines]
                # SQLite lets NULL into most of its keys: it is in no range
                fields = [field for field in fields if field != ABSENT]
                values = list(map(int, fields)) if whole else self.forms.of_column(place, fields)
            if values:
                self.extend(number, min(values), max(values))

    def take_long(self, pieces: Iterable[Iterable[bytes]]) -> None:
        """Add one row whose fields come in pieces."""
        fields: dict[int, bytes] = {}
        held = {place for place, _ in self._key}

        def seen() -> Iterator[Iterable[bytes]]:
            for place, field in enumerate(pieces):
                if place in held:
                    fields[place] = b"".join(field)
                    yield (fields[place],)
                else:
                    yield field

        self._add([self.digest_of(seen())])
        self.rows += 1
        for number, (place, whole) in enumerate(self._key):
            if fields[place] != ABSENT:
                (value,) = [int(fields[place])] if whole else self.forms.of_column(place, [fields[place]])
                self.extend(number, value, value)

    def digest_of(self, fields: Iterable[Iterable[bytes]]) -> bytes:
        """Return the digest of one row whose fields come in pieces."""
        return digest_of_pieces(self.forms.pieces(fields))

    def extend(self, number: int, low: Any, high: Any) -> None:
        """Let the range of the key's column reach from here to there."""
        held = self.edges[number]
        self.edges[number] = (low, high) if held is None else (min(held[0], low), max(held[1], high))

    @property
    def whole_places(self) -> tuple[tuple[int, int], ...]:
        """Of the key's columns those of whole numbers: which of them, and where they stand in a row."""
        return tuple((number, place) for number, (place, whole) in enumerate(self._key) if whole)

    def _add(self, digests: Sequence[bytes]) -> None:
        low, high = _sums_of(digests)
        self._sums[0] += low
        self._sums[1] += high
