"""db.diff."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .boundary import Call, Outcome, db_task

__all__ = ["diff"]


@db_task(
    help={
        "file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: latest).",
        "against": "Another backup, named in the same ways (default: the live database).",
        "via": "The way to PostgreSQL (default: the setting, else auto).",
        "unverified": "Take files that have no manifest of dbtasks.",
        "exit_code": "End with 10 when there are differences.",
        "rows": "Compare the rows themselves, by primary key: added, removed and changed ones.",
        "table": "With --rows: only this table; can be given several times.",
        "values": "With --rows: show the values of the rows that are named.",
    },
    iterable=["table"],
)
def diff(
    call: Call,
    file: str | None = None,
    against: str | None = None,
    via: str | None = None,
    unverified: bool = False,
    exit_code: bool = False,
    rows: bool = False,
    table: list[str] | None = None,
    values: bool = False,
) -> Outcome:
    """Compare a backup with the live database, or another backup.

    Rows per table, tables that only one has, definitions, extensions, roles,
    the migration step, and who is connected. Only reads: nothing is written,
    and no backup waits for it. Rows that were changed in place are seen by
    --rows alone, which compares nothing but rows; a backup by pg_dump is
    restored into a scratch database for it, which is dropped again.

    Examples:
        invoke db.diff
        invoke db.diff --rows --table=item --values
        invoke db.diff --file=2 --against=1
        invoke db.diff --file=latest:daily --exit-code --json

    Exit codes:
        0  compared
        2  a setting or flag is wrong, or no such table
        3  the database, a tool or a right is missing
        4  no such backup
        5  an archive is damaged
        6  a file without manifest, or the wrong kind of database
        7  a table stayed locked
        9  a tool broke off, or no space is left
        10  there are differences, with --exit-code
    """
    from ..clock import utc_now
    from ..console.diff import diff_document, diff_lines
    from ..executors.diff import diff as run

    settings = call.settings(via=via)
    if rows:
        named = {"file": file or "latest", "against": against, "unverified": unverified}
        return _rows(call, settings, named, table or [], values=values, exit_code=exit_code)
    _refuse_without_rows(table, values=values)
    summary = run(
        settings,
        file or "latest",
        against,
        unverified=unverified,
        on_event=call.console,
    )
    code = 10 if exit_code and summary.differs else 0
    return Outcome(summary, diff_lines(summary, utc_now()), diff_document(summary), exit_code=code)


def _rows(
    call: Call,
    settings: Any,
    named: Mapping[str, Any],
    tables: list[str],
    *,
    values: bool,
    exit_code: bool,
) -> Outcome:
    from ..clock import utc_now
    from ..console import diff_rows as shown
    from ..executors.diff_rows import diff_rows, plan_diff_rows

    if call.dry:
        plan = plan_diff_rows(settings, **named, on_event=call.console)
        return Outcome(plan, shown.planned_rows_lines(plan), shown.planned_rows_document(plan))
    diff = diff_rows(settings, **named, tables=tables, values=values, on_event=call.console)
    if diff.withheld:
        call.console.warn(shown.withheld_text(diff))
    code = 10 if exit_code and (diff.differs or diff.withheld) else 0
    lines = shown.rows_diff_lines(diff, utc_now())
    return Outcome(diff, lines, shown.rows_diff_document(diff), exit_code=code)


def _refuse_without_rows(tables: list[str] | None, *, values: bool) -> None:
    from ..errors import UsageError

    if tables or values:
        raise UsageError(f"{'--table' if tables else '--values'} is about single rows: add --rows")
