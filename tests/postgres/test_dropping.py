"""A database that a restore made in vain is dropped, whoever is in it: an autovacuum worker too, by a role without its rights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.cleanup import cleanup_plan_lines
from dbtasks.engines.postgres.exchange.dropping import drop_with_sessions
from dbtasks.engines.postgres.exchange.leftovers import MARK
from dbtasks.engines.postgres.names import new_name
from dbtasks.errors import Interrupted
from dbtasks.events import Event, Phase, Warned
from dbtasks.journal import write_restore
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.restoring import databases, engine_on
from tests.postgres.test_orphans import until
from tests.postgres.test_undo import backed_up, record_of, restore

ROWS = "CREATE TABLE t AS SELECT i, repeat('x', 200) AS x FROM generate_series(1, 60000) i"
WORKERS = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND backend_type = 'autovacuum worker'"


@pytest.fixture(scope="module")
def busy() -> Iterator[PgServer]:
    """A server whose autovacuum comes at once and stays long."""
    settings = {
        "autovacuum": "on",
        "autovacuum_naptime": "1s",
        "autovacuum_max_workers": "10",
        "autovacuum_vacuum_cost_delay": "100ms",
        "autovacuum_vacuum_cost_limit": "1",
    }
    with server_of_its_own(18, **settings) as server:
        yield server


@pytest.fixture
def owned(busy: PgServer) -> Iterator[PgDatabase]:
    """A database of an ordinary role, with something to be vacuumed."""
    role = busy.create_role("LOGIN CREATEDB")
    database = role.create_database(f"of_{role.user}")
    database.run(ROWS)
    yield database
    busy.drop_database(database.name)


def visited(server: PgServer, name: str) -> None:
    until(lambda: server.run("postgres", WORKERS, (name,)))


@pytest.mark.long
@pytest.mark.parametrize("with_a_session", [False, True])
def test_an_ordinary_role_drops_a_database_an_autovacuum_worker_is_in(
    busy: PgServer, owned: PgDatabase, with_a_session: bool
) -> None:
    other = owned.server.create_database(f"{owned.name}_other")
    other.run(ROWS)
    visited(busy, other.name)
    guest = contextlib.closing(other.connect()) if with_a_session else contextlib.nullcontext()
    with guest, engine_on(owned) as engine, engine.session() as session:
        drop_with_sessions(session, other.name)
    assert databases(owned) == [owned.name]


@pytest.mark.long
@pytest.mark.parametrize("what", ["restore", "proof"])
def test_d08_a_failed_load_leaves_nothing_behind_where_autovacuum_is_at_it(
    busy: PgServer, owned: PgDatabase, tmp_path: Path, what: str
) -> None:
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=owned.url, pg_bin=str(owned.server.bin), via="host"
    )
    dbtasks.backup(config)
    events: list[Event] = []

    def stop(event: Event) -> None:
        events.append(event)
        if isinstance(event, Phase) and event.name == "check":
            (new,) = (name for name in databases(owned) if name != owned.name)
            visited(busy, new)
            raise KeyboardInterrupt

    with pytest.raises((KeyboardInterrupt, Interrupted)):
        if what == "restore":
            plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(skip_safety_backup=True))
            dbtasks.restore(config, plan, on_event=stop)
        else:
            dbtasks.verify(config, [dbtasks.find(config, "latest")], restore=True, on_event=stop)
    assert [event.text for event in events if isinstance(event, Warned)] == []
    assert databases(owned) == [owned.name]


def test_d08_what_a_failed_restore_could_not_drop_is_told_and_removed_by_a_cleanup(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    config = backed_up(tmp_path, pg_db)
    restore(config, drop_old=True)
    record = {**record_of(config), "id": "zzzzzz", "state": "failed; the target is as it was"}
    write_restore(config.backup_dir, "zzzzzz", record)
    for lock in (config.backup_dir / ".locks").iterdir():
        lock.unlink()  # it was another process
    name = new_name(pg_db.name, "zzzzzz")
    pg_db.server.create_database(name)
    pg_db.server.run("postgres", f"COMMENT ON DATABASE \"{name}\" IS '{MARK}'")
    told = "\n".join(dbtasks.inspect(config).warnings)
    assert f"{name} was left over by the failed restore zzzzzz: db.cleanup removes it" in told
    assert "killed" not in told
    plan = dbtasks.plan_cleanup(config)
    assert f"drop    {name}: left over by the failed restore zzzzzz" in cleanup_plan_lines(
        plan, utc_now(), None
    )
    assert dbtasks.cleanup(config, plan).swept == (name,)
    assert databases(pg_db) == [pg_db.name]
    assert name not in "\n".join(dbtasks.inspect(config).warnings)
