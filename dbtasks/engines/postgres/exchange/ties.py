"""What holds a database by its identity and not by its name: after an exchange of names it would be with the wrong one."""

from __future__ import annotations

from ....errors import RightMissing
from ....sessions import Session

__all__ = ["prepared", "ties"]

SLOTS = """
    SELECT 'the replication slot ' || slot_name AS name FROM pg_catalog.pg_replication_slots
    WHERE database = %s ORDER BY 1
"""
PREPARED = """
    SELECT 'the prepared transaction ' || gid AS name FROM pg_catalog.pg_prepared_xacts
    WHERE database = %s ORDER BY 1
"""
SUBSCRIPTIONS = """
    SELECT 'the subscription ' || s.subname AS name FROM pg_catalog.pg_subscription s
    JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = %s ORDER BY 1
"""


def ties(session: Session, database: str) -> tuple[str, ...]:
    """Name logical replication slots, prepared transactions and subscriptions of a database."""
    found = session.rows(SLOTS, (database,)) + session.rows(PREPARED, (database,))
    try:
        found += session.rows(SUBSCRIPTIONS, (database,))
    except RightMissing:
        pass  # servers that show them to superusers only; the exchange would leave them with the old database
    return tuple(str(name) for (name,) in found)


def prepared(session: Session, database: str) -> list[str]:
    """Name the prepared transactions: they keep a database in use without any session."""
    return [str(name) for (name,) in session.rows(PREPARED, (database,))]
