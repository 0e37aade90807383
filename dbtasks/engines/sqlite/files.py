"""Opening SQLite files safely, and what can be asked of one."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ...errors import ArchiveDamaged, Busy, DbTasksError, OperationFailed, StoreFull, TargetUnreachable
from ...interrupts import is_waiting
from ...models import DatabaseFacts
from ...plans import TargetState
from ...revisions import find_revision

__all__ = [
    "HEADER",
    "SIDECARS",
    "broken_foreign_keys",
    "count_rows",
    "facts_of",
    "identifier",
    "integrity_problems",
    "opened",
    "openers",
    "patiently",
    "reading",
    "state_of",
    "table_names",
    "translated",
    "writing",
]

HEADER = b"SQLite format 3\0"
SIDECARS = ("-wal", "-shm", "-journal")
"""What belongs to a database file: moved with it as one unit, never left beside another file."""
POLL_SECONDS = 0.02
RECOVERABLE = ("SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT")
T = TypeVar("T")


@contextmanager
def opened(path: Path, mode: str, *, immutable: bool = False) -> Iterator[sqlite3.Connection]:
    """Open by URI, so that a missing file is an error and never a new database."""
    uri = f"file:{quote(os.fsencode(path))}?mode={mode}{'&immutable=1' if immutable else ''}"
    connection = sqlite3.connect(uri, uri=True, timeout=0.0, isolation_level=None)
    with closing(connection):
        yield connection


@contextmanager
def reading(path: Path, timeout: float) -> Iterator[sqlite3.Connection]:
    """Open a live database for reading.

    Raises:
        TargetUnreachable: no such file. Busy: locked longer than `timeout` seconds.
        ArchiveDamaged: not a SQLite database, or malformed.
    """
    if not path.is_file():
        raise TargetUnreachable(
            f"there is no SQLite database at {path}",
            hint="check the path: relative ones are relative to the project root",
        )
    with translated(path), opened(path, _mode(path, timeout)) as connection:
        connection.execute("PRAGMA query_only=ON")
        patiently(lambda: _look(connection), timeout)
        connection.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        yield connection


def _look(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def patiently(act: Callable[[], T], timeout: float) -> T:
    """Repeat what a lock turns down, for so many seconds.

    SQLite's own waiting happens out of Python's sight: Ctrl-C would not be heard until it ends.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return act()
        except sqlite3.OperationalError as exc:
            busy = exc.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
            if not busy or time.monotonic() > end:
                raise
        if is_waiting():
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)


def _mode(path: Path, timeout: float) -> str:
    """Open read-only wherever that can work and leaves nothing behind."""
    if _rests_in_wal_mode(path):
        # a read-only connection could not remove the -wal and -shm it has to create
        return "rw"
    try:
        with opened(path, "ro") as connection:
            patiently(lambda: _look(connection), timeout)
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorname not in RECOVERABLE:
            raise
        # a crash left a journal: SQLite itself rolls it back when the file is opened for writing,
        # as the application's next start would
        return "rw"
    return "ro"


