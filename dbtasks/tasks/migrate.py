"""db.migrate."""

from __future__ import annotations

from .boundary import Call, Outcome, db_task
from .consent import agree, prove_name

__all__ = ["migrate"]

BARED = (
    "a password stands in --to, where everybody on this machine may read it: put the url into the setting"
    " into_url, and say --to=@"
)


@db_task(
    help={
        "from_": "The SQLite database: path or url (default: the configured one).",
        "to": "The PostgreSQL database: url, @ for the setting into_url, or NAME (default: the configured one).",
        "table": "Only this table; repeat it for more.",
        "exclude_table": "Not this table; repeat it for more.",
        "cast": "TABLE.COLUMN:TYPE, a type to take for a column; repeat it for more.",
        "batch_size": "Rows between two savepoints, with --on-error=skip (default: 1000).",
        "on_error": "A row that does not go in: stop (the default), or skip it and write it down with the reason.",
        "yes": "Go on without asking. Not enough for a protected target.",
        "confirm": "The target's name: the same as typing it.",
    },
    iterable=("table", "exclude_table", "cast"),
    untouched="nothing was touched",
)
def migrate(
    call: Call,
    from_: str | None = None,
    to: str | None = None,
    table: list[str] | None = None,
    exclude_table: list[str] | None = None,
    cast: list[str] | None = None,
    batch_size: str | None = None,
    on_error: str | None = None,
    yes: bool = False,
    confirm: str | None = None,
) -> Outcome:
    """Migrate a SQLite database to PostgreSQL, with proof.

    Every row is read first, and the plan shows what each column becomes and
    why. The source is backed up, a missing database is created, and
    everything comes in one transaction: it is committed when every row has
    been read again on both sides and found alike. A failure leaves the
    target as it was. A report is written for people and as JSON.

    Examples:
        invoke db.migrate --from=app.db --dry-run
        invoke db.migrate --from=app.db
        invoke db.migrate --from=app.db --to=postgresql://app@localhost/shop
        invoke db.migrate --from=app.db --to=@ --exclude-table=sessions --yes
        invoke db.migrate --from=app.db --cast=orders.token:bytea --on-error=skip

    Exit codes:
        0  migrated and proved
        2  a setting or flag is wrong, or there is no such table
        3  a database cannot be reached, or not be created; the SQL that creates it is printed
        5  what arrived is not what was there; it was rolled back
        6  declined, not confirmed, protected, tables with rows in them, or rows that fit nowhere
        7  another run works on this database, or it stayed locked
        8  migrated with losses: rows were left out, or tables that the target does not have
        9  it broke off; the target is as it was
        10  --dry-run: values will not fit, rows refer to nothing, or keys are there already
        130  interrupted; the message says what the target holds
    """
    from ..console import migrate as shown
    from ..executors.migrate import migrate as run
    from ..executors.migrate import prove_fitting
    from ..executors.migration.plan import plan_migration
    from ..executors.migration.values import MigrationJob, OnError
    from ..executors.restoring.destination import bares_password

    settings = call.settings()
    if bares_password(to):
        call.console.warn(BARED)
    job = MigrationJob(
        from_,
        to,
        tuple(table or ()),
        tuple(exclude_table or ()),
        tuple(cast or ()),
        _batch_size(batch_size),
        on_error or OnError.STOP,
        dry_run=call.dry,
    )
    plan = plan_migration(settings, job, on_event=call.console)
    for text in plan.warnings:
        call.console.warn(text)
    prove_name(plan.target, plan.consent, confirm)
    lines = shown.migrate_plan_lines(plan)
    if call.dry:
        code = 10 if plan.misfits else 0
        whole = [*lines, "Nothing was touched (dry run)."]
        return Outcome(plan, whole, shown.migrate_plan_document(plan), exit_code=code)
    call.console.say(lines)
    prove_fitting(settings, plan)
    words = {"does": "fills", "instead": "or only look with --dry-run"}
    agree(call, plan.target, plan.consent, yes=yes, confirm=confirm, **words)
    state = f"look at {plan.target.name} before you go on: it is as it was, or holds what was migrated"
    report = run(settings, plan, on_event=call.begins(state))
    code = 8 if report.has_losses else 0
    return Outcome(report, shown.migrate_lines(report), shown.migrate_document(report), exit_code=code)


def _batch_size(text: str | None) -> int:
    from ..errors import UsageError
    from ..executors.migration.values import BATCH_SIZE

    if text is None:
        return BATCH_SIZE
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise UsageError(f"--batch-size={text}: a number of rows is meant", state="nothing was touched")
    return int(text)
