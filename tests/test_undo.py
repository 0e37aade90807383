"""Taking a restore back where the safety backup is the way, what is refused, and the task itself."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.sqlite.load import _Loaded as SqliteLoaded
from dbtasks.errors import ArchiveDamaged, Busy, LoadFailed, NotFound, Refused
from dbtasks.executors.undo import UndoWay
from dbtasks.journal import read_log, read_restores, write_restore
from dbtasks.models import Type
from tests.conftest import Project
from tests.sqlite.databases import assert_whole, content, count, holder, make, run, settings, tree, writer
from tests.terminal import at_terminal


def restore(config: dbtasks.Settings, file: str = "latest", **job: Any) -> dbtasks.RestoreResult:
    return dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(file, **job)))


def undo(config: dbtasks.Settings) -> dbtasks.UndoResult:
    return dbtasks.undo(config, dbtasks.plan_undo(config))


@pytest.fixture
def shop(tmp_path: Path) -> tuple[dbtasks.Settings, Path]:
    """A file of 100 items with one backup, from which 60 are left."""
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "DELETE FROM item WHERE id >= 60")
    return config, path


# -- back, and back again ------------------------------------------------------------


def test_an_undo_brings_back_what_was_there_before_the_restore_and_keeps_what_was_there_after(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    before = content(path)
    restored = restore(config)
    assert restored.way_back == "db.undo"
    run(path, "INSERT INTO item VALUES (1000, 'since')")
    after = content(path)
    done = undo(config)
    assert (done.way, done.undone.id) == (UndoWay.SAFETY, restored.id)
    assert (done.tables, done.rows) == (2, 61)
    assert content(path) == before
    assert done.safety_backup is not None
    assert done.safety_backup.manifest.type is Type.SAFETY
    assert done.way_back == "db.undo"
    assert undo(config).undone.id == done.id
    assert content(path) == after


def test_a_newer_restore_into_another_database_is_told_where_an_older_one_is_taken_back(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(config)
    assert not any("newer restore" in text for text in dbtasks.plan_undo(config).warnings)
    make(path.with_name("other.db"), 3)
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(into="other.db")))
    (told,) = (text for text in dbtasks.plan_undo(config).warnings if "newer restore" in text)
    assert "other.db: this takes back the one before it, of app.db" in told
    elsewhere = dbtasks.load_settings(path.parent, environ={}, url="sqlite:///other.db")
    undo(elsewhere)
    assert not any("newer restore" in text for text in dbtasks.plan_undo(config).warnings)


def test_an_undo_of_an_undo_of_an_undo_goes_on_between_the_two_states(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    before = content(path)
    restore(config)
    after = content(path)
    for expected in (before, after, before, after):
        undo(config)
        assert content(path) == expected
    kinds = [record["kind"] for record in read_restores(config.backup_dir)]
    assert kinds == ["undo"] * 4 + ["restore"]
    assert [run_.task for run_ in read_log(config.backup_dir)][:2] == ["undo", "undo"]


def test_f13_an_undo_keeps_the_present_although_the_setting_for_restores_is_off(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(config)
    after = content(path)
    off = replace(config, safety_backup=False)
    assert undo(off).safety_backup is not None
    undo(off)
    assert content(path) == after


@pytest.mark.long
def test_f10_an_undo_meets_an_application_that_writes_without_pause(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(config)
    with writer(path):
        undo(replace(config, lock_timeout=30))
    assert_whole(path)
    assert 60 <= count(path) < 100


def test_f11_a_file_that_stays_locked_is_as_it_was_and_can_be_undone_later(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restored = restore(config)
    plan = dbtasks.plan_undo(config)
    with holder(path, "BEGIN IMMEDIATE"), pytest.raises(Busy):
        dbtasks.undo(replace(config, lock_timeout=0.3), plan)
    assert count(path) == 100
    assert undo(config).undone.id == restored.id
    assert count(path) == 60


def test_h05_another_run_is_not_disturbed(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    restore(config)
    plan, seen = dbtasks.plan_undo(config), list[str]()

    def meanwhile(event: object) -> None:
        if not seen:
            seen.append("")
            with pytest.raises(Busy, match="another run"):
                dbtasks.undo(config, plan)

    dbtasks.backup(config, on_event=meanwhile)
    assert seen
    assert count(path) == 100


# -- what would be lost ----------------------------------------------------------------


def test_the_plan_counts_what_came_since_and_what_comes_back(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    restored = restore(config)
    run(path, "DELETE FROM item WHERE id < 10")
    run(path, "CREATE TABLE newer (a)")
    before = tree(path.parent)
    plan = dbtasks.plan_undo(config, dry_run=True)
    changes = {(t.name, t.restored_rows, t.live_rows, t.back_rows) for t in plan.changes}
    assert changes == {("item", 100, 90, 60), ("newer", None, 0, None)}
    assert (plan.last.id, plan.last.backup) == (
        restored.id,
        restored.archive.manifest and restored.archive.manifest.id,
    )
    assert tree(path.parent) == before, "a dry run writes nothing, not even a line of the log"


def test_rows_written_into_a_table_that_comes_back_with_as_many_are_told(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restore(config)
    run(path, "DELETE FROM item WHERE id >= 60")
    (change,) = dbtasks.plan_undo(config).changes
    assert (change.restored_rows, change.live_rows, change.back_rows) == (100, 60, 60)


def test_a_record_without_rows_goes_by_the_manifest(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    restore(config)
    (record,) = read_restores(config.backup_dir)
    write_restore(config.backup_dir, str(record["id"]), {k: v for k, v in record.items() if k != "rows"})
    (change,) = dbtasks.plan_undo(config).changes
    assert (change.name, change.restored_rows) == ("item", 100)


# -- nothing to undo, and what stands against it -----------------------------------------


def test_where_nothing_was_restored_there_is_nothing_to_undo(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config)
    dbtasks.backup(config)
    restore(config, into="copy.db")
    with pytest.raises(NotFound, match="nothing to undo"):
        dbtasks.plan_undo(config)
    newest = read_log(config.backup_dir)[0]
    assert (newest.task, newest.exit_code) == ("undo", 4)
    with pytest.raises(NotFound, match=r"copy\.db did not exist before the restore"):
        dbtasks.plan_undo(settings(tmp_path, "copy.db"))


def test_a_restore_into_an_empty_database_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.unlink()
    sqlite3.connect(path).close()
    assert "was empty before" in restore(config).way_back
    with pytest.raises(NotFound, match="was empty before"):
        dbtasks.plan_undo(config)


def test_a_restore_that_kept_nothing_says_why(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    assert "--skip-safety-backup" in restore(config, skip_safety_backup=True).way_back
    with pytest.raises(NotFound, match="no way back was kept") as caught:
        dbtasks.plan_undo(config)
    assert "--skip-safety-backup" in caught.value.message
    assert count(path) == 100


def test_a_damaged_file_that_was_moved_aside_is_not_made_live_again(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    path.write_bytes(b"nothing of a database is left")
    aside = restore(config).old
    assert aside
    with pytest.raises(Refused, match="damaged") as caught:
        dbtasks.plan_undo(config)
    assert aside in caught.value.hint
    assert count(path) == 100


def test_c01_a_damaged_safety_backup_is_refused_by_its_name(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    safety = restore(config).safety_backup
    assert safety
    data = bytearray(safety.path.read_bytes())
    data[5000] ^= 1
    safety.path.write_bytes(data)
    with pytest.raises(ArchiveDamaged, match="safety backup") as caught:
        dbtasks.plan_undo(config)
    assert "db.list" in caught.value.hint
    dbtasks.verify(config, [safety])
    with pytest.raises(ArchiveDamaged, match="found damaged"):
        dbtasks.plan_undo(config)
    assert count(path) == 100


@pytest.mark.parametrize("what", ["archive", "both"])
def test_c06_a_missing_safety_backup_is_refused_by_its_name(
    shop: tuple[dbtasks.Settings, Path], what: str
) -> None:
    config, path = shop
    safety = restore(config).safety_backup
    assert safety
    safety.path.unlink()
    if what == "both":
        safety.path.with_name(f"{safety.path.name}.manifest.json").unlink()
    with pytest.raises((NotFound, ArchiveDamaged), match="safety backup") as caught:
        dbtasks.plan_undo(config)
    assert caught.value.exit_code in (4, 5)
    assert count(path) == 100


def test_a_restore_that_failed_is_passed_over(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    good = restore(config)
    plan = dbtasks.plan_restore(config)
    with holder(path, "BEGIN IMMEDIATE"), pytest.raises((Busy, LoadFailed)):
        dbtasks.restore(replace(config, lock_timeout=0.2), plan)
    assert dbtasks.plan_undo(config).last.id == good.id


def test_another_restore_while_somebody_is_asked_is_noticed(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    restore(config)
    plan = dbtasks.plan_undo(config)
    run(path, "DELETE FROM item WHERE id >= 5")
    restore(config)
    run(path, "DELETE FROM item WHERE id >= 7")
    with pytest.raises(Refused, match="restored again"):
        dbtasks.undo(config, plan)
    assert count(path) == 7


def test_a_restore_that_was_killed_as_it_took_effect_counts_and_needs_the_typed_name(
    shop: tuple[dbtasks.Settings, Path],
) -> None:
    config, path = shop
    restored = restore(config)
    (record,) = read_restores(config.backup_dir)
    # as a kill leaves it: the copy is one transaction, over whose end nobody wrote anything down
    killed = {k: v for k, v in record.items() if k not in ("rows", "live_oid", "kept_oid", "old")}
    write_restore(config.backup_dir, restored.id, {**killed, "state": "swapping"})
    plan = dbtasks.plan_undo(config)
    assert plan.consent.protected
    assert "may not have taken effect" in plan.consent.reason
    dbtasks.undo(config, plan)
    assert count(path) == 60


def test_a_bug_behind_the_commit_leaves_a_record_that_claims_nothing_and_can_be_undone(
    shop: tuple[dbtasks.Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = shop
    commit = SqliteLoaded.commit

    def and_a_bug(self: Any, *rest: Any) -> None:
        commit(self, *rest)
        raise ValueError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(SqliteLoaded, "commit", and_a_bug)
        with pytest.raises(ValueError, match="a bug"):
            restore(config)
    assert count(path) == 100
    (record,) = read_restores(config.backup_dir)
    assert record["state"] == "swapping"
    undo(config)
    assert count(path) == 60


def test_a_bug_before_it_takes_effect_leaves_a_record_of_a_failure(
    shop: tuple[dbtasks.Settings, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, path = shop
    with monkeypatch.context() as patched:
        patched.setattr(SqliteLoaded, "counts", None)
        with pytest.raises(TypeError):
            restore(config)
    assert count(path) == 60
    (record,) = read_restores(config.backup_dir)
    assert record["state"].startswith("failed")


def test_an_undo_that_finds_a_record_of_rubbish_does_not_stumble(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, _ = shop
    restored = restore(config)
    (record,) = read_restores(config.backup_dir)
    rubbish = {"rows": [1], "live_oid": "x", "kept_oid": True, "old": 7, "took": [], "kind": None}
    write_restore(config.backup_dir, restored.id, {**record, **rubbish})
    assert dbtasks.plan_undo(config).last.id == restored.id


# -- cleanup ---------------------------------------------------------------------------


def test_h03_cleanup_leaves_what_the_next_undo_needs(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    restore(config)
    policy = dbtasks.Policy(keep=1)
    states = [60, 100, 60]
    for expected in states:
        for _ in range(3):
            dbtasks.backup(config)
        dbtasks.cleanup(config, dbtasks.plan_cleanup(config, policy=policy))
        undo(config)
        assert count(path) == expected


# -- the task ---------------------------------------------------------------------------


@pytest.fixture
def host(project: Project) -> Project:
    """A project whose last restore brought 100 rows back where 60 were left."""
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    path = make(project.root / "shop.db")
    assert project.invoke("db.backup").returncode == 0
    run(path, "DELETE FROM item WHERE id >= 60")
    ran = project.invoke("db.restore", "--file=latest", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert "  back again: invoke db.undo\n" in ran.stdout
    return project


def test_the_task_takes_back_and_says_how_to_come_back(host: Project) -> None:
    ran = host.invoke("db.undo", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^✓ took back the restore [a-z0-9]{6} of shop\.db by safety backup in ", ran.stdout)
    assert "  back again: invoke db.undo\n" in ran.stdout
    assert "what was written since the restore would be lost" in ran.stderr
    assert "counting does not see rows that were changed in place" in ran.stderr
    assert count(host.root / "shop.db") == 60


def test_without_a_terminal_the_flag_to_add_is_named(host: Project) -> None:
    ran = host.invoke("db.undo")
    assert ran.returncode == 6
    assert "--yes" in ran.stderr
    assert "--into" not in ran.stderr
    protected = {"DBTASKS_PROTECT": "shop"}
    refused = host.invoke("db.undo", "--yes", **protected)
    assert refused.returncode == 6
    assert "--confirm=shop.db" in refused.stderr
    assert host.invoke("db.undo", "--confirm=other", **protected).returncode == 6
    assert count(host.root / "shop.db") == 100
    assert host.invoke("db.undo", "--confirm=shop", **protected).returncode == 0
    assert count(host.root / "shop.db") == 60


def test_at_a_terminal_the_name_is_asked_for(host: Project) -> None:
    declined = at_terminal(host, "db.undo", dialog=[("Type the database's name", "no\n")])
    assert declined.returncode == 6
    assert count(host.root / "shop.db") == 100
    done = at_terminal(host, "db.undo", dialog=[("Type the database's name", "shop\n")])
    assert done.returncode == 0, done.text
    assert count(host.root / "shop.db") == 60


@pytest.mark.parametrize("arguments", [("db.undo", "--dry-run"), ("--dry", "db.undo")])
def test_d23_a_dry_run_shows_the_plan_and_changes_nothing(host: Project, arguments: tuple[str, ...]) -> None:
    before = tree(host.root)
    ran = host.invoke(*arguments)
    assert ran.returncode == 0, ran.stderr
    assert re.search(r"^Rows     table +restored +now +since +comes back", ran.stdout, re.MULTILINE)
    assert re.search(r"item +100 +100 +\+0 +60", ran.stdout)
    assert ran.stdout.endswith("Nothing was touched (dry run).\n")
    after = {k: v for k, v in tree(host.root).items() if "__pycache__" not in k}
    assert after == {k: v for k, v in before.items() if "__pycache__" not in k}


def test_json_is_one_document_and_never_asks(host: Project) -> None:
    asked = host.invoke("db.undo", "--json")
    assert json.loads(asked.stdout)["error"]["code"] == "needs_confirmation"
    planned = json.loads(host.invoke("db.undo", "--json", "--dry-run").stdout)
    assert planned["plan"]["way"] == "safety backup"
    assert planned["plan"]["changes"] == [
        {"table": "item", "restored_rows": 100, "live_rows": 100, "back_rows": 60}
    ]
    done = json.loads(host.invoke("db.undo", "--json", "--yes").stdout)
    assert done["ok"]
    assert done["undo"]["undone"]["id"] == planned["plan"]["undoes"]["id"]
    assert done["undo"]["way_back"] == "db.undo"


def test_nothing_to_undo_is_4(project: Project) -> None:
    project.mount()
    make(project.root / "shop.db")
    ran = project.invoke("db.undo", "--yes", DATABASE_URL="sqlite:///shop.db")
    assert ran.returncode == 4
    assert "nothing to undo" in ran.stderr
    assert not (project.root / "backups").exists()


def test_a_mount_of_another_name_names_its_own_undo(project: Project) -> None:
    project.mount("""\
