"""Undo: take back the last restore, by giving the kept database its name again or from the safety backup."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from ..catalog import new_id
from ..clock import Clock, utc_now
from ..engines import Engine, OnKeep
from ..engines.python_route import saving_rows
from ..engines.routes import open_engine
from ..errors import CannotReach, Damaged, DbTasksError, Interrupted, NotFound, Refused, RightMissing
from ..events import OnEvent, Phase, Warned, ignore, without_route
from ..guards import Consent, consent_needed
from ..interrupts import held_back
from ..journal import read_log, recorded, write_restore
from ..models import Backup, Format, Route, Target
from ..plans import ExchangePlan, Kept, LoadRequest, LoadStrategy, Standing, Swapped, TargetState
from ..settings import Settings
from .backup import writing_run
from .browse import list_backups
from .restore import RestoreJob, RestorePlan, plan_restore, restore
from .restoring.destination import doubts_about
from .restoring.history import DONE, WITHOUT_CHANGE, WITHOUT_EFFECT, PastRestore, in_question, past_restores
from .restoring.kept import KeptDatabase, kept_databases
from .restoring.last_restore import OLDER, LastRestore, find_last, named, prove_reversible, prove_same_hands
from .restoring.losses import UndoneTable, backup_rows, changed_tables, restored_rows
from .restoring.losses import not_counted as why_not_counted
from .restoring.way_back import holds_way_back, kept_as

__all__ = ["UndoPlan", "UndoResult", "UndoWay", "plan_undo", "undo"]

UNTOUCHED = "nothing was touched"


class UndoWay(StrEnum):
    """How a restore is taken back."""

    RENAME = "rename"
    """The database it replaced is still there: the two exchange their names."""
    SAFETY = "safety backup"
    """The backup made before it is restored."""
    TAKE_AWAY = "taking tables away"
    """It made them where there were none: exactly what it made goes again, and nothing is loaded."""


@dataclass(frozen=True)
class UndoPlan:
    """What an undo will do; nothing was written to make it."""

    target: Target
    last: PastRestore
    """The restore, or undo, that is taken back."""
    way: UndoWay
    why: str
    consent: Consent
    changes: tuple[UndoneTable, ...]
    replaced_is_kept: str
    """As what the present state is kept."""
    route: Route
    exchange: ExchangePlan | None
    """By rename."""
    restoring: RestorePlan | None
    """By the safety backup, or by taking tables away: its load says which."""
    not_counted: str = ""
    """Why there are no changes to show: rows that could not be counted."""
    certain: bool = True
    """False: the restore was killed as it took effect, and nobody knows whether the live rows are those it made."""
    environment: str | None = None
    warnings: tuple[str, ...] = ()
    without_effect: tuple[PastRestore, ...] = ()
    """Newer ones that were killed before they changed anything."""
    older: Sequence[KeptDatabase] = ()
    """The databases that earlier restores replaced and that are still there."""

    @property
    def sessions(self) -> tuple[str, ...]:
        """Return the sessions that will be ended, described."""
        plan = self.exchange or (self.restoring.load if self.restoring else None)
        return plan.sessions if plan else ()

    @property
    def steps(self) -> tuple[str, ...]:
        """Return what is done, in order."""
        if self.restoring:
            return self.restoring.load.steps
        kept = self.exchange.kept if self.exchange else ""
        return (f"exchange the names of {self.target.name} and {kept} in one transaction",)


@dataclass(frozen=True)
class UndoResult:
    """What an undo did, and how to go back."""

    id: str
    """Of its own record under restores/."""
    target: Target
    undone: PastRestore
    way: UndoWay
    tables: int
    rows: int
    """Of the tables that came back, as far as they were counted."""
    safety_backup: Backup | None
    old: str | None
    """The name under which the replaced database is kept."""
    way_back: str
    sessions_ended: int
    seconds: float
    warnings: tuple[str, ...] = ()
    taken_away: tuple[str, ...] = ()
    """The tables that are gone again, where that was the way; none came back then."""


def plan_undo(settings: Settings, *, dry_run: bool = False, on_event: OnEvent = ignore) -> UndoPlan:
    """Find the last restore of the configured database and prove that it can be taken back. Nothing is touched.

    A failure gets its line in the log, as the undo it would have been; a dry run's does not.

    Raises:
        NotFound: there is nothing to undo, or no way back was kept. Damaged: the safety backup is.
        Refused: the database has changed hands, or what was replaced was damaged. CannotReach: something is missing.
    """
    target = settings.require_target()
    if dry_run:
        return _plan(settings, target, on_event)
    with recorded(settings.backup_dir, "undo", target.identity, failures_only=True):
        return _plan(settings, target, on_event)


def _plan(settings: Settings, target: Target, on_event: OnEvent) -> UndoPlan:
    past = past_restores(settings.backup_dir, target.identity)
    saved = saving_rows(Format.ROWS) if _saved_as_rows(settings, past) else None
    with open_engine(settings, target, restoring=True, on_event=on_event, dumping=saved) as engine:
        found = find_last(engine, target, past)
        doubts, last = prove_same_hands(target, found), found.restore
        prove_reversible(target, last)
        exchange, why = _by_rename(engine, last, found.now)
        # the last one kept what comes back, or what went the way of a cleanup
        older = [one for one in kept_databases(settings, engine) if one.name != last.old]
    if exchange is None:
        plan = _by_safety_backup(settings, last, why, engine.route, on_event)
        doubts += doubts_about(settings, plan.archive, target, plan.load)
        live, back, not_counted = plan.load.live_rows, backup_rows(plan), why_not_counted(plan)
        way, kept = UndoWay.SAFETY, kept_as(plan)
        if plan.load.request.takes_away:
            way, why = UndoWay.TAKE_AWAY, f"{named(last)} made them, and there were none before it"
    else:
        plan, live, back, not_counted = None, exchange.live_rows, exchange.kept_rows, exchange.not_counted
        way, kept = UndoWay.RENAME, f"{target.name}__before_<time>"
    # rows of a restore that may not have taken effect are nothing to compare with
    restored = restored_rows(settings, last) if found.certain else None
    return UndoPlan(
        target=target,
        last=last,
        way=way,
        why=why,
        consent=consent_needed(target, settings.protect, doubts),
        changes=() if not_counted else changed_tables(restored, live, back),
        not_counted=not_counted,
        certain=found.certain,
        replaced_is_kept=kept,
        route=engine.route,
        exchange=exchange,
        restoring=plan,
        environment=settings.environment,
        # the restore of the safety backup has some of these doubts too
        warnings=tuple(
            dict.fromkeys(
                (
                    *doubts,
                    *_passed(found),
                    *_since_elsewhere(settings, target, last),
                    *(plan.warnings if plan else ()),
                )
            )
        ),
        without_effect=found.without_effect,
        older=tuple(older),
    )


def _passed(found: LastRestore) -> Iterator[str]:
    """Say which newer restores this is not about: who has just seen one end expects that it is."""
    for newer in found.without_effect:
        yield f"{named(newer)} was killed before it changed anything: this takes back {named(found.restore)} before it"


def _since_elsewhere(settings: Settings, target: Target, last: PastRestore) -> Iterator[str]:
    """Say that a newer restore from here went into another database (--into): who has just seen it may mean that one."""
    undone: set[str] = set()
    for run in read_log(settings.backup_dir):
        if last.started_at is None or run.started_at <= last.started_at:
            return
        if run.ok and run.task == "undo":
            undone.add(run.database)
        # of a migration nothing is to be undone here: it only read
        went = run.ok and not run.source and run.configured == str(target.identity)
        if went and run.database not in undone:
            yield (
                f"a newer restore went into {run.database}: this takes back the one before it, of {target.name};"
                " db.undo with that database configured takes back the newer one"
            )
            return


def _saved_as_rows(settings: Settings, past: Iterable[PastRestore]) -> bool:
    """Whether what the undo may bring back was saved without client tools: then it needs none either."""
    wanted = {restore.safety_backup for restore in in_question(past)} - {None}
    return bool(wanted) and any(
        backup.id in wanted and backup.manifest.format is Format.ROWS
        for backup in list_backups(settings).backups
    )


# -- which way ----------------------------------------------------------------------------


def _by_rename(engine: Engine, last: PastRestore, now: Standing) -> tuple[ExchangePlan | None, str]:
    """Plan the exchange, or say why it is not the way."""
    if not last.exchanges:
        return None, f"{named(last)} kept no database that could be renamed"
    if last.old is None or now.kept_oid is None:
        dropped = last.old or last.document.get("old_dropped") or "the database it replaced"
        return None, f"{dropped} is not there any more"
    try:
        return engine.plan_exchange(last.old), f"{last.old} is still there"
    except (Refused, CannotReach) as exc:
        if last.safety_backup is None:
            raise
        return None, exc.message


def _by_safety_backup(
    settings: Settings, last: PastRestore, why: str, route: Route, on_event: OnEvent
) -> RestorePlan:
    """Plan the restore of the safety backup, in the way of the restore that is taken back.

    Raises:
        NotFound: it is not there. Damaged: it is not whole.
    """
    lost = f"{named(last)} cannot be taken back: {why}, and"
    saved = next((b for b in list_backups(settings).backups if b.id == last.safety_backup), None)
    if saved is None:
        gone = (
            f"its safety backup {last.safety_backup} is gone"
            if last.safety_backup
            else "it made no safety backup"
        )
        raise NotFound(f"{lost} {gone}", hint=OLDER, state=UNTOUCHED)
    request = LoadRequest(
        in_place=last.strategy == LoadStrategy.IN_PLACE,
        jobs=settings.jobs,
        # one of rows that holds no tables brings nothing back: there were none
        takes_away=None if holds_way_back(saved) else last.made,
    )
    via = None if route is Route.FILE else str(route)
    job = RestoreJob(str(last.safety_backup), via=via, request=request, undoes=last.id, dry_run=True)
    try:
        # an undo can always be taken back: the setting is for restores that somebody chose the backup of
        return plan_restore(replace(settings, safety_backup=True), job, on_event=without_route(on_event))
    except (Damaged, NotFound) as exc:
        raise type(exc)(
            f"{lost} its safety backup is no use: {exc.message}",
            details=exc.details,
            hint=OLDER,
            state=UNTOUCHED,
        ) from exc


# -- the act ------------------------------------------------------------------------------------


def undo(
    settings: Settings, plan: UndoPlan, *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> UndoResult:
    """Carry a plan out.

    After success the target is what it was before the restore, and what it was until now is kept; a record
    under restores/ lets the next undo take this one back. After a failure the target is as it was.

    Raises:
        Refused: somebody restored since the plan was made. Busy: another run, or a session that cannot be ended.
        OperationFailed, Damaged: the state says what the target holds. Interrupted: so does its state.
    """
    if plan.exchange is not None:
        return _rename(settings, plan, plan.exchange, now, on_event)
    if plan.restoring is None:
        raise ValueError("a plan of no way")
    _prove_still_last(settings, plan)
    made = plan.restoring.load.request.takes_away
    done = restore(replace(settings, safety_backup=True), plan.restoring, now=now, on_event=on_event)
    _settle(settings, plan, on_event)
    return UndoResult(
        id=done.id,
        target=plan.target,
        undone=plan.last,
        way=plan.way,
        tables=done.tables,
        rows=done.rows,
        safety_backup=done.safety_backup,
        old=done.old,
        way_back=done.way_back,
        sessions_ended=done.sessions_ended,
        seconds=done.seconds,
        warnings=done.warnings,
        taken_away=made.tables if made else (),
    )


def _rename(
    settings: Settings, plan: UndoPlan, exchange: ExchangePlan, now: Clock, on_event: OnEvent
) -> UndoResult:
    started_at, id_, target = now(), new_id(), plan.target
    state = f"{target.name} was not touched"
    try:
        with (
            writing_run(settings, "undo", target) as run,
            ExitStack() as held,
            open_engine(settings, target, via=str(plan.route), on_event=without_route(on_event)) as engine,
            engine.claimed(),
        ):
            _prove_still_last(settings, plan)
            state = f"{target.name} is as it was"
            run.note(restore=id_, undoes=plan.last.id)
            record = _record(plan, exchange, id_, started_at)
            on_event(Phase("swap", target.name))
            held.enter_context(held_back())
            with _written_down(settings, id_, record, on_event) as (keep, outcome):
                swapped = engine.exchange(exchange, keep)
                state = f"{target.name} is what it was before {named(plan.last)}; db.undo takes that back"
                outcome |= _kept(swapped) | {"state": DONE, "finished_at": now().isoformat()}
            _settle(settings, plan, on_event)
            for text in swapped.warnings:
                on_event(Warned(text))
    except KeyboardInterrupt as exc:
        raise Interrupted(f"the undo of {target.name} was interrupted", state=state) from exc
    except DbTasksError as exc:
        exc.state = exc.state or state
        raise
    return UndoResult(
        id=id_,
        target=target,
        undone=plan.last,
        way=plan.way,
        tables=len(exchange.kept_rows),
        rows=sum(exchange.kept_rows.values()),
        safety_backup=None,
        old=swapped.old,
        way_back="db.undo",
        sessions_ended=swapped.sessions_ended,
        seconds=(now() - started_at).total_seconds(),
        warnings=(*plan.warnings, *swapped.warnings),
    )


def _prove_still_last(settings: Settings, plan: UndoPlan) -> None:
    """Look again: while somebody was asked, somebody else may have restored."""
    known = {plan.last.id, *(restore.id for restore in plan.without_effect)}
    newest = next(iter(past_restores(settings.backup_dir, plan.target.identity)), None)
    if newest is None or newest.id not in known:
        raise Refused(
            f"{plan.target.name} was restored again since this was planned",
            hint="look again: db.undo --dry-run",
            state=UNTOUCHED,
        )


def _record(plan: UndoPlan, exchange: ExchangePlan, id_: str, started_at: datetime) -> dict[str, Any]:
    identity, last = plan.target.identity, plan.last
    return {
        "schema_version": 1,
        "id": id_,
        "kind": "undo",
        "undoes": last.id,
        "started_at": started_at.isoformat(),
        "database": str(identity),
        "engine": str(identity.engine),
        "server": identity.server,
        "name": identity.name,
        "system_identifier": exchange.system_identifier or None,
        "strategy": str(LoadStrategy.SWAP),
        "before": str(TargetState.PRESENT),
        "backup": None,
        "archive": None,
        "took": exchange.kept,
        "rows": exchange.kept_rows or None,
        "safety_backup": None,
        "why_no_safety_backup": "the replaced database itself is kept",
    }


def _kept(swapped: Swapped) -> dict[str, Any]:
    return {"old": swapped.old, "kept_oid": swapped.old_oid, "live_oid": swapped.live_oid}


@contextmanager
def _written_down(
    settings: Settings, id_: str, record: Mapping[str, Any], on_event: OnEvent
) -> Iterator[tuple[OnKeep, dict[str, Any]]]:
    """Keep the record: before the exchange what will be kept, then how it ended, which the block fills in."""
    outcome: dict[str, Any] = {}

    def keep(kept: Kept) -> None:
        told = {"old": kept.name, "kept_oid": kept.oid, "live_oid": kept.live_oid, "state": "swapping"}
        write_restore(settings.backup_dir, id_, {**record, **told})

    try:
        yield keep, outcome
    except BaseException as exc:
        # where the server went away, or a bug broke it off, nobody knows whether the COMMIT arrived: the next undo asks it
        away = isinstance(exc, CannotReach) and not isinstance(exc, RightMissing)
        if isinstance(exc, DbTasksError | KeyboardInterrupt) and not away:
            _write(settings, id_, {**record, "state": WITHOUT_CHANGE}, on_event)
        raise
    _write(settings, id_, {**record, **outcome}, on_event)


def _settle(settings: Settings, plan: UndoPlan, on_event: OnEvent) -> None:
    """Say in the records of those that were killed too early that they changed nothing."""
    for restore_ in plan.without_effect:
        ended = {**restore_.document, "state": WITHOUT_EFFECT, "old": None}
        _write(settings, restore_.id, ended, on_event)


def _write(settings: Settings, id_: str, record: Mapping[str, Any], on_event: OnEvent) -> None:
    """Write a record after the fact: what was done is done, and told; the record only says less than it could."""
    try:
        write_restore(settings.backup_dir, id_, record)
    except DbTasksError as exc:
        on_event(Warned(exc.message))
