"""In place: one transaction drops our own list of what is in the way, loads, is checked, and commits.

pg_restore --clean is no substitute: it fails on partitioned keys, leaves tables
that are newer than the dump, and a view it does not know about makes it double
the rows. The list is read from the live catalog, shown in the plan, and nothing
else is dropped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import CannotReach, QueryFailed, Refused
from ....events import OnEvent, Phase, ignore
from ....models import Archive
from ....nouns import many
from ....plans import LoadPlan, Swapped
from ....sessions import Session
from ... import OnKeep
from ..archive.contents import script_of
from ..script.feed import Feed, transaction
from .after_load import run_inside
from .checks import behind_sequences, loaded_counts, loaded_problems

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["InTheWay", "LoadedInPlace", "find_in_the_way", "loading_in_place", "lock_capacity"]

OBJECTS = """
    WITH schemas AS (
        SELECT n.oid, n.nspname, n.nspowner FROM pg_catalog.pg_namespace n
        WHERE pg_catalog.left(n.nspname, 3) <> 'pg_' AND n.nspname <> 'information_schema'),
    objects (step, classid, objid, owner) AS (
        SELECT 1, 'pg_catalog.pg_event_trigger'::pg_catalog.regclass::oid, oid, evtowner FROM pg_catalog.pg_event_trigger
        UNION ALL
        SELECT 2, 'pg_catalog.pg_publication'::pg_catalog.regclass, oid, pubowner FROM pg_catalog.pg_publication
        UNION ALL
        -- a partition goes with its table, whoever owns it: named behind it, so that the list is all that is dropped
        SELECT CASE WHEN c.relispartition THEN 6 WHEN c.relkind = 'v' THEN 3 WHEN c.relkind = 'm' THEN 4
                    WHEN c.relkind = 'S' THEN 6 ELSE 5 END,
               'pg_catalog.pg_class'::pg_catalog.regclass, c.oid, CASE WHEN NOT c.relispartition THEN c.relowner END
        FROM pg_catalog.pg_class c JOIN schemas s ON s.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm', 'S')
          AND NOT (c.relkind = 'S' AND EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = c.oid
              AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype = 'a'))
        UNION ALL
        SELECT 7, 'pg_catalog.pg_proc'::pg_catalog.regclass, p.oid, p.proowner
        FROM pg_catalog.pg_proc p JOIN schemas s ON s.oid = p.pronamespace
        UNION ALL
        SELECT 8, 'pg_catalog.pg_operator'::pg_catalog.regclass, o.oid, o.oprowner
        FROM pg_catalog.pg_operator o JOIN schemas s ON s.oid = o.oprnamespace
        UNION ALL
        SELECT 9, 'pg_catalog.pg_opfamily'::pg_catalog.regclass, o.oid, o.opfowner
        FROM pg_catalog.pg_opfamily o JOIN schemas s ON s.oid = o.opfnamespace
        UNION ALL
        SELECT 10, 'pg_catalog.pg_type'::pg_catalog.regclass, t.oid, t.typowner
        FROM pg_catalog.pg_type t JOIN schemas s ON s.oid = t.typnamespace
        LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
        WHERE t.typtype IN ('b', 'c', 'd', 'e', 'r') AND (t.typrelid = 0 OR c.relkind = 'c')
        UNION ALL
        SELECT 11, 'pg_catalog.pg_statistic_ext'::pg_catalog.regclass, o.oid, o.stxowner
        FROM pg_catalog.pg_statistic_ext o JOIN schemas s ON s.oid = o.stxnamespace
        UNION ALL
        SELECT 12, 'pg_catalog.pg_collation'::pg_catalog.regclass, o.oid, o.collowner
        FROM pg_catalog.pg_collation o JOIN schemas s ON s.oid = o.collnamespace
        UNION ALL
        SELECT 13, 'pg_catalog.pg_conversion'::pg_catalog.regclass, o.oid, o.conowner
        FROM pg_catalog.pg_conversion o JOIN schemas s ON s.oid = o.connamespace
        UNION ALL
        SELECT 14, 'pg_catalog.pg_ts_config'::pg_catalog.regclass, o.oid, o.cfgowner
        FROM pg_catalog.pg_ts_config o JOIN schemas s ON s.oid = o.cfgnamespace
        UNION ALL
        SELECT 15, 'pg_catalog.pg_ts_dict'::pg_catalog.regclass, o.oid, o.dictowner
        FROM pg_catalog.pg_ts_dict o JOIN schemas s ON s.oid = o.dictnamespace
        UNION ALL
        SELECT 16, 'pg_catalog.pg_cast'::pg_catalog.regclass, oid, NULL FROM pg_catalog.pg_cast WHERE oid >= 16384
        UNION ALL
        SELECT 17, 'pg_catalog.pg_language'::pg_catalog.regclass, oid, lanowner FROM pg_catalog.pg_language WHERE oid >= 16384
        UNION ALL
        SELECT 18, 'pg_catalog.pg_foreign_server'::pg_catalog.regclass, oid, srvowner FROM pg_catalog.pg_foreign_server
        UNION ALL
        SELECT 19, 'pg_catalog.pg_foreign_data_wrapper'::pg_catalog.regclass, oid, fdwowner
        FROM pg_catalog.pg_foreign_data_wrapper
        UNION ALL
        SELECT 20, 'pg_catalog.pg_namespace'::pg_catalog.regclass, s.oid, s.nspowner FROM schemas s
        WHERE s.nspname <> 'public' AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension x WHERE x.extnamespace = s.oid))
    SELECT o.step, i.type::text AS type, i.identity::text AS identity,
           o.owner IS NULL OR pg_catalog.pg_has_role(o.owner, 'USAGE') AS ours
    FROM objects o, pg_catalog.pg_identify_object(o.classid, o.objid, 0) i
    WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                      WHERE d.classid = o.classid AND d.objid = o.objid AND d.objsubid = 0 AND d.deptype IN ('e', 'i'))
    ORDER BY o.step, i.identity
