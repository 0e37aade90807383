"""The local store as db.info shows it: what lies in it, how much room there is, whether it can be used."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from ...catalog import Catalog
from ...errors import DbTasksError, StoreUnusable
from ...models import Backup, Manifest, Type
from ...retention import Policy
from ...settings import Settings
from ...stores.files import nearest, why_unusable
from ..browse import list_backups
from ..cleanup import CleanupPlan, Removals, plan_cleanup

__all__ = ["StoreReport", "TypeReport", "report_store"]


@dataclass(frozen=True)
class TypeReport:
    """The backups of one type."""

    type: Type
    backups: int
    size_bytes: int
    newest: Backup


@dataclass(frozen=True)
class StoreReport:
    """The store, as far as it concerns the configured database."""

    path: Path
    backups: int = 0
    size_bytes: int = 0
    newest: Backup | None = None
    """The newest of any type, sound or not."""
    latest: Backup | None = None
    """What `latest` means: the newest sound and complete one, or what stands in for it."""
    types: tuple[TypeReport, ...] = ()
    damaged: tuple[str, ...] = ()
    """Ids of backups that were found damaged."""
    lost: tuple[str, ...] = ()
    """Ids of backups whose archives are missing."""
    told: frozenset[str] = frozenset()
    """Ids of those that the problems name."""
    others: int = 0
    """Backups of other databases."""
    foreign: int = 0
    """Files that are no backups of ours."""
    free_bytes: int | None = None
    policy: str = ""
    """The retention in words."""
    unreadable: tuple[str, ...] = ()
    """Archives whose manifests cannot be read."""
    suspended: str = ""
    """Why the next cleanup removes nothing; empty where it is free to."""
    next_cleanup: Removals | None = None
    """What the next cleanup removes; None where that is not known."""
    problems: tuple[str, ...] = ()


def report_store(settings: Settings) -> StoreReport:
    """Look at the store; one that cannot be read says so among the problems."""
    folder = settings.backup_dir
    problems = [why] if (why := why_unusable(folder)) else []
    try:
        catalog = list_backups(settings)
    except StoreUnusable as exc:
        catalog, problems = Catalog(()), problems or [exc.message]
    backups = catalog.backups
    damaged = tuple(b.id for b in backups if b.manifest.damage)
    latest = next((b for b in backups if b.latest), None)
    useless = _of_no_use(backups, catalog.lost, latest)
    problems += useless.values()
    coming = _next_cleanup(settings)
    return StoreReport(
        path=folder,
        backups=len(backups),
        size_bytes=_size(backups),
        newest=backups[0] if backups else None,
        latest=latest,
        types=_types(backups),
        damaged=damaged,
        lost=tuple(manifest.id for manifest in catalog.lost),
        told=frozenset(useless),
        others=len(catalog.others),
        foreign=len(catalog.foreign),
        unreadable=catalog.unreadable,
        free_bytes=_free(folder),
        policy=str(Policy.of(settings)),
        next_cleanup=coming.removals if coming else None,
        suspended=coming.suspended if coming else "",
        problems=tuple(problems),
    )


def _of_no_use(
    backups: tuple[Backup, ...], lost: tuple[Manifest, ...], latest: Backup | None
) -> dict[str, str]:
    """Say by their ids which damaged or missing ones are a problem; a safety backup stands in for none.

    They are the newest of all and the newest that is no safety backup; where nothing whole and complete
    is left, the newest that was.
    """
    known = [(b.manifest, b.manifest.damage) for b in backups]
    known += [(manifest, f"its archive {manifest.archive} is missing") for manifest in lost]
    known.sort(key=lambda one: one[0].started_at, reverse=True)
    ordinary = [one for one in known if one[0].type is not Type.SAFETY]
    told = {
        manifest.id: f"the newest backup, {manifest.id}, is damaged: {why}"
        for manifest, why in (*known[:1], *ordinary[:1])
        if why
    }
    complete = [one for one in ordinary if one[0].complete and not one[0].foreign]
    if latest is None and complete and not told:
        last, why = complete[0]
        told[last.id] = f"no whole and complete backup is left; the newest, {last.id}, is damaged: {why}"
    return told


def _types(backups: tuple[Backup, ...]) -> tuple[TypeReport, ...]:
    reports = []
    for type_ in Type:
        of_type = tuple(b for b in backups if b.manifest.type is type_)
        if of_type:
            reports.append(TypeReport(type_, len(of_type), _size(of_type), of_type[0]))
    return tuple(reports)


def _next_cleanup(settings: Settings) -> CleanupPlan | None:
    try:
        return plan_cleanup(settings)
    except DbTasksError:
        return None


def _size(backups: tuple[Backup, ...]) -> int:
    return sum(backup.manifest.size_bytes for backup in backups)


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(nearest(folder)).free
    except OSError:
        return None
