"""Run locks: one run at a time may change the backups of one database.

The kernel holds the lock, so it is gone with its holder, however that ended;
there is no lock file to delete. The client tools a run starts inherit the
descriptor: while an orphaned pg_dump or pg_restore lives, the lock is held.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path

from .clock import utc_now
from .errors import Busy, StoreUnusable
from .models import Identity

__all__ = ["held_locks", "orphans", "run_lock", "signed_by_a_living_run", "try_lock"]

FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
FAR = 1 << 30
_held: ContextVar[tuple[int, ...]] = ContextVar("dbtasks_run_locks", default=())


def held_locks() -> tuple[int, ...]:
    """Return the descriptors of the run locks this run holds: what it starts must inherit them."""
    return _held.get()


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
    before = _held.get()
    try:
        _take(descriptor, path, identity)
        _sign(descriptor, task)
        _held.set((*before, descriptor))
        yield descriptor
    finally:
        _held.set(before)
        os.close(descriptor)


def signed_by_a_living_run(store_root: Path, identity: Identity) -> bool:
    """Whether who last took the lock still lives on this machine, judged without taking it; for messages only."""
    try:
        seen = json.loads((store_root / ".locks" / f"{_slug(identity)}.lock").read_bytes())
        return bool(seen.get("host") == socket.gethostname() and not _is_gone(int(seen["pid"])))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return False


def orphans(store_root: Path, identity: Identity) -> tuple[str, ...]:
    """Name the tools of a dead run that still work and so hold its lock; for messages only.

    Seen on Linux alone, and only what the caller may look at: an empty answer proves nothing.
    """
    path = store_root / ".locks" / f"{_slug(identity)}.lock"
    if signed_by_a_living_run(store_root, identity):
        return ()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(opened.samefile(path) for opened in (process / "fd").iterdir()):
                found.append(f"{(process / 'comm').read_text().strip()} (process {process.name})")
        except OSError:
            continue  # somebody else's, or it has just ended
    return tuple(found)


def _take(descriptor: int, path: Path, identity: Identity) -> None:
    try:
        taken = try_lock(descriptor)
    except OSError as exc:
        raise StoreUnusable(
            f"cannot lock {path}: {exc.strerror}", hint="set backup_dir to a folder on a local file system"
        ) from exc
    if not taken:
        raise Busy(f"another run is working on {identity}", hint=_holder(descriptor, path))


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
    since = utc_now().isoformat(timespec="seconds")
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname(), "task": task, "since": since})
    try:
        os.ftruncate(descriptor, 0)
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, text.encode())
    except OSError:
        # a full disk costs the name in somebody's message, not the lock
        pass


def _holder(descriptor: int, path: Path) -> str:
    """Describe the holder from what it wrote; for the message only, the kernel decides."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        seen = json.loads(os.read(descriptor, 1000))
        since = datetime.fromisoformat(seen["since"]).astimezone()
        task, pid = seen["task"], int(seen["pid"])
        if seen.get("host") == socket.gethostname() and _is_gone(pid):
            return (
                f"{task}, begun {since:%Y-%m-%d %H:%M:%S}, is dead (process {pid}), but a tool it started still works;"
                f" wait for it to end, or find it: fuser -v {shlex.quote(str(path))}"
            )
        return f"{task} runs since {since:%Y-%m-%d %H:%M:%S} (process {pid}); wait for it to end"
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return "wait for it to end"


def _is_gone(pid: int) -> bool:
    if os.name != "posix":
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        # somebody else's, but alive
        pass
    return False
