"""Private folders of runs that died: at whatever step, the next run leaves nothing of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dbtasks.runners.private import private_folder

CODE = """
import os, sys, tempfile
from tests.contract.dying import die_before
from dbtasks.runners.private import private_folder, write_private

tempfile.tempdir = sys.argv[1]
die_before(int(sys.argv[2]))
with private_folder() as folder:
    write_private(folder / "passfile", "secret")
os._exit(0)
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is POSIX's")
def test_g09_a_run_killed_at_any_step_around_its_password_file_leaves_none_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    step, left = 0, 0
    while subprocess.run([sys.executable, "-c", CODE, str(tmp_path), str(step)], check=False).returncode:
        left += bool(list(tmp_path.iterdir()))
        with private_folder() as living:
            assert list(tmp_path.iterdir()) == [living]
        step += 1
    assert left > 3, "no step of it left anything: the calls are others now"
    assert list(tmp_path.iterdir()) == []
