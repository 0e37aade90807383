"""Planning the restore of a rows backup into a SQLite file: whether its rows fit into the tables that are there."""

from __future__ import annotations

import shlex
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ....errors import Refused, UsageError
from ....models import Archive, EngineName, Route
from ....nouns import many, some
from ....plans import LoadPlan, LoadRequest, LoadStrategy, TargetState
from ....rows.fits import Fit
from ....rows.schema import PortableSchema, Table
from ....rows.sqlite.schema import beside_tables, describe, plain_tables, virtual_tables
from ....rows.sqlite.source import rowid_of
from ...rows.across import convert, not_carried, refuse_rows_across
from ...rows.archive import Head, head_of_rows
from ...rows.fit import (
    compare_rows,
    leaning,
    leaning_words,
    not_made,
    other_revision,
    prove_tables,
    refuse_differences,
    refuse_referring,
    rows_stay,
)
from ...rows.older import other_version, refuse_without_tables
from ...schema_command import not_run
from .. import facts, files
from ..affinity import affinity_of, any_told_apart
from ..after_load import prove_scripts
from ..load import no_old, plan_beside, prove_rights, prove_room
from .create import makes_tables, prove_creation
from .older import place_older, prove_older
from .tables import no_tables

if TYPE_CHECKING:
    from .. import SqliteEngine

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
    numbered_anew: tuple[str, ...]
    """Those that are filled whose rowids no column holds, so that no backup of rows does."""


def look_for_rows(connection: sqlite3.Connection, head: Head) -> LiveTables:
    """Look the backup's tables up, and compare their columns."""
    there = plain_tables(connection, facts.table_names(connection))
    filled = tuple(name for name in head.filled if name in there)
    live = describe(connection, filled)
    outside = tuple(name for name in there if name not in filled)
    return LiveTables(
        fit=compare_rows(replace(head, schema=_told(head.schema)), _told(live), _same_type),
        filled=filled,
        outside=outside,
        referring=tuple(referring_into(connection, filled, outside)),
        virtual=virtual_tables(connection),
        numbered_anew=tuple(table.name for table in live.tables if _is_numbered_anew(connection, table)),
    )


def _is_numbered_anew(connection: sqlite3.Connection, table: Table) -> bool:
    """Whether a table has rowids that are none of its columns: a primary key without an index is the rowid."""
    query = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?) WHERE origin = 'pk')"
    ((indexed,),) = connection.execute(query, (table.name,)).fetchall()
    return rowid_of(connection, table) is not None and (table.primary_key is None or bool(indexed))


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


def _told(schema: PortableSchema) -> PortableSchema:
    return replace(schema, tables=tuple(map(any_told_apart, schema.tables)))


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
    if state is TargetState.PRESENT:
        _refuse_views_alone(engine, archive, head)
    if converted and not makes_tables(head, state):
        refuse_rows_across(archive, name)
    if engine.settings.schema_command and not converted and state is not TargetState.PRESENT:
        from .command import plan_by_command

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
                *leaning_words(leaning(head)),
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
        around = no_tables(connection)
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
        stays=rows_stay(live.outside, around),
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


def _refuse_views_alone(engine: SqliteEngine, archive: Archive, head: Head) -> None:
    """Refuse a file of views without any table: it would get its tables by being made anew, and lose these.

    Raises:
        Refused: it is one, and the backup would make tables; names the views.
    """
    with files.reading(engine.path, engine.settings.lock_timeout) as connection:
        if facts.table_names(connection) or not makes_tables(head, TargetState.EMPTY):
            return
        views = [name for kind, name in beside_tables(connection) if kind == "view"]
    name = engine.target.name
    raise Refused(
        f"{name} holds no table, but {many(len(views), 'view')} ({some(views)}): a file gets its tables from a rows backup"
        " by being made anew, and would be without",
        state="nothing was touched",
        hint=f"restore into a new file: --into=NAME; or keep the definition (sqlite3 {shlex.quote(str(engine.path))} .schema), drop it"
        f" ({' '.join(f'DROP VIEW {files.identifier(view)};' for view in views)}), restore {archive.path.name} and make it again",
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
        f"in one transaction: empty exactly {tables} of the backup and fill them from {archive.path.name}, triggers away meanwhile"
        + (
            f"; the rows of {some(live.numbered_anew)} get new rowids: no column holds them"
            * bool(live.numbered_anew)
        ),
        "check row counts and foreign keys",
        *((f"run {', '.join(scripts)} in it, check it again",) if scripts else ()),
        f"COMMIT; until then nobody sees any of it, and {name} is as it was if anything fails",
    )
