"""The restore of a rows backup where its tables are not: they are made of its schema, filled, and given their keys.

A database that is there gets all of it in one transaction; one that is missing
is made beside, like any other, and takes the name when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ....errors import QueryFailed, Refused, RightMissing
from ....events import OnEvent
from ....models import Archive
from ....nouns import many, some
from ....plans import LoadPlan, LoadRequest, LoadStrategy, Made, TargetState
from ....rows.losses import MAKE_FIRST, UNTOUCHED, prove_losses
from ....rows.postgres.create import Creation
from ....rows.postgres.creating import KEY_VIOLATED, creating, plan_creation
from ....rows.schema import PortableSchema
from ....sessions import Session
from ...python_route import saving_of, way_of_rows
from ...rows.across import Converted, not_carried
from ...rows.archive import Head
from ...rows.fit import leaning, leaning_words, not_made
from ...schema_command import not_run
from ..direct import direct_session
from ..exchange.swap import outside
from ..facts import COUNTED, PARTITIONED, Relation, database_facts, relations
from ..loading.fit import refuse_where_it_may_do_harm, stranger_words
from ..server import look_at_server, prove_role, roles_there
from .event_triggers import EventTrigger, awake, words_about
from .take_away import taking_away

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["made_for_rows", "makes_tables", "plan_rows_creation"]


def makes_tables(session: Session, head: Head) -> bool:
    """Whether a database gets its tables from the backup: it has none, and the backup says what they are."""
    has_any = any(found.kind in (*COUNTED, PARTITIONED) for found in relations(session))
    return bool(head.typed and head.schema.tables and not has_any)


def plan_rows_creation(
    engine: PostgresEngine,
    archive: Archive,
    request: LoadRequest,
    head: Head,
    state: TargetState,
    converted: Converted | None = None,
) -> LoadPlan:
    """Prove that the schema can be made, and say what will be done.

    Raises:
        Refused: something of it needs what is not there; names all of it. RightMissing: no database may be created.
    """
    name = engine.target.database
    server, why_inside = look_at_server(engine, state)
    refuse_where_it_may_do_harm(engine, archive, server)
    missing = state is TargetState.MISSING
    if missing and not (server.creates and not why_inside):
        raise RightMissing(
            f"{name} cannot be created: {why_inside or f'the role {server.role} may not create databases'}",
            state=UNTOUCHED,
            hint=f'create it, or let a superuser say: ALTER ROLE "{server.role}" CREATEDB',
        )
    facts = None
    hooks: Sequence[EventTrigger] = ()
    if missing:
        with outside(engine) as session:
            ((beside,),) = session.rows("SELECT pg_catalog.current_database()::text AS name")
            if request.role:
                prove_role(request.role, roles_there(session), server.role)
        # by the very way the rows will take
        with direct_session(engine, str(beside)) as session:
            creation = plan_creation(session, head.schema, foreign=not archive.is_ours, anew=True)
    else:
        with direct_session(engine) as session:
            creation = plan_creation(session, head.schema, foreign=not archive.is_ours)
            hooks = awake(session)
            facts = database_facts(session, migration_table=engine.settings.migration_table)
    prove_losses(creation.losses, hint=_hint(head))
    made = None if missing else _made(head.schema, creation)
    route, why = way_of_rows(engine.route, engine.why)
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.CREATE if missing else LoadStrategy.ROWS,
        state=state,
        route=route,
        why=why,
        saving=saving_of(engine.route, engine.why),
        facts=facts,
        creates=tuple(table.name for table in head.schema.tables),
        fills=head.filled,
        makes=made,
        takes_away=taking_away(made) if made else (),
        names=converted.names if converted else {},
        steps=_steps(archive, name, creation, missing=missing),
        warnings=(
            *stranger_words(engine, archive, server),
            *not_made(archive),
            *leaning_words(leaning(head)),
            *not_carried(converted),
            *not_run(engine.settings),
            *words_about(hooks),
        ),
    )


def _made(schema: PortableSchema, creation: Creation) -> Made:
    tables, sequences, types = (
        tuple(one.name for one in made) for made in (schema.tables, schema.sequences, schema.types)
    )
    return Made(tables, sequences, types, creation.schemas)


def _hint(head: Head) -> str:
    """Say what helps where the schema cannot be made: a table that it refers to is none that anybody would make by hand."""
    made = {table.name for table in head.schema.tables}
    lacking = list(dict.fromkeys(other for _, other in leaning(head) if other not in made))
    if not lacking:
        return MAKE_FIRST
    return f"{MAKE_FIRST}; {some(lacking)} is not in this one: a backup that holds it too makes it"


def _steps(archive: Archive, name: str, creation: Creation, *, missing: bool) -> tuple[str, ...]:
    made = many(len(creation.makes), "object")
    whole = f"make {made} of {archive.path.name} (tables, types, sequences), fill the tables, then make keys and indexes"
    checked = "check row counts and constraints"
    if missing:
        return (f"create a new database beside; in one transaction {whole}", checked, f"name it {name}")
    return (
        f"in one transaction: {whole}",
        checked,
        f"COMMIT; until then nobody sees any of it, and {name} is as it was if anything fails",
    )


@contextmanager
def made_for_rows(
    session: Session, head: Head, archive: Archive, on_event: OnEvent
) -> Iterator[tuple[Relation, ...]]:
    """Make the schema around the filling of its tables, in the caller's transaction; yields those that have rows."""
    with (
        _leaning_told(archive, head),
        creating(session, head.schema, foreign=not archive.is_ours, on_event=on_event),
    ):
        there = {str(relation): relation for relation in relations(session)}
        lacking = [name for name in head.filled if name not in there]
        if lacking:
            raise Refused(f"{archive.path.name} has rows of {lacking[0]}, which its schema does not know")
        yield tuple(there[name] for name in head.filled)


@contextmanager
def _leaning_told(archive: Archive, head: Head) -> Iterator[None]:
    """Tell rows that refer to what was left out from rows that refer to none: those are no damage of the backup."""
    try:
        yield
    except QueryFailed as exc:
        if exc.sqlstate != KEY_VIOLATED:
            raise
        found = [(t, o) for t, o in leaning(head) if f" of {t} to {o} cannot" in exc.message]
        if not found:
            raise
        table, other = found[0]
        raise Refused(
            f"rows of {table} refer to rows of {other}, which were left out of {archive.path.name}",
            details=exc.details,
            hint=f"restore a backup that holds the rows of {other} too",
        ) from exc
