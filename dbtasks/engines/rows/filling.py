"""Rows of a document into tables, whichever engine's: each goes into one that waits for it, and as many come as it holds."""

from __future__ import annotations

from collections.abc import Collection

from ...errors import CountsDiffer, Refused
from ...models import Archive
from ...rows.file import Header

__all__ = ["none_of_its_tables", "prove_all_came", "prove_rows_came"]


def none_of_its_tables(archive: Archive, header: Header) -> Refused:
    """Return what is said of rows for which no table waits, or that come twice."""
    return Refused(f"{archive.path.name} holds rows of {header.name}, which is none of its tables")


def prove_rows_came(archive: Archive, table: str, came: int, held: int) -> None:
    """See that a table got every row that the document holds of it.

    Raises:
        CountsDiffer: it got others.
    """
    if came != held:
        raise CountsDiffer(f"{came:,} rows came into {table}, and {archive.path.name} holds {held:,} of it")


def prove_all_came(archive: Archive, waiting: Collection[str]) -> None:
    """See that no table is left that waits for rows: it was emptied for them.

    Raises:
        Refused: the document does not hold them.
    """
    if waiting:
        raise Refused(f"{archive.path.name} does not hold the rows of {', '.join(sorted(waiting))}")
