"""What every session promises, whatever carries it: psycopg2, or a psql held open."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from dbtasks.errors import Busy, DatabaseMissing, DbTasksError, QueryFailed, RightMissing, TargetUnreachable
from dbtasks.psql import connect_psql
from dbtasks.runners.host import HostRunner, login_environment
from dbtasks.sessions import PREPARE, ConnectOptions, Session, connect
from tests.fix_postgres import PgServer

Open = Callable[..., AbstractContextManager[Session]]


@pytest.fixture(params=["psycopg2", "psql"])
def opened(request: pytest.FixtureRequest, pg: PgServer) -> Open:
    """Return a function that opens a session of one kind."""

    @contextmanager
    def by_psycopg2(database: str = "postgres", *, lock_timeout: float = 30.0) -> Iterator[Session]:
        options = ConnectOptions(lock_timeout=lock_timeout)
        with connect(pg.target(database), options=options) as session:
            yield session

    @contextmanager
    def by_psql(database: str = "postgres", *, lock_timeout: float = 30.0) -> Iterator[Session]:
        target = pg.target(database)
        with login_environment(target, libpq={}, connect_timeout=5) as environment:
            runner = HostRunner(pg_bin=pg.bin, environment=environment, secrets=target.secrets)
            lock = {"lock": f"{int(lock_timeout * 1000)}ms"}
            with connect_psql(runner, database, user=pg.user, env={}, prepare=(PREPARE, lock)) as session:
                yield session

    return by_psycopg2 if request.param == "psycopg2" else by_psql


def test_numbers_booleans_texts_arrays_and_nulls_arrive_as_what_they_are(opened: Open):
    with opened() as session:
        query = (
            "SELECT 1 AS a, 2::bigint AS a, true AS b, NULL AS n, ARRAY['x', NULL] AS l, E'two\nlines' AS t"
        )
        assert session.rows(query) == [(1, 2, True, None, ["x", None], "two\nlines")]
        assert session.rows("SELECT g FROM pg_catalog.generate_series(1, 3) AS g") == [(1,), (2,), (3,)]
        assert session.rows("SELECT 1 AS a WHERE false") == []
        ((oid, row),) = session.rows(
            "SELECT 7::oid AS o, pg_catalog.row_to_json(x) AS r FROM (SELECT 1 AS k, '2' AS l) x"
        )
        assert (oid, row) == (7, {"k": 1, "l": "2"})


@given(text=st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=("Cs",))))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_text_comes_back_as_it_was_sent(opened_once: Session, text: str):
    assert opened_once.rows("SELECT %s::text AS t, %s::text[] AS l", (text, [text])) == [(text, [text])]


@pytest.fixture
def opened_once(opened: Open) -> Iterator[Session]:
    with opened() as session:
        yield session


def test_b07_hostile_names_are_names(opened: Open):
    name = 'we"ird\n; DROP TABLE x; --\\'
    with opened() as session:
        session.execute("BEGIN")
        session.execute(sql.SQL("CREATE TABLE public.{} (a int)").format(sql.Identifier(name)))
        assert session.rows("SELECT 1 AS one FROM pg_catalog.pg_class WHERE relname = %s", (name,)) == [(1,)]
        session.execute("ROLLBACK")


def test_a_statement_that_fails_raises_with_its_sqlstate_and_the_session_goes_on(opened: Open):
    with opened() as session:
        with pytest.raises(QueryFailed, match="division by zero") as caught:
            session.rows("SELECT 1 / 0 AS x")
        assert caught.value.sqlstate == "22012"
        assert session.rows("SELECT 7 AS x") == [(7,)]


def test_a_missing_right_and_a_lock_not_given_are_told_apart(opened: Open, pg: PgServer):
    other = pg.connect()
    other.autocommit = False
    with other.cursor() as cursor:
        cursor.execute("CREATE TABLE public.held (a int)")
        other.commit()
        cursor.execute("LOCK TABLE public.held")
        try:
            with opened(lock_timeout=0.2) as session:
                with pytest.raises(Busy):
                    session.rows("SELECT 1 AS x FROM public.held")
                session.execute("SET ROLE pg_monitor")
                with pytest.raises(RightMissing):
                    session.execute("CREATE DATABASE nope")
        finally:
            cursor.execute("DROP TABLE public.held")
            other.commit()
            other.close()


def test_a_database_that_is_not_there_is_told_apart_from_a_server_that_is_not(opened: Open):
    with pytest.raises(DatabaseMissing), opened("no such = database"):
        pass


def test_a_session_the_server_ends_is_an_unreachable_server(opened: Open, pg: PgServer):
    with pytest.raises(TargetUnreachable), opened() as session:
        ((pid,),) = session.rows("SELECT pg_catalog.pg_backend_pid() AS pid")
        killer = pg.connect()
        with killer.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", (pid,))
        killer.close()
        for _ in range(100):
            session.rows("SELECT 1 AS x")
            time.sleep(0.02)


def test_a_query_is_cancelled_from_another_thread(opened: Open):
    with pytest.raises(DbTasksError), opened() as session:
        timer = threading.Timer(0.3, session.cancel)
        timer.start()
        try:
            session.rows("SELECT pg_catalog.pg_sleep(60)::text AS s")
        finally:
            timer.join()


def test_an_exported_snapshot_is_a_name(opened: Open):
    with opened() as session:
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        ((name,),) = session.rows("SELECT pg_catalog.pg_export_snapshot()")
        assert name.count("-") == 2
        session.execute("COMMIT")
