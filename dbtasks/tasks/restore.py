"""db.restore."""

from __future__ import annotations

from typing import Any

from .boundary import Call, Outcome, db_task

__all__ = ["restore"]


@db_task(
    help={
        "file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: list and ask).",
        "into": "Another database of the same server, or another SQLite file (default: the configured one).",
        "via": "The way to PostgreSQL (default: the setting, else auto).",
        "wait": "Seconds to wait for a database that is starting (default: the setting).",
        "in_place": "Drop and load inside the live database, in one transaction, instead of beside it.",
        "drop_old": "Drop the replaced database at once instead of keeping it (default: the setting).",
        "no_owner": "Everything will belong to the connecting role.",
        "role": "Load as this role.",
        "skip_safety_backup": "Do not back up the present state first.",
        "skip_analyze": "Do not run ANALYZE on the loaded database.",
        "unverified": "Take a file that has no manifest of dbtasks.",
        "yes": "Go on without asking; consents to ending other sessions. Not enough for a protected target.",
        "confirm": "The target's name: the same as typing it.",
    }
)
def restore(
    call: Call,
    file: str | None = None,
    into: str | None = None,
    via: str | None = None,
    wait: str | None = None,
    in_place: bool = False,
    drop_old: bool = False,
    no_owner: bool = False,
    role: str | None = None,
    skip_safety_backup: bool = False,
    skip_analyze: bool = False,
    unverified: bool = False,
    yes: bool = False,
    confirm: str | None = None,
) -> Outcome:
    """Restore a backup, beside first, then swapped in whole.

    The archive is read to its end before anything is touched. The present
    state is backed up, the backup is loaded beside it and checked against
    its manifest, and only then takes the live database's place. A restore
    that fails or is interrupted leaves the live database as it was.

    Examples:
        invoke db.restore
        invoke db.restore --file=latest --yes
        invoke db.restore --file=2 --dry-run
        invoke db.restore --file=k3f9a1 --into=shop_check --yes

    Exit codes:
        0  restored and checked
        2  a setting or flag is wrong
        3  the database, a tool or a right is missing, or versions do not fit
        4  no such backup
        5  the archive is damaged, or counts differ after the load
        6  declined, not confirmed, protected, or the wrong kind of file
        7  another run works on this database, or it stayed locked
        9  the load broke off; the live database is as it was
        130  interrupted; the live database is as it was
    """
    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.restore import RestoreJob, plan_restore
    from ..executors.restore import restore as run
    from ..plans import LoadRequest

    settings = call.settings(via=via, wait=wait)
    settings.require_target()
    selector = file or _choose(call, settings, yes=yes)
    request = LoadRequest(
        in_place=in_place,
        drop_old=drop_old or settings.drop_old,
        no_owner=no_owner,
        role=role,
        jobs=settings.jobs,
        analyze=not skip_analyze,
        unverified=unverified,
    )
    job = RestoreJob(
        selector,
        into=into,
        via=via,
        request=request,
        skip_safety_backup=skip_safety_backup,
        dry_run=call.dry,
    )
    plan = plan_restore(settings, job, on_event=call.console)
    for text in plan.warnings:
        call.console.warn(text)
    lines = screens.restore_plan_lines(plan, utc_now())
    if call.dry:
        return Outcome(
            plan, [*lines, "Nothing was touched (dry run)."], documents.restore_plan_document(plan)
        )
    call.console.say(lines)
    _confirm(call, plan, yes=yes, confirm=confirm)
    result = run(settings, plan, on_event=call.console)
    shown = screens.restore_lines(result)
    return Outcome(result, shown, documents.restore_document(result))


def _choose(call: Call, settings: Any, *, yes: bool) -> str:
    """List and ask which backup; without a terminal, or with --yes, demand --file."""
    from ..clock import utc_now
    from ..console import screens
    from ..errors import Declined, NeedsConfirmation, NotFound
    from ..executors.browse import list_backups

    if yes or call.dry or not call.console.may_ask:
        raise NeedsConfirmation(
            "which backup is to be restored?",
            hint="add --file=latest, or a number or id from db.list; and --yes, to go on without being asked",
            state="nothing was touched",
        )
    catalog = list_backups(settings)
    backups = catalog.backups
    if not backups:
        what = catalog.about_namesakes
        raise NotFound(
            "there are no backups of this database",
            hint=f"{what}; db.list --all shows them" if what else "db.list --all shows what else is there",
        )
    call.console.say(screens.choice_lines(backups, utc_now(), call.console.width))
    answer = call.console.ask("Number or id, Enter = latest, q = cancel:")
    if answer.lower() in ("q", "quit"):
        raise Declined("cancelled", state="nothing was touched")
    return answer or "latest"


def _confirm(call: Call, plan: Any, *, yes: bool, confirm: str | None) -> None:
    """Get the word a restore needs.

    Raises:
        Declined, NeedsConfirmation: there was none.
    """
    from ..errors import Declined
    from ..guards import matches_name, nobody_to_ask, settle

    if settle(plan.target, plan.consent, yes=yes, confirm=confirm):
        return
    if not plan.overwrites and not plan.consent.protected:
        return
    if not call.console.may_ask:
        raise nobody_to_ask(plan.target, plan.consent)
    typed = call.console.ask(f"Type the database's name ({plan.consent.name}) to go on:")
    if not matches_name(plan.target, typed):
        raise Declined("that is not its name; nothing was done", state=f"{plan.target.name} was not touched")
