"""A connection of our own to the database, whatever way the engine takes: COPY of rows goes by psycopg2 alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from ...errors import CannotReach, DatabaseMissing, RouteUnavailable
from ...sessions import PsycopgSession, Session
from .access import HostAccess

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["direct_session"]

WHICH = """
    SELECT d.oid::bigint AS oid, pg_catalog.pg_postmaster_start_time()::text AS since
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()
"""


@contextmanager
def direct_session(engine: PostgresEngine, database: str | None = None) -> Iterator[PsycopgSession]:
    """Connect from this machine to the very database the engine works on, or to another one of its server.

    Raises:
        RouteUnavailable: it is reached inside its container only, or another server answers here.
    """
    with ExitStack() as stack:
        session = stack.enter_context(engine.session(database))
        if isinstance(session, PsycopgSession):
            yield session
            return
        direct = _around(engine, stack, database or engine.target.database)
        if direct.rows(WHICH) != session.rows(WHICH):
            raise _unreached(engine, f"at {engine.target.address} another server answers this machine")
        yield direct


def _around(engine: PostgresEngine, stack: ExitStack, database: str) -> PsycopgSession:
    if engine.settings.found_in:
        raise _unreached(engine, "no url is configured")
    access = HostAccess(engine.target, engine.settings)
    stack.callback(access.close)
    try:
        session: Session = stack.enter_context(access.session(database))
    except DatabaseMissing:
        raise
    except CannotReach as exc:
        raise _unreached(engine, exc.message) from exc
    if not isinstance(session, PsycopgSession):
        raise TypeError("a session that is not psycopg2's")
    return session


def _unreached(engine: PostgresEngine, why: str) -> RouteUnavailable:
    return RouteUnavailable(
        f"rows of {engine.target.name} go by a connection from this machine, and there is none: {why}",
        hint="publish the container's port and set DATABASE_URL to it",
        state="nothing was touched",
    )
