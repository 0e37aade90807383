"""db.undo."""

from __future__ import annotations

from .boundary import Call, Outcome, db_task
from .consent import agree, now_unknown, prove_name

__all__ = ["undo"]


@db_task(
    help={
        "yes": "Go on without asking; consents to ending other sessions. Not enough for a protected target.",
        "confirm": "The target's name: the same as typing it.",
    },
    untouched="nothing was touched",
)
def undo(call: Call, yes: bool = False, confirm: str | None = None) -> Outcome:
    """Take back the last restore.

    PostgreSQL's replaced database gets its name back, in a second, while it
    is still there; otherwise the safety backup is restored, or tables that
    a rows backup made where none were are taken away. The plan shows what
    was written since and would be lost. What is replaced is kept, so that an
    undo can itself be taken back, by db.undo again.

    Examples:
        invoke db.undo
        invoke db.undo --dry-run
        invoke db.undo --yes

    Exit codes:
        0  taken back
        2  a setting or flag is wrong
        3  the database, a tool or a right is missing
        4  nothing to undo, or no way back was kept
        5  the safety backup is damaged, or counts differ after the load
        6  declined, not confirmed, protected, or the database has changed hands
        7  another run works on this database, or it stayed in use
        9  it broke off; the live database is as it was
        130  interrupted; the message says what the database holds
    """
    from ..clock import utc_now
    from ..console.undo import undo_document, undo_lines, undo_plan_document, undo_plan_lines
    from ..executors.undo import plan_undo
    from ..executors.undo import undo as run

    settings = call.settings()
    plan = plan_undo(settings, dry_run=call.dry, on_event=call.console)
    for text in plan.warnings:
        call.console.warn(text)
    prove_name(plan.target, plan.consent, confirm)
    lines = undo_plan_lines(plan, utc_now())
    if call.dry:
        return Outcome(plan, [*lines, "Nothing was touched (dry run)."], undo_plan_document(plan))
    call.console.say(lines)
    agree(call, plan.target, plan.consent, yes=yes, confirm=confirm, instead="or only look with --dry-run")
    result = run(settings, plan, on_event=call.begins(now_unknown(settings, plan.target)))
    return Outcome(result, undo_lines(result), undo_document(result))
