"""Results as lines for people. Pure: what is printed is decided here, how in console.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ..catalog import Catalog
from ..executors.backup import BackupPlan
from ..executors.browse import Shown
from ..executors.cleanup import CleanupPlan, CleanupResult
from ..executors.restore import RestorePlan, RestoreResult, TableChange
from ..executors.verify import Verified
from ..journal import RunRecord
from ..models import Backup, Manifest
from ..plans import TargetState
from .text import age_text, count_text, duration_text, many, moment_text, size_text, table_lines

__all__ = [
    "backup_lines",
    "backup_plan_lines",
    "choice_lines",
    "cleanup_lines",
    "cleanup_plan_lines",
    "list_lines",
    "log_lines",
    "restore_lines",
    "restore_plan_lines",
    "show_lines",
    "verify_lines",
]

CHANGES_SHOWN = 20


def backup_plan_lines(plan: BackupPlan) -> list[str]:
    """Lines of db.backup --dry-run."""
    dump = plan.dump
    lines = [
        f"Would back up {plan.target.name} ({size_text(dump.facts.size_bytes)}) by {dump.route}: {dump.why}",
        f"  format   {dump.format}, compression {dump.compression}, {dump.tool_version}",
        f"  tables   {len(dump.tables)}"
        + (f", {len(dump.tables_without_data)} without rows" if dump.tables_without_data else ""),
        f"  into     {plan.archive.parent}, as {plan.type}",
    ]
    lines += [f"  not in it: {what}" for what in dump.not_included]
    return [*lines, "Nothing was written (dry run)."]


def backup_lines(backup: Backup) -> list[str]:
    """Lines after a backup."""
    manifest = backup.manifest
    rows = (
        many(manifest.rows, "row")
        if manifest.rows is not None
        else f"rows not counted: {manifest.not_counted}"
    )
    lines = [
        f"✓ {backup.id}  {backup.path}  {size_text(manifest.size_bytes)}  {duration_text(manifest.duration)}",
        f"  verified: {manifest.verified_how}; {many(len(manifest.tables), 'table')}, {rows}",
    ]
    if not manifest.complete:
        lines.append(f"  partial; not in it: {'; '.join(manifest.not_included)}")
    return [*lines, f"  restore: db.restore --file={backup.id}"]


def list_lines(catalog: Catalog, now: datetime, *, everything: bool, width: int | None) -> list[str]:
    """Lines of db.list."""
    if catalog.identity is None:
        return _unknown_list_lines(catalog, now, width)
    if catalog.backups:
        lines = _backup_table(catalog.backups, now, width)
    else:
        lines = ["No backups of this database yet. db.backup makes one."]
        if catalog.about_namesakes:
            lines.append(f"{catalog.about_namesakes}: db.list --all")
    if not everything:
        rest = [f"{len(catalog.others)} of other databases" if catalog.others else ""]
        rest.append(many(len(catalog.foreign), "foreign file") if catalog.foreign else "")
        named = " and ".join(part for part in rest if part)
        return [*lines, f"Not shown: {named} (--all)"] if named else lines
    if catalog.others:
        lines += ["", "Of other databases:", *_backup_table(catalog.others, now, width, of=True)]
    return [*lines, *_foreign_lines(catalog, now, width)]


def _unknown_list_lines(catalog: Catalog, now: datetime, width: int | None) -> list[str]:
    """Lines of db.list where nobody knows which database is meant: all there is, each with its database."""
    if catalog.others:
        lines = _backup_table(catalog.others, now, width, of=True)
    else:
        lines = ["There are no backups of any database."]
    return [*lines, *_foreign_lines(catalog, now, width)]


def _foreign_lines(catalog: Catalog, now: datetime, width: int | None) -> list[str]:
    if not catalog.foreign:
        return []
    rows = [
        (str(f.path), size_text(f.size_bytes), age_text(f.modified_at, now), f.why) for f in catalog.foreign
    ]
    header = ("file", "size", "changed", "why")
    table = table_lines(header, rows, right=(1,), drop=(2, 3), width=width)
    return ["", "Foreign files (no manifest of ours; never touched):", *table]


def _backup_table(
    backups: Sequence[Backup], now: datetime, width: int | None, *, of: bool = False
) -> list[str]:
    header = (
        "#",
        "id",
        "state",
        "type",
        "when",
        "local time",
        "size",
        "format",
        "revision",
        "verified",
        "database",
    )
    rows = [_backup_row(backup, now, of=of) for backup in backups]
    # what must not be missed stands first and is never dropped
    return table_lines(header, rows, right=(0, 6), drop=(8, 7, 9, 5, 6, 3), width=width)


def _backup_row(backup: Backup, now: datetime, *, of: bool) -> tuple[str, ...]:
    manifest = backup.manifest
    marks = {
        "✗ damaged": bool(manifest.damage),
        "partial": not manifest.complete,
        "latest": backup.latest,
        "pinned": manifest.pinned,
    }
    return (
        str(backup.number or ""),
        backup.id,
        " ".join(mark for mark, given in marks.items() if given),
        str(manifest.type),
        age_text(manifest.started_at, now),
        f"{manifest.started_at.astimezone():%d %b %H:%M}",
        size_text(manifest.size_bytes),
        str(manifest.format),
        _revision(manifest),
        "" if manifest.damage else f"✓ {age_text(manifest.verified_at, now)}",
        str(manifest.database) if of else "",
    )


def _revision(manifest: Manifest) -> str:
    if manifest.revision is None or not manifest.revision.revisions:
        return ""
    return f"{manifest.revision.tool} {manifest.revision.revisions[-1][:12]}"


def choice_lines(backups: Sequence[Backup], now: datetime, width: int | None) -> list[str]:
    """Lines above the question which backup to restore."""
    return ["Which backup?", *_backup_table(backups, now, width)]


def show_lines(shown: Shown, now: datetime) -> list[str]:
    """Lines of db.show."""
    backup, manifest = shown.backup, shown.backup.manifest
    facts = [
        ("Backup", f"{backup.id} ({manifest.type}) of {manifest.database}"),
        ("Archive", f"{backup.path}  {size_text(manifest.size_bytes)} ({manifest.size_bytes:,} bytes)"),
        (
            "Made",
            f"{moment_text(manifest.started_at)} ({age_text(manifest.started_at, now)}), in {duration_text(manifest.duration)}",
        ),
        (
            "Format",
            f"{manifest.format}, compression {manifest.compression}, by {manifest.route} with {manifest.tool_version}",
        ),
        ("Server", manifest.server_version),
        (
            "Holds",
            "the whole database"
            if manifest.complete
            else f"a part; not in it: {'; '.join(manifest.not_included)}",
        ),
        (
            "Verified",
            "" if manifest.damage else f"{moment_text(manifest.verified_at)}: {manifest.verified_how}",
        ),
        ("Damaged", manifest.damage),
        ("sha256", manifest.sha256),
        ("Migration", _revision(manifest)),
        ("Extensions", ", ".join(f"{name} {version}" for name, version in manifest.extensions.items())),
        ("Environment", manifest.environment or ""),
        ("Note", manifest.note),
        ("Globals", manifest.globals or ""),
        ("Warnings", "; ".join(manifest.warnings)),
    ]
    lines = [f"{name:<12}{value}" for name, value in facts if value]
    lines += ["", *_tables(manifest)]
    if manifest.damage:
        return [*lines, "", "It is damaged: take another one."]
    lines += ["", "By hand, without dbtasks:", *(f"  {command}" for command in shown.by_hand)]
    if shown.by_hand_inside:
        inside = (f"  {command}" for command in shown.by_hand_inside)
        lines += ["", "Or, in place of these, by the tools inside a container:", *inside]
    return lines


def _tables(manifest: Manifest) -> list[str]:
    if not manifest.tables:
        return ["No tables."]
    rows = [(t.name, count_text(t.rows) if t.data else "rows left out") for t in manifest.tables]
    return table_lines(("table", "rows"), rows, right=(1,))


def verify_lines(results: Sequence[Verified]) -> list[str]:
    """Lines of db.verify."""
    return [f"{'✓' if r.ok else '✗'} {r.backup.id}  {r.backup.path.name}  {r.how}" for r in results]


def cleanup_plan_lines(plan: CleanupPlan, now: datetime, width: int | None) -> list[str]:
    """Lines of a cleanup's plan: every backup with its reason, every database a restore left."""
    replaced = [f"drop    {name}: replaced by a restore" for name in plan.replaced]
    if not plan.retention.decisions:
        return replaced or ["Nothing to clean up: there are no backups."]
    rows = [
        (
            "keep" if d.keep else "remove",
            d.backup.id,
            str(d.backup.manifest.type),
            age_text(d.backup.manifest.started_at, now),
            size_text(d.backup.manifest.size_bytes),
            ", ".join(d.reasons),
        )
        for d in plan.retention.decisions
    ]
    lines = table_lines(
        ("", "id", "type", "when", "size", "because"), rows, right=(4,), drop=(4, 3), width=width
    )
    return [*lines, *replaced]


