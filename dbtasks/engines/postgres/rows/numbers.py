"""Sequences after a database's rows came back: as the backup has them, and never at a number that a row has.

Nor back to one that a table which stayed as it was may have had in a row since deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ....rows.schema import Sequence
from ....sessions import Session
from ..facts import COUNTED, FOREIGN, PARTITIONED, SEQUENCE, Relation, table_name
from ..part.next_numbers import Use, beyond, edge, hold, uses
from ..script.statements import quoted

__all__ = ["set_sequences"]

FACTS = """
    SELECT s.seqrelid::bigint AS oid, s.seqincrement AS step, s.seqmin AS lowest, s.seqmax AS highest,
           s.seqcycle AS cycles,
           CASE WHEN NOT pg_catalog.pg_has_role(c.relowner, 'USAGE') THEN pg_catalog.pg_get_userbyid(c.relowner)::text ELSE '' END,
           pg_catalog.has_schema_privilege(c.relnamespace, 'USAGE') AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT')
    FROM pg_catalog.pg_sequence s JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid
"""
# who calls for any other one nobody can tell: a function's text is in no catalogue, nor is a name that is text
OWN = """
    SELECT s.seqrelid::bigint AS oid FROM pg_catalog.pg_sequence s
    WHERE EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = s.seqrelid
                    AND d.refclassid = d.classid AND d.refobjid = ANY (%(tables)s) AND d.refobjsubid > 0
                    AND d.deptype IN ('a', 'i'))
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      LEFT JOIN pg_catalog.pg_attrdef f
                             ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = d.objid
                      WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid = s.seqrelid
                        AND NOT coalesce(f.adrelid = ANY (%(tables)s), false))
"""


class _Facts(NamedTuple):
    step: int
    lowest: int
    highest: int
    cycles: bool
    stranger: str
    """Whose it is where it is not ours."""
    seen: bool
    """Whether this role may read where it stands."""


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
    not set back, and while any table stays none is but those that belong to loaded ones. Those `partly` loaded, of which some
    partitions stayed, are none of these. `given` has the last number that a
    column, by its table's name and its own, ever got elsewhere: it is not given out again either.
    A rollback takes all of it back. Returns what is to be said of those that were not moved.
    """
    known = {one.name: one for one in recorded}
    filled = {str(use) for use in uses(session, list(loaded))}
    free = _may_go_back(session, there, loaded, partly)
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
        goes_on = name not in known or name not in free
        if held.stranger and goes_on and not held.seen:
            said.append(f"the sequence {name} belongs to {held.stranger} and cannot be looked at")
            continue
        place = _Place(session, relation, held, known.get(name), used_by, given or {}, goes_on=goes_on)
        now, wanted = place.look()
        if wanted == now:
            continue
        if held.stranger:
            now = now or (_standing(session, relation) if held.seen else None)
            if now is None or _following(now, held.step) != _following(wanted, held.step):
                said.append(_by_hand(relation, held, wanted))
            continue
        if goes_on:
            # others may have taken numbers since
            hold(session, (relation.schema, relation.name), held.step)
            now, wanted = place.look()
        if wanted != now:
            _move(session, relation, wanted)
    return tuple(said)


def _may_go_back(
    session: Session, there: Mapping[str, Relation], loaded: Collection[int], partly: Collection[int]
) -> set[str]:
    """Return the sequences that gave no number to anything but rows that are gone."""
    emptied = [oid for oid in loaded if oid not in partly]
    everywhere = uses(session, [relation.oid for relation in there.values()])
    outside = {str(use) for use in {*everywhere}.difference(uses(session, emptied))}
    free = {name: one.oid for name, one in there.items() if one.kind == SEQUENCE and name not in outside}
    if any(one.kind in (*COUNTED, FOREIGN) and one.oid not in loaded for one in there.values()):
        own = {oid for (oid,) in session.rows(OWN, {"tables": emptied})}
        return {name for name, oid in free.items() if oid in own}
    return {*free}


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
    """Whether it is never set back: the backup has it not, or what stays may take numbers of it."""

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
