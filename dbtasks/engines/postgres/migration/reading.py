"""Rows that arrived, as the server has them: line by line as COPY writes them, and those too wide to be held in pieces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ....rows import BATCH_BYTES
from ....rows.migration.arriving import Carried
from ....rows.migration.tally import Tally
from ....rows.postgres.schema import Held
from ....rows.postgres.wide import WideRow, may_hold_wide, width_of
from ....sessions import PsycopgSession
from ..facts import Relation
from ..foreign_keys import place_of

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = ["ArrivedRows"]


class ArrivedRows:
    """The rows of one table as the server has them."""

    def __init__(self, session: PsycopgSession, carried: Carried, relation: Relation, held: Held) -> None:
        self._session = session
        self._carried = carried
        self._place = place_of(relation.schema, relation.name, relation.kind)
        self._held = held

    def tally(self, *, strict: bool = True) -> Tally:
        """Count and sum up all of them."""
        found = Tally(self._carried, strict=strict)
        self.read(lambda lines: found.take(lines, ranges=False), found.take_long)
        self._extend(found)
        return found

    def read(
        self,
        take: Callable[[Sequence[bytes]], object],
        take_long: Callable[[Iterable[Iterable[bytes]]], object],
        condition: Composable | None = None,
    ) -> None:
        """Hand over the lines, some at a time, and those that are too wide to be held in pieces.

        `condition`: of these rows only; they are `f` in it.
        """
        from psycopg2 import sql

        waiting: list[bytes] = []
        held = 0

        def one(row: bytes) -> None:
            nonlocal held
            waiting.append(row)
            held += len(row)
            if held >= BATCH_BYTES:
                give()
                held = 0

        def give() -> None:
            # a line break stands behind each row, and nowhere else
            take(b"".join(waiting).split(b"\n")[:-1])
            waiting.clear()

        which = condition or sql.SQL("true")
        wide = self._wide(which)
        narrow = sql.SQL("NOT ({})").format(width_of(self._held)) if wide else sql.SQL("true")
        names = sql.SQL(", ").join(sql.SQL("f.") + sql.Identifier(name) for name in self._carried.columns)
        query = sql.SQL("COPY (SELECT {} FROM {} f WHERE {} AND {}) TO STDOUT")
        self._session.copy_out(query.format(names, self._place, which, narrow), one)
        give()
        for ctid in wide:
            take_long(WideRow(self._session, self._held, ctid).fields(self._carried.columns))

    def _wide(self, which: Composable) -> list[str]:
        from psycopg2 import sql

        if not may_hold_wide(self._held):
            return []
        query = sql.SQL("SELECT f.ctid::pg_catalog.text FROM {} f WHERE {} AND {}")
        found = self._session.rows(query.format(self._place, which, width_of(self._held)))
        return [str(ctid) for (ctid,) in found]

    def _extend(self, found: Tally) -> None:
        """Ask for the range of whole numbers: an index knows it."""
        from psycopg2 import sql

        for number, place in found.whole_places:
            name = sql.Identifier(self._carried.columns[place])
            query = sql.SQL("SELECT min({0})::int8 AS low, max({0})::int8 AS high FROM {1}")
            ((low, high),) = self._session.rows(query.format(name, self._place))
            if low is not None:
                found.extend(number, low, high)
