"""Clean up: apply the retention plan, manifest first, never below the floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..anomaly import Source, Suspension, source_of, suspensions
from ..clock import Clock, utc_now
from ..engines.routes import open_engine
from ..errors import DbTasksError, UsageError
from ..events import OnEvent, Phase, ignore
from ..journal import write_restore
from ..models import Backup, Identity, Type
from ..retention import Policy, RetentionPlan, plan_retention
from ..settings import Settings
from ..stores.local import LocalStore
from .backup import writing_run
from .browse import list_backups
from .restoring.history import DONE, PastRestore, in_question, past_restores
from .restoring.killed import Remains, find_remains, remove_remains
from .restoring.left_proofs import LeftProofs, find_left_proofs, remove_left_proofs

__all__ = ["CleanupPlan", "CleanupResult", "Removals", "Staying", "cleanup", "plan_cleanup"]

SUSPENDED = "the cleanup is suspended"


@dataclass(frozen=True)
class Staying:
    """A database that a restore replaced, and that is still needed."""

    database: str
    reason: str


@dataclass(frozen=True)
class Removals:
    """How many things a cleanup removes, of each kind."""

    backups: int = 0
    databases: int = 0
    """Which restores replaced."""
    left_over: int = 0
    """What killed restores left half done, and killed proofs and migrations."""
    drafts: int = 0
    """Backups that killed runs left unfinished."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.backups + self.databases + self.left_over + self.drafts


@dataclass(frozen=True)
class CleanupPlan:
    """What a cleanup will do; made by reading only."""

    retention: RetentionPlan
    replaced: tuple[str, ...] = ()
    """Databases that restores replaced and kept; a cleanup drops them."""
    staying: tuple[Staying, ...] = ()
    """Such databases that are the only way back, or that stay because the cleanup is suspended."""
    remains: Remains = Remains()  # noqa: RUF009 - frozen
    """What killed restores left half done; a cleanup removes it."""
    suspended: str = ""
    """Why nothing goes: the database has shrunk beyond belief. Empty while nothing stands in the way."""
    accepted: Backup | None = None
    """A backup that has shrunk and is taken for normal from now on."""
    drafts: tuple[Path, ...] = ()
    """Unfinished backups of killed runs; every run that writes removes them."""
    proofs: LeftProofs = LeftProofs()  # noqa: RUF009 - frozen
    """What killed proofs, comparisons and migrations left; a cleanup removes it, and so does the next one of these."""

    @property
    def removals(self) -> Removals:
        """How many things will be removed, of each kind."""
        backups = sum(not decision.keep for decision in self.retention.decisions)
        left_over = len(self.remains.names) + len(self.proofs.names)
        return Removals(backups, len(self.replaced), left_over, len(self.drafts))

    @property
    def going(self) -> int:
        """How many things will be removed."""
        return self.removals.total


@dataclass(frozen=True)
class CleanupResult:
    """What a cleanup did."""

    removed: tuple[Backup, ...]
    kept: int
    freed_bytes: int
    failed: tuple[str, ...] = ()
    """What could not be removed, with the reason; the rest was done."""
    dropped: tuple[str, ...] = ()
    """Databases that restores had replaced."""
    swept: tuple[str, ...] = ()
    """What killed restores, proofs and migrations had left."""
    accepted: str | None = None
    """Id of a backup that has shrunk and counts as normal from now on."""
    drafts: tuple[Path, ...] = ()
    """Unfinished backups of killed runs."""

    @property
    def ok(self) -> bool:
        """Whether everything planned was removed."""
        return not self.failed


