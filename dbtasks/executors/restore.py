"""Restore: read the whole archive, prove that it fits, save the present, load beside, check, swap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..catalog import new_id
from ..clock import Clock, utc_now
from ..engines import Engine, OnKeep
from ..engines.python_route import saving_rows
from ..engines.routes import open_engine
from ..engines.rows.archive import head_of_rows
from ..errors import (
    Damaged,
    DbTasksError,
    Interrupted,
    StoreFull,
)
from ..events import OnEvent, Phase, Warned, ignore, without_route
from ..guards import Consent, consent_needed
from ..holdings import NOT_TOLD
from ..interrupts import held_back
from ..journal import recorded
from ..migrations import MigrationStep
from ..models import Archive, Backup, Format, Route, Target
from ..plans import Checked, Kept, LoadPlan, LoadRequest, LoadStrategy, Swapped, TargetState
from ..settings import Settings
from .backup import writing_run
from .browse import find_archive, hint_of_another
from .restoring.destination import (
    destination,
    doubts_about,
    elsewhere,
    environment_of,
    prove_same_engine,
    reaching,
    shown,
)
from .restoring.drift import Drift, planned_drift
from .restoring.kept import KeptDatabase, kept_databases
from .restoring.present import naming, save_present, write_swapping, written_down
from .restoring.proof import (
    expected_counts,
    prove_counts,
    prove_problems,
    prove_same_file,
    prove_still_as_planned,
)
from .restoring.way_back import way_back
from .verify import read_whole

__all__ = [
    "RestoreJob",
    "RestorePlan",
    "RestoreResult",
    "TableChange",
    "plan_restore",
    "read_chosen",
    "restore",
]

INSIDE = (LoadStrategy.IN_PLACE, LoadStrategy.ROWS)
"""The live database stays, and a COMMIT in it is what takes effect: no names are exchanged."""


@dataclass(frozen=True)
class RestoreJob:
    """What is asked of one restore."""

    file: str = "latest"
    into: str | None = field(default=None, repr=False)
    """Another database of the same server, another SQLite file, any database's url, or `@` for the setting
    into_url; None: the configured one."""
    via: str | None = None
    request: LoadRequest = LoadRequest()  # noqa: RUF009 - frozen
    skip_safety_backup: bool = False
    undoes: str | None = None
    """Id of the restore that this one takes back: its record and the log call it an undo."""
    dry_run: bool = False
    """Only the plan is wanted: not even its failure is written down."""


@dataclass(frozen=True)
class TableChange:
    """One table whose row count a restore changes. None: the table is not there."""

    name: str
    backup_rows: int | None
    live_rows: int | None


@dataclass(frozen=True)
class RestorePlan:
    """What a restore will do; the archive was read whole to make it, nothing was written."""

    job: RestoreJob
    archive: Archive
    target: Target
    load: LoadPlan
    consent: Consent
    safety: bool
    """Whether the present state is backed up first."""
    why_no_safety: str
    changes: tuple[TableChange, ...]
    """Empty where no table's count changes, and where the backup's are not known: see `not_counted`."""
    checked: str
    """How the archive was read."""
    environment: str | None
    """Of where it goes, as far as that is known."""
    elsewhere: tuple[str, ...] = ()
    """In what it goes somewhere else than the backup came from; among the warnings too."""
    warnings: tuple[str, ...] = ()
    drift: Drift = Drift()  # noqa: RUF009 - frozen
    """What happens to the definitions, and which migration step comes afterwards."""
    not_counted: str = ""
    """Why nobody knows the rows of the backup; empty where they are known."""
    older: Sequence[KeptDatabase] = ()
    """The databases that earlier restores replaced and that are still there."""

    @property
    def overwrites(self) -> bool:
        """Whether anything that exists is replaced."""
        return self.load.state is not TargetState.MISSING


@dataclass(frozen=True)
class RestoreResult:
    """What a restore did, and how to go back."""

    id: str
    """Of the restore record under restores/."""
    target: Target
    archive: Archive
    tables: int
    rows: int
    """As they are live: what after_load did is in it."""
    checked_against_manifest: bool
    safety_backup: Backup | None
    old: str | None
    """Where the replaced database is kept: its new name, or the folder it was moved to."""
    way_back: str
    """The command that brings the former state back, or why there is none."""
    sessions_ended: int
    seconds: float
    warnings: tuple[str, ...] = ()
    migration: MigrationStep | None = None
    """Where the schema's migrations stand now, and the command that goes on from there."""
    after_load: tuple[Path, ...] = ()
    """The SQL files that were run in it before it went live."""
    older: Sequence[KeptDatabase] = ()
    """The databases that earlier restores replaced and that are still there."""
    is_configured: bool = True
    """Whether the target is the database that the settings name."""


