"""db.verify and db.cleanup: keep the backups trustworthy and few."""

from __future__ import annotations

from .backup import parse_type
from .boundary import Call, Outcome, db_task

__all__ = ["cleanup", "verify"]


@db_task(
    help={
        "file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: latest).",
        "all_": "Every backup of this database.",
    }
)
def verify(call: Call, file: str | None = None, all_: bool = False) -> Outcome:
    """Read a backup again to its end, checksum and all.

    The outcome is written into the manifest. A damaged backup stays where it
    is and counts for nothing from then on.

    Examples:
        invoke db.verify
        invoke db.verify --all --json

    Exit codes:
        0  whole
        2  a setting or flag is wrong
        3  the tool that reads this format is missing
        4  no such backup
        5  damaged
    """
    from ..console import documents, screens
    from ..errors import UsageError
    from ..executors.browse import find, list_backups, prove_known
    from ..executors.verify import verify as run

    if all_ and file:
        raise UsageError("--all and --file exclude each other")
    settings = call.settings()
    if all_:
        prove_known(settings)
    backups = list_backups(settings).backups if all_ else (find(settings, file or "latest"),)
    if call.dry:
        lines = [f"Would verify {b.id}  {b.path}" for b in backups]
        return Outcome(backups, lines, {"dry_run": True, "would_verify": [b.id for b in backups]})
    results = run(settings, backups, on_event=call.console)
    code = 0 if all(r.ok for r in results) else 5
    return Outcome(results, screens.verify_lines(results), documents.verify_document(results), exit_code=code)


@db_task(
    help={
        "keep": "Newest backups kept per type; none unsets it (default: the setting).",
        "keep_days": "Backups younger than this many days are kept; none unsets it (default: the setting).",
        "type_": "Only backups of this type.",
        "yes": "Go on without asking.",
    }
)
def cleanup(
    call: Call,
    keep: str | None = None,
    keep_days: str | None = None,
    type_: str | None = None,
    yes: bool = False,
) -> Outcome:
    """Remove what the retention does not want, with reasons.

    Pinned backups, the last verified complete one and the safety backup of
    the last restore always stay. Files that dbtasks did not make are never
    touched. A database that a restore replaced and kept is dropped.

    Examples:
        invoke db.cleanup --dry-run
        invoke db.cleanup --keep=5 --keep-days=30 --yes

    Exit codes:
        0  done, also when there was nothing to do
        2  a setting or flag is wrong
        6  declined, or nobody there to ask
        7  another run works on this database
        8  some backups could not be removed
    """
    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.cleanup import cleanup as run
    from ..executors.cleanup import plan_cleanup

    settings = call.settings(keep=keep, keep_days=keep_days)
    plan = plan_cleanup(settings, type_=parse_type(type_, safety=True) if type_ else None)
    lines = screens.cleanup_plan_lines(plan, utc_now(), call.console.width)
    document = documents.cleanup_plan_document(plan, dry_run=call.dry)
    if call.dry or not plan.going:
        note = "Nothing was removed (dry run)." if call.dry else "Nothing to remove."
        return Outcome(plan, [*lines, note], document)
    call.console.say(lines)
    _confirm(call, plan.going, yes=yes)
    result = run(settings, plan, on_event=call.console)
    document = {**document, **documents.cleanup_document(result)}
    return Outcome(result, screens.cleanup_lines(result), document, exit_code=0 if result.ok else 8)


def _confirm(call: Call, count: int, *, yes: bool) -> None:
    from ..console.text import many
    from ..errors import Declined, NeedsConfirmation

    if yes:
        return
    if not call.console.may_ask:
        raise NeedsConfirmation(
            f"{many(count, 'thing')} would be removed, and there is no terminal to ask",
            hint="add --yes",
            state="nothing was removed",
        )
    if call.console.ask(f"Remove what is marked ({count})? (yes/no)").lower() not in ("y", "yes"):
        raise Declined("declined", state="nothing was removed")
