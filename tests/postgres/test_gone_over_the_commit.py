"""The psql that says COMMIT is gone when it was said: what took effect is never told as a failure."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.access import HostAccess
from dbtasks.engines.postgres.script.feed import Feed
from dbtasks.engines.postgres.script.over_the_commit import STATUS
from dbtasks.errors import CannotReach, CommitInDoubt, LoadFailed, TargetUnreachable
from dbtasks.journal import read_restores
from dbtasks.psql import PsqlSession, connect_psql
from dbtasks.sessions import PREPARE, PsycopgSession
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.rich import fingerprint
from tests.postgres.test_undo import Shop, backed_up, record_of, restore, rows, undo

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL"),
]


@pytest.fixture
def shop(tmp_path: Any, pg_db: PgDatabase) -> Shop:
    """Ten items in the backup, six of them left."""
    return backed_up(tmp_path, pg_db), pg_db


@pytest.fixture
def by_psql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question goes through a psql held open, as in a container."""

    def session(self: Any, name: str) -> Any:
        prepare = (PREPARE, {"lock": "30000ms"})
        return connect_psql(self.runner, name, user=self._target.user, env={}, prepare=prepare)

    monkeypatch.setattr(HostAccess, "session", session)


def dies(monkeypatch: pytest.MonkeyPatch, *, when: str) -> None:
    """Kill the psql that is told to COMMIT, before or behind it; it is found dead by the next that it is told."""
    execute = PsqlSession.execute

    def dying(self: Any, query: Any, *rest: Any) -> None:
        if query != "COMMIT":
            return execute(self, query, *rest)
        if when == "behind":
            execute(self, query, *rest)
        self._psql.kill()
        return execute(self, "SELECT 1")

    monkeypatch.setattr(PsqlSession, "execute", dying)


def test_d05_d16_a_swap_and_an_undo_whose_psql_dies_behind_the_commit_are_done(
    shop: Shop, by_psql: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    dies(monkeypatch, when="behind")
    restored = restore(config)
    assert (rows(database), record_of(config)["state"]) == (10, "done")
    undone = undo(config)
    assert (undone.undone.id, undone.way) == (restored.id, "rename")
    assert (rows(database), record_of(config)["state"]) == (6, "done")


def test_d05_a_load_in_place_whose_psql_dies_behind_the_commit_is_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    dies(monkeypatch, when="behind")
    restore(config, in_place=True)
    assert (rows(database), record_of(config)["state"]) == (10, "done")
    database.run("DELETE FROM item")
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",)))
    assert dbtasks.restore_tables(config, plan).way_back == "db.undo"
    assert (rows(database), record_of(config)["state"]) == (10, "done")


def test_d05_a_psql_that_ends_badly_after_it_was_heard_changes_nothing_of_what_it_said(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    commit = Feed.commit

    def and_ends(self: Any) -> None:
        commit(self)
        self._psql.kill()

    monkeypatch.setattr(Feed, "commit", and_ends)
    restore(config, in_place=True)
    assert (rows(database), record_of(config)["state"]) == (10, "done")


def test_d05_a_load_in_place_whose_psql_dies_before_the_commit_is_not_done(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    before = fingerprint(database)
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(request=dbtasks.LoadRequest(in_place=True)))
    with monkeypatch.context() as patched:
        dies(patched, when="before")
        with pytest.raises(LoadFailed, match="did not commit") as caught:
            dbtasks.restore(config, plan)
    assert f"{database.name} is as it was" in caught.value.state
    assert fingerprint(database) == before
    assert record_of(config)["state"].startswith("failed")


@pytest.mark.parametrize("of", ["all", "a table"])
def test_d05_a_server_that_goes_away_over_the_commit_leaves_a_state_that_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str
) -> None:
    with server_of_its_own(18) as server:
        config = backed_up(tmp_path, server.create_database("shop"))
        if of == "all":
            job = dbtasks.RestoreJob(request=dbtasks.LoadRequest(in_place=True))
            plan: Any = dbtasks.plan_restore(config, job)
        else:
            plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",)))
        execute = PsqlSession.execute

        def and_away(self: Any, query: Any, *rest: Any) -> None:
            execute(self, query, *rest)
            if query == "COMMIT":
                os.kill(server.pid, signal.SIGQUIT)
                while not is_away(server):
                    time.sleep(0.02)
                execute(self, "SELECT 1")

        monkeypatch.setattr(PsqlSession, "execute", and_away)
        with pytest.raises(CannotReach) as caught:
            (dbtasks.restore if of == "all" else dbtasks.restore_tables)(config, plan)
        assert "is not known: the server went away over the COMMIT" in caught.value.state
        assert "as it was" not in caught.value.state
        assert record_of(config)["state"] == "swapping"
        assert record_of(config)["safety_backup"] in caught.value.state


def is_away(server: PgServer) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((server.host, server.port)) != 0


def test_d05_a_load_in_place_whose_server_goes_away_over_the_commit_says_that_nobody_knows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, database = shop
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(request=dbtasks.LoadRequest(in_place=True)))
    connect = HostAccess.session

    def away(self: Any, name: str) -> Any:
        if any(record["state"] == "swapping" for record in read_restores(config.backup_dir)):
            raise TargetUnreachable(f"cannot connect to {name}")
        return connect(self, name)

    with monkeypatch.context() as patched:
        dies(patched, when="behind")
        patched.setattr(HostAccess, "session", away)
        with pytest.raises(TargetUnreachable) as caught:
            dbtasks.restore(config, plan)
    assert "is not known: the server went away over the COMMIT" in caught.value.state
    assert "is as it was" not in caught.value.state
    assert (rows(database), record_of(config)["state"]) == (10, "swapping")
    undoing = dbtasks.plan_undo(config)
    assert not undoing.certain
    dbtasks.undo(config, undoing)
    assert rows(database) == 6