def plan_restore(
    settings: Settings, job: RestoreJob | None = None, *, on_event: OnEvent = ignore
) -> RestorePlan:
    """Read the whole archive and prove that it fits the target. Nothing is touched.

    A failure gets its line in the log, as the restore it would have been; a
    dry run's does not.

    Raises:
        NotFound: no such backup. ArchiveDamaged: it is not whole.
        WrongEngine, Refused: it must not go there. CannotReach: something is missing; the hint
        names the way left.
    """
    job = job or RestoreJob()
    if job.dry_run:
        return _plan(settings, job, on_event)
    identity = settings.target.identity if settings.target else None
    with recorded(settings.backup_dir, "restore", identity, failures_only=True) as run:
        run.note(backup=job.file)
        return _plan(settings, job, on_event)


def _plan(settings: Settings, job: RestoreJob, on_event: OnEvent) -> RestorePlan:
    archive = find_archive(settings, job.file, unverified=job.request.unverified)
    target = destination(settings, job.into)
    if archive.format is not Format.ROWS:
        # rows go into either engine where no tables are
        prove_same_engine(archive, target)
    request = job.request
    if request.after_load is None:
        request = replace(request, after_load=() if job.undoes else settings.after_load)
    there = reaching(settings, target)
    saved = saving_rows(archive.format, saves=settings.safety_backup and not job.skip_safety_backup)
    with open_engine(there, target, via=job.via, restoring=True, on_event=on_event, dumping=saved) as engine:
        checked = read_chosen(settings, engine, archive, on_event)
        load = engine.plan_load(archive, request)
        drift = planned_drift(engine, archive, load, checked.schema)
        rows, not_counted = _counted(engine, archive)
        older = kept_databases(settings, engine)
    safety, why = _safety(settings, job, load, target)
    own = settings.target is not None and target.identity == settings.target.identity
    doubts = doubts_about(settings, archive, target, load) if own else ()
    consent = consent_needed(target, settings.protect, doubts)
    words = elsewhere(settings, archive, target, load)
    warnings = (*dict.fromkeys((*doubts, *words)), *checked.warnings, *load.warnings)
    return RestorePlan(
        # what is kept of it may be shown
        job=replace(job, into=shown(job.into, target)),
        archive=archive,
        target=target,
        load=load,
        consent=consent,
        safety=safety,
        why_no_safety=why,
        changes=_changes(rows, load),
        checked=checked.how,
        environment=environment_of(settings, target),
        elsewhere=words,
        warnings=warnings,
        drift=drift,
        not_counted=not_counted,
        older=older,
    )


