"""Results as JSON objects: additive only, sizes in bytes, times RFC 3339 UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..manifest import manifest_document
from .drift import drift_document

if TYPE_CHECKING:
    from ..catalog import Catalog
    from ..executors.backup import BackupPlan
    from ..executors.browse import Shown
    from ..executors.cleanup import CleanupPlan, CleanupResult
    from ..executors.restore import RestorePlan, RestoreResult
    from ..executors.restore_tables import TablesPlan, TablesResult
    from ..executors.restoring.kept import KeptDatabase
    from ..guards import Consent
    from ..journal import RunRecord
    from ..models import Archive, Backup, ForeignFile, Target
    from ..plans import LoadPlan, PartPlan

__all__ = [
    "backup_document",
    "backup_plan_document",
    "cleanup_document",
    "cleanup_plan_document",
    "consent_object",
    "kept_objects",
    "list_document",
    "log_document",
    "moment",
    "planned_object",
    "restore_document",
    "restore_plan_document",
    "restored_object",
    "show_document",
    "target_object",
]


def moment(at: datetime) -> str:
    """Return a time as documents spell it: RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def target_object(target: Target | None) -> dict[str, Any] | None:
    """Return which database it is."""
    if target is None:
        return None
    return {"engine": str(target.engine), "server": target.identity.server, "name": target.name}


def consent_object(consent: Consent) -> dict[str, Any]:
    """What it takes to agree to a plan."""
    return {
        "confirm": consent.name,
        "protected": consent.protected,
        "why_protected": consent.reason or None,
    }


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
        "about_latest": catalog.about_latest or None,
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
        "staying": [{"database": s.database, "reason": s.reason} for s in plan.staying],
        "left_over": [*plan.remains.names, *plan.proofs.names],
        "unfinished": [str(draft) for draft in plan.drafts],
        "left_in_use": [
            {"name": name, "reason": why}
            for name, why in {**plan.remains.in_use, **plan.proofs.in_use}.items()
        ],
        "why_left_over_unknown": plan.remains.why_unknown or plan.proofs.why_unknown or None,
        "suspended": plan.suspended or None,
        "accepted": plan.accepted.id if plan.accepted else None,
    }


def cleanup_document(result: CleanupResult) -> dict[str, Any]:
    """What a cleanup did."""
    return {
        "removed": [{"id": b.id, "path": str(b.path)} for b in result.removed],
        "kept": result.kept,
        "freed_bytes": result.freed_bytes,
        "dropped": list(result.dropped),
        "swept": list(result.swept),
        "unfinished_removed": [str(draft) for draft in result.drafts],
        "accepted": result.accepted,
        "failed": list(result.failed),
    }


def kept_objects(kept: Sequence[KeptDatabase]) -> list[dict[str, Any]]:
    """The databases that restores replaced and that are still there."""
    return [{"name": one.name, "size_bytes": one.size_bytes, "recorded": one.recorded} for one in kept]


def restore_plan_document(plan: RestorePlan) -> dict[str, Any]:
    """What a restore would do."""
    load = plan.load
    return {
        "dry_run": True,
        "plan": {
            **planned_object(plan, load),
            "state": str(load.state),
            "strategy": str(load.strategy),
            "route": str(load.route),
            "why": load.why,
            "why_in_place": load.why_in_place or None,
            "after_load": [str(file) for file in load.request.after_load or ()],
            "changes": [
                {"table": c.name, "backup_rows": c.backup_rows, "live_rows": c.live_rows}
                for c in plan.changes
            ],
            "not_counted": plan.not_counted or None,
            "drops": list(load.drops),
            "creates": list(load.creates),
            "fills": list(load.fills),
            "schema_command": load.schema_command or None,
            "stays": list(load.stays),
            "sessions": list(load.sessions),
            "steps": list(load.steps),
            **drift_document(plan.drift),
        },
    }


def planned_object(plan: RestorePlan | TablesPlan, load: LoadPlan | PartPlan) -> dict[str, Any]:
    """What every plan of a restore says, be it of the whole or of some tables."""
    manifest = plan.archive.manifest
    return {
        "backup": manifest.id if manifest else None,
        "archive": str(plan.archive.path),
        "checked": plan.checked,
        "target": target_object(plan.target),
        "from": _origin_object(plan.archive),
        "environment": plan.environment,
        "elsewhere": list(plan.elsewhere),
        "safety_backup": plan.safety,
        "safety_route": str(load.saving.route if load.saving else load.route) if plan.safety else None,
        "why_no_safety_backup": plan.why_no_safety or None,
        **consent_object(plan.consent),
        "older": kept_objects(plan.older),
    }


def _origin_object(archive: Archive) -> dict[str, Any] | None:
    """Where a backup comes from; None where nobody knows: a file that others made, adopted or not."""
    manifest = archive.manifest
    if manifest is None or manifest.foreign:
        return None
    database = manifest.database
    return {
        "engine": str(database.engine),
        "server": database.server,
        "name": database.name,
        "environment": manifest.environment,
    }


def restore_document(result: RestoreResult) -> dict[str, Any]:
    """What a restore did and how to go back."""
    return {
        "restore": {
            **restored_object(result),
            "tables": result.tables,
            "rows": result.rows,
            "after_load": [str(file) for file in result.after_load],
            "old": result.old,
            "older": kept_objects(result.older),
            "sessions_ended": result.sessions_ended,
        }
    }


def restored_object(result: RestoreResult | TablesResult) -> dict[str, Any]:
    """What every restore says of itself, be it of the whole or of some tables."""
    manifest = result.archive.manifest
    return {
        "id": result.id,
        "backup": manifest.id if manifest else None,
        "archive": str(result.archive.path),
        "target": target_object(result.target),
        "counts_checked": result.checked_against_manifest,
        "safety_backup": result.safety_backup.id if result.safety_backup else None,
        "way_back": result.way_back,
        "seconds": round(result.seconds, 3),
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
                "source": r.source,
                "backup": r.backup,
                "size_bytes": r.size_bytes,
                "message": r.message,
            }
            for r in runs
        ]
    }
