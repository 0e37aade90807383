"""One transaction in the live file, whatever it brings: it hears Ctrl-C, ends as a whole, and its failure leaves the file as it was."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...errors import ArchiveDamaged, Busy, LoadFailed, OperationFailed, Refused, StoreFull
from . import files

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["committed", "rolled_back", "told_as_load", "triggers_of"]

BREATH = 200_000
"""Steps of SQLite's machine between two looks for Ctrl-C."""


def _breathe() -> int:
    """Let Python look for signals while SQLite is at work; a Ctrl-C that is met here ends the statement."""
    return 0


@contextmanager
def rolled_back(live: sqlite3.Connection) -> Iterator[None]:
    """Roll the transaction back that is open when the block ends; meanwhile a Ctrl-C is heard."""
    live.set_progress_handler(_breathe, BREATH)
    try:
        yield
    finally:
        live.set_progress_handler(None, 0)
        # closing the connection ends what a broken one cannot roll back any more
        with suppress(sqlite3.Error):
            if live.in_transaction:
                live.execute("ROLLBACK")


@contextmanager
def told_as_load(engine: SqliteEngine) -> Iterator[None]:
    """Say of every failure that the live file is as it was; what SQLite turned down is a failed load."""
    name = engine.path.name
    state = f"{name} is as it was"
    try:
        with files.translated(engine.path):
            yield
    except (Busy, Refused, StoreFull) as exc:
        exc.state = exc.state or state
        raise
    except (ArchiveDamaged, OperationFailed) as exc:
        cause = exc.__cause__
        if getattr(cause, "sqlite_errorname", "") == "SQLITE_INTERRUPT":
            # the handler that looks for Ctrl-C was ended by it
            raise KeyboardInterrupt from exc
        if isinstance(exc, ArchiveDamaged) and not isinstance(cause, sqlite3.Error):
            # it is about what is loaded, not about the live file
            exc.state = exc.state or state
            raise
        raise LoadFailed(
            f"the load into {name} broke off: {exc.message}", details=exc.details, state=state
        ) from exc


def committed(engine: SqliteEngine, live: sqlite3.Connection) -> None:
    """Say COMMIT, as soon as no reader is in the way.

    Raises:
        Busy, LoadFailed: it was not taken; the file is as it was.
    """
    with told_as_load(engine):
        files.patiently(lambda: live.execute("COMMIT"), engine.settings.lock_timeout)


def triggers_of(live: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Return the triggers of a table, with the words that make them again, in their order."""
    query = "SELECT name, sql FROM main.sqlite_master WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE ORDER BY rowid"
    return [(str(name), str(sql)) for name, sql in live.execute(query, (table,))]
