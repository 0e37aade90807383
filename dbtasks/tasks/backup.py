"""db.backup."""

from __future__ import annotations

import shlex
from typing import Any

from .boundary import Call, Outcome, db_task

__all__ = ["backup", "parse_type"]


@db_task(
    help={
        "type_": "manual, daily, weekly or monthly; each has a folder and a retention of its own (default: manual).",
        "format_": "custom, sql or directory for PostgreSQL, sqlite for SQLite, rows for both (default: the setting, else by engine).",
        "via": "The way to PostgreSQL: container, host, python, a list of them, or auto (default: the setting, else auto).",
        "wait": "Seconds to wait for a database that is starting (default: the setting).",
        "compression": "gzip, zstd or none (default: the setting, else the fastest good one).",
        "jobs": "Parallel jobs of a directory dump (default: the setting, else the number of cores).",
        "table": "Only this table, exactly as it is spelt; repeatable.",
        "exclude_table": "Leave this table out entirely; repeatable, added to the setting.",
        "exclude_data": "Keep this table's schema and leave its rows out; repeatable, added to the setting.",
        "schema_only": "No rows at all.",
        "data_only": "Rows without the schema.",
        "globals_": "Roles and tablespaces as well, in a file beside the archive (holds password hashes).",
        "no_owner": "Leave ownership out of the dump.",
        "note": "A word to remember it by.",
        "output": "Write to this file or folder instead of the store; no retention there.",
        "skip_cleanup": "Do not apply the retention afterwards.",
    },
    iterable=("table", "exclude_table", "exclude_data"),
)
def backup(
    call: Call,
    type_: str | None = None,
    format_: str | None = None,
    via: str | None = None,
    wait: str | None = None,
    compression: str | None = None,
    jobs: str | None = None,
    table: list[str] | None = None,
    exclude_table: list[str] | None = None,
    exclude_data: list[str] | None = None,
    schema_only: bool = False,
    data_only: bool = False,
    globals_: bool = False,
    no_owner: bool = False,
    note: str | None = None,
    output: str | None = None,
    skip_cleanup: bool = False,
) -> Outcome:
    """Back up the database, verify it, apply the retention.

    The backup is listed only after it was read back from disk and proved
    whole. A run that fails or is killed leaves nothing that looks like a
    backup, and every earlier one untouched. Arguments after -- go to pg_dump.

    Examples:
        invoke db.backup
        invoke db.backup --type=daily --json
        invoke db.backup --table=orders --format=sql
        invoke db.backup --format=rows
        invoke db.backup -- --no-comments

    Exit codes:
        0  done
        2  a setting or flag is wrong, or the backup folder cannot be written
        3  the database, a client tool or a right is not there
        7  another run works on this database, or a table is locked
        8  the backup was made, the cleanup after it failed; or the database
           has shrunk to less than shrink_limit, and nothing was cleaned up
        9  the dump broke off, or the disk is full
        130  interrupted
    """
    from ..console import documents, screens
    from ..executors.backup import backup as run
    from ..executors.backup import plan_backup

    settings = call.settings(format=format_, via=via, compression=compression, jobs=jobs, wait=wait)
    job = _job(
        settings,
        type_=type_,
        via=via,
        compression=settings.compression if compression else None,
        jobs=jobs,
        tables=(table, exclude_table, exclude_data),
        switches={"schema_only": schema_only, "data_only": data_only, "no_owner": no_owner},
        globals_=globals_,
        note=note,
        output=output,
        extra=_split(call.remainder),
    )
    if call.dry:
        plan = plan_backup(settings, job, on_event=call.console)
        return Outcome(plan, screens.backup_plan_lines(plan), documents.backup_plan_document(plan))
    made = run(settings, job, on_event=call.console)
    lines = screens.backup_lines(made)
    document = documents.backup_document(made)
    if made.manifest.anomaly:
        # what an emptied database leaves must push nothing out
        return Outcome(made, lines, document, exit_code=8)
    if skip_cleanup or output:
        return Outcome(made, lines, document)
    return _clean_up(call, settings, Outcome(made, lines, document))


def _split(remainder: str) -> list[str]:
    from ..errors import UsageError

    try:
        return shlex.split(remainder)
    except ValueError as exc:
        raise UsageError(f"the arguments after -- cannot be read: {exc}") from exc


def _job(settings: Any, **flags: Any) -> Any:
    """Build the request; `settings` has already parsed what is also a setting."""
    from pathlib import Path

    from ..executors.backup import BackupJob
    from ..plans import DumpRequest

    tables, exclude, exclude_data = (tuple(names or ()) for names in flags["tables"])
    request = DumpRequest(
        format=settings.format,
        compression=flags["compression"],
        jobs=settings.jobs if flags["jobs"] else None,
        tables=tables,
        exclude_tables=exclude,
        exclude_data=exclude_data,
        extra=tuple(flags["extra"]),
        **flags["switches"],
    )
    return BackupJob(
        type=parse_type(flags["type_"]),
        request=request,
        note=flags["note"] or "",
        globals=flags["globals_"],
        via=flags["via"],
        output=Path(flags["output"]) if flags["output"] else None,
    )


def parse_type(text: str | None, *, safety: bool = False) -> Any:
    """Read a --type flag.

    Raises:
        UsageError: no such type.
    """
    from ..errors import UsageError
    from ..models import Type

    allowed = [t for t in Type if safety or t is not Type.SAFETY]
    if text is None:
        return Type.MANUAL
    if text not in list(allowed):
        raise UsageError(f"--type={text}: allowed is {', '.join(allowed)}")
    return Type(text)


def _clean_up(call: Call, settings: Any, made: Outcome) -> Outcome:
    """Apply the retention after a success; its failure is a loss, not a failed backup."""
    from dataclasses import replace

    from ..console import documents
    from ..console.cleanup import cleanup_lines
    from ..errors import DbTasksError
    from ..executors.cleanup import cleanup, plan_cleanup

    try:
        plan = plan_cleanup(settings)
        if plan.suspended:
            call.console.warn(plan.suspended)
        if not plan.going:
            return made
        result = cleanup(settings, plan, on_event=call.console)
    except DbTasksError as exc:
        call.console.warn(f"the backup was made, the cleanup failed: {exc.message}")
        return Outcome(made.value, made.lines, made.document, exit_code=8)
    for text in result.failed:
        call.console.warn(f"the cleanup could not remove {text}")
    # what failed has just been said
    shown = cleanup_lines(replace(result, failed=()))
    lines = [*made.lines, *(f"  {line}" for line in shown)]
    document = {**made.document, "cleanup": documents.cleanup_document(result)}
    return Outcome(made.value, lines, document, exit_code=0 if result.ok else 8)
