"""Rows that are too wide to be held: found without reading their values, sent in slices.

What a value weighs is asked without unpacking it where PostgreSQL can: text and
bytea know their size. Any other type is unpacked only where its packed size
leaves room for much (no codec of PostgreSQL's shrinks by more than 255).
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ...errors import DumpFailed
from ..cells import cells_of
from ..lines import COPY_OPTIONS, copy_part, read_values, string_part
from ..schema import Spelling
from .schema import BPCHAR, BYTEA, TEXTS, Held, HeldColumn

__all__ = ["WIDE_BYTES", "WideRow", "may_hold_wide", "no_text", "width_of"]

WIDE_BYTES = 1 << 20
"""A row of more than this is sent in slices."""
SLICE_BYTES = 1 << 18
PACKED_BYTES = 1 << 13
"""A value packed into less than this cannot be wide, or not by much."""
APART_BYTES = 1 << 16
"""Of a wide row, values of up to this come together."""


def may_hold_wide(held: Held) -> bool:
    """Whether a table has anything outside its rows' own pages, where all that is wide lies.

    The rows of a table's children are not looked at: the place of one names it among those of one table only.
    """
    return (
        not held.with_children
        and held.toast_bytes > WIDE_BYTES // 255
        and any(_size_of(column) for column in held.columns)
    )


def width_of(held: Held) -> Any:
    """Return the condition, as SQL, that a row is too wide; it is never null."""
    from psycopg2 import sql

    sizes = [size for column in held.columns if (size := _size_of(column))]
    total = sql.SQL(" + ").join(sql.SQL("coalesce({}, 0)::pg_catalog.int8").format(size) for size in sizes)
    return sql.SQL("{} > {}").format(total, sql.Literal(WIDE_BYTES))


def _size_of(column: HeldColumn) -> Any:
    """Return an expression for about how many bytes a value has as text; None where it cannot be many."""
    from psycopg2 import sql

    name = sql.Identifier(column.name)
    if column.base in TEXTS:
        return sql.SQL("pg_catalog.octet_length({}::pg_catalog.text)").format(name)
    if column.base == BPCHAR:
        return sql.SQL("pg_catalog.octet_length({}::pg_catalog.bpchar)").format(name)
    if column.base == BYTEA:
        return sql.SQL("2 * pg_catalog.octet_length({}::pg_catalog.bytea)::pg_catalog.int8").format(name)
    if column.length != -1:
        return None
    return sql.SQL(
        "CASE WHEN pg_catalog.pg_column_size({0}) > {1} THEN pg_catalog.octet_length(pg_catalog.format('%s', {0}))"
        " ELSE pg_catalog.pg_column_size({0}) END"
    ).format(name, sql.Literal(PACKED_BYTES))


def _is_wide(column: HeldColumn) -> Any:
    from psycopg2 import sql

    size = _size_of(column) or sql.SQL("0")
    return sql.SQL("coalesce({}, 0) > {}").format(size, sql.Literal(APART_BYTES))


class WideRow:
    """One wide row; its values are asked for when its lines are read."""

    count = 1

    def __init__(self, session: Any, held: Held, ctid: str) -> None:
        self._session = session
        self._held = held
        self._ctid = ctid

    def lines(self) -> Iterable[bytes]:
        """Yield the row in pieces."""
        for position, (column, value) in enumerate(self._apart()):
            yield b"," if position else b"["
            if column is None:
                yield json.dumps(value, ensure_ascii=False).encode()
                continue
            yield b'"'
            yield from self._slices(column)
            yield b'"'
        yield b"]"

    def values(self) -> Sequence[Sequence[Any]]:
        """Return the row whole."""
        return [read_values(b"".join(self.lines()))]

    def cells(self) -> Iterator[Any]:
        """Return its values one by one."""
        return cells_of(self.lines())

    def _apart(self) -> Iterator[tuple[HeldColumn | None, Any]]:
        """Yield each value that is narrow, and the column of each that is wide."""
        (is_wide,) = self._asked([_is_wide(column) for column in self._held.columns])
        narrow = [c for c, wide in zip(self._held.columns, is_wide, strict=True) if not wide]
        values = iter(self._narrow(narrow))
        for column, wide in zip(self._held.columns, is_wide, strict=True):
            yield (column, None) if wide else (None, next(values))

    def _narrow(self, columns: list[HeldColumn]) -> list[Any]:
        from psycopg2 import sql

        if not columns:
            return []
        force = [sql.Identifier(c.name) for c in columns if c.spelling is Spelling.TEXT]
        query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE ctid = {}) TO STDOUT ({}{})").format(
            sql.SQL(", ").join(column.selected for column in columns),
            self._held.identifier,
            sql.Literal(self._ctid),
            sql.SQL(COPY_OPTIONS),
            sql.SQL(", FORCE_QUOTE ({})").format(sql.SQL(", ").join(force)) if force else sql.SQL(""),
        )
        rows: list[bytes] = []
        self._session.copy_out(query, rows.append)
        # control characters may stand raw in it
        return list(read_values(b"[%b]" % rows[0][:-1], strict=False))

    def fields(self, names: Iterable[str]) -> Iterator[Iterable[bytes]]:
        """Yield these columns' values in this order, each as COPY's text format spells it, in pieces."""
        columns = {column.name: column for column in self._held.columns}
        for name in names:
            column = columns[name]
            ((is_wide,),) = self._asked([_is_wide(column)])
            yield self._escaped(column) if is_wide else self._alone(column)

    def _escaped(self, column: HeldColumn) -> Iterator[bytes]:
        if column.base == BYTEA:
            yield b"\\\\x"
        for part in self._parts(column):
            yield part.hex().encode() if column.base == BYTEA else copy_part(part)

    def _alone(self, column: HeldColumn) -> Iterable[bytes]:
        from psycopg2 import sql

        query = sql.SQL("COPY (SELECT {} FROM ONLY {} WHERE ctid = {}) TO STDOUT")
        rows: list[bytes] = []
        self._session.copy_out(
            query.format(sql.Identifier(column.name), self._held.identifier, sql.Literal(self._ctid)),
            rows.append,
        )
        return (rows[0][:-1],)

    def _asked(self, expressions: list[Any]) -> list[tuple[Any, ...]]:
        from psycopg2 import sql

        query = sql.SQL("SELECT {} FROM ONLY {} WHERE ctid = {}").format(
            sql.SQL(", ").join(expressions), self._held.identifier, sql.Literal(self._ctid)
        )
        return list(self._session.rows(query))

    def _slices(self, column: HeldColumn) -> Iterator[bytes]:
        is_bytes = column.base == BYTEA
        if is_bytes:
            yield b"\\\\x"
        decoder = codecs.getincrementaldecoder("utf-8")()
        for part in self._parts(column):
            yield part.hex().encode() if is_bytes else string_part(_proved(decoder, part, self._held.name))

    def _parts(self, column: HeldColumn) -> Iterator[bytes]:
        """Send one value: unpacked once on the server, and fetched slice by slice."""
        from psycopg2 import sql

        name = sql.Identifier(column.name)
        if column.base == BYTEA:
            whole = sql.SQL("{}::pg_catalog.bytea").format(name)
        else:
            whole = sql.SQL("pg_catalog.convert_to(pg_catalog.format('%s', {}), 'UTF8')").format(
                column.selected
            )
        query = sql.SQL(
            "DECLARE slices NO SCROLL CURSOR FOR WITH whole AS MATERIALIZED (SELECT {} AS v FROM ONLY {} WHERE ctid = {})"
            " SELECT pg_catalog.substr(v, i, {size}) FROM whole,"
            " pg_catalog.generate_series(1, pg_catalog.octet_length(v), {size}) i"
        ).format(whole, self._held.identifier, sql.Literal(self._ctid), size=sql.Literal(SLICE_BYTES))
        self._session.execute(query)
        while found := self._session.rows("FETCH 1 FROM slices"):
            yield bytes(found[0][0])
        self._session.execute("CLOSE slices")


def _proved(decoder: codecs.IncrementalDecoder, part: bytes, table: str) -> bytes:
    try:
        decoder.decode(part)
    except UnicodeDecodeError as exc:
        raise no_text(table, str(exc)) from exc
    return part


def no_text(table: str, details: str) -> DumpFailed:
    """Return the refusal of text that is not UTF-8, which JSON is made of: a database without an encoding may hold any."""
    return DumpFailed(
        f"{table} holds text that is not UTF-8, and a rows file is",
        details=details,
        hint="back up by pg_dump, --format=custom, which keeps every byte",
    )
