"""Restore: read the whole archive, prove that it fits, save the present, load beside, check, swap."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from ..catalog import new_id
from ..clock import Clock, utc_now
from ..engines import Engine, OnKeep
from ..engines.routes import open_engine
from ..errors import (
    ArchiveDamaged,
    Damaged,
    DbTasksError,
    Interrupted,
    NotFound,
)
from ..events import OnEvent, Phase, RouteTaken, Warned, ignore
from ..guards import Consent, consent_needed
from ..interrupts import held_back
from ..journal import recorded, write_restore
from ..models import Archive, Backup, Route, Target, Type
from ..plans import Checked, LoadPlan, LoadRequest, LoadStrategy, Swapped, TargetState
from ..settings import Settings
from .backup import BackupJob, make_backup, writing_run
from .browse import archive_of, find, unlisted_archive
from .destination import destination, doubts_about, prove_same_engine
from .proof import expected_counts, prove_counts, prove_problems, prove_same_file, prove_still_as_planned
from .verify import read_whole

__all__ = ["RestoreJob", "RestorePlan", "RestoreResult", "TableChange", "plan_restore", "restore"]


@dataclass(frozen=True)
class RestoreJob:
    """What is asked of one restore."""

    file: str = "latest"
    into: str | None = None
    """Another database of the same server, or another SQLite file; None: the configured one."""
    via: str | None = None
    request: LoadRequest = LoadRequest()  # noqa: RUF009 - frozen
    skip_safety_backup: bool = False
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
    checked: str
    """How the archive was read."""
    environment: str | None
    warnings: tuple[str, ...] = ()

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
    checked_against_manifest: bool
    safety_backup: Backup | None
    old: str | None
    """Where the replaced database is kept: its new name, or the folder it was moved to."""
    way_back: str
    """The command that brings the former state back, or why there is none."""
    sessions_ended: int
    seconds: float
    warnings: tuple[str, ...] = ()


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
    archive = _archive(settings, job)
    target = destination(settings, job.into)
    prove_same_engine(archive, target)
    with open_engine(settings, target, via=job.via, restoring=True, on_event=on_event) as engine:
        checked = _read(engine, archive, on_event)
        load = engine.plan_load(archive, job.request)
    safety, why = _safety(settings, job, load, target)
    doubts = doubts_about(settings, archive, target, load) if job.into is None else ()
    consent = consent_needed(target, settings.protect, doubts)
    warnings = (*doubts, *checked.warnings, *load.warnings)
    return RestorePlan(
        job=job,
        archive=archive,
        target=target,
        load=load,
        consent=consent,
        safety=safety,
        why_no_safety=why,
        changes=_changes(archive, load),
        checked=checked.how,
        environment=settings.environment,
        warnings=warnings,
    )


def restore(
    settings: Settings, plan: RestorePlan, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> RestoreResult:
    """Carry a plan out.

    After success the target holds the backup, every row count equals the
    manifest's, and a record under restores/ says how to go back. After a
    failure the target is as it was; the error's state says so. An interruption
    that comes when the backup is live already is told as one, with that state.

    Raises:
        Busy: another run, from this machine or another, or a lock inside the database. CountsDiffer, ArchiveDamaged, LoadFailed:
        nothing was kept of the load. Interrupted: the state says what the target holds.
    """
    started_at, id_ = now(), new_id()
    safety: Backup | None = None
    state = f"{plan.target.name} is as it was; unfinished files are removed"
    try:
        with (
            writing_run(settings, "restore", plan.target) as run,
            ExitStack() as held,
            open_engine(settings, plan.target, via=_as_planned(plan), on_event=_shown(on_event)) as engine,
            engine.claimed(),
        ):
            run.note(backup=plan.archive.manifest.id if plan.archive.manifest else str(plan.archive.path))
            prove_still_as_planned(engine, plan.load.state)
            safety = _save_present(settings, plan, now, on_event) if plan.safety else None
            record = _record(plan, id_, safety, started_at.isoformat())
            with _written_down(settings, id_, record, on_event) as outcome:
                counts, swapped = _load(engine, plan, on_event, held, _keeping(settings, id_, record))
                state = f"{plan.target.name} holds the backup; {_way_back(plan, safety, swapped)}"
                outcome |= {"state": "done", "old": swapped.old, "finished_at": now().isoformat()}
            run.note(restore=id_, safety_backup=safety.id if safety else None)
    except KeyboardInterrupt as exc:
        interrupted = f"the restore of {plan.target.name} was interrupted"
        raise Interrupted(interrupted, state=_naming(safety, state)) from exc
    except DbTasksError as exc:
        exc.state = _naming(safety, exc.state)
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
        way_back=_way_back(plan, safety, swapped),
        sessions_ended=swapped.sessions_ended,
        seconds=(now() - started_at).total_seconds(),
        warnings=(*plan.warnings, *swapped.warnings),
    )


def _as_planned(plan: RestorePlan) -> str | None:
    """Return the route the plan was made by: what was shown and agreed to, and no other."""
    return None if plan.load.route is Route.FILE else str(plan.load.route)


def _shown(on_event: OnEvent) -> OnEvent:
    """Return the listener without the news of the route: the plan told it, and why it is not another."""
    return lambda event: None if isinstance(event, RouteTaken) else on_event(event)


def _archive(settings: Settings, job: RestoreJob) -> Archive:
    try:
        backup = find(settings, job.file)
    except NotFound:
        if job.file.isdecimal() or job.file.startswith("latest"):
            raise
        return unlisted_archive(settings, job.file, unverified=job.request.unverified)
    if backup.manifest.damage and not job.request.unverified:
        raise ArchiveDamaged(
            f"backup {backup.id} was found damaged: {backup.manifest.damage}",
            hint="choose another one (db.list)",
            state="nothing was touched",
        )
    return archive_of(backup)


def _read(engine: Engine, archive: Archive, on_event: OnEvent) -> Checked:
    try:
        return read_whole(engine, archive, on_event)
    except Damaged as exc:
        exc.state = exc.state or f"{engine.target.name} was not touched"
        exc.hint = exc.hint or "choose another backup (db.list)"
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


def _changes(archive: Archive, load: LoadPlan) -> tuple[TableChange, ...]:
    """List the tables that will not have the rows they have now; empty where nothing is known."""
    backup = expected_counts(archive)
    if backup is None:
        return ()
    live = load.live_rows if load.state in (TargetState.PRESENT, TargetState.EMPTY) else {}
    names = sorted({*backup, *live})
    return tuple(
        TableChange(name, backup.get(name), live.get(name))
        for name in names
        if backup.get(name) != live.get(name)
    )


def _save_present(settings: Settings, plan: RestorePlan, now: Clock, on_event: OnEvent) -> Backup:
    """Back up what is about to be replaced: all of it, whatever backups usually leave out."""
    on_event(Phase("safety", f"backing up {plan.target.name} as it is"))
    # a format or codec that is configured may not suit this server's tools: the default always does
    whole = replace(
        settings,
        target=plan.target,
        exclude_tables=(),
        exclude_data=(),
        format=None,
        compression=None,
        jobs=None,
    )
    note = f"before restoring {plan.archive.path.name}"
    try:
        with open_engine(whole, plan.target, via=_as_planned(plan), on_event=_shown(on_event)) as engine:
            job = BackupJob(type=Type.SAFETY, note=note)
            return make_backup(whole, engine, job, now=now, on_event=on_event)
    except DbTasksError as exc:
        exc.state = f"{plan.target.name} was not touched: without a safety backup the restore did not start"
        exc.hint = exc.hint or "--skip-safety-backup restores without one"
        raise


def _naming(safety: Backup | None, state: str) -> str:
    """Add to a failure's state that its safety backup was made: nobody should have to look for it."""
    if safety is None or safety.id in state:
        return state
    saved = f"what it holds was backed up before, as {safety.id}"
    return f"{state}; {saved}" if state else saved


