"""Backups and restores killed, terminated and interrupted: the live file is whole, old or new."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dbtasks

from .databases import (
    archives,
    ask,
    assert_whole,
    count,
    holder,
    leftovers,
    make,
    process,
    run,
    settings,
    tree,
)

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's"),
]

OLD, NEW = 20_000, 15_000

CHILD = """
import signal, sys, time
from pathlib import Path
import dbtasks
from dbtasks.events import Phase

def interrupt(number, frame):
    raise KeyboardInterrupt

signal.signal(signal.SIGTERM, interrupt)
root, verb = Path(sys.argv[1]), sys.argv[2]
config = dbtasks.load_settings(root, environ={}, url="sqlite:///app.db", lock_timeout=sys.argv[3])

def tell(event):
    if isinstance(event, Phase):
        print(event.name, flush=True)

print("ready", flush=True)
try:
    if verb == "backup":
        dbtasks.backup(config, on_event=tell)
    else:
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[4]))
        dbtasks.restore(config, plan, on_event=tell)
    print("END done", flush=True)
except KeyboardInterrupt:
    print("END interrupted", flush=True)
except dbtasks.DbTasksError as exc:
    print("END", exc.code, exc.state, flush=True)
"""


PRESSED_AT_THE_SECOND_LOOK = """
import os, signal
from dbtasks.engines.sqlite import SqliteEngine

state, looks = SqliteEngine.state, []

def look(engine):
    looks.append(engine)
    if len(looks) == 2:
        os.kill(os.getpid(), signal.SIGINT)
    return state(engine)

