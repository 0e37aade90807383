"""Results as lines for people. Pure: what is printed is decided here, how in console.py."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from ..models import Format
from ..plans import TargetState
from .cleanup import kept_text, older_lines
from .drift import after_restore_line, drift_lines, labelled
from .text import age_text, count_text, duration_text, many, moment_text, size_text, table_lines

if TYPE_CHECKING:
    from ..catalog import Catalog
    from ..executors.backup import BackupPlan
    from ..executors.browse import Shown
    from ..executors.restore import RestorePlan, RestoreResult, TableChange
    from ..executors.restore_tables import TablesPlan
    from ..guards import Consent
    from ..journal import RunRecord
    from ..models import Archive, Backup, Manifest
    from ..plans import Saving

__all__ = [
    "backup_lines",
    "backup_plan_lines",
    "choice_lines",
    "compared_text",
    "consent_lines",
    "list_lines",
    "log_lines",
    "restore_lines",
    "restore_plan_lines",
    "safety_line",
    "show_lines",
    "source_text",
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
        lines += (
            [f"{catalog.about_latest[0].upper()}{catalog.about_latest[1:]}."] if catalog.about_latest else []
        )
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
        "anomaly": manifest.anomalous,
        "partial": not manifest.complete,
        "latest": backup.latest,
        "adopted": manifest.foreign,
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
        _verified(manifest, now),
        str(manifest.database) if of else "",
    )


def _verified(manifest: Manifest, now: datetime) -> str:
    """Say how well a backup is proven: by a restore, where there was one, else by reading it."""
    if manifest.damage:
        return ""
    if manifest.restored_at is not None:
        return f"✓ restored {age_text(manifest.restored_at, now)}"
    return f"✓ {age_text(manifest.verified_at, now)}"


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
            f"{manifest.format}, compression {manifest.compression}, {_made_with(manifest)}",
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
        ("Proven", _proven(manifest)),
        ("Damaged", manifest.damage),
        ("Anomaly", _anomaly(manifest)),
        ("sha256", manifest.sha256),
        ("Adopted", _adopted(manifest)),
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


def _proven(manifest: Manifest) -> str:
    if manifest.restored_at is None:
        return ""
    took = "" if manifest.restored_seconds is None else f", in {duration_text(manifest.restored_seconds)}"
    return f"{moment_text(manifest.restored_at)}: {manifest.restored_how}{took}"


def _anomaly(manifest: Manifest) -> str:
    taken = " (taken for normal)" if manifest.anomaly and not manifest.anomalous else ""
    return f"{manifest.anomaly}{taken}"


def _made_with(manifest: Manifest) -> str:
    if manifest.foreign:
        return f"by {manifest.tool_version or 'somebody else'}"
    return f"by {manifest.route} with {manifest.tool_version}"


def _adopted(manifest: Manifest) -> str:
    if manifest.adoption is None:
        return ""
    unknown = "; ".join(manifest.adoption.unknown)
    came = f"from {manifest.adoption.file}, {moment_text(manifest.adoption.at)}"
    return f"{came}; unknown: {unknown}" if unknown else came


def _tables(manifest: Manifest) -> list[str]:
    if not manifest.tables:
        return ["No tables."]
    rows = [(t.name, count_text(t.rows) if t.data else "rows left out") for t in manifest.tables]
    return table_lines(("table", "rows"), rows, right=(1,))


def source_text(archive: Archive, now: datetime) -> str:
    """Say which backup a plan is made from, and whose it is."""
    manifest = archive.manifest
    if manifest is None:
        return f"{archive.path} (not made by dbtasks, unverified)"
    made = f"{manifest.id}  {manifest.type}, {age_text(manifest.started_at, now)}"
    whose = "made by others, adopted for" if manifest.foreign else "of"
    label = f"  [{manifest.environment}]" if manifest.environment else ""
    return f"{made}, {size_text(manifest.size_bytes)}, {whose} {manifest.database}{label}"


def restore_plan_lines(plan: RestorePlan, now: datetime) -> list[str]:
    """Lines above the question whether to restore."""
    load, target = plan.load, plan.target
    there = {
        TargetState.PRESENT: "is there",
        TargetState.EMPTY: "is empty",
        TargetState.MISSING: "does not exist yet",
    }
    label = f"  [{plan.environment}]" if plan.environment else ""
    lines = [
        f"From     {source_text(plan.archive, now)}",
        f"         read whole: {plan.checked}",
        f"Into     {target.name} at {target.address}{label}: {there.get(load.state, 'is damaged')}",
        *consent_lines(plan.consent),
        f"Route    {load.route}: {load.why}",
        *_change_lines(plan),
        *drift_lines(plan.drift),
        safety_line(plan, load.saving, "a backup of the present state"),
        f"Steps    {load.strategy}" + (f": {load.why_in_place}" if load.why_in_place else ""),
    ]
    lines += [f"         {i}. {step}" for i, step in enumerate(load.steps, start=1)]
    lines += [f"Session  {session}" for session in load.sessions]
    lines += [f"Drop     {what}" for what in load.drops]
    lines += labelled("Creates", load.creates, most=CHANGES_SHOWN) if load.creates else []
    lines += labelled("Fills", load.fills, most=CHANGES_SHOWN) if load.fills and not load.creates else []
    lines += labelled("Stays", load.stays, most=CHANGES_SHOWN) if load.stays else []
    where = f" where {target.name} is configured" if plan.job.into else ""
    return [*lines, *older_lines(plan.older, where=where)]


def safety_line(plan: RestorePlan | TablesPlan, saving: Saving | None, what: str) -> str:
    """Say what is saved first, and by which way where that is not the load's."""
    if not plan.safety:
        return f"Safety   none: {plan.why_no_safety}"
    return f"Safety   {what} is taken first" + (f", by {saving.route}: {saving.why}" if saving else "")


