"""A SQLite database carried into PostgreSQL: its tables made or met, filled, and proved, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from ..events import OnEvent, ignore
from ..models import Format, PostgresTarget
from ..rows.migration.arriving import Carried, Loading, TableProof
from ..rows.migration.choices import Choices
from ..rows.postgres.creating import plan_creation
from ..rows.schema import Table
from ..rows.sqlite.words import counts_itself
from ..settings import Settings
from .postgres import PostgresEngine
from .postgres.direct import direct_session
from .postgres.exchange.swap import outside
from .postgres.migration.arrival import Arrival, prove_may_make
from .postgres.migration.arrive import arrive_live, arrive_new
from .python_route import Dumping
from .routes import open_engine
from .sqlite.leaving import LeavingRows

__all__ = ["carry", "opened_target", "prove_makeable"]


@contextmanager
def opened_target(
    settings: Settings, target: PostgresTarget, on_event: OnEvent = ignore
) -> Iterator[PostgresEngine]:
    """Open the way to the database that rows go to: psycopg2 carries them, whatever the way.

    Raises:
        RouteUnavailable: there is none.
    """
    # no client tool, and no container that has them, is looked for unless it is named
    dumping = (
        Dumping(Format.ROWS) if {"auto", "python"} & set(settings.via) and not settings.found_in else None
    )
    with open_engine(settings, target, on_event=on_event, dumping=dumping) as engine:
        if not isinstance(engine, PostgresEngine):
            raise TypeError("an engine that is not PostgreSQL's")
        yield engine


def prove_makeable(engine: PostgresEngine, choices: Choices, *, missing: bool) -> None:
    """See that the tables can be made where they are to be.

    Raises:
        Refused: something of one of their names is there. RightMissing: this role may not make any.
    """
    if not missing:
        with direct_session(engine) as session:
            prove_may_make(session, engine.target.database)
            plan_creation(session, choices.schema, foreign=False)
        return
    with outside(engine) as elsewhere:
        ((database,),) = elsewhere.rows("SELECT pg_catalog.current_database()::text AS name")
    with direct_session(engine, str(database)) as session:
        plan_creation(session, choices.schema, foreign=False, anew=True)


def carry(
    held: LeavingRows,
    arrival: Arrival,
    choices: Choices,
    loading: Loading,
    *,
    make: bool,
    on_event: OnEvent = ignore,
) -> tuple[TableProof, ...]:
    """Bring every row in and prove it; nothing is committed. `make`: the tables are made, else they are there.

    Raises:
        LoadFailed: a row does not go in; names table and row. CountsDiffer: what arrived is not what was there.
        Refused: a table has rows. RightMissing, QueryFailed: the server turned a statement down.
    """
    carried = _carried(held, choices)
    if make:
        return arrive_new(arrival.session, held.connection, carried, choices.schema, loading, on_event)
    return arrive_live(arrival.session, held.connection, carried, loading, on_event)


def _carried(held: LeavingRows, choices: Choices) -> list[Carried]:
    tables = {table.name: table for table in held.schema.tables}
    given = {one.table: one.last_value for one in held.schema.sequences}
    return [_one(tables[name], choices, given.get(name, 0)) for name in choices.order]


def _one(table: Table, choices: Choices, last_number: int) -> Carried:
    chosen = choices.columns[table.name]
    by_name = {column.name: column for column in table.columns}
    counts = counts_itself(table)
    return Carried(
        source=replace(table, columns=tuple(by_name[one.column] for one in chosen)),
        into=choices.names[table.name],
        columns=tuple(one.into for one in chosen),
        hows=tuple(one.how for one in chosen),
        types=tuple(one.type for one in chosen),
        key=table.primary_key.columns if table.primary_key else (),
        counting=next((one.into for one in chosen if one.column == counts), ""),
        last_number=last_number,
    )
