"""The session that holds the lock on restores is never quiet for long, and nobody has to wait for its end."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from dbtasks.engines.postgres import PostgresEngine
from dbtasks.engines.postgres.exchange import claim
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.errors import OperationFailed
from tests.between import Between
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import engine_of
from tests.postgres.test_claim_lost import KEYED, end_claim, told_as_lost
from tests.postgres.test_gone_over_the_commit import by_psql

__all__ = ["by_psql"]

IDLE_SECONDS = 1.0


@contextlib.contextmanager
def through(between: Between, database: PgDatabase) -> Iterator[PostgresEngine]:
    """Open an engine whose every connection goes through there."""
    target = replace(database.target, host="127.0.0.1", port=between.port)
    with engine_of(target, tools=database.server.bin) as engine:
        yield engine


@pytest.fixture
def between(pg_db: PgDatabase) -> Iterator[Between]:
    server = (pg_db.server.host, pg_db.server.port)
    with contextlib.closing(Between(lambda: socket.create_connection(server), IDLE_SECONDS)) as made:
        yield made


def speakers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "dbtasks-claim"]


def until_free(database: PgDatabase) -> None:
    """Wait: a server needs a moment to notice that a client is gone."""
    held, deadline = f"SELECT 1 FROM pg_locks WHERE {KEYED}", time.monotonic() + 20
    while database.server.run("postgres", held, (claim_key(database.name),)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture(params=["psycopg2", "psql"])
def way(request: pytest.FixtureRequest) -> str:
    """Both ways sessions go: a container's is a psql held open."""
    if request.param == "psql":
        request.getfixturevalue("by_psql")
    return str(request.param)


@pytest.mark.long
def test_h08_what_cuts_quiet_connections_leaves_the_one_that_holds_the_servers_lock(
    pg_db: PgDatabase, between: Between, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "AWAKE_SECONDS", 0.2)
    with through(between, pg_db) as engine, engine.claimed():
        time.sleep(3 * IDLE_SECONDS)
        with engine.maintenance_session() as session:
            engine.prove_claimed(session)
    assert between.cut == 0
    until_free(pg_db)


def test_h08_a_quiet_connection_that_was_cut_all_the_same_is_told_by_the_proof_alone(
    pg_db: PgDatabase, between: Between, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with through(between, pg_db) as engine, engine.claimed():
        time.sleep(2 * IDLE_SECONDS)
        until_free(pg_db)
        with engine.maintenance_session() as session, pytest.raises(OperationFailed) as caught:
            engine.prove_claimed(session)
    told_as_lost(caught.value, pg_db.name)
    assert between.cut == 1
    assert speakers() == []
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("error", [None, OperationFailed("broke off"), KeyboardInterrupt()])
def test_h08_nobody_speaks_on_when_the_restore_has_ended_well_failed_or_was_interrupted(
    pg_db: PgDatabase, way: str, monkeypatch: pytest.MonkeyPatch, error: BaseException | None
) -> None:
    monkeypatch.setattr(claim, "AWAKE_SECONDS", 0.01)
    ends = pytest.raises(type(error)) if error is not None else contextlib.nullcontext()
    with engine_of(pg_db.target, tools=pg_db.server.bin) as engine, ends, engine.claimed():
        assert len(speakers()) == 1
        time.sleep(0.1)
        if error is not None:
            raise error
    assert speakers() == []
    until_free(pg_db)


def test_h08_words_that_fail_are_said_to_nobody(
    pg_db: PgDatabase, way: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(claim, "AWAKE_SECONDS", 0.01)
    with engine_of(pg_db.target, tools=pg_db.server.bin) as engine, engine.claimed():
        end_claim(pg_db.server, pg_db.name)
        time.sleep(0.2)
    assert speakers() == []
    assert capfd.readouterr().err == ""


def test_h08_a_session_that_is_stuck_does_not_keep_a_run_from_ending(
    pg_db: PgDatabase, between: Between, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "AWAKE_SECONDS", 0.1)
    monkeypatch.setattr(claim, "ENDING_SECONDS", 0.3)
    # where it does, this test fails and does not hang
    release = threading.Timer(8, between.close)
    with through(between, pg_db) as engine:
        with engine.claimed():
            between.is_stuck = True
            time.sleep(0.5)
            release.start()
            began = time.monotonic()
        took = time.monotonic() - began
    (stuck,) = speakers() or [None]
    release.cancel()
    between.is_stuck = False
    assert took < 4
    assert stuck is not None
    stuck.join(20)
    assert speakers() == []
