"""One restore of a database at a time, from whichever machine: an advisory lock of the server itself.

The run lock keeps apart the runs that share a backup folder. Two machines with
folders of their own meet only on the server, so a restore also takes a lock
there and keeps its session open as long as it works. PostgreSQL keeps advisory
locks per database: this one is taken in the maintenance database, because the
target is renamed away, or where a role may enter nothing but the target, there.
The list of locks is the whole server's: whoever holds this one in any database
counts. It ends with the session, however that ends.

No timeout of the server ends that session, and a thread says something on it
now and then, for what lies between and cuts quiet connections. But an
administrator or a failover may end it, and nothing here would notice. So every
step that cannot be taken back asks the server first whether the lock is still
held by that very session, and by nobody else. Once lost it is not taken again:
who restored in place meanwhile left no sign by which that could be told.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ....errors import Busy, CannotReach, DbTasksError, OperationFailed, RightMissing
from ....schemas import quoted
from ....sessions import Session
from .swap import outside

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["Claim", "claim_key", "claimed", "claimed_by_another", "not_known_now"]

AWAKE_SECONDS = 30.0
"""Between two words on the session that holds the lock; what cuts quiet connections waits for minutes."""
ENDING_SECONDS = 10.0
"""How long the end of a run waits for the end of that session, which may be stuck on a network that is gone."""
TAKE = "SELECT pg_catalog.pg_try_advisory_lock(%s) AS taken, pg_catalog.pg_backend_pid() AS pid"
GIVE = "SELECT pg_catalog.pg_advisory_unlock(%s)"
SIGN = "SELECT pg_catalog.set_config('application_name', %s, false)"
# of whichever database: no d.datname here
HOLDERS = """
    SELECT l.pid FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %s
"""
TOLD = """
    SELECT a.pid, a.usename::text AS role, a.application_name AS name, pg_catalog.host(a.client_addr) AS address,
           pg_catalog.to_char(a.backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') AS since
    FROM pg_catalog.pg_stat_activity a WHERE a.pid = ANY (%s)
"""
WHO = "SELECT pg_catalog.current_database()::text AS name, current_user::text AS role"
HELD = """
    SELECT 1 AS held FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND ((l.classid::bigint << 32) | l.objid::bigint) = %s AND a.application_name IS DISTINCT FROM %s LIMIT 1
"""
HOST_LETTERS = 32
UNTOUCHED = "nothing was touched"


def claim_key(database: str) -> int:
    """Return the lock's key: sha256 of `dbtasks restore`, a zero byte and the name; its first eight bytes, signed."""
    whole = b"dbtasks restore\0" + database.encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.sha256(whole).digest()[:8], "big", signed=True)


@dataclass(frozen=True)
class Claim:
    """The lock, and the session that took it."""

    engine: PostgresEngine
    key: int
    pid: int
    """Of that session's backend."""

    def prove(self, session: Session) -> None:
        """See that nobody could have come in between; `session` may be any one of the server, in a transaction or not.

        Raises:
            Busy: another restore is under way; says whose. OperationFailed: there may have been one.
            Both with the state: this run changed nothing, and of what others did nothing is known.
        """
        pids = _holders(session, self.key)
        if pids != {self.pid}:
            raise self._lost(self.pid in pids)

    def _lost(self, still_held: bool) -> Busy | OperationFailed:
        database = self.engine.target.database
        why = (
            "somebody else holds the lock on it as well, in another database of the server"
            if still_held
            else "the session that kept others away ended before this could take effect"
            f" (process {self.pid} on the server)"
        )
        with suppress(DbTasksError), ExitStack() as stack:
            session = _session(self.engine, stack)
            if told := _told(session, _holders(session, self.key) - {self.pid}):
                busy = _busy(self.engine, told)
                busy.details, busy.state = why, not_known_now(database)
                return busy
        return OperationFailed(
            f"another restore of {database} may have been at work: {why}",
            hint="begin again"
            if still_held
            else "begin again; the server's log says what ended that session,"
            " unless something between here and the server cut a connection that was quiet",
            state=not_known_now(database),
        )


def not_known_now(database: str) -> str:
    """Return the state after a lock that was lost."""
    return f"this run changed nothing in {database}; what another one did to it meanwhile is not known here"


