"""Private folders for work in progress, outside the store's own drafts.

Each holds a locked file while its run lives. What a killed run left behind is
removed by the next one that works in the same place.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..lock import try_lock

__all__ = ["scratch"]

ENDING = ".scratch"
LOCK = "lock"


@contextmanager
def scratch(parent: Path, name: str) -> Iterator[Path]:
    """Yield a new folder of this purpose, 0700; it is gone when the block ends.

    Raises:
        OSError: it cannot be created there.
    """
    _sweep(parent, name)
    folder, lock = _create(parent, name)
    try:
        yield folder
    finally:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def _create(parent: Path, name: str) -> tuple[Path, int]:
    while True:
        folder = parent / f".{name}.{secrets.token_hex(8)}{ENDING}"
        folder.mkdir(mode=0o700)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if try_lock(lock) and (folder / LOCK).exists():
            return folder, lock
        os.close(lock)  # swept away in the moment before it was locked


def _sweep(parent: Path, name: str) -> None:
    for folder in parent.iterdir():
        if not (folder.name.startswith(f".{name}.") and folder.name.endswith(ENDING)):
            continue
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        except OSError:
            continue  # somebody else's, or not locked yet
        try:
            dead = try_lock(lock)
        finally:
            os.close(lock)
        if dead:
            shutil.rmtree(folder, ignore_errors=True)
