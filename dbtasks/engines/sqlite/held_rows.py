"""The rows of a SQLite file, live or in an archive, for a comparison row by row; both are only read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ArchiveDamaged
from ...models import Archive, EngineName
from ...rows.comparison.held import HeldRows, SourceRows
from ...rows.sqlite.schema import plain_tables, virtual_tables
from ...rows.sqlite.source import SqliteSource
from . import check, facts, files

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["archive_rows", "file_rows", "live_rows"]

VIRTUAL = "it is a virtual table: its module makes what is in it"


@contextmanager
def live_rows(engine: SqliteEngine) -> Iterator[HeldRows]:
    """See `Engine.held_rows`: one read transaction, which in WAL mode no writer waits for."""
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        connection.execute("BEGIN")
        yield _rows(connection)


@contextmanager
def archive_rows(archive: Archive) -> Iterator[HeldRows]:
    """Open an archive's file read-only, unpacked into a private folder where it is compressed.

    Raises:
        ArchiveDamaged: it cannot be read. Refused: it is only a part of a database.
    """
    with check.laid_open(archive) as plain:
        try:
            with file_rows(plain) as held:
                yield held
        except ArchiveDamaged as exc:
            raise ArchiveDamaged(
                f"{archive.path.name} is not a readable SQLite database", details=exc.details
            ) from exc


@contextmanager
def file_rows(path: Path) -> Iterator[HeldRows]:
    """Open a file at rest, which nobody else writes to.

    Raises:
        ArchiveDamaged: it cannot be read.
    """
    with files.translated(path), files.opened(path, "ro", immutable=True) as connection:
        yield _rows(connection)


def _rows(connection: sqlite3.Connection) -> HeldRows:
    names = facts.table_names(connection)
    unread = dict.fromkeys((n for n in virtual_tables(connection) if n in names), VIRTUAL)
    return SourceRows(EngineName.SQLITE, SqliteSource(connection, plain_tables(connection, names)), unread)