from invoke import Collection
import dbtasks

ns = Collection()
second = {"dbtasks": {"env_prefix": "ANALYTICS_"}}
ns.add_collection(dbtasks, name="db")
ns.add_collection(Collection.from_module(dbtasks, name="analytics", config=second))
""")
    make(project.root / "stats.db")
    environ = {"DATABASE_URL": "sqlite:///shop.db", "ANALYTICS_URL": "sqlite:///stats.db"}
    assert project.invoke("analytics.backup", **environ).returncode == 0
    ran = project.invoke("analytics.restore", "--file=latest", "--yes", **environ)
    assert "back again: invoke analytics.undo\n" in ran.stdout
    assert project.invoke("db.undo", "--yes", **environ).returncode == 4
    assert project.invoke("analytics.undo", "--yes", **environ).returncode == 0


def test_the_log_tells_undos_apart(host: Project) -> None:
    host.invoke("db.undo", "--yes")
    runs = json.loads(host.invoke("db.log", "--json").stdout)["runs"]
    assert [one["task"] for one in runs] == ["undo", "restore", "backup"]


def test_a_file_that_vanished_comes_back(shop: tuple[dbtasks.Settings, Path]) -> None:
    config, path = shop
    restore(config)
    path.unlink()
    undo(config)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM item").fetchone() == (60,)