def test_d05_a_server_that_goes_away_while_it_is_asked_leaves_a_state_that_claims_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_of_its_own(18) as server:
        config = backed_up(tmp_path, server.create_database("shop"))
        job = dbtasks.RestoreJob(request=dbtasks.LoadRequest(in_place=True))
        plan = dbtasks.plan_restore(config, job)
        ask = PsycopgSession.rows

        def goes(self: Any, query: Any, *rest: Any) -> Any:
            if query == STATUS:
                os.kill(server.pid, signal.SIGQUIT)
                while not is_away(server):
                    time.sleep(0.02)
            return ask(self, query, *rest)

        dies(monkeypatch, when="behind")
        monkeypatch.setattr(PsycopgSession, "rows", goes)
        with pytest.raises(CommitInDoubt) as caught:
            dbtasks.restore(config, plan)
        assert "is not known: the server went away over the COMMIT" in caught.value.state
        assert record_of(config)["state"] == "swapping"


def test_d05_a_commit_that_waits_for_a_standby_when_its_psql_dies_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with server_of_its_own(18, synchronous_commit="on") as server:
        database = server.create_database("shop")
        config = backed_up(tmp_path, database)
        job = dbtasks.RestoreJob(request=dbtasks.LoadRequest(in_place=True))
        plan = dbtasks.plan_restore(config, job)
        execute = PsqlSession.execute

        def waiting(self: Any, query: Any, *rest: Any) -> None:
            if query != "COMMIT":
                return execute(self, query, *rest)
            wait_for_nobody(server, "ghost")
            thread = threading.Thread(target=kill_while_it_waits, args=(server, self._psql))
            thread.start()
            try:
                return execute(self, query, *rest)
            finally:
                thread.join()

        monkeypatch.setattr(PsqlSession, "execute", waiting)
        dbtasks.restore(config, plan)
        wait_for_nobody(server, "")
        assert (rows(database), record_of(config)["state"]) == (10, "done")


def wait_for_nobody(server: PgServer, standby: str) -> None:
    """Let every COMMIT wait for a standby of that name; for none where it is empty."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        cursor.execute("ALTER SYSTEM SET synchronous_standby_names = %s", (standby,))
        cursor.execute("SELECT pg_reload_conf()")
    # the checkpointer makes it so, whenever it comes to read its file
    while standby and not a_commit_waits(server):
        pass


def a_commit_waits(server: PgServer) -> bool:
    """Try one that changes nothing; where it does wait it is let go."""
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        pid = connection.info.backend_pid
        message = "SELECT pg_logical_emit_message(true, 'dbtasks', 'is anybody waited for?')"
        thread = threading.Thread(target=cursor.execute, args=(message,))
        thread.start()
        state = f"SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND pid = {pid}"
        waited = False
        while thread.is_alive() and not waited:
            waited = server.run("postgres", state) == [(1,)]
        if waited:
            server.run("postgres", f"SELECT pg_cancel_backend({pid})")
        thread.join()
        return waited


def kill_while_it_waits(server: PgServer, psql: Any) -> None:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    while server.run("postgres", waits) == [(0,)]:
        time.sleep(0.02)
    psql.kill()
