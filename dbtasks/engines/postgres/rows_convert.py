"""Rows of a SQLite backup into tables of PostgreSQL: each value spelled as its column's type takes it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from ...errors import CountsDiffer, LoadFailed, QueryFailed
from ...events import OnEvent, Progress
from ...models import Archive
from ...rows import Batch
from ...rows.convert import csv_from_sqlite
from ...rows.file import FileSource
from ...rows.lines import COPY_OPTIONS
from ...rows.postgres_spelling import split_name
from ...rows.schema import Table
from ...sessions import PsycopgSession
from ..rows_across import Converted
from ..rows_archive import Head, opened_rows, prove_header

__all__ = ["fill_across"]


def fill_across(
    session: PsycopgSession, converted: Converted, head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Bring in every table of the document, in the caller's transaction; `head` is the document's own.

    Raises:
        LoadFailed: a row does not go in. CountsDiffer: other rows came than the document has.
    """
    from psycopg2 import sql

    with opened_rows(archive) as document:
        for header in document.headers():
            prove_header(archive, head, header)
            name = converted.names[header.name]
            query = sql.SQL("COPY {} ({}) FROM STDIN ({})").format(
                sql.Identifier(*split_name(name)),
                sql.SQL(", ").join(map(sql.Identifier, header.columns)),
                sql.SQL(COPY_OPTIONS),
            )
            with closing(_told(document, header.name, on_event)) as batches:
                try:
                    came = session.copy_in(query, csv_from_sqlite(batches, converted.hows[header.name]))
                except QueryFailed as exc:
                    raise LoadFailed(
                        f"rows of {header.name} do not go in: {exc.message.partition(': ')[2] or exc.message}",
                        details=exc.details,
                    ) from exc
            if came != document.row_count:
                raise CountsDiffer(
                    f"{came:,} rows came into {name}, and {archive.path.name} holds {document.row_count:,} of it"
                )


def _told(document: FileSource, name: str, on_event: OnEvent) -> Generator[Batch]:
    for batch in document.rows(Table(name)):
        yield batch
        on_event(Progress(document.size_bytes))
