"""The restore of rows where no tables are and the project's own command makes them: in a new file beside, brought in like any backup."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ....errors import Busy, DbTasksError
from ....events import OnEvent
from ....models import Archive, SqliteTarget
from ....plans import LoadPlan, LoadRequest, TargetState
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
from .. import facts, files
from ..load import plan_beside
from .fit import look_for_rows, prove_rows
from .load import load_rows
from .older import place_older, prove_older

if TYPE_CHECKING:
    from .. import SqliteEngine

__all__ = ["plan_by_command", "stage_by_command"]


def plan_by_command(
    engine: SqliteEngine, archive: Archive, request: LoadRequest, head: Head, state: TargetState
) -> LoadPlan:
    """Prove that the command is there and that a file can be laid down beside, and say what will be done.

    Raises:
        ToolMissing: the command is not there. StoreFull, Refused: no file can be laid down.
    """
    prove_tables(archive, head, engine.target.name, ())
    prove_command(engine.settings)
    plan = plan_beside(engine, archive, request, state)
    command = shown_command(engine.settings)
    return replace(
        plan,
        fills=head.filled,
        schema_command=command,
        steps=(
            f"make a new file beside, and run for it: {command}",
            fill_step(archive),
            "check it, count its rows",
            *plan.steps[1:],
        ),
    )


def stage_by_command(
    engine: SqliteEngine, plan: LoadPlan, archive: Archive, staged: Path, on_event: OnEvent
) -> tuple[str, ...]:
    """Let the command make the tables of a new file and fill them, on disk to its last byte. Returns what is to be said.

    Raises:
        ToolMissing, LoadFailed: the command failed. Refused: it made other tables than the backup's, or made them in the
        live file; the state says so. CountsDiffer, ArchiveDamaged, StoreFull: the rows do not go in.
    """
    os.close(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    head = head_of_rows(archive)
    try:
        make_schema(engine.settings, SqliteTarget(staged), version_of(archive, head), on_event)
        if engine.state() is not plan.state:
            raise made_elsewhere(engine.path.name, "file", "DATABASE_URL or DATABASE_PATH")
        with files.translated(staged):
            told = _fill(engine, archive, head, staged, on_event)
    except DbTasksError as exc:
        untouched = engine.state() is plan.state
        exc.state = state_after(engine.path.name, untouched=untouched, made_is="removed")
        raise
    with staged.open("rb+") as stream:
        os.fsync(stream.fileno())
    return told


def _fill(
    engine: SqliteEngine, archive: Archive, head: Head, staged: Path, on_event: OnEvent
) -> tuple[str, ...]:
    told: tuple[str, ...] = ()
    with files.opened(staged, "rw") as connection:
        # what the command left in a journal belongs into the file: it is moved by itself from here on
        (mode,) = connection.execute("PRAGMA journal_mode=DELETE").fetchone()
        if mode != "delete":
            raise Busy("something that schema_command started still has its file open")
        connection.executescript("PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF; PRAGMA trusted_schema=OFF")
        made = facts.facts_of(connection, staged, engine.settings.migration_table)
        refuse_made_nothing(engine.settings, made.tables)
        connection.execute("BEGIN IMMEDIATE")
        if head.older:
            head, told = place_older(connection, archive, head)
        live = look_for_rows(connection, head)
        with blaming_command(head):
            prove_rows(archive, head, live, f"what schema_command made for {engine.path.name}")
        if head.older:
            prove_older(connection, archive, head)
        load_rows(connection, live, head, archive, on_event)
        connection.execute("COMMIT")
    return (
        *told,
        *live.fit.told,
        *other_revision(archive, made.revision),
        *other_version(archive, head, made.revision),
    )
