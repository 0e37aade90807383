"""What killed restores of a database left on its server: databases half loaded, which nobody is connected to.

A restore marks the database it makes by a comment and holds a connection to it
as long as it lives. A kill between the making and the mark leaves one that
only its name tells: it ends in the id of the restore's record.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ....errors import Busy, DbTasksError, QueryFailed, Refused
from ....events import OnEvent, Warned
from ....row_values import first_error
from ....sessions import Session
from ..connected import session_words
from ..names import is_new_name, new_name
from ..script.statements import quoted
from .claim import claimed_by_another
from .dropping import IN_USE, drop_with_sessions
from .swap import outside

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = [
    "MARK",
    "drop_left_over",
    "drop_unfinished",
    "found",
    "in_use",
    "left_in_use",
    "left_over",
    "marked",
    "sweep",
]

MARK = "dbtasks: a restore in the making, not live; left over if nobody is connected to it"
UNTOUCHED = "it was not touched"
# a worker of the server itself has no role, and is in nobody's way
FOUND = """
    SELECT d.datname::text AS name FROM pg_catalog.pg_database d
    WHERE (pg_catalog.shobj_description(d.oid, 'pg_database') = %(mark)s OR d.datname = ANY (%(named)s))
      AND NOT d.datistemplate
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.usesysid IS NOT NULL)
    ORDER BY 1
"""
USED = """
    SELECT d.datname::text AS name, a.pid, a.usename::text, a.application_name, pg_catalog.host(a.client_addr), a.state
    FROM pg_catalog.pg_database d JOIN pg_catalog.pg_stat_activity a
         ON a.datid = d.oid AND a.usesysid IS NOT NULL
    WHERE (pg_catalog.shobj_description(d.oid, 'pg_database') = %(mark)s OR d.datname = ANY (%(named)s))
      AND NOT d.datistemplate
    ORDER BY 1, a.backend_start
"""


def left_over(engine: PostgresEngine, ids: Collection[str]) -> tuple[str, ...]:
    """See `Engine.left_over`."""
    with engine.maintenance_session() as session:
        return tuple(found(session, engine.target.database, ids))


def left_in_use(engine: PostgresEngine, ids: Collection[str]) -> dict[str, str]:
    """See `Engine.left_in_use`."""
    with engine.maintenance_session() as session:
        return in_use(session, engine.target.database, ids)


def drop_left_over(engine: PostgresEngine, name: str) -> None:
    """See `Engine.drop_left_over`."""
    if not is_new_name(engine.target.database, name):
        raise Refused(f"{name} is not what a restore of {engine.target.database} left", state=UNTOUCHED)
    with engine.maintenance_session() as session:
        # whole and not yet live, another restore's looks just like it
        engine.prove_claimed(session)
        try:
            _drop(session, name)
        except QueryFailed as exc:
            if exc.sqlstate == IN_USE:
                raise Busy(f"{name} is in use", details=exc.details, state=UNTOUCHED) from exc
            raise


def marked(session: Session, database: str) -> tuple[str, ...]:
    """Name what the next restore will `sweep()`."""
    return tuple(found(session, database, ()))


def in_use(
    session: Session, database: str, ids: Collection[str] = (), *, what: str = "restore"
) -> dict[str, str]:
    """Name what killed restores (`what`: or proofs) left and somebody is connected to, and say who, and how it goes.

    Nothing while another restore is at work: it may be what that one makes.
    """
    if claimed_by_another(session, database):
        return {}
    connected: dict[str, list[str]] = {}
    for name, *who in session.rows(USED, {"mark": MARK, "named": _named(database, ids)}):
        if is_new_name(database, str(name)):
            connected.setdefault(str(name), []).append(session_words(*who))
    return {
        name: f"{name}, left over by an earlier {what}, stays while {', '.join(who)}"
        f" {'is' if len(who) == 1 else 'are'} connected to it; db.cleanup drops it afterwards, and so does the next {what}"
        for name, who in connected.items()
    }


def sweep(engine: PostgresEngine, session: Session) -> tuple[str, ...]:
    """Drop what killed restores of this database left, as far as they had marked it; returns why some of it stays.

    Raises:
        Busy, OperationFailed: others are not kept away any more, and it may be theirs; nothing was dropped.
    """
    engine.prove_claimed(session)
    database, stays = engine.target.database, list[str]()
    for name in found(session, database, ()):
        try:
            _drop(session, name)
        except DbTasksError as exc:
            if not isinstance(exc, QueryFailed) or exc.sqlstate != IN_USE:
                stays.append(f"{name}, left over by an earlier restore, was not dropped: {exc.message}")
    return (*stays, *in_use(session, database).values())


def found(session: Session, database: str, ids: Collection[str]) -> list[str]:
    """Name those that bear our comment or one of these ids, and that nobody is connected to."""
    rows = session.rows(FOUND, {"mark": MARK, "named": _named(database, ids)})
    return [str(name) for (name,) in rows if is_new_name(database, str(name))]


def _named(database: str, ids: Collection[str]) -> list[str]:
    return [new_name(database, id_) for id_ in ids]


def _drop(session: Session, name: str) -> None:
    from psycopg2 import sql

    session.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))


def drop_unfinished(engine: PostgresEngine, name: str, on_event: OnEvent) -> bool:
    """Drop a database that was made for nothing, and whoever is connected to it.

    Returns whether it is gone. A failure is a warning with the statement that removes it: the error that led here is
    the news, and this one must not hide it.
    """
    try:
        with outside(engine) as session:
            drop_with_sessions(session, name)
    except DbTasksError as exc:
        # its message names the session's database
        why = first_error(exc.details) or exc.message
        by_hand = f"DROP DATABASE {quoted(name)}"
        on_event(Warned(f"the unfinished database {name} is still there: {why}; {by_hand} removes it"))
        return False
    return True