def plan_cleanup(
    settings: Settings,
    *,
    policy: Policy | None = None,
    type_: Type | None = None,
    accept: str | None = None,
    now: Clock = utc_now,
) -> CleanupPlan:
    """Decide what goes and why; reads the list and the restore records, removes nothing.

    Where a restore was killed the database is asked for what it left; that it cannot be asked is no failure.
    `accept` chooses a backup that has shrunk: it counts as normal, and suspends nothing any more.

    Raises:
        NotFound: there is no such backup to accept. UsageError: it is a normal one, or of another database.
    """
    target = settings.require_target()
    accepted = _acceptable(settings, accept) if accept else None
    sound = [
        accepted if accepted and b.id == accepted.id else b
        for b in list_backups(settings).backups
        if not b.manifest.damage
    ]
    drafts = LocalStore(settings.backup_dir).unfinished()
    past = past_restores(settings.backup_dir, target.identity)
    protected = _needed_by_restores(past)
    # all types are decided on together: the last complete backup may be of another type
    plan = plan_retention(sound, policy or Policy.of(settings), now(), protected=protected)
    suspended = suspensions(sound)
    plan = _held_back(plan, suspended)
    why = "; ".join(str(one) for one in suspended.values())
    if type_ is not None:
        chosen = tuple(d for d in plan.decisions if d.backup.manifest.type is type_)
        return CleanupPlan(replace(plan, decisions=chosen), suspended=why, accepted=accepted, drafts=drafts)
    remains = find_remains(settings, past)
    # it keeps nothing, and is in the list all the same: what it took back itself is live, or was
    past = tuple(
        replace(r, old=None) if r.old in remains.not_kept else r
        for r in past
        if r.id not in remains.without_effect
    )
    staying = _only_ways_back(past, {b.id for b in sound if b.path.is_file()})
    kept = {one.database for one in staying}
    names = tuple(str(restore.old) for restore in _replaced(past) if restore.old not in kept)
    if suspended:
        # what a restore replaced may be the only full one that is left
        staying += tuple(Staying(name, SUSPENDED) for name in names)
        names = ()
    proofs = find_left_proofs(settings)
    return CleanupPlan(plan, names, staying, remains, why, accepted, drafts, proofs)


def _acceptable(settings: Settings, selector: str) -> Backup:
    """Return the backup as it will be once it is accepted."""
    backup = list_backups(settings).find(selector)
    if backup.number is None:
        raise UsageError(f"--accept={selector}: that is a backup of {backup.manifest.database}")
    if not backup.manifest.anomalous:
        raise UsageError(
            f"--accept={selector}: {backup.id} counts as normal already", hint="db.list marks the others"
        )
    return replace(backup, manifest=replace(backup.manifest, anomaly_accepted=True))


def _held_back(plan: RetentionPlan, suspended: Mapping[Source, Suspension]) -> RetentionPlan:
    """Let everything of a database that has shrunk stay, adopted files too, which name no server."""
    databases = {database for database, _ in suspended}
    return replace(
        plan,
        decisions=tuple(
            replace(d, keep=True, reasons=(SUSPENDED, *d.reasons))
            if not d.keep
            and (
                source_of(d.backup.manifest) in suspended
                or (d.backup.manifest.foreign and d.backup.manifest.database in databases)
            )
            else d
            for d in plan.decisions
        ),
    )


def _replaced(past: Sequence[PastRestore]) -> list[PastRestore]:
    """Return the restores that kept the former database; one moved aside as files stays for good.

    Only those of this very database: what a restore --into another one kept
    goes when a cleanup runs with that other one configured.
    """
    replaced: list[PastRestore] = []
    # newest first: what a later undo brought back by its name is live. The name may have been given again since
    back: set[str | None] = set()
    for restore in past:
        if restore.exchanges and restore.old and restore.old not in back:
            replaced.append(restore)
        back.discard(restore.old)
        if restore.state == DONE:
            back.add(restore.took)
    return replaced


def _needed_by_restores(past: Sequence[PastRestore]) -> dict[str, str]:
    """Name the safety backup of the last restore: it is the way back."""
    needed: dict[str, str] = {}
    for restore in past:
        if restore.safety_backup:
            needed[restore.safety_backup] = "safety backup of the last restore"
        if needed and restore.state == DONE:
            break
    return needed


