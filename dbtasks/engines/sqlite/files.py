"""Opening SQLite files safely, and finding out who else has one open."""

from __future__ import annotations

import os
import sqlite3
import string
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from ...errors import (
    ArchiveDamaged,
    Busy,
    DbTasksError,
    OperationFailed,
    Refused,
    StoreFull,
    TargetUnreachable,
)
from ...interrupts import is_waiting
from ...schemas import quoted

__all__ = [
    "COMMITTING",
    "HEADER",
    "SIDECARS",
    "connect",
    "folded",
    "has_header",
    "identifier",
    "is_one_byte",
    "opened",
    "openers",
    "patiently",
    "read_only_uri",
    "reading",
    "sidecar",
    "size_of",
    "translated",
    "writing",
]

HEADER = b"SQLite format 3\0"
SIDECARS = ("-wal", "-shm", "-journal")
"""What belongs to a database file: moved with it as one unit, never left beside another file."""
POLL_SECONDS = 0.02
RECOVERABLE = ("SQLITE_READONLY_ROLLBACK", "SQLITE_READONLY_RECOVERY", "SQLITE_READONLY_CANTINIT")
COMMITTING = ("SQLITE_READONLY_ROLLBACK",)
"""A commit between its two last steps looks like a crash to who may only read, when the journal stays as a file."""
COMMIT_SECONDS = 1.0
ASCII_LOWER = {ord(letter): letter.lower() for letter in string.ascii_uppercase}
LIVE_DAMAGED = (
    "see whether it is the file that is meant; db.restore puts a backup in the place of a damaged one"
)
T = TypeVar("T")


def connect(
    path: Path, mode: str, *, immutable: bool = False, across_threads: bool = False
) -> sqlite3.Connection:
    """Open by URI, so that a missing file is an error and never a new database."""
    return sqlite3.connect(
        _uri(path, mode, immutable=immutable),
        uri=True,
        timeout=0.0,
        isolation_level=None,
        check_same_thread=not across_threads,
    )


def has_header(path: Path) -> bool:
    """Whether a file begins as a database does, damaged or not, or is empty, which SQLite takes for one.

    SQLite looks first, but for a file of one byte. POSIX takes every lock of this process off a file when one descriptor
    of it is closed, and only SQLite knows what its other connections here have locked; on what is no database they hold
    nothing.

    Raises:
        OSError, TargetUnreachable: it may not be read.
    """
    if is_one_byte(path):
        return False
    try:
        with opened(path, "ro", immutable=True) as connection:
            connection.execute("PRAGMA schema_version").fetchone()
    except sqlite3.Error as exc:
        if not exc.sqlite_errorname.startswith(("SQLITE_NOTADB", "SQLITE_CANTOPEN")):
            return True
        with path.open("rb") as stream:
            return stream.read(len(HEADER)) in (b"", HEADER)
    return True


def is_one_byte(path: Path) -> bool:
    """Whether a file holds a single byte: SQLite takes it for an empty database and writes over it.

    Raises:
        TargetUnreachable: this user may not look there.
    """
    return size_of(path) == 1


def read_only_uri(path: Path) -> str:
    """Return how ATTACH names a file at rest, so that nothing is written beside it."""
    return _uri(path, "ro", immutable=True)


def _uri(path: Path, mode: str, *, immutable: bool) -> str:
    return f"file:{quote(os.fsencode(path))}?mode={mode}{'&immutable=1' if immutable else ''}"


