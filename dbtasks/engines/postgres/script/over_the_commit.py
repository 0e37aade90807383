"""What came of a COMMIT over which the connection broke: the server is asked, for as long as it takes to know.

Three answers, never two: it took effect, it did not, nobody can tell. A
backend that has lost its client may still be at it, waiting for a standby
(`synchronous_standby_names`); ended there, it has committed.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ....errors import CannotReach, CommandFailed, CommitInDoubt, QueryFailed

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["end_backend", "is_committed"]

PATIENCE_SECONDS = 10.0
STATUS = "SELECT pg_catalog.pg_xact_status(%s::pg_catalog.xid8)"
END = """
    SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
    WHERE pid = %s AND application_name = 'dbtasks' AND datname = %s
"""


def is_committed(engine: PostgresEngine, database: str, xid: str, pid: int) -> bool:
    """Ask what became of a transaction whose COMMIT was said, and of the backend that heard it.

    Raises:
        CommitInDoubt: the server is away, or does not come to an end with it.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        with engine.session(database) as session:
            while True:
                ((status,),) = session.rows(STATUS, (xid,))
                if status in ("committed", "aborted"):
                    return bool(status == "committed")
                if time.monotonic() > deadline:
                    break
                session.execute(END, (pid, database))
                time.sleep(0.05)
    except (CannotReach, CommandFailed, QueryFailed) as exc:
        raise _in_doubt(database, "the server went away over the COMMIT", exc.details) from exc
    raise _in_doubt(database, "the server does not come to an end with the COMMIT", "")


def end_backend(engine: PostgresEngine, database: str, pid: int) -> None:
    """End a backend of ours: a server does not notice a dead client while it builds an index."""
    with engine.session(database) as session:
        session.execute(END, (pid, database))


def _in_doubt(database: str, why: str, details: str) -> CommitInDoubt:
    return CommitInDoubt(
        f"{database}: {why}",
        details=details,
        state=f"whether {database} holds what was loaded is not known: {why}",
        hint="start the server; then look what the database holds: db.undo --dry-run compares it",
    )
