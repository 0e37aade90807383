"""Clean up: apply the retention plan, manifest first, never below the floor."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import DbTasksError
from ..journal import read_restores
from ..models import Backup, Clock, Identity, OnEvent, Phase, Type, ignore, utc_now
from ..retention import Policy, RetentionPlan, plan_retention
from ..settings import Settings
from ..stores.local import LocalStore
from .backup import writing_run
from .browse import list_backups

__all__ = ["CleanupResult", "cleanup", "plan_cleanup", "policy_of"]


@dataclass(frozen=True)
class CleanupResult:
    """What a cleanup did."""

    removed: tuple[Backup, ...]
    kept: int
    freed_bytes: int
    failed: tuple[str, ...] = ()
    """Backups that could not be removed, with the reason; the rest was done."""

    @property
    def ok(self) -> bool:
        """Whether everything planned was removed."""
        return not self.failed


def policy_of(settings: Settings) -> Policy:
    """Return the retention policy of the settings."""
    return Policy(
        keep=settings.keep,
        keep_days=settings.keep_days,
        keep_daily=settings.keep_daily,
        keep_weekly=settings.keep_weekly,
        keep_monthly=settings.keep_monthly,
        min_keep=settings.min_keep,
    )


def plan_cleanup(
    settings: Settings, *, policy: Policy | None = None, type_: Type | None = None, now: Clock = utc_now
) -> RetentionPlan:
    """Decide what goes and why; reads the list, removes nothing."""
    target = settings.require_target()
    sound = [b for b in list_backups(settings).backups if not b.manifest.damage]
    protected = _needed_by_restores(settings, target.identity)
    # all types are decided on together: the last complete backup may be of another type
    plan = plan_retention(sound, policy or policy_of(settings), now(), protected=protected)
    if type_ is None:
        return plan
    return replace(plan, decisions=tuple(d for d in plan.decisions if d.backup.manifest.type is type_))


def _needed_by_restores(settings: Settings, identity: Identity) -> dict[str, str]:
    """Name the safety backup of the last restore: it is the way back."""
    for record in read_restores(settings.backup_dir):
        if record.get("database") == str(identity) and record.get("safety_backup"):
            return {str(record["safety_backup"]): "safety backup of the last restore"}
    return {}


def cleanup(settings: Settings, plan: RetentionPlan, *, on_event: OnEvent = ignore) -> CleanupResult:
    """Remove what the plan says.

    One backup that cannot be removed does not stop the others; killed half-way,
    the next run finishes it.

    Raises:
        Busy: another run works on this database.
    """
    target = settings.require_target()
    store = LocalStore(settings.backup_dir)
    removed, failed = [], []
    with writing_run(settings, "cleanup", target) as run:
        listed = {b.id: b for b in list_backups(settings).backups}
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
        freed = sum(b.manifest.size_bytes for b in removed)
        run.note(removed=len(removed), freed_bytes=freed)
        if failed:
            run.note(ok=False, exit_code=8, message="; ".join(failed))
    kept = sum(decision.keep for decision in plan.decisions)
    return CleanupResult(tuple(removed), kept, freed, tuple(failed))