def _rests_in_wal_mode(path: Path) -> bool:
    """Whether it is a WAL database that was closed cleanly and could be opened for writing."""
    if any(_sidecar(path, suffix).exists() for suffix in SIDECARS):
        return False
    try:
        with path.open("rb") as stream:
            versions = stream.read(20)[18:]
    except OSError:
        return False
    return versions == b"\2\2" and os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing database for writing; it waits for no lock, see `patiently`."""
    with translated(path), opened(path, "rw") as connection:
        yield connection


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(path, exc) from exc


def _translate(path: Path, exc: sqlite3.Error) -> DbTasksError:
    name = getattr(exc, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(
            f"{path} is locked by another process{_named(openers(path))}",
            hint="wait for it, or raise lock_timeout",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return ArchiveDamaged(f"{path} is not a readable SQLite database", details=str(exc))
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_READONLY")):
        return TargetUnreachable(
            f"cannot open {path}: {exc}", hint="check the rights on the file and its folder"
        )
    if name.startswith("SQLITE_FULL"):
        return StoreFull(f"cannot write {path}: no space left", hint="free some space")
    return OperationFailed(f"SQLite failed on {path}: {exc}")


def _named(pids: list[int]) -> str:
    return f" (process {', '.join(map(str, pids))} has it open)" if pids else ""


def state_of(path: Path, timeout: float) -> TargetState:
    """Look at a file: missing, empty (no tables), damaged, or present.

    Raises:
        Busy: it cannot be looked at because it is locked.
    """
    if not path.exists():
        return TargetState.MISSING
    if path.stat().st_size == 0 and not any(_sidecar(path, s).exists() for s in SIDECARS):
        return TargetState.EMPTY
    try:
        with reading(path, timeout) as connection:
            if integrity_problems(connection):
                return TargetState.DAMAGED
            return TargetState.PRESENT if _objects(connection) else TargetState.EMPTY
    except ArchiveDamaged:
        return TargetState.DAMAGED


def _sidecar(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


def _objects(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(count)


def integrity_problems(connection: sqlite3.Connection) -> list[str]:
    """Run the full integrity check; returns what it found, empty when all is well."""
    found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(10)")]
    return [] if found == ["ok"] else found


def broken_foreign_keys(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Say for each table how often its foreign keys do not hold: the same words for the same file."""
    texts = []
    for table in table_names(connection):
        query = "SELECT count(*) FROM pragma_foreign_key_check(?)"
        try:
            (rows,) = connection.execute(query, (table,)).fetchone()
        except sqlite3.OperationalError as exc:
            # a key that refers to no unique columns is SQLite's to turn down, not ours: the file is whole
            texts.append(f"{table}: its foreign keys cannot be checked ({exc})")
            continue
        if rows:
            texts.append(f"{table}: {_times(rows)} a row breaks a foreign key")
    return tuple(texts)


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def facts_of(connection: sqlite3.Connection, path: Path, migration_table: str | None) -> DatabaseFacts:
    """Ask an open database about itself."""
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    tables = table_names(connection)
    columns = {table: _columns(connection, table) for table in tables}
    sidecars = sum(s.stat().st_size for s in (_sidecar(path, x) for x in SIDECARS) if s.is_file())
    return DatabaseFacts(
        server_version=f"SQLite {sqlite3.sqlite_version}",
        size_bytes=path.stat().st_size + sidecars,
        tables=tuple(tables),
        encoding=str(encoding),
        revision=find_revision(
            columns, lambda table, wanted: _select(connection, table, wanted), migration_table
        ),
    )


def table_names(connection: sqlite3.Connection) -> list[str]:
    """List the tables that hold rows of the user's: no views, none of SQLite's own."""
    query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
    return [str(name) for (name,) in connection.execute(query)]


def count_rows(connection: sqlite3.Connection) -> dict[str, int]:
    """Count every table's rows, as one snapshot when the caller holds a transaction.

    Virtual tables whose module is not in this library are left out.
    """
    counts = {table: _count(connection, table) for table in table_names(connection)}
    return {table: rows for table, rows in counts.items() if rows is not None}


def _count(connection: sqlite3.Connection, table: str) -> int | None:
    try:
        (rows,) = connection.execute(f"SELECT count(*) FROM {identifier(table)}").fetchone()  # noqa: S608 - quoted below
    except sqlite3.OperationalError as exc:
        if _lacks_module(exc):
            return None
        raise
    return int(rows)


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    try:
        return [str(row[1]) for row in connection.execute(f"PRAGMA table_info({identifier(table)})")]
    except sqlite3.OperationalError as exc:
        if _lacks_module(exc):
            return []
        raise


def _lacks_module(exc: sqlite3.OperationalError) -> bool:
    # the code is the general SQLITE_ERROR; only the text tells
    return str(exc).startswith("no such module")


def _select(connection: sqlite3.Connection, table: str, columns: tuple[str, ...]) -> list[tuple[object, ...]]:
    wanted = ", ".join(identifier(column) for column in columns)
    return connection.execute(f"SELECT {wanted} FROM {identifier(table)}").fetchall()  # noqa: S608 - quoted


def identifier(name: str) -> str:
    """Quote a name for SQLite, whose rule (double the quotes) has no library function here."""
    return '"' + name.replace('"', '""') + '"'


def openers(path: Path) -> list[int]:
    """Return the processes that have the file open, as far as this user may see (Linux).

    Idle connections hold no lock, so this is the only way to know that moving
    the file would make an application write into a file without a name.
    """
    try:
        facts = path.stat()
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    except OSError:
        return []
    return [pid for pid in pids if pid != os.getpid() and _has_open(pid, (facts.st_dev, facts.st_ino))]


def _has_open(pid: int, inode: tuple[int, int]) -> bool:
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False
    for descriptor in descriptors:
        try:
            facts = descriptor.stat()
        except OSError:
            continue
        if (facts.st_dev, facts.st_ino) == inode:
            return True
    return False
