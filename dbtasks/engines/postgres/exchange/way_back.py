"""The way back by rename: the database a restore kept gets the live name again, and the live one is kept.

Which database is which is told by its oid: a rename leaves it, and whatever
somebody restores or creates under the same name has another one.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from ....errors import Busy, CannotReach, QueryFailed, Refused, RightMissing
from ....plans import ExchangePlan, Standing, Swapped
from ....sessions import Session
from ... import OnKeep
from ..facts import system_identifier, table_rows
from ..names import is_before_name
from ..server import Server, look_at_server
from .swap import OID, outside, take_place

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["exchange", "plan_exchange", "standing"]

UNTOUCHED = "nothing was touched"
COMMENT = """
    SELECT pg_catalog.shobj_description(d.oid, 'pg_database') AS comment
    FROM pg_catalog.pg_database d WHERE d.datname = %s
"""


def standing(engine: PostgresEngine, kept: str | None) -> Standing:
    """See `Engine.standing`."""
    with ExitStack() as stack:
        try:
            session = stack.enter_context(outside(engine))
        except CannotReach:
            # a role that may only enter the target itself sees the same list from there
            session = stack.enter_context(engine.session())
        live = _oid(session, engine.target.database)
        return Standing(live, _oid(session, kept) if kept else None, system_identifier(session))


def _oid(session: Session, name: str) -> int | None:
    found = session.rows(OID, (name,))
    return int(found[0][0]) if found else None


def plan_exchange(engine: PostgresEngine, kept: str) -> ExchangePlan:
    """See `Engine.plan_exchange`."""
    target = engine.target.database
    if not is_before_name(target, kept):
        raise Refused(f"{kept} is not a database that a restore of {target} replaced", state=UNTOUCHED)
    now = standing(engine, kept)
    if now.live_oid is None or now.kept_oid is None:
        raise Refused(f"{kept if now.live_oid else target} is not there any more", state=UNTOUCHED)
    state, sessions = engine.state(), list[str]()
    for name in (target, kept):
        server, why_inside = look_at_server(engine, state, name)
        _prove_may(name, server, why_inside)
        sessions += server.sessions
    _prove_opens(engine, kept)
    live_rows, not_live = _rows(engine, target)
    kept_rows, not_kept = _rows(engine, kept)
    return ExchangePlan(
        kept=kept,
        live_oid=now.live_oid,
        kept_oid=now.kept_oid,
        route=engine.route,
        system_identifier=now.system_identifier,
        live_rows=live_rows,
        kept_rows=kept_rows,
        sessions=tuple(sessions),
        not_counted=not_live or not_kept,
    )


def _prove_may(name: str, server: Server, why_inside: str) -> None:
    if why_inside:
        raise RightMissing(f"{name} cannot be renamed: {why_inside}", state=UNTOUCHED)
    if not server.creates:
        raise RightMissing(f"the role {server.role} may not rename databases (CREATEDB)", state=UNTOUCHED)
    if not server.owns:
        raise RightMissing(
            f"{name} belongs to {server.owner}, and {server.role} is not a member of that role",
            state=UNTOUCHED,
        )
    if server.template:
        raise Refused(f"{name} is marked as a template", state=UNTOUCHED)
    if server.tied:
        raise Refused(f"{', '.join(server.tied)} would stay with {name}", state=UNTOUCHED)


def _prove_opens(engine: PostgresEngine, kept: str) -> None:
    """See that it can be used; a live one that cannot is a reason to go back, not one against it."""
    try:
        with engine.session(kept):
            return
    except (CannotReach, QueryFailed) as exc:
        raise Refused(f"{kept} cannot be opened: {exc.message}", state=UNTOUCHED) from exc


def _rows(engine: PostgresEngine, database: str) -> tuple[dict[str, int], str]:
    """Count a database, or say why it cannot be counted."""
    try:
        with engine.session(database) as session:
            return table_rows(session), ""
    except (CannotReach, Busy, QueryFailed) as exc:
        return {}, f"{database}: {exc.message}"


def exchange(engine: PostgresEngine, plan: ExchangePlan, on_keep: OnKeep) -> Swapped:
    """See `Engine.exchange`."""
    with outside(engine) as session:
        now = (_oid(session, engine.target.database), _oid(session, plan.kept))
        if now != (plan.live_oid, plan.kept_oid):
            raise Refused(
                f"{engine.target.database} or {plan.kept} is not the database it was when this was planned",
                state=UNTOUCHED,
                hint="look again: db.undo --dry-run",
            )
        ((comment,),) = session.rows(COMMENT, (plan.kept,))
    # the exchange sets a comment, because what a restore loads beside bears a mark; this one keeps its own
    own = None if comment is None else str(comment)
    return take_place(engine, plan.kept, comment=own, on_live=lambda: None, on_keep=on_keep)
