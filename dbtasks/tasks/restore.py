"""db.restore."""

from __future__ import annotations

from typing import Any

from .boundary import Call, Outcome, db_task
from .consent import agree, now_unknown, prove_name
from .restore_tables import refuse_beside_table, restore_chosen

__all__ = ["restore"]

OVERWRITING = {"does": "overwrites", "instead": "or restore beside it with --into=NAME"}
FILLING = {"does": "restores into", "instead": "or into another database with --into=NAME"}
BARED = (
    "the password in --into can be read by everybody on this machine while this runs, and stays in the shell's"
    " history: leave it out (~/.pgpass and PGPASSFILE are read), or set into_url and say --into=@"
)


@db_task(
    help={
        "file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: list and ask).",
        "table": "Only this table, exactly as it is spelt (schema.table); repeatable. Into the live database.",
        "as_": "Bring the one --table in beside the live one, under this name.",
        "into": "Another database of the same server, another SQLite file, a url, or @ for the setting into_url"
        " (default: the configured one).",
        "via": "The way to PostgreSQL (default: the setting, else auto).",
        "wait": "Seconds to wait for a database that is starting (default: the setting).",
        "in_place": "Drop and load inside the live database, in one transaction, instead of beside it. So it is done"
        " by itself where the role may not create databases: docs/restore.md.",
        "drop_old": "Drop the replaced database at once instead of keeping it (default: the setting).",
        "no_owner": "Everything will belong to the connecting role.",
        "role": "Load as this role.",
        "skip_safety_backup": "Do not back up the present state first.",
        "skip_analyze": "Do not run ANALYZE on the loaded database.",
        "unverified": "Take a file that has no manifest of dbtasks.",
        "yes": "Go on without asking; consents to ending other sessions. Not enough for a protected target.",
        "confirm": "The target's name: the same as typing it.",
    },
    iterable=("table",),
    untouched="nothing was touched",
)
def restore(
    call: Call,
    file: str | None = None,
    table: list[str] | None = None,
    as_: str | None = None,
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
    that fails or is interrupted leaves the live database as it was; one that
    was done is taken back by db.undo. With --table only that table comes back,
    into the live database: see docs/one-table.md. A rows backup fills the
    tables that are there, in one transaction: see docs/rows.md.

    Examples:
        invoke db.restore
        invoke db.restore --file=latest --yes
        invoke db.restore --file=2 --dry-run
        invoke db.restore --file=k3f9a1 --into=shop_check --yes
        invoke db.restore --file=latest --into=postgresql://app@other/shop
        invoke db.restore --file=latest --into=@ --no-owner --yes
        invoke db.restore --file=latest --table=orders
        invoke db.restore --file=latest --table=orders --as=orders_before

    Exit codes:
        0  restored and checked
        2  a setting or flag is wrong, or the backup does not hold the --table
        3  the database, a tool or a right is missing, or versions do not fit
        4  no such backup
        5  the archive is damaged, or counts differ after the load
        6  declined, not confirmed, protected, the wrong kind of file, or a foreign key in a table's way
        7  another run works on this database, or it stayed locked
        9  the load broke off; the live database is as it was
        130  interrupted; the live database is as it was
    """
    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.restore import RestoreJob, plan_restore
    from ..executors.restore import restore as run
    from ..executors.restoring.destination import bares_password, is_whole
    from ..plans import LoadRequest, TargetState

    settings = call.settings(via=via, wait=wait)
    if not is_whole(into):
        settings.require_target()
    if bares_password(into):
        call.console.warn(BARED)
    if table or as_ is not None:
        refuse_beside_table(table, {"--into": into, "--in-place": in_place, "--drop-old": drop_old})
    selector = file or _choose(call, settings, yes=yes)
    if table:
        return restore_chosen(
            call,
            settings,
            {
                "file": selector,
                "tables": tuple(table),
                "as_name": as_,
                "via": via,
                "no_owner": no_owner,
                "role": role,
                "analyze": not skip_analyze,
                "unverified": unverified,
                "skip_safety_backup": skip_safety_backup,
            },
            yes=yes,
            confirm=confirm,
        )
    request = LoadRequest(
        in_place=in_place,
        # the setting is for the restores that replace a database
        drop_old=drop_old or (settings.drop_old and not in_place),
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
    prove_name(plan.target, plan.consent, confirm)
    lines = screens.restore_plan_lines(plan, utc_now())
    if call.dry:
        return Outcome(
            plan, [*lines, "Nothing was touched (dry run)."], documents.restore_plan_document(plan)
        )
    call.console.say(lines)
    if plan.overwrites or plan.consent.protected or confirm is not None:
        holds = plan.load.state in (TargetState.PRESENT, TargetState.DAMAGED)
        words = OVERWRITING if holds else FILLING
        agree(call, plan.target, plan.consent, yes=yes, confirm=confirm, **words)
    result = run(settings, plan, on_event=call.begins(now_unknown(settings, plan.target)))
    shown = screens.restore_lines(result)
    return Outcome(result, shown, documents.restore_document(result))


def _choose(call: Call, settings: Any, *, yes: bool) -> str:
    """List and ask which backup; without a terminal, or with --yes, demand --file."""
    from ..clock import utc_now
    from ..console import screens
    from ..errors import Declined, NeedsConfirmation, NotFound
    from ..executors.browse import list_backups

    catalog = list_backups(settings)
    # where no database is configured, --into says where to, and all are numbered as one list
    backups = catalog.backups if catalog.identity else catalog.others
    if not backups:
        what = catalog.about_namesakes
        raise NotFound(
            "there are no backups of this database",
            hint=f"{what}; db.list --all shows them" if what else "db.list --all shows what else is there",
        )
    if yes or call.dry or not call.console.may_ask:
        named = "--file=latest, or a number or id from db.list"
        if catalog.latest is None and catalog.sound_ones:
            named = catalog.sound_ones
        raise NeedsConfirmation(
            "which backup is to be restored?",
            hint=f"add {named}; and --yes, to go on without being asked",
        )
    call.console.say(screens.choice_lines(backups, utc_now(), call.console.width))
    answer = call.console.ask("Number or id, Enter = latest, q = cancel:")
    if answer.lower() in ("q", "quit"):
        raise Declined("cancelled", state="nothing was touched")
    return answer or "latest"
