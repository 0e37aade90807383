"""db.cleanup's screens, and what other screens say of what a cleanup removes. Pure, as `screens` is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from .text import age_text, listed, many, size_text, table_lines

if TYPE_CHECKING:
    from ..executors.cleanup import CleanupPlan, CleanupResult, Removals
    from ..executors.restoring.kept import KeptDatabase

__all__ = ["cleanup_lines", "cleanup_plan_lines", "kept_text", "older_lines", "removals_text"]


def cleanup_plan_lines(plan: CleanupPlan, now: datetime, width: int | None) -> list[str]:
    """Lines of a cleanup's plan: every backup with its reason, every database a restore left."""
    replaced = [f"drop    {name}: replaced by a restore" for name in plan.replaced]
    replaced += [f"keep    {staying.database}: {staying.reason}" for staying in plan.staying]
    remains = plan.remains
    replaced += [f"drop    {name}: left over by {remains.left_by[name]}" for name in remains.names]
    left = plan.proofs
    replaced += [f"remove  {name}: left over by {left.left_by[name]}" for name in left.names]
    replaced += [f"remove  {draft}: unfinished, of a killed run" for draft in plan.drafts]
    replaced += [f"keep    {text}" for text in remains.in_use.values()]
    replaced += [f"keep    {text}" for text in left.in_use.values()]
    if remains.why_unknown:
        replaced.append(f"unknown what a killed or failed restore left: {remains.why_unknown}")
    if left.why_unknown:
        replaced.append(f"unknown what a killed proof or migration left: {left.why_unknown}")
    if plan.accepted:
        replaced.append(f"accept  {plan.accepted.id} is normal: {plan.accepted.manifest.anomaly}")
    if plan.suspended:
        replaced.append(f"stop    {plan.suspended}")
    if not plan.retention.decisions:
        return replaced or ["Nothing to clean up: there are no backups."]
    rows = [
        (
            "keep" if d.keep else "remove",
            d.backup.id,
            str(d.backup.manifest.type),
            age_text(d.backup.manifest.started_at, now),
            size_text(d.backup.manifest.size_bytes),
            ", ".join(d.reasons),
        )
        for d in plan.retention.decisions
    ]
    lines = table_lines(
        ("", "id", "type", "when", "size", "because"), rows, right=(4,), drop=(4, 3), width=width
    )
    return [*lines, *replaced]


def removals_text(removals: Removals) -> str:
    """Say how many things a cleanup removes, each kind by its name."""
    return listed(
        [
            many(removals.backups, "backup") if removals.backups else "",
            many(removals.databases, "replaced database") if removals.databases else "",
            many(removals.left_over, "leftover") + " of killed or failed runs" if removals.left_over else "",
            many(removals.drafts, "unfinished backup") + " of killed runs" if removals.drafts else "",
        ]
    )


def kept_text(kept: Sequence[KeptDatabase], *, where: str = "") -> str:
    """Say how many replaced databases there are, how large, and what drops them."""
    known = [one.size_bytes for one in kept if one.size_bytes is not None]
    size = f", {size_text(sum(known))}" if known else ""
    more = " and more" if known and len(known) < len(kept) else ""
    theirs = [one.name for one in kept if not one.recorded]
    text = f"{many(len(kept), 'database')}{size}{more}"
    if len(theirs) < len(kept):
        text += f": db.cleanup drops what no undo needs{where}"
    if theirs:
        text += f"; no record here knows {listed(theirs)}: db.cleanup where it was restored, or DROP DATABASE"
    return text


def older_lines(kept: Sequence[KeptDatabase], *, where: str = "") -> list[str]:
    """Say in a plan that databases which earlier restores replaced pile up."""
    return [f"Older    earlier restores left {kept_text(kept, where=where)}"] if kept else []


def cleanup_lines(result: CleanupResult) -> list[str]:
    """Lines after a cleanup."""
    done = [f"dropped {name}, which a restore had replaced" for name in result.dropped]
    done += [f"removed {name}, which an earlier run had left over" for name in result.swept]
    done += [f"removed {draft}, which a killed run had left unfinished" for draft in result.drafts]
    if result.removed or not done:
        freed = size_text(result.freed_bytes)
        done.insert(0, f"removed {many(len(result.removed), 'backup')}, kept {result.kept}, freed {freed}")
    if result.accepted:
        done.append(f"{result.accepted} counts as normal from now on")
    lines = [f"✓ {done[0]}", *(f"  {line}" for line in done[1:])]
    return [*lines, *(f"✗ {text}" for text in result.failed)]
