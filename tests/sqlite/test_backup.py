"""SQLite backups from live files: F01 to F05, F14, F15."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, Busy, StoreFull, StoreUnusable, TargetUnreachable, UsageError
from dbtasks.events import Event, Warned
from dbtasks.executors.backup import BackupJob
from dbtasks.models import Compression, Format
from dbtasks.plans import DumpRequest
from tests.disks import CAN_MOUNT
from tests.ordinary_user import a_folder, as_ordinary_user

from .databases import (
    SIDECARS,
    archives,
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
    writer,
)


def test_f01_every_committed_row_of_a_live_wal_database_is_in_the_backup(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 1000, journal="wal")
    inserts = "INSERT INTO item (body) VALUES ('late')"
    with holder(path, "PRAGMA wal_autocheckpoint=0", *[inserts] * 5):
        assert path.with_name("app.db-wal").stat().st_size > 0
        made = dbtasks.backup(settings(tmp_path))
        assert count(path) == 1005
    assert count(made.path) == 1005
    assert made.manifest.counts == {"item": 1005, "note": 1}
    assert_whole(made.path)


def test_f01_a_wal_that_was_never_checkpointed_is_in_the_backup(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    crash_with_wal(path, 700)
    assert path.stat().st_size <= 4096
    made = dbtasks.backup(settings(tmp_path))
    assert made.manifest.counts == {"item": 700}
    assert count(made.path) == 700


def test_f01_a_backup_is_one_file_and_opens_without_its_journals(tmp_path: Path) -> None:
    make(tmp_path / "app.db", journal="wal")
    made = dbtasks.backup(settings(tmp_path))
    made.path.parent.chmod(0o500)
    try:
        assert count(made.path) == 100
    finally:
        made.path.parent.chmod(0o700)
    assert [p.name for p in made.path.parent.iterdir() if p.name.endswith(SIDECARS)] == []
    assert run(made.path, "PRAGMA journal_mode") == [("delete",)]


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_f02_f04_a_backup_under_a_writer_that_never_pauses_ends_and_is_whole(
    tmp_path: Path, journal: str
) -> None:
    path = make(tmp_path / "app.db", 20_000, journal=journal, width=200)
    with writer(path):
        for _ in range(3 if journal == "wal" else 1):
            made = dbtasks.backup(settings(tmp_path, lock_timeout="120"))
            assert_whole(made.path)
            assert made.manifest.counts["item"] == count(made.path) > 20_000


def test_f03_an_exclusive_lock_ends_the_backup_in_time_and_names_the_holder(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    before = tree(tmp_path)
    with holder(path, "BEGIN EXCLUSIVE") as application:
        with pytest.raises(Busy) as caught:
            dbtasks.backup(settings(tmp_path, lock_timeout="0.5"))
        assert str(application.pid) in caught.value.message
        assert caught.value.exit_code == 7
    assert archives(tmp_path) == []
    assert leftovers(tmp_path) == []
    assert tree(tmp_path)["app.db"] == before["app.db"]


def test_f03_a_lock_taken_after_the_file_was_opened_is_waited_for_no_longer_than_lock_timeout(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "app.db", 50)
    from dbtasks.engines.sqlite import files
    from dbtasks.engines.sqlite.dump import copy_database

    with files.reading(path, 0.3) as source, holder(path, "BEGIN EXCLUSIVE"):
        started = time.monotonic()
        with pytest.raises(Busy):
            copy_database(source, tmp_path / "copy", 0.3, blocked=path)
        assert time.monotonic() - started < 30  # Python's own backup() would retry for ever


def test_f05_a_missing_source_is_an_error_and_nothing_is_created(tmp_path: Path) -> None:
    with pytest.raises(TargetUnreachable) as caught:
        dbtasks.backup(settings(tmp_path, "nowhere/app.db"))
    assert caught.value.exit_code == 3
    assert not (tmp_path / "nowhere").exists()
    assert archives(tmp_path) == []


def test_a_source_that_is_no_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_text("these are notes, not a database\n" * 50)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.backup(settings(tmp_path))
    assert caught.value.exit_code == 5
    assert (tmp_path / "app.db").read_text().startswith("these are notes")
    assert archives(tmp_path) == []


def test_a_crashed_transaction_is_not_in_the_backup(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db", 2000)
    before = content(path)
    crash_in_transaction(path)
    made = dbtasks.backup(settings(tmp_path))
    assert content(made.path) == before


def test_f14_rows_that_break_a_foreign_key_are_reported_and_recorded(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    run(path, "INSERT INTO note VALUES (2, 4711)")
    events: list[Event] = []
    made = dbtasks.backup(settings(tmp_path), on_event=events.append)
    (warning,) = made.manifest.warnings
    assert "foreign key" in warning and "note" in warning
    assert warning in [event.text for event in events if isinstance(event, Warned)]


def test_f15_full_text_and_other_virtual_tables_come_back(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
        connection.executemany("INSERT INTO words VALUES (?)", [("alpha beta",), ("beta gamma",)])
        connection.execute("CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1)")
        connection.execute("INSERT INTO boxes VALUES (1, 0.0, 2.0)")
        connection.execute("CREATE VIEW betas AS SELECT * FROM words WHERE words MATCH 'beta'")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    assert made.manifest.counts["words"] == 2
    run(path, "DELETE FROM words")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert run(path, "SELECT count(*) FROM betas") == [(2,)]
    assert run(path, "SELECT id FROM boxes WHERE x1 > 1") == [(1,)]
    assert_whole(path)


def test_f15_a_virtual_table_whose_module_is_not_here_does_not_stop_the_backup(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA writable_schema=ON")
        sql = "CREATE VIRTUAL TABLE far USING spatial_thing(a)"
        connection.execute("INSERT INTO sqlite_master VALUES ('table', 'far', 'far', 0, ?)", (sql,))
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    assert made.manifest.counts == {"item": 100, "note": 1}
    assert any("far" in text for text in made.manifest.warnings)
    run(path, "DELETE FROM item")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert count(path) == 100


def test_a_database_without_tables_is_backed_up_with_a_warning(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "app.db")) as connection, connection:
        connection.execute("PRAGMA user_version=7")
    made = dbtasks.backup(settings(tmp_path))
    assert any("no tables" in text for text in made.manifest.warnings)


def test_hostile_table_names_are_counted_by_their_true_names(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    name = 'o"ne\n\x1b[31m; DROP TABLE item; --'
    quoted = name.replace('"', '""')
    run(path, f'CREATE TABLE "{quoted}" (a)')
    run(path, f'INSERT INTO "{quoted}" VALUES (1)')
    made = dbtasks.backup(settings(tmp_path))
    assert made.manifest.counts == {"item": 100, "note": 1, name: 1}


@pytest.mark.parametrize("name", ["a b.db", "quest?ion#50%.db", "läden.db", "-rf.db", "it's.db"])
def test_a_file_of_any_name_is_backed_up_and_restored(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name)
    config = replace(settings(tmp_path), target=_target(path, tmp_path))
    made = dbtasks.backup(config)
    run(path, "DELETE FROM item")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob("latest")))
    assert count(path) == 100
    assert made.manifest.database.name == name


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_name_that_is_no_text_is_backed_up_listed_and_logged(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.db")
    try:
        make(path)
    except (sqlite3.OperationalError, UnicodeEncodeError):
        pytest.skip("SQLite's binding takes UTF-8 names only")
    config = replace(settings(tmp_path), target=_target(path, tmp_path))
    made = dbtasks.backup(config)
    assert dbtasks.list_backups(config).latest is not None
    assert [r.backup for r in dbtasks.list_runs(config)] == [made.id]


def _target(path: Path, root: Path) -> object:
    from dbtasks.urls import sqlite_target

    return sqlite_target(path, root=root)


@pytest.mark.parametrize("codec", ["gzip", "zstd"])
def test_a_compressed_backup_is_a_standard_file_and_comes_back(tmp_path: Path, codec: str) -> None:
    path = make(tmp_path / "app.db", 5000)
    before = content(path)
    config = settings(tmp_path)
    request = DumpRequest(compression=Compression(codec))
    made = dbtasks.backup(config, BackupJob(request=request))
    assert made.path.name.endswith({"gzip": ".sqlite3.gz", "zstd": ".sqlite3.zst"}[codec])
    assert made.manifest.raw_size_bytes == path.stat().st_size
    assert made.manifest.size_bytes < path.stat().st_size
    _by_hand(made, tmp_path / "by_hand")
    assert content(tmp_path / "by_hand") == before
    run(path, "DELETE FROM item")
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert content(path) == before
    assert leftovers(tmp_path) == []


def _by_hand(made: dbtasks.Backup, out: Path) -> None:
    """Unpack with Python's own libraries, which dbtasks does not use for it."""
    if made.manifest.compression is Compression.GZIP:
        import gzip

        out.write_bytes(gzip.decompress(made.path.read_bytes()))
        return
    from backports import zstd

    out.write_bytes(zstd.decompress(made.path.read_bytes()))


