"""Who is connected to a database, in words."""

from __future__ import annotations

from ...sessions import Session

__all__ = ["other_sessions", "session_words"]

SESSIONS = """
    SELECT a.pid, a.usename::text, a.application_name, pg_catalog.host(a.client_addr), a.state
    FROM pg_catalog.pg_stat_activity a
    WHERE a.datname = %s AND a.usesysid IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid()
      AND a.application_name <> 'dbtasks' ORDER BY a.backend_start
"""


def other_sessions(session: Session, database: str) -> tuple[str, ...]:
    """Describe who is connected to a database, ourselves left out."""
    return tuple(session_words(*row) for row in session.rows(SESSIONS, (database,)))


def session_words(
    pid: int, user: str | None, name: str | None, address: str | None, state: str | None
) -> str:
    """Describe one session; what a role may not see of others is missing."""
    who = ", ".join(text for text in (user, name, address, state) if text)
    return f"process {pid} ({who})" if who else f"process {pid}"
