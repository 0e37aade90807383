"""Rows of a SQLite backup into tables of PostgreSQL: each value spelled as its column's type takes it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from ....events import OnEvent, Progress
from ....models import Archive
from ....rows import Batch
from ....rows.across.convert import csv_from_sqlite
from ....rows.file import FileSource
from ....rows.postgres.spelling import split_name
from ....rows.schema import Table
from ....sessions import PsycopgSession
from ...rows.across import Converted
from ...rows.archive import Head, opened_rows, prove_header
from ...rows.filling import prove_rows_came
from .copy import copy_rows

__all__ = ["fill_across"]


def fill_across(
    session: PsycopgSession, converted: Converted, head: Head, archive: Archive, on_event: OnEvent
) -> None:
    """Bring in every table of the document, in the caller's transaction; `head` is the document's own.

    Raises:
        LoadFailed: a row does not go in. CountsDiffer: other rows came than the document has.
    """
    with opened_rows(archive) as document:
        for header in document.headers():
            prove_header(archive, head, header)
            name = converted.names[header.name]
            with closing(_told(document, header.name, on_event)) as batches:
                csv = csv_from_sqlite(batches, converted.hows[header.name])
                came = copy_rows(session, split_name(name), header.columns, csv, told=header.name)
            prove_rows_came(archive, name, came, document.row_count)


def _told(document: FileSource, name: str, on_event: OnEvent) -> Generator[Batch]:
    for batch in document.rows(Table(name)):
        yield batch
        on_event(Progress(document.size_bytes))