@contextmanager
def opened(
    path: Path, mode: str, *, immutable: bool = False, across_threads: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open as `connect` does, for a block."""
    with closing(connect(path, mode, immutable=immutable, across_threads=across_threads)) as connection:
        yield connection


@contextmanager
def reading(
    path: Path, timeout: float, *, across_threads: bool = False, as_it_lies: bool = False
) -> Iterator[sqlite3.Connection]:
    """Open a live database for reading; `across_threads`: another thread may go on with it, one at a time.

    `as_it_lies`: a write that broke off is not rolled back, as SQLite does it for everybody who reads.

    Raises:
        TargetUnreachable: no such file, or this user may not look. Busy: locked longer than `timeout` seconds.
        ArchiveDamaged: not a SQLite database, or malformed. Refused: it cannot be read as it lies.
    """
    if size_of(path) is None or not path.is_file():
        is_folder = path.is_dir()
        raise TargetUnreachable(
            f"{path} is a folder, and a SQLite database is a file"
            if is_folder
            else f"there is no SQLite database at {path}",
            hint="check the path: relative ones are relative to the project root",
        )
    with translated(path, LIVE_DAMAGED):
        if as_it_lies:
            _refuse_to_roll_back(path, timeout)
        mode = _mode(path, timeout)
    with translated(path, LIVE_DAMAGED), opened(path, mode, across_threads=across_threads) as connection:
        connection.execute("PRAGMA query_only=ON")
        patiently(lambda: _look(connection), timeout, passing=COMMITTING)
        connection.execute(f"PRAGMA busy_timeout={int(timeout * 1000)}")
        yield connection


def size_of(path: Path) -> int | None:
    """Return how many bytes lie at a path; None where there is nothing.

    Raises:
        TargetUnreachable: this user may not look there.
    """
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise TargetUnreachable(
            f"cannot look for {path}: {exc.strerror}",
            hint="check the rights on the folders above it, and who runs this",
        ) from exc


def _look(connection: sqlite3.Connection) -> None:
    connection.execute("SELECT count(*) FROM sqlite_master").fetchone()


def patiently(act: Callable[[], T], timeout: float, *, passing: tuple[str, ...] = ()) -> T:
    """Repeat what a lock turns down, or an error that passes by itself, for so many seconds.

    SQLite's own waiting happens out of Python's sight: Ctrl-C would not be heard until it ends.
    """
    end = time.monotonic() + timeout
    while True:
        try:
            return act()
        except sqlite3.OperationalError as exc:
            busy = exc.sqlite_errorname.startswith(("SQLITE_BUSY", "SQLITE_LOCKED", *passing))
            if not busy or time.monotonic() > end:
                raise
        if is_waiting():
            raise KeyboardInterrupt
        time.sleep(POLL_SECONDS)


def _refuse_to_roll_back(path: Path, timeout: float) -> None:
    try:
        with opened(path, "ro") as connection:
            patiently(lambda: _look(connection), min(timeout, COMMIT_SECONDS), passing=COMMITTING)
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorname not in COMMITTING:
            # whoever opens it next says it
            return
        raise Refused(
            f"a write to {path.name} broke off: SQLite rolls it back, by {sidecar(path, '-journal').name}, for whoever reads",
            state="nothing was touched",
            hint="look at a copy of both files; or let the application, or anything but a dry run, open it once",
        ) from exc


def _mode(path: Path, timeout: float) -> str:
    """Open read-only wherever that can work and leaves nothing behind."""
    alone = not any(sidecar(path, suffix).exists() for suffix in SIDECARS)
    try:
        with opened(path, "ro") as connection:
            patiently(lambda: _look(connection), timeout)
            ((mode,),) = connection.execute("PRAGMA journal_mode")
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorname not in RECOVERABLE:
            raise
        # a crash left a journal: SQLite itself rolls it back when the file is opened for writing,
        # as the application's next start would
        return "rw"
    # a WAL database that was closed cleanly: a read-only connection cannot remove the -wal and -shm it has to create
    return "rw" if alone and mode == "wal" and _is_writable(path) else "ro"


def _is_writable(path: Path) -> bool:
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)


@contextmanager
def writing(path: Path) -> Iterator[sqlite3.Connection]:
    """Open an existing database for writing; it waits for no lock, see `patiently`."""
    with translated(path), opened(path, "rw") as connection:
        yield connection


@contextmanager
def translated(path: Path, if_damaged: str = "") -> Iterator[None]:
    """Turn sqlite3's errors into ours."""
    try:
        yield
    except sqlite3.Error as exc:
        raise _translate(path, exc, if_damaged) from exc


def _translate(path: Path, exc: sqlite3.Error, if_damaged: str) -> DbTasksError:
    name = getattr(exc, "sqlite_errorname", "") or ""
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return Busy(
            f"{path} is locked by another process{_named(openers(path))}",
            hint="wait for it, or raise lock_timeout",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return ArchiveDamaged(
            f"{path} is not a readable SQLite database",
            details=str(exc),
            hint=if_damaged,
        )
    if name.startswith(("SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_AUTH", "SQLITE_READONLY")):
        return TargetUnreachable(
            f"cannot open {path}: {exc}", hint="check the rights on the file and its folder"
        )
    if name.startswith("SQLITE_FULL"):
        return StoreFull(f"cannot write {path}: no space left", hint="free some space")
    return OperationFailed(f"SQLite failed on {path}: {exc}")


def _named(pids: list[int]) -> str:
    return f" (process {', '.join(map(str, pids))} has it open)" if pids else ""


def sidecar(path: Path, suffix: str) -> Path:
    """Return where SQLite keeps this journal of a database file."""
    return path.with_name(f"{path.name}{suffix}")


def folded(name: str) -> str:
    """Return a name as SQLite compares names: only the letters of ASCII have two cases, Ä and ä are two."""
    return name.translate(ASCII_LOWER)


def identifier(name: str) -> str:
    """Quote a name for SQLite, for which there is no library function here."""
    return quoted(name)


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
