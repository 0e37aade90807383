"""Restore of single tables: into the live database in one transaction, in their place or beside it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from ..catalog import new_id
from ..clock import Clock, utc_now
from ..engines import Engine
from ..engines.python_route import saving_rows
from ..engines.routes import open_engine
from ..errors import CountsDiffer, DbTasksError, Interrupted, LoadFailed, Refused, UsageError
from ..events import OnEvent, Phase, Warned, ignore, without_route
from ..guards import Consent, consent_needed
from ..interrupts import held_back
from ..journal import recorded
from ..models import Archive, Backup, Route, Target
from ..nouns import many
from ..plans import LoadPlan, LoadRequest, LoadStrategy, PartPlan, PartRequest, Swapped, TargetState
from ..settings import Settings
from .backup import writing_run
from .browse import find_archive
from .restore import read_chosen
from .restoring.destination import doubts_about, elsewhere, environment_of, prove_same_engine
from .restoring.history import ADDED, TABLES
from .restoring.kept import KeptDatabase, kept_databases
from .restoring.present import naming, save_present, write_swapping, written_down
from .restoring.proof import prove_same_database, prove_same_file

__all__ = ["TablesJob", "TablesPlan", "TablesResult", "plan_restore_tables", "restore_tables"]


@dataclass(frozen=True)
class TablesJob:
    """What is asked of one restore of tables."""

    tables: tuple[str, ...]
    file: str = "latest"
    as_name: str | None = None
    """Beside, under this name; for exactly one table."""
    via: str | None = None
    no_owner: bool = False
    role: str | None = None
    analyze: bool = True
    unverified: bool = False
    skip_safety_backup: bool = False
    dry_run: bool = False
    """Only the plan is wanted: not even its failure is written down."""

    @property
    def request(self) -> PartRequest:
        """Return what the engine is asked."""
        return PartRequest(
            tables=self.tables,
            as_name=self.as_name,
            no_owner=self.no_owner,
            role=self.role,
            analyze=self.analyze,
        )


@dataclass(frozen=True)
class TablesPlan:
    """What a restore of tables will do; the archive was read whole to make it, nothing was written."""

    job: TablesJob
    archive: Archive
    target: Target
    part: PartPlan
    consent: Consent
    safety: bool
    """Whether the present state is backed up first."""
    why_no_safety: str
    checked: str
    """How the archive was read."""
    environment: str | None
    elsewhere: tuple[str, ...] = ()
    """In words, how this backup goes somewhere else than it came from."""
    warnings: tuple[str, ...] = ()
    older: Sequence[KeptDatabase] = ()
    """The databases that earlier restores replaced and that are still there."""

    @property
    def overwrites(self) -> bool:
        """Whether rows that exist are replaced."""
        return self.part.overwrites


@dataclass(frozen=True)
class TablesResult:
    """What a restore of tables did, and how to go back."""

    id: str
    """Of the restore record under restores/."""
    target: Target
    archive: Archive
    rows: dict[str, int]
    """Per table that was brought in, by its name in the live database."""
    checked_against_manifest: bool
    safety_backup: Backup | None
    way_back: str
    """The command or the SQL that brings the former state back, or why there is none."""
    seconds: float
    warnings: tuple[str, ...] = ()
    older: Sequence[KeptDatabase] = ()
    """The databases that earlier restores replaced and that are still there."""


def plan_restore_tables(settings: Settings, job: TablesJob, *, on_event: OnEvent = ignore) -> TablesPlan:
    """Read the whole archive and prove that its tables fit into the configured database. Nothing is touched.

    A failure gets its line in the log, as the restore it would have been; a dry run's does not.

    Raises:
        UsageError: the backup does not hold a table, or `as_name` is not for one table.
        NotFound: no such backup. ArchiveDamaged: it is not whole. CannotReach: a version, a right or the database is missing.
        Refused: a foreign key, a column or a name is in the way; names it and the way left.
    """
    target = settings.require_target()
    if job.dry_run:
        return _plan(settings, job, target, on_event)
    with recorded(settings.backup_dir, "restore", target.identity, failures_only=True) as run:
        run.note(backup=job.file, tables=list(job.tables))
        return _plan(settings, job, target, on_event)


def _plan(settings: Settings, job: TablesJob, target: Target, on_event: OnEvent) -> TablesPlan:
    if not all(job.tables or [""]):
        raise UsageError("no table is named: --table=NAME")
    if job.as_name is not None and len(set(job.tables)) != 1:
        raise UsageError("--as names a copy of one table: give exactly one --table")
    _refuse_unscrubbed(settings)
    archive = find_archive(settings, job.file, unverified=job.unverified)
    prove_same_engine(archive, target)
    saved = saving_rows(archive.format, saves=settings.safety_backup and not job.skip_safety_backup)
    opening = open_engine(settings, target, via=job.via, restoring=True, on_event=on_event, dumping=saved)
    with opening as engine:
        checked = read_chosen(settings, engine, archive, on_event)
        with _one_name_each(job):
            part = engine.plan_part(archive, job.request)
        older = kept_databases(settings, engine)
    safety, why = _safety(settings, job, part)
    doubts = doubts_about(settings, archive, target, _as_load(part))
    words = elsewhere(settings, archive, target, _as_load(part))
    return TablesPlan(
        job=job,
        archive=archive,
        target=target,
        part=part,
        consent=consent_needed(target, settings.protect, doubts),
        safety=safety,
        why_no_safety=why,
        checked=checked.how,
        environment=environment_of(settings, target),
        elsewhere=words,
        warnings=(*dict.fromkeys((*doubts, *words)), *checked.warnings, *part.warnings),
        older=older,
    )


@contextmanager
def _one_name_each(job: TablesJob) -> Iterator[None]:
    """Say how several tables are named to whoever put a comma between them; a name may hold one, so they are looked for first."""
    try:
        yield
    except UsageError as exc:
        for name in job.tables:
            names = [part.strip() for part in name.split(",") if part.strip()]
            if len(names) > 1 and f"--table={name}:" in exc.message:
                each = " ".join(f"--table={shlex.quote(part)}" for part in names)
                exc.hint = f"repeat --table for each: {each}" + (f"; {exc.hint}" if exc.hint else "")
        raise


def _refuse_unscrubbed(settings: Settings) -> None:
    """Refuse to bring rows past the SQL files that every whole restore runs: they may be what makes it harmless."""
    if not settings.after_load:
        return
    names = ", ".join(file.name for file in settings.after_load)
    raise Refused(
        f"after_load is set ({names}), and is not run for single tables: their rows would come as the backup has them",
        state="nothing was touched",
        hint=f"{settings.env_prefix}AFTER_LOAD=none brings them so; or restore all of it beside: --into=NAME",
    )


def _as_load(part: PartPlan) -> LoadPlan:
    """Return the plan as one of a whole load that replaces what is there: the same doubts hold for both."""
    return LoadPlan(
        request=LoadRequest(),
        strategy=LoadStrategy.IN_PLACE,
        state=TargetState.PRESENT,
        route=part.route,
        why=part.why,
        facts=part.facts,
    )


def _safety(settings: Settings, job: TablesJob, part: PartPlan) -> tuple[bool, str]:
    if not part.overwrites:
        return False, "nothing that exists is replaced"
    if job.skip_safety_backup:
        return False, "--skip-safety-backup"
    if not settings.safety_backup:
        return False, "safety_backup is off"
    return True, ""


def restore_tables(
    settings: Settings, plan: TablesPlan, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> TablesResult:
    """Carry a plan out.

    After success the tables hold the backup's rows, each count equals the manifest's, and a record under
    restores/ says how to go back. After a failure the database is as it was; the error's state says so.

    Raises:
        Busy: another run, or a lock inside the database. CountsDiffer, ArchiveDamaged, LoadFailed, Refused:
        nothing was kept of the load. Interrupted: the state says what the database holds.
    """
    started_at, id_, target = now(), new_id(), plan.target
    safety: Backup | None = None
    state = f"{target.name} was not touched"
    part = plan.part
    via = None if part.route is Route.FILE else str(part.saving.route if part.saving else part.route)
    try:
        with (
            writing_run(settings, "restore", target) as run,
            ExitStack() as held,
            open_engine(settings, target, via=via, on_event=without_route(on_event)) as engine,
            engine.claimed(),
        ):
            state = f"{target.name} is as it was"
            named = plan.archive.manifest.id if plan.archive.manifest else str(plan.archive.path)
            run.note(backup=named, tables=[table.name for table in plan.part.tables])
            prove_same_database(engine, plan.part.facts)
            if plan.safety:
                note = f"before restoring {', '.join(plan.job.tables)} from {plan.archive.path.name}"
                safety = save_present(settings, target, via=via, note=note, now=now, on_event=on_event)
            record = _record(plan, id_, safety, started_at.isoformat())
            with written_down(settings, id_, record, on_event) as outcome:
                counts, swapped = _load(settings, engine, plan, record, on_event, held)
                state = f"{target.name} holds the tables; {_way_back(plan, safety)}"
                all_rows = safety.manifest.counts if safety and not safety.manifest.not_counted else {}
                outcome |= {"state": "done", "rows": {**all_rows, **counts}}
                outcome |= {"finished_at": now().isoformat()}
            run.note(restore=id_, safety_backup=safety.id if safety else None)
    except KeyboardInterrupt as exc:
        interrupted = f"the restore of {', '.join(plan.job.tables)} was interrupted"
        raise Interrupted(interrupted, state=naming(safety, state)) from exc
    except DbTasksError as exc:
        exc.state = naming(safety, exc.state or state)
        raise
    for text in swapped.warnings:
        on_event(Warned(text))
    return _result(plan, id_, safety, counts, swapped, (now() - started_at).total_seconds())


def _result(
    plan: TablesPlan,
    id_: str,
    safety: Backup | None,
    counts: dict[str, int],
    swapped: Swapped,
    seconds: float,
) -> TablesResult:
    return TablesResult(
        id=id_,
        target=plan.target,
        archive=plan.archive,
        rows=counts,
        checked_against_manifest=all(table.backup_rows is not None for table in plan.part.tables),
        safety_backup=safety,
        way_back=_way_back(plan, safety),
        seconds=seconds,
        warnings=(*plan.warnings, *swapped.warnings),
        older=plan.older,
    )


def _load(
    settings: Settings,
    engine: Engine,
    plan: TablesPlan,
    record: dict[str, Any],
    on_event: OnEvent,
    held: ExitStack,
) -> tuple[dict[str, int], Swapped]:
    """Load, prove, commit; from the commit on `held` keeps interrupts back."""
    try:
        with engine.load_part(plan.part, plan.archive, on_event) as loaded:
            on_event(Phase("check", "row counts and foreign keys"))
            counts = loaded.counts()
            _prove_counts(plan.part, counts)
            if problems := loaded.problems():
                raise LoadFailed(
                    f"the tables do not hold together: {problems[0]}", details="\n".join(problems[1:10])
                )
            prove_same_file(plan.archive)
            on_event(Phase("commit", plan.target.name))
            held.enter_context(held_back())
            # whoever is killed now leaves a record that may or may not have taken effect
            write_swapping(settings, record)
            return counts, loaded.commit()
    except DbTasksError as exc:
        exc.state = exc.state or f"{plan.target.name} is as it was"
        raise


def _prove_counts(part: PartPlan, counts: dict[str, int]) -> None:
    wrong = [
        f"{table.name}: {counts.get(table.name)} instead of {table.backup_rows}"
        for table in part.tables
        if table.backup_rows is not None and counts.get(table.name) != table.backup_rows
    ]
    if wrong:
        raise CountsDiffer(
            f"{many(len(wrong), 'table')} did not come back with the rows of the manifest",
            details="\n".join(wrong[:10]),
        )


def _record(plan: TablesPlan, id_: str, safety: Backup | None, started_at: str) -> dict[str, Any]:
    identity, facts = plan.target.identity, plan.part.facts
    return {
        "schema_version": 1,
        "id": id_,
        "kind": "restore",
        "undoes": None,
        "started_at": started_at,
        "database": str(identity),
        "engine": str(identity.engine),
        "server": identity.server,
        "name": identity.name,
        "system_identifier": facts.system_identifier or None,
        "live_oid": facts.oid,
        "state": "loading",
        "strategy": TABLES if plan.overwrites else ADDED,
        "tables": {table.name: str(table.way) for table in plan.part.tables},
        "before": str(TargetState.PRESENT),
        "backup": plan.archive.manifest.id if plan.archive.manifest else None,
        "archive": str(plan.archive.path),
        "old": None,
        "safety_backup": safety.id if safety else None,
        "why_no_safety_backup": plan.why_no_safety or None,
    }


def _way_back(plan: TablesPlan, safety: Backup | None) -> str:
    if safety:
        return "db.undo"
    if not plan.overwrites:
        return " ".join(plan.part.takes_away)
    return f"no way back was kept ({plan.why_no_safety})"
