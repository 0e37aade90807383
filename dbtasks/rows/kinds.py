"""Whether every value of a `rows` file of PostgreSQL's is of the kind of JSON that its column says, in blocks cut anywhere.

COPY would take a bare word for a text, and a text for a number: what stands in
a document that somebody wrote by hand would come back as another value than a
JSON reader sees, or as one that no reader takes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ..errors import ArchiveDamaged
from .file import Header
from .schema import Spelling, Table

__all__ = ["kinds_of", "kinds_proved"]

TEXT = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
NUMBER = rb"-?(?:0|[1-9][0-9]{0,18})"
BARE = {
    Spelling.TEXT: rb"null",
    Spelling.NUMBER: NUMBER + rb"|null",
    Spelling.BOOLEAN: rb"true|false|null",
    # nobody says which kind it is
    Spelling.ANY: NUMBER + rb"|true|false|null",
}
QUOTED = (Spelling.TEXT, Spelling.ANY)
WORD = {spelling: re.compile(rb"(?:%b)(?=[,\]])" % words) for spelling, words in BARE.items()}
LONGEST_WORD = 24
UNITS = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
BEHIND = b"],\n"
WANTED = {
    Spelling.TEXT: "a string",
    Spelling.NUMBER: "a whole number",
    Spelling.BOOLEAN: "true or false",
    Spelling.ANY: "a value of JSON",
}


def kinds_of(table: Table | None, header: Header) -> tuple[Spelling, ...]:
    """Return how the values of these columns stand there; of one that nobody describes nothing is known."""
    known = {column.name: column.spelling for column in table.columns} if table else {}
    return tuple(known.get(name, Spelling.ANY) for name in header.columns)


def kinds_proved(
    pieces: Iterable[bytes], header: Header, kinds: Sequence[Spelling], archive: str
) -> Iterator[bytes]:
    """Yield a table's lines as they come, each block when it has been looked at; of columns there is one at least.

    Raises:
        ArchiveDamaged: a value is not of its kind, or no value; names the column and the row.
    """
    proof = _Proof(header, kinds, archive)
    begun = False
    for piece in pieces:
        proof.take(piece)
        begun = True
        yield piece
    if begun:
        # as if another row came: the last one has only its bracket behind it
        proof.take(BEHIND[1:])
        proof.end()


class _Proof:
    def __init__(self, header: Header, kinds: Sequence[Spelling], archive: str) -> None:
        self._header = header
        self._kinds = kinds
        self._archive = archive
        values = (rb"(?:%b)" % (BARE[kind] + b"|" + TEXT if kind in QUOTED else BARE[kind]) for kind in kinds)
        # so many at once: each can be gone back behind, which is remembered
        self._whole = re.compile(rb"(?:\[%b\],\n){0,1000}" % b",".join(values), re.DOTALL)
        self._held = b""
        self._at = 0
        self._rows = 0
        self._column = -1
        """Of the row that has begun; none has."""
        self._inside = False
        """Whether a string has begun."""
        self._after = False
        """Whether the value is over, and what stands behind it is still to come."""

    def take(self, piece: bytes) -> None:
        """Look at as much of it as is not cut."""
        self._held, self._at = self._held[self._at :] + piece, 0
        while self._next():
            pass

    def end(self) -> None:
        """See that nothing is left."""
        if self._column >= 0 or self._at < len(self._held):
            raise self._no_value()

    def _next(self) -> bool:
        """Go one step on; False: what follows has not come yet."""
        if self._inside:
            return self._string()
        if self._after:
            return self._behind()
        if self._column >= 0:
            return self._value()
        found = self._whole.match(self._held, self._at)
        if found and found.end() > self._at:
            self._rows += self._held.count(BEHIND + b"[", self._at, found.end()) + 1
            self._at = found.end()
            return True
        if self._is_next(b"["):
            self._column = 0
            return True
        return False

    def _string(self) -> bool:
        before, found = self._at, UNITS.match(self._held, self._at)
        self._at = found.end() if found else self._at
        if self._held.startswith(b'"', self._at):
            self._at += 1
            self._inside, self._after = False, True
        return self._at > before

    def _behind(self) -> bool:
        is_last = self._column == len(self._kinds) - 1
        if not self._is_next(BEHIND if is_last else b","):
            return False
        self._rows += is_last
        self._column = -1 if is_last else self._column + 1
        self._after = False
        return True

    def _value(self) -> bool:
        kind = self._kinds[self._column]
        if kind in QUOTED and self._held.startswith(b'"', self._at):
            self._at += 1
            self._inside = True
            return True
        if found := WORD[kind].match(self._held, self._at):
            self._at = found.end()
            self._after = True
            return True
        if len(self._held) - self._at > LONGEST_WORD:
            raise self._no_value()
        return False

    def _is_next(self, wanted: bytes) -> bool:
        """Take this; False: it has not come yet."""
        come = self._held[self._at : self._at + len(wanted)]
        if not wanted.startswith(come):
            raise self._no_value()
        if len(come) < len(wanted):
            return False
        self._at += len(wanted)
        return True

    def _no_value(self) -> ArchiveDamaged:
        column = max(self._column, 0)
        return ArchiveDamaged(
            f"{self._archive} is not a whole rows file: {self._header.name}.{self._header.columns[column]} is"
            f" {WANTED[self._kinds[column]]} or null, and not so in row {self._rows + 1:,}",
            details="a value stands there as dbtasks writes no such one, or the row is laid out anew",
        )
