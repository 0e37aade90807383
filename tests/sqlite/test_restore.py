"""SQLite restores into files in every state: F06 to F13, damage, locks, other targets."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import (
    ArchiveDamaged,
    Busy,
    CountsDiffer,
    LoadFailed,
    NotFound,
    Refused,
    SettingsError,
    UsageError,
    WrongEngine,
)
from dbtasks.executors.backup import BackupJob
from dbtasks.models import Compression, Type
from dbtasks.plans import DumpRequest, LoadRequest, LoadStrategy, TargetState
from tests.disks import CAN_MOUNT

from .databases import (
    SIDECARS,
    ask,
    assert_whole,
    content,
    count,
    crash_in_transaction,
    crash_with_wal,
    holder,
    leftovers,
    make,
    process,
    run,
    settings,
    tree,
)


def restore(config: dbtasks.Settings, file: str = "latest", **job: object) -> dbtasks.RestoreResult:
    return dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(file, **job)))  # type: ignore[arg-type]


def live(root: Path) -> dict[str, object]:
    """Return the live file and its journals, byte for byte."""
    return {name: facts for name, facts in tree(root).items() if name.startswith("app.db")}


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_f06_a_wal_left_beside_the_target_does_not_reach_the_restored_data(
    tmp_path: Path, journal: str
) -> None:
    path = make(tmp_path / "app.db", 300, journal=journal)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    crash_with_wal(path, 50)
    restore(config)
    assert content(path) == before
    assert_whole(path)


def test_f06_a_wal_without_its_database_is_moved_aside_not_replayed(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 300)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    crash_with_wal(path, 50)
    path.unlink()
    stale = path.with_name("app.db-wal").read_bytes()
    result = restore(config)
    assert content(path) == before
    assert_whole(path)
    assert result.old is not None
    assert (Path(result.old) / "app.db-wal").read_bytes() == stale


def test_f07_a_hot_journal_beside_the_target_does_not_reach_the_restored_data(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    run(path, "DELETE FROM item WHERE id % 2")
    crash_in_transaction(path)
    restore(config)
    assert content(path) == before
    assert not path.with_name("app.db-journal").exists()
    assert_whole(path)


def test_f07_a_hot_journal_of_a_file_that_is_gone_is_moved_aside(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    crash_in_transaction(path)
    path.unlink()
    restore(config)
    assert content(path) == before
    assert_whole(path)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_f08_f10_an_application_that_has_the_file_open_sees_the_restored_data_and_writes_on(
    tmp_path: Path, journal: str
) -> None:
    path = make(tmp_path / "app.db", 500, journal=journal)
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "DELETE FROM item")
    inode = path.stat().st_ino
    with holder(path, "SELECT count(*) FROM item") as application:
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
        assert any(str(application.pid) in session for session in plan.load.sessions)
        dbtasks.restore(config, plan)
        assert ask(application, "SELECT count(*) FROM item") == "[(500,)]"
        assert ask(application, "INSERT INTO item (body) VALUES ('after')") == "[]"
    assert path.stat().st_ino == inode
    assert count(path) == 501
    assert_whole(path)


def test_f09_a_file_that_is_open_is_never_overwritten_and_survives_the_applications_checkpoint(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "app.db", 200, journal="wal")
    config = settings(tmp_path)
    dbtasks.backup(config)
    inode = path.stat().st_ino
    with holder(path, "PRAGMA wal_autocheckpoint=0") as application:
        # pages that are only in the WAL, and in the application's cache
        ask(application, "UPDATE item SET body = body || 'late'")
        ask(application, "DELETE FROM note")
        restore(config, "latest")
        assert ask(application, "PRAGMA wal_checkpoint(TRUNCATE)") == "[(0, 0, 0)]"
        ask(application, "INSERT INTO note VALUES (2, 2)")
        assert ask(application, "PRAGMA integrity_check") == "[('ok',)]"
    assert path.stat().st_ino == inode
    assert run(path, "SELECT count(*) FROM item WHERE body LIKE '%late'") == [(0,)]
    assert (count(path), count(path, "note")) == (200, 2)
    assert_whole(path)


def test_f10_a_reader_inside_a_transaction_keeps_its_view_under_wal(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 500, journal="wal")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "DELETE FROM item")
    with holder(path, "BEGIN", "SELECT count(*) FROM item") as application:
        restore(config)
        assert ask(application, "SELECT count(*) FROM item") == "[(0,)]"
        assert ask(application, "COMMIT") == "[]"
        assert ask(application, "SELECT count(*) FROM item") == "[(500,)]"


def test_f11_another_page_size_under_wal_is_restored_when_nobody_has_the_file_open(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 500, page_size=8192)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    path.unlink()
    make(path, 10, journal="wal", page_size=4096)
    restore(config)
    assert content(path) == before
    assert run(path, "PRAGMA page_size") == [(8192,)]
    assert run(path, "PRAGMA journal_mode") == [("wal",)]
    assert_whole(path)


def test_f11_another_page_size_under_wal_is_busy_while_an_application_has_it_open(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 500, page_size=8192)
    config = settings(tmp_path, lock_timeout="0.3")
    dbtasks.backup(config)
    path.unlink()
    make(path, 10, journal="wal", page_size=4096)
    before = content(path)
    with holder(path, "SELECT count(*) FROM item") as application:
        with pytest.raises(Busy) as caught:
            restore(config)
        assert caught.value.exit_code == 7
        assert "app.db is as it was" in caught.value.state
        assert ask(application, "INSERT INTO item (body) VALUES ('after')") == "[]"
    assert count(path) == 11
    run(path, "DELETE FROM item WHERE body = 'after'")
    assert content(path) == before
    assert run(path, "PRAGMA journal_mode") == [("wal",)]
    assert leftovers(tmp_path) == []


def test_a_writer_that_holds_the_target_ends_the_restore_in_time_and_nothing_changes(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 500)
    config = settings(tmp_path, lock_timeout="0.3")
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    before = content(path)
    with holder(path, "BEGIN IMMEDIATE") as application:
        with pytest.raises(Busy) as caught:
            dbtasks.restore(config, plan)
        assert "app.db is as it was" in caught.value.state
        assert ask(application, "ROLLBACK") == "[]"
    assert content(path) == before
    assert leftovers(tmp_path) == []


def _bad_backups(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is mistaken for a backup, with the exit code it must meet."""
    good = make(root / "good.sqlite3", 500).read_bytes()
    (root / "good.sqlite3").unlink()
    return {
        "empty": (b"", 5),
        "header_only": (good[:16], 5),
        "half_a_header": (good[:60], 5),
        "cut": (good[: len(good) // 2], 5),
        "cut_by_one_page": (good[:-4096], 5),
        "text": (b"these are notes, not a database\n" * 200, 6),
        "random": (os.urandom(9000), 6),
        "gzip_of_text": (gzip.compress(b"notes\n" * 999), 6),
        "gzip_cut": (gzip.compress(good)[:-4000], 5),
        "gzip_of_nothing": (gzip.compress(b""), 5),
        "gzip_without_a_body": (gzip.compress(b"x")[:10], 5),
        "zip": (b"PK\3\4" + good, 6),
        "postgresql": (b"PGDMP\1\16" + bytes(3000), 6),
        "mysql": (b"-- MySQL dump 10.13\n", 6),
        "page_zeroed": (good[:8192] + bytes(4096) + good[12288:], 5),
        "tables_gone": (good[:100] + bytes(4096 - 100) + good[4096:], 5),
    }


BAD = [
    "empty",
    "header_only",
    "half_a_header",
    "cut",
    "cut_by_one_page",
    "text",
    "random",
    "gzip_of_text",
    "gzip_cut",
    "gzip_of_nothing",
    "gzip_without_a_body",
    "zip",
    "postgresql",
    "mysql",
    "page_zeroed",
    "tables_gone",
]


@pytest.mark.parametrize("kind", BAD)
def test_f12_f13_what_is_no_whole_backup_is_refused_before_the_target_is_opened(
    tmp_path: Path, kind: str
) -> None:
    path = make(tmp_path / "app.db")
    data, code = _bad_backups(tmp_path)[kind]
    (tmp_path / "bad").write_bytes(data)
    before = tree(tmp_path)
    config = settings(tmp_path, lock_timeout="0.1")
    with holder(path, "BEGIN EXCLUSIVE"), pytest.raises(dbtasks.DbTasksError) as caught:
        # a target that was opened would be Busy
        restore(config, "./bad", request=LoadRequest(unverified=True))
    assert caught.value.exit_code == code
    assert tree(tmp_path) == before


def test_every_kind_of_bad_backup_is_tried(tmp_path: Path) -> None:
    assert sorted(_bad_backups(tmp_path)) == sorted(BAD)


def test_c09_a_foreign_file_is_taken_only_with_unverified(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 10)
    make(tmp_path / "theirs.db", 77, journal="wal")
    config = settings(tmp_path)
    before = live(tmp_path)
    with pytest.raises(Refused) as caught:
        restore(config, "theirs.db")
    assert caught.value.exit_code == 6
    assert "--unverified" in caught.value.hint
    assert live(tmp_path) == before
    result = restore(config, "theirs.db", request=LoadRequest(unverified=True))
    assert count(path) == 77
    assert not result.checked_against_manifest
    assert result.safety_backup is not None
    assert count(result.safety_backup.path) == 10


def test_a_foreign_database_file_with_a_wal_beside_it_is_refused_because_half_of_it_is_there(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "app.db", 10)
    make(tmp_path / "theirs.db", 77, journal="wal")
    crash_with_wal(tmp_path / "theirs.db", 5)
    before = live(tmp_path)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        restore(settings(tmp_path), "theirs.db", request=LoadRequest(unverified=True))
    assert "theirs.db-wal" in caught.value.message
    assert live(tmp_path) == before
    assert count(path) == 10


def test_f14_rows_that_break_a_foreign_key_come_back_with_a_warning_when_the_source_had_them(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "app.db")
    run(path, "INSERT INTO note VALUES (2, 4711)")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "DELETE FROM note")
    restore(config)
    assert run(path, "PRAGMA foreign_key_check") != []
    assert count(path, "note") == 2


def _damage(path: Path) -> bytes:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 * 3] = bytes(8192)
    path.write_bytes(data)
    return bytes(data)


