"""db.restore --table: the same task, for single tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .boundary import Call, Outcome
from .consent import agree, now_unknown, prove_name

__all__ = ["refuse_beside_table", "restore_chosen"]

REPLACING = {
    "does": "replaces rows in",
    "instead": "or bring the table in beside the live one with --as=NAME",
}
REPLACING_SEVERAL = {
    "does": "replaces rows in",
    "instead": "or bring one --table at a time in beside the live one with --as=NAME",
}
ADDING = {"does": "adds a table to", "instead": ""}


def refuse_beside_table(tables: list[str] | None, whole: Mapping[str, object]) -> None:
    """Refuse flags that are about whole databases, and --as without a table.

    Raises:
        UsageError: one of them was given.
    """
    from ..errors import UsageError

    if not tables:
        raise UsageError("--as names a copy of one table: give exactly one --table")
    for flag, given in whole.items():
        if given:
            raise UsageError(
                f"{flag} and --table do not go together: a table comes back inside the live database",
                hint="leave one of them out; --as=NAME brings "
                + ("the table" if len(tables) == 1 else "one --table at a time")
                + " in beside the live one",
            )


def restore_chosen(
    call: Call, settings: Any, flags: Mapping[str, Any], *, yes: bool, confirm: str | None
) -> Outcome:
    """Plan, show, ask and restore the tables that `flags` name."""
    from ..clock import utc_now
    from ..console import restore_tables as shown
    from ..executors.restore_tables import TablesJob, plan_restore_tables, restore_tables

    job = TablesJob(dry_run=call.dry, **flags)
    plan = plan_restore_tables(settings, job, on_event=call.console)
    for text in plan.warnings:
        call.console.warn(text)
    prove_name(plan.target, plan.consent, confirm)
    lines = shown.tables_plan_lines(plan, utc_now())
    if call.dry:
        return Outcome(plan, [*lines, "Nothing was touched (dry run)."], shown.tables_plan_document(plan))
    call.console.say(lines)
    if plan.overwrites or plan.consent.protected or confirm is not None:
        replacing = REPLACING if len(plan.job.tables) == 1 else REPLACING_SEVERAL
        words = replacing if plan.overwrites else ADDING
        agree(call, plan.target, plan.consent, yes=yes, confirm=confirm, **words)
    result = restore_tables(settings, plan, on_event=call.begins(now_unknown(settings, plan.target)))
    return Outcome(result, shown.tables_lines(result), shown.tables_document(result))
