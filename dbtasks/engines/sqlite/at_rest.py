"""A copy of the file's own bytes, where a read lock is enough to keep every writer off them.

In rollback-journal mode nobody writes to the file while somebody reads
(sqlite.org/lockingv3.html, 3.0), so its bytes are one state of the database.
In WAL mode a checkpoint may write beside a reader: that is for the backup API.

Another process copies: POSIX drops the locks of a whole process when it closes
any descriptor of the file (sqlite.org/howtocorrupt.html, 2.2), those of the
application's own connections with them.
"""

from __future__ import annotations

import os
import select
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, cast

from ...interrupts import is_waiting
from . import files

__all__ = ["copy_at_rest"]

LOOK_SECONDS = 0.1
BLOCK = 4096


def copy_at_rest(path: Path, copy: Path, timeout: float) -> bool:
    """Copy a database in rollback-journal mode into a new file, 0600, not synced yet; False: not this way.

    Writers wait as long as it takes, readers do not. After False nothing lies
    at `copy`, and only the backup API can tell what was the matter.

    Raises:
        Busy, TargetUnreachable, ArchiveDamaged: as `files.reading`.
    """
    cp = shutil.which("cp") if os.name == "posix" else None
    if cp is None:
        return False
    before = _file(path)
    with files.reading(path, timeout) as source, _read_locked(source, timeout):
        if not _is_at_rest(source, path):
            return False
        os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        # what lies at the path now is what was opened, unless another file came in between
        if _run([cp, str(path.absolute()), str(copy)]) and _file(path) == before:
            return True
    copy.unlink()
    return False


def _file(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        facts = path.stat()
        return facts.st_dev, facts.st_ino
    return None


@contextmanager
def _read_locked(source: sqlite3.Connection, timeout: float) -> Iterator[None]:
    source.execute("PRAGMA busy_timeout=0")
    source.execute("BEGIN")
    try:
        look = "SELECT count(*) FROM sqlite_master"
        files.patiently(lambda: source.execute(look).fetchone(), timeout, passing=files.COMMITTING)
        yield
    finally:
        source.execute("ROLLBACK")


def _is_at_rest(source: sqlite3.Connection, path: Path) -> bool:
    """Whether nothing but the file's own pages make the database; a file of no bytes is none yet."""
    ((mode,),) = source.execute("PRAGMA journal_mode")
    ((pages,),) = source.execute("PRAGMA page_count")
    ((page_bytes,),) = source.execute("PRAGMA page_size")
    return bool(mode != "wal" and pages and path.stat().st_size == pages * page_bytes)


def _run(argv: list[str]) -> bool:
    """Return whether it ended well; it does not outlive this call, nor an exception in it.

    Should this process be killed, it writes on in a draft that may be swept at the same time: into a file
    without a name, and nobody waits for it.
    """
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={},
        start_new_session=True,
        # a limit on a file's size is an error of its own then, and no signal with a core file
        restore_signals=False,
    )
    with process:
        try:
            _until_closed(cast(IO[bytes], process.stderr))
        except BaseException:
            process.kill()
            raise
    return process.returncode == 0


def _until_closed(stream: IO[bytes]) -> None:
    """Wait until a child has closed its stderr.

    Ctrl-C in the middle of Popen.wait() may leave a lock of its own taken, on which the next wait() hangs.
    """
    while not select.select((stream,), (), (), LOOK_SECONDS)[0] or os.read(stream.fileno(), BLOCK):
        if is_waiting():
            raise KeyboardInterrupt
