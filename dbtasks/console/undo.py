"""db.undo's screens, and the same as JSON objects. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .cleanup import older_lines
from .documents import consent_object, kept_objects, moment, target_object
from .screens import consent_lines
from .text import age_text, count_text, duration_text, many, moment_text, table_lines

if TYPE_CHECKING:
    from ..executors.restoring.history import PastRestore
    from ..executors.restoring.losses import UndoneTable
    from ..executors.undo import UndoPlan, UndoResult

__all__ = ["undo_document", "undo_lines", "undo_plan_document", "undo_plan_lines"]

CHANGES_SHOWN = 20
HEADER = ("table", "restored", "now", "since", "comes back", "")
BLIND = "counting does not see rows that were changed in place"


def undo_plan_lines(plan: UndoPlan, now: datetime) -> list[str]:
    """Lines above the question whether to undo."""
    last = plan.last
    label = f"  [{plan.environment}]" if plan.environment else ""
    when = f", {age_text(last.started_at, now)} ({moment_text(last.started_at)})" if last.started_at else ""
    lines = [
        f"Undo     the {last.kind} {last.id}{when}{_source(last)}",
        f"Of       {plan.target.name} at {plan.target.address}{label}",
        *consent_lines(plan.consent),
        f"Way      {plan.way}: {plan.why}",
    ]
    if plan.restoring and (saved := _loaded_from(plan)):
        lines.append(f"Back to  {saved}, read whole: {plan.restoring.checked}")
    lines += _change_lines(plan)
    lines.append(f"Kept     what {plan.target.name} holds now, as {plan.replaced_is_kept}")
    lines += [f"Step     {i}. {step}" for i, step in enumerate(plan.steps, start=1)]
    lines += [f"Session  {session}" for session in plan.sessions]
    return [*lines, *older_lines(plan.older)]


def _loaded_from(plan: UndoPlan) -> str | None:
    """Return the safety backup that is loaded; None where nothing is."""
    loads = plan.restoring is not None and not plan.restoring.load.request.takes_away
    return plan.last.safety_backup if loads else None


def _source(last: PastRestore) -> str:
    if not last.brings:
        return ", which took tables away"
    if last.backup:
        return f", from backup {last.backup}"
    return f", from {last.archive}" if last.archive else ""


def _change_lines(plan: UndoPlan) -> list[str]:
    lost = f"what was written since the {plan.last.kind} would be lost"
    if not plan.certain:
        lost = (
            f"whether the rows now are what the {plan.last.kind} made, or what was there before, is not known"
        )
    if plan.not_counted:
        return [f"Rows     not counted, {plan.not_counted}", f"         {lost}"]
    if not plan.changes:
        return [f"Rows     the same count in every table; {BLIND}"]
    table = table_lines(HEADER, [_row(t) for t in plan.changes[:CHANGES_SHOWN]], right=(1, 2, 3, 4))
    lines = [f"{'Rows' if i == 0 else '':<9}{line}" for i, line in enumerate(table)]
    if len(plan.changes) > CHANGES_SHOWN:
        lines.append(f"         … and {many(len(plan.changes) - CHANGES_SHOWN, 'more table')}")
    return [*lines, f"         {lost}; {BLIND}"]


def _row(table: UndoneTable) -> tuple[str, str, str, str, str, str]:
    then, live, back = table.restored_rows, table.live_rows, table.back_rows
    since = f"{live - then:+,}" if live is not None and then is not None else ""
    what = "comes back" if live is None else "will be gone" if back is None else ""
    return table.name, count_text(then), count_text(live), since, count_text(back), what


def undo_lines(result: UndoResult) -> list[str]:
    """Lines after an undo."""
    undone, gone = result.undone, len(result.taken_away)
    came = f"{many(result.tables, 'table')}, {many(result.rows, 'row')}"
    lines = [
        f"✓ took back the {undone.kind} {undone.id} of {result.target.name} by {result.way} in "
        f"{duration_text(result.seconds)}: {many(gone, 'table') + ' gone' if gone else came}"
    ]
    if result.sessions_ended:
        lines.append(f"  ended {many(result.sessions_ended, 'other session')}")
    if result.old:
        until = "the next cleanup" if result.safety_backup else "a later restore or undo"
        lines.append(f"  what it held until now is kept as {result.old}, until {until}")
    if result.safety_backup:
        lines.append(f"  safety backup: {result.safety_backup.id}  {result.safety_backup.path}")
    back = result.way_back
    return [*lines, f"  back again: {back}" if back.startswith("db.") else f"  {back}"]


def undo_plan_document(plan: UndoPlan) -> dict[str, Any]:
    """What an undo would do."""
    return {
        "dry_run": True,
        "plan": {
            "undoes": _past(plan.last),
            "way": str(plan.way),
            "why": plan.why,
            "target": target_object(plan.target),
            "environment": plan.environment,
            "kept": plan.exchange.kept if plan.exchange else None,
            "safety_backup": _loaded_from(plan),
            **consent_object(plan.consent),
            "changes": [
                {
                    "table": t.name,
                    "restored_rows": t.restored_rows,
                    "live_rows": t.live_rows,
                    "back_rows": t.back_rows,
                }
                for t in plan.changes
            ],
            "not_counted": plan.not_counted or None,
            "certain": plan.certain,
            "replaced_is_kept": plan.replaced_is_kept,
            "sessions": list(plan.sessions),
            "steps": list(plan.steps),
            "older": kept_objects(plan.older),
        },
    }


def undo_document(result: UndoResult) -> dict[str, Any]:
    """What an undo did and how to go back."""
    return {
        "undo": {
            "id": result.id,
            "undone": _past(result.undone),
            "way": str(result.way),
            "target": target_object(result.target),
            "tables": result.tables,
            "rows": result.rows,
            "taken_away": list(result.taken_away),
            "safety_backup": result.safety_backup.id if result.safety_backup else None,
            "old": result.old,
            "way_back": result.way_back,
            "sessions_ended": result.sessions_ended,
            "seconds": round(result.seconds, 3),
        }
    }


def _past(past: PastRestore) -> dict[str, Any]:
    return {
        "id": past.id,
        "kind": past.kind,
        "at": moment(past.started_at) if past.started_at else None,
        "backup": past.backup if past.brings else None,
    }
