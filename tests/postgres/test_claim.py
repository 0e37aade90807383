"""Two machines, one database: a restore holds a lock on the server itself."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.errors import Busy
from dbtasks.events import Event, Phase
from dbtasks.plans import LoadRequest
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import engine_on


def machine(root: Path, database: PgDatabase, **changes: object) -> dbtasks.Settings:
    """Settings of one machine: its own folder of backups, and with it its own run lock."""
    root.mkdir(exist_ok=True)
    changes = {"url": database.url, "pg_bin": str(database.server.bin), "via": "host", **changes}
    return dbtasks.load_settings(root, environ={}, **changes)


def planned(config: dbtasks.Settings, in_place: bool) -> dbtasks.RestorePlan:
    return dbtasks.plan_restore(config, dbtasks.RestoreJob(request=LoadRequest(in_place=in_place)))


@pytest.mark.long
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
def test_h08_a_restore_from_another_machine_is_refused_and_told_whose_is_under_way(
    pg_db: PgDatabase, tmp_path: Path, in_place: bool
) -> None:
    pg_db.run("CREATE TABLE t AS SELECT generate_series(1, 10) AS a")
    here, there = machine(tmp_path / "here", pg_db), machine(tmp_path / "there", pg_db)
    for config in (here, there):
        dbtasks.backup(config)
    waiting = planned(there, in_place)
    refused: dict[str, Busy] = {}
    moments = ["safety", "load", "commit" if in_place else "swap"]

    def come_in_between(event: Event) -> None:
        if isinstance(event, Phase) and event.name in moments:
            with pytest.raises(Busy) as caught:
                dbtasks.restore(there, waiting)
            refused[event.name] = caught.value

    dbtasks.restore(here, planned(here, in_place), on_event=come_in_between)
    assert list(refused) == moments
    for error in refused.values():
        assert error.exit_code == 7
        assert f"another restore of {pg_db.name} is under way" in error.message
        assert f"dbtasks restore {socket.gethostname()[:32]} {os.getpid()}, as postgres" in error.message
        assert "since 20" in error.message
        assert "on the server it is process " in error.hint
    # refused before anything was done: not even a safety backup
    assert [b.manifest.type for b in dbtasks.list_backups(there).backups] == ["manual"]
    # and free again afterwards
    dbtasks.restore(there, planned(there, in_place))
    assert pg_db.run("SELECT count(*) FROM t") == [(10,)]


def test_h08_the_key_is_the_one_the_documentation_computes_in_sql(pg: PgServer) -> None:
    page = (REPOSITORY / "docs" / "locks.md").read_text("utf-8")
    query = page.partition("pg_try_advisory_lock(")[2].partition(");\n```")[0]
    for name in ("shop", "Größe '1'"):
        assert pg.run("postgres", f"SELECT {query.replace('shop', name.replace(chr(39), chr(39) * 2))}") == [
            (claim_key(name),)
        ]


def test_h08_the_servers_lock_ends_with_the_session_that_held_it(pg_db: PgDatabase, tmp_path: Path) -> None:
    key = claim_key(pg_db.name)
    holder = pg_db.server.connect("postgres")
    with contextlib.closing(holder), holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (key,))
        with engine_on(pg_db) as engine, pytest.raises(Busy), engine.claimed():
            pass
    with engine_on(pg_db) as engine, engine.claimed():
        pass


def test_h08_a_session_that_is_ended_meanwhile_fails_no_restore_that_went_well(pg_db: PgDatabase) -> None:
    with engine_on(pg_db) as engine, engine.claimed():
        ended = pg_db.server.run(
            "postgres",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dbtasks restore %'",
        )
        assert ended == [(True,)]


def test_h08_databases_of_different_names_do_not_wait_for_each_other(pg: PgServer, pg_db: PgDatabase) -> None:
    with pg.fresh() as other, engine_on(pg_db) as one, engine_on(other) as two, one.claimed(), two.claimed():
        pass


def test_h08_a_role_that_may_only_enter_its_own_database_takes_the_lock_there(
    pg: PgServer, pg_db: PgDatabase
) -> None:
    role = pg.create_role()
    pg.run("postgres", f"ALTER DATABASE {pg_db.name} OWNER TO {role.user}")
    for name in ("postgres", "template1"):
        pg.run("postgres", f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    try:
        own = pg_db.seen_by(role)
        with engine_on(own) as one, engine_on(own) as two, one.claimed(), pytest.raises(Busy), two.claimed():
            pass
    finally:
        for name in ("postgres", "template1"):
            pg.run("postgres", f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")
