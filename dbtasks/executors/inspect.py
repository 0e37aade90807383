"""Inspect: everything worth knowing before a bad day, gathered without changing anything."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..catalog import Catalog
from ..engines import Engine
from ..engines.routes import RouteReport, open_engine, route_reports
from ..errors import DbTasksError, StoreUnusable
from ..events import OnEvent, ignore
from ..models import Backup, DatabaseFacts, Target
from ..plans import DumpRequest, TargetState
from ..settings import Setting, Settings
from .browse import list_backups

__all__ = ["InfoReport", "inspect"]


@dataclass(frozen=True)
class InfoReport:
    """What db.info shows; `problems` is what --check fails on."""

    root: str
    target: Target | None
    state: TargetState | None
    facts: DatabaseFacts | None
    routes: tuple[RouteReport, ...]
    settings: tuple[Setting, ...]
    backup_dir: str
    backups: int
    backups_bytes: int
    newest: Backup | None
    free_bytes: int
    foreign: int
    warnings: tuple[str, ...]
    problems: tuple[str, ...]


def inspect(settings: Settings, *, on_event: OnEvent = ignore) -> InfoReport:
    """Look at the database, the routes to it, the store and the settings.

    Never raises for what is merely wrong with the database or the store: that
    is what it is there to tell.
    """
    state, facts, problems = _database(settings, on_event)
    problems += _store_problems(settings)
    try:
        catalog = list_backups(settings)
    except StoreUnusable as exc:
        catalog = Catalog(())
        problems.append(exc.message)
    return InfoReport(
        root=str(settings.root),
        target=settings.target,
        state=state,
        facts=facts,
        routes=route_reports(settings),
        settings=settings.provenance,
        backup_dir=str(settings.backup_dir),
        backups=len(catalog.backups),
        backups_bytes=sum(b.manifest.size_bytes for b in catalog.backups),
        newest=catalog.backups[0] if catalog.backups else None,
        free_bytes=shutil.disk_usage(_nearest(settings.backup_dir)).free,
        foreign=len(catalog.foreign),
        warnings=(*settings.warnings, *_store_warnings(settings)),
        problems=tuple(problems),
    )


def _database(
    settings: Settings, on_event: OnEvent
) -> tuple[TargetState | None, DatabaseFacts | None, list[str]]:
    try:
        target = settings.require_target()
        with open_engine(settings, target, on_event=on_event) as engine:
            state = engine.state()
            if state in (TargetState.MISSING, TargetState.DAMAGED):
                return state, None, [f"{target.name} is {state}"]
            return state, engine.facts(), _no_backup(engine)
    except DbTasksError as exc:
        return None, None, [_said(exc)]


def _no_backup(engine: Engine) -> list[str]:
    """Say why this way no backup could be made: a tool missing or too old, a right that is not there."""
    try:
        engine.plan_dump(DumpRequest())
    except DbTasksError as exc:
        return [f"no backup can be made: {_said(exc)}"]
    return []


def _said(error: DbTasksError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message


def _store_problems(settings: Settings) -> list[str]:
    folder = settings.backup_dir
    if folder.exists() and not folder.is_dir():
        return [f"backup_dir {folder} is not a folder"]
    nearest = _nearest(folder)
    if not os.access(nearest, os.W_OK | os.X_OK):
        return [f"backup_dir {folder} cannot be written: {nearest} is not writable for this user"]
    return []


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there: where it would be made."""
    return next((place for place in (folder, *folder.parents) if place.exists()), folder)


def _store_warnings(settings: Settings) -> list[str]:
    folder = settings.backup_dir
    if not folder.is_dir():
        return []
    found = []
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        found.append(f"{folder} is open to other users: chmod 700 {folder}")
    if _tracked_by_git(settings):
        found.append(f"git tracks files in {folder}: git rm -r --cached {folder}")
    return found


def _tracked_by_git(settings: Settings) -> bool:
    git = shutil.which("git")
    if git is None:
        return False
    try:
        listed = subprocess.run(
            [git, "-C", str(settings.backup_dir), "ls-files", "--", "."],
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return bool(listed.stdout.strip())
