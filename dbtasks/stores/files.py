"""Files of a store, opened with care: private from the first byte, never through a link, errors in our words."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import ArchiveDamaged, DbTasksError, NotFound, OperationFailed, StoreFull, StoreUnusable

__all__ = [
    "MAKE_WRITABLE",
    "NOFOLLOW",
    "create_new",
    "is_plain_file",
    "nearest",
    "open_archive",
    "refuse_others",
    "sync",
    "translated",
    "unusable",
    "why_unusable",
    "write_new",
]

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
BINARY = getattr(os, "O_BINARY", 0)
NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | BINARY | getattr(os, "O_CLOEXEC", 0)
# without O_NONBLOCK a named pipe in an archive's place would hold us for ever
READ = os.O_RDONLY | NOFOLLOW | BINARY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
MAKE_WRITABLE = "make it writable for this user, or set backup_dir to a folder that is"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def open_archive(path: Path) -> BinaryIO:
    """Open a file of the store for reading, without following a link in its place.

    Raises:
        NotFound: it is not there. ArchiveDamaged: it is not a plain file.
    """
    try:
        descriptor = os.open(path, READ)
    except FileNotFoundError as exc:
        raise NotFound(f"{path} is not there") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ArchiveDamaged(f"{path} is a symbolic link, not an archive") from exc
        raise StoreUnusable(f"cannot read {path}: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArchiveDamaged(f"{path} is not a plain file")
    return os.fdopen(descriptor, "rb")


def create_new(path: Path) -> int:
    """Create a file that does not exist yet, 0600, and return its descriptor."""
    return os.open(path, NEW, 0o600)


def write_new(path: Path, data: bytes) -> None:
    """Write a small new file, 0600, synced to disk."""
    with os.fdopen(create_new(path), "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def is_plain_file(path: Path) -> bool:
    """Whether a file lies there itself, not a link to one."""
    return path.is_file() and not path.is_symlink()


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to disk; folders cannot be opened on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the file system's errors into ours."""
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            raise StoreFull(
                f"{what}: no space left",
                state="nothing was published; earlier backups are untouched",
                hint="free some space, or move backup_dir to a larger disk",
            ) from exc
        raise OperationFailed(f"{what}: {exc.strerror or exc}") from exc


def why_unusable(folder: Path) -> str:
    """Say why backups could not be written to a folder, by looking only; empty where nothing stands in the way."""
    found = nearest(folder)
    if found == folder and not folder.is_dir():
        return f"backup_dir {folder} is not a folder"
    if not os.access(found, os.W_OK | os.X_OK):
        return f"backup_dir {folder} cannot be written: {found} is not writable for this user"
    return ""


def refuse_others(root: Path, mode: int) -> None:
    """See that nobody else may write to the backup folder.

    Raises:
        StoreUnusable: somebody may; the hint takes the right away.
    """
    if mode & (stat.S_IWOTH | stat.S_IWGRP) and not mode & stat.S_ISVTX and os.name == "posix":
        raise StoreUnusable(f"others may write to the backup folder {root}", hint=f"chmod go-w {root}")


def nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: where it would be made."""
    return next((place for place in (folder, *folder.parents) if _is_seen(place)), folder)


def _is_seen(place: Path) -> bool:
    # pathlib raises where a folder above may not be entered
    try:
        return place.exists()
    except OSError:
        return False


def unusable(path: Path, exc: OSError) -> DbTasksError:
    """Say why nothing can be written to a folder."""
    if exc.errno in FULL:
        return StoreFull(f"cannot create {path}: no space left", hint="free some space, or move backup_dir")
    if exc.errno in (errno.EEXIST, errno.ENOTDIR):
        return StoreUnusable(
            f"the backup folder {path} is a file, or lies in one", hint="set backup_dir to a folder"
        )
    if exc.errno == errno.ENOENT:
        # not for a missing parent: those are made
        return StoreUnusable(
            f"the backup folder {path} cannot be made: nothing can be created there",
            hint="set backup_dir to another folder",
        )
    return StoreUnusable(
        f"cannot write to the backup folder {path}: {exc.strerror}",
        hint=MAKE_WRITABLE,
    )
