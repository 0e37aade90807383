"""A private folder for what a client tool must read from a file: passwords, mostly.

It is gone when its block ends. Where the process was killed instead, the next
one that makes such a folder removes it: a kernel lock tells the dead from the
living.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import UsageError
from ..lock import try_lock
from ..secrets import Secret

__all__ = ["passfile", "private_folder", "write_private"]

MAKING, HELD = "dbtasks-making-", "dbtasks-held-"
LOCK = "lock"


@contextmanager
def private_folder() -> Iterator[Path]:
    """Yield a new 0700 folder among the temporary files; removed with all that is in it."""
    if os.name != "posix":
        # no open file could be renamed or removed there; its user's temporary folder is private
        with tempfile.TemporaryDirectory(prefix=HELD, ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    _remove_dead()
    made = Path(tempfile.mkdtemp(prefix=MAKING))
    lock = os.open(made / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try_lock(lock)
        # nobody may find it before its lock is held
        folder = made.rename(made.with_name(made.name.replace(MAKING, HELD)))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def write_private(path: Path, text: str) -> None:
    """Write a new file, 0600 from its first byte."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _remove_dead() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{HELD}*"):
        # another user's, or one that is just going: not ours to clear
        with suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
            try:
                if try_lock(lock):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


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
