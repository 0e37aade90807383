"""The private folder inside goes with its run, also while a tool of that run still writes there."""

from __future__ import annotations

import time

import pytest

from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.inside import kept_folder
from tests.fix_docker import Box

BUSY = 'mkdir -p "$1/dump"; for n in 1 2 3 4; do (i=0; while : >"$1/dump/$n-$i"; do i=$((i+1)); done) & done; wait'
"""Workers of a dump that put file after file there, as long as the folder is there."""
LIVES_ON = ("timeout", "2", "sh", "-c", BUSY, "sh")


@pytest.mark.fault
def test_a12_a_folder_that_a_dying_tool_still_writes_to_is_removed_all_the_same(box: Box) -> None:
    runner = ContainerRunner(box.container)
    with kept_folder(runner) as inside:
        path = inside.path
        box.container.exec_run([*LIVES_ON, path], detach=True)
        time.sleep(0.5)
    runner.close()
    assert box.container.exec_run(["ls", path]).exit_code != 0
