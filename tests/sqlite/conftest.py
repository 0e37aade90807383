"""Places with little room and few rights."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from tests.disks import small_disk

from .databases import make, settings


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Half a megabyte of disk; only where `tests.disks.CAN_MOUNT`."""
    with small_disk(tmp_path / "small", "512k") as folder:
        yield folder


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder, and this process is nobody in particular while the test runs."""
    home = Path(tempfile.mkdtemp(prefix="dbtasks-rights-"))
    # as root, what is imported lazily has to be there before the interpreter's folder is out of reach
    (home / "warm").mkdir()
    make(home / "warm" / "app.db")
    warm = settings(home / "warm")
    made = dbtasks.backup(warm)
    dbtasks.restore(warm, dbtasks.plan_restore(warm, dbtasks.RestoreJob(made.id)))
    was_root = sys.platform != "win32" and os.geteuid() == 0
    if was_root:
        os.chown(home, 65534, 65534)
        os.setresuid(65534, 65534, 0)
    try:
        yield home
    finally:
        if was_root:
            os.setresuid(0, 0, 0)
        shutil.rmtree(home, ignore_errors=True)