def cleanup_lines(result: CleanupResult) -> list[str]:
    """Lines after a cleanup."""
    done = [f"dropped {name}, which a restore had replaced" for name in result.dropped]
    if result.removed or not done:
        freed = size_text(result.freed_bytes)
        done.insert(0, f"removed {many(len(result.removed), 'backup')}, kept {result.kept}, freed {freed}")
    lines = [f"✓ {done[0]}", *(f"  {line}" for line in done[1:])]
    return [*lines, *(f"✗ {text}" for text in result.failed)]


def restore_plan_lines(plan: RestorePlan, now: datetime) -> list[str]:
    """Lines above the question whether to restore."""
    load, manifest, target = plan.load, plan.archive.manifest, plan.target
    if manifest:
        made = f"{manifest.id}  {manifest.type}, {age_text(manifest.started_at, now)}"
        source = f"{made}, {size_text(manifest.size_bytes)}, of {manifest.database}"
    else:
        source = f"{plan.archive.path} (not made by dbtasks, unverified)"
    there = {
        TargetState.PRESENT: "is there",
        TargetState.EMPTY: "is empty",
        TargetState.MISSING: "does not exist yet",
    }
    label = f"  [{plan.environment}]" if plan.environment else ""
    lines = [
        f"From     {source}",
        f"         read whole: {plan.checked}",
        f"Into     {target.name} at {target.address}{label}: {there.get(load.state, 'is damaged')}",
        f"Route    {load.route}: {load.why}",
        *_change_lines(plan),
        f"Safety   {'a backup of the present state is taken first' if plan.safety else 'none: ' + plan.why_no_safety}",
        f"Steps    {load.strategy}",
    ]
    lines += [f"         {i}. {step}" for i, step in enumerate(load.steps, start=1)]
    lines += [f"Session  {session}" for session in load.sessions]
    lines += [f"Drop     {what}" for what in load.drops]
    return lines


