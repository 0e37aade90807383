"""db.adopt."""

from __future__ import annotations

from .backup import parse_type
from .boundary import Call, Outcome, db_task

__all__ = ["adopt"]


@db_task(
    help={
        "file": "The file: a path, or the name of one in the backup folder that has no manifest.",
        "type_": "Among which backups it counts: manual, daily, weekly or monthly (default: manual).",
        "note": "A text for the manifest.",
    },
    untouched="nothing was published",
)
def adopt(call: Call, file: str | None = None, type_: str | None = None, note: str | None = None) -> Outcome:
    """Give a file that others made a manifest.

    It is read to its end, a script through the gate, and a copy of it becomes
    a backup of the configured database; the file itself stays as it is. The
    manifest says where it came from and what nobody can say of it. It is
    never latest, and no superuser loads it.

    Examples:
        invoke db.adopt --file=shop_20260224.sql.gz
        invoke db.adopt --file=old.dump --type=monthly
        invoke db.adopt --file=copy.sqlite3 --dry-run

    Exit codes:
        0  adopted, or in the list already
        2  a setting or flag is wrong
        3  the tool that reads this format is missing or too old
        4  no such file
        5  the file is damaged or cut
        6  another tool's file, another kind of database's, or it holds what no dump holds
        7  another run works on this database
        9  it could not be copied; nothing was published
    """
    from ..console.adopt import adopt_document, adopt_lines, adopt_plan_document, adopt_plan_lines
    from ..errors import UsageError
    from ..executors.adopt import AdoptJob, plan_adopt
    from ..executors.adopt import adopt as run

    if not file:
        raise UsageError(
            "which file is to be adopted?", hint="add --file=PATH; db.list --all shows foreign files"
        )
    settings = call.settings()
    job = AdoptJob(file, parse_type(type_), note or "", dry_run=call.dry)
    plan = plan_adopt(settings, job, on_event=call.console)
    for text in plan.warnings:
        call.console.warn(text)
    if call.dry:
        lines = [*adopt_plan_lines(plan), "Nothing was written (dry run)."]
        return Outcome(plan, lines, adopt_plan_document(plan))
    listen = call.begins("the file is as it was; db.list shows whether its copy was published")
    made = run(settings, plan, on_event=listen)
    return Outcome(made, adopt_lines(plan, made), adopt_document(plan, made))
