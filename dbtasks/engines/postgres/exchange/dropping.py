"""A database dropped with whoever is still connected to it, by a role that may end only its own sessions.

FORCE asks for the right to end everything that is in the database, and no
ordinary role has it over an autovacuum worker, which may come to any table
that was just filled. A plain DROP sends such workers away by itself, and waits
five seconds for sessions that are about to end.
"""

from __future__ import annotations

from ....errors import QueryFailed, RightMissing
from ....sessions import Session

__all__ = ["END_SESSIONS", "IN_USE", "drop_with_sessions"]

IN_USE = "55006"
CONNECTED = """
    SELECT 1 AS found FROM pg_catalog.pg_stat_activity a
    WHERE a.datname = %s AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() LIMIT 1
"""
END_SESSIONS = """
    SELECT pid, name FROM (
        SELECT a.pid, a.datname::text AS name, pg_catalog.pg_terminate_backend(a.pid) AS done FROM pg_catalog.pg_stat_activity a
        JOIN pg_catalog.pg_roles r ON r.oid = a.usesysid
        WHERE a.datname = ANY (%s) AND a.pid <> pg_catalog.pg_backend_pid()
          AND (pg_catalog.pg_has_role(r.oid, 'USAGE')
               OR (NOT r.rolsuper AND pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')))) AS ended
    WHERE done
"""
"""Those the role may end; returns their processes, and the database of each."""


def drop_with_sessions(session: Session, name: str) -> None:
    """Drop a database and end the sessions in it as far as the role may; gone already is fine.

    Raises:
        QueryFailed, RightMissing: it is still there: somebody's session is in it, or it is another's database.
    """
    from psycopg2 import sql

    plain = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    force = plain + sql.SQL(" WITH (FORCE)")
    if not session.rows(CONNECTED, (name,)):
        try:
            session.execute(plain)
        except QueryFailed as exc:
            if exc.sqlstate != IN_USE:
                raise
            session.execute(force)  # somebody came in between
        return
    try:
        session.execute(force)
    except RightMissing:
        session.rows(END_SESSIONS, ([name],))
        session.execute(plain)
