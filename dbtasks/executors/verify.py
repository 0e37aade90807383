"""Verify: read a backup again to its end, prove it by a restore where that is asked for, write down what was found."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from ..clock import Clock, utc_now
from ..engines import Engine
from ..engines.routes import open_checker
from ..engines.scratch import Place, ScratchPlaces, parse_place
from ..errors import (
    ArchiveDamaged,
    Busy,
    CannotReach,
    CountsDiffer,
    Damaged,
    DbTasksError,
    LoadFailed,
    NotFound,
    OperationFailed,
    Refused,
)
from ..events import OnEvent, Phase, ignore
from ..journal import Run, recorded
from ..models import Archive, Backup, Manifest
from ..plans import Checked
from ..settings import Settings
from ..stores.local import LocalStore
from .browse import archive_of
from .prove_restore import Proved, prove_restore
from .reading import prove_bytes
from .restoring.left_proofs import sweep_proofs

__all__ = ["PlannedProof", "Verified", "plan_proofs", "read_whole", "verify"]

MARKED = "marked as damaged; no live database was touched"
UNTOUCHED = "no live database was touched"
NOT_MARKED = "the backup is not marked: its bytes are those that were written"


@dataclass(frozen=True)
class Verified:
    """What reading one backup again showed, and its restore where that was asked for."""

    backup: Backup
    ok: bool
    how: str
    """What was checked, or what is wrong."""
    restored: Proved | None = None
    """How it was proven by a restore; None where it was not."""
    exit_code: int = 0
    """5: it is bad. Else what stood in the way of a proof."""
    state: str = ""
    """What was made of it; empty where it is whole."""


@dataclass(frozen=True)
class PlannedProof:
    """Where one backup would be restored for its proof."""

    backup: Backup
    into: str


def plan_proofs(
    settings: Settings,
    backups: Sequence[Backup],
    *,
    where: Place | str = Place.AUTO,
    on_event: OnEvent = ignore,
) -> tuple[PlannedProof, ...]:
    """Say where backups would be restored for their proof; nothing is written, no archive read to its end.

    Raises:
        CannotReach, StoreFull, Refused, UsageError: one of them could not be.
    """
    with ScratchPlaces(settings, parse_place(where), on_event=on_event) as places:
        return tuple(PlannedProof(backup, places.foresee(archive_of(backup))) for backup in backups)


def verify(
    settings: Settings,
    backups: Sequence[Backup],
    *,
    restore: bool = False,
    where: Place | str = Place.AUTO,
    now: Clock = utc_now,
    on_event: OnEvent = ignore,
) -> tuple[Verified, ...]:
    """Read backups to their end: checksum, decompression, format; stamp each manifest with the outcome.

    `restore` also loads each into a scratch database, compares its rows with
    the manifest and drops it; no live database is touched. `where` chooses
    PostgreSQL's: `auto`, `server`, `throwaway`.

    A damaged backup stays where it is, is marked, and counts for nothing from
    then on: not as `latest`, not in the retention. Of several backups each is
    tried, and what stood in the way of one is in its result; a single one's is raised.

    Raises:
        ToolMissing: the tool that reads this format is not there.
        CannotReach, StoreFull, Refused, Busy: the only backup could not be proven; nothing is left behind.
    """
    identity = settings.target.identity if settings.target else None
    with recorded(settings.backup_dir, "verify", identity) as run, ExitStack() as stack:
        run.note(backup=", ".join(backup.id for backup in backups))
        places: ScratchPlaces | None = None
        sweep_proofs(settings, on_event)
        if restore:
            places = stack.enter_context(ScratchPlaces(settings, parse_place(where), on_event=on_event))
        alone = len(backups) == 1
        results = tuple(_verify(settings, backup, places, now, on_event, alone=alone) for backup in backups)
        _note(run, results)
    return results


def _note(run: Run, results: Sequence[Verified]) -> None:
    """Tell the log what was proven and how long it took, and what is bad."""
    proved = {r.backup.id: r.restored for r in results if r.restored}
    if proved:
        run.note(
            restored=[
                {"backup": id_, "how": p.how, "seconds": round(p.seconds, 3)} for id_, p in proved.items()
            ],
            message="; ".join(f"{id_} {p.how}, in {p.seconds:.1f} s" for id_, p in proved.items()),
        )
    bad = [r for r in results if not r.ok]
    if bad:
        worst = 5 if any(r.exit_code == 5 for r in bad) else bad[0].exit_code
        message = "; ".join(f"{r.backup.id}: {r.how}" for r in bad)
        error = "archive_damaged" if worst == 5 else "not_proven"
        run.note(ok=False, exit_code=worst, error=error, message=message)


def _verify(
    settings: Settings,
    backup: Backup,
    places: ScratchPlaces | None,
    now: Clock,
    on_event: OnEvent,
    *,
    alone: bool,
) -> Verified:
    archive = archive_of(backup)
    store = LocalStore(settings.backup_dir)
    try:
        with open_checker(settings, archive.format, on_event=on_event) as engine:
            # what is loaded is looked at there
            checked = read_whole(engine, archive, on_event, thorough=places is None)
    except (Damaged, NotFound) as exc:
        return _marked(store, backup, exc)
    except (CannotReach, OperationFailed) as exc:
        if alone:
            raise
        return _not_proven(backup, f"not read: {_said(exc)}", exc.exit_code)
    manifest = replace(backup.manifest, verified_at=now(), verified_how=checked.how, damage="")
    backup = store.replace_manifest(backup, manifest)
    if places is None:
        return Verified(backup, ok=True, how=checked.how)
    try:
        proved = prove_restore(places, archive, on_event=on_event)
    except (ArchiveDamaged, CountsDiffer) as exc:
        return _marked(store, backup, exc)
    except LoadFailed as exc:
        return _not_proven(backup, f"{_said(exc)}; {NOT_MARKED}", 5)
    except (CannotReach, OperationFailed, Refused, Busy) as exc:
        if alone:
            raise
        return _not_proven(backup, f"not proven: {_said(exc)}", exc.exit_code)
    return Verified(
        store.replace_manifest(backup, _stamped(manifest, proved, now)), True, checked.how, restored=proved
    )


def _stamped(manifest: Manifest, proved: Proved, now: Clock) -> Manifest:
    seconds = round(proved.seconds, 3)
    return replace(manifest, restored_at=now(), restored_how=proved.how, restored_seconds=seconds)


def _marked(store: LocalStore, backup: Backup, exc: DbTasksError) -> Verified:
    """Write into the manifest what is wrong with the archive."""
    what = _said(exc)
    marked = store.replace_manifest(backup, replace(backup.manifest, damage=what))
    return Verified(marked, ok=False, how=what, exit_code=5, state=MARKED)


def _not_proven(backup: Backup, how: str, exit_code: int) -> Verified:
    return Verified(backup, ok=False, how=how, exit_code=exit_code, state=UNTOUCHED)


def _said(exc: DbTasksError) -> str:
    return f"{exc.message}: {exc.details}" if exc.details else exc.message


def read_whole(
    engine: Engine, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False
) -> Checked:
    """Read an archive twice over: its bytes against the manifest, its inside to the end.

    Raises:
        ArchiveDamaged: size, checksum or inside do not hold.
    """
    on_event(Phase("read", archive.path.name))
    prove_bytes(archive)
    checked = engine.check(archive, on_event, thorough=thorough)
    return replace(checked, how=f"sha256; {checked.how}") if archive.manifest else checked
