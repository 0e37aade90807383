"""Small disks: a tmpfs where this user may mount one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["CAN_MOUNT", "fill_up", "small_disk"]


@contextmanager
def small_disk(folder: Path, size: str = "256k", mode: str = "700") -> Iterator[Path]:
    """Mount a disk of this size at a new folder; yields the folder."""
    folder.mkdir()
    options = f"size={size},mode={mode}"
    command = ["mount", "-t", "tmpfs", "-o", options, "dbtasks", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def fill_up(disk: Path, *, leave: int = 0) -> Path:
    """Write a file that leaves this many bytes free; a file of that name is replaced."""
    filler = disk / "filler"
    filler.unlink(missing_ok=True)
    state = os.statvfs(disk)
    size = state.f_bavail * state.f_frsize - leave
    with filler.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, max(size, 1))
    return filler


def _can_mount() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as folder:
        try:
            with small_disk(Path(folder) / "disk"):
                return True
        except subprocess.CalledProcessError:
            return False


CAN_MOUNT = _can_mount()
"""Whether a small disk can be had here: root, and not a container without the right."""
