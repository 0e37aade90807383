"""The same executors from Python: typed, without Invoke, without a printed line."""

from __future__ import annotations

import dataclasses
import inspect
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import dbtasks
from dbtasks.events import Event, Note, Phase, PresentSaved, Progress, RouteTaken, Warned
from dbtasks.models import Type
from tests.conftest import REPOSITORY
from tests.sqlite.databases import count, make, run, settings


def test_every_public_name_is_there_and_nothing_else_is_offered() -> None:
    assert sorted(dbtasks.__all__) == dbtasks.__all__
    for name in dbtasks.__all__:
        assert getattr(dbtasks, name) is not None
        assert name in dir(dbtasks)
    with pytest.raises(AttributeError, match="no_such_name"):
        dbtasks.no_such_name  # noqa: B018


def test_the_page_shows_every_public_function_and_no_name_that_is_not_public() -> None:
    page = (REPOSITORY / "docs" / "python-api.md").read_text("utf-8")
    named = set(re.findall(r"\bdbtasks\.(\w+)", page))
    functions = {name for name in dbtasks.__all__ if inspect.isfunction(getattr(dbtasks, name))}
    assert functions <= named <= set(dbtasks.__all__)


def test_a_star_import_gives_all_of_them() -> None:
    names: dict[str, object] = {}
    exec("from dbtasks import *", names)
    assert set(dbtasks.__all__) <= set(names)


