"""SQL without caring how: a `Session` answers queries, whatever carries them.

Here it is psycopg2; a psql held open inside a container can be another.
Connections are made from keywords, never from a URL, and nothing of the
process' own PG* variables can lead them elsewhere. Every session is in
autocommit (transactions are BEGIN and COMMIT, said in SQL), has an empty
search_path (qualify every name), and no timeout but the one for locks.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from .errors import (
    Busy,
    CannotReach,
    DatabaseMissing,
    DbTasksError,
    LoginRefused,
    QueryFailed,
    RightMissing,
    TargetUnreachable,
)
from .models import PostgresTarget
from .row_values import without_rows
from .secrets import Secret, redact

if TYPE_CHECKING:
    from psycopg2.sql import Composable

__all__ = [
    "PREPARE",
    "ConnectOptions",
    "Parameters",
    "PsycopgSession",
    "Query",
    "Session",
    "connect",
    "settled",
]

T = TypeVar("T")
Query: TypeAlias = "str | Composable"
Parameters = Sequence[Any] | Mapping[str, Any]

LIBPQ_KEYWORDS = {
    "PGPASSFILE": "passfile",
    "PGSSLMODE": "sslmode",
    "PGSSLNEGOTIATION": "sslnegotiation",
    "PGSSLCOMPRESSION": "sslcompression",
    "PGSSLCERT": "sslcert",
    "PGSSLKEY": "sslkey",
    "PGSSLCERTMODE": "sslcertmode",
    "PGSSLROOTCERT": "sslrootcert",
    "PGSSLCRL": "sslcrl",
    "PGSSLCRLDIR": "sslcrldir",
    "PGSSLSNI": "sslsni",
    "PGSSLMINPROTOCOLVERSION": "ssl_min_protocol_version",
    "PGSSLMAXPROTOCOLVERSION": "ssl_max_protocol_version",
}
# Said even when empty: libpq asks its environment only for what is not said at all (G18).
SAID = {"hostaddr": "", "options": "", "password": "", "client_encoding": "UTF8", "replication": ""}
PREPARE = """
    SELECT pg_catalog.set_config('search_path', '', false),
           pg_catalog.set_config('lock_timeout', %(lock)s, false),
           CASE WHEN pg_catalog.current_setting('is_superuser') = 'on'
                THEN pg_catalog.set_config('lc_messages', 'C', false) END;
    SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
    WHERE name IN ('statement_timeout', 'transaction_timeout',
                   'idle_in_transaction_session_timeout', 'idle_session_timeout')
"""
# Sessions wait for hours while another one loads: what forgets quiet connections on the way must hear of them.
KEPT_ALIVE = {"keepalives": 1, "keepalives_idle": 60}
SOCKET_FOLDERS = (Path("/var/run/postgresql"), Path("/tmp"))  # noqa: S108 - libpq's own two defaults
RETRY_SECONDS = 0.25
GIVEN_BYTES = 1 << 17

environment_lock = threading.Lock()


@dataclass(frozen=True)
class ConnectOptions:
    """How to connect, apart from where to."""

    connect_timeout: float = 10.0
    """Seconds one attempt may take."""
    wait: float = 0.0
    """Seconds to go on trying while the server is starting or not there yet."""
    lock_timeout: float = 30.0
    """Seconds a statement may wait for a lock; 0 waits for ever."""
    libpq: Mapping[str, str] = field(default_factory=dict)
    """PGPASSFILE and PGSSL*, wherever they were set."""
    application_name: str = "dbtasks"


class Session(Protocol):
    """A connection to one database, in autocommit, without a search_path."""

    def rows(self, query: Query, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows; `%s` or `%(name)s` mark parameters.

        Raises:
            Busy: a lock was not given in time. RightMissing: the role may not.
            QueryFailed: anything else the server says; `sqlstate` tells it apart.
        """

    def execute(self, query: Query, parameters: Parameters = ()) -> None:
        """Run a statement whose rows, if any, do not matter; raises like `rows`."""

    def cancel(self) -> None:
        """Make the query that another thread is running in this session fail; harmless without one."""