SqliteEngine.state = look
"""


def _prepared(root: Path, journal: str = "delete") -> tuple[dbtasks.Settings, str]:
    """Make a live database of OLD rows and a backup that holds NEW of other content."""
    path = make(root / "app.db", NEW, journal=journal, width=600)
    config = settings(root)
    made = dbtasks.backup(config)
    run(path, "DELETE FROM item")
    run(
        path,
        "INSERT INTO item (body) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
        " SELECT printf('%.600c', 'o') || i FROM n",
        OLD,
    )
    return config, made.id


def _signalled(root: Path, phase: str, delay: float, number: int, *arguments: str) -> str:
    """Run a restore or backup, send the signal some time into a phase, return its last words."""
    with process(CHILD, root, *arguments) as child:
        assert child.stdout
        last = ""
        for line in child.stdout:
            last = line.strip()
            if last == phase:
                break
        time.sleep(delay)
        os.kill(child.pid, number)
        for line in child.stdout:
            last = line.strip()
        child.wait()
    return last


def test_a10_ctrl_c_while_a_damaged_file_is_looked_at_again_leaves_it_where_it_is(tmp_path: Path) -> None:
    _, wanted = _prepared(tmp_path)
    path = tmp_path / "app.db"
    path.write_bytes(path.read_bytes()[:4096] + os.urandom(4096 * 500))
    damaged = tree(tmp_path)["app.db"]
    with process(PRESSED_AT_THE_SECOND_LOOK + CHILD, tmp_path, "restore", "5", wanted) as child:
        assert child.stdout
        *said, last = map(str.strip, child.stdout)
    # how long a look takes grows with the file: it is over before interrupts are held back
    assert said[-1] == "swap"
    assert last == "END interrupted app.db is as it was; unfinished files are removed"
    assert tree(tmp_path)["app.db"] == damaged
    assert leftovers(tmp_path) == []
    (record,) = (tmp_path / "backups" / "restores").glob("*.json")
    assert json.loads(record.read_text())["state"] == "failed; it changed nothing"


def _old_or_new(root: Path) -> str:
    path = root / "app.db"
    assert_whole(path)
    rows = count(path)
    old = run(path, "SELECT count(*) FROM item WHERE body LIKE 'oooo%'")[0][0]
    assert (rows, old) in ((OLD, OLD), (NEW, 0)), "a mixture"
    return "old" if old else "new"


MOMENTS = [
    ("dump", 0.005),
    ("load", 0.0),
    ("load", 0.03),
    ("check", 0.0),
    ("swap", 0.0),
    ("swap", 0.005),
    ("swap", 0.02),
    ("swap", 0.05),
    ("swap", 0.1),
]


@pytest.mark.long
@pytest.mark.parametrize(
    ("phase", "delay", "journal"),
    [*((*moment, "delete") for moment in MOMENTS), *((*moment, "wal") for moment in MOMENTS[-4:])],
)
def test_f06_h06_a_restore_killed_at_any_moment_leaves_the_live_file_whole(
    tmp_path: Path, phase: str, delay: float, journal: str
) -> None:
    config, wanted = _prepared(tmp_path, journal)
    _signalled(tmp_path, phase, delay, signal.SIGKILL, "restore", "5", wanted)
    _old_or_new(tmp_path)
    # the next run needs no help, and takes away what the killed one left
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(wanted)))
    assert _old_or_new(tmp_path) == "new"
    assert leftovers(tmp_path) == []
    for backup in dbtasks.list_backups(config).backups:
        assert_whole(backup.path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("phase", "delay", "number"),
    [
        *((*moment, signal.SIGTERM) for moment in MOMENTS),
        ("load", 0.0, signal.SIGINT),
        ("swap", 0.02, signal.SIGINT),
    ],
)
def test_a10_an_interrupted_restore_says_what_the_live_file_holds_and_leaves_nothing(
    tmp_path: Path, phase: str, delay: float, number: int
) -> None:
    config, wanted = _prepared(tmp_path)
    last = _signalled(tmp_path, phase, delay, number, "restore", "5", wanted)
    found = _old_or_new(tmp_path)
    assert leftovers(tmp_path) == []
    if last == "END done":  # the signal came after everything
        assert found == "new"
        return
    assert last.startswith("END interrupted "), last
    assert ("app.db is as it was" in last) == (found == "old")
    assert ("app.db holds the backup" in last) == (found == "new")
    assert dbtasks.list_runs(config)[0].exit_code == 130


def test_a10_a_restore_that_waits_for_a_lock_ends_at_once_when_interrupted(tmp_path: Path) -> None:
    config, wanted = _prepared(tmp_path, "wal")
    with (
        holder(tmp_path / "app.db", "BEGIN IMMEDIATE"),
        process(CHILD, tmp_path, "restore", "600", wanted) as child,
    ):
        assert child.stdout
        for line in child.stdout:
            if line.strip() == "swap":
                break
        time.sleep(0.3)
        os.kill(child.pid, signal.SIGTERM)
        words = child.stdout.readline()
    assert words.startswith("END interrupted"), words
    assert "as it was" in words
    assert _old_or_new(tmp_path) == "old"
    assert dbtasks.list_runs(config)[0].exit_code == 130


def test_a10_a_restore_into_an_empty_file_that_waits_for_a_writer_ends_at_once_when_interrupted(
    tmp_path: Path,
) -> None:
    _, wanted = _prepared(tmp_path)
    path = tmp_path / "app.db"
    path.write_bytes(b"")
    with (
        holder(path, "BEGIN IMMEDIATE", "CREATE TABLE mine (n)") as application,
        process(CHILD, tmp_path, "restore", "600", wanted) as child,
    ):
        assert child.stdout
        assert "swap" in map(str.strip, child.stdout)
        time.sleep(0.3)
        os.kill(child.pid, signal.SIGTERM)
        assert child.stdout.readline().startswith("END interrupted app.db is as it was")
        assert ask(application, "COMMIT") == "[]"
    assert count(path, "mine") == 0
    assert_whole(path)


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    ("phase", "delay"), [("dump", 0.0), ("dump", 0.01), ("verify", 0.0), ("verify", 0.02), ("publish", 0.0)]
)
def test_a08_a10_a_backup_killed_or_interrupted_shows_no_backup_or_a_whole_one(
    tmp_path: Path, phase: str, delay: float, number: int
) -> None:
    make(tmp_path / "app.db", NEW, width=600)
    config = settings(tmp_path)
    last = _signalled(tmp_path, phase, delay, number, "backup", "5")
    if number != signal.SIGKILL:
        assert last in ("END interrupted", "END done")
        assert leftovers(tmp_path) == []
    shown = dbtasks.list_backups(config)
    for backup in shown.backups:
        assert count(backup.path) == NEW
        assert_whole(backup.path)
    assert shown.foreign == () or number == signal.SIGKILL
    made = dbtasks.backup(config)
    assert leftovers(tmp_path) == []
    assert archives(tmp_path) == sorted({made.path, *(b.path for b in shown.backups)})


def test_what_a_run_killed_while_it_wrote_its_record_left_is_swept_by_the_next(tmp_path: Path) -> None:
    config, wanted = _prepared(tmp_path)
    record = tmp_path / "backups" / "restores"
    dead = record / ".0123456789abcdef.draft"
    dead.mkdir(parents=True)
    (dead / "lock").touch()
    (dead / "archive").write_text("{")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(wanted)))
    assert leftovers(tmp_path) == []
    assert [p.suffix for p in record.iterdir()] == [".json"]


def test_h06_a_killed_run_holds_no_lock(tmp_path: Path) -> None:
    make(tmp_path / "app.db", NEW, width=600)
    config = settings(tmp_path)
    with process(CHILD, tmp_path, "backup", "5") as child:
        assert child.stdout
        child.stdout.readline()
        with pytest.raises(dbtasks.DbTasksError) as caught:
            os.kill(child.pid, signal.SIGSTOP)
            dbtasks.backup(config)
        assert caught.value.exit_code == 7
        assert str(child.pid) in caught.value.hint
        assert "since" in caught.value.hint
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    assert dbtasks.backup(config).manifest.counts["item"] == NEW


def test_a10_sigterm_ends_a_task_with_130_and_the_live_file_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "tasks.py").write_text(
        "from invoke import Collection\nimport dbtasks\nns = Collection()\nns.add_collection(dbtasks, name='db')\n"
    )
    _, wanted = _prepared(tmp_path)
    environ = {**os.environ, "DATABASE_URL": "sqlite:///app.db"}
    command = [sys.executable, "-m", "invoke", "db.restore", f"--file={wanted}", "--yes"]
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as child:
        assert child.stderr
        for line in child.stderr:
            if line.split()[:1] == ["load"]:
                break
        child.send_signal(signal.SIGTERM)
        words = child.stderr.read()
    assert child.returncode == 130
    assert "interrupted" in words
    assert "app.db is as it was" in words
    assert "Traceback" not in words
    assert _old_or_new(tmp_path) == "old"
    assert leftovers(tmp_path) == []
