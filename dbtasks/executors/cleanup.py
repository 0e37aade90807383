"""Clean up: apply the retention plan, manifest first, never below the floor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..clock import Clock, utc_now
from ..engines.routes import open_engine
from ..errors import DbTasksError
from ..events import OnEvent, Phase, ignore
from ..journal import read_restores, write_restore
from ..models import Backup, Identity, Type
from ..plans import LoadStrategy
from ..retention import Policy, RetentionPlan, plan_retention
from ..settings import Settings
from ..stores.local import LocalStore
from .backup import writing_run
from .browse import list_backups

__all__ = ["CleanupPlan", "CleanupResult", "cleanup", "plan_cleanup"]


@dataclass(frozen=True)
class CleanupPlan:
    """What a cleanup will do; made by reading only."""

    retention: RetentionPlan
    replaced: tuple[str, ...] = ()
    """Databases that restores replaced and kept; a cleanup drops them."""

    @property
    def going(self) -> int:
        """How many things will be removed."""
        return sum(not decision.keep for decision in self.retention.decisions) + len(self.replaced)


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

    @property
    def ok(self) -> bool:
        """Whether everything planned was removed."""
        return not self.failed


def plan_cleanup(
    settings: Settings, *, policy: Policy | None = None, type_: Type | None = None, now: Clock = utc_now
) -> CleanupPlan:
    """Decide what goes and why; reads the list and the restore records, removes nothing."""
    target = settings.require_target()
    sound = [b for b in list_backups(settings).backups if not b.manifest.damage]
    protected = _needed_by_restores(settings, target.identity)
    # all types are decided on together: the last complete backup may be of another type
    plan = plan_retention(sound, policy or Policy.of(settings), now(), protected=protected)
    if type_ is not None:
        chosen = tuple(d for d in plan.decisions if d.backup.manifest.type is type_)
        return CleanupPlan(replace(plan, decisions=chosen))
    return CleanupPlan(plan, tuple(str(record["old"]) for record in _replaced(settings, target.identity)))


def _replaced(settings: Settings, identity: Identity) -> list[dict[str, Any]]:
    """Return the records of restores that kept the former database; one moved aside as files stays for good.

    Only those of this very database: what a restore --into another one kept
    goes when a cleanup runs with that other one configured.
    """
    return [
        record
        for record in read_restores(settings.backup_dir)
        if record.get("database") == str(identity)
        and record.get("name") == identity.name
        and record.get("strategy") == LoadStrategy.SWAP
        and record.get("old")
    ]


def _needed_by_restores(settings: Settings, identity: Identity) -> dict[str, str]:
    """Name the safety backup of the last restore: it is the way back."""
    for record in read_restores(settings.backup_dir):
        if str(record.get("state")).startswith("failed"):
            continue  # it changed nothing: the restore before it is still the one to go back behind
        if record.get("database") == str(identity) and record.get("safety_backup"):
            return {str(record["safety_backup"]): "safety backup of the last restore"}
    return {}


def cleanup(settings: Settings, plan: CleanupPlan, *, on_event: OnEvent = ignore) -> CleanupResult:
    """Remove what the plan says.

    One thing that cannot be removed does not stop the others; killed half-way,
    the next run finishes it.

    Raises:
        Busy: another run works on this database.
    """
    target = settings.require_target()
    with writing_run(settings, "cleanup", target) as run:
        removed, failed = _remove(settings, plan.retention, on_event)
        dropped, not_dropped = _drop_replaced(settings, plan, target.identity, on_event)
        failed += not_dropped
        freed = sum(b.manifest.size_bytes for b in removed)
        run.note(removed=len(removed), freed_bytes=freed, dropped=dropped)
        if failed:
            run.note(ok=False, exit_code=8, message="; ".join(failed))
    kept = sum(decision.keep for decision in plan.retention.decisions)
    return CleanupResult(tuple(removed), kept, freed, tuple(failed), tuple(dropped))


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


def _drop_replaced(
    settings: Settings, plan: CleanupPlan, identity: Identity, on_event: OnEvent
) -> tuple[list[str], list[str]]:
    """Drop the databases restores kept, and say so in their records."""
    records = [r for r in _replaced(settings, identity) if r["old"] in plan.replaced]
    dropped: list[str] = []
    failed: list[str] = []
    if not records:
        return dropped, failed
    with open_engine(settings, on_event=on_event) as engine:
        for record in records:
            name = str(record["old"])
            on_event(Phase("drop", name))
            try:
                engine.drop_replaced(name, system_identifier=str(record.get("system_identifier") or ""))
            except DbTasksError as exc:
                failed.append(f"{name}: {exc.message}")
                continue
            dropped.append(name)
            gone = {**record, "old": None, "old_dropped": name, "old_dropped_at": utc_now().isoformat()}
            write_restore(settings.backup_dir, str(record["id"]), gone)
    return dropped, failed
