"""Sequences after a database's rows came back: as the backup has them, and never at a number that a row has.

Nor back to one that a table which stayed as it was may have had in a row since deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ....rows.schema import Sequence
from ....sessions import Session
from ..facts import COUNTED, PARTITIONED, SEQUENCE, Relation, table_name
from ..part.next_numbers import Use, beyond, edge, hold, uses
from ..script.statements import quoted

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
    *,
    partly: Collection[int] = (),
) -> tuple[str, ...]:
    """Let each recorded sequence stand where it stood, and each that fills a column give out what no row has.

    `there` are all relations by their names: a sequence may fill others than the tables that were `loaded`; one that does is
    not set back. So it is with those `partly` loaded, of which some partitions stayed. `given` has the last number that a
    column, by its table's name and its own, ever got elsewhere: it is not given out again either.
    A rollback takes all of it back. Returns what is to be said of those that were not moved.
    """
    known = {one.name: one for one in recorded}
    filled = {str(use) for use in uses(session, list(loaded))}
    emptied = uses(session, [oid for oid in loaded if oid not in partly])
    everywhere = uses(session, [relation.oid for relation in there.values()])
    outside = {str(use) for use in {*everywhere}.difference(emptied)}
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
        held, used_by = facts[relation.oid], by_name.get(name, [])
        goes_on = name not in known or name in outside
        if held.stranger and goes_on and not all(use.seen for use in used_by):
            said.append(f"the sequence {name} belongs to {held.stranger} and cannot be looked at")
            continue
        place = _Place(session, relation, held, known.get(name), used_by, given or {}, goes_on=goes_on)
        now, wanted = place.look()
        if wanted == now:
            continue
        if held.stranger:
            said.append(_by_hand(relation, held, wanted))
            continue
        if goes_on:
            # others may have taken numbers since
            hold(session, (relation.schema, relation.name), held.step)
            now, wanted = place.look()
        if wanted != now:
            _move(session, relation, wanted)
    return tuple(said)


class _Place(NamedTuple):
    """Where a sequence is to stand, by all that counts for it."""

    session: Session
    relation: Relation
    facts: _Facts
    told: Sequence | None
    """The backup's."""
    used_by: list[Use]
    given: Mapping[tuple[str, str], int]
    goes_on: bool
    """Whether it is never set back: the backup has it not, or tables that stay take numbers of it."""

    def look(self) -> tuple[_Stand | None, _Stand]:
        """Return where it stands, where that counts, and where it is to stand."""
        now = _standing(self.session, self.relation) if self.goes_on else None
        told = _Stand(self.told.last_value, self.told.is_called) if self.told else None
        step = self.facts.step
        stand = max(
            filter(None, (now, told)),
            key=lambda one: _following(one, step) * (1 if step > 0 else -1),
            default=_Stand(1, called=False),
        )
        return now, _wanted(self.session, self.facts, stand, self.used_by, self.given)


def _following(stand: _Stand, step: int) -> int:
    return stand.last + (step if stand.called else 0)


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
    following = wanted = _following(stand, facts.step)
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
    following = _following(stand, facts.step)
    return (
        f"the sequence {relation} belongs to {facts.stranger} and was not moved:"
        f" ALTER SEQUENCE {name} RESTART WITH {following};"
    )
