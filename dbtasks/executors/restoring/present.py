"""What a restore keeps of the present: the safety backup, and the record that tells how to go back to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ...clock import Clock
from ...engines.routes import open_engine
from ...errors import CannotReach, DbTasksError, RightMissing
from ...events import OnEvent, Phase, PresentSaved, Warned, without_route
from ...journal import write_restore
from ...models import Backup, Target, Type
from ...settings import Settings
from ..backup import BackupJob, make_backup
from .history import WITHOUT_CHANGE

__all__ = ["SWAPPING", "naming", "save_present", "write_swapping", "written_down"]

SWAPPING = "swapping"
"""A record's state from the moment it is about to take effect: whoever is killed before changed nothing."""


def save_present(
    settings: Settings, target: Target, *, via: str | None, note: str, now: Clock, on_event: OnEvent
) -> Backup:
    """Back up what is about to be replaced: all of it, whatever backups usually leave out.

    Raises:
        DbTasksError: there is no such backup, and the target was not touched.
    """
    on_event(Phase("safety", f"backing up {target.name} as it is"))
    # a format or codec that is configured may not suit this server's tools: the default always does
    whole = replace(
        settings,
        target=target,
        exclude_tables=(),
        exclude_data=(),
        format=None,
        compression=None,
        jobs=None,
    )
    try:
        with open_engine(whole, target, via=via, on_event=without_route(on_event)) as engine:
            job = BackupJob(type=Type.SAFETY, note=note)
            made = make_backup(whole, engine, job, now=now, on_event=on_event)
    except DbTasksError as exc:
        exc.state = f"{target.name} was not touched: without a safety backup the restore did not start"
        exc.hint = exc.hint or "--skip-safety-backup restores without one"
        raise
    on_event(PresentSaved(made.id))
    return made


def naming(safety: Backup | None, state: str) -> str:
    """Add to a failure's state that its safety backup was made: nobody should have to look for it."""
    if safety is None or safety.id in state:
        return state
    saved = f"what it held when this began was backed up, as {safety.id}"
    return f"{state}; {saved}" if state else saved


def write_swapping(settings: Settings, record: dict[str, Any], **known: object) -> None:
    """Write down that the restore is about to take effect, and what is known by then."""
    record.update(state=SWAPPING, **known)
    write_restore(settings.backup_dir, str(record["id"]), record)


@contextmanager
def written_down(
    settings: Settings, id_: str, record: dict[str, Any], on_event: OnEvent
) -> Iterator[dict[str, Any]]:
    """Keep the restore's record: loading, then how it ended, which the block fills in."""
    write_restore(settings.backup_dir, id_, record)
    outcome: dict[str, Any] = {"state": WITHOUT_CHANGE}
    try:
        yield outcome
    except BaseException as exc:
        bug = not isinstance(exc, DbTasksError | KeyboardInterrupt)
        away = isinstance(exc, CannotReach) and not isinstance(exc, RightMissing)
        if record["state"] == SWAPPING and outcome["state"] != "done" and (bug or away):
            # nobody knows whether the COMMIT arrived, or how far a bug let it come: the next undo looks
            outcome.clear()
        raise
    finally:
        try:
            write_restore(settings.backup_dir, id_, {**record, **outcome})
        except DbTasksError as exc:
            # what was done to the database is done, and told; the record only says less than it could
            on_event(Warned(exc.message))