"""
KEPT_SCHEMAS = """
    SELECT DISTINCT n.nspname::text AS name FROM pg_catalog.pg_namespace n
    JOIN pg_catalog.pg_extension x ON x.extnamespace = n.oid WHERE pg_catalog.left(n.nspname, 3) <> 'pg_'
"""
LOCKED = """
    SELECT (SELECT count(*) FROM pg_catalog.pg_class WHERE oid >= 16384) AS relations,
           (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata) AS large_objects,
           (SELECT count(*) FROM pg_catalog.pg_largeobject_metadata o
            WHERE NOT pg_catalog.pg_has_role(o.lomowner, 'USAGE')) AS foreign_objects
"""
CAPACITY = """
    SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
           * (pg_catalog.current_setting('max_connections')::bigint
              + pg_catalog.current_setting('max_prepared_transactions')::bigint) AS capacity
"""
TABLES = 5
"""The step of tables that are no partitions."""
# a routine is dropped as one whatever it is: only so can an aggregate without arguments be named
KINDS = {
    "statistics object": "STATISTICS",
    "function": "ROUTINE",
    "procedure": "ROUTINE",
    "aggregate": "ROUTINE",
    "composite type": "TYPE",
}
UNLINK = "SELECT pg_catalog.lo_unlink(oid) FROM pg_catalog.pg_largeobject_metadata"


@dataclass(frozen=True)
class InTheWay:
    """What of the live database a load in place would drop."""

    statements: tuple[str, ...]
    """In the order they are run."""
    not_ours: tuple[str, ...]
    """Objects the role does not own and so cannot drop."""
    kept_schemas: frozenset[str]
    """Schemas an extension lives in: they stay, and are not created again."""
    tables: tuple[str, ...]
    """Quoted names of the tables that can be locked; a partition is with its parent."""
    locks: int
    """An upper bound of the locks that dropping takes."""


def find_in_the_way(session: Session) -> InTheWay:
    """Read the catalog for everything a backup of this database replaces.

    CASCADE is on every statement, yet drops nothing that is not on the list:
    the list holds all there is of the user's. It only makes the order irrelevant
    where objects need each other.
    """
    statements, not_ours, tables = [], [], []
    for step, kind, identity, ours in session.rows(OBJECTS):
        if (step, kind) == (TABLES, "table"):
            tables.append(str(identity))
        statements.append(f"DROP {KINDS.get(kind, kind.upper())} IF EXISTS {identity} CASCADE")
        if not ours:
            not_ours.append(f"{kind} {identity}")
    ((relations, large_objects, foreign_objects),) = session.rows(LOCKED)
    if large_objects:
        statements.append(UNLINK)
    if foreign_objects:
        not_ours.append(many(int(foreign_objects), "large object"))
    kept = frozenset(str(name) for (name,) in session.rows(KEPT_SCHEMAS))
    locks = int(relations) + int(large_objects)
    return InTheWay(tuple(statements), tuple(not_ours), kept, tuple(tables), locks)


def lock_capacity(session: Session) -> int:
    """Return how many locks the server promises room for."""
    ((capacity,),) = session.rows(CAPACITY)
    return int(capacity)


class LoadedInPlace:
    """A backup loaded inside the open transaction; see `engines.Loaded`."""

    def __init__(self, engine: PostgresEngine, plan: LoadPlan, feed: Feed, archive: Archive) -> None:
        self._engine = engine
        self._plan = plan
        self._feed = feed
        self._archive = archive
        self._warnings: list[str] = []

    def counts(self) -> dict[str, int]:
        """Count every table, as the transaction sees it."""
        return loaded_counts(self._feed.session, inside=True)

    def problems(self) -> tuple[str, ...]:
        """Name what is broken inside the transaction."""
        self._warnings += behind_sequences(self._feed.session)
        return loaded_problems(self._feed.session, self._archive.manifest)

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        """Run SQL files inside the transaction."""
        run_inside(self._engine, self._feed, files, on_event)
        if self._plan.request.analyze:
            on_event(Phase("analyze", self._feed.database))
            self._feed.session.execute("ANALYZE")

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Commit: at once and whole; no former database is kept."""
        del on_keep
        self._engine.prove_claimed(self._feed.session)
        self._feed.commit()
        return Swapped(None, 0, tuple(self._warnings))


