"""What a rows backup and a SQLite file hold, for a comparison: the file as far as such a backup would tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....holdings import Holdings
from ....models import Archive
from ....rows.sqlite.schema import describe
from ...rows.archive import head_of_rows
from ...rows.holdings import document_holdings, older_holdings
from .. import files
from ..holdings import as_told_by_rows, holdings_here
from .older import place_older

if TYPE_CHECKING:
    from .. import SqliteEngine

__all__ = ["holdings_beside"]


def holdings_beside(engine: SqliteEngine, archive: Archive) -> tuple[Holdings, Holdings]:
    """See `Engine.holdings_beside`; one read transaction."""
    head = head_of_rows(archive)
    ours = None if head.older else document_holdings(archive)
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        connection.execute("BEGIN")
        theirs = as_told_by_rows(connection, holdings_here(engine, connection))
        if ours is not None:
            return ours, theirs
        placed, told = place_older(connection, archive, head)
        return older_holdings(archive, placed, told, describe(connection, theirs.tables), theirs)