def test_g11_archive_and_manifest_are_private_from_the_first_byte_under_any_umask(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    before = os.umask(0)
    try:
        made = dbtasks.backup(settings(tmp_path))
    finally:
        os.umask(before)
    for path in (made.path, made.path.with_name(f"{made.path.name}.manifest.json")):
        assert path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "backups" / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_looking_and_backing_up_leave_no_files_beside_a_database_at_rest(
    tmp_path: Path, journal: str
) -> None:
    path = make(tmp_path / "app.db", journal=journal)
    before = tree(tmp_path)
    changed_at = path.stat().st_mtime_ns
    config = settings(tmp_path)
    dbtasks.plan_backup(config)
    dbtasks.inspect(config)
    assert tree(tmp_path) == before
    dbtasks.backup(config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["app.db", "backups"]
    assert path.stat().st_mtime_ns == changed_at


def test_flags_of_postgresql_are_refused_by_name(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    for request, flag in (
        (DumpRequest(tables=("item",)), "--table"),
        (DumpRequest(schema_only=True), "--schema-only"),
        (DumpRequest(extra=("--no-comments",)), "--"),
        (DumpRequest(format=Format.CUSTOM), "custom"),
    ):
        with pytest.raises(UsageError, match=flag):
            dbtasks.backup(settings(tmp_path), BackupJob(request=request))
    assert archives(tmp_path) == []


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import dbtasks
from pathlib import Path
config = dbtasks.load_settings(Path(sys.argv[1]), environ={}, url="sqlite:///app.db", compression=sys.argv[2])
from dbtasks.executors.backup import BackupJob
from dbtasks.plans import DumpRequest
print("ready", flush=True)
try:
    dbtasks.backup(config, BackupJob(request=DumpRequest(compression=config.compression)))
except dbtasks.DbTasksError as exc:
    print(exc.exit_code, flush=True)
"""


@pytest.mark.fault
@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_a07_a_file_system_that_takes_no_more_leaves_no_backup_and_no_draft(
    tmp_path: Path, codec: str
) -> None:
    make(tmp_path / "app.db", 2000, width=300)
    with process(LIMITED, tmp_path, codec) as limited:
        assert limited.stdout
        assert limited.stdout.readline().strip() == "9"
    assert archives(tmp_path) == []
    assert leftovers(tmp_path) == []


if CAN_MOUNT:

    @pytest.mark.fault
    def test_a07_a_full_disk_is_named_and_earlier_backups_stay(tmp_path: Path, disk: Path) -> None:
        path = make(tmp_path / "app.db", 10)
        config = settings(tmp_path, backup_dir=str(disk / "backups"))
        first = dbtasks.backup(config)
        make(tmp_path / "large.db", 3000, width=300)
        (tmp_path / "large.db").replace(path)
        for codec in (None, Compression.GZIP):
            with pytest.raises(StoreFull) as caught:
                dbtasks.backup(config, BackupJob(request=DumpRequest(compression=codec)))
            assert caught.value.exit_code == 9
            assert "earlier backups are untouched" in caught.value.state
        assert [b.id for b in dbtasks.list_backups(config).backups] == [first.id]
        assert leftovers(disk) == []


def test_a_backup_folder_that_cannot_be_made_is_a_usage_error(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreUnusable) as caught:
        dbtasks.backup(settings(tmp_path, backup_dir="file/backups"))
    assert caught.value.exit_code == 2
    # nothing that rights would help
    assert "file/backups is a file, or lies in one" in caught.value.message
    assert caught.value.hint == "set backup_dir to a folder"
    assert (tmp_path / "file").read_text() == "in the way"


def test_what_is_no_database_of_sqlites_is_told_with_what_helps(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_text("no database, and long enough to look like one: " + "x" * 4096)
    with pytest.raises(ArchiveDamaged, match="is not a readable SQLite database") as damaged:
        dbtasks.backup(settings(tmp_path))
    assert "db.restore puts a backup in the place" in damaged.value.hint
    (tmp_path / "app.db").unlink()
    (tmp_path / "app.db").mkdir()
    with pytest.raises(TargetUnreachable, match=r"app\.db is a folder, and a SQLite database is a file"):
        dbtasks.backup(settings(tmp_path))
    with pytest.raises(UsageError, match="means nothing for SQLite") as refused:
        dbtasks.backup(settings(tmp_path, via="python"))
    assert "via=auto" in refused.value.hint


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_backup_folder_without_rights_is_a_usage_error(ordinary_user: Path) -> None:
    make(ordinary_user / "app.db")
    config = settings(ordinary_user)
    (ordinary_user / "backups").mkdir(mode=0o500)
    _refused(config)
    (ordinary_user / "backups").chmod(0o700)
    first = dbtasks.backup(config)
    first.path.parent.chmod(0o500)
    _refused(config)
    assert [b.id for b in dbtasks.list_backups(config).backups] == [first.id]


def _refused(config: dbtasks.Settings) -> None:
    with pytest.raises(StoreUnusable) as caught:
        dbtasks.backup(config)
    assert caught.value.exit_code == 2


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_database_without_rights_cannot_be_reached(ordinary_user: Path) -> None:
    path = make(ordinary_user / "app.db")
    path.chmod(0)
    with pytest.raises(dbtasks.DbTasksError) as caught:
        dbtasks.backup(settings(ordinary_user))
    assert caught.value.exit_code == 3


def test_output_writes_one_archive_to_a_folder_or_file_and_never_over_one(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    (tmp_path / "out").mkdir()
    in_folder = dbtasks.backup(config, BackupJob(output=Path("out")))
    assert in_folder.path.parent == tmp_path / "out"
    named = dbtasks.backup(config, BackupJob(output=Path("out/mine.sqlite3")))
    assert named.path == tmp_path / "out" / "mine.sqlite3"
    before = tree(tmp_path / "out")
    with pytest.raises(dbtasks.DbTasksError, match="exists already"):
        dbtasks.backup(config, BackupJob(output=Path("out/mine.sqlite3")))
    assert tree(tmp_path / "out") == before
    assert dbtasks.list_backups(config).backups == ()
    with pytest.raises(StoreUnusable):
        dbtasks.backup(config, BackupJob(output=Path("nowhere/mine.sqlite3")))
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.name != "posix", reason="POSIX rights")
def test_a_dry_run_tells_of_a_folder_that_cannot_be_written_as_the_run_does() -> None:
    with a_folder() as home:

        def act() -> None:
            make(home / "app.db")
            config = settings(home)
            config.backup_dir.mkdir(mode=0o500)
            with pytest.raises(StoreUnusable, match="cannot be written") as planned:
                dbtasks.plan_backup(config)
            assert planned.value.state == "nothing was touched"
            with pytest.raises(StoreUnusable):
                dbtasks.backup(config)
            config.backup_dir.chmod(0o777)
            with pytest.raises(StoreUnusable, match="others may write"):
                dbtasks.plan_backup(config)

        as_ordinary_user(act)
