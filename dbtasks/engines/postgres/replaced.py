"""The database a swap renamed away: told by its name, dropped when it is no longer wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import Busy, QueryFailed, Refused

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["MARK", "drop_replaced"]

MARK = "__before_"
IN_USE = "55006"


def drop_replaced(engine: PostgresEngine, name: str) -> None:
    """See `Engine.drop_replaced`."""
    from psycopg2 import sql

    if MARK not in name or name == engine.target.database:
        raise Refused(f"{name} is not a database that a restore replaced")
    statement = sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name))
    try:
        with engine.maintenance_session() as session:
            session.execute(statement)
    except QueryFailed as exc:
        if exc.sqlstate == IN_USE:
            raise Busy(f"{name} is still in use", details=exc.details) from exc
        raise
