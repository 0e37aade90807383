"""Sessions reach the database that was named, and say clearly why they do not."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.errors import (
    Busy,
    DatabaseMissing,
    DbTasksError,
    LoginRefused,
    QueryFailed,
    RightMissing,
    TargetUnreachable,
)
from dbtasks.models import PostgresTarget
from dbtasks.secrets import Secret
from dbtasks.sessions import ConnectOptions, connect, settled
from tests.fix_postgres import PASSWORD, PgDatabase, PgServer


def test_queries_take_parameters_and_a_percent_sign_alone_is_only_a_percent_sign(any_db: PgDatabase) -> None:
    with connect(any_db.target) as session:
        assert session.rows("SELECT '100%', 1") == [("100%", 1)]
        assert session.rows("SELECT %s, %s", ("it's", None)) == [("it's", None)]
        assert session.rows("SELECT %(a)s || %(a)s", {"a": "x"}) == [("xx",)]
        assert session.rows("CREATE TABLE public.t()") == []


def test_each_statement_is_committed_and_an_unfinished_transaction_is_not(pg_db: PgDatabase) -> None:
    with connect(pg_db.target) as session:
        session.execute("CREATE TABLE public.kept(a int)")
        session.execute("BEGIN")
        session.execute("CREATE TABLE public.lost(a int)")
    assert pg_db.run("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == [("kept",)]


def test_names_have_to_be_qualified_so_that_nobody_slips_in_another_function(pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE public.t(a int)")
    with connect(pg_db.target) as session, pytest.raises(QueryFailed) as caught:
        session.rows("SELECT * FROM t")
    assert caught.value.sqlstate == "42P01"


def test_a20_timeouts_of_the_role_do_not_end_our_queries(pg: PgServer, pg_db: PgDatabase) -> None:
    role = pg.create_role()
    pg_db.run(f"ALTER ROLE {role.user} SET statement_timeout = '50ms'")
    pg_db.run(f"ALTER ROLE {role.user} SET transaction_timeout = '50ms'")
    with connect(pg_db.seen_by(role).target) as session:
        assert session.rows("SELECT 1 FROM pg_catalog.pg_sleep(0.2)") == [(1,)]


def test_g18_stray_pg_variables_do_not_move_the_connection(
    pg: PgServer, pg16: PgServer, pg_db: PgDatabase, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "service").write_text(f"[elsewhere]\nhost={pg16.host}\nport={pg16.port}\ndbname=template1\n")
    stray = {
        "PGHOST": "nowhere.invalid",
        "PGHOSTADDR": "192.0.2.1",
        "PGPORT": str(pg16.port),
        "PGUSER": "nobody",
        "PGPASSWORD": "wrong",
        "PGDATABASE": "template1",
        "PGOPTIONS": "-c work_mem=1234kB",
        "PGSERVICE": "elsewhere",
        "PGSERVICEFILE": str(tmp_path / "service"),
        "PGAPPNAME": "stray",
        "PGCLIENTENCODING": "LATIN1",
    }
    query = (
        "SELECT current_database(), current_setting('port'), current_user, current_setting('work_mem'), %s"
    )
    with monkeypatch.context() as environment:
        for name, value in stray.items():
            environment.setenv(name, value)
        with connect(pg_db.target) as session:
            assert session.rows(query, ("ä",)) == [(pg_db.name, str(pg.port), "postgres", "4MB", "ä")]
        environment.setenv("PGSERVICE", "no such service")
        with connect(pg_db.target) as session:
            assert session.rows("SELECT current_database()") == [(pg_db.name,)]
        assert os.environ["PGSERVICE"] == "no such service"


def test_a_pgpassfile_that_stands_in_dotenv_only_is_used(pg_db: PgDatabase, tmp_path: Path) -> None:
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passfile = tmp_path / "passfile"
    passfile.write_text(f"*:*:*:*:{escaped}\n")
    passfile.chmod(0o600)
    target = replace(pg_db.target, password=None)
    with connect(target, options=ConnectOptions(libpq={"PGPASSFILE": str(passfile)})) as session:
        assert session.rows("SELECT 1") == [(1,)]
    with pytest.raises(LoginRefused), connect(target, options=ConnectOptions(libpq={"PGPASSFILE": "/none"})):
        pass


def test_sslmode_from_the_environment_counts_and_the_urls_own_counts_more(pg_db: PgDatabase) -> None:
    demanding = ConnectOptions(libpq={"PGSSLMODE": "require"})
    with pytest.raises(TargetUnreachable) as caught, connect(pg_db.target, options=demanding):
        pass
    assert "SSL" in caught.value.details
    with connect(replace(pg_db.target, options={"sslmode": "disable"}), options=demanding) as session:
        assert session.rows("SELECT 1") == [(1,)]


def test_a_wrong_password_is_a_refused_login_that_mentions_old_volumes_and_no_password(
    pg_db: PgDatabase,
) -> None:
    wrong = replace(pg_db.target, password=Secret("cana:ry/w@rong-one"))
    error = refusal(wrong)
    assert type(error) is LoginRefused
    assert "volume" in error.hint
    assert_silent(error, "cana:ry/w@rong-one", "rong-one")


def test_g08_an_error_that_quotes_a_password_is_masked() -> None:
    # a password that was mistaken for a host name is what libpq quotes
    target = PostgresTarget(
        "db", host="canary-pass.invalid", user="u", password=Secret("canary-pass.invalid")
    )
    error = refusal(target)
    assert type(error) is TargetUnreachable
    assert "canary" not in error.details


def test_a_missing_database_is_told_apart_from_a_missing_server(pg: PgServer) -> None:
    assert type(refusal(pg.target('no "such" db'))) is DatabaseMissing
    gone = replace(pg.target(), port=free_port())
    assert type(refusal(gone)) is TargetUnreachable
    assert type(refusal(replace(pg.target(), user="nobody at all"))) is LoginRefused


def test_a_role_that_may_not_connect_misses_a_right(pg: PgServer, pg_db: PgDatabase) -> None:
    pg_db.run(f"REVOKE CONNECT ON DATABASE {pg_db.name} FROM PUBLIC")
    assert type(refusal(pg_db.seen_by(pg.create_role()).target)) is RightMissing


def test_a_query_that_may_not_or_must_wait_too_long_is_told_apart(pg: PgServer, pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE public.t(a int)")
    with (
        connect(pg_db.seen_by(pg.create_role()).target) as session,
        pytest.raises(RightMissing, match="table t"),
    ):
        session.rows("SELECT * FROM public.t")
    with contextlib.closing(pg_db.connect()) as blocker, blocker.cursor() as cursor:
        cursor.execute("BEGIN; LOCK TABLE public.t IN ACCESS EXCLUSIVE MODE")
        with connect(pg_db.target, options=ConnectOptions(lock_timeout=0.1)) as session, pytest.raises(Busy):
            session.rows("SELECT * FROM public.t")


def test_a03_a_session_that_the_server_ends_is_an_unreachable_server(pg_db: PgDatabase) -> None:
    with connect(pg_db.target) as session:
        ((pid,),) = session.rows("SELECT pg_catalog.pg_backend_pid()")
        pg_db.run("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(TargetUnreachable, match="ended the connection"):
            for _ in range(100):
                session.rows("SELECT 1")
                time.sleep(0.02)


def test_h08_a_session_that_waits_while_another_one_loads_shows_that_it_is_alive(pg_db: PgDatabase) -> None:
    """What stands between, a firewall or a NAT, forgets a connection nobody speaks on after some minutes."""
    with (
        connect(pg_db.target) as session,
        socket.socket(fileno=os.dup(session._connection.fileno())) as link,
    ):
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        seconds = socket.TCP_KEEPIDLE if sys.platform == "linux" else socket.TCP_KEEPALIVE
        assert link.getsockopt(socket.IPPROTO_TCP, seconds) == 60


def test_a10_ctrl_c_ends_a_long_query_and_the_server_stops_working_on_it(pg_db: PgDatabase) -> None:
    with connect(pg_db.target) as session:
        ((pid,),) = session.rows("SELECT pg_catalog.pg_backend_pid()")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            session.rows("SELECT pg_catalog.pg_sleep(600)")
        assert pg_db.run("SELECT state FROM pg_stat_activity WHERE pid = %s", (pid,)) == [("idle",)]


def test_it_waits_for_a_server_that_is_still_starting(pg: PgServer) -> None:
    port = free_port()
    target = replace(pg.target(), port=port)
    assert type(refusal(target)) is TargetUnreachable
    with forwarding_after(0.6, port, pg.port), connect(target, options=ConnectOptions(wait=20)) as session:
        assert session.rows("SELECT 1") == [(1,)]


def test_a_missing_database_is_not_waited_for(pg: PgServer) -> None:
    # would hang for an hour if it were
    assert type(refusal(pg.target("none"), wait=3600)) is DatabaseMissing


def test_without_a_host_the_socket_that_exists_is_taken(
    pg: PgServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("dbtasks.sessions.SOCKET_FOLDERS", (tmp_path, pg.socket_dir))
    local = replace(pg.target(), host="")
    assert settled(local).host == str(pg.socket_dir)
    with connect(local) as session:
        assert session.rows("SELECT pg_catalog.inet_server_addr()") == [(None,)]


def refusal(target: PostgresTarget, *, wait: float = 0) -> DbTasksError:
    with (
        pytest.raises(DbTasksError) as caught,
        connect(target, options=ConnectOptions(connect_timeout=2, wait=wait)),
    ):
        pass
    return caught.value


def assert_silent(error: DbTasksError, *secrets: str) -> None:
    text = " ".join((str(error), error.details, error.hint, error.state))
    assert not [secret for secret in secrets if secret in text]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def forwarding_after(seconds: float, port: int, to: int) -> Iterator[None]:
    """Listen on a port only after a while, and hand one connection on to another port."""

    def serve() -> None:
        time.sleep(seconds)
        with socket.create_server(("127.0.0.1", port)) as listener:
            client, _ = listener.accept()
            with client, socket.create_connection(("127.0.0.1", to)) as server:
                back = threading.Thread(target=copy, args=(server, client))
                back.start()
                copy(client, server)
                back.join()

    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                sink.sendall(block)
            sink.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=serve)
    thread.start()
    yield
    thread.join()