@contextmanager
def loading_in_place(
    engine: PostgresEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent
) -> Iterator[LoadedInPlace]:
    """Drop what the plan says and load, all in one transaction; without a commit nothing happened."""
    database = engine.target.database
    try:
        with transaction(engine, database, archive) as feed:
            kept = _locked(feed.session, plan).kept_schemas
            on_event(Phase("drop", f"{many(len(plan.drops), 'object')} of {database}"))
            for statement in plan.drops:
                feed.session.execute(statement)
            on_event(Phase("load", f"{archive.path.name} into {database}"))
            with script_of(engine, archive) as script:
                feed.play(script, plan.request, kept_schemas=kept, on_event=on_event)
            if plan.request.analyze and not plan.request.after_load:
                on_event(Phase("analyze", database))
                feed.session.execute("ANALYZE")
            yield LoadedInPlace(engine, plan, feed, archive)
    except (CannotReach, QueryFailed, Refused) as exc:
        exc.state = exc.state or f"{database} is as it was"
        raise


def _locked(session: Session, plan: LoadPlan) -> InTheWay:
    """Lock the tables, and see that what is in the way is what the plan showed: CASCADE would take more with it.

    Before the locks as well: what was made meanwhile may be somebody else's, and not ours to lock.
    """
    found = _as_planned(session, plan)
    if found.tables:
        session.execute(f"LOCK TABLE {', '.join(found.tables)} IN ACCESS EXCLUSIVE MODE")
    return _as_planned(session, plan)


def _as_planned(session: Session, plan: LoadPlan) -> InTheWay:
    """Return what is in the way.

    Raises:
        Refused: it is not what the plan would drop.
    """
    found = find_in_the_way(session)
    if changed := sorted(set(found.statements) ^ set(plan.drops)):
        raise Refused(
            "what would have to be dropped is not what the plan showed any more",
            details="\n".join(changed[:10]),
            hint="look again: --dry-run",
        )
    return found
