"""Two restores into one file out of two backup folders: no lock of ours keeps them apart, SQLite's own ones do."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import DbTasksError, LoadFailed, Refused
from tests.conftest import REPOSITORY
from tests.moments import at_phase

from .databases import assert_whole, count, leftovers, make, run, settings

AGAIN_AND_AGAIN = """
import sys
from pathlib import Path
import dbtasks
root, folder = sys.argv[1:]
config = dbtasks.load_settings(Path(root), environ={}, url="sqlite:///app.db", backup_dir=folder, lock_timeout="20", keep="1")
job = dbtasks.RestoreJob("latest", skip_safety_backup=True)
print("ready", flush=True)
sys.stdin.readline()
for _ in range(25):
    dbtasks.restore(config, dbtasks.plan_restore(config, job))
"""


def two_folders(root: Path) -> tuple[dbtasks.Settings, dbtasks.Settings]:
    """A file with 7 rows, a backup of 100 in one folder and one of 300 in the other."""
    path = make(root / "app.db", 300)
    here, there = settings(root, backup_dir="here"), settings(root, backup_dir="there")
    dbtasks.backup(there)
    run(path, "DELETE FROM item WHERE id >= 100")
    dbtasks.backup(here)
    run(path, "DELETE FROM item WHERE id >= 7")
    return here, there


def restore(config: dbtasks.Settings) -> dbtasks.RestoreResult:
    return dbtasks.restore(config, dbtasks.plan_restore(config))


@pytest.mark.parametrize("phase", ["load", "check", "swap"])
def test_h08_two_restores_into_one_file_come_one_after_the_other_each_whole(
    tmp_path: Path, phase: str
) -> None:
    here, there = two_folders(tmp_path)
    path = tmp_path / "app.db"
    seen: list[int] = []

    def come_in_between() -> None:
        restore(there)
        seen.append(count(path))

    dbtasks.restore(here, dbtasks.plan_restore(here), on_event=at_phase(phase, come_in_between))
    assert (seen, count(path)) == ([300], 100)
    assert_whole(path)
    assert leftovers(tmp_path) == []
    # either had saved what was there when it began
    dbtasks.undo(there, dbtasks.plan_undo(there))
    assert count(path) == 7


EMPTIED: dict[str, tuple[Callable[[Path], object], type[DbTasksError], str]] = {
    "missing": (lambda path: path.unlink(), LoadFailed, "it was not touched"),
    "empty": (lambda path: path.write_bytes(b""), Refused, "app.db was not touched"),
    "damaged": (lambda path: path.write_bytes(b"oops\n" * 500), Refused, "app.db was not touched"),
}


@pytest.mark.parametrize("what", EMPTIED)
def test_h08_what_another_restore_filled_meanwhile_is_not_overwritten_without_a_safety_backup(
    tmp_path: Path, what: str
) -> None:
    here, there = two_folders(tmp_path)
    path = tmp_path / "app.db"
    empty, refusal, untouched = EMPTIED[what]
    empty(path)
    plan = dbtasks.plan_restore(here)
    assert not plan.safety
    with pytest.raises(refusal) as caught:
        dbtasks.restore(here, plan, on_event=at_phase("swap", lambda: restore(there)))
    assert caught.value.state == untouched
    assert count(path) == 300
    assert_whole(path)
    assert leftovers(tmp_path) == []


@pytest.mark.long
def test_h08_two_processes_that_restore_into_one_file_over_and_over_leave_it_whole_at_every_moment(
    tmp_path: Path,
) -> None:
    two_folders(tmp_path)
    path = tmp_path / "app.db"
    seen: set[int] = set()
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", AGAIN_AND_AGAIN, str(tmp_path), folder],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for folder in ("here", "there")
    ]
    for process in runs:
        assert process.stdout and process.stdout.readline() == "ready\n"
    for process in runs:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    while any(process.poll() is None for process in runs):
        assert_whole(path)
        seen.add(count(path))
    said = [process.communicate()[1] for process in runs]
    assert [process.returncode for process in runs] == [0, 0], said
    assert seen <= {7, 100, 300}
    assert {100, 300} <= seen
    assert_whole(path)
