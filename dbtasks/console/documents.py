"""Results as JSON objects: additive only, sizes in bytes, times RFC 3339 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ..catalog import Catalog
from ..executors.backup import BackupPlan
from ..executors.browse import Shown
from ..executors.cleanup import CleanupPlan, CleanupResult
from ..executors.restore import RestorePlan, RestoreResult
from ..executors.verify import Verified
from ..journal import RunRecord
from ..manifest import manifest_document
from ..models import Backup, ForeignFile, Target

__all__ = [
    "backup_document",
    "backup_plan_document",
    "cleanup_document",
    "cleanup_plan_document",
    "list_document",
    "log_document",
    "moment",
    "restore_document",
    "restore_plan_document",
    "show_document",
    "target_object",
    "verify_document",
]


def moment(at: datetime) -> str:
    """Return a time as documents spell it: RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def target_object(target: Target | None) -> dict[str, Any] | None:
    """Return which database it is."""
    if target is None:
        return None
    return {"engine": str(target.engine), "server": target.identity.server, "name": target.name}


def backup_document(backup: Backup) -> dict[str, Any]:
    """One backup: its manifest, where it lies, its place in the list."""
    return {
        "backup": {
            **manifest_document(backup.manifest),
            "path": str(backup.path),
            "number": backup.number,
            "latest": backup.latest,
        }
    }


def backup_plan_document(plan: BackupPlan) -> dict[str, Any]:
    """What a backup would do."""
    dump = plan.dump
    return {
        "dry_run": True,
        "plan": {
            "target": target_object(plan.target),
            "type": str(plan.type),
            "format": str(dump.format),
            "compression": str(dump.compression),
            "route": str(dump.route),
            "why": dump.why,
            "complete": dump.complete,
            "not_included": list(dump.not_included),
            "tables": list(dump.tables),
            "tables_without_data": list(dump.tables_without_data),
            "tool_version": dump.tool_version,
            "folder": str(plan.archive.parent),
        },
    }


def list_document(catalog: Catalog, *, everything: bool) -> dict[str, Any]:
    """The list; with --all also other databases' backups and foreign files."""
    document: dict[str, Any] = {
        "backups": [backup_document(b)["backup"] for b in catalog.backups],
        "namesakes": len(catalog.namesakes),
    }
    if everything:
        document["others"] = [backup_document(b)["backup"] for b in catalog.others]
        document["foreign"] = [_foreign(f) for f in catalog.foreign]
    return document


def _foreign(file: ForeignFile) -> dict[str, Any]:
    return {
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "modified_at": moment(file.modified_at),
        "why": file.why,
    }


def show_document(shown: Shown) -> dict[str, Any]:
    """One backup and the commands that restore it by hand."""
    return {
        **backup_document(shown.backup),
        "by_hand": list(shown.by_hand),
        "by_hand_inside": list(shown.by_hand_inside),
    }


def verify_document(results: Sequence[Verified]) -> dict[str, Any]:
    """What was read and what was found."""
    return {
        "verified": [
            {"id": r.backup.id, "path": str(r.backup.path), "ok": r.ok, "how": r.how} for r in results
        ]
    }


def cleanup_plan_document(plan: CleanupPlan, *, dry_run: bool) -> dict[str, Any]:
    """What a cleanup keeps and removes, with reasons."""
    return {
        "dry_run": dry_run,
        "decisions": [
            {
                "id": d.backup.id,
                "type": str(d.backup.manifest.type),
                "path": str(d.backup.path),
                "keep": d.keep,
                "reasons": list(d.reasons),
            }
            for d in plan.retention.decisions
        ],
        "replaced": list(plan.replaced),
    }


def cleanup_document(result: CleanupResult) -> dict[str, Any]:
    """What a cleanup did."""
    return {
        "removed": [{"id": b.id, "path": str(b.path)} for b in result.removed],
        "kept": result.kept,
        "freed_bytes": result.freed_bytes,
        "dropped": list(result.dropped),
        "failed": list(result.failed),
    }


def restore_plan_document(plan: RestorePlan) -> dict[str, Any]:
    """What a restore would do."""
    load, manifest = plan.load, plan.archive.manifest
    return {
        "dry_run": True,
        "plan": {
            "backup": manifest.id if manifest else None,
            "archive": str(plan.archive.path),
            "checked": plan.checked,
            "target": target_object(plan.target),
            "environment": plan.environment,
            "state": str(load.state),
            "strategy": str(load.strategy),
            "route": str(load.route),
            "why": load.why,
            "safety_backup": plan.safety,
            "why_no_safety_backup": plan.why_no_safety or None,
            "confirm": plan.consent.name,
            "protected": plan.consent.protected,
            "changes": [
                {"table": c.name, "backup_rows": c.backup_rows, "live_rows": c.live_rows}
                for c in plan.changes
            ],
            "drops": list(load.drops),
            "sessions": list(load.sessions),
            "steps": list(load.steps),
        },
    }


def restore_document(result: RestoreResult) -> dict[str, Any]:
    """What a restore did and how to go back."""
    manifest = result.archive.manifest
    return {
        "restore": {
            "id": result.id,
            "backup": manifest.id if manifest else None,
            "archive": str(result.archive.path),
            "target": target_object(result.target),
            "tables": result.tables,
            "rows": result.rows,
            "counts_checked": result.checked_against_manifest,
            "safety_backup": result.safety_backup.id if result.safety_backup else None,
            "old": result.old,
            "way_back": result.way_back,
            "sessions_ended": result.sessions_ended,
            "seconds": round(result.seconds, 3),
        }
    }


def log_document(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """What ran, newest first."""
    return {
        "runs": [
            {
                "task": r.task,
                "at": moment(r.started_at),
                "seconds": r.seconds,
                "ok": r.ok,
                "exit_code": r.exit_code,
                "database": r.database,
                "backup": r.backup,
                "size_bytes": r.size_bytes,
                "message": r.message,
            }
            for r in runs
        ]
    }
