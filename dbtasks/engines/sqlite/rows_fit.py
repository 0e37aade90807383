"""Planning the restore of a rows backup into a SQLite file: whether its rows fit into the tables that are there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...errors import Refused, UsageError
from ...models import Archive, EngineName, Route
from ...nouns import many
from ...plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from ...rows.fits import Fit
from ...rows.sqlite_schema import describe, plain_tables, virtual_tables
from ..rows_across import convert, not_carried, refuse_rows_across
from ..rows_archive import Head, head_of_rows
from ..rows_fit import (
    compare_rows,
    not_made,
    other_revision,
    prove_tables,
    refuse_differences,
    refuse_referring,
    rows_stay,
)
from ..rows_older import other_version, refuse_without_tables
from ..schema_command import not_run
from . import facts, files
from .affinity import affinity_of
from .after_load import prove_scripts
from .load import no_old, plan_beside, prove_rights, prove_room
from .rows_create import makes_tables, prove_creation
from .rows_older import place_older, prove_older

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["LiveTables", "look_for_rows", "plan_rows_load", "prove_rows", "referring_into"]


@dataclass(frozen=True)
class LiveTables:
    """What is there of a backup's tables, and around them."""

    fit: Fit
    filled: tuple[str, ...]
    """The tables that are emptied and filled."""
    outside: tuple[str, ...]
    """Tables that are not in the backup: they stay as they are."""
    referring: tuple[tuple[str, str], ...]
    """Tables outside that have a foreign key into these, and which."""
    virtual: tuple[str, ...]


def look_for_rows(connection: sqlite3.Connection, head: Head) -> LiveTables:
    """Look the backup's tables up, and compare their columns."""
    there = plain_tables(connection, facts.table_names(connection))
    filled = tuple(name for name in head.filled if name in there)
    live = describe(connection, filled)
    outside = tuple(name for name in there if name not in filled)
    return LiveTables(
        fit=compare_rows(head, live, _same_type),
        filled=filled,
        outside=outside,
        referring=tuple(referring_into(connection, filled, outside)),
        virtual=virtual_tables(connection),
    )


def referring_into(
    connection: sqlite3.Connection, filled: Iterable[str], outside: Iterable[str]
) -> list[tuple[str, str]]:
    """Return the foreign keys of the tables outside that refer to those that are filled: table, table referred to."""
    names = {name.lower(): name for name in filled}
    query = 'SELECT DISTINCT lower("table") FROM pragma_foreign_key_list(?)'
    return [
        (table, names[other])
        for table in outside
        for (other,) in connection.execute(query, (table,)).fetchall()
        if other in names
    ]


def _same_type(backup: str, live: str) -> bool:
    """Compare what SQLite makes of two declared types: values stay as they are where it is the same."""
    return affinity_of(backup) == affinity_of(live)


def plan_rows_load(engine: SqliteEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """See `Engine.plan_load`."""
    for flag, given in (
        ("--no-owner", request.no_owner),
        ("--role", request.role),
        ("--in-place", request.in_place),
    ):
        if given:
            raise UsageError(f"{flag} means nothing for SQLite")
    scripts = request.after_load or ()
    prove_scripts(scripts)
    state, name = engine.state(), engine.target.name
    if state is TargetState.DAMAGED:
        raise Refused(
            f"{name} is damaged, and rows go into a file that holds together",
            hint="restore a sqlite backup, or move the file away and make its tables first",
            state="nothing was touched",
        )
    head = head_of_rows(archive)
    converted = convert(archive, head, EngineName.SQLITE)
    head = converted.head if converted else head
    if converted and not makes_tables(head, state):
        refuse_rows_across(archive, name)
    if engine.settings.schema_command and not converted and state is not TargetState.PRESENT:
        from .rows_command import plan_by_command

        return plan_by_command(engine, archive, request, head, state)
    if makes_tables(head, state):
        prove_creation(head)
        creates = tuple(table.name for table in head.schema.tables)
        plan = plan_beside(engine, archive, request, state)
        them = "it" if len(creates) == 1 else "them"
        tables = many(len(creates), "table")
        made = f"make {tables} of {archive.path.name} in a new file beside, fill {them}, make indexes"
        return replace(
            plan,
            creates=creates,
            fills=head.filled,
            names=converted.names if converted else {},
            steps=(made, "check it, count its rows", *plan.steps[1:]),
            warnings=(
                *plan.warnings,
                *not_made(archive),
                *not_carried(converted),
                *not_run(engine.settings),
            ),
        )
    if head.older and state is not TargetState.PRESENT:
        refuse_without_tables(archive, name, there=())
    prove_tables(archive, head, name, head.filled if state is not TargetState.PRESENT else ())
    prove_rights(engine.path, LoadStrategy.ROWS)
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        connection.execute("BEGIN")
        told: tuple[str, ...] = ()
        if head.older:
            head, told = place_older(connection, archive, head)
        live = look_for_rows(connection, head)
        prove_rows(archive, head, live, name)
        if head.older:
            prove_older(connection, archive, head)
        rows = {table: facts.count_table(connection, table) or 0 for table in live.filled}
    # the new rows, and what is overwritten in the journal or the WAL
    prove_room(engine.path, archive, copies=2)
    pids = files.openers(engine.path)
    found = engine.facts()
    return LoadPlan(
        request=request,
        strategy=LoadStrategy.ROWS,
        state=state,
        route=Route.FILE,
        why="SQLite is written directly",
        facts=found,
        live_rows=rows,
        fills=live.filled,
        names=head.names,
        stays=rows_stay(archive, live.outside),
        sessions=tuple(f"process {pid} has the file open; it stays connected" for pid in pids),
        steps=_steps(engine, archive, live, [script.name for script in scripts]),
        warnings=(
            *told,
            *live.fit.told,
            *_stale(live),
            *no_old(request, LoadStrategy.ROWS),
            *other_revision(archive, found.revision),
            *other_version(archive, head, found.revision),
        ),
    )


def _stale(live: LiveTables) -> tuple[str, ...]:
    return tuple(
        f"{name} is a virtual table: where it is an index of rows that change, build it anew afterwards"
        for name in live.virtual
    )


def prove_rows(archive: Archive, head: Head, live: LiveTables, name: str) -> None:
    """Prove that the rows of a backup can take the place of those that are there.

    Raises:
        Refused: a table or column is missing or another one, or another table refers to them; names all of it.
    """
    prove_tables(archive, head, name, live.fit.lacking)
    refuse_differences(archive, name, live.fit)
    refuse_referring(head, [(table, other, "a foreign key") for table, other in live.referring])


def _steps(engine: SqliteEngine, archive: Archive, live: LiveTables, scripts: list[str]) -> tuple[str, ...]:
    count, name = len(live.filled), engine.path.name
    tables = "the one table" if count == 1 else f"the {count} tables"
    return (
        f"in one transaction: empty exactly {tables} of the backup and fill them from {archive.path.name}, triggers away meanwhile",
        "check row counts and foreign keys",
        *((f"run {', '.join(scripts)} in it, check it again",) if scripts else ()),
        f"COMMIT; until then nobody sees any of it, and {name} is as it was if anything fails",
    )
