"""A private folder for what a client tool must read from a file: passwords, mostly.

It is gone when its block ends. Where the process was killed instead, the next
one that makes such a folder removes it: a kernel lock tells the dead from the
living.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OperationFailed, UsageError
from ..lock import try_lock
from ..secrets import Secret

__all__ = ["passfile", "private_folder", "write_private"]

PREFIX = "dbtasks-held-"
LOCK = "lock"
ATTEMPTS = 20
"""Runs that may take a folder for a dead one's between its making and its locking."""


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new 0700 folder among the temporary files; removed with all that is in it."""
    if os.name != "posix":
        # no open file could be renamed or removed there; its user's temporary folder is private
        with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    _remove_dead()
    folder, lock = _locked_folder()
    try:
        yield folder
    finally:
        _clear(folder)
        os.close(lock)


def write_private(path: Path, text: str) -> None:
    """Write a new file, 0600 from its first byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _locked_folder() -> tuple[Path, int]:
    for _ in range(ATTEMPTS):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            continue
        if _holds(lock, folder / LOCK):
            return folder, lock
        os.close(lock)
    raise OperationFailed(f"private folders in {tempfile.gettempdir()} are removed while they are made")


def _holds(lock: int, path: Path) -> bool:
    try:
        return try_lock(lock) and os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False


def _remove_dead() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # another user's, or one that is just going: not ours to clear
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            try:
                lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:
                # its run died before it made the lock, or is about to make it and will start over
                folder.rmdir()
                continue
            try:
                if try_lock(lock):
                    _clear(folder)
            finally:
                os.close(lock)


def _clear(folder: Path) -> None:
    """Remove a folder, its lock last: what a kill leaves of it the next run still knows as dead."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.name != LOCK:
                path.unlink()
        (folder / LOCK).unlink()
        folder.rmdir()


def passfile(password: Secret) -> str:
    """Return the text of PostgreSQL's password file that answers every server with one password.

    Raises:
        UsageError: the password holds a line break, which no such file can.
    """
    plain = password.reveal()
    if "\n" in plain or "\r" in plain:
        raise UsageError("the password holds a line break, which PostgreSQL's password file cannot")
    escaped = plain.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"
