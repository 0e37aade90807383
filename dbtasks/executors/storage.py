"""The local store as db.info shows it: what lies in it, how much room there is, whether it can be used."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from ..catalog import Catalog
from ..errors import DbTasksError, StoreUnusable
from ..models import Backup, Type
from ..retention import Policy
from ..settings import Settings
from .browse import list_backups
from .cleanup import plan_cleanup

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
    """The newest sound and complete one; what `latest` means."""
    types: tuple[TypeReport, ...] = ()
    damaged: tuple[str, ...] = ()
    """Ids of backups that were found damaged."""
    others: int = 0
    """Backups of other databases."""
    foreign: int = 0
    """Files that are no backups of ours."""
    free_bytes: int | None = None
    policy: str = ""
    """The retention in words."""
    next_cleanup: int | None = None
    """How many backups and replaced databases the next cleanup removes; None where that is not known."""
    problems: tuple[str, ...] = ()


def report_store(settings: Settings) -> StoreReport:
    """Look at the store; one that cannot be read says so among the problems."""
    folder, problems = settings.backup_dir, _unusable(settings.backup_dir)
    try:
        catalog = list_backups(settings)
    except StoreUnusable as exc:
        catalog, problems = Catalog(()), problems or [exc.message]
    backups = catalog.backups
    damaged = tuple(b.id for b in backups if b.manifest.damage)
    latest = next((b for b in backups if b.latest), None)
    if backups and backups[0].manifest.damage:
        problems.append(f"the newest backup, {backups[0].id}, is damaged: {backups[0].manifest.damage}")
    return StoreReport(
        path=folder,
        backups=len(backups),
        size_bytes=_size(backups),
        newest=backups[0] if backups else None,
        latest=latest,
        types=_types(backups),
        damaged=damaged,
        others=len(catalog.others),
        foreign=len(catalog.foreign),
        free_bytes=_free(folder),
        policy=str(Policy.of(settings)),
        next_cleanup=_next_cleanup(settings),
        problems=tuple(problems),
    )


def _types(backups: tuple[Backup, ...]) -> tuple[TypeReport, ...]:
    reports = []
    for type_ in Type:
        of_type = tuple(b for b in backups if b.manifest.type is type_)
        if of_type:
            reports.append(TypeReport(type_, len(of_type), _size(of_type), of_type[0]))
    return tuple(reports)


def _next_cleanup(settings: Settings) -> int | None:
    try:
        return plan_cleanup(settings).going
    except DbTasksError:
        return None


def _size(backups: tuple[Backup, ...]) -> int:
    return sum(backup.manifest.size_bytes for backup in backups)


def _unusable(folder: Path) -> list[str]:
    nearest = _nearest(folder)
    if nearest == folder and not folder.is_dir():
        return [f"backup_dir {folder} is not a folder"]
    if not os.access(nearest, os.W_OK | os.X_OK):
        return [f"backup_dir {folder} cannot be written: {nearest} is not writable for this user"]
    return []


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(_nearest(folder)).free
    except OSError:
        return None


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: where it would be made."""
    return next((place for place in (folder, *folder.parents) if _is_seen(place)), folder)


def _is_seen(place: Path) -> bool:
    # pathlib raises where a folder above may not be entered
    try:
        return place.exists()
    except OSError:
        return False
