"""Two machines, one database: a restore holds a lock on the server itself."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres import PostgresEngine
from dbtasks.engines.postgres.exchange import claim
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.errors import Busy, RightMissing
from dbtasks.events import Event, Phase
from dbtasks.models import Format
from dbtasks.plans import LoadRequest
from dbtasks.sessions import Session
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


def test_h08_the_lock_is_given_back_before_its_session_ends(
    pg_db: PgDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may take its time over that, and the next restore comes at once."""
    outside, at_the_end = claim.outside, []

    def holders() -> int:
        return len(pg_db.run(claim.HOLDERS, (claim_key(pg_db.name),)))

    @contextlib.contextmanager
    def looked_at(engine: PostgresEngine) -> Iterator[Session]:
        with outside(engine) as session:
            yield session
            at_the_end.append(holders())

    monkeypatch.setattr(claim, "outside", looked_at)
    with engine_on(pg_db) as engine, engine.claimed():
        assert holders() == 1
    assert at_the_end == [0]


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


@contextlib.contextmanager
def shut_out(database: PgDatabase) -> Iterator[PgDatabase]:
    """The database as its owner sees it, who may enter no other one of the server."""
    pg = database.server
    role = pg.create_role()
    pg.run("postgres", f"ALTER DATABASE {database.name} OWNER TO {role.user}")
    database.run(f"GRANT ALL ON SCHEMA public TO {role.user}")
    for name in ("postgres", "template1"):
        pg.run("postgres", f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
    try:
        yield database.seen_by(role)
    finally:
        for name in ("postgres", "template1"):
            pg.run("postgres", f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")


@pytest.mark.parametrize("is_owner_first", [True, False], ids=["owner first", "superuser first"])
def test_h08_two_that_take_the_lock_in_different_databases_of_the_server_keep_each_other_away(
    pg_db: PgDatabase, is_owner_first: bool
) -> None:
    """The owner takes it in its own database, the superuser in `postgres`."""
    with shut_out(pg_db) as own, engine_on(own) as owner, engine_on(pg_db) as superuser:
        one, two = (owner, superuser) if is_owner_first else (superuser, owner)
        with one.claimed():
            with pytest.raises(Busy) as caught, two.claimed():
                pass
            with one.session() as session:
                one.prove_claimed(session)
        assert f"another restore of {pg_db.name} is under way on this server: " in caught.value.message
        assert f"as {one.target.user}" in caught.value.message
        assert "then try again; on the server it is process " in caught.value.hint
        with two.claimed():
            pass


class Overtaken(PostgresEngine):
    """Whoever looked for others before it takes the lock is overtaken by one in another database in between."""

    overtake: Callable[[], object]

    @contextlib.contextmanager
    def session(self, database: str | None = None) -> Iterator[Session]:
        if database is None:
            self.overtake()
        with super().session(database) as session:
            yield session


def test_h08_of_two_that_begin_at_the_same_moment_in_different_databases_one_gives_way(
    pg_db: PgDatabase,
) -> None:
    key = "SELECT pg_try_advisory_lock(%s)", (claim_key(pg_db.name),)
    with contextlib.closing(pg_db.connect()) as other, other.cursor() as cursor:
        with engine_on(pg_db) as settled:
            engine = Overtaken(settled.target, settled.settings, access=settled.access)
            engine.overtake = lambda: cursor.execute(*key)
            with pytest.raises(Busy) as caught, engine.claimed():
                pass
            cursor.fetchall()
        assert "then try again; on the server it is process " in caught.value.hint
        assert caught.value.state == "nothing was touched"


@pytest.mark.parametrize("hidden_in", ["postgres", "the target"])
def test_h08_where_the_list_of_locks_may_not_be_read_a_restore_ends_before_anything_is_done(
    pg_db: PgDatabase, tmp_path: Path, hidden_in: str
) -> None:
    """Rows need nothing else of that list."""
    pg = pg_db.server
    role = pg.create_role()
    pg.run("postgres", f"ALTER DATABASE {pg_db.name} OWNER TO {role.user}")
    pg_db.run(f"GRANT ALL ON SCHEMA public TO {role.user}")
    own = pg_db.seen_by(role)
    own.run("CREATE TABLE t AS SELECT generate_series(1, 10) AS a")
    config = machine(tmp_path / "here", own, via="python")
    dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(format=Format.ROWS)))
    own.run("DELETE FROM t WHERE a > 6")
    name = pg_db.name if hidden_in == "the target" else hidden_in
    pg.run(name, "REVOKE SELECT ON pg_catalog.pg_locks FROM PUBLIC")
    try:
        begun: list[Event] = []
        with pytest.raises(RightMissing) as caught:
            dbtasks.restore(config, planned(config, in_place=False), on_event=begun.append)
        assert [event for event in begun if isinstance(event, Phase)] == []
        assert caught.value.exit_code == 3
        assert "permission denied for view pg_locks" in caught.value.message
        assert caught.value.state == f"{pg_db.name} was not touched"
        said, _, grant = caught.value.hint.partition(": ")
        assert said == f"let a superuser say in {name}"
        pg.run(name, grant)
        dbtasks.restore(config, planned(config, in_place=False))
    finally:
        pg.run(name, "GRANT SELECT ON pg_catalog.pg_locks TO PUBLIC")
    assert own.run("SELECT count(*) FROM t") == [(10,)]


def test_h08_databases_of_different_names_do_not_wait_for_each_other(pg: PgServer, pg_db: PgDatabase) -> None:
    with pg.fresh() as other, engine_on(pg_db) as one, engine_on(other) as two, one.claimed(), two.claimed():
        pass


def test_h08_a_role_that_may_only_enter_its_own_database_takes_the_lock_there(
    pg_db: PgDatabase,
) -> None:
    with shut_out(pg_db) as own, engine_on(own) as one, engine_on(own) as two:  # noqa: SIM117
        with one.claimed(), pytest.raises(Busy), two.claimed():
            pass
