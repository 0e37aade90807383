r"""A psql that holds one transaction open: a script goes in, questions are answered, COMMIT comes last.

The end of its input means nothing to the transaction, because COMMIT is said
by us and only after everything was proved. Whatever goes wrong ends the psql
and its backend, and the server rolls back.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ...errors import Busy, CommandFailed, DbTasksError, LoadFailed, TargetUnreachable
from ...events import OnEvent, Progress, ignore
from ...plans import LoadRequest
from ...psql import PsqlSession, render
from ...runners import Command, CommandInput, ToolVersion
from ...sessions import Session
from .contents import Script, is_ownership
from .gate import Gate
from .last_words import way_left

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["Feed", "transaction"]

ARGUMENTS = ("-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=default")
RESTRICTS = {14: 19, 15: 14, 16: 10, 17: 6}
r"""First minor release whose psql knows \restrict; from 18 on all do."""
POLL_SECONDS = 0.25
BLOCKERS = """
    SELECT b.pid, a.usename::text, a.application_name, a.state
    FROM pg_catalog.unnest(pg_catalog.pg_blocking_pids(%s)) AS b (pid)
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = b.pid
"""


class Feed:
    """The open transaction."""

    def __init__(self, engine: PostgresEngine, database: str, psql: CommandInput) -> None:
        self._engine = engine
        self.database = database
        self._psql = psql
        self.session: Session = PsqlSession(psql, database)
        """Questions and statements inside the transaction."""
        self.pid = 0
        self._xid = ""

    def begin(self) -> None:
        """Open the transaction, with no timeout that could end it and every name qualified."""
        ((self.pid,),) = self.session.rows("SELECT pg_catalog.pg_backend_pid() AS pid")
        self.session.execute("BEGIN")
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            self.session.execute(f"SET {name} = 0")
        self.session.execute("SET client_min_messages = warning")
        self.session.execute("SELECT pg_catalog.set_config('search_path', '', false)")
        ((self._xid,),) = self.session.rows("SELECT pg_catalog.pg_current_xact_id()::text AS xid")

    def play(
        self,
        script: Script,
        request: LoadRequest,
        *,
        kept_schemas: frozenset[str] = frozenset(),
        on_event: OnEvent = ignore,
    ) -> None:
        """Run a script through the gate, as far as the request and the server want it, and prove it whole."""
        from psycopg2 import sql

        server = self._engine.server_version()
        unwanted = {f"CREATE SCHEMA {render(sql.Identifier(name))};".encode() for name in kept_schemas}
        unwanted |= {f"CREATE SCHEMA {name};".encode() for name in kept_schemas}

        def leave_out(statement: bytes) -> bool:
            # only an extension's owner may comment on it, and its comment comes with it anyway
            needless = statement.startswith(b"COMMENT ON EXTENSION ") or statement in unwanted
            return needless or (request.no_owner and is_ownership(statement))

        if request.role:
            self.session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(request.role)))
        without = frozenset({"transaction_timeout"}) if server < 170000 else frozenset[str]()
        self.send(Gate(script.source, without=without, leave_out=leave_out), on_event)
        script.prove()

    def send(self, gate: Gate, on_event: OnEvent = ignore) -> None:
        """Send what the gate lets through; returns when psql has run all of it."""
        key = secrets.token_hex(16).encode()
        knows = _knows_restrict(self._engine.runner.version("psql"))
        done = 0
        self._psql.write(b"\\o %s\n" % os.devnull.encode())
        if knows:
            # a second bolt: psql itself takes no meta-command until it hears the key again
            self._psql.write(b"\\restrict %s\n" % key)
        for block in gate:
            self._psql.write(block)
            done += len(block)
            on_event(Progress(done))
        if knows:
            self._psql.write(b"\n\\unrestrict %s\n" % key)
        self._psql.write(b"\n\\o\nSET client_encoding = 'UTF8'; SET standard_conforming_strings = on;\n")
        self.session.execute("SELECT pg_catalog.set_config('search_path', '', false)")

    def commit(self) -> None:
        """Commit; when the connection broke over it, the server is asked whether it did.

        Raises:
            LoadFailed: it did not.
        """
        try:
            self.session.execute("COMMIT")
        except (TargetUnreachable, CommandFailed) as exc:
            if not self._is_committed():
                raise LoadFailed(
                    f"the server did not commit the load into {self.database}",
                    details=exc.details,
                    state=f"{self.database} is as it was",
                ) from exc

    def _is_committed(self) -> bool:
        with self._engine.session(self.database) as session:
            ((status,),) = session.rows("SELECT pg_catalog.pg_xact_status(%s::pg_catalog.xid8)", (self._xid,))
        return bool(status == "committed")


@contextmanager
def transaction(engine: PostgresEngine, database: str) -> Iterator[Feed]:
    """Hold one transaction open in a database through psql; without `commit()` nothing of it stays.

    Raises:
        Busy: it waited longer than lock_timeout for a lock; names who holds it.
        LoadFailed: psql or the server turned something down.
    """
    command = Command("psql", ARGUMENTS, env={"PGDATABASE": database, "PGCLIENTENCODING": "UTF8"})
    blockers: list[str] = []
    pid = 0
    try:
        with engine.runner.writing(command, output=True) as psql:
            feed = Feed(engine, database, psql)
            try:
                feed.begin()
                pid = feed.pid
                with _watched(engine, feed, psql, blockers):
                    yield feed
            except (TargetUnreachable, CommandFailed) as exc:
                raise LoadFailed(
                    f"the load into {database} broke off",
                    details=exc.details,
                    state=f"{database} is as it was",
                    hint=way_left(exc.details),
                ) from exc
    except BaseException as exc:
        if pid:
            _end_backend(engine, database, pid)
        if blockers and isinstance(exc, LoadFailed):
            raise _busy(engine, database, blockers) from exc
        raise


@contextmanager
def _watched(engine: PostgresEngine, feed: Feed, psql: CommandInput, blockers: list[str]) -> Iterator[None]:
    """End the transaction when it waits too long for a lock: scripts of pg_dump switch lock_timeout off."""
    limit = engine.settings.lock_timeout
    stop = threading.Event()

    def watch() -> None:
        blocked_since: float | None = None
        with suppress(DbTasksError), engine.session(feed.database) as session:
            while not stop.wait(POLL_SECONDS):
                found = session.rows(BLOCKERS, (feed.pid,))
                now = time.monotonic()
                blocked_since = (blocked_since or now) if found else None
                if blocked_since is not None and now - blocked_since >= limit:
                    blockers.extend(_described(*row) for row in found)
                    psql.kill()
                    return

    if not limit:
        yield
        return
    watcher = threading.Thread(target=watch, name="dbtasks-locks", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


def _described(pid: int, user: str | None, application: str | None, state: str | None) -> str:
    who = ", ".join(text for text in (user, application, state) if text)
    return f"process {pid} ({who})" if who else f"process {pid}"


def _busy(engine: PostgresEngine, database: str, blockers: list[str]) -> Busy:
    return Busy(
        f"the load into {database} waited {engine.settings.lock_timeout:g} s for a lock held by"
        f" {', '.join(blockers)}",
        state=f"{database} is as it was",
        hint="end that session or let it finish, or raise lock_timeout",
    )


def _end_backend(engine: PostgresEngine, database: str, pid: int) -> None:
    """End the backend: a server does not notice a dead client while it builds an index."""
    with suppress(DbTasksError), engine.session(database) as session:
        session.execute(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
            " WHERE pid = %s AND application_name = 'dbtasks' AND datname = %s",
            (pid, database),
        )


def _knows_restrict(version: ToolVersion) -> bool:
    return version.major >= 18 or version.minor >= RESTRICTS.get(version.major, 1 << 30)
