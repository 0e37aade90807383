"""A backup proven by a restore: into a temporary SQLite file, compared, stamped, and nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dbtasks
from dbtasks.engines.sqlite import facts
from dbtasks.errors import NotFound, StoreFull, UsageError
from dbtasks.events import Phase
from dbtasks.executors.shares import Share, parse_share
from dbtasks.manifest import SUFFIX, dump_manifest, load_manifest
from dbtasks.models import Backup, Compression, Type
from dbtasks.stores.local import LocalStore
from tests.conftest import REPOSITORY, Project
from tests.disks import CAN_MOUNT, fill_up, small_disk
from tests.moments import at_phase
from tests.sqlite.databases import content, leftovers, make, run, settings

Shop = tuple[dbtasks.Settings, Path]


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return settings(tmp_path), make(tmp_path / "app.db")


@pytest.fixture
def host(project: Project) -> Project:
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    make(project.root / "shop.db", 100)
    assert project.invoke("db.backup").returncode == 0
    return project


def made_with(config: dbtasks.Settings, **changes: Any) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(**changes))


def proven(config: dbtasks.Settings, *backups: Backup, **options: Any) -> tuple[dbtasks.Verified, ...]:
    return dbtasks.verify(config, backups, restore=True, **options)


def forged(backup: Backup, **changes: Any) -> Backup:
    """Write a manifest that tells something else than the archive holds."""
    manifest = replace(backup.manifest, **changes)
    backup.path.with_name(backup.path.name + SUFFIX).write_bytes(dump_manifest(manifest))
    return replace(backup, manifest=manifest)


def off_by_one(backup: Backup) -> Backup:
    tables = [replace(t, rows=(t.rows or 0) + 1) if t.name == "item" else t for t in backup.manifest.tables]
    return forged(backup, tables=tuple(tables))


# -- what a proof shows and writes down --------------------------------------------------


@pytest.mark.parametrize("codec", Compression)
def test_a_proof_says_into_what_it_restored_and_how_long_it_took_and_leaves_nothing(
    shop: Shop, codec: Compression
) -> None:
    config, path = shop
    made = made_with(config, request=dbtasks.DumpRequest(compression=codec))
    live = content(path)
    seen: list[list[str]] = []

    def look() -> None:
        (draft,) = (config.backup_dir / ".proofs").iterdir()
        assert draft.stat().st_mode & 0o777 == 0o700
        seen.append(sorted(p.name for p in draft.iterdir()))

    (done,) = proven(config, made, on_event=at_phase("check", look))
    assert done.ok
    assert done.restored is not None
    assert (done.restored.tables, done.restored.rows) == (2, 101)
    assert done.restored.how == "restored into a temporary file; 2 tables, 101 rows as in the manifest"
    assert done.restored.seconds > 0
    assert ["archive", "lock"] in seen, "it was there, in a private folder of the store's disk"
    assert leftovers(path.parent) == []
    assert list((config.backup_dir / ".proofs").iterdir()) == []
    assert content(path) == live
    (stored,) = dbtasks.list_backups(config).backups
    assert stored.manifest.restored_how == done.restored.how
    assert stored.manifest.restored_seconds == pytest.approx(done.restored.seconds, abs=0.001)
    assert stored.manifest.restored_at is not None
    assert stored.manifest.restored_at >= stored.manifest.verified_at


def test_the_live_database_need_not_be_there(shop: Shop) -> None:
    config, path = shop
    made = made_with(config)
    path.unlink()
    assert proven(config, made)[0].ok
    assert not path.exists()


def test_a_later_reading_keeps_the_proof_and_a_restore_into_nowhere_does_not_change_latest(
    shop: Shop,
) -> None:
    config, _ = shop
    older, newer = made_with(config), made_with(config)
    proven(config, older)
    dbtasks.verify(config, dbtasks.list_backups(config).backups)
    backups = {b.id: b for b in dbtasks.list_backups(config).backups}
    assert backups[older.id].manifest.restored_at is not None
    assert backups[newer.id].manifest.restored_at is None
    assert dbtasks.find(config, "latest").id == newer.id


def test_manifests_from_before_there_were_proofs_are_read_and_nonsense_in_the_new_fields_is_damage(
    shop: Shop,
) -> None:
    config, _ = shop
    made = made_with(config)
    path = made.path.with_name(made.path.name + SUFFIX)
    document = json.loads(path.read_text())
    new = {name for name in document if name.startswith("restored_")}
    assert new == {"restored_at", "restored_how", "restored_seconds"}
    older = {name: value for name, value in document.items() if name not in new}
    assert load_manifest(json.dumps(older).encode()).restored_at is None
    for wrong in (
        {"restored_at": "soon"},
        {"restored_seconds": -1},
        {"restored_seconds": True},
        {"restored_how": 3},
    ):
        with pytest.raises(dbtasks.DbTasksError, match="manifest cannot be read"):
            load_manifest(json.dumps({**document, **wrong}).encode())


# -- what a proof finds -----------------------------------------------------------------


def test_c06_rows_that_differ_from_the_manifest_are_named_and_the_backup_counts_for_nothing(
    shop: Shop,
) -> None:
    config, _ = shop
    made = off_by_one(made_with(config))
    assert dbtasks.verify(config, [made])[0].ok, "reading alone cannot see it"
    (done,) = proven(config, made)
    assert (done.ok, done.exit_code, done.restored) == (False, 5, None)
    assert "item: 100 instead of 101" in done.how
    with pytest.raises(NotFound):
        dbtasks.find(config, "latest")
    assert leftovers(config.root) == []


def test_an_index_that_does_not_know_its_rows_is_found_though_reading_was_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facts, "FULL_CHECK_BYTES", 0)
    path = make(tmp_path / "app.db")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (row,) = connection.execute("SELECT * FROM sqlite_master WHERE name = 'item_body'").fetchall()
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("DELETE FROM sqlite_master WHERE name = 'item_body'")
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO item VALUES (1000, 'unknown')")
        connection.execute("PRAGMA writable_schema=ON")
        connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", row)
    config = settings(tmp_path)
    (done,) = proven(config, made_with(config))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "integrity_check" in done.how


def test_f14_foreign_keys_that_were_broken_in_the_source_are_known_others_are_not(shop: Shop) -> None:
    config, path = shop
    run(path, "INSERT INTO note VALUES (2, 4711)")
    made = made_with(config)
    assert any("breaks a foreign key" in text for text in made.manifest.warnings)
    assert proven(config, made)[0].ok
    (done,) = proven(config, forged(made, warnings=()))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "note: once a row breaks a foreign key" in done.how
    assert "not marked" in done.how
    assert dbtasks.find(config, "latest").id == made.id


def test_an_archive_that_was_damaged_is_not_even_loaded(shop: Shop) -> None:
    config, _ = shop
    made = made_with(config)
    data = bytearray(made.path.read_bytes())
    data[-3] ^= 1
    made.path.write_bytes(data)
    phases: list[str] = []
    (done,) = proven(config, made, on_event=lambda e: phases.append(e.name) if isinstance(e, Phase) else None)
    assert (done.ok, done.exit_code) == (False, 5)
    assert "load" not in phases


def test_a_bad_one_does_not_stop_the_others_and_each_is_named_in_the_log(shop: Shop) -> None:
    config, _ = shop
    first, second, third = (made_with(config) for _ in range(3))
    done = proven(config, first, off_by_one(second), third)
    assert [r.ok for r in done] == [True, False, True]
    line = dbtasks.list_runs(config)[0]
    assert (line.task, line.ok, line.exit_code) == ("verify", False, 5)
    assert second.id in line.message
    assert [entry["backup"] for entry in line.extra["restored"]] == [first.id, third.id]


def test_the_log_says_what_was_proven_and_how_long_it_took(shop: Shop) -> None:
    config, _ = shop
    made = made_with(config)
    proven(config, made)
    line = dbtasks.list_runs(config)[0]
    assert line.ok
    assert line.message.startswith(f"{made.id} restored into a temporary file; 2 tables, 101 rows")
    assert line.message.endswith(" s")


# -- what is left behind ------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["load", "check"])
def test_a10_an_interrupted_proof_leaves_nothing(shop: Shop, phase: str) -> None:
    config, path = shop
    made = made_with(config)

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        proven(config, made, on_event=at_phase(phase, stop))
    assert list((config.backup_dir / ".proofs").iterdir() if phase == "check" else ()) == []
    assert leftovers(path.parent) == []
    assert dbtasks.list_runs(config)[0].exit_code == 130
    assert dbtasks.find(config, "latest").manifest.restored_at is None


KILLED = """
import os, pathlib, signal, sys, dbtasks
config = dbtasks.load_settings(pathlib.Path(sys.argv[1]), environ={}, url="sqlite:///app.db")
def die(event):
    if getattr(event, "name", "") == "check":
        os.kill(os.getpid(), signal.SIGKILL)