def test_f07_a_damaged_live_file_is_moved_aside_as_one_unit_and_stays_intact_there(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    damaged = _damage(path)
    path.chmod(0o640)
    path.with_name("app.db-wal").write_bytes(b"remains")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    assert plan.load.state is TargetState.DAMAGED
    assert plan.load.strategy is LoadStrategy.ASIDE
    assert not plan.safety
    result = dbtasks.restore(config, plan)
    assert content(path) == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert [path.with_name(f"app.db{s}").exists() for s in SIDECARS] == [False] * 3
    assert result.old is not None
    assert (Path(result.old) / "app.db").read_bytes() == damaged
    assert (Path(result.old) / "app.db-wal").read_bytes() == b"remains"
    assert result.old in result.way_back


def test_a_text_file_in_place_of_the_database_is_moved_aside(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 20)
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.write_text("oops\n" * 500)
    result = restore(config)
    assert count(path) == 20
    assert result.old is not None
    assert (Path(result.old) / "app.db").read_text().startswith("oops")


def test_a_damaged_file_that_a_process_has_open_is_refused_naming_the_process(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    config = settings(tmp_path)
    dbtasks.backup(config)
    with holder(path, "SELECT count(*) FROM sqlite_master") as application:
        _damage(path)
        before = live(tmp_path)
        with pytest.raises(Refused) as caught:
            restore(config)
        assert str(application.pid) in caught.value.message
        assert caught.value.exit_code == 6
        assert live(tmp_path) == before


def test_a_process_that_opens_the_damaged_file_after_the_plan_stops_the_restore(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    config = settings(tmp_path)
    dbtasks.backup(config)
    _damage(path)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    with holder(path, "PRAGMA page_size", "SELECT 1 FROM sqlite_master") as application:
        before = live(tmp_path)
        with pytest.raises(Refused, match=str(application.pid)):
            dbtasks.restore(config, plan)
        assert live(tmp_path) == before


def test_a_missing_target_is_created_with_its_folders_and_needs_no_safety_backup(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    path.unlink()
    result = restore(config)
    assert content(path) == before
    assert result.safety_backup is None
    copy = restore(config, into="new/folder/copy.db")
    assert content(tmp_path / "new/folder/copy.db") == before
    assert copy.target.name == "copy.db"
    assert leftovers(tmp_path) == []


def test_an_empty_target_is_filled_and_needs_no_safety_backup(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    before = content(path)
    dbtasks.backup(config)
    path.write_bytes(b"")
    result = restore(config)
    assert content(path) == before
    assert result.safety_backup is None


def test_a_target_that_appears_after_the_plan_is_never_replaced(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.unlink()
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    make(path, 3)
    before = live(tmp_path)
    with pytest.raises((LoadFailed, Refused)):
        dbtasks.restore(config, plan)
    assert live(tmp_path) == before


def test_a_symbolic_link_as_target_is_restored_through_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    real = make(tmp_path / "data" / "real.db")
    (tmp_path / "app.db").symlink_to(real)
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(real, "DELETE FROM item")
    restore(config)
    assert (tmp_path / "app.db").is_symlink()
    assert count(real) == 100


def test_the_safety_backup_brings_the_former_state_back(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "UPDATE item SET body = 'newer'")
    newer = content(path)
    result = restore(config)
    assert content(path) != newer
    assert result.safety_backup is not None
    assert result.way_back == "db.undo"
    restore(config, result.safety_backup.id)
    assert content(path) == newer


def test_d21_a_safety_backup_that_fails_stops_the_restore(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    (tmp_path / "backups" / "safety").write_text("a file where the folder should be")
    before = live(tmp_path)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.restore(config, plan)
    assert "was not touched" in caught.value.state
    assert live(tmp_path) == before
    skipping = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", skip_safety_backup=True))
    run(path, "DELETE FROM item")
    dbtasks.restore(config, skipping)
    assert count(path) == 100


def test_d22_e19_counts_that_differ_from_the_manifest_keep_nothing_of_the_load(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    manifest = made.path.with_name(f"{made.path.name}.manifest.json")
    document = json.loads(manifest.read_text())
    document["tables"][0]["rows"] += 1
    manifest.write_text(json.dumps(document))
    run(path, "DELETE FROM item WHERE id > 5")
    before = content(path)
    with pytest.raises(CountsDiffer) as caught:
        restore(config)
    assert caught.value.exit_code == 5
    assert "item: 100 instead of 101" in caught.value.details
    assert "app.db is as it was" in caught.value.state
    assert content(path) == before
    assert leftovers(tmp_path) == []
    assert dbtasks.list_runs(config)[0].exit_code == 5


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_c01_c02_any_flipped_bit_is_found_by_verify_and_refused_by_restore(
    tmp_path: Path, codec: str
) -> None:
    make(tmp_path / "app.db", 300)
    config = settings(tmp_path)
    made = dbtasks.backup(config, BackupJob(request=DumpRequest(compression=Compression(codec))))
    good = made.path.read_bytes()
    before = live(tmp_path)
    for position in range(0, len(good), max(1, len(good) // 12)):
        flipped = bytearray(good)
        flipped[position] ^= 1 << position % 8
        made.path.write_bytes(flipped)
        with pytest.raises(ArchiveDamaged):
            dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    (verified,) = dbtasks.verify(config, [made])
    assert not verified.ok
    assert live(tmp_path) == before


@pytest.mark.parametrize("codec", ["none", "gzip", "zstd"])
def test_c03_c04_c05_an_archive_cut_emptied_or_grown_is_shown_damaged_and_refused(
    tmp_path: Path, codec: str
) -> None:
    make(tmp_path / "app.db", 300)
    config = settings(tmp_path)
    made = dbtasks.backup(config, BackupJob(request=DumpRequest(compression=Compression(codec))))
    good = made.path.read_bytes()
    before = live(tmp_path)
    cuts = [good[: len(good) * part // 9] for part in range(9)]
    for data in [*cuts, good[:-1], good + b"\0", good + good]:
        made.path.write_bytes(data)
        with pytest.raises(dbtasks.DbTasksError) as caught:
            restore(config, made.id)
        assert caught.value.exit_code == 5, len(data)
        with pytest.raises(NotFound):
            dbtasks.find(config, "latest")
        (listed,) = dbtasks.list_backups(config).backups
        assert listed.manifest.damage
        (verified,) = dbtasks.verify(config, [listed])
        assert not verified.ok
        assert live(tmp_path) == before
    made.path.write_bytes(good)
    (listed,) = dbtasks.list_backups(config).backups
    (verified,) = dbtasks.verify(config, [listed])
    assert verified.ok
    assert dbtasks.find(config, "latest").id == made.id


def test_c06_an_archive_without_a_fitting_manifest_needs_unverified(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    one, two = dbtasks.backup(config), dbtasks.backup(config)
    first, second = (b.path.with_name(f"{b.path.name}.manifest.json") for b in (one, two))
    kept = first.read_bytes(), second.read_bytes()
    for change in (
        lambda: first.unlink(),
        lambda: first.write_text("{"),
        lambda: first.write_text('{"schema_version": 1}'),
        lambda: first.write_bytes(kept[1]),
    ):
        change()
        assert one.id not in [b.id for b in dbtasks.list_backups(config).backups]
        assert one.path in [f.path for f in dbtasks.list_backups(config).foreign]
        for selector in (one.path.name, str(one.path)):
            with pytest.raises(Refused, match="manifest"):
                restore(config, selector)
        first.write_bytes(kept[0])
    first.unlink()
    restore(config, str(one.path), request=LoadRequest(unverified=True))
    assert count(path) == 100


def test_c07_an_archive_replaced_between_plan_and_restore_is_not_loaded(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
    make(tmp_path / "evil.db", 3)
    shutil.copyfile(tmp_path / "evil.db", made.path)
    run(path, "DELETE FROM note")
    before = content(path)
    with pytest.raises((ArchiveDamaged, Refused)) as caught:
        dbtasks.restore(config, plan)
    assert "app.db is as it was" in caught.value.state
    assert content(path) == before


def test_c07_a_link_in_place_of_an_archive_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    elsewhere = tmp_path / "elsewhere"
    made.path.rename(elsewhere)
    made.path.symlink_to(elsewhere)
    with pytest.raises(NotFound):
        dbtasks.find(config, "latest")
    with pytest.raises(dbtasks.DbTasksError):
        restore(config, str(made.path), request=LoadRequest(unverified=True))


def test_a_damaged_backup_is_marked_skipped_by_latest_and_refused(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    older, newer = dbtasks.backup(config), dbtasks.backup(config)
    data = bytearray(newer.path.read_bytes())
    data[-1] ^= 1
    newer.path.write_bytes(data)
    results = dbtasks.verify(config, dbtasks.list_backups(config).backups)
    assert [(r.backup.id, r.ok) for r in results] == [(newer.id, False), (older.id, True)]
    assert dbtasks.find(config, "latest").id == older.id
    with pytest.raises(ArchiveDamaged) as caught:
        restore(config, newer.id)
    assert newer.id in caught.value.message
    plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    assert older.id in [b.id for b in plan.retention.kept]


def test_the_wrong_kinds_of_target_are_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    server = dbtasks.load_settings(tmp_path, environ={}, url="postgresql://u:p@localhost:1/shop")
    with pytest.raises(WrongEngine):
        dbtasks.plan_restore(server, dbtasks.RestoreJob(made.id))
    with pytest.raises(SettingsError, match="--into: mysql:// databases are not supported"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into="mysql://host/other"))
    with pytest.raises(UsageError, match="--in-place"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, request=LoadRequest(in_place=True)))


def test_a_folder_in_place_of_the_database_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", into="folder.db"))
    assert caught.value.exit_code != 1
    assert list((tmp_path / "folder.db").iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_g11_a_file_that_is_there_keeps_its_mode_and_one_that_was_missing_is_private(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.chmod(0o664)
    before = os.umask(0o002)
    try:
        restore(config)
        assert path.stat().st_mode & 0o777 == 0o664
        path.unlink()
        restore(config, "latest:manual")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_read_only_target_is_refused_before_anything_is_written(ordinary_user: Path) -> None:
    path = make(ordinary_user / "app.db")
    config = settings(ordinary_user)
    dbtasks.backup(config)
    path.chmod(0o400)
    before = tree(ordinary_user)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        restore(config)
    assert "app.db was not touched" in caught.value.state
    after = tree(ordinary_user)
    assert after.pop("backups/log.jsonl") != before.pop("backups/log.jsonl")  # that it failed is logged
    assert after == before


LIMITED = """
import resource, sys
import dbtasks
from pathlib import Path
config = dbtasks.load_settings(Path(sys.argv[1]), environ={}, url="sqlite:///app.db")
plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
print("ready", flush=True)
try:
    dbtasks.restore(config, plan)
except dbtasks.DbTasksError as exc:
    print(exc.exit_code, exc.state, flush=True)
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
@pytest.mark.parametrize(
    ("live", "saved", "said"),
    [(10, 2000, "app.db is as it was"), (2000, 10, "without a safety backup the restore did not start")],
    ids=["load", "safety backup"],
)
def test_a04_d21_d24_a_file_system_that_takes_no_more_ends_a_restore_and_the_live_file_is_as_it_was(
    tmp_path: Path, live: int, saved: int, said: str
) -> None:
    path = make(tmp_path / "app.db", saved, width=300)
    backup = dbtasks.backup(settings(tmp_path))
    path.unlink()
    make(path, live, width=300)
    before = content(path)
    with process(LIMITED, tmp_path, backup.id) as limited:
        assert limited.stdout
        code, state = limited.stdout.readline().split(" ", 1)
    assert code == "9"
    assert said in state
    assert content(path) == before
    listed = dbtasks.list_backups(settings(tmp_path)).backups
    assert [entry.id for entry in listed if entry.manifest.type is not Type.SAFETY] == [backup.id]
    assert len(listed) == (2 if live < saved else 1)
    assert leftovers(tmp_path) == []


if CAN_MOUNT:

    @pytest.mark.fault
    def test_d24_a_disk_too_small_for_the_restore_is_named_before_it_starts(
        tmp_path: Path, disk: Path
    ) -> None:
        make(tmp_path / "app.db", 2000, width=200)
        config = settings(tmp_path)
        dbtasks.backup(config)
        make(disk / "app.db", 10)
        before = tree(disk)
        with pytest.raises(dbtasks.DbTasksError) as caught:
            dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", into=str(disk / "app.db")))
        assert caught.value.exit_code == 9
        assert "not touched" in caught.value.state
        assert tree(disk) == before

    @pytest.mark.fault
    def test_d24_a_disk_that_fills_during_the_restore_leaves_the_live_file_as_it_was(
        tmp_path: Path, disk: Path
    ) -> None:
        make(tmp_path / "app.db", 300, width=200)
        config = settings(tmp_path)
        dbtasks.backup(config)
        target = make(disk / "app.db", 10)
        before = content(target)
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", into=str(target)))
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * 4096 - 180_000))
        with pytest.raises(dbtasks.DbTasksError) as caught:
            dbtasks.restore(config, plan)
        assert caught.value.exit_code == 9
        assert "is as it was" in caught.value.state
        (disk / "ballast").unlink()
        assert content(target) == before
        assert_whole(target)
        assert leftovers(disk) == []


def test_a_restore_into_another_file_leaves_the_configured_one_alone(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    dbtasks.backup(config)
    other = make(tmp_path / "other.db", 7)
    before = live(tmp_path)
    result = restore(config, into="other.db")
    assert live(tmp_path) == before
    assert count(other) == 100
    assert result.safety_backup is not None
    assert count(result.safety_backup.path) == 7
    assert result.way_back.endswith("--into=other.db")
    restore(config, result.safety_backup.id, into="other.db")
    assert count(other) == 7
    assert count(path) == 100


def test_views_triggers_and_generated_columns_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript("""
            CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT, n REAL, d GENERATED ALWAYS AS (n * 2) STORED);
            CREATE TABLE log (a, at);
            CREATE TRIGGER t AFTER INSERT ON a BEGIN INSERT INTO log VALUES (new.id, 'now'); END;
            CREATE VIEW v AS SELECT * FROM a;
            INSERT INTO a (n) VALUES (1.5), (NULL), (9e999);
            DELETE FROM a WHERE id = 3;
            CREATE TABLE w (k TEXT PRIMARY KEY, v BLOB) WITHOUT ROWID;
            INSERT INTO w VALUES ('x', x'00ff');
            PRAGMA user_version = 12; PRAGMA application_id = 77;
        """)
    before = content(path)
    config = settings(tmp_path)
    dbtasks.backup(config)
    path.unlink()
    restore(config)
    assert content(path) == before
    assert run(path, "PRAGMA user_version") == [(12,)]
    assert run(path, "PRAGMA application_id") == [(77,)]
    run(path, "INSERT INTO a (n) VALUES (4)")
    assert run(path, "SELECT max(id) FROM a") == [(4,)]


def test_a_file_of_a_view_alone_is_saved_before_it_is_replaced_and_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    run(path, "CREATE TABLE t (a)")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "DROP TABLE t")
    run(path, "CREATE VIEW v AS SELECT 1 AS one")
    before = content(path)
    plan = dbtasks.plan_restore(config)
    assert (plan.load.state, plan.safety) == (TargetState.PRESENT, True)
    assert plan.drift.schema is not None
    assert [(one.type, one.name) for one in plan.drift.schema.only_against] == [("view", "v")]
    done = dbtasks.restore(config, plan)
    assert (done.safety_backup is not None, done.way_back) == (True, "db.undo")
    assert content(path) != before
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert content(path) == before


def test_a_damaged_file_that_cannot_be_moved_aside_stays_where_it_is(tmp_path: Path) -> None:
    # the folder it would be moved into needs a longer name than file systems have
    name = "a" * 235 + ".db"
    path = make(tmp_path / name, 2000)
    config = settings(tmp_path, name)
    dbtasks.backup(config)
    damaged = _damage(path)
    with pytest.raises(LoadFailed) as caught:
        restore(config)
    assert "is as it was" in caught.value.state
    assert path.read_bytes() == damaged
    assert leftovers(tmp_path) == []


def test_a_restore_that_failed_does_not_give_up_the_way_back_behind_the_last_good_one(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path, lock_timeout="0.2")
    dbtasks.backup(config)
    good = restore(config).safety_backup
    assert good is not None
    for _ in range(2):
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest"))
        with holder(path, "PRAGMA journal_mode=wal", "BEGIN IMMEDIATE"), pytest.raises(Busy):
            dbtasks.restore(config, plan)
    plan = dbtasks.plan_cleanup(config, policy=dbtasks.Policy(keep=1))
    assert good.id in [b.id for b in plan.retention.kept]
