"""Planning the restore of a rows backup: whether its rows fit into the tables that are there, and what becomes of these.

Nothing is created: the tables have to be there, with the columns and types of
the backup. What is not in the backup, in them and around them, stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import Refused, RightMissing, UsageError
from ....models import Archive, EngineName
from ....nouns import some
from ....plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from ....sessions import Session
from ...python_route import saving_of, way_of_rows
from ...rows.across import convert, refuse_rows_across
from ...rows.archive import Head, head_of_rows
from ...rows.fit import other_revision, prove_tables, refuse_differences, refuse_referring, rows_stay
from ...rows.older import other_version, refuse_without_tables
from ..direct import direct_session
from ..facts import Relation, count_rows, database_facts, reading_snapshot
from ..loading.after_load import prove_scripts
from ..loading.fit import refuse_as_target
from ..loading.inplace import lock_capacity
from ..server import look_at_server, prove_role, roles_there
from .command import plan_by_command
from .create import makes_tables, plan_rows_creation
from .event_triggers import awake, words_about
from .left_out import no_tables
from .live import LiveTables, look_for_rows
from .older import place_older, prove_older, stranger_rows
from .take_away import plan_taking_away

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["as_role", "plan_rows_load", "prove_rows"]

UNTOUCHED = "nothing was touched"


def plan_rows_load(engine: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """See `Engine.plan_load`."""
    refuse_as_target(engine)
    _refuse_flags(request)
    scripts = request.after_load or ()
    prove_scripts(scripts)
    state = engine.state()
    if request.takes_away:
        return plan_taking_away(engine, archive, request, request.takes_away, state)
    head = head_of_rows(archive)
    name = engine.target.database
    converted = convert(archive, head, EngineName.POSTGRESQL)
    head = converted.head if converted else head
    if _by_command(engine, state) and not converted:
        return plan_by_command(engine, archive, request, head, state)
    if state is TargetState.MISSING and head.typed:
        return plan_rows_creation(engine, archive, request, head, state, converted)
    if head.older and state is TargetState.MISSING:
        refuse_without_tables(archive, name, there=())
    if state is TargetState.MISSING:
        prove_tables(archive, head, name, head.filled)
    with direct_session(engine) as session:
        as_role(session, request)
        if makes_tables(session, head):
            return plan_rows_creation(engine, archive, request, head, state, converted)
        if converted:
            refuse_rows_across(archive, name)
        # a backup without rows makes its tables where there are none, and nothing else
        prove_tables(archive, head, name, ())
        told: tuple[str, ...] = ()
        if head.older:
            head, told = place_older(session, archive, head)
        with reading_snapshot(session):
            live = look_for_rows(session, head)
            around = no_tables(session)
        prove_rows(archive, head, live, name)
        _prove_locks(session, live)
        if head.older:
            told += stranger_rows(archive, look_at_server(engine, state)[0])
            prove_older(session, archive, head)
        facts = database_facts(session, migration_table=engine.settings.migration_table)
        rows = count_rows(session, live.filled)
        hooks = awake(session, creating=False, rebuilding=True)
    route, why = way_of_rows(engine.route, engine.why)
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.ROWS,
        state=state,
        route=route,
        why=why,
        saving=saving_of(engine.route, engine.why),
        facts=facts,
        live_rows={str(table): number for table, number in rows.items()},
        fills=tuple(str(table) for table in live.filled),
        names=head.names,
        stays=rows_stay([str(table) for table in live.outside], around),
        steps=_steps(archive, live, name, [script.name for script in scripts]),
        warnings=(
            *told,
            *_warnings(live, request),
            *words_about(hooks),
            *other_revision(archive, facts.revision),
            *other_version(archive, head, facts.revision),
        ),
    )


def _by_command(engine: PostgresEngine, state: TargetState) -> bool:
    """Whether the project's own command makes the tables: nothing is there that it could be in the way of."""
    return bool(engine.settings.schema_command) and state in (TargetState.MISSING, TargetState.EMPTY)