def consent_lines(consent: Consent) -> list[str]:
    """Say in a plan that only the name will do, whether anything is there to be overwritten or not."""
    if not consent.protected:
        return []
    return [f"Consent  only its name will do, typed or as --confirm={consent.name}: {consent.reason}"]


def _change_lines(plan: RestorePlan) -> list[str]:
    if plan.load.state is TargetState.MISSING or not (plan.load.live_rows or plan.changes):
        return []
    if plan.not_counted:
        return labelled("Rows", [f"not compared: {plan.not_counted}"])
    if not plan.changes:
        return ["Rows     the same count in every table"]
    is_empty = plan.load.state is TargetState.EMPTY
    rows = [_change_row(change, is_empty=is_empty) for change in plan.changes[:CHANGES_SHOWN]]
    lines = ["Rows     " + line for line in table_lines(("table", "backup", "live", ""), rows, right=(1, 2))]
    lines = [lines[0], *("         " + line[9:] for line in lines[1:])]
    if len(plan.changes) > CHANGES_SHOWN:
        lines.append(f"         … and {many(len(plan.changes) - CHANGES_SHOWN, 'more table')}")
    return lines


def _change_row(change: TableChange, *, is_empty: bool) -> tuple[str, str, str, str]:
    backup, live = change.backup_rows, change.live_rows
    if live is None:
        # where nothing is, nothing of it was there before
        what = "is new" if is_empty else "comes back"
    elif backup is None:
        what = "will be gone"
    else:
        what = f"{backup - live:+,}"
    return change.name, count_text(backup), count_text(live), what


def restore_lines(result: RestoreResult) -> list[str]:
    """Lines after a restore."""
    checked = compared_text(result.archive, counted=result.checked_against_manifest)
    checked += " before after_load" if result.after_load and result.checked_against_manifest else ""
    lines = [
        f"✓ restored {result.target.name} in {duration_text(result.seconds)}: "
        f"{many(result.tables, 'table')}, {many(result.rows, 'row')}, {checked}",
    ]
    if result.after_load:
        names = ", ".join(file.name for file in result.after_load)
        lines.append(f"  {names} ran in it before it went live; the counts are those after it")
    if result.sessions_ended:
        lines.append(f"  ended {many(result.sessions_ended, 'other session')}")
    if result.old and result.safety_backup:
        lines.append(
            f"  the former database is kept as {result.old} until the next cleanup, which every db.backup runs"
        )
    elif result.old and result.way_back == "db.undo":
        lines.append(
            f"  the former database is kept as {result.old}, the only way back, until the next restore"
        )
    if result.safety_backup:
        lines.append(f"  safety backup: {result.safety_backup.id}  {result.safety_backup.path}")
    back = result.way_back
    lines.append(f"  back again: {back}" if back.startswith("db.") else f"  {back}")
    if result.older:
        where = "" if result.is_configured else f" where {result.target.name} is configured"
        lines.append(f"  earlier restores left {kept_text(result.older, where=where)}")
    if result.migration and (after := after_restore_line(result.migration)):
        lines.append(f"  {after}")
    return lines


def compared_text(archive: Archive, *, counted: bool) -> str:
    """Say what the loaded rows were compared with, or why with nothing."""
    if counted:
        return "equal to the manifest"
    if archive.manifest is None and archive.format is Format.ROWS:
        return "in each table as many as the file says"
    if archive.manifest is None:
        return f"not compared: {archive.path.name} has no manifest that says how many"
    return f"not compared: {archive.manifest.not_counted or 'the manifest does not say how many'}"


def _way(run: RunRecord) -> str:
    """Say which databases a run was about, where it was not the configured one alone."""
    if run.source:
        return f"{run.source} into {run.database}"
    return f"into {run.database}" if run.configured else ""


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
            ": ".join(text for text in (_way(r), r.message) if text),
        )
        for r in runs
    ]
    del now
    header = ("when", "task", "end", "took", "size", "backup", "message")
    return table_lines(header, rows, right=(3, 4), drop=(4, 5, 3), width=width)
