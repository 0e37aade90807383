"""Single tables into the live database: one transaction that has them locked, plays their part and proves it.

Triggers of the user and rules that act on INSERT sleep meanwhile, foreign keys
wait until all rows are there; all are as they were before COMMIT. Sequences are moved by ALTER
SEQUENCE, which a rollback takes back, unlike setval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from ....errors import CannotReach, DbTasksError, LoadFailed, QueryFailed, Refused
from ....events import OnEvent, Phase
from ....models import Archive
from ....plans import PartPlan, Swapped
from ....sessions import Session
from ... import OnKeep
from ..archive.contents import script_of
from ..facts import PARTITIONED, Relation, count_rows, table_name
from ..foreign_keys import broken_foreign_keys
from ..rows.asleep import put_to_sleep, rules_of, strange_clones, triggers_of, wake
from ..rows.event_triggers import EventTrigger, awake, refusal
from ..script.feed import Feed, transaction
from ..script.statements import Name
from .choose import choose
from .fit import Chosen
from .gate import PartGate
from .live_tables import Live, look_at_tables
from .next_numbers import raise_sequences, told_by
from .of_archive import Judged, skips
from .words import changed_since

if TYPE_CHECKING:
    from psycopg2.sql import Composable

    from .. import PostgresEngine

__all__ = ["LoadedPart", "loading_part", "unmet"]

IMMEDIATE = """
    SELECT n.nspname::text AS schema, c.relname::text AS tab, k.conname::text AS name
    FROM pg_catalog.pg_constraint k JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conrelid = ANY (%s) AND k.conparentid = 0 AND NOT k.condeferrable
      AND coalesce((pg_catalog.to_jsonb(k) ->> 'conenforced')::boolean, true) ORDER BY k.oid
"""
# a superuser switched off what checks them: for the session (ALTER ROLE or DATABASE SET), or of a table (DISABLE TRIGGER ALL)
UNCHECKED = """
    SELECT pg_catalog.current_setting('session_replication_role') = 'replica' OR EXISTS (
        SELECT FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_constraint k ON k.oid = t.tgconstraint AND k.contype = 'f'
        WHERE t.tgrelid = ANY (%s) AND t.tgenabled IN ('D', 'R')) AS unchecked
"""
INVALID = """
    SELECT n.nspname::text AS schema, c.relname::text AS name FROM pg_catalog.pg_index i
    JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE i.indrelid = ANY (%s) AND NOT (i.indisvalid AND i.indisready)
