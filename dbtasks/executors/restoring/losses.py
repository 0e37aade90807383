"""What an undo would lose: the rows right after the restore, those there are now, and those that come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...settings import Settings
from ..browse import list_backups
from ..restore import RestorePlan
from .history import PastRestore

__all__ = ["UndoneTable", "backup_rows", "changed_tables", "not_counted", "restored_rows"]


@dataclass(frozen=True)
class UndoneTable:
    """One table whose rows are not what they were after the restore, or will not stay. None: not there, or not counted."""

    name: str
    restored_rows: int | None
    """Right after the restore that is taken back."""
    live_rows: int | None
    back_rows: int | None


def restored_rows(settings: Settings, last: PastRestore) -> Mapping[str, int] | None:
    """Return the rows right after the restore: as recorded, else as its backup's manifest counts them; None: nobody knows."""
    if last.rows is not None:
        return last.rows
    if last.document.get("after_load"):
        return None  # the files may have changed every one of them
    found = (b.manifest for b in list_backups(settings).backups if b.id == last.backup)
    manifest = next(found, None)
    return manifest.counts if manifest and not manifest.not_counted else None


def not_counted(plan: RestorePlan) -> str:
    """Say why the live rows, or those of the safety backup, are not known; empty when both are."""
    facts, manifest = plan.load.facts, plan.archive.manifest
    if facts and facts.tables and not plan.load.live_rows and plan.load.warnings:
        return plan.load.warnings[-1]  # the counting comes last
    return manifest.not_counted if manifest else ""


def backup_rows(plan: RestorePlan) -> Mapping[str, int]:
    """Return the rows a backup brings, as its manifest counts them."""
    return plan.archive.manifest.counts if plan.archive.manifest else {}


def changed_tables(
    restored: Mapping[str, int] | None, live: Mapping[str, int], back: Mapping[str, int]
) -> tuple[UndoneTable, ...]:
    """List the tables that were written to since, or that will not have the rows they have now."""
    then = restored or {}
    tables = (UndoneTable(n, then.get(n), live.get(n), back.get(n)) for n in sorted({*then, *live, *back}))
    return tuple(
        t
        for t in tables
        if t.live_rows != t.back_rows or (restored is not None and t.live_rows != t.restored_rows)
    )
