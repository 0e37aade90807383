"""The live tables that single tables of a backup meet: asked once for the plan, and again inside the transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ....sessions import Session
from ..facts import HYPERTABLE, INSIDE, PARTITIONED, Relation, relations
from ..rows.asleep import triggers_of
from ..rows.matviews import matviews_reading
from ..script.statements import Name
from ..tables import partition_trees

__all__ = ["Live", "LiveColumn", "foreign_keys_into", "look_at_tables", "names_taken"]

COLUMNS = """
    SELECT a.attrelid, a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod) AS type,
           a.attnotnull AND NOT a.atthasdef AND a.attidentity = '' AND a.attgenerated = '' AS required,
           a.attgenerated <> '' AS generated
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = ANY (%s) AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY a.attrelid, a.attnum
"""
OWNERS = """
    SELECT c.oid, pg_catalog.pg_has_role(c.relowner, 'USAGE') AS ours, pg_catalog.pg_get_userbyid(c.relowner)::text AS owner
    FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s)
"""
SCHEMAS = """
    SELECT n.nspname::text AS name, pg_catalog.has_schema_privilege(n.oid, 'CREATE') AS creates
    FROM pg_catalog.pg_namespace n
"""
TYPES = """
    SELECT n.nspname::text AS schema, t.typname::text AS name FROM pg_catalog.pg_type t
    JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE pg_catalog.left(n.nspname, 3) <> 'pg_'
"""
INTO = """
    SELECT DISTINCT (
               -- what a partition has of it goes by other names
               WITH RECURSIVE up (parent, name) AS (
                   SELECT k.conparentid, k.conname
                   UNION ALL SELECT p.conparentid, p.conname FROM up JOIN pg_catalog.pg_constraint p ON p.oid = up.parent)
               SELECT name FROM up WHERE parent = 0)::text AS name, tn.nspname::text AS s1, t.relname::text AS t1,
           rn.nspname::text AS s2, r.relname::text AS t2
    FROM pg_catalog.pg_constraint k
    JOIN pg_catalog.pg_class t ON t.oid = k.conrelid JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace
    JOIN pg_catalog.pg_class r ON r.oid = k.confrelid JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace
    WHERE k.contype = 'f' AND k.confrelid = ANY (%(oids)s) AND k.conrelid <> ALL (%(oids)s)
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint p WHERE p.oid = k.conparentid
                      AND p.confrelid = ANY (%(oids)s) AND p.conrelid <> ALL (%(oids)s))
    ORDER BY 2, 3, 1
"""
# a type of arrays that the server named gives way
TAKEN = """
    SELECT c.relname::text AS name FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s
    UNION SELECT t.typname::text FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = %(schema)s
      AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)
"""


@dataclass(frozen=True)
class LiveColumn:
    """One column of a live table."""

    name: str
    type: str
    required: bool
    """NOT NULL, and nothing gives it a value."""
    generated: bool


@dataclass(frozen=True)
class Live:
    """What is there."""

    relations: Mapping[Name, Relation]
    trees: Mapping[Name, frozenset[Name]]
    """All partitions of each partitioned table."""
    columns: Mapping[Name, Sequence[LiveColumn]]
    strangers: Mapping[Name, str]
    """Tables asked for that belong to a role we are no member of, with that role."""
    schemas: Mapping[str, bool]
    """Whether something may be created in each."""
    types: frozenset[Name]
    hypertables: frozenset[Name] = frozenset()
    """Those of TimescaleDB, and the tables inside them."""
    triggers: tuple[str, ...] = ()
    """Those that would fire on the tables asked for."""
    matviews: tuple[str, ...] = ()
    """Materialized views that read them, in the order to refresh them."""

    def tree(self, name: Name) -> tuple[Name, ...]:
        """Return a table with its partitions."""
        return (name, *sorted(self.trees.get(name, ())))

    def is_partitioned(self, name: Name) -> bool:
        """Whether its rows are in its partitions."""
        return self.relations[name].kind == PARTITIONED

    def oids(self, names: Iterable[Name]) -> list[int]:
        """Return the numbers of those that are there."""
        return [self.relations[name].oid for name in names if name in self.relations]

    def told_of_replacing(self) -> tuple[str, ...]:
        """Say what around the tables does not follow when their rows are replaced."""
        said = []
        if self.triggers:
            said.append(f"triggers do not fire, what they keep elsewhere stays: {', '.join(self.triggers)}")
        if self.matviews:
            refresh = "; ".join(f"REFRESH MATERIALIZED VIEW {name}" for name in self.matviews)
            said.append(f"materialized views show the former rows until they are refreshed: {refresh}")
        return tuple(said)


def look_at_tables(session: Session, names: Iterable[Name]) -> Live:
    """Ask about these tables and their partitions; those that are not there are left out."""
    found = relations(session)
    by_oid = {relation.oid: (relation.schema, relation.name) for relation in found}
    by_name = {(relation.schema, relation.name): relation for relation in found}
    trees = {
        (root.schema, root.name): frozenset((leaf.schema, leaf.name) for leaf in leaves)
        for root, leaves in partition_trees(session, found).items()
    }
    wanted = {n for name in names if name in by_name for n in (name, *trees.get(name, ()))}
    oids = [by_name[name].oid for name in wanted]
    columns: dict[Name, list[LiveColumn]] = {name: [] for name in wanted}
    for oid, *told in session.rows(COLUMNS, (oids,)):
        columns[by_oid[oid]].append(LiveColumn(*told))
    return Live(
        relations=by_name,
        trees=trees,
        columns=columns,
        strangers={by_oid[oid]: owner for oid, ours, owner in session.rows(OWNERS, (oids,)) if not ours},
        schemas={str(name): bool(creates) for name, creates in session.rows(SCHEMAS)},
        types=frozenset((schema, name) for schema, name in session.rows(TYPES)),
        hypertables=frozenset(n for n, r in by_name.items() if r.kind in (HYPERTABLE, INSIDE)),
        triggers=tuple(sorted({name for _, _, name, _ in triggers_of(session, oids)})),
        matviews=matviews_reading(session, oids),
    )


def foreign_keys_into(session: Session, oids: list[int]) -> list[tuple[str, Name, Name]]:
    """Return the foreign keys of other tables that refer into these: name, table, table referred to."""
    rows = session.rows(INTO, {"oids": oids})
    return [(name, (schema, table), (into, other)) for name, schema, table, into, other in rows]


def names_taken(session: Session, schema: str) -> set[str]:
    """Return every name that a new table, index or sequence of a schema cannot have."""
    return {str(name) for (name,) in session.rows(TAKEN, {"schema": schema})}