"""
WAYS_LEFT = "bring back the table it refers to as well: --table=…; or beside, without foreign keys: --as=NAME"


class LoadedPart:
    """Tables brought in inside the open transaction; see `engines.LoadedPart`."""

    def __init__(
        self, engine: PostgresEngine, feed: Feed, plan: PartPlan, live: Live, warnings: tuple[str, ...]
    ) -> None:
        self._engine = engine
        self._feed = feed
        self._plan = plan
        self._live = live
        self._warnings = warnings

    def counts(self) -> dict[str, int]:
        """Count the plan's tables, as the transaction sees them."""
        names = {table.name for table in self._plan.tables}
        tables = [relation for relation in self._live.relations.values() if str(relation) in names]
        return {str(table): rows for table, rows in count_rows(self._feed.session, tables).items()}

    def problems(self) -> tuple[str, ...]:
        """Name indexes of the tables that are invalid."""
        oids = [r.oid for r in self._live.relations.values() if (r.schema, r.name) in self._live.columns]
        found = self._feed.session.rows(INVALID, (oids,))
        return tuple(f"the index {schema}.{name} is invalid" for schema, name in found)

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Commit: at once and whole; no former state is kept."""
        del on_keep
        self._engine.prove_claimed(self._feed.session)
        self._feed.commit()
        return Swapped(None, warnings=self._warnings)


@contextmanager
def loading_part(
    engine: PostgresEngine, plan: PartPlan, archive: Archive, on_event: OnEvent
) -> Iterator[LoadedPart]:
    """See `Engine.load_part`."""
    database, chosen = engine.target.database, plan.selection
    if not isinstance(chosen, Chosen):
        raise TypeError("a plan of another engine")
    hooks: Sequence[EventTrigger] = ()
    try:
        with transaction(engine, database, archive) as feed:
            hooks = awake(feed.session)
            _prepare(feed.session, plan, chosen)
            on_event(Phase("load", f"{', '.join(table.name for table in plan.tables)} into {database}"))
            yield LoadedPart(engine, feed, plan, *_load(engine, feed, plan, chosen, archive, on_event))
    except (CannotReach, QueryFailed) as exc:
        exc.state = exc.state or f"{database} is as it was"
        raise
    except LoadFailed as exc:
        if refused := refusal(exc, hooks):
            raise refused from exc
        if "violates foreign key constraint" in exc.details:
            raise unmet(exc) from exc
        raise


def _prepare(session: Session, plan: PartPlan, chosen: Chosen) -> None:
    """Lock what is emptied, and see that it is as planned."""
    from psycopg2 import sql

    if plan.request.role:
        session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(plan.request.role)))
    for name in sorted(chosen.roots):
        session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(*name)))
    live = look_at_tables(session, _members(chosen))
    again = choose(session, chosen.definitions, chosen.names, plan.request, live)
    if again.selection != chosen.selection:
        raise changed_since()


def _members(chosen: Chosen) -> list[Name]:
    return [member for name in chosen.names for member in (name, *chosen.definitions.partitions(name))]


def _load(
    engine: PostgresEngine,
    feed: Feed,
    plan: PartPlan,
    chosen: Chosen,
    archive: Archive,
    on_event: OnEvent,
) -> tuple[Live, tuple[str, ...]]:
    session, selection = feed.session, chosen.selection
    live = look_at_tables(session, _members(chosen))
    tree = [member for root in chosen.roots for member in live.tree(root)]
    oids = live.oids(tree)
    # what is attached to a live table gets its triggers, asleep where those are
    parents = {chosen.definitions.parents[name] for name in selection.attached}
    asleep = triggers_of(session, live.oids({*tree, *parents}))
    rules = rules_of(session, oids)
    put_to_sleep(session, asleep, "TRIGGER")
    put_to_sleep(session, rules, "RULE")
    waiting = session.rows(IMMEDIATE, (oids,))
    for schema, table, name in waiting:
        _alter_constraint(session, (schema, table), name, "DEFERRABLE")
    session.execute("SET CONSTRAINTS ALL DEFERRED")
    _empty(session, [live.relations[name] for name in chosen.roots])
    judged = Judged(selection, no_owner=plan.request.no_owner)
    without = frozenset({"transaction_timeout"}) if engine.server_version() < 170000 else frozenset[str]()
    with script_of(engine, archive, skip=partial(skips, selection)) as script:
        feed.send(PartGate(script.source, judged, without=without), on_event)
        script.prove()
    _prove_rows_came(plan, chosen, judged)
    _meet_keys(session, waiting)
    _look_at_keys(session, oids)
    there = look_at_tables(session, _loaded(chosen))
    warnings = raise_sequences(
        session, _numbered(chosen, live, there), told_by(judged.values), selection.columns_of
    )
    wake(session, rules, "RULE")
    wake(session, asleep, "TRIGGER")
    while clones := strange_clones(session, there.oids(selection.attached)):
        wake(session, clones, "TRIGGER")
    if plan.request.analyze:
        _analyze(session, there, chosen, on_event, engine.target.database)
    return there, warnings


def _loaded(chosen: Chosen) -> list[Name]:
    """Return the tables as they are called here."""
    renaming = chosen.selection.renaming
    members = _members(chosen)
    return list(dict.fromkeys(renaming.relations[name] for name in members)) if renaming else members


def _numbered(chosen: Chosen, live: Live, there: Live) -> list[int]:
    """Return the tables whose sequences have to go on beyond the rows; a copy has its own, as the backup set them."""
    if chosen.selection.renaming is not None:
        return []
    loaded = {*_members(chosen), *(member for root in chosen.roots for member in live.tree(root))}
    # where an identity fills a partition, its sequence is that of the whole
    above = {root for root, partitions in there.trees.items() if partitions & loaded}
    return there.oids(loaded | above)


# -- around the rows ---------------------------------------------------------------------------------


def _alter_constraint(session: Session, table: Name, name: str, what: str) -> None:
    from psycopg2 import sql

    statement = sql.SQL("ALTER TABLE {} ALTER CONSTRAINT {} {}")
    session.execute(statement.format(sql.Identifier(*table), sql.Identifier(name), sql.SQL(what)))


def _empty(session: Session, roots: Sequence[Relation]) -> None:
    """Empty exactly these, a partitioned table with its partitions; the server refuses where another refers to them."""
    from psycopg2 import sql

    if not roots:
        return
    tables: list[Composable] = [
        sql.SQL("{}" if root.kind == PARTITIONED else "ONLY {}").format(
            sql.Identifier(root.schema, root.name)
        )
        for root in roots
    ]
    session.execute(
        sql.SQL("TRUNCATE TABLE {} CONTINUE IDENTITY RESTRICT").format(sql.SQL(", ").join(tables))
    )


def _prove_rows_came(plan: PartPlan, chosen: Chosen, judged: Judged) -> None:
    """See that rows were in the archive for what was emptied; rows as INSERTs say nothing where there are none."""
    definitions, selection = chosen.definitions, chosen.selection
    empty = {table.name for table in plan.tables if table.backup_rows == 0}
    refilled = {member for root in chosen.roots for member in (root, *definitions.partitions(root))}
    came = set(judged.rows_of)
    for root in selection.routed & judged.rows_of:
        came.update(definitions.partitions(root))
    lacking = sorted(selection.filled & refilled - came)
    missing = [text for text in (table_name(*name) for name in lacking) if text not in empty]
    if missing:
        raise Refused(
            f"the backup holds no rows of {', '.join(missing)}: replacing what is there would empty it",
            hint="choose another backup (db.list)",
        )


def _meet_keys(session: Session, waiting: Sequence[tuple[str, ...]]) -> None:
    """Let every foreign key be met now, and wait no more from now on.

    Raises:
        Refused: one is not; names it.
    """
    try:
        session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except QueryFailed as exc:
        if exc.sqlstate != "23503":
            raise
        raise unmet(exc) from exc
    for schema, table, name in waiting:
        _alter_constraint(session, (schema, table), name, "NOT DEFERRABLE")


def _look_at_keys(session: Session, oids: list[int]) -> None:
    """Look at the rows themselves where the server's own checks of foreign keys are switched off.

    Raises:
        Refused: a row breaks one; names it.
    """
    ((unchecked,),) = session.rows(UNCHECKED, (oids,))
    broken = broken_foreign_keys(session, oids) if unchecked else []
    if broken:
        raise Refused(
            f"a foreign key is in the way: {broken[0]}", details="\n".join(broken[1:10]), hint=WAYS_LEFT
        )


def unmet(exc: DbTasksError) -> Refused:
    """Return a foreign key that was not met as what stands in the way."""
    lines = [line for line in exc.details.splitlines() if "foreign key constraint" in line]
    said = lines[0].partition("ERROR:")[2].strip() if lines else ""
    return Refused(
        f"a foreign key is in the way: {said or exc.message}",
        details=exc.details,
        state=exc.state,
        hint=WAYS_LEFT,
    )


def _analyze(session: Session, there: Live, chosen: Chosen, on_event: OnEvent, database: str) -> None:
    from psycopg2 import sql

    on_event(Phase("analyze", database))
    renaming = chosen.selection.renaming
    for name in chosen.names:
        target = renaming.relations[name] if renaming else name
        if target in there.relations:
            session.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*target)))
