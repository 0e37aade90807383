"""Drafts: private folders beside the archives, each held by a kernel lock while its run lives.

Whoever opens a draft and whoever sweeps dead ones meet only through the lock
file in it. A draft counts as opened when its lock is held and the file still
lies in the folder; a sweep removes nothing it could not lock first.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import StoreUnusable
from ..interrupts import held_back
from ..lock import try_lock
from .files import NOFOLLOW, create_new, translated, unusable

__all__ = [
    "LOCK",
    "LocalDraft",
    "claim_draft",
    "dead_drafts",
    "discard_draft",
    "drafts_in",
    "open_draft",
    "sweep_drafts",
]

SUFFIX = ".draft"
NAME = re.compile(r"\.[0-9a-f]{16}\.draft")
LOCK = "lock"
ATTEMPTS = 20
"""Sweeps that may come between making a folder and locking it."""


class LocalDraft:
    """A private folder inside a type's folder; see `stores.Draft`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.path = folder / "archive"
        self.globals_path = folder / "globals"
        self.lock = lock
        self.stays = False
        """Whether it lies on as one of a dead run when the block ends."""

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """Open the archive for writing; synced to disk on a clean exit."""
        with (
            translated(f"cannot write {self.path}"),
            os.fdopen(create_new(self.path), "wb") as stream,
        ):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())


@contextmanager
def open_draft(home: Path) -> Iterator[LocalDraft]:
    """Make a draft in a folder; gone when the block ends, however it ends, unless it says that it stays.

    Raises:
        StoreUnusable: the folder cannot be written.
        StoreFull: no space left.
    """
    draft: LocalDraft | None = None
    try:
        # Ctrl-C between making the folder and knowing of it would leave it behind
        with held_back():
            draft = LocalDraft(*_locked_folder(home))
        yield draft
    except OSError as exc:
        if draft is None:
            raise unusable(home, exc) from exc
        raise
    finally:
        if draft is not None:
            with held_back():
                if draft.stays:
                    os.close(draft.lock)
                else:
                    discard_draft(draft.folder, draft.lock)


def drafts_in(home: Path) -> list[Path]:
    """Return the drafts in a folder, living and dead."""
    return sorted(path for path in home.glob(f".*{SUFFIX}") if NAME.fullmatch(path.name))


def dead_drafts(home: Path) -> list[Path]:
    """Return the drafts in a folder that no run holds; nothing is changed."""
    return [folder for folder in drafts_in(home) if not folder.is_symlink() and _is_dead(folder)]


def _is_dead(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | NOFOLLOW)
    except FileNotFoundError:
        # its run died before it made the lock, or is about to make it
        return True
    except OSError:
        return False
    try:
        return try_lock(lock)
    finally:
        os.close(lock)


def claim_draft(folder: Path) -> int | None:
    """Take the lock of a draft whose run is dead; None where it lives or is no draft of ours."""
    if folder.is_symlink():
        return None
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | NOFOLLOW)
    except FileNotFoundError:
        # its run died before it made the lock, or is about to make it and will start over:
        # rmdir takes an empty folder only
        _quietly(folder.rmdir)
        return None
    except OSError:
        return None
    if try_lock(lock):
        return lock
    os.close(lock)
    return None


def discard_draft(folder: Path, lock: int) -> None:
    """Remove a draft, its lock last: what is left of it after a kill can still be swept."""
    try:
        inside = [path for path in folder.iterdir() if path.name != LOCK]
    except OSError:
        inside = []
    for path in inside:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            _quietly(path.unlink)
    whole = not any(path.exists() for path in inside)
    # while the lock is held: let go first, who has just made this draft could take the lock, and lose the folder
    if whole and sys.platform != "win32":
        _remove_empty(folder)
    os.close(lock)
    if whole and sys.platform == "win32":
        # it removes no file that is open
        _remove_empty(folder)


def _remove_empty(folder: Path) -> None:
    _quietly((folder / LOCK).unlink)
    _quietly(folder.rmdir)


def sweep_drafts(home: Path) -> None:
    """Remove the drafts of dead runs in a folder that is not a store's."""
    for folder in drafts_in(home):
        lock = claim_draft(folder)
        if lock is not None:
            discard_draft(folder, lock)


def _locked_folder(home: Path) -> tuple[Path, int]:
    for _ in range(ATTEMPTS):
        folder = home / f".{secrets.token_hex(8)}{SUFFIX}"
        folder.mkdir(mode=0o700)
        try:
            lock = create_new(folder / LOCK)
        except FileNotFoundError:
            continue
        except OSError:
            _quietly(folder.rmdir)
            raise
        if _holds(lock, folder / LOCK):
            return folder, lock
        os.close(lock)
    raise StoreUnusable(
        f"drafts in {home} are removed while they are made", hint="is another program at work?"
    )


def _holds(lock: int, path: Path) -> bool:
    try:
        return try_lock(lock) and os.path.samestat(os.fstat(lock), path.lstat())
    except FileNotFoundError:
        return False


def _quietly(remove: Callable[[], None]) -> None:
    try:
        remove()
    except OSError:
        # somebody else was faster, or the next sweep will do it
        pass