def _only_ways_back(past: Sequence[PastRestore], sound: set[str]) -> tuple[Staying, ...]:
    """Name the databases without which the last restore could not be taken back: it has no sound safety backup."""
    needed = {restore.id for restore in in_question(past) if restore.safety_backup not in sound}
    return tuple(
        Staying(str(restore.old), f"the only way back from the last {restore.kind}{_why_only(restore)}")
        for restore in _replaced(past)
        if restore.id in needed
    )


def _why_only(restore: PastRestore) -> str:
    return f": its safety backup {restore.safety_backup} is no use" if restore.safety_backup else ""


def cleanup(settings: Settings, plan: CleanupPlan, *, on_event: OnEvent = ignore) -> CleanupResult:
    """Remove what the plan says, and write down which backup that has shrunk was accepted.

    One thing that cannot be removed does not stop the others; killed half-way,
    the next run finishes it.

    Raises:
        Busy: another run works on this database.
    """
    target = settings.require_target()
    with writing_run(settings, "cleanup", target) as run:
        if plan.accepted:
            LocalStore(settings.backup_dir).replace_manifest(plan.accepted, plan.accepted.manifest)
            run.note(accepted=plan.accepted.id)
        removed, failed = _remove(settings, plan.retention, on_event)
        dropped, not_dropped = _drop_replaced(settings, plan, target.identity, on_event)
        swept, not_swept = _sweep_remains(settings, plan, target.identity, on_event)
        proofs, stay = remove_left_proofs(settings, plan.proofs, on_event)
        swept += proofs
        failed += [*not_dropped, *not_swept, *stay]
        freed = sum(b.manifest.size_bytes for b in removed)
        run.note(removed=len(removed), freed_bytes=freed, dropped=dropped, swept=swept)
        if failed:
            run.note(ok=False, exit_code=8, message="; ".join(failed))
    kept = sum(decision.keep for decision in plan.retention.decisions)
    accepted = plan.accepted.id if plan.accepted else None
    drafts = tuple(draft for draft in plan.drafts if not draft.exists())
    return CleanupResult(
        tuple(removed), kept, freed, tuple(failed), tuple(dropped), tuple(swept), accepted, drafts
    )


def _remove(settings: Settings, plan: RetentionPlan, on_event: OnEvent) -> tuple[list[Backup], list[str]]:
    store = LocalStore(settings.backup_dir)
    listed = {b.id: b for b in list_backups(settings).backups}
    removed, failed = [], []
    for decision in plan.decisions:
        backup = listed.get(decision.backup.id)
        if decision.keep or backup is None or backup.manifest.pinned:
            continue
        on_event(Phase("remove", backup.path.name))
        try:
            store.remove(backup)
            removed.append(backup)
        except DbTasksError as exc:
            failed.append(f"{backup.path.name}: {exc.message}")
    return removed, failed


def _sweep_remains(
    settings: Settings, plan: CleanupPlan, identity: Identity, on_event: OnEvent
) -> tuple[list[str], list[str]]:
    return remove_remains(settings, plan.remains, past_restores(settings.backup_dir, identity), on_event)


def _drop_replaced(
    settings: Settings, plan: CleanupPlan, identity: Identity, on_event: OnEvent
) -> tuple[list[str], list[str]]:
    """Drop the databases restores kept, and say so in their records."""
    past = past_restores(settings.backup_dir, identity)
    # looked at anew: a restore or an undo may have come in between
    restores = [restore for restore in _replaced(past) if restore.old in plan.replaced]
    dropped: list[str] = []
    failed: list[str] = []
    if not restores:
        return dropped, failed
    with open_engine(settings, on_event=on_event) as engine:
        for restore in restores:
            name = str(restore.old)
            on_event(Phase("drop", name))
            try:
                engine.drop_replaced(name, system_identifier=restore.system_identifier)
            except DbTasksError as exc:
                failed.append(f"{name}: {exc.message}")
                continue
            dropped.append(name)
            gone = {
                **restore.document,
                "old": None,
                "old_dropped": name,
                "old_dropped_at": utc_now().isoformat(),
            }
            write_restore(settings.backup_dir, restore.id, gone)
    return dropped, failed
