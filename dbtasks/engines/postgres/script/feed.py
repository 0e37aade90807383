r"""A psql that holds one transaction open: a script goes in, questions are answered, COMMIT comes last.

The end of its input means nothing to the transaction, because COMMIT is said
by us and only after everything was proved. Whatever goes wrong ends the psql
and its backend, and the server rolls back.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ....errors import CommandFailed, CommitInDoubt, DbTasksError, LoadFailed, TargetUnreachable
from ....events import OnEvent, Progress, ignore
from ....models import Archive
from ....plans import LoadRequest
from ....psql import PsqlSession
from ....row_values import first_error
from ....runners import Command, CommandInput, ToolVersion
from ....sessions import Session
from ..archive.contents import Script, is_ownership
from ..last_words import way_left
from ..public_schema import left_as_it_is
from .gate import Gate
from .needless import Needless
from .over_the_commit import end_backend, is_committed
from .watchdog import Blocker, held_up, watched

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Feed", "transaction"]

ARGUMENTS = ("-X", "-w", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-v", "VERBOSITY=verbose")
"""Verbose: every error comes with its SQLSTATE, which is the same in every language."""
IN_ENGLISH = "SELECT pg_catalog.set_config('lc_messages', 'C', false) WHERE pg_catalog.current_setting('is_superuser') = 'on'"
"""Nobody else may choose the language of what the server says."""
RESTRICTS = {14: 19, 15: 14, 16: 10, 17: 6}
r"""First minor release whose psql knows \restrict; from 18 on all do."""


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
        self.is_committed = False

    def begin(self) -> None:
        """Open the transaction, with no timeout that could end it and every name qualified."""
        ((self.pid,),) = self.session.rows("SELECT pg_catalog.pg_backend_pid() AS pid")
        self.session.execute("BEGIN")
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            self.session.execute(f"SET {name} = 0")
        self.session.execute("SET client_min_messages = warning")
        self.session.execute(IN_ENGLISH)
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
        if request.role:
            self.session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(request.role)))
        stays = left_as_it_is(self.session)
        needless = Needless(
            kept_schemas, also=lambda text: stays(text) or (request.no_owner and is_ownership(text))
        )
        without = frozenset({"transaction_timeout"}) if server < 170000 else frozenset[str]()
        self.send(Gate(script.source, without=without, leave_out=needless), on_event)
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
            LoadFailed: it did not. CommitInDoubt: nobody can tell.
        """
        try:
            self.session.execute("COMMIT")
        except (TargetUnreachable, CommandFailed) as exc:
            if not is_committed(self._engine, self.database, self._xid, self.pid):
                raise LoadFailed(
                    f"the server did not commit the load into {self.database}",
                    details=exc.details,
                    state=f"{self.database} is as it was",
                ) from exc
        self.is_committed = True


@contextmanager
def transaction(engine: PostgresEngine, database: str, archive: Archive | None = None) -> Iterator[Feed]:
    """Hold one transaction open in a database through psql; without `commit()` nothing of it stays.

    `archive` is what is loaded, for the hint of a load that breaks off.

    Raises:
        Busy: it waited longer than lock_timeout for a lock; names who holds it.
        LoadFailed: psql or the server turned something down.
    """
    command = Command("psql", ARGUMENTS, env={"PGDATABASE": database, "PGCLIENTENCODING": "UTF8"})
    blockers: list[Blocker] = []
    pid, done = 0, False
    try:
        with engine.runner.writing(command, output=True) as psql:
            feed = Feed(engine, database, psql)
            try:
                feed.begin()
                pid = feed.pid
                with watched(engine, database, feed.pid, psql.kill, blockers):
                    yield feed
                done = feed.is_committed
            except CommitInDoubt:
                raise
            except (TargetUnreachable, CommandFailed) as exc:
                ended = _how_it_ended(psql, exc)
                raise LoadFailed(
                    f"the load into {database} broke off: {first_error(ended.details) or ended.message}",
                    details=ended.details,
                    state=f"{database} is as it was",
                    hint=way_left(ended.details, archive, engine.settings.backup_dir) or ended.hint,
                ) from exc
    except BaseException as exc:
        if done and isinstance(exc, DbTasksError):
            return  # what is committed stays so, however the psql ended that said it
        if pid:
            with suppress(DbTasksError):
                end_backend(engine, database, pid)
        if blockers and isinstance(exc, LoadFailed):
            raise held_up(engine, database, blockers) from exc
        raise


def _how_it_ended(psql: CommandInput, exc: DbTasksError) -> DbTasksError:
    """Ask a psql that stopped answering how it ended: where it ran may have stopped with it."""
    if isinstance(exc, TargetUnreachable):
        try:
            psql.write(b"\n")
            psql.flush()
        except CommandFailed as failed:
            return failed
    return exc


def _knows_restrict(version: ToolVersion) -> bool:
    return version.major >= 18 or version.minor >= RESTRICTS.get(version.major, 1 << 30)
