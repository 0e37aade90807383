"""db.migrate's screens, and the same as JSON objects. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..executors.migration.report import next_value_text, report_object
from ..nouns import some
from .documents import consent_object, target_object
from .screens import consent_lines
from .text import count_text, duration_text, many, table_lines

if TYPE_CHECKING:
    from ..executors.migration.values import MigrationPlan, MigrationReport
    from ..rows.migration.choices import ColumnChoice
    from ..rows.migration.left_out import Clash
    from ..rows.migration.orphans import Orphans
    from ..rows.migration.weaker import Weaker

__all__ = ["migrate_document", "migrate_lines", "migrate_plan_document", "migrate_plan_lines"]

NAMED = 5
HEADER = ("column", "declared", "", "type", "why")


def migrate_plan_lines(plan: MigrationPlan) -> list[str]:
    """Lines above the question whether to migrate: the preflight."""
    choices = plan.choices
    label = f"  [{plan.environment}]" if plan.environment else ""
    rows = sum(choices.rows.values())
    there = "the tables are made" if plan.makes_tables else "into the tables that are there"
    lines = [
        f"From     {plan.source.address}, {many(len(choices.order), 'table')}, {many(rows, 'row')}",
        f"To       {plan.target.name} at {plan.target.address}{label}, {plan.state}; {there}",
        *_not_made(plan),
        *consent_lines(plan.consent),
    ]
    for name in choices.order:
        lines += ["", *_table_lines(plan, name)]
    lines += ["", *_behind("Cycle", (" → ".join([*cycle, cycle[0]]) for cycle in choices.cycles))]
    lines += _behind("Misfit", _misfits(plan))
    lines += _behind("Weaker", _weaker(plan))
    lines += _behind("Falls", map(_fall, plan.falls))
    lines += _behind("Rejects", _rejects(plan))
    lines += _behind("Stays", plan.losses)
    lines += _behind("Left out", plan.left_out)
    lines += _behind("Kept", (f"{name}, as {plan.target.name} has it" for name in plan.kept))
    for side, names in ((plan.source, choices.only_source), (plan.target, choices.only_target)):
        lines += _behind("Only in", (f"{side.name}: {name}" for name in names))
    return [*lines, *(f"Step     {i}. {step}" for i, step in enumerate(plan.steps, start=1))]


def _not_made(plan: MigrationPlan) -> list[str]:
    """Say first what one common table means for the others."""
    absent = plan.choices.only_source
    if plan.makes_tables or not absent:
        return []
    return [
        f"Behind   {plan.target.name} has tables of this database already: none is made beside them, and"
        f" {many(len(absent), 'table')} that it lacks, with {many(sum(plan.left_behind.values()), 'row')}, would stay behind:"
        f" {some(absent, NAMED)}"
    ]


def _table_lines(plan: MigrationPlan, name: str) -> list[str]:
    choices = plan.choices
    cells = [(one.column, one.declared, "→", one.type, one.why) for one in choices.columns[name]]
    head = f"Table    {name} → {choices.names[name]}, {many(choices.rows[name], 'row')}"
    return [head, *(f"         {line}" for line in table_lines(HEADER, cells)[1:])]


def _misfits(plan: MigrationPlan) -> list[str]:
    found = [_misfit(one) for name in plan.choices.order for one in plan.choices.columns[name] if one.misfits]
    return [*found, *map(_orphans, plan.orphans), *map(_clash, plan.clashes)]


def _weaker(plan: MigrationPlan) -> Iterable[str]:
    for one in (column for name in plan.choices.order for column in plan.choices.columns[name]):
        if one.weaker:
            stand = "stands" if one.weaker.values == 1 else "stand"
            shown = "; ".join(f"row {text}" for text in one.weaker.examples)
            yield (
                f"{one.table}.{one.column}: {one.type} instead of {one.weaker.type}, {count_text(one.weaker.values)}"
                f" of {count_text(one.weaker.of)} values {stand} in the way: {shown}; mend that, or say {one.weaker.flag}"
            )


def _orphans(one: Orphans) -> str:
    refer = "refers" if one.rows == 1 else "refer"
    return f"{one.place}: {many(one.rows, 'row')} {refer} to {one.nothing}: {_shown(one)}"


def _clash(one: Clash) -> str:
    have = "has" if one.rows == 1 else "have"
    return f"{one.place}: {many(one.rows, 'row')} {have} a key that is there already, in the new types: {_shown(one)}"


def _fall(one: Orphans) -> str:
    refer = "refers" if one.rows == 1 else "refer"
    return f"{one.place}: {many(one.rows, 'row')} {refer} to a row of {one.references} that is left out: {_shown(one)}"


def _shown(one: Orphans | Clash) -> str:
    return "; ".join(f"row {text}" for text in one.examples)


def _rejects(plan: MigrationPlan) -> list[str]:
    found = plan.rejects or plan.would_reject
    if not found:
        return []
    rows = many(sum(found.values()), "row")
    each = ", ".join(f"{count_text(count)} of {name}" for name, count in found.items())
    if plan.rejects:
        return [f"{rows} will be left out: {each}"]
    return [
        f"--on-error=skip would leave out {rows} of {count_text(sum(plan.choices.rows.values()))}: {each}"
    ]


def _misfit(one: ColumnChoice) -> str:
    shown = f": {'; '.join(f'row {text}' for text in one.examples)}" if one.examples else ""
    return f"{one.table}.{one.column}: {many(one.misfits, 'value')} will not fit {one.type}{shown}"


def _behind(label: str, texts: Iterable[str]) -> list[str]:
    return [f"{label:<9}{text}" for text in texts]


def migrate_lines(report: MigrationReport) -> list[str]:
    """Lines after a migration."""
    cells = [
        (
            table.name,
            count_text(table.proof.source_rows),
            count_text(table.proof.target_rows),
            count_text(table.proof.rejected) if table.proof.rejected else "",
            table.proof.checksum[:16],
        )
        for table in report.tables
    ]
    header = ("table", report.source.name, "arrived", "left out", "checksum")
    sign = "·" if report.has_losses else "✓"
    return [
        f"{sign} migrated {report.source.name} into {report.target.name} in {duration_text(report.seconds)}:"
        f" {many(len(report.tables), 'table')}, {many(report.rows, 'row')}, every one proved on both sides",
        *(f"  {line}" for line in table_lines(header, cells, right=(1, 2, 3))),
        *_after(report),
    ]


def _after(report: MigrationReport) -> Sequence[str]:
    lines = _next_numbers(report)
    lines += [
        f"  not compared: {table.name}.{name}, only the server can read its type"
        for table in report.tables
        for name in table.proof.not_compared
    ]
    lines += [f"  stays behind: {text}" for text in report.losses]
    lines += [
        f"  stays behind: {many(count, 'row')} of {name}, which {report.target.name} does not have"
        for name, count in report.left_behind.items()
    ]
    if report.rejects:
        lines.append(f"  left out: {many(report.rejected, 'row')}, with the reasons in {report.rejects}")
        lines += [f"            {count_text(count)} of {cause}" for cause, count in report.causes.items()]
    lines.append(f"  backup of {report.source.name}: {report.source_backup.id}  {report.source_backup.path}")
    if report.page:
        lines += [f"  report: {report.page}", f"          {report.document}"]
    return [*lines, f"  for .env: {report.url_line}", *_way_back(report)]


def _way_back(report: MigrationReport) -> list[str]:
    """Give the statement a line of its own, to be pasted as it is."""
    back, _, rest = report.way_back.partition("; ")
    statement, _, what = rest.rpartition("; ")
    if report.made_database:
        where = "said from another database of that server"
    else:
        where = "with what was written there since" + ("" if report.made_tables else "; numbers go on")
    return [f"  way back: {back}", f"            {what}, {where}:", f"            {statement};"]


def _next_numbers(report: MigrationReport) -> list[str]:
    """Say which numbers come next: those that were tried in one line, with a word each of the others."""
    every = [(table.name, one) for table in report.tables for one in table.proof.next_values]
    lines = [f"  next number {name}.{next_value_text(one)}" for name, one in every if one.proved != "insert"]
    tried = [f"{name}.{one.column} {one.value:,}" for name, one in every if one.proved == "insert"]
    if tried:
        said = some(tried, NAMED)
        lines.insert(0, f"  next numbers, each proved by an insert that was rolled back: {said}")
    return lines


def migrate_plan_document(plan: MigrationPlan) -> dict[str, Any]:
    """What a migration would do."""
    choices = plan.choices
    return {
        "dry_run": True,
        "plan": {
            "source": target_object(plan.source),
            "target": target_object(plan.target),
            "environment": plan.environment,
            "state": str(plan.state),
            "makes_database": plan.makes_database,
            "makes_tables": plan.makes_tables,
            **consent_object(plan.consent),
            "tables": [
                {
                    "table": name,
                    "target_table": choices.names[name],
                    "rows": choices.rows[name],
                    "columns": [_column(one) for one in choices.columns[name]],
                }
                for name in choices.order
            ],
            "cycles": [list(cycle) for cycle in choices.cycles],
            "misfits": plan.misfits,
            "orphans": [{**_orphans_object(one), "by": one.by or None} for one in plan.orphans],
            "clashes": [
                {
                    "table": one.table,
                    "columns": list(one.columns),
                    "rows": one.rows,
                    "examples": list(one.examples),
                    "index": one.index or None,
                }
                for one in plan.clashes
            ],
            "falls": [_orphans_object(one) for one in plan.falls],
            "rejects": dict(plan.rejects),
            "would_reject": dict(plan.would_reject),
            "on_error": str(plan.job.on_error),
            "losses": list(plan.losses),
            "left_out": list(plan.left_out),
            "kept": list(plan.kept),
            "left_behind": dict(plan.left_behind),
            "only_source": list(choices.only_source),
            "only_target": list(choices.only_target),
            "steps": list(plan.steps),
        },
    }


def _orphans_object(one: Orphans) -> dict[str, Any]:
    return {
        "table": one.table,
        "columns": list(one.columns),
        "references": one.references,
        "rows": one.rows,
        "examples": list(one.examples),
    }


def _column(one: ColumnChoice) -> dict[str, Any]:
    return {
        "column": one.column,
        "into": one.into,
        "declared": one.declared,
        "type": one.type,
        "reason": one.why,
        "misfits": one.misfits,
        "examples": list(one.examples),
        "weaker": _weaker_object(one.weaker) if one.weaker else None,
    }


def _weaker_object(one: Weaker) -> dict[str, Any]:
    return {
        "type": one.type,
        "values": one.values,
        "examples": list(one.examples),
        "cast": one.flag,
    }


def migrate_document(report: MigrationReport) -> dict[str, Any]:
    """What a migration did, and what was proved of it."""
    return {"migration": report_object(report)}