dbtasks.verify(config, [dbtasks.find(config, "latest")], restore=True, on_event=die)
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a08_what_a_killed_proof_leaves_is_removed_by_the_next_one(shop: Shop) -> None:
    config, path = shop
    made = made_with(config)
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path.parent)], env=environ)
    assert killed.returncode == -signal.SIGKILL
    (left,) = (config.backup_dir / ".proofs").iterdir()
    assert (left / "archive").is_file()
    assert dbtasks.list_backups(config).foreign == ()
    assert proven(config, made)[0].ok
    assert list((config.backup_dir / ".proofs").iterdir()) == []


if CAN_MOUNT:

    @pytest.mark.fault
    def test_a_disk_without_room_for_the_copy_is_told_before_and_marks_nothing(tmp_path: Path) -> None:
        make(tmp_path / "app.db", 3000)
        with small_disk(tmp_path / "disk", "2m") as disk:
            config = settings(tmp_path, backup_dir=str(disk / "backups"))
            made = made_with(config)
            filler = fill_up(disk, leave=100_000)
            with pytest.raises(StoreFull, match="needs about") as caught:
                proven(config, made)
            assert caught.value.exit_code == 9
            filler.unlink()
            assert not dbtasks.find(config, "latest").manifest.damage
            assert proven(config, made)[0].ok


