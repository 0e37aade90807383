"""Rows of a document into one table, in the caller's transaction: by COPY, and counted where a row is nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ....errors import LoadFailed, QueryFailed
from ....rows.lines import COPY_OPTIONS
from ....sessions import PsycopgSession
from ..script.statements import Name

__all__ = ["add_bare_rows", "copy_rows"]


def copy_rows(
    session: PsycopgSession, place: Name, columns: Sequence[str], csv: Iterator[bytes], *, told: str
) -> int:
    """Send rows as `lines.COPY_OPTIONS` describes them, and return how many came; `told` is what the table is called.

    Raises:
        LoadFailed: one does not go in. As the rows themselves.
    """
    from psycopg2 import sql

    query = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
        sql.Identifier(*place), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(COPY_OPTIONS)
    )
    try:
        return session.copy_in(query, csv)
    except QueryFailed as exc:
        raise LoadFailed(
            f"rows of {told} do not go in: {exc.message.partition(': ')[2] or exc.message}",
            details=exc.details,
        ) from exc


def add_bare_rows(session: PsycopgSession, place: Name, count: int) -> None:
    """Add rows to a table none of whose columns is given a value: there is no COPY of nothing."""
    from psycopg2 import sql

    query = sql.SQL("INSERT INTO {} SELECT FROM pg_catalog.generate_series(1, {})")
    session.execute(query.format(sql.Identifier(*place), sql.Literal(count)))