def _refuse_flags(request: LoadRequest) -> None:
    if request.no_owner:
        raise UsageError(
            "--no-owner means nothing for a rows backup: it holds no owners, and those here stay"
        )


def as_role(session: Session, request: LoadRequest) -> None:
    """Work as the role that was asked for.

    Raises:
        RightMissing: it does not exist, or may not be set by this login.
    """
    from psycopg2 import sql

    if request.role:
        ((login,),) = session.rows("SELECT current_user::text AS name")
        prove_role(request.role, roles_there(session), str(login))
        session.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(request.role)))


def prove_rows(archive: Archive, head: Head, live: LiveTables, name: str) -> None:
    """Prove that the rows of a backup can take the place of those that are there.

    Raises:
        Refused: a table, column or type is missing or another one, or others refer to the tables; names all of it.
        RightMissing: a table is not ours to empty.
    """
    prove_tables(archive, head, name, live.fit.lacking)
    if live.hypertables:
        raise Refused(
            f"{some(live.hypertables)} is a hypertable of TimescaleDB or part of one, whose rows are in other tables",
            state=UNTOUCHED,
            hint="a backup by pg_dump brings it back; the rows of this one are taken out by hand (db.show)",
        )
    refuse_differences(archive, name, live.fit)
    if live.strangers:
        table, owner = next(iter(sorted(live.strangers.items())))
        raise RightMissing(
            f"only its owner may empty and fill a table as a restore does, and {table} belongs to {owner}",
            details="\n".join(f"{t}: {o}" for t, o in sorted(live.strangers.items())),
            state=UNTOUCHED,
            hint="restore as that role or a member of it",
        )
    if live.hidden:
        raise RightMissing(
            f"row-level security stands between this role and the rows of {some(live.hidden)}",
            state=UNTOUCHED,
            hint="restore as the owner or a role with BYPASSRLS",
        )
    refuse_referring(
        head, [(str(table), str(other), f"foreign key {key}") for key, table, other in live.referring]
    )


def _prove_locks(session: Session, live: LiveTables) -> None:
    capacity = lock_capacity(session)
    if live.locks > capacity:
        raise Refused(
            f"emptying and filling {len(live.filled)} tables needs up to {live.locks} locks in one transaction,"
            f" and the server has room for {capacity}",
            state=UNTOUCHED,
            hint="raise max_locks_per_transaction and restart the server",
        )


def _warnings(live: LiveTables, request: LoadRequest) -> tuple[str, ...]:
    said = list(live.fit.told)
    if request.drop_old:
        said.append("drop_old means nothing for a rows backup: no old database is kept")
    said += [
        f"{_named(schema, name)} belongs to {owner} and is not refreshed: REFRESH MATERIALIZED VIEW afterwards"
        for schema, name, owner in live.matviews
        if owner
    ]
    partial = set(live.above) - set(live.whole)
    said += [
        f"{table} has partitions that are not in the backup: their rows stay"
        for table in sorted(map(str, partial))
    ]
    return tuple(said)


def _named(schema: str, name: str) -> str:
    return str(Relation(0, schema, name, "m"))


def _steps(archive: Archive, live: LiveTables, name: str, scripts: list[str]) -> tuple[str, ...]:
    refreshed = [_named(schema, view) for schema, view, owner in live.matviews if not owner]
    count = len(live.filled)
    tables = "the one table" if count == 1 else f"the {count} tables"
    return (
        f"in one transaction: lock {tables} of the backup, empty exactly these and fill them from {archive.path.name},"
        " triggers asleep, foreign keys compared row by row afterwards",
        "set sequences" + (f", refresh {', '.join(refreshed)}" if refreshed else ""),
        "check row counts and constraints",
        *((f"run {', '.join(scripts)} in it, check it again",) if scripts else ()),
        f"COMMIT; until then nobody sees any of it, and {name} is as it was if anything fails",
    )
