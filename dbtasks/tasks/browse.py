"""db.list, db.show, db.info and db.log: look, change nothing."""

from __future__ import annotations

from .backup import parse_type
from .boundary import Call, Outcome, db_task

__all__ = ["info", "list_", "log", "parse_last", "show"]


def parse_last(text: str | None) -> int | None:
    """Read a --last flag.

    Raises:
        UsageError: not a whole number from 1 up.
    """
    from ..errors import UsageError

    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--last={text}: allowed is a whole number from 1 up")
    return int(text)


@db_task(
    name="list",
    help={
        "type_": "Only backups of this type.",
        "all_": "Other databases' backups and foreign files as well.",
        "last": "Only this many, the newest.",
    },
)
def list_(call: Call, type_: str | None = None, all_: bool = False, last: str | None = None) -> Outcome:
    """List backups, newest first.

    Needs no connection to the database. The number shifts with every new
    backup, the id stays: both are accepted wherever a backup is named. Where
    no database is known, everything in the backup folder is listed.

    Examples:
        invoke db.list
        invoke db.list --type=daily --last=5
        invoke db.list --all --json

    Exit codes:
        0  done, also when there are none
        2  a setting or flag is wrong
    """
    from dataclasses import replace

    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.browse import list_backups

    settings = call.settings()
    catalog = list_backups(settings, type_=parse_type(type_, safety=True) if type_ else None)
    shown = replace(catalog, backups=catalog.backups[: parse_last(last)])
    if settings.target is None:
        unknown = settings.why_no_target()
        why = f"{unknown.message}; {unknown.details}" if unknown.details else unknown.message
        call.console.warn(f"which database is meant is not known, so all backups are listed: {why}")
        all_, shown = True, replace(shown, others=catalog.others[: parse_last(last)])
    lines = screens.list_lines(shown, utc_now(), everything=all_, width=call.console.width)
    return Outcome(shown, lines, documents.list_document(shown, everything=all_))


@db_task(
    help={"file": "Number, id, beginning of an id, latest, latest:TYPE, name or path (default: latest)."}
)
def show(call: Call, file: str | None = None) -> Outcome:
    """Show one backup and how to restore it by hand.

    Examples:
        invoke db.show
        invoke db.show --file=k3f9a1

    Exit codes:
        0  done
        2  a setting or flag is wrong
        4  no such backup
    """
    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.browse import show as run

    shown = run(call.settings(), file or "latest")
    return Outcome(shown, screens.show_lines(shown, utc_now()), documents.show_document(shown))


@db_task(help={"check": "End with 10 when no backup could be made now, or the newest is damaged."})
def info(call: Call, check: bool = False) -> Outcome:
    """Show database, container, routes, store and settings.

    Each setting is shown with the place its value came from. With --check it
    ends with 10 when no backup could be made now, or the newest one is
    damaged; warnings alone are no reason.

    Examples:
        invoke db.info
        invoke db.info --check --json

    Exit codes:
        0  done
        2  a setting is wrong
        10  a problem was found, with --check
    """
    from ..clock import utc_now
    from ..console.info import info_document, info_lines
    from ..executors.inspect import inspect

    report = inspect(call.settings(), on_event=call.console)
    lines = info_lines(report, utc_now(), call.console.width)
    exit_code = 10 if check and report.problems else 0
    return Outcome(report, lines, info_document(report), exit_code=exit_code)


@db_task(help={"last": "Only this many runs (default: 20).", "failed": "Only runs that failed."})
def log(call: Call, last: str | None = None, failed: bool = False) -> Outcome:
    """Show what ran, when, and how it ended.

    Examples:
        invoke db.log
        invoke db.log --failed --last=3

    Exit codes:
        0  done
        2  a setting or flag is wrong
    """
    from ..clock import utc_now
    from ..console import documents, screens
    from ..executors.browse import list_runs

    runs = list_runs(call.settings(), failed=failed, last=parse_last(last) or 20)
    return Outcome(runs, screens.log_lines(runs, utc_now(), call.console.width), documents.log_document(runs))