def _change_lines(plan: RestorePlan) -> list[str]:
    if plan.load.state is TargetState.MISSING or not (plan.load.live_rows or plan.changes):
        return []
    if not plan.changes:
        return ["Rows     the same count in every table"]
    rows = [_change_row(change) for change in plan.changes[:CHANGES_SHOWN]]
    lines = ["Rows     " + line for line in table_lines(("table", "backup", "live", ""), rows, right=(1, 2))]
    lines = [lines[0], *("         " + line[9:] for line in lines[1:])]
    if len(plan.changes) > CHANGES_SHOWN:
        lines.append(f"         … and {len(plan.changes) - CHANGES_SHOWN} more tables")
    return lines


def _change_row(change: TableChange) -> tuple[str, str, str, str]:
    backup, live = change.backup_rows, change.live_rows
    if live is None:
        what = "comes back"
    elif backup is None:
        what = "will be gone"
    else:
        what = f"{backup - live:+,}"
    return change.name, count_text(backup), count_text(live), what


def restore_lines(result: RestoreResult) -> list[str]:
    """Lines after a restore."""
    checked = "equal to the manifest" if result.checked_against_manifest else "no manifest to compare with"
    lines = [
        f"✓ restored {result.target.name} in {duration_text(result.seconds)}: "
        f"{many(result.tables, 'table')}, {many(result.rows, 'row')}, {checked}",
    ]
    if result.sessions_ended:
        lines.append(f"  ended {many(result.sessions_ended, 'other session')}")
    if result.old and result.safety_backup:
        lines.append(
            f"  the former database is kept as {result.old} until the next cleanup, which every db.backup runs"
        )
    if result.safety_backup:
        lines.append(f"  safety backup: {result.safety_backup.id}  {result.safety_backup.path}")
    back = result.way_back
    lines.append(f"  back again: {back}" if back.startswith("db.restore") else f"  {back}")
    manifest = result.archive.manifest
    if manifest and manifest.revision:
        lines.append(
            f"  its schema stands at {_revision(manifest)}: run your migrations if the code is newer"
        )
    return lines


def log_lines(runs: Sequence[RunRecord], now: datetime, width: int | None) -> list[str]:
    """Lines of db.log."""
    if not runs:
        return ["No runs are recorded."]
    rows = [
        (
            f"{r.started_at.astimezone():%Y-%m-%d %H:%M:%S}",
            r.task,
            "✓" if r.ok else f"✗ {r.exit_code}",
            duration_text(r.seconds),
            size_text(r.size_bytes) if r.size_bytes is not None else "",
            r.backup or "",
            r.message,
        )
        for r in runs
    ]
    del now
    header = ("when", "task", "end", "took", "size", "backup", "message")
    return table_lines(header, rows, right=(3, 4), drop=(4, 5, 3), width=width)
