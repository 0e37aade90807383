"""db.cleanup: keep the backups few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .backup import parse_type
from .boundary import Call, Outcome, db_task

if TYPE_CHECKING:
    from ..executors.cleanup import CleanupPlan

__all__ = ["cleanup"]


@db_task(
    help={
        "keep": "Newest backups kept per type; none unsets it (default: the setting).",
        "keep_days": "Backups younger than this many days are kept; none unsets it (default: the setting).",
        "type_": "Only backups of this type.",
        "accept": "Take this backup, which has shrunk, for normal: its number, id or latest.",
        "yes": "Go on without asking.",
    }
)
def cleanup(
    call: Call,
    keep: str | None = None,
    keep_days: str | None = None,
    type_: str | None = None,
    accept: str | None = None,
    yes: bool = False,
) -> Outcome:
    """Remove what the retention does not want, with reasons.

    The last verified complete backup, the last one proven by a restore
    (db.verify --restore) and the safety backup of the last restore always
    stay. Files that dbtasks did not make are never touched. A database
    that a restore replaced and kept is dropped, unless it is the only way
    back; so is what a killed restore left half loaded, and what a killed
    proof, comparison of rows or migration left behind. Nothing goes while
    the newest backup has shrunk beyond shrink_limit: a normal one that
    follows, or --accept, ends it.

    Examples:
        invoke db.cleanup --dry-run
        invoke db.cleanup --keep=5 --keep-days=30 --yes
        invoke db.cleanup --accept=k3f9a1 --yes

    Exit codes:
        0  done, also when there was nothing to do
        2  a setting or flag is wrong
        4  no such backup to accept
        6  declined, or nobody there to ask
        7  another run works on this database
        8  some backups could not be removed
    """
    from ..clock import utc_now
    from ..console import documents
    from ..console.cleanup import cleanup_lines, cleanup_plan_lines
    from ..executors.cleanup import cleanup as run
    from ..executors.cleanup import plan_cleanup

    settings = call.settings(keep=keep, keep_days=keep_days)
    chosen = parse_type(type_, safety=True) if type_ else None
    plan = plan_cleanup(settings, type_=chosen, accept=accept)
    lines = cleanup_plan_lines(plan, utc_now(), call.console.width)
    document = documents.cleanup_plan_document(plan, dry_run=call.dry)
    if call.dry or not (plan.going or plan.accepted):
        note = "Nothing was removed (dry run)." if call.dry else "Nothing to remove."
        return Outcome(plan, [*lines, note], document)
    call.console.say(lines)
    if plan.going:
        _confirm(call, plan, yes=yes)
    result = run(settings, plan, on_event=call.console)
    document = {**document, **documents.cleanup_document(result)}
    return Outcome(result, cleanup_lines(result), document, exit_code=0 if result.ok else 8)


def _confirm(call: Call, plan: CleanupPlan, *, yes: bool) -> None:
    from ..console.cleanup import removals_text
    from ..errors import Declined, NeedsConfirmation

    if yes:
        return
    if not call.console.may_ask:
        raise NeedsConfirmation(
            f"{removals_text(plan.removals)} would be removed, and there is no terminal to ask",
            hint="add --yes",
            state="nothing was removed",
        )
    if call.console.ask(f"Remove {removals_text(plan.removals)}? (yes/no)").lower() not in ("y", "yes"):
        raise Declined("declined", state="nothing was removed")
