"""A gate that lets through a part of a script: each statement is judged whole, rows with their COPY or their first INSERT."""

from __future__ import annotations

from collections.abc import Callable

from ....streams import HasRead
from ..script.gate import Gate
from ..script.inserts import ALIKE, as_one_query

__all__ = ["Judge", "PartGate"]

Judge = Callable[[bytes], "bytes | None"]
"""Is shown a statement; returns it, or another in its place, or None where psql is not to see it.

Of INSERTs into the same columns of one table it is shown the first: what it says of the one, it says of all.
"""
LONGEST = 8 << 20
"""Bytes of a statement; pg_dump writes rows as COPY, which are none."""


class PartGate(Gate):
    """One reading of one script, of which only what the judge wants is sent.

    All that a gate refuses is refused in what is left out as well.

    Raises:
        Refused: it holds something a dump does not, or a statement too long to be judged.
        ArchiveDamaged: it ends before its end.
    """

    def __init__(self, source: HasRead, judge: Judge, *, without: frozenset[str] = frozenset()) -> None:
        super().__init__(source, without=without)
        self._judge = judge
        self._dropping = False
        """Whether the rows that follow go with their COPY."""

    def _end_statement(self, end: int) -> None:
        super()._end_statement(end)
        if self._strings != b"on":
            self._refuse("strings of another kind than pg_dump writes", end)
        shown = self._data[self._first : end]
        wanted = self._judge(shown)
        if wanted == shown:
            return
        self._dropping = wanted is None and self._words[:1] == [b"copy"]
        self._send(self._first)
        if wanted is not None:
            self._out += [self._mode(), wanted]
        self._sent = end

    def _bulk(self, start: int) -> bool:
        """Judge INSERTs of plain values with one head by the first of them, as many as are there."""
        found = ALIKE[self._strings].match(self._data, start) if self._strings == b"on" else None
        if found is None:
            return False
        shown, end = found["first"].rstrip(), found.end()
        wanted = self._judge(shown)
        if wanted is None:
            self._skip(start, end)
        elif wanted == shown:
            self._inserts(start, end)
        else:
            head = found["head"]
            values = shown[len(head) :]
            if not wanted.endswith(values):
                return False
            self._under(wanted.removesuffix(values), head, start, end)
        self._at = end
        self._complete = False
        self._new_statement(end)
        return True

    def _under(self, new: bytes, head: bytes, start: int, end: int) -> None:
        """Send INSERTs that have one head under another."""
        self._settle(start)
        self._send(start)
        self._out += [self._mode(), as_one_query(self._data[start:end], self._strings, head=head, new=new)]
        self._sent = end

    def _rows_begin(self, final: bool) -> bool:
        goes_on = super()._rows_begin(final)
        if self._dropping:
            self._sent = self._at
        return goes_on

    def _rows(self, final: bool) -> bool:
        ended = super()._rows(final)
        if self._dropping:
            self._sent = self._at
            self._dropping = not ended
        return ended

    def _step_back(self) -> None:
        """Keep an unfinished statement, which has to be shown whole: it is read again with the next block."""
        if not self._words:
            return
        if len(self._data) - self._first > LONGEST:
            self._refuse("a statement too long to tell what it is about", self._first)
        known = self._statement
        self._at = self._first if known is None else known
        self._scan = self._sql
        self._new_statement(self._at)
        self._statement = known