# -- retention --------------------------------------------------------------------------------


def test_cleanup_keeps_the_last_backup_that_a_restore_has_proven(shop: Shop) -> None:
    config, _ = shop
    oldest, proved, *newer = (made_with(config) for _ in range(5))
    proven(config, oldest, proved)
    plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    kept = {d.backup.id: d.reasons for d in plan.retention.decisions if d.keep}
    assert set(kept) == {proved.id, newer[-1].id}
    assert kept[proved.id] == ("the last backup proven by a restore",)
    dbtasks.cleanup(config, plan)
    proven(config, dbtasks.find(config, "latest"))
    after = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    assert [b.id for b in after.retention.kept] == [newer[-1].id]


def test_a_proven_backup_that_was_found_damaged_since_is_no_reason_to_stay(shop: Shop) -> None:
    config, _ = shop
    older, proved, _ = (made_with(config) for _ in range(3))
    proven(config, older, proved)
    stored = {b.id: b for b in dbtasks.list_backups(config).backups}[proved.id]
    LocalStore(config.backup_dir).replace_manifest(stored, replace(stored.manifest, damage="it rotted"))
    plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    assert older.id in {b.id for b in plan.retention.kept}


def test_each_type_of_backup_may_be_the_proven_one(shop: Shop) -> None:
    config, _ = shop
    made = made_with(config, type=Type.MONTHLY)
    proven(config, made)
    made_with(config, type=Type.MONTHLY)
    plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    assert made.id in {b.id for b in plan.retention.kept}


# -- shares -----------------------------------------------------------------------------------


@given(st.text("abcdefghjkmnpqrstuvwxyz23456789", min_size=6, max_size=6), st.integers(1, 40))
def test_every_backup_belongs_to_exactly_one_share(id_: str, of: int) -> None:
    assert sum(Share(number, of).holds(id_) for number in range(1, of + 1)) == 1


def test_a_backup_stays_in_its_share_whatever_else_there_is() -> None:
    """The numbers are part of what users rely on: a backup that changed its share could be left out for a week."""
    found = {
        id_: [n for n in range(1, 8) if Share(n, 7).holds(id_)] for id_ in ("k3f9a1", "zzzzzz", "a2b3c4")
    }
    assert found == {"k3f9a1": [2], "zzzzzz": [6], "a2b3c4": [2]}


@pytest.mark.parametrize(
    "text", ["", "7", "0/7", "8/7", "1/0", "1/-7", "-1/7", "a/b", "1/7/2", " 1/7", "1.0/7", "٣/7"]
)
def test_h11_a_share_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_share(text)


# -- as people and scripts use it ---------------------------------------------------------------


