"""db.verify's screens, and the same as JSON objects. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .text import duration_text

if TYPE_CHECKING:
    from ..executors.verify import PlannedProof, Verified
    from ..models import Backup

__all__ = ["no_backup_lines", "planned_lines", "verify_document", "verify_lines"]


def no_backup_lines(subset: str | None) -> list[str]:
    """Lines where there is nothing to verify."""
    if subset:
        return [f"No backup of this database belongs to the share {subset}: nothing to verify."]
    return ["There are no backups of this database: nothing to verify."]


def planned_lines(backups: Sequence[Backup], planned: Sequence[PlannedProof]) -> list[str]:
    """Lines of db.verify --dry-run."""
    into = {p.backup.id: p.into for p in planned}
    lines = []
    for backup in backups:
        lines.append(f"Would verify {backup.id}  {backup.path}")
        if backup.id in into:
            lines.append(f"  and restore it into {into[backup.id]}")
    return lines


def verify_lines(results: Sequence[Verified]) -> list[str]:
    """Lines of db.verify."""
    lines = []
    for result in results:
        sign = "✓" if result.ok else "✗"
        lines.append(f"{sign} {result.backup.id}  {result.backup.path.name}  {result.how}")
        if result.restored:
            lines.append(f"  {result.restored.how}, in {duration_text(result.restored.seconds)}")
        if result.state:
            lines.append(f"  state: {result.state}")
    return lines


def verify_document(results: Sequence[Verified]) -> dict[str, Any]:
    """What was read and what was found."""
    return {
        "verified": [
            {
                "id": r.backup.id,
                "path": str(r.backup.path),
                "ok": r.ok,
                "how": r.how,
                "exit_code": r.exit_code,
                "state": r.state,
                "restored": _restored(r),
            }
            for r in results
        ]
    }


def _restored(result: Verified) -> dict[str, Any] | None:
    proved = result.restored
    if proved is None:
        return None
    return {
        "how": proved.how,
        "seconds": round(proved.seconds, 3),
        "tables": proved.tables,
        "rows": proved.rows,
    }