def restore(
    settings: Settings, plan: RestorePlan, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> RestoreResult:
    """Carry a plan out.

    After success the target holds the backup, every row count equals the
    manifest's, and a record under restores/ says how to go back. After a
    failure the target is as it was, or what others made of it meanwhile; the error's state says so. An interruption
    that comes when the backup is live already is told as one, with that state.

    Raises:
        Busy: another run, from this machine or another, or a lock inside the database. CountsDiffer, ArchiveDamaged, LoadFailed:
        nothing was kept of the load. Interrupted: the state says what the target holds.
    """
    started_at, id_ = now(), new_id()
    safety: Backup | None = None
    state = f"{plan.target.name} was not touched"
    try:
        with (
            writing_run(settings, "undo" if plan.job.undoes else "restore", plan.target) as run,
            ExitStack() as held,
            open_engine(
                reaching(settings, plan.target),
                plan.target,
                via=_as_planned(plan),
                on_event=without_route(on_event),
            ) as engine,
            engine.claimed(),
        ):
            state = f"{plan.target.name} is as it was; unfinished files are removed"
            run.note(backup=plan.archive.manifest.id if plan.archive.manifest else str(plan.archive.path))
            if plan.load.strategy is not LoadStrategy.ASIDE:
                # a damaged file is read whole for it: that is done once, right before it is moved aside
                prove_still_as_planned(engine, plan.load.state)
            safety = _save_present(settings, plan, now, on_event) if plan.safety else None
            record = _record(plan, id_, safety, started_at.isoformat())
            with written_down(settings, id_, record, on_event) as outcome:
                counts, swapped = _load(settings, engine, plan, record, on_event, held)
                state = f"{plan.target.name} holds the backup; {way_back(settings, plan, safety, swapped)}"
                outcome |= {"state": "done", "old": swapped.old, "rows": counts}
                outcome |= {"kept_oid": swapped.old_oid, "finished_at": now().isoformat()}
                outcome["live_oid"] = swapped.live_oid or record["live_oid"]
            run.note(restore=id_, safety_backup=safety.id if safety else None)
            older = [one for one in kept_databases(settings, engine) if one.name != swapped.old]
    except KeyboardInterrupt as exc:
        interrupted = f"the restore of {plan.target.name} was interrupted"
        raise Interrupted(interrupted, state=naming(safety, state)) from exc
    except DbTasksError as exc:
        exc.state = naming(safety, exc.state or state)
        raise
    for text in swapped.warnings:
        on_event(Warned(text))
    return RestoreResult(
        id=id_,
        target=plan.target,
        archive=plan.archive,
        tables=len(counts),
        rows=sum(counts.values()),
        checked_against_manifest=expected_counts(plan.archive) is not None,
        safety_backup=safety,
        old=swapped.old,
        way_back=way_back(settings, plan, safety, swapped),
        sessions_ended=swapped.sessions_ended,
        seconds=(now() - started_at).total_seconds(),
        # what the plan said will stay is said again when it did
        warnings=tuple(dict.fromkeys((*plan.warnings, *swapped.warnings))),
        migration=plan.drift.migration,
        after_load=plan.load.request.after_load or (),
        older=tuple(older),
        is_configured=plan.target == settings.target,
    )


def _as_planned(plan: RestorePlan) -> str | None:
    """Return the way the plan was made by: what was shown and agreed to, and no other."""
    load = plan.load
    return None if load.route is Route.FILE else str(load.saving.route if load.saving else load.route)


def read_chosen(settings: Settings, engine: Engine, archive: Archive, on_event: OnEvent) -> Checked:
    """Read it to its end, for a target that is not to be touched before.

    Raises:
        Damaged: it is not whole.
    """
    try:
        return read_whole(engine, archive, on_event)
    except Damaged as exc:
        exc.state = exc.state or f"{engine.target.name} was not touched"
        exc.hint = exc.hint or hint_of_another(settings, archive.path)
        raise


def _safety(settings: Settings, job: RestoreJob, load: LoadPlan, target: Target) -> tuple[bool, str]:
    reasons = {
        TargetState.MISSING: f"{target.name} does not exist yet",
        TargetState.EMPTY: f"{target.name} is empty",
        TargetState.DAMAGED: f"{target.name} is damaged and is kept aside as it is",
    }
    if load.state in reasons:
        return False, reasons[load.state]
    if job.skip_safety_backup:
        return False, "--skip-safety-backup"
    if not settings.safety_backup:
        return False, "safety_backup is off"
    return True, ""


def _counted(engine: Engine, archive: Archive) -> tuple[Mapping[str, int] | None, str]:
    """Return the backup's rows per table, or why they are not known. A SQLite file of others is counted now."""
    manifest = archive.manifest
    if manifest is not None:
        return expected_counts(archive), manifest.not_counted
    if archive.format is Format.ROWS:
        # the document says it of each table, and it was read whole
        return head_of_rows(archive).rows, ""
    if archive.format is not Format.SQLITE:
        return None, NOT_TOLD
    return engine.holdings_of(archive).rows, ""


def _changes(backup: Mapping[str, int] | None, load: LoadPlan) -> tuple[TableChange, ...]:
    """List the tables that will not have the rows they have now; empty where nothing is known."""
    if backup is None:
        return ()
    if load.live_rows:
        # an older tool's tables go by other names here, each by one
        backup = {load.names.get(name, name): rows for name, rows in backup.items()}
    live = load.live_rows if load.state in (TargetState.PRESENT, TargetState.EMPTY) else {}
    names = sorted({*backup, *live})
    return tuple(
        TableChange(name, backup.get(name), live.get(name))
        for name in names
        if backup.get(name) != live.get(name)
    )


def _save_present(settings: Settings, plan: RestorePlan, now: Clock, on_event: OnEvent) -> Backup:
    note = f"before restoring {plan.archive.path.name}"
    there = reaching(settings, plan.target)
    return save_present(there, plan.target, via=_as_planned(plan), note=note, now=now, on_event=on_event)


def _keeping(settings: Settings, record: dict[str, Any]) -> OnKeep:
    """Write down what will be kept before it is: killed right after the exchange, a cleanup still finds it."""

    def keep(kept: Kept) -> None:
        write_swapping(settings, record, old=kept.name, kept_oid=kept.oid, live_oid=kept.live_oid)

    return keep


def _load(
    settings: Settings,
    engine: Engine,
    plan: RestorePlan,
    record: dict[str, Any],
    on_event: OnEvent,
    held: ExitStack,
) -> tuple[dict[str, int], Swapped]:
    """Load, prove, commit; from the commit on `held` keeps interrupts back."""
    with _untouched(plan), engine.load(plan.load, plan.archive, on_event, id_=str(record["id"])) as loaded:
        on_event(Phase("check", "row counts and constraints"))
        counts = loaded.counts()
        prove_counts(plan.archive, counts, plan.load.names)
        unverified = plan.load.request.unverified
        for text in prove_problems(plan.archive, loaded, unverified=unverified):
            on_event(Warned(text))
        if files := plan.load.request.after_load:
            loaded.after_load(files, on_event)
            counts = loaded.counts()
        prove_same_file(plan.archive)
        on_event(Phase("commit" if plan.load.strategy in INSIDE else "swap", plan.target.name))
        if plan.load.route is Route.FILE and plan.overwrites:
            # before interrupts are held back: a damaged file is read whole, which may take minutes
            prove_still_as_planned(engine, plan.load.state)
        held.enter_context(held_back())
        record["rows"] = counts
        if plan.load.strategy is not LoadStrategy.SWAP or plan.load.route is Route.FILE:
            # an exchange of names is told from the names; of all else a kill from here on leaves no sign
            write_swapping(settings, record)
        return counts, loaded.commit(_keeping(settings, record))


@contextmanager
def _untouched(plan: RestorePlan) -> Iterator[None]:
    """Let every failure of a load say what every engine promises."""
    try:
        yield
    except DbTasksError as exc:
        # the store knows of backups only, and says what became of them
        known = "" if isinstance(exc, StoreFull) and plan.target.name not in exc.state else exc.state
        exc.state = known or f"{plan.target.name} is as it was; what was loaded is removed"
        raise


def _record(plan: RestorePlan, id_: str, safety: Backup | None, started_at: str) -> dict[str, Any]:
    facts = plan.load.facts
    stays = facts is not None and plan.load.strategy in INSIDE
    return {
        "schema_version": 1,
        "id": id_,
        "kind": "undo" if plan.job.undoes else "restore",
        "undoes": plan.job.undoes,
        "started_at": started_at,
        "database": str(plan.target.identity),
        "engine": str(plan.target.engine),
        "server": plan.target.identity.server,
        "name": plan.target.name,
        "system_identifier": facts.system_identifier if facts else None,
        "live_oid": facts.oid if facts and stays else None,
        "state": "loading",
        "strategy": str(plan.load.strategy),
        "before": str(plan.load.state),
        "backup": plan.archive.manifest.id if plan.archive.manifest else None,
        "brings": plan.load.request.takes_away is None,
        "archive": str(plan.archive.path),
        "after_load": [str(file) for file in plan.load.request.after_load or ()],
        "safety_backup": safety.id if safety else None,
        "why_no_safety_backup": plan.why_no_safety or None,
        "made": asdict(plan.load.makes) if plan.load.makes else None,
        "takes_away": " ".join(plan.load.takes_away) or None,
    }
