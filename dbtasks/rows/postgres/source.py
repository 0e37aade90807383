"""PostgreSQL as a table source: COPY writes the lines almost by itself.

The caller holds the transaction (REPEATABLE READ, read-only, row security off)
and the locks. A row is too wide when the client would have to hold it whole:
libpq gives one row at a time, several times over. Such rows are looked for
where a table could have them, left out of the COPY, and sent in slices.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import QueryFailed
from ...sessions import Query, Session
from .. import BATCH_BYTES, Batch
from ..lines import COPY_OPTIONS, Lines, from_csv
from ..schema import PortableSchema, Spelling, Table
from .pulled import pulled
from .schema import Described, Held, describe
from .wide import WideRow, may_hold_wide, no_text, width_of

__all__ = ["CopySession", "PostgresSource", "fix_reading", "fix_values", "release_values"]

FIXED = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "3",
    "bytea_output": "hex",
    "lc_monetary": "C",
    "quote_all_identifiers": "off",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    # off, a NULL in an array is read as the word
    "array_nulls": "on",
    # rows as they lie in the table: two dumps of the same state are equal
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
}
"""What decides how PostgreSQL writes a value, and reads it: for as long as the transaction lasts."""
FOR_READING = ("client_encoding", "IntervalStyle", "lc_monetary", "array_nulls", "xmloption")
"""Without these a value that was written so is read as another one: dates are ISO, and moments say their zone."""
NO_UTF8 = ("22021", "22P05")
"""What PostgreSQL calls bytes that are no character, and a character that UTF-8 does not have."""
FIX = "SELECT pg_catalog.set_config(key, value, true) FROM pg_catalog.jsonb_each_text(%s::pg_catalog.jsonb)"


def fix_values(session: Session) -> None:
    """Say how values are spelled, for the rest of the transaction: whoever reads them back says it first."""
    session.rows(FIX, (json.dumps(FIXED),))


def fix_reading(session: Session) -> None:
    """Say of it what reading such values needs, and no more: defaults and checks go by what the role has otherwise."""
    session.rows(FIX, (json.dumps({name: FIXED[name] for name in FOR_READING}),))


def release_values(session: Session) -> None:
    """Take that back: from now on values are read and written as in any other session of the role."""
    for name in FIXED.keys() - {"client_encoding"}:
        session.execute(f"RESET {name}")


class CopySession(Session, Protocol):
    """A session that COPY can send rows through."""

    def copy_out(self, query: Query, take: Callable[[bytes], object]) -> int:
        """Run a COPY … TO STDOUT and hand over each row as it comes; returns their number."""


@dataclass(frozen=True)
class _Reading:
    """How one table's rows are asked for."""

    query: Any
    wide: tuple[str, ...] = ()
    """Where the rows lie that are too wide, as ctid."""
    checked: bool = False
    """Its bytes may be no UTF-8: each batch is looked at."""


class PostgresSource:
    """The tables of one database, by oid; those `without_rows` are described only."""

    def __init__(
        self,
        session: CopySession,
        tables: Sequence[int],
        *,
        without_rows: Sequence[int] = (),
        sequences: Sequence[int] = (),
        with_children: Collection[int] = (),
    ) -> None:
        """Fix how values are written, and read the schema; the caller's transaction is open.

        Of the tables `with_children` the rows are read with those of all that inherit from them.

        Raises:
            QueryFailed, RightMissing: the catalogue or a sequence cannot be read.
        """
        self._session = session
        fix_values(session)
        self._described: Described = describe(
            session, (*tables, *without_rows), sequences, with_children=with_children
        )
        self._with_rows = frozenset(tables)

    @property
    def schema(self) -> PortableSchema:
        """All tables that were named, with the types and sequences of the database."""
        return self._described.schema

    @property
    def tables(self) -> tuple[Table, ...]:
        """Those whose rows are asked for."""
        held = self._described.held
        return tuple(table for table in self.schema.tables if held[table.name].oid in self._with_rows)

    def rows(self, table: Table) -> Generator[Batch]:
        """Read one table's own rows, in the order in which they lie there; wide ones last."""
        held = self._described.held[table.name]
        reading = self._reading(held)

        def push(put: Callable[[Lines], None]) -> None:
            try:
                self._copy(reading.query, put)
            except QueryFailed as exc:
                if exc.sqlstate in NO_UTF8:
                    raise no_text(table.name, exc.details) from exc
                raise

        with closing(pulled(push, self._session.cancel)) as copied:
            for lines in copied:
                if reading.checked:
                    _prove_text(table, lines)
                yield lines
        for ctid in reading.wide:
            yield WideRow(self._session, held, ctid)

    def _copy(self, query: Any, put: Callable[[Lines], None]) -> None:
        rows: list[bytes] = []
        waiting = 0

        def take(row: bytes) -> None:
            nonlocal waiting
            rows.append(row)
            waiting += len(row)
            if waiting >= BATCH_BYTES:
                put(from_csv(rows))
                rows.clear()
                waiting = 0

        self._session.copy_out(query, take)
        if rows:
            put(from_csv(rows))

    def _reading(self, held: Held) -> _Reading:
        from psycopg2 import sql

        wide: tuple[str, ...] = ()
        where: Any = sql.SQL("")
        if may_hold_wide(held):
            width = width_of(held)
            query = sql.SQL("SELECT ctid::pg_catalog.text FROM {} WHERE {}").format(held.place, width)
            wide = tuple(str(ctid) for (ctid,) in self._session.rows(query))
            if wide:
                where = sql.SQL(" WHERE NOT ({})").format(width)
        selected = sql.SQL(", ").join(column.selected for column in held.columns)
        quoted = [sql.Identifier(c.name) for c in held.columns if c.spelling is Spelling.TEXT]
        force = sql.SQL(", FORCE_QUOTE ({})").format(sql.SQL(", ").join(quoted)) if quoted else sql.SQL("")
        query = sql.SQL("COPY (SELECT {} FROM {}{}) TO STDOUT ({}{})").format(
            selected, held.place, where, sql.SQL(COPY_OPTIONS), force
        )
        checked = any(column.any_byte for column in held.columns)
        return _Reading(query, wide, checked)


def _prove_text(table: Table, lines: Lines) -> None:
    try:
        lines.text.decode()
    except UnicodeDecodeError as exc:
        raise no_text(table.name, str(exc)) from exc