def test_the_executors_need_no_invoke(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    code = """
import sys
sys.modules["invoke"] = None
import dbtasks
config = dbtasks.load_settings(sys.argv[1], environ={}, url="sqlite:///app.db")
made = dbtasks.backup(config)
dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
dbtasks.undo(config, dbtasks.plan_undo(config))
dbtasks.verify(config, [made], restore=True); dbtasks.inspect(config); dbtasks.list_runs(config)
dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_a_whole_life_of_a_backup_prints_nothing_and_returns_frozen_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    job = dbtasks.BackupJob(type=dbtasks.Type.DAILY, note="before the release")
    plan: dbtasks.BackupPlan = dbtasks.plan_backup(config, job)
    assert plan.dump.complete
    assert not plan.archive.exists()
    made: dbtasks.Backup = dbtasks.backup(config, job)
    assert made.manifest.note == "before the release"
    catalog: dbtasks.Catalog = dbtasks.list_backups(config)
    assert [b.id for b in catalog.backups] == [made.id]
    assert dbtasks.find(config, "latest:daily").id == made.id
    assert any("sha256sum" in line for line in dbtasks.show(config, made.id).by_hand)
    (verified,) = dbtasks.verify(config, [made])
    assert verified.ok
    run(path, "DELETE FROM item")
    between: dbtasks.DiffSummary = dbtasks.diff(config, made.id)
    assert [(t.name, t.backup_rows, t.against_rows) for t in between.tables] == [("item", 100, 0)]
    rows: dbtasks.RowsDiff = dbtasks.diff_rows(config, made.id)
    assert [(t.name, t.removed, len(t.removed_rows)) for t in rows.tables if t.differs] == [("item", 100, 5)]
    restoring: dbtasks.RestorePlan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert {(c.name, c.backup_rows, c.live_rows) for c in restoring.changes} == {("item", 100, 0)}
    result: dbtasks.RestoreResult = dbtasks.restore(config, restoring)
    assert (result.tables, result.rows) == (2, 101)
    assert count(path) == 100
    undoing: dbtasks.UndoPlan = dbtasks.plan_undo(config)
    undone: dbtasks.UndoResult = dbtasks.undo(config, undoing)
    assert (undone.undone.id, undone.way_back, count(path)) == (result.id, "db.undo", 0)
    cleaned: dbtasks.CleanupResult = dbtasks.cleanup(
        config, dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    )
    assert cleaned.ok
    report: dbtasks.InfoReport = dbtasks.inspect(config)
    assert report.problems == ()
    assert [r.task for r in dbtasks.list_runs(config)] == ["cleanup", "undo", "restore", "verify", "backup"]
    for value in (
        config,
        plan,
        made,
        catalog,
        verified,
        between,
        restoring,
        result,
        undoing,
        undone,
        cleaned,
        report,
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            value.something = 1  # type: ignore[union-attr]
    assert capsys.readouterr() == ("", "")


def test_events_tell_what_is_being_done(tmp_path: Path) -> None:
    make(tmp_path / "app.db", 5000, width=300)
    config = settings(tmp_path, compression="gzip")
    events: list[Event] = []
    job = dbtasks.BackupJob(request=dbtasks.DumpRequest(compression=config.compression))
    made = dbtasks.backup(config, job, on_event=events.append)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id), on_event=events.append)
    dbtasks.restore(config, plan, on_event=events.append)
    phases = [event.name for event in events if isinstance(event, Phase)]
    assert phases[:3] == ["dump", "verify", "publish"]
    assert phases.index("load") < phases.index("check") < phases.index("swap")
    # it is told which backup brings back what was there
    (saved,) = [event.backup for event in events if isinstance(event, PresentSaved)]
    assert dbtasks.find(config, saved).manifest.type is Type.SAFETY
    moved = [event for event in events if isinstance(event, Progress)]
    assert moved
    assert all(event.done_bytes > 0 for event in moved)
    assert all(
        isinstance(event, Phase | PresentSaved | Progress | Note | RouteTaken | Warned) for event in events
    )


def test_a_callback_that_fails_stops_the_work_and_nothing_is_published(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)

    def fail(event: Event) -> None:
        if isinstance(event, Phase) and event.name == "publish":
            raise RuntimeError("the caller's own bug")

    with pytest.raises(RuntimeError, match="own bug"):
        dbtasks.backup(config, on_event=fail)
    assert dbtasks.list_backups(config).backups == ()
    assert dbtasks.backup(config).manifest.complete


def test_it_works_outside_the_main_thread(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    results: list[dbtasks.RestoreResult] = []

    def work() -> None:
        made = dbtasks.backup(config)
        run(path, "DELETE FROM item")
        results.append(dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results[0].rows == 101
    assert count(path) == 100


def test_every_error_is_of_one_tree_with_code_and_parts(tmp_path: Path) -> None:
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.backup(settings(tmp_path, "no.db"))
    error = caught.value
    assert error.exit_code == 3
    assert error.code == "target_unreachable"
    assert error.hint
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.load_settings(tmp_path, environ={}, url="sqlite:///a.db", kep=3)
    assert caught.value.exit_code == 2


def test_the_hosts_environment_and_signals_are_as_they_were(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / ".env").write_text("DATABASE_URL=sqlite:///app.db\n")
    before = dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), Path.cwd()
    config = dbtasks.load_settings(tmp_path)
    made = dbtasks.backup(config)
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    after = dict(os.environ), signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM), Path.cwd()
    assert after == before


@pytest.mark.long
def test_a_type_checker_understands_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text("""
import dbtasks
from dbtasks.events import Event

def seen(event: Event) -> None:
    print(event)

settings: dbtasks.Settings = dbtasks.load_settings(url="sqlite:///app.db", keep=5)
made: dbtasks.Backup = dbtasks.backup(settings, on_event=seen)
plan: dbtasks.RestorePlan = dbtasks.plan_restore(settings, dbtasks.RestoreJob(made.id))
rows: int = dbtasks.restore(settings, plan).rows
names: list[str] = [b.id for b in dbtasks.list_backups(settings).backups]
wrong: int = made.id
""")
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(tmp_path / "cache"),
            str(tmp_path / "use.py"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(REPOSITORY)},
    )
    ours = [line for line in ran.stdout.splitlines() if line.startswith("use.py")]
    assert len(ours) == 1, ran.stdout + ran.stderr
    assert 'variable has type "int"' in ours[0]
