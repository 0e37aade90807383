"""The report of a migration: one page for people, and the same as JSON; private files under reports/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import StoreUnusable
from ...nouns import many
from ...stores.drafts import open_draft, sweep_drafts
from ...stores.local import translated

if TYPE_CHECKING:
    from ...models import Target
    from ...rows.migration.arriving import NextValue
    from ...rows.migration.weaker import Weaker
    from .values import MigratedTable, MigrationReport

__all__ = ["REPORTS", "next_value_text", "report_object", "report_stem", "reports_folder", "write_report"]

REPORTS = "reports"
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #ddd; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
code { font-family: ui-monospace, monospace; font-size: 90%; overflow-wrap: anywhere }
.good { color: #176617 } .bad { color: #a11 }
"""


def reports_folder(root: Path) -> Path:
    """Return the folder reports lie in, private, and made where it is missing.

    Raises:
        OperationFailed, StoreFull: it cannot be made. StoreUnusable: a link stands in its place.
    """
    folder = root / REPORTS
    with translated(f"cannot make the folder {folder}"):
        folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink():
        raise StoreUnusable(f"{folder} is a symbolic link", hint="make backup_dir itself point elsewhere")
    return folder


def report_stem(started_at: datetime, id_: str) -> str:
    """Return what the names of a report's files begin with."""
    return f"migration_{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{id_}"


def write_report(root: Path, stem: str, report: MigrationReport) -> tuple[Path, Path]:
    """Write page and JSON, each whole or not at all, 0600; returns where they lie.

    Raises:
        OperationFailed, StoreFull: they cannot be written.
    """
    folder = reports_folder(root)
    page, document = folder / f"{stem}.html", folder / f"{stem}.json"
    whole = replace(report, page=page, document=document)
    texts = {
        page: _page_of(whole),
        document: json.dumps(report_object(whole), indent=2, ensure_ascii=True) + "\n",
    }
    with translated(f"cannot write the report into {folder}"):
        sweep_drafts(folder)
    for final, text in texts.items():
        there = f"; {page} was written" if page.exists() else ""
        with translated(f"cannot write the report {final}{there}"), open_draft(folder) as draft:
            with draft.create() as stream:
                stream.write(text.encode("utf-8", "backslashreplace"))
            draft.path.replace(final)
    return page, document


# -- as JSON -------------------------------------------------------------------------------------


def report_object(report: MigrationReport) -> dict[str, Any]:
    """Return a report as a JSON object; no password is in it."""
    at = report.started_at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "id": report.id,
        "source": _side(report.source),
        "target": _side(report.target),
        "started_at": at,
        "seconds": round(report.seconds, 3),
        "made_database": report.made_database,
        "made_tables": report.made_tables,
        "rows": report.rows,
        "rejected": report.rejected,
        "rejects": str(report.rejects) if report.rejects else None,
        "causes": dict(report.causes),
        "tables": [_table_object(table) for table in report.tables],
        "losses": list(report.losses),
        "left_out": list(report.left_out),
        "kept": list(report.kept),
        "left_behind": dict(report.left_behind),
        "only_target": list(report.only_target),
        "source_backup": report.source_backup.id,
        "url_line": report.url_line,
        "way_back": report.way_back,
        "page": str(report.page) if report.page else None,
        "document": str(report.document) if report.document else None,
    }


def _side(target: Target) -> dict[str, str]:
    identity = target.identity
    return {"engine": str(identity.engine), "server": identity.server, "name": identity.name}


def _table_object(table: MigratedTable) -> dict[str, Any]:
    proof = table.proof
    return {
        "table": table.name,
        "target_table": table.target,
        "source_rows": proof.source_rows,
        "target_rows": proof.target_rows,
        "rejected": proof.rejected,
        "key": list(proof.key),
        "key_low": list(proof.key_low) or None,
        "key_high": list(proof.key_high) or None,
        "foreign_keys": proof.foreign_keys,
        "checksum": proof.checksum,
        "not_compared": list(proof.not_compared),
        "next_values": [
            {
                "column": one.column,
                "sequence": one.sequence,
                "value": one.value,
                "proved": one.proved,
                "reason": one.why or None,
            }
            for one in proof.next_values
        ],
        "columns": [
            {
                "column": one.column,
                "declared": one.declared,
                "type": one.type,
                "reason": one.kept or one.why,
                "weaker": _weaker_object(one.weaker) if one.weaker else None,
            }
            for one in table.columns
        ],
    }


def _weaker_object(one: Weaker) -> dict[str, Any]:
    """Return it without a value of anybody's."""
    return {"type": one.type, "values": one.values, "row": one.row_id, "cast": one.flag}


# -- for people ----------------------------------------------------------------------------------


def next_value_text(one: NextValue) -> str:
    """Say which number the next row gets, and how that was proved."""
    how = {"insert": "proved by an insert that was rolled back", "number": "the number is free"}
    said = how.get(one.proved, "not proved")
    return f"{one.column} {one.value:,}: {said}{f', {one.why}' if one.why else ''}"


