"""Single tables of a rows backup into the live database: planned, then brought in by one transaction that proves them.

Foreign keys are taken away and added again, user triggers sleep, as in the
restore of all rows; but sequences never go back, and what was made for another
name has its own. Keys that were taken away are back before a new table refers
to them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ....errors import (
    Busy,
    CannotReach,
    CommitInDoubt,
    DbTasksError,
    LoadFailed,
    QueryFailed,
    RightMissing,
    UsageError,
)
from ....events import OnEvent, Phase
from ....models import Archive
from ....plans import LoadRequest, PartPlan, PartRequest, PartTable, PartWay
from ....rows.losses import prove_losses
from ....rows.postgres.creating import creating, plan_creation
from ....rows.postgres.source import release_values
from ....rows.schema import PortableSchema
from ....sessions import PsycopgSession, Session
from ...python_route import saving_of, way_of_rows
from ...rows.archive import Head, head_of_tables
from ..direct import direct_session
from ..facts import Relation, database_facts, relations, table_name
from ..loading.checks import loaded_problems
from ..loading.fit import refuse_where_it_may_do_harm, stranger_words
from ..part.live_tables import Live
from ..part.load import unmet
from ..part.named_table import prove_database
from ..part.next_numbers import raise_sequences
from ..part.words import changed_since, count_live, drops_of, part_steps
from ..script.statements import Name
from ..server import look_at_server
from .asleep import put_to_sleep, strange_clones, triggers_of, wake
from .event_triggers import EventTrigger, awake, refusal, words_about
from .fit import as_role
from .load import LoadedRows, as_the_roles_own, empty_tables, fill_tables, held_up, transaction
from .part_choose import RowsChoice, choose_rows, look_at_members, name_of
from .set_aside import put_back, set_aside

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["loading_rows_part", "plan_rows_part"]


def plan_rows_part(engine: PostgresEngine, archive: Archive, request: PartRequest) -> PartPlan:
    """See `Engine.plan_part`."""
    if request.no_owner:
        raise UsageError("--no-owner means nothing for a rows backup: it holds no owners")
    state = prove_database(engine)
    head = head_of_tables(archive, request.tables)
    server, _ = look_at_server(engine, state)
    refuse_where_it_may_do_harm(engine, archive, server)
    with direct_session(engine) as session:
        as_role(session, LoadRequest(role=request.role))
        choice = choose_rows(session, archive, head, request)
        creation = plan_creation(session, choice.made, foreign=not archive.is_ours)
        prove_losses(creation.losses)
        live = look_at_members(session, head, choice.names)
        live_rows, uncounted = count_live(session, [live.relations[name] for name in choice.emptied])
        hooks = awake(session, creating=bool(choice.made.tables), rebuilding=bool(choice.roots))
        facts = database_facts(session, migration_table=engine.settings.migration_table)
    route, why = way_of_rows(engine.route, engine.why)
    return PartPlan(
        request=request,
        tables=_tables(choice, head, live_rows),
        route=route,
        why=why,
        saving=saving_of(engine.route, engine.why),
        facts=facts,
        steps=_steps(engine, choice),
        warnings=(
            *stranger_words(engine, archive, server),
            *choice.warnings,
            *_comes_without(choice),
            *uncounted,
            *(live.told_of_replacing() if choice.roots else ()),
            *words_about(hooks),
        ),
        takes_away=drops_of(choice.added),
        selection=choice,
    )


def _tables(choice: RowsChoice, head: Head, live_rows: Mapping[str, int]) -> tuple[PartTable, ...]:
    coming: dict[Name, int] = dict.fromkeys(choice.emptied, 0)
    coming |= dict.fromkeys((name_of(one.name) for one in choice.made.tables if not one.partition_by), 0)
    for source, place in choice.filled:
        coming[place] = coming.get(place, 0) + head.rows.get(source, 0)
    return tuple(
        PartTable(
            table_name(*place),
            PartWay.REPLACE if place in choice.emptied else choice.way,
            rows,
            live_rows.get(table_name(*place)),
        )
        for place, rows in coming.items()
    )


def _steps(engine: PostgresEngine, choice: RowsChoice) -> tuple[str, ...]:
    made = [one.name for one in choice.made.tables]
    copy_of = choice.names[0] if choice.way is PartWay.BESIDE else ""
    return part_steps(engine.target.database, emptied=choice.roots, made=made, copy_of=copy_of)


def _comes_without(choice: RowsChoice) -> tuple[str, ...]:
    made = ", ".join(one.name for one in choice.made.tables)
    lacks = "triggers, policies, statistics, comments, owners and privileges"
    return (f"{made}: a rows backup holds no {lacks}, it comes without",) if made else ()


# -- the load ---------------------------------------------------------------------------------------


@contextmanager
def loading_rows_part(
    engine: PostgresEngine, plan: PartPlan, archive: Archive, on_event: OnEvent
) -> Iterator[LoadedRows]:
    """See `Engine.load_part`."""
    name, chosen = engine.target.database, plan.selection
    if not isinstance(chosen, RowsChoice):
        raise TypeError("a plan of another engine")
    head = head_of_tables(archive, plan.request.tables)
    with (
        _told_as_load(name) as hooks,
        direct_session(engine) as session,
        transaction(session) as who,
    ):
        as_role(session, LoadRequest(role=plan.request.role))
        hooks += awake(session)
        live = _locked(engine, session, plan, chosen, archive, head)
        on_event(Phase("load", f"{', '.join(table.name for table in plan.tables)} into {name}"))
        known = loaded_problems(session, None)
        warnings = _load(session, chosen, live, head, archive, on_event)
        there = {str(relation): relation for relation in relations(session)}
        filled = [there[table.name] for table in plan.tables]
        yield LoadedRows(engine, plan, session, filled, warnings, who, known)


@contextmanager
def _told_as_load(name: str) -> Iterator[list[EventTrigger]]:
    """Say of every failure that nothing was changed; a key that is not met, and a trigger that refuses, as such."""
    hooks: list[EventTrigger] = []
    state = f"{name} is as it was"
    try:
        yield hooks
    except CommitInDoubt:
        raise
    except (CannotReach, QueryFailed, LoadFailed) as exc:
        exc.state = exc.state or state
        if isinstance(exc, RightMissing | Busy):
            raise
        raise _as_refusal(exc, name, hooks) from exc


def _as_refusal(exc: DbTasksError, name: str, hooks: list[EventTrigger]) -> DbTasksError:
    broken = (
        exc
        if isinstance(exc, LoadFailed)
        else LoadFailed(
            f"the load into {name} broke off: {exc.message}", details=exc.details, state=exc.state
        )
    )
    if refused := refusal(broken, hooks):
        return refused
    if "foreign key constraint" in exc.details:
        return unmet(exc)
    return broken


def _locked(
    engine: PostgresEngine, session: Session, plan: PartPlan, chosen: RowsChoice, archive: Archive, head: Head
) -> Live:
    """Lock what is emptied, and see that it is as planned, before and after: it may not be ours any more."""
    from psycopg2 import sql

    live = _as_planned(session, plan, chosen, archive, head)
    try:
        for place in sorted({*chosen.roots, *chosen.attached}):
            session.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(*place)))
    except Busy as exc:
        tree = (member for root in chosen.roots for member in live.tree(root))
        raise held_up(engine, live.oids(tree), exc) from exc
    return _as_planned(session, plan, chosen, archive, head)


def _as_planned(session: Session, plan: PartPlan, chosen: RowsChoice, archive: Archive, head: Head) -> Live:
    if choose_rows(session, archive, head, plan.request).selection != chosen.selection:
        raise changed_since()
    return look_at_members(session, head, chosen.names)


def _load(
    session: PsycopgSession,
    chosen: RowsChoice,
    live: Live,
    head: Head,
    archive: Archive,
    on_event: OnEvent,
) -> tuple[str, ...]:
    tree = [member for root in chosen.roots for member in live.tree(root)]
    above = {root for root, below in live.trees.items() if below & {*tree}}
    asleep = triggers_of(session, live.oids({*tree, *chosen.attached}))
    put_to_sleep(session, asleep, "TRIGGER")
    sources = {place: source for source, place in chosen.filled}
    rows = {
        live.relations[place].oid: head.rows.get(sources[place], 0)
        for place in chosen.emptied
        if place in sources
    }
    # before anything is made: what is attached would be compared with tables that are still empty
    taken = set_aside(session, live.oids(tree), live.oids({*tree, *above}), rows, older=True)
    if chosen.emptied:
        empty_tables(session, [live.relations[place] for place in chosen.emptied])
    with creating(session, chosen.made, foreign=not archive.is_ours, on_event=on_event):
        places = {(relation.schema, relation.name): relation for relation in relations(session)}
        with as_the_roles_own(session):
            fill_tables(
                session,
                {source: places[place] for source, place in chosen.filled},
                head,
                archive,
                on_event,
                only=True,
            )
            # as they were when they were taken away
            release_values(session)
            on_event(Phase("rebuild", "indexes and foreign keys"))
            put_back(session, taken)
            session.execute("SET CONSTRAINTS ALL IMMEDIATE")
    warnings = _numbers(session, chosen, head.schema, places, above)
    wake(session, asleep, "TRIGGER")
    made = [places[place].oid for place in (name_of(one.name) for one in chosen.made.tables)]
    while clones := strange_clones(session, made):
        wake(session, clones, "TRIGGER")
    return warnings


def _numbers(
    session: Session,
    chosen: RowsChoice,
    schema: PortableSchema,
    places: Mapping[Name, Relation],
    above: set[Name],
) -> tuple[str, ...]:
    """Move sequences beyond the rows; a copy has its own, as the backup set them."""
    if chosen.way is PartWay.BESIDE:
        return ()
    loaded = {
        *chosen.roots,
        *chosen.emptied,
        *chosen.attached,
        *above,
        *(place for _, place in chosen.filled),
    }
    values = {name_of(one.name): (one.last_value, one.is_called) for one in schema.sequences}
    columns = {name_of(one.name): (name_of(one.table), one.column) for one in schema.sequences if one.table}
    return raise_sequences(session, [places[name].oid for name in sorted(loaded)], values, columns)
