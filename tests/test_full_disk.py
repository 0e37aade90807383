"""The disk is full, at each step: what is listed is whole, what is live is untouched, and nothing half-made lies about."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import LoadFailed, OperationFailed, StoreFull
from dbtasks.models import Compression, Format
from dbtasks.plans import DumpRequest, LoadRequest
from dbtasks.stores.local import LocalStore
from tests.disks import CAN_MOUNT, fill_up, small_disk
from tests.fix_postgres import PgDatabase, server_of_its_own
from tests.moments import at_phase
from tests.postgres.restoring import databases
from tests.sqlite.databases import assert_whole, content, leftovers, make, run, settings

pytestmark = pytest.mark.fault
BLOCK = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "1m") as folder:
        yield folder


# Elsewhere these tests do not exist: what limits a process instead stands beside the engines' own tests.
if CAN_MOUNT:

    def test_a04_a07_wherever_the_room_ends_a_backup_is_whole_or_there_is_none(
        tmp_path: Path, disk: Path
    ) -> None:
        """From no room at all, block by block, to enough: dump, manifest and log all meet the end of it once."""
        make(tmp_path / "app.db", 20)
        config = settings(tmp_path, backup_dir=str(disk / "backups"))
        first = dbtasks.backup(config)
        before, said = first.path.read_bytes(), set()
        for blocks in range(40):
            fill_up(disk, leave=blocks * BLOCK)
            made = None
            try:
                made = dbtasks.backup(config)
            except StoreFull as exc:
                said.add(exc.message.split(":")[0].split(" /")[0].split(" app_")[0])
                assert "no space left" in exc.message
                assert (
                    exc.state == "nothing was published; earlier backups are untouched"
                    or "create" in exc.message
                )
            listed = dbtasks.list_backups(config)
            assert [b.id for b in listed.backups] == [b.id for b in (made, first) if b]
            assert listed.foreign == ()
            assert leftovers(disk) == []
            assert first.path.read_bytes() == before
            if made:
                assert_whole(made.path)
                LocalStore(disk / "backups").remove(made)
        assert {"cannot publish", "cannot write"} <= said
        assert made, "at last there was room"

    def test_a04_on_a_full_disk_backups_are_listed_verified_and_cleaned_up(
        tmp_path: Path, disk: Path
    ) -> None:
        make(tmp_path / "app.db", 20)
        config = settings(tmp_path, backup_dir=str(disk / "backups"), keep="1")
        ids = [dbtasks.backup(config).id for _ in range(3)]
        fill_up(disk)
        listed = dbtasks.list_backups(config).backups
        assert [b.id for b in listed] == ids[::-1]
        # the outcome cannot be written down; the backup is as good as before
        with pytest.raises(StoreFull):
            dbtasks.verify(config, listed[:1])
        assert [b.id for b in dbtasks.list_backups(config).backups] == ids[::-1]
        result = dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
        assert result.ok
        assert [b.id for b in dbtasks.list_backups(config).backups] == ids[-1:]
        assert leftovers(disk) == []

    def test_a04_d21_without_room_for_the_safety_backup_no_restore_starts(tmp_path: Path, disk: Path) -> None:
        path = make(tmp_path / "app.db", 20)
        config = settings(tmp_path, backup_dir=str(disk / "backups"))
        dbtasks.backup(config)
        run(path, "DELETE FROM note")
        before = content(path)
        fill_up(disk, leave=BLOCK)
        with pytest.raises(StoreFull) as caught:
            dbtasks.restore(config, dbtasks.plan_restore(config))
        assert (
            "app.db was not touched: without a safety backup the restore did not start" in caught.value.state
        )
        assert content(path) == before
        assert leftovers(disk) == leftovers(tmp_path) == []

    @pytest.mark.parametrize("phase", ["load", "swap"])
    def test_a04_a_disk_that_fills_while_a_restore_is_at_work_leaves_the_live_file_as_it_was(
        tmp_path: Path, disk: Path, phase: str
    ) -> None:
        path = make(disk / "app.db", 20, journal="wal")
        config = settings(tmp_path, str(path))
        make(tmp_path / "more.db", 400, width=200)
        run(path, "DELETE FROM note")
        before = content(path)
        job = dbtasks.RestoreJob("more.db", skip_safety_backup=True, request=LoadRequest(unverified=True))
        plan = dbtasks.plan_restore(config, job)
        with pytest.raises((StoreFull, LoadFailed, OperationFailed)) as caught:
            dbtasks.restore(config, plan, on_event=at_phase(phase, lambda: fill_up(disk)))
        assert caught.value.exit_code == 9
        assert "app.db is as it was" in caught.value.state
        assert leftovers(disk) == []
        # even reading takes a file beside it under WAL
        (disk / "filler").unlink()
        assert content(path) == before

    @pytest.mark.parametrize(
        "request_",
        [
            DumpRequest(format=Format.CUSTOM),
            DumpRequest(format=Format.SQL, compression=Compression.GZIP),
            DumpRequest(format=Format.SQL, compression=Compression.NONE),
            DumpRequest(format=Format.DIRECTORY, jobs=2),
        ],
        ids=["a04 custom", "a06 sql.gz", "a05 sql", "a04 directory"],
    )
    def test_a04_a05_a06_a_disk_that_is_full_ends_pg_dump_and_leaves_earlier_backups(
        pg_db: PgDatabase, tmp_path: Path, disk: Path, request_: DumpRequest
    ) -> None:
        config = dbtasks.load_settings(
            tmp_path,
            environ={},
            url=pg_db.url,
            pg_bin=str(pg_db.server.bin),
            via="host",
            backup_dir=str(disk / "backups"),
        )
        first = dbtasks.backup(config)
        pg_db.run(
            "CREATE TABLE big AS SELECT (SELECT string_agg(md5(random()::text), '') FROM generate_series(i, i + 99))"
            " FROM generate_series(1, 1000) i"
        )
        with pytest.raises(StoreFull) as caught:
            dbtasks.backup(config, dbtasks.BackupJob(request=request_))
        assert caught.value.exit_code == 9
        assert "no space left" in caught.value.message.lower() + caught.value.details.lower()
        assert "earlier backups are untouched" in caught.value.state
        listed = dbtasks.list_backups(config)
        assert [b.id for b in listed.backups] == [first.id]
        assert listed.foreign == ()
        assert leftovers(disk) == []
        others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        # a backend hears of its client's end when it next sends something
        deadline = time.monotonic() + 10
        while pg_db.run(others) != [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def test_a04_d24_a_server_without_room_for_a_second_database_is_told_of_and_keeps_the_live_one(
        tmp_path: Path,
    ) -> None:
        """The new database is made in the live one's tablespace, on a disk of 24 MB; the server is nobody else's."""
        with server_of_its_own(18) as pg:
            home = Path(pg.socket_dir)
            with small_disk(home.parent / "space", "24m", "777") as disk:
                place = disk / "data"
                place.mkdir()
                os.chown(place, home.stat().st_uid, home.stat().st_gid)
                pg.run("postgres", f"CREATE TABLESPACE small LOCATION '{place}'")
                large, live = pg.create_database("large"), pg.create_database("live", "TABLESPACE small")
                large.run(
                    "CREATE TABLE t AS SELECT repeat(md5(i::text), 30) FROM generate_series(1, 40000) i"
                )
                live.run("CREATE TABLE t AS SELECT 1 AS i")
                pg.run("postgres", "CHECKPOINT")
                tools = {"pg_bin": str(pg.bin), "via": "host"}
                made = dbtasks.backup(dbtasks.load_settings(tmp_path, environ={}, url=large.url, **tools))
                config = dbtasks.load_settings(tmp_path, environ={}, url=live.url, **tools)
                plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path)))
                assert any("may not fit" in text and str(place) in text for text in plan.warnings)
                with pytest.raises(StoreFull) as caught:
                    dbtasks.restore(config, plan)
                assert "No space left on device" in caught.value.details
                assert "free some space on the server's disk" in caught.value.hint
                assert "live was not touched" in caught.value.state
                assert live.run("SELECT count(*) FROM t") == [(1,)]
                assert databases(live) == ["live"]
                filler = fill_up(disk, leave=made.path.stat().st_size // 2)
                with pytest.raises(StoreFull, match="unpacks to more than") as caught:
                    dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path)))
                assert "nothing was touched" in caught.value.state
                filler.unlink()
                live.server.drop_database("live")
                pg.run("postgres", "DROP TABLESPACE small")
