"""A load that waits for somebody's lock: whose it is and what was said there is told, and nothing hangs."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from dbtasks.engines.postgres.access import HostAccess
from dbtasks.engines.postgres.loading.load import loading, plan_load
from dbtasks.engines.postgres.script.watchdog import Blocker, watched
from dbtasks.errors import Busy, CannotReach
from dbtasks.events import Event
from dbtasks.models import Format
from dbtasks.plans import LoadRequest
from dbtasks.psql import connect_psql
from dbtasks.row_values import without_values
from dbtasks.sessions import PREPARE
from tests.fix_postgres import PgDatabase, PgServer, server_of_its_own
from tests.postgres.restoring import engine_on, restore
from tests.postgres.rich import archive_of, fingerprint
from tests.postgres.test_killed_loads import of
from tests.postgres.test_restore import FORMATS

IN_PLACE = LoadRequest(in_place=True)


@contextlib.contextmanager
def reader(database: PgDatabase, query: str = "SELECT * FROM public.t") -> Iterator[Any]:
    """Somebody reads, and then thinks, inside a transaction."""
    with contextlib.closing(database.connect()) as connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("SET application_name = 'the till'")
            cursor.execute(query)
            yield connection


@pytest.mark.parametrize("format_", FORMATS)
def test_d15_a_reader_idle_in_its_transaction_is_named_with_its_last_words_and_nothing_hangs(
    pg_db: PgDatabase, format_: Format, tmp_path: Path
) -> None:
    """lock_timeout of the server is no help: scripts of pg_dump set it to 0."""
    pg_db.run("CREATE TABLE public.t AS SELECT 1 a")
    before = fingerprint(pg_db)
    archive = archive_of(pg_db, tmp_path, format_)
    with reader(pg_db, "SELECT * FROM public.t\n WHERE a < 4711 OR 'a customer' = ''") as connection:
        with engine_on(pg_db, lock_timeout=1) as engine, pytest.raises(Busy) as busy:
            restore(engine, archive, IN_PLACE)
        pid = connection.info.backend_pid
        assert f"a lock held by process {pid} (postgres, the till, idle in transaction)" in busy.value.message
        assert busy.value.details == (
            f"process {pid} (postgres, the till, idle in transaction):"
            " SELECT * FROM public.t WHERE a < … OR … = …"
        )
        assert busy.value.state == f"{pg_db.name} is as it was"
        assert "lock_timeout" in busy.value.hint
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM public.t")
            assert cursor.fetchall() == [(1,)], "whoever came first is not disturbed"
    assert fingerprint(pg_db) == before


def test_d15_who_may_not_see_what_others_say_is_told_the_process_alone(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE public.t AS SELECT 1 a")
        archive = archive_of(mine, tmp_path, Format.CUSTOM)
        with reader(database) as connection, engine_on(mine, lock_timeout=1) as engine:
            with pytest.raises(Busy, match=rf"process {connection.info.backend_pid} \(postgres") as busy:
                restore(engine, archive, IN_PLACE)
            assert "privilege" not in busy.value.details


def test_d15_a_prepared_transaction_that_holds_the_lock_is_named(tmp_path: Path) -> None:
    """It has no process: the server calls it 0."""
    with server_of_its_own(18, max_prepared_transactions="2") as server, server.fresh() as database:
        database.run("CREATE TABLE public.t AS SELECT 1 a")
        archive = archive_of(database, tmp_path, Format.CUSTOM)
        before = fingerprint(database)
        with engine_on(database, lock_timeout=1) as engine:
            plan = plan_load(engine, archive, IN_PLACE)
            database.run("BEGIN; INSERT INTO public.t VALUES (2); PREPARE TRANSACTION 'late'")
            with (
                pytest.raises(Busy, match="a lock held by the prepared transaction late") as busy,
                loading(engine, plan, archive, list[Event]().append),
            ):
                pytest.fail("it loaded")
        assert busy.value.state == f"{database.name} is as it was"
        database.run("ROLLBACK PREPARED 'late'")
        assert fingerprint(database) == before


@pytest.mark.parametrize("full", ["the database", "the role"])
def test_d15_where_no_more_connections_are_taken_a_load_is_watched_from_elsewhere_or_does_not_go_on(
    pg: PgServer, full: str
) -> None:
    owner = pg.create_role()
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine, blockers = database.seen_by(owner), list[Blocker]()
        mine.run("CREATE TABLE public.t AS SELECT 1 a")
        with reader(database) as reading, contextlib.closing(mine.connect()) as waiting:
            limited, room = (
                (f'DATABASE "{database.name}"', 2) if full == "the database" else (f"ROLE {owner.user}", 1)
            )
            pg.run("postgres", f"ALTER {limited} CONNECTION LIMIT {room}")
            with engine_on(mine, lock_timeout=1) as engine:
                look = watched(engine, mine.name, waiting.info.backend_pid, waiting.cancel, blockers)
                if full == "the database":
                    with look, waiting.cursor() as cursor, pytest.raises(psycopg2.errors.QueryCanceled):
                        cursor.execute("TRUNCATE public.t")
                    assert f"process {reading.info.backend_pid} " in blockers[0].name
                else:
                    with pytest.raises(CannotReach) as refused, look:
                        pytest.fail("nobody looks on")
                    assert refused.value.state == f"{database.name} is as it was"
                    assert "lock_timeout=0" in refused.value.hint


@pytest.mark.fault
def test_a_lookout_that_is_ended_meanwhile_does_not_make_a_failure_of_what_was_committed(
    pg_db: PgDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container, it is a psql held open there."""

    def by_psql(self: Any, name: str) -> Any:
        prepare = (PREPARE, {"lock": "30000ms"})
        return connect_psql(self.runner, name, user=self._target.user, env={}, prepare=prepare)

    monkeypatch.setattr(HostAccess, "session", by_psql)
    pg_db.run("CREATE TABLE public.t AS SELECT 1 a")
    archive = archive_of(pg_db, tmp_path, Format.CUSTOM)
    pg_db.run("DELETE FROM public.t")

    def end_it(loaded: object) -> None:
        (lookout,) = (
            pid for pid in of(os.getpid(), "psql") if b"dbname=" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )
        os.kill(lookout, signal.SIGKILL)

    with engine_on(pg_db, lock_timeout=30) as engine:
        restore(engine, archive, IN_PLACE, before_commit=end_it)
    assert pg_db.run("SELECT count(*) FROM public.t") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        (
            "UPDATE users SET pw='x''y' WHERE id = 42 AND t1.a2=$1",
            "UPDATE users SET pw=… WHERE id = … AND t1.a2=…",
        ),
        ("/* it's */ SELECT 'secret'", "SELECT …"),
        ("SELECT /* a /* ' */ ' */ 'secret'", "SELECT"),
        ("SELECT 1 -- 'secret\n, 'more'", "SELECT … , …"),
        ("SELECT $$it's$$, $a$secret$b$ $a$", "SELECT …, …"),
        ("SELECT $a$secret", "SELECT …"),
        ("SELECT 'cut off by the serv", "SELECT …"),
        ("SELECT E'a\\' , 'secret'", "SELECT E… …"),
        ("SELECT '\\', 'secret'", "SELECT … …"),
        ("SELECT date'2020-01-01', x'ff', 1e5, a5", "SELECT date…, x…, …, a5"),
        ('SELECT "it\'s 5" FROM "a""b"', 'SELECT "it\'s 5" FROM "a""b"'),
    ],
)
def test_a_statement_is_shown_without_the_values_in_it(statement: str, shown: str) -> None:
    assert without_values(statement) == shown


def test_a_long_statement_is_cut() -> None:
    shown = without_values("SELECT " + "a, " * 400)
    assert len(shown) <= 200
    assert shown.endswith(" …")