@contextmanager
def _written_down(
    settings: Settings, id_: str, record: Mapping[str, Any], on_event: OnEvent
) -> Iterator[dict[str, Any]]:
    """Keep the restore's record: loading, then how it ended, which the block fills in."""
    write_restore(settings.backup_dir, id_, {**record, "state": "loading"})
    outcome: dict[str, Any] = {"state": "failed; the target is as it was"}
    try:
        yield outcome
    finally:
        try:
            write_restore(settings.backup_dir, id_, {**record, **outcome})
        except DbTasksError as exc:
            # what was done to the database is done, and told; the record only says less than it could
            on_event(Warned(exc.message))


def _keeping(settings: Settings, id_: str, record: Mapping[str, Any]) -> OnKeep:
    """Write down what will be kept before it is: killed right after the exchange, a cleanup still finds it."""

    def keep(old: str) -> None:
        write_restore(settings.backup_dir, id_, {**record, "state": "swapping", "old": old})

    return keep


def _load(
    engine: Engine, plan: RestorePlan, on_event: OnEvent, held: ExitStack, keep: OnKeep
) -> tuple[dict[str, int], Swapped]:
    """Load, prove, commit; from the commit on `held` keeps interrupts back."""
    with _untouched(plan), engine.load(plan.load, plan.archive, on_event) as loaded:
        on_event(Phase("check", "row counts and constraints"))
        counts = loaded.counts()
        prove_counts(plan.archive, counts)
        unverified = plan.load.request.unverified
        for text in prove_problems(plan.archive, loaded, unverified=unverified):
            on_event(Warned(text))
        prove_same_file(plan.archive)
        on_event(Phase("swap", plan.target.name))
        held.enter_context(held_back())
        return counts, loaded.commit(keep)


@contextmanager
def _untouched(plan: RestorePlan) -> Iterator[None]:
    """Let every failure of a load say what every engine promises."""
    try:
        yield
    except DbTasksError as exc:
        exc.state = exc.state or f"{plan.target.name} is as it was; what was loaded is removed"
        raise


def _record(plan: RestorePlan, id_: str, safety: Backup | None, started_at: str) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "id": id_,
        "started_at": started_at,
        "database": str(plan.target.identity),
        "engine": str(plan.target.engine),
        "server": plan.target.identity.server,
        "name": plan.target.name,
        "system_identifier": plan.load.facts.system_identifier if plan.load.facts else None,
        "strategy": str(plan.load.strategy),
        "before": str(plan.load.state),
        "backup": plan.archive.manifest.id if plan.archive.manifest else None,
        "archive": str(plan.archive.path),
        "safety_backup": safety.id if safety else None,
        "why_no_safety_backup": plan.why_no_safety or None,
    }


def _way_back(plan: RestorePlan, safety: Backup | None, swapped: Swapped) -> str:
    into = f" --into={shlex.quote(plan.job.into)}" if plan.job.into else ""
    if safety:
        return f"db.restore --file={safety.id}{into}"
    if swapped.old and plan.load.strategy is LoadStrategy.ASIDE:
        return f"the damaged files lie in {swapped.old}"
    if swapped.old:
        return f"the former database is kept as {swapped.old}"
    if plan.load.state is TargetState.MISSING:
        return f"there is no way back, and nothing to go back to: {plan.target.name} did not exist before"
    if plan.load.state is TargetState.EMPTY:
        return f"there is no way back, and nothing to go back to: {plan.target.name} was empty before"
    return f"no way back was kept ({plan.why_no_safety})"
