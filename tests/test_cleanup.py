"""Cleaning up what restores kept: the databases they replaced, on their own server and of their own target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.exchange import swap
from dbtasks.journal import read_restores, write_restore
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases
from tests.sqlite.databases import make


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Iterator[tuple[dbtasks.Settings, PgDatabase]]:
    """A database with one backup."""
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1)")
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=pg_db.url, via="host", pg_bin=str(pg_db.server.bin), keep="9"
    )
    dbtasks.backup(config)
    yield config, pg_db


def restore(config: dbtasks.Settings, **job: str) -> str:
    """Restore the latest backup and return what the former database is called."""
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(**job))
    old = dbtasks.restore(config, plan).old
    assert old
    return old


def test_what_two_restores_kept_is_dropped_and_their_records_say_so(
    shop: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = shop
    first, second = restore(config), restore(config)
    assert databases(database) == sorted([database.name, first, second])
    plan = dbtasks.plan_cleanup(config)
    assert set(plan.replaced) == {first, second}
    result = dbtasks.cleanup(config, plan)
    assert set(result.dropped) == {first, second}
    assert result.ok
    assert databases(database) == [database.name]
    records = read_restores(config.backup_dir)
    assert [record["old"] for record in records] == [None, None]
    assert {record["old_dropped"] for record in records} == {first, second}
    assert dbtasks.plan_cleanup(config).going == 0


@pytest.mark.long
def test_one_that_is_in_use_stays_and_is_told_once_while_the_others_go(
    shop: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = shop
    first, second = restore(config), restore(config)
    used = database.server.connect(first)
    try:
        result = dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    finally:
        used.close()
    assert result.dropped == (second,)
    assert len(result.failed) == 1
    assert first in result.failed[0]
    assert databases(database) == sorted([database.name, first])
    assert dbtasks.plan_cleanup(config).replaced == (first,)


def test_a_record_of_another_database_or_server_drops_nothing(
    shop: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = shop
    old = restore(config)
    (record,) = read_restores(config.backup_dir)
    write_restore(config.backup_dir, str(record["id"]), {**record, "name": "another"})
    assert dbtasks.plan_cleanup(config).replaced == ()
    write_restore(config.backup_dir, str(record["id"]), {**record, "system_identifier": "1"})
    result = dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert result.dropped == ()
    assert result.failed
    assert databases(database) == sorted([database.name, old])


def test_what_a_restore_keeps_is_written_down_before_the_exchange(
    shop: tuple[dbtasks.Settings, PgDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    seen: list[tuple[str, list[str]]] = []
    exchange = swap._exchange

    def look(*arguments: Any) -> None:
        (record,) = read_restores(config.backup_dir)
        seen.append((str(record["state"]), [str(record["old"]), *databases(database)]))
        exchange(*arguments)

    monkeypatch.setattr(swap, "_exchange", look)
    old = restore(config)
    state, (written, *there) = seen[0]
    assert (state, written) == ("swapping", old)
    assert old not in there
    # as a kill right after the exchange leaves it
    (record,) = read_restores(config.backup_dir)
    write_restore(config.backup_dir, str(record["id"]), {**record, "state": "swapping"})
    assert dbtasks.cleanup(config, dbtasks.plan_cleanup(config)).dropped == (old,)
    assert databases(database) == [database.name]


def test_a_database_that_is_gone_already_is_no_failure(shop: tuple[dbtasks.Settings, PgDatabase]) -> None:
    config, database = shop
    old = restore(config)
    database.server.drop_database(old)
    result = dbtasks.cleanup(config, dbtasks.plan_cleanup(config))
    assert result.ok
    assert result.dropped == (old,)


@pytest.mark.long
def test_a_cleanup_that_fails_after_a_backup_tells_each_failure_once(
    project: Project, pg_db: PgDatabase
) -> None:
    project.mount()
    flags = {"via": "host", "pg_bin": str(pg_db.server.bin)}
    config = dbtasks.load_settings(project.root, environ={}, url=pg_db.url, **flags)
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY)")
    dbtasks.backup(config)
    old = restore(config)
    environ = {f"DBTASKS_{name.upper()}": value for name, value in flags.items()}
    used = pg_db.server.connect(old)
    try:
        ran = project.invoke("db.backup", DATABASE_URL=pg_db.url, **environ)
    finally:
        used.close()
    assert ran.returncode == 8
    assert (ran.stdout + ran.stderr).count(f"{old} is still in use") == 1


def test_a08_the_unfinished_safety_backup_of_a_killed_run_is_told_and_removed_though_nothing_else_goes(
    project: Project,
) -> None:
    project.mount()
    make(project.root / "app.db")
    shop = {"DATABASE_URL": f"sqlite:///{project.root / 'app.db'}"}
    assert project.invoke("db.backup", **shop).returncode == 0
    draft = project.root / "backups" / "safety" / ".0123456789abcdef.draft"
    draft.mkdir(parents=True)
    (draft / "archive").write_bytes(b"half")
    (draft / "lock").touch()
    planned = project.invoke("db.cleanup", "--dry-run", **shop)
    assert f"remove  {draft}: unfinished, of a killed run" in planned.stdout
    assert draft.exists()
    done = project.invoke("db.cleanup", "--yes", **shop)
    assert done.returncode == 0, done.stderr
    assert f"removed {draft}, which a killed run had left unfinished" in done.stdout
    assert not draft.exists()