def test_people_see_the_proof_in_the_result_in_the_list_and_in_show(host: Project) -> None:
    done = host.invoke("db.verify", "--restore")
    assert done.returncode == 0, done.stderr
    assert "  restored into a temporary file; 2 tables, 101 rows as in the manifest, in " in done.stdout
    assert "✓ restored " in host.invoke("db.list").stdout
    assert "Proven      " in host.invoke("db.show").stdout
    (line,) = json.loads(host.invoke("db.log", "--last=1", "--json").stdout)["runs"]
    assert "restored into a temporary file" in line["message"]


def test_json_tells_the_proof_and_the_list_has_it_too(host: Project) -> None:
    done = json.loads(host.invoke("db.verify", "--restore", "--json").stdout)
    (entry,) = done["verified"]
    assert set(entry["restored"]) == {"how", "seconds", "tables", "rows"}
    assert (entry["ok"], entry["exit_code"], entry["restored"]["rows"]) == (True, 0, 101)
    (listed,) = json.loads(host.invoke("db.list", "--json").stdout)["backups"]
    assert listed["restored_how"] == entry["restored"]["how"]
    assert listed["restored_seconds"] == entry["restored"]["seconds"]
    read = json.loads(host.invoke("db.verify", "--json").stdout)
    assert read["verified"][0]["restored"] is None


def test_a_failed_proof_ends_with_5_and_names_the_table(host: Project) -> None:
    (path,) = host.root.glob("backups/manual/*.manifest.json")
    path.write_text(path.read_text().replace('"rows": 100', '"rows": 99'))
    done = host.invoke("db.verify", "--restore")
    assert done.returncode == 5
    assert "item: 100 instead of 99" in done.stdout
    assert "✗ damaged" in host.invoke("db.list").stdout


@pytest.mark.long
def test_the_shares_of_a_week_verify_every_backup_once_with_and_without_a_restore(host: Project) -> None:
    for _ in range(2):
        assert host.invoke("db.backup").returncode == 0
    ids = {b["id"] for b in json.loads(host.invoke("db.list", "--json").stdout)["backups"]}
    for flags in ((), ("--restore",)):
        seen: list[str] = []
        for number in range(1, 4):
            ran = host.invoke("db.verify", f"--subset={number}/3", "--json", *flags)
            assert ran.returncode == 0, ran.stderr
            seen += [entry["id"] for entry in json.loads(ran.stdout)["verified"]]
        assert sorted(seen) == sorted(ids)


def test_an_empty_share_and_an_empty_store_are_said_and_no_failure(host: Project) -> None:
    (id_,) = (b["id"] for b in json.loads(host.invoke("db.list", "--json").stdout)["backups"])
    other = 1 if Share(2, 2).holds(id_) else 2
    ran = host.invoke("db.verify", "--restore", f"--subset={other}/2")
    assert (ran.returncode, ran.stdout) == (
        0,
        f"No backup of this database belongs to the share {other}/2: nothing to verify.\n",
    )
    for path in host.root.glob("backups/manual/*"):
        path.unlink()
    none = host.invoke("db.verify", "--all")
    assert (none.returncode, none.stdout) == (
        0,
        "There are no backups of this database: nothing to verify.\n",
    )


def test_a_dry_run_says_where_to_and_writes_nothing(host: Project) -> None:
    before = sorted(str(p) for p in (host.root / "backups").rglob("*"))
    ran = host.invoke("db.verify", "--restore", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    assert "  and restore it into a temporary file\n" in ran.stdout
    planned = json.loads(host.invoke("db.verify", "--restore", "--dry-run", "--json").stdout)
    assert planned["dry_run"] is True
    assert [entry["into"] for entry in planned["would_restore"]] == ["a temporary file"]
    assert sorted(str(p) for p in (host.root / "backups").rglob("*")) == before


@pytest.mark.long
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--subset=8/7",), "share 8/7 does not exist"),
        (("--subset=x",), "--subset=x: allowed is N/M"),
        (("--subset=1/7", "--file=1"), "exclude each other"),
        (("--in=server",), "it needs --restore"),
        (("--in=nowhere", "--restore"), "allowed is auto, server, throwaway"),
        (("--in=throwaway", "--restore"), "means nothing for SQLite"),
        (("--via=host", "--restore"), "via"),
    ],
)
def test_flags_that_mean_nothing_are_refused(host: Project, flags: tuple[str, ...], words: str) -> None:
    ran = host.invoke("db.verify", *flags)
    assert ran.returncode == 2, ran.stdout
    assert words in ran.stderr
