"""A SQLite database that is left for another one: read in one snapshot, from the first look at its values to the last proof."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...errors import UsageError
from ...events import OnEvent, Phase, RowsSoFar, ignore
from ...models import SqliteTarget
from ...nouns import many
from ...rows.migration.survey import Survey
from ...rows.schema import PortableSchema, Table
from ...rows.sqlite.schema import beside_tables, describe, plain_tables, quoted
from . import facts, files

__all__ = ["LeavingRows", "Selection", "leaving_rows"]

WAL_HEADER_BYTES = 32
NAMES = "SELECT name FROM sqlite_master"


@dataclass(frozen=True)
class Selection:
    """Which tables are meant; without a word, all of them."""

    tables: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class LeavingRows:
    """The tables that go, within one read transaction that the caller's block holds."""

    def __init__(self, path: Path, connection: sqlite3.Connection, mark: str, selection: Selection) -> None:
        self.path = path
        self.mark = mark
        """Is another one as soon as somebody has written to the database."""
        self.connection = connection
        """Within the transaction; COPY reads it from a thread of its own."""
        plain = plain_tables(connection, facts.table_names(connection))
        self.tables: tuple[str, ...] = _chosen(plain, selection)
        self.left_out: tuple[str, ...] = tuple(name for name in plain if name not in self.tables)
        """Because that was asked for."""
        self.schema: PortableSchema = describe(connection, sorted(self.tables))
        """Of the tables that go."""
        self.beside: tuple[tuple[str, str], ...] = beside_tables(connection)
        """What is in the database beside tables, by kind and name."""
        self.names = frozenset(str(name) for (name,) in connection.execute(NAMES))
        """Of all that is in the database, and of what is left out too: a table's new name is none of them."""

    def read(self, survey: Survey, on_event: OnEvent = ignore) -> Survey:
        """Let a survey learn what the values of every column are, in one pass over all rows."""
        on_event(Phase("read", f"{self.path.name}, {many(len(self.tables), 'table')}"))
        done = 0

        def told(table: Table, count: int) -> None:
            nonlocal done
            del table
            done += count
            on_event(RowsSoFar(done))

        survey.read(self.connection, told)
        return survey

    def count(self, name: str) -> int:
        """Count the rows of one table."""
        ((count,),) = self.connection.execute(f"SELECT count(*) FROM {quoted(name)}")  # noqa: S608 - quoted
        return int(count)


@contextmanager
def leaving_rows(
    target: SqliteTarget,
    lock_timeout: float,
    selection: Selection | None = None,
    *,
    as_it_lies: bool = False,
) -> Iterator[LeavingRows]:
    """Hold one read transaction: in WAL mode writers go on meanwhile, otherwise they wait.

    `as_it_lies`: a write that broke off is not rolled back first.

    Raises:
        TargetUnreachable: there is no such file. Busy: it stayed locked. ArchiveDamaged: it is no database.
        UsageError: there is no such table. Refused: it cannot be read as it lies.
    """
    reading = files.reading(target.path, lock_timeout, across_threads=True, as_it_lies=as_it_lies)
    with reading as connection:
        mark = _mark(target.path)
        connection.execute("BEGIN")
        # the snapshot is taken by the first statement that reads
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        yield LeavingRows(target.path, connection, mark, selection or Selection())


def _mark(path: Path) -> str:
    """Return what changes with every write: when the file was written, and where its write-ahead log stands.

    The file's own counter would say it too, but not without a descriptor, and closing that would take SQLite's locks off.
    """
    digest = hashlib.sha256()
    seen = path.stat()
    digest.update(f"{seen.st_ino} {seen.st_size} {seen.st_mtime_ns}".encode())
    log = files.sidecar(path, "-wal")
    if files.size_of(log):
        seen = log.stat()
        digest.update(f"{seen.st_size} {seen.st_mtime_ns}".encode())
        with log.open("rb") as stream:
            digest.update(stream.read(WAL_HEADER_BYTES))
    return digest.hexdigest()


def _chosen(there: Sequence[str], selection: Selection) -> tuple[str, ...]:
    """Return the tables that are meant, in the order they are there.

    Raises:
        UsageError: one that was named is not there, or none is left.
    """
    by_name = {files.folded(name): name for name in there}
    meant: dict[str, set[str]] = {}
    for flag, named in (("--table", selection.tables), ("--exclude-table", selection.exclude)):
        unknown = [name for name in named if files.folded(name) not in by_name]
        if unknown:
            raise UsageError(
                f"{flag}={unknown[0]}: there is no such table",
                hint=f"there are {', '.join(sorted(there)[:10]) or 'none'}",
                state="nothing was touched",
            )
        meant[flag] = {by_name[files.folded(name)] for name in named}
    wanted = meant["--table"] or set(there)
    found = tuple(name for name in there if name in wanted - meant["--exclude-table"])
    if not found:
        raise UsageError("no table is left to migrate", state="nothing was touched")
    return found
