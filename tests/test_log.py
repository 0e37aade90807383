"""One line per run: failed plans and verifications as well, rehearsals not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.console.documents import log_document
from dbtasks.console.info import info_document, info_lines
from dbtasks.console.screens import log_lines
from dbtasks.errors import ArchiveDamaged
from tests.samples import MOMENT
from tests.sqlite.databases import make, settings


def test_a_restore_that_fails_in_its_plan_has_one_line(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    made.path.write_bytes(made.path.read_bytes()[:-1])
    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    newest, oldest = dbtasks.list_runs(config)
    assert (newest.task, newest.ok, newest.exit_code, newest.backup) == ("restore", False, 5, made.id)
    assert oldest.task == "backup"


def test_a_plan_that_holds_and_a_dry_run_that_does_not_have_none(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config)
    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.plan_restore(config, dbtasks.RestoreJob("nothing", dry_run=True))
    assert [r.task for r in dbtasks.list_runs(config)] == ["backup"]
    dbtasks.restore(config, plan)
    assert [r.task for r in dbtasks.list_runs(config)] == ["restore", "backup"]


def test_a_restore_into_another_database_is_in_the_log_of_the_project_too(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into="other.db")))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into="third.db"))
    make(tmp_path / "third.db")
    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.restore(config, plan)
    failed, done, _ = dbtasks.list_runs(config)
    assert (done.task, done.ok, done.backup, Path(done.database).name) == (
        "restore",
        True,
        made.id,
        "other.db",
    )
    assert (failed.task, failed.ok, Path(failed.database).name) == ("restore", False, "third.db")
    lines = log_lines([failed, done], MOMENT, None)
    assert f"into {failed.database}: {failed.message}" in lines[-2]
    assert lines[-1].endswith(f"into {done.database}")


def test_an_adoption_that_fails_in_its_plan_has_one_line_and_its_rehearsal_none(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    theirs = make(tmp_path / "theirs.db", 5)
    whole = theirs.read_bytes()
    theirs.write_bytes(whole[:-3000])
    job = dbtasks.AdoptJob(str(theirs))
    for asked in (replace(job, dry_run=True), job):
        with pytest.raises(ArchiveDamaged):
            dbtasks.plan_adopt(config, asked)
    (failed,) = dbtasks.list_runs(config, failed=True)
    assert (failed.task, failed.exit_code, failed.extra["file"]) == ("adopt", 5, str(theirs))
    theirs.write_bytes(whole)
    plan = dbtasks.plan_adopt(config, job)
    assert [r.task for r in dbtasks.list_runs(config)] == ["adopt", "backup"]
    dbtasks.adopt(config, plan)
    assert [(r.task, r.ok) for r in dbtasks.list_runs(config)][:2] == [("adopt", True), ("adopt", False)]


def test_a_plan_that_fails_makes_no_store(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.plan_restore(config)
    assert not config.backup_dir.exists()


def test_each_verification_has_one_line_and_damage_is_a_failure(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    first, second = dbtasks.backup(config), dbtasks.backup(config)
    dbtasks.verify(config, [first, second])
    second.path.write_bytes(b"?")
    dbtasks.verify(config, [first, second])
    bad, good, *backups = dbtasks.list_runs(config)
    assert [r.task for r in backups] == ["backup", "backup"]
    assert (good.task, good.ok, good.exit_code) == ("verify", True, 0)
    assert (bad.task, bad.ok, bad.exit_code) == ("verify", False, 5)
    assert second.id in bad.message
    assert first.id not in bad.message
    assert [r.task for r in dbtasks.list_runs(config, failed=True)] == ["verify"]


def test_a_host_project_logs_a_failed_restore_and_a_failed_verification(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    with pytest.raises(dbtasks.DbTasksError):
        dbtasks.plan_restore(config, dbtasks.RestoreJob("99"))
    (failed,) = dbtasks.list_runs(config, failed=True)
    assert (failed.exit_code, failed.message) == (4, "there is no backup number 99: the list has 1")


def test_a04_a_line_that_a_full_disk_cut_swallows_no_later_one(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    log = config.backup_dir / "log.jsonl"
    log.write_bytes(log.read_bytes()[:-20])
    made = dbtasks.backup(config)
    (run,) = dbtasks.list_runs(config)
    assert run.backup == made.id


def test_a_separator_that_only_python_takes_for_a_line_end_cuts_no_line(tmp_path: Path) -> None:
    name = "new\u2028york.db"
    make(tmp_path / name)
    config = settings(tmp_path, name)
    made = dbtasks.backup(config)
    (run,) = dbtasks.list_runs(config)
    assert run.backup == made.id


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2026-01-01T00:00:00"),
        ("at", 5),
        ("seconds", "nan"),
        ("seconds", 1e999),
        ("seconds", [1]),
        ("exit_code", 1e999),
        ("exit_code", "none"),
    ],
)
def test_a_line_that_no_run_wrote_is_passed_over(tmp_path: Path, field: str, value: object) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    log = config.backup_dir / "log.jsonl"
    line = json.loads(log.read_text())
    with log.open("a") as stream:
        stream.write(json.dumps({**line, field: value}) + "\n")
    (run,) = dbtasks.list_runs(config)
    assert run.backup == made.id
    assert dbtasks.inspect(config).problems == ()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size_bytes", "much"),
        ("size_bytes", [5]),
        ("size_bytes", True),
        ("backup", 7),
        ("raw_size_bytes", "much"),
        ("format", ["sqlite"]),
        ("complete", "yes"),
    ],
)
def test_a_field_of_an_odd_type_breaks_no_task(tmp_path: Path, field: str, value: object) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    log = config.backup_dir / "log.jsonl"
    log.write_text(json.dumps({**json.loads(log.read_text()), field: value}) + "\n")
    report = dbtasks.inspect(config)
    assert report.problems == ()
    assert info_lines(report, MOMENT, 80)
    assert log_lines(dbtasks.list_runs(config), MOMENT, 80)
    json.dumps(info_document(report))
    json.dumps(log_document(dbtasks.list_runs(config)))
