"""A restore that only adds, killed: what it left beside the file is told and removed, and no undo is about it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import NotFound

from .databases import content, leftovers, make, run, settings

pytestmark = [pytest.mark.fault, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

KILLED = """
import os, signal, sys
import dbtasks
from dbtasks.engines.sqlite.part import load as load_part
from dbtasks.executors import restore_tables

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

root, at, name = sys.argv[1:]
config = dbtasks.load_settings(root, environ={}, url="sqlite:///app.db")
plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",), as_name=name or None))
assert not plan.overwrites
if at == "load":
    restore_tables._prove_counts = die
else:
    load_part.LoadedPart.commit = die
dbtasks.restore_tables(config, plan)
"""


def _killed(config: dbtasks.Settings, at: str, name: str) -> None:
    root = str(config.root)
    killed = subprocess.run([sys.executable, "-c", KILLED, root, at, name], capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr


def _notes(config: dbtasks.Settings) -> str:
    return "\n".join(dbtasks.inspect(config).warnings)


@pytest.mark.parametrize("at", ["load", "commit"])
@pytest.mark.parametrize("name", ["copy", ""], ids=["beside", "gone"])
def test_h06_what_a_killed_addition_left_is_told_and_removed(tmp_path: Path, at: str, name: str) -> None:
    path = make(tmp_path / "app.db", 50)
    config = settings(tmp_path)
    dbtasks.backup(config)
    if not name:
        run(path, "DROP TABLE item")
    _killed(config, at, name)
    (left,) = leftovers(tmp_path)
    before = content(path)
    told = _notes(config)
    assert f"{tmp_path / left} was left over by an earlier restore: db.cleanup removes it" in told
    outcome = "it added nothing to app.db" if at == "load" else "with what it added or without"
    assert outcome in told
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config)
    plan = dbtasks.plan_cleanup(config)
    assert plan.remains.names == (str(tmp_path / left),)
    assert dbtasks.cleanup(config, plan).swept == (str(tmp_path / left),)
    assert leftovers(tmp_path) == []
    assert "killed" not in _notes(config)
    assert dbtasks.plan_cleanup(config).remains.names == ()
    assert content(path) == before


def test_the_restore_before_a_killed_addition_is_still_the_last(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 50)
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    run(path, "DELETE FROM item WHERE id > 10")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    _killed(config, "load", "copy")
    dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert run(path, "SELECT count(*) FROM item") == [(11,)]


def test_an_addition_that_ended_has_no_word_for_one_that_was_killed_before(tmp_path: Path) -> None:
    make(tmp_path / "app.db", 50)
    config = settings(tmp_path)
    dbtasks.backup(config)
    _killed(config, "load", "copy")
    job = dbtasks.TablesJob(("item",), as_name="copy")
    dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    assert "killed" not in _notes(config)
