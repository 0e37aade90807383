"""Run locks: one run at a time may change the backups of one database.

The kernel holds the lock, so it is gone with its holder, however that ended;
there is no lock file to delete. Children that write archives inherit the
descriptor: while an orphaned pg_dump lives, the lock is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from .clock import utc_now
from .errors import Busy, StoreUnusable
from .models import Identity

__all__ = ["run_lock", "try_lock"]

FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
FAR = 1 << 30


@contextmanager
def run_lock(store_root: Path, identity: Identity, task: str) -> Iterator[int]:
    """Hold the run lock of one database; yields the descriptor children should inherit.

    Raises:
        Busy: another run holds it; says who and since when.
        StoreUnusable: the lock file cannot be opened.
    """
    folder = store_root / ".locks"
    path = folder / f"{_slug(identity)}.lock"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(path, FLAGS, 0o600)
    except OSError as exc:
        raise StoreUnusable(f"cannot open the lock file {path}: {exc.strerror}") from exc
    try:
        _take(descriptor, path, identity)
        _sign(descriptor, task)
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, identity: Identity) -> None:
    try:
        taken = try_lock(descriptor)
    except OSError as exc:
        raise StoreUnusable(
            f"cannot lock {path}: {exc.strerror}", hint="set backup_dir to a folder on a local file system"
        ) from exc
    if not taken:
        raise Busy(f"another run is working on {identity}", hint=_holder(descriptor))


def try_lock(descriptor: int) -> bool:
    """Take the kernel's exclusive lock on an open file without waiting."""
    if sys.platform == "win32":
        import msvcrt

        try:
            # locks are mandatory there: a byte far behind the text keeps the text readable
            os.lseek(descriptor, FAR, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _slug(identity: Identity) -> str:
    readable = re.sub(r"[^A-Za-z0-9_-]+", "-", identity.name)[:40]
    # two databases may share a readable part; the digest keeps their locks apart
    whole = f"{identity.engine}\0{identity.server}\0{identity.name}".encode("utf-8", "surrogateescape")
    return f"{readable}-{hashlib.sha256(whole).hexdigest()[:10]}"


def _sign(descriptor: int, task: str) -> None:
    text = json.dumps({"pid": os.getpid(), "task": task, "since": utc_now().isoformat(timespec="seconds")})
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode())
    except OSError:
        # a full disk costs the name in somebody's message, not the lock
        pass


def _holder(descriptor: int) -> str:
    """Describe the holder from what it wrote; for the message only, the kernel decides."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        seen = json.loads(os.read(descriptor, 1000))
        since = datetime.fromisoformat(seen["since"]).astimezone()
        return f"{seen['task']} runs since {since:%Y-%m-%d %H:%M:%S} (process {int(seen['pid'])}); wait for it to end"
    except (OSError, ValueError, KeyError, TypeError):
        return "wait for it to end"
