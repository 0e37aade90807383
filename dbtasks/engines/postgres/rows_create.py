"""The restore of a rows backup where its tables are not: they are made of its schema, filled, and given their keys.

A database that is there gets all of it in one transaction; one that is missing
is made beside, like any other, and takes the name when it is whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import Refused, RightMissing
from ...events import OnEvent
from ...models import Archive
from ...nouns import many
from ...plans import LoadPlan, LoadRequest, LoadStrategy, Made, TargetState
from ...rows.losses import prove_losses
from ...rows.postgres_create import Creation
from ...rows.postgres_creating import creating, plan_creation
from ...rows.schema import PortableSchema
from ...sessions import Session
from ..rows_across import Converted, not_carried
from ..rows_archive import Head
from ..rows_fit import not_made
from ..schema_command import not_run
from .direct import direct_session
from .facts import COUNTED, PARTITIONED, Relation, database_facts, relations
from .fit import refuse_where_it_may_do_harm, stranger_words
from .rows_take_away import taking_away
from .server import look_at_server, prove_role, roles_there
from .swap import outside

if TYPE_CHECKING:
    from . import PostgresEngine

__all__ = ["made_for_rows", "makes_tables", "plan_rows_creation"]

UNTOUCHED = "nothing was touched"


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
            facts = database_facts(session, migration_table=engine.settings.migration_table)
    prove_losses(creation.losses)
    made = None if missing else _made(head.schema, creation)
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.CREATE if missing else LoadStrategy.ROWS,
        state=state,
        route=engine.route,
        why=engine.why,
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
            *not_carried(converted),
            *not_run(engine.settings),
        ),
    )


def _made(schema: PortableSchema, creation: Creation) -> Made:
    tables, sequences, types = (
        tuple(one.name for one in made) for made in (schema.tables, schema.sequences, schema.types)
    )
    return Made(tables, sequences, types, creation.schemas)


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
    with creating(session, head.schema, foreign=not archive.is_ours, on_event=on_event):
        there = {str(relation): relation for relation in relations(session)}
        lacking = [name for name in head.filled if name not in there]
        if lacking:
            raise Refused(f"{archive.path.name} has rows of {lacking[0]}, which its schema does not know")
        yield tuple(there[name] for name in head.filled)