@contextmanager
def claimed(engine: PostgresEngine) -> Iterator[None]:
    """Keep other restores of this database away while the block runs; the engine proves it again before it acts.

    Of two that begin at the same moment in two databases of the server at most one goes on.

    Raises:
        Busy: another one holds it, from this machine or another; says who and since when.
        CannotReach: no database of the server answers. RightMissing: it cannot be proved later on; says what to grant.
    """
    key = claim_key(engine.target.database)
    with ExitStack() as stack:
        session = _session(engine, stack)
        session.execute(SIGN, (_signature(),))
        # before as well: whoever has to give way must not be in the list when the other one proves its own
        if pids := _holders(session, key):
            raise _busy(engine, _told(session, pids))
        _prove_tells(engine, key)
        ((taken, pid),) = session.rows(TAKE, (key,))
        if (pids := _holders(session, key)) != {pid} or not taken:
            raise _busy(engine, _told(session, pids - {pid}))
        held = stack.pop_all()
    with _kept_awake(session, key, held):
        engine.claim = Claim(engine, key, int(pid))
        try:
            yield
        finally:
            engine.claim = None


@contextmanager
def _kept_awake(session: Session, key: int, held: ExitStack) -> Iterator[None]:
    """Say something on the session now and then while the block runs, then give the lock back and end the session.

    From here on a thread alone uses it. Whatever goes wrong with it is no news of its own: the proof tells, and what
    was done is done. The end is not waited for without limit.
    """
    over = threading.Event()

    def speak() -> None:
        with suppress(Exception), held:
            while not over.wait(AWAKE_SECONDS):
                with suppress(Exception):
                    session.execute("SELECT 1")
            with suppress(Exception):
                # a session ends some moments after it is told to: who restores next is not to meet its lock
                session.execute(GIVE, (key,))

    speaker = threading.Thread(target=speak, name="dbtasks-claim", daemon=True)
    try:
        speaker.start()
        yield
    finally:
        over.set()
        if speaker.is_alive():
            speaker.join(ENDING_SECONDS)


def _holders(session: Session, key: int) -> set[int]:
    """Return whose sessions hold the lock, in whichever database."""
    try:
        return {pid for (pid,) in session.rows(HOLDERS, (key,))}
    except RightMissing as exc:
        # inside a transaction nothing more can be asked
        with suppress(DbTasksError):
            ((database, role),) = session.rows(WHO)
            exc.hint = (
                f"let a superuser say in {database}: GRANT SELECT ON pg_catalog.pg_locks TO {quoted(role)}"
            )
        raise


def _prove_tells(engine: PostgresEngine, key: int) -> None:
    """See that the list may be read in the database itself, where the proof of a load into it will ask.

    Raises:
        RightMissing: it may not. Not being let in, or a damage, is not for here to tell.
    """
    lacking = None
    with suppress(DbTasksError), engine.session() as session:
        try:
            _holders(session, key)
        except RightMissing as exc:
            lacking = exc
    if lacking is not None:
        raise lacking


def _told(session: Session, pids: set[int]) -> list[tuple[object, ...]]:
    # a prepared transaction has no process
    return session.rows(TOLD, ([pid for pid in pids if pid is not None],))


def claimed_by_another(session: Session, database: str) -> bool:
    """Whether another restore of a database than one of this process is at work, from whichever machine."""
    return bool(session.rows(HELD, (claim_key(database), _signature())))


def _signature() -> str:
    return f"dbtasks restore {socket.gethostname()[:HOST_LETTERS]} {os.getpid()}"


def _session(engine: PostgresEngine, stack: ExitStack) -> Session:
    """Open the session that holds the lock; a role that may only enter the target itself uses that."""
    try:
        return stack.enter_context(outside(engine))
    except CannotReach:
        return stack.enter_context(engine.session())


def _busy(engine: PostgresEngine, holders: list[tuple[object, ...]]) -> Busy:
    name = engine.target.database
    if not holders:
        return Busy(f"another restore of {name} has just ended", hint="try again", state=UNTOUCHED)
    pid, role, application, address, since = holders[0]
    # other roles' sessions show their name to those who may see it only
    who = ", ".join(
        str(part) for part in (application, role and f"as {role}", address and f"from {address}") if part
    )
    return Busy(
        f"another restore of {name} is under way on this server: {who or 'its role is hidden'}"
        f"{f', since {since}' if since else ''}",
        hint=f"wait for it to end, then try again; on the server it is process {pid}",
        state=UNTOUCHED,
    )
