"""What an undo's plan says after a SQLite restore that was killed: it is compared with what really was there."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.undo import undo_plan_document, undo_plan_lines
from dbtasks.errors import NotFound
from dbtasks.journal import read_restores

from .sqlite.databases import content, count, make, run, settings

pytestmark = [pytest.mark.fault, pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")]

KILLED = """
import os, signal, sys
import dbtasks
from dbtasks.engines.sqlite import load
from dbtasks.executors import restore

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

root, at, file = sys.argv[1:]
config = dbtasks.load_settings(root, environ={}, url="sqlite:///app.db")
plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(file))
if at == "loaded":
    restore.prove_counts = die
elif at == "commit":
    load._Loaded.commit = die
else:
    commit = load._Loaded.commit
    load._Loaded.commit = lambda *given: (commit(*given), die())
dbtasks.restore(config, plan)
"""


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path, str]:
    """A file of 100 items and its backup; the restore of that one was the last, and 50 came since."""
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    run(path, "DELETE FROM item WHERE id >= 60")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    run(path, "INSERT INTO item SELECT id + 1000, body FROM item WHERE id < 50")
    return config, path, made.id


def killed(config: dbtasks.Settings, at: str, file: str) -> str:
    command = [sys.executable, "-c", KILLED, str(config.root), at, file]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    return str(read_restores(config.backup_dir)[0]["id"])


def changes(plan: dbtasks.UndoPlan) -> set[tuple[str, int | None, int | None, int | None]]:
    return {(t.name, t.restored_rows, t.live_rows, t.back_rows) for t in plan.changes}


def shown(plan: dbtasks.UndoPlan) -> str:
    return "\n".join(undo_plan_lines(plan, plan.last.started_at or utc_now()))


def test_a_restore_killed_before_it_was_to_take_effect_leaves_the_one_before_to_be_undone(
    shop: tuple[dbtasks.Settings, Path, str],
) -> None:
    config, _, made = shop
    id_ = killed(config, "loaded", made)
    plan = dbtasks.plan_undo(config)
    assert plan.last.id != id_
    assert [past.id for past in plan.without_effect] == [id_]
    assert changes(plan) == {("item", 100, 150, 60)}
    (said,) = [text for text in plan.warnings if id_ in text]
    assert said.endswith(
        f"killed before it changed anything: this takes back the restore {plan.last.id} before it"
    )
    assert f"{id_} was killed: app.db is as it was" in "\n".join(dbtasks.inspect(config).warnings)


def test_where_the_only_restore_was_killed_as_it_loaded_there_is_nothing_to_undo(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    run(path, "DELETE FROM item WHERE id >= 60")
    killed(config, "loaded", made.id)
    before = content(path)
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config)
    assert content(path) == before


def test_rows_that_a_killed_restore_never_touched_are_not_shown_as_written_since(
    shop: tuple[dbtasks.Settings, Path, str],
) -> None:
    config, path, made = shop
    before = content(path)
    id_ = killed(config, "commit", made)
    plan = dbtasks.plan_undo(config)
    assert plan.last.id == id_
    assert not plan.certain
    assert plan.changes == ()
    assert "Rows     the same count in every table" in shown(plan)
    assert "would be lost" not in shown(plan)
    assert undo_plan_document(plan)["plan"]["certain"] is False
    dbtasks.undo(config, plan)
    assert content(path) == before


def test_a_restore_killed_behind_its_commit_is_compared_with_what_comes_back(
    shop: tuple[dbtasks.Settings, Path, str],
) -> None:
    config, path, made = shop
    killed(config, "done", made)
    assert count(path) == 100
    plan = dbtasks.plan_undo(config)
    assert changes(plan) == {("item", None, 100, 150)}
    assert "whether the rows now are what the restore made, or what was there before, is not known" in shown(
        plan
    )
    dbtasks.undo(config, plan)
    assert count(path) == 150


def test_what_a_killed_restore_of_a_table_is_to_be_repeated_with_names_the_table(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    run(path, 'CREATE TABLE "odd \'name" (id INTEGER PRIMARY KEY)')
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    script = KILLED.replace("restore.prove_counts = die", "restore_tables._prove_counts = die")
    script = script.replace("import restore\n", "import restore, restore_tables\n")
    script = script.replace(
        "plan_restore(config, dbtasks.RestoreJob(file))",
        'plan_restore_tables(config, dbtasks.TablesJob(("odd \'name",), file))',
    )
    script = script.replace("dbtasks.restore(config, plan)", "dbtasks.restore_tables(config, plan)")
    command = [sys.executable, "-c", script, str(config.root), "loaded", made.id]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    (told,) = [text for text in dbtasks.inspect(config).warnings if "does it again" in text]
    assert shlex.split(told.partition("; ")[2])[:4] == [
        "db.restore",
        f"--file={made.id}",
        "--table=odd 'name",
        "does",
    ]
