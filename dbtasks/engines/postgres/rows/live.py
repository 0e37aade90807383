"""The live tables that a rows backup meets: looked at for the plan, and again when they are locked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ....rows.fits import Fit
from ....rows.postgres.schema import describe
from ....rows.postgres.source import fix_values, release_values
from ....sessions import Session
from ...rows.archive import Head
from ...rows.fit import compare_rows
from ..facts import COUNTED, HYPERTABLE, INSIDE, PARTITIONED, TABLE, Relation, relations
from ..part.live_tables import foreign_keys_into
from ..tables import partition_trees
from .matviews import matviews_over

__all__ = ["LiveTables", "look_for_rows"]

OWNERS = """
    SELECT c.oid, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner FROM pg_catalog.pg_class c
    WHERE c.oid = ANY (%s) AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')
"""
FILTERED = (
    "SELECT oid FROM pg_catalog.unnest(%s::pg_catalog.oid[]) oid WHERE pg_catalog.row_security_active(oid)"
)
# a table comes with its row's TOAST table and that one's index; each index is one more
LOCKS = """
    SELECT (SELECT count(*) FROM pg_catalog.pg_index x WHERE x.indrelid = ANY (%(oids)s))
           + 3 * (SELECT count(*) FROM pg_catalog.pg_class c WHERE c.oid = ANY (%(oids)s)) AS locks
"""


@dataclass(frozen=True)
class LiveTables:
    """What is there of a backup's tables, and around them."""

    there: Mapping[str, Relation]
    """Everything by its name."""
    fit: Fit
    filled: tuple[Relation, ...]
    """The tables that are emptied and filled."""
    whole: tuple[Relation, ...]
    """Partitioned tables whose partitions are all among them."""
    above: tuple[Relation, ...]
    """Partitioned tables that have any of them as a partition."""
    outside: tuple[Relation, ...]
    """Tables that hold rows and are not in the backup: they stay as they are."""
    strangers: Mapping[str, str]
    """Tables of roles that this one is no member of, with those."""
    hidden: tuple[str, ...]
    """Tables whose rows row-level security keeps from this role."""
    hypertables: tuple[str, ...]
    referring: tuple[tuple[str, Relation, Relation], ...]
    """Foreign keys of other tables into these: name, table, table referred to."""
    matviews: tuple[tuple[str, str, str], ...]
    """Those to refresh, in order: schema, name, and whose they are where they are not ours."""
    locks: int
    """About how many locks emptying and filling takes."""

    @property
    def own(self) -> list[int]:
        """The numbers of all tables whose keys and triggers are ours to work on."""
        return [relation.oid for relation in (*self.filled, *self.whole)]


def look_for_rows(session: Session, head: Head) -> LiveTables:
    """Look the backup's tables up, and compare their columns and types; in the caller's transaction."""
    found = relations(session)
    there = {str(relation): relation for relation in found}
    tables = [
        there[n] for n in head.filled if n in there and there[n].kind in (*COUNTED, INSIDE, PARTITIONED)
    ]
    filled = tuple(table for table in tables if table.kind in (TABLE, HYPERTABLE, INSIDE))
    whole, above = _trees(session, found, filled)
    oids = [relation.oid for relation in (*filled, *whole)]
    names = {relation.oid: relation for relation in found}
    by_place = {(relation.schema, relation.name): relation for relation in found}
    in_it = {relation.oid for relation in filled}
    ((locks,),) = session.rows(LOCKS, {"oids": oids})
    strangers = {str(names[oid]): owner for oid, owner in session.rows(OWNERS, (oids,))}
    return LiveTables(
        there=there,
        fit=_fit(session, head, tables, strangers),
        filled=filled,
        whole=whole,
        above=above,
        outside=tuple(r for r in found if r.kind in COUNTED and r.oid not in in_it),
        strangers=strangers,
        hidden=tuple(str(names[oid]) for (oid,) in session.rows(FILTERED, (list(in_it),))),
        hypertables=tuple(str(table) for table in filled if table.kind != TABLE),
        referring=tuple(
            (name, by_place[table], by_place[other])
            for name, table, other in foreign_keys_into(session, oids)
            if table in by_place and other in by_place
        ),
        matviews=matviews_over(session, oids),
        locks=int(locks),
    )


def _fit(session: Session, head: Head, tables: Iterable[Relation], strangers: Mapping[str, str]) -> Fit:
    if strangers:
        # nobody else may see where their sequences stand: that they are another role's is what is to be said
        return Fit(lacking=tuple(n for n in head.filled if n not in {str(table) for table in tables}))
    # types are spelled as in the backup, whatever the role's settings are
    fix_values(session)
    described = describe(session, [table.oid for table in tables])
    release_values(session)
    return compare_rows(head, described.schema, _same_type)


def _trees(
    session: Session, found: Iterable[Relation], filled: Iterable[Relation]
) -> tuple[tuple[Relation, ...], tuple[Relation, ...]]:
    wanted = set(filled)
    whole, above = [], []
    for root, parts in partition_trees(session, found).items():
        leaves = {part for part in parts if part.kind != PARTITIONED}
        if leaves & wanted:
            above.append(root)
            if leaves <= wanted:
                whole.append(root)
    return tuple(whole), tuple(above)


def _same_type(backup: str, live: str) -> bool:
    return backup == live
