"""db.adopt's screens, and the same as JSON objects. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .documents import backup_document, moment, target_object
from .text import many, moment_text, size_text

if TYPE_CHECKING:
    from ..executors.adopt import AdoptPlan
    from ..models import Backup, Manifest

__all__ = ["adopt_document", "adopt_lines", "adopt_plan_document", "adopt_plan_lines"]


def adopt_plan_lines(plan: AdoptPlan) -> list[str]:
    """Lines of db.adopt --dry-run."""
    manifest = plan.manifest
    if plan.existing:
        return [_already(plan.existing)]
    made_by = ", ".join(text for text in (manifest.tool_version, _server(manifest)) if text)
    return [
        f"Would adopt {plan.archive.path}  {size_text(manifest.size_bytes)}, as {manifest.type} of {manifest.database}",
        f"  format   {manifest.format}, compression {manifest.compression}{f', by {made_by}' if made_by else ''}",
        f"  made     {moment_text(manifest.started_at)}, by the time of the file",
        f"  checked  {manifest.verified_how}",
        f"  holds    {_holds(manifest)}",
        *_unknown_lines(manifest),
    ]


def adopt_lines(plan: AdoptPlan, made: Backup) -> list[str]:
    """Lines after an adoption."""
    if plan.existing:
        return [_already(made)]
    manifest = made.manifest
    return [
        f"✓ {made.id}  {made.path}  {size_text(manifest.size_bytes)}, a copy of {plan.archive.path}",
        f"  verified: {manifest.verified_how}; {_holds(manifest)}",
        *_unknown_lines(manifest),
        f"  restore: db.restore --file={made.id}",
    ]


def _already(backup: Backup) -> str:
    return f"✓ it is in the list already, as {backup.id}, {backup.manifest.type}: {backup.path}"


def _server(manifest: Manifest) -> str:
    version = manifest.server_version
    return f"from PostgreSQL {version}" if version[:1].isdecimal() else version


def _holds(manifest: Manifest) -> str:
    rows = f"rows not counted: {manifest.not_counted}"
    if manifest.rows is not None:
        rows = many(manifest.rows, "row")
    part = "" if manifest.complete else f"; a part, not in it: {'; '.join(manifest.not_included)}"
    return f"{many(len(manifest.tables), 'table')}, {rows}{part}"


def _unknown_lines(manifest: Manifest) -> list[str]:
    unknown = manifest.adoption.unknown if manifest.adoption else ()
    return [f"  unknown: {text}" for text in unknown]


def adopt_plan_document(plan: AdoptPlan) -> dict[str, Any]:
    """What would be written down."""
    manifest, adoption = plan.manifest, plan.manifest.adoption
    return {
        "dry_run": True,
        "plan": {
            "file": str(plan.archive.path),
            "already": plan.existing.id if plan.existing else None,
            "target": target_object(plan.target),
            "type": str(manifest.type),
            "format": str(manifest.format),
            "compression": str(manifest.compression),
            "size_bytes": manifest.size_bytes,
            "made_at": moment(manifest.started_at),
            "server_version": manifest.server_version,
            "tool_version": manifest.tool_version,
            "checked": manifest.verified_how,
            "complete": manifest.complete,
            "not_included": list(manifest.not_included),
            "tables": [{"table": t.name, "rows": t.rows} for t in manifest.tables],
            "not_counted": manifest.not_counted or None,
            "unknown": list(adoption.unknown) if adoption else [],
        },
    }


def adopt_document(plan: AdoptPlan, made: Backup) -> dict[str, Any]:
    """The backup it became, or was already."""
    return {**backup_document(made), "already": plan.existing is not None}
