"""The restore of rows where no tables are and the project's own command makes them: in a new database beside, which then takes the name.

The command never sees the live name: whatever it does, its failure is a database
that is dropped.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import DbTasksError, Refused, RightMissing, UsageError
from ....events import OnEvent, Phase
from ....models import Archive, DatabaseFacts
from ....plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from ...python_route import saving_of, way_of_rows
from ...rows.archive import Head, head_of_rows
from ...rows.fit import other_revision, prove_tables
from ...rows.older import other_version
from ...schema_command import (
    blaming_command,
    fill_step,
    made_elsewhere,
    make_schema,
    prove_command,
    refuse_made_nothing,
    shown_command,
    state_after,
    version_of,
)
from ..direct import direct_session
from ..exchange.swap import outside
from ..facts import database_facts
from ..server import Server, look_at_server
from .live import look_for_rows
from .older import place_older, prove_older, stranger_rows

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["fill_made", "make_by_command", "plan_by_command"]

UNTOUCHED = "nothing was touched"


def plan_by_command(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, head: Head, state: TargetState
) -> LoadPlan:
    """Prove that the command can be run in a database beside, and say what will be done.

    Raises:
        ToolMissing: the command is not there. RightMissing: no database may be created. UsageError: a flag does not go with it.
        Refused: the target is a template, or tied to something by its identity.
    """
    _refuse_flags(request)
    prove_tables(archive, head, engine.target.database, ())
    prove_command(engine.settings)
    server, why_inside = look_at_server(engine, state)
    _prove_beside(engine, state, server, why_inside)
    told = stranger_rows(archive, server)
    facts: DatabaseFacts | None = None
    if state is TargetState.EMPTY:
        with direct_session(engine) as session:
            facts = database_facts(session, migration_table=engine.settings.migration_table)
    else:
        with outside(engine) as session:
            ((beside,),) = session.rows("SELECT pg_catalog.current_database()::text AS name")
        # by the very way the rows will take
        with direct_session(engine, str(beside)):
            pass
    missing = state is TargetState.MISSING
    route, why = way_of_rows(engine.route, engine.why)
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.CREATE if missing else LoadStrategy.SWAP,
        state=state,
        route=route,
        why=why,
        saving=saving_of(engine.route, engine.why),
        facts=facts,
        fills=head.filled,
        schema_command=shown_command(engine.settings),
        sessions=() if missing else server.sessions,
        steps=_steps(engine, archive, request, server, state),
        warnings=(*told, *server.left_in_use),
    )


def _refuse_flags(request: LoadRequest) -> None:
    given = {"--role": request.role, "--in-place": request.in_place}
    for flag, value in given.items():
        if value:
            raise UsageError(
                f"{flag} does not go with schema_command, which makes the tables in a new database, as the login",
                hint="make the tables first, then restore into them",
            )


def _prove_beside(engine: PostgresEngine, state: TargetState, server: Server, why_inside: str) -> None:
    name = engine.target.database
    by_hand = f"run it in {name} yourself ({shown_command(engine.settings)}), then restore into its tables"
    if server.template:
        raise Refused(f"{name} is marked as a template: new databases are made from it", state=UNTOUCHED)
    owns = state is TargetState.MISSING or (server.owns and server.closed_space is None)
    if why_inside or not server.creates or not owns:
        why = why_inside or (
            f"{name} is not {server.role}'s to exchange"
            if server.creates
            else f"the role {server.role} may not create databases"
        )
        raise RightMissing(
            f"schema_command runs in a new database, and none can be created in the place of {name}: {why}",
            state=UNTOUCHED,
            hint=by_hand
            if state is TargetState.EMPTY
            else f'let a superuser say: ALTER ROLE "{server.role}" CREATEDB',
        )
    if server.tied and state is TargetState.EMPTY:
        raise Refused(
            f"{name} cannot be exchanged for another database: {', '.join(server.tied)} would stay with the old one",
            state=UNTOUCHED,
            hint=by_hand,
        )


def _steps(
    engine: PostgresEngine, archive: Archive, request: LoadRequest, server: Server, state: TargetState
) -> tuple[str, ...]:
    name = engine.target.database
    scripts = ", ".join(script.name for script in request.after_load or ())
    steps = (
        *(f"drop {left}, left over by a killed restore" for left in server.left_over),
        f"create a new database beside, and run in it: {shown_command(engine.settings)}",
        fill_step(archive),
        "check row counts and constraints",
        *((f"run {scripts} in it, check it again",) if scripts else ()),
    )
    if state is TargetState.MISSING:
        return (*steps, f"name it {name}")
    return (*steps, f"exchange the names in one transaction; the empty {name} is dropped")


def make_by_command(
    engine: PostgresEngine, archive: Archive, new: str, planned: TargetState, on_event: OnEvent
) -> None:
    """Run the command in the new database, and see that it has not worked in the live one.

    Raises:
        ToolMissing, LoadFailed: it failed; the live database was not touched.
        Refused: it went to the live one; the state says so.
    """
    name = engine.target.database
    version = version_of(archive, head_of_rows(archive))
    try:
        make_schema(engine.settings, replace(engine.target, database=new), version, on_event)
    except DbTasksError as exc:
        exc.state = _state(engine, planned)
        raise
    if engine.state() is not planned:
        refused = made_elsewhere(name, "database", "DATABASE_URL (or DB_*, POSTGRES_*, PG*)")
        refused.state = _state(engine, planned)
        raise refused


def _state(engine: PostgresEngine, planned: TargetState) -> str:
    return state_after(engine.target.database, untouched=engine.state() is planned, made_is="dropped")


def fill_made(engine: PostgresEngine, archive: Archive, new: str, on_event: OnEvent) -> tuple[str, ...]:
    """Compare the tables that the command made with the backup's, empty and fill them, and commit. Returns what is to be said.

    Raises:
        Refused: it made no tables; a table, column or type is missing or another one; names all of it.
        QueryFailed, CountsDiffer, LoadFailed: it could not be done; what is in the new database is the command's alone.
    """
    from .fit import prove_rows
    from .load import load_rows, transaction

    head = head_of_rows(archive)
    told: tuple[str, ...] = ()
    with direct_session(engine, new) as session, transaction(session):
        facts = database_facts(session, migration_table=engine.settings.migration_table)
        refuse_made_nothing(engine.settings, facts.tables)
        if head.older:
            head, told = place_older(session, archive, head)
        live = look_for_rows(session, head)
        with blaming_command(head):
            prove_rows(archive, head, live, f"what schema_command made for {engine.target.database}")
        if head.older:
            prove_older(session, archive, head)
        on_event(Phase("load", f"{archive.path.name} into {new}"))
        warnings = load_rows(session, live, head, archive, on_event)
        session.execute("COMMIT")
    revised = (*other_revision(archive, facts.revision), *other_version(archive, head, facts.revision))
    return (*told, *live.fit.told, *revised, *warnings)
