"""The databases that swaps renamed away: told by their names, dropped when they are no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import Busy, QueryFailed, Refused, RightMissing
from ....sessions import Session
from ..names import BEFORE, is_before_name

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["drop_replaced", "kept_databases"]

UNTOUCHED = "it was not touched"
IN_USE = "55006"
LISTED = "SELECT datistemplate FROM pg_catalog.pg_database WHERE datname = %s"
IDENTIFIER = "SELECT system_identifier::text AS id FROM pg_catalog.pg_control_system()"
KEPT = """
    SELECT d.datname::text AS name,
           CASE WHEN pg_catalog.has_database_privilege(d.oid, 'CONNECT')
                     OR pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER')
                THEN pg_catalog.pg_database_size(d.oid) END AS size
    FROM pg_catalog.pg_database d WHERE pg_catalog.strpos(d.datname::text, %s) > 0
"""


def kept_databases(engine: PostgresEngine) -> dict[str, int | None]:
    """See `Engine.kept_databases`."""
    with engine.maintenance_session() as session:
        found = session.rows(KEPT, (BEFORE,))
    return {
        str(name): None if size is None else int(size)
        for name, size in found
        if is_before_name(engine.target.database, str(name))
    }


def drop_replaced(engine: PostgresEngine, name: str, *, system_identifier: str = "") -> None:
    """See `Engine.drop_replaced`."""
    from psycopg2 import sql

    if not is_before_name(engine.target.database, name):
        raise Refused(
            f"{name} is not a database that a restore of {engine.target.database} replaced", state=UNTOUCHED
        )
    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    with engine.maintenance_session() as session:
        _prove_server(session, name, system_identifier)
        if session.rows(LISTED, (name,)) == [(True,)]:
            raise Refused(f"{name} has been made a template since", state=UNTOUCHED)
        try:
            session.execute(statement)
        except QueryFailed as exc:
            if exc.sqlstate == IN_USE:
                raise Busy(f"{name} is still in use", details=exc.details, state=UNTOUCHED) from exc
            raise


def _prove_server(session: Session, name: str, expected: str) -> None:
    """Another server may answer at the same address by now, and have a database of that name."""
    if not expected:
        return
    try:
        ((found,),) = session.rows(IDENTIFIER)
    except (RightMissing, QueryFailed):
        return
    if str(found) != expected:
        raise Refused(
            f"{name} was kept on another server: this one's identity is {found}, not {expected}",
            state=UNTOUCHED,
        )