class PsycopgSession:
    """A session over psycopg2."""

    def __init__(self, connection: Any, target: PostgresTarget) -> None:
        self._connection = connection
        self._target = target

    def rows(self, query: Query, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""

        def fetch(cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute(query, parameters or None)
            return list(cursor.fetchall()) if cursor.description is not None else []

        return self._run(fetch)

    def execute(self, query: Query, parameters: Parameters = ()) -> None:
        """Run a statement."""
        self._run(lambda cursor: cursor.execute(query, parameters or None))

    def cancel(self) -> None:
        """Ask the server to give up the running query."""
        import psycopg2

        # a connection that is gone has nothing to cancel
        with suppress(psycopg2.Error):
            self._connection.cancel()

    def copy_out(self, query: Query, take: Callable[[bytes], object]) -> int:
        """Run a COPY … TO STDOUT and hand over each row as it comes; returns their number.

        Raises:
            As `rows`; and whatever `take` raises.
        """

        def copy(cursor: Any) -> int:
            cursor.copy_expert(query, _Taking(take))
            return int(cursor.rowcount)

        return self._run(copy)

    def copy_in(self, query: Query, blocks: Iterator[bytes]) -> int:
        """Run a COPY … FROM STDIN, fed with these blocks; returns how many rows there were.

        Raises:
            As `rows`; and whatever the blocks raise, after which nothing of them stays.
        """
        giving = _Giving(blocks)

        def copy(cursor: Any) -> int:
            cursor.copy_expert(query, giving, GIVEN_BYTES)
            return int(cursor.rowcount)

        def stop() -> None:
            # the server hears of it when it has read what is on its way: no more comes
            giving.stop()
            self.cancel()

        try:
            return self._run(copy, cancel=stop)
        except DbTasksError:
            if giving.failure is not None:
                raise giving.failure from None
            raise

    def close(self) -> None:
        """End the connection; an open transaction is rolled back by the server."""
        self._connection.close()

    def _run(self, act: Callable[[Any], T], cancel: Callable[[], object] | None = None) -> T:
        import psycopg2

        try:
            with self._connection.cursor() as cursor:
                return _interruptible(lambda: act(cursor), cancel=cancel or self.cancel)
        except psycopg2.Error as exc:
            raise _query_error(exc, self._target) from exc


class _Taking:
    """What psycopg2 takes for a file; libpq gives it one whole row per call."""

    def __init__(self, take: Callable[[bytes], object]) -> None:
        self.write = take

    def read(self, size: int = -1) -> bytes:
        """Never called: psycopg2 only asks whether it is there."""
        raise NotImplementedError(size)


class _Giving:
    """What psycopg2 takes for a file to read from: blocks of any length, given in pieces as they are asked for."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._block = b""
        self._at = 0
        self._stopped = False
        self.failure: BaseException | None = None
        """What the blocks raised: psycopg2 keeps only its text."""

    def stop(self) -> None:
        """Give nothing any more, so that the COPY fails."""
        self._stopped = True

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, none at the end."""
        if self._stopped:
            raise ValueError("stopped")
        while self._at >= len(self._block):
            try:
                self._block, self._at = next(self._blocks), 0
            except StopIteration:
                return b""
            except BaseException as exc:
                self.failure = exc
                raise
        piece = self._block[self._at : self._at + size]
        self._at += len(piece)
        return piece


@contextmanager
def connect(
    target: PostgresTarget, *, database: str | None = None, options: ConnectOptions | None = None
) -> Iterator[PsycopgSession]:
    """Connect to a target's database, or to another one of its server, and disconnect at the end.

    Raises:
        LoginRefused, DatabaseMissing, RightMissing: the server answered, and said no.
        TargetUnreachable: it did not answer within connect_timeout and wait.
    """
    options, target = options or ConnectOptions(), settled(target)
    deadline = time.monotonic() + options.wait
    while True:
        try:
            session = PsycopgSession(_open(target, database or target.database, options), target)
            break
        except TargetUnreachable as exc:
            if isinstance(exc, DatabaseMissing) or time.monotonic() >= deadline:
                raise
        time.sleep(RETRY_SECONDS)
    try:
        session.rows(PREPARE, {"lock": f"{int(options.lock_timeout * 1000)}ms"})
        yield session
    finally:
        session.close()


def settled(target: PostgresTarget) -> PostgresTarget:
    """Return the target with libpq's defaults filled in, so that every client takes the same ones.

    Each build of libpq has a socket folder of its own; without a host the one
    that has a server's socket is taken. The user is the account's name,
    whatever USER or PGUSER say.
    """
    host, user = target.host, target.user
    if not host and os.name == "posix":
        found = (folder for folder in SOCKET_FOLDERS if (folder / f".s.PGSQL.{target.port}").exists())
        host = str(next(found, SOCKET_FOLDERS[0]))
    return replace(target, host=host or "localhost", user=user or _account())


def _account() -> str:
    if os.name == "posix":
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    import getpass

    return getpass.getuser()


def _keywords(target: PostgresTarget, database: str, options: ConnectOptions) -> dict[str, Any]:
    """Return libpq keywords for a connection, complete enough that no PG* variable adds to them."""
    own = {LIBPQ_KEYWORDS[name]: value for name, value in options.libpq.items() if name in LIBPQ_KEYWORDS}
    return {
        **SAID,
        **own,
        "application_name": options.application_name,
        "connect_timeout": max(2, math.ceil(options.connect_timeout)),
        **KEPT_ALIVE,
        **target.options,
        "host": target.host,
        "port": target.port,
        "dbname": database,
        "user": target.user,
        "password": target.password.reveal() if target.password else "",
    }


def _open(target: PostgresTarget, database: str, options: ConnectOptions) -> Any:
    import psycopg2

    try:
        with _without_service():
            connection = psycopg2.connect(**_keywords(target, database, options))
    except psycopg2.Error as exc:
        raise _connect_error(exc, target, database) from exc
    connection.autocommit = True
    return connection


@contextmanager
def _without_service() -> Iterator[None]:
    """Hide PGSERVICE: the one variable no keyword can override, not even an empty one."""
    if "PGSERVICE" not in os.environ:
        yield
        return
    with environment_lock:
        hidden = os.environ.pop("PGSERVICE", None)
        try:
            yield
        finally:
            if hidden is not None:
                os.environ["PGSERVICE"] = hidden


def _interruptible(act: Callable[[], T], *, cancel: Callable[[], object]) -> T:
    """Run a blocking call so that Ctrl-C ends it: libpq itself waits on through signals."""
    if threading.current_thread() is not threading.main_thread():
        return act()
    with ThreadPoolExecutor(1, "dbtasks-query") as pool:
        working = pool.submit(act)
        try:
            return working.result()
        except BaseException:
            if not working.done():
                cancel()
            raise


# -- what the server said ------------------------------------------------------


MISSING_HINT = "check its name in the url; db.restore makes a database that is missing"


def _connect_error(exc: Exception, target: PostgresTarget, database: str) -> CannotReach:
    # psycopg2 has no SQLSTATE for a connection that never was: only the text is left
    said = _said(exc, target)
    text = said.lower()
    where = f"{target.host}:{target.port}"
    if _any(
        text, "starting up", "shutting down", "in recovery mode", "not yet accepting", "too many clients"
    ):
        return TargetUnreachable(
            f"the server at {where} takes no connections now",
            details=said,
            hint="try again, or give it time: --wait=30",
        )
    if f'database "{database.lower()}" does not exist' in text:
        return DatabaseMissing(f"there is no database {database} on {where}", details=said, hint=MISSING_HINT)
    if "permission denied for database" in text:
        return RightMissing(f"the role may not connect to the database {database} on {where}", details=said)
    if _any(text, "fatal:", "authentication", "pg_hba.conf", "no password supplied"):
        return LoginRefused(
            f"the server at {where} refused the login of {target.user}",
            details=said,
            hint="check user and password; a container's POSTGRES_PASSWORD counts only when its volume is new:"
            " an older volume keeps the old password",
        )
    return TargetUnreachable(
        f"the server at {where} cannot be reached",
        details=said,
        hint="check host and port, start the server, or give it time: --wait=30",
    )


def _query_error(exc: Exception, target: PostgresTarget) -> DbTasksError:
    said, state = without_rows(_said(exc, target)), getattr(exc, "pgcode", None) or ""
    first = said.partition("\n")[0]
    if state == "42501":
        return RightMissing(f"{target.database}: {first}", details=said)
    if state == "55P03":
        return Busy(f"{target.database}: a lock was not given in time", details=said)
    if state in ("57P01", "57P02", "57P03") or (not state and _lost(exc)):
        return TargetUnreachable(f"the server ended the connection to {target.database}", details=said)
    column = getattr(getattr(exc, "diag", None), "column_name", None) or ""
    return QueryFailed(f"{target.database}: {first}", sqlstate=state, column=column, details=said)


def _lost(exc: Exception) -> bool:
    import psycopg2

    return isinstance(exc, psycopg2.OperationalError | psycopg2.InterfaceError)


def _said(exc: Exception, target: PostgresTarget) -> str:
    secrets: tuple[Secret, ...] = target.secrets
    # libpq puts its second thought on a line of its own, behind a tab
    return redact(str(exc).strip().replace("\t", "  "), secrets)


def _any(text: str, *pieces: str) -> bool:
    return any(piece in text for piece in pieces)