def _page_of(report: MigrationReport) -> str:
    """Return the report as one page that needs nothing beside it."""
    title = f"{escape(report.source.name)} → {escape(report.target.name)}"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
            f"<style>{STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            *_head(report),
            *_proofs(report),
            *_columns(report),
            *_lists(report),
            "</body></html>",
            "",
        ]
    )


def _head(report: MigrationReport) -> Iterator[str]:
    yield (
        f'<p class="good">Every row that arrived was proved: {many(len(report.tables), "table")}, {many(report.rows, "row")}, in '
        f"{report.seconds:.1f} s, {report.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC.</p>"
    )
    if report.has_losses:
        yield f'<p class="bad">Not everything arrived: {escape("; ".join(_missing(report)))}.</p>'
    made = "made" if report.made_tables else "there before"
    database = "created" if report.made_database else "there before"
    yield from _rows(
        ("", ""),
        [
            ("From", _code(str(report.source.identity))),
            ("To", f"{_code(str(report.target.identity))} (the database was {database}, its tables {made})"),
            ("Backup of the source", _code(report.source_backup.id)),
            ("New line for .env", _code(report.url_line)),
            ("Way back", _code(report.way_back)),
        ],
    )


def _missing(report: MigrationReport) -> Iterator[str]:
    if report.rejected:
        were = "was" if report.rejected == 1 else "were"
        yield f"{many(report.rejected, 'row')} {were} left out, see {report.rejects}"
    for name, count in report.left_behind.items():
        yield f"{many(count, 'row')} of {name}, which the target does not have"


def _proofs(report: MigrationReport) -> Iterator[str]:
    yield (
        "<h2>Proof</h2><p>Each row was read on both sides, made one form, and summed; the order of the rows is nothing. Before"
        " they were committed the sums, the counts and the keys were alike, and every foreign key had what it refers to.</p>"
    )
    yield from _rows(
        (
            "table",
            "in PostgreSQL",
            "#rows in SQLite",
            "#arrived",
            "#left out",
            "keys",
            "#foreign keys",
            "next number",
            "checksum of every row",
        ),
        [
            (
                escape(table.name),
                escape(table.target),
                f"{table.proof.source_rows:,}",
                f"{table.proof.target_rows:,}",
                f"{table.proof.rejected:,}",
                escape(_range(table)),
                f"{table.proof.foreign_keys:,}",
                escape("; ".join(map(next_value_text, table.proof.next_values))),
                _code(table.proof.checksum),
            )
            for table in report.tables
        ],
    )


def _range(table: MigratedTable) -> str:
    low, high = ", ".join(table.proof.key_low), ", ".join(table.proof.key_high)
    return f"{', '.join(table.proof.key)}: {low} … {high}" if low or high else ""


def _columns(report: MigrationReport) -> Iterator[str]:
    yield "<h2>Columns</h2>"
    yield from _rows(
        ("column", "declared", "type", "why"),
        [
            (
                escape(f"{table.name}.{one.column}"),
                _code(one.declared),
                _code(one.type),
                escape(one.kept or one.why),
            )
            for table in report.tables
            for one in table.columns
        ],
    )


def _lists(report: MigrationReport) -> Iterator[str]:
    parts = {
        "Rows left out": [f"{count:,} of {cause}" for cause, count in report.causes.items()],
        "Not carried": report.losses,
        "Values not compared": [
            f"{table.name}.{name}: only the server can read its type"
            for table in report.tables
            for name in table.proof.not_compared
        ],
        "Columns of a weaker type": [
            f"{table.name}.{one.column}: {one.type} instead of {one.weaker.type}, for {many(one.weaker.values, 'value')}"
            f" of {one.weaker.of:,}, the first in row {one.weaker.row_id}: {one.weaker.flag}"
            for table in report.tables
            for one in table.columns
            if one.weaker
        ],
        "Left out, as asked for": report.left_out,
        "Left as the target has them": report.kept,
        "Only in the target": report.only_target,
        "Warnings": report.warnings,
    }
    for title, texts in parts.items():
        if texts:
            yield f"<h2>{title}</h2><ul>"
            yield from (f"<li>{escape(text)}</li>" for text in texts)
            yield "</ul>"


def _rows(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Lay out cells that are HTML already; a heading behind a # is that of numbers."""
    names = list(header)
    kinds = [' class="number"' if name.startswith("#") else "" for name in names]
    yield "<table>"
    if any(names):
        cells = (
            f"<th{kind}>{escape(name.lstrip('#'))}</th>" for name, kind in zip(names, kinds, strict=True)
        )
        yield f"<tr>{''.join(cells)}</tr>"
    for row in rows:
        yield f"<tr>{''.join(f'<td{kind}>{cell}</td>' for cell, kind in zip(row, kinds, strict=True))}</tr>"
    yield "</table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text else ""
