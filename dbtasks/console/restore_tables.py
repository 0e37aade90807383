"""The screens of db.restore --table, and the same as JSON objects. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..plans import PartTable, PartWay
from .cleanup import kept_text, older_lines
from .documents import kept_objects, planned_object, restored_object
from .screens import compared_text, consent_lines, safety_line, source_text
from .text import count_text, duration_text, many, table_lines

if TYPE_CHECKING:
    from ..executors.restore_tables import TablesPlan, TablesResult

__all__ = ["tables_document", "tables_lines", "tables_plan_document", "tables_plan_lines"]

TABLES_SHOWN = 20


def tables_plan_lines(plan: TablesPlan, now: datetime) -> list[str]:
    """Lines above the question whether to bring the tables back."""
    part, target = plan.part, plan.target
    label = f"  [{plan.environment}]" if plan.environment else ""
    lines = [
        f"From     {source_text(plan.archive, now)}",
        f"         read whole: {plan.checked}",
        f"Into     {target.name} at {target.address}{label}: only the tables below",
        *consent_lines(plan.consent),
        f"Route    {part.route}: {part.why}",
        *_table_lines(part.tables),
        safety_line(plan, part.saving, "a backup of the whole database"),
    ]
    lines += [f"Step     {i}. {step}" for i, step in enumerate(part.steps, start=1)]
    return [*lines, *older_lines(plan.older)]


def _table_lines(tables: tuple[PartTable, ...]) -> list[str]:
    shown = tables[:TABLES_SHOWN]
    rows = [
        (table.name, count_text(table.backup_rows), count_text(table.live_rows), _what(table))
        for table in shown
    ]
    lines = table_lines(("table", "backup", "live", ""), rows, right=(1, 2))
    lines = [f"{'Rows' if i == 0 else '':<9}{line}" for i, line in enumerate(lines)]
    more = len(tables) - len(shown)
    return [*lines, f"         … and {many(more, 'more table')}"] if more else lines


def _what(table: PartTable) -> str:
    if table.way is PartWay.REPLACE:
        return "its rows are replaced"
    return "is created" if table.way is PartWay.CREATE else "is created beside"


def tables_lines(result: TablesResult) -> list[str]:
    """Lines after a restore of tables."""
    names = list(result.rows)
    what = names[0] if len(names) == 1 else many(len(names), "table")
    checked = compared_text(result.archive, counted=result.checked_against_manifest)
    lines = [
        f"✓ restored {what} into {result.target.name} in {duration_text(result.seconds)}: "
        f"{many(sum(result.rows.values()), 'row')}, {checked}"
    ]
    if result.safety_backup:
        lines.append(f"  safety backup: {result.safety_backup.id}  {result.safety_backup.path}")
    back = result.way_back
    lines.append(f"  {back}" if back.startswith("no way back") else f"  back again: {back}")
    return [*lines, f"  earlier restores left {kept_text(result.older)}"] if result.older else lines


def tables_plan_document(plan: TablesPlan) -> dict[str, Any]:
    """What a restore of tables would do: the fields of a whole one, and the tables."""
    part = plan.part
    return {
        "dry_run": True,
        "plan": {
            **planned_object(plan, part),
            "state": "present",
            "strategy": "tables",
            "route": str(part.route),
            "why": part.why,
            "why_in_place": None,
            "after_load": [],
            "changes": [
                {
                    "table": table.name,
                    "backup_rows": table.backup_rows,
                    "live_rows": table.live_rows,
                    "way": str(table.way),
                }
                for table in part.tables
            ],
            "not_counted": None,
            "drops": [],
            "creates": [],
            "fills": [],
            "stays": [],
            "sessions": [],
            "steps": list(part.steps),
            "schema": None,
            "not_compared": "only the tables above are brought back",
            "migration": None,
        },
    }


def tables_document(result: TablesResult) -> dict[str, Any]:
    """What a restore of tables did: the fields of a whole one, and the tables."""
    return {
        "restore": {
            **restored_object(result),
            "tables": len(result.rows),
            "rows": sum(result.rows.values()),
            "rows_of": dict(result.rows),
            "after_load": [],
            "old": None,
            "older": kept_objects(result.older),
            "sessions_ended": 0,
        }
    }
