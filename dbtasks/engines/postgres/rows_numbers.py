"""Sequences after a database's rows came back: as the backup has them, and never at a number that a row has."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ...rows.schema import Sequence
from ...sessions import Session
from .facts import COUNTED, PARTITIONED, SEQUENCE, Relation, table_name
from .next_numbers import Use, beyond, edge, uses
from .statements import quoted

__all__ = ["set_sequences"]

FACTS = """
    SELECT s.seqrelid::bigint AS oid, s.seqincrement AS step, s.seqmin AS lowest, s.seqmax AS highest,
           s.seqcycle AS cycles,
           CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN pg_catalog.pg_get_userbyid(c.relowner)::text ELSE '' END
    FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
"""


class _Facts(NamedTuple):
    step: int
    lowest: int
    highest: int
    cycles: bool
    stranger: str
    """Whose it is where it is not ours."""


class _Stand(NamedTuple):
    last: int
    called: bool


def set_sequences(
    session: Session,
    there: Mapping[str, Relation],
    recorded: Iterable[Sequence],
    loaded: Collection[int],
    given: Mapping[tuple[str, str], int] | None = None,
) -> tuple[str, ...]:
    """Let each recorded sequence stand where it stood, and each that fills a column give out what no row has.

    `there` are all relations by their names: a sequence may fill others than the tables that were `loaded`. `given` has
    the last number that a column, by its table's name and its own, ever got elsewhere: it is not given out again either.
    A rollback takes all of it back. Returns what is to be said of those that were not moved.
    """
    known = {one.name: one for one in recorded}
    filled = {str(use) for use in uses(session, list(loaded))}
    by_name: dict[str, list[Use]] = {}
    for use in uses(session, [r.oid for r in there.values() if r.kind in (*COUNTED, PARTITIONED)]):
        if str(use) in known or str(use) in filled:
            by_name.setdefault(str(use), []).append(use)
    facts = {oid: _Facts(*rest) for oid, *rest in session.rows(FACTS)}
    said = []
    for name in sorted({*known, *by_name}):
        relation = there.get(name)
        if relation is None or relation.kind != SEQUENCE or relation.oid not in facts:
            continue
        held = facts[relation.oid]
        if held.stranger and name not in known and not all(use.seen for use in by_name[name]):
            said.append(f"the sequence {name} belongs to {held.stranger} and cannot be looked at")
            continue
        before = None if name in known else _standing(session, relation)
        told = known.get(name)
        wanted = _wanted(
            session,
            held,
            before or _Stand(told.last_value if told else 1, bool(told and told.is_called)),
            by_name.get(name, []),
            given or {},
        )
        if wanted == before:
            continue
        if held.stranger:
            said.append(_by_hand(relation, held, wanted))
        else:
            _move(session, relation, wanted)
    return tuple(said)


def _standing(session: Session, relation: Relation) -> _Stand:
    from psycopg2 import sql

    query = sql.SQL("SELECT last_value, is_called FROM {}").format(
        sql.Identifier(relation.schema, relation.name)
    )
    ((last, called),) = session.rows(query)
    return _Stand(int(last), bool(called))


def _wanted(
    session: Session,
    facts: _Facts,
    stand: _Stand,
    used_by: list[Use],
    given: Mapping[tuple[str, str], int],
) -> _Stand:
    following = stand.last + (facts.step if stand.called else 0)
    wanted = following
    for use in used_by:
        wanted = beyond(wanted, edge(session, use), facts.step)
        wanted = beyond(wanted, given.get((table_name(use.table_schema, use.table), use.column)), facts.step)
    if wanted != following:
        stand = _Stand(wanted, called=False)
    # at its end it gives out nothing any more: better than what rows have
    end = facts.highest if facts.step > 0 else facts.lowest
    outside = not facts.lowest <= stand.last <= facts.highest
    return _Stand(end, called=True) if outside else stand


def _move(session: Session, relation: Relation, stand: _Stand) -> None:
    """Say where it stands: in the new place that RESTART gave it, which a rollback takes away, setval counts for nobody else."""
    from psycopg2 import sql

    name = sql.Identifier(relation.schema, relation.name)
    statement = sql.SQL("ALTER SEQUENCE {} RESTART WITH {}")
    session.execute(statement.format(name, sql.Literal(stand.last)))
    if stand.called:
        session.rows(
            "SELECT pg_catalog.setval(%s::pg_catalog.oid::pg_catalog.regclass, %s, true)",
            (relation.oid, stand.last),
        )


def _by_hand(relation: Relation, facts: _Facts, stand: _Stand) -> str:
    name = f"{quoted(relation.schema)}.{quoted(relation.name)}"
    following = stand.last + (facts.step if stand.called else 0)
    return (
        f"the sequence {relation} belongs to {facts.stranger} and was not moved:"
        f" ALTER SEQUENCE {name} RESTART WITH {following};"
    )
