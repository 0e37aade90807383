"""db.diff's screen, and the same as a JSON object. Pure, as `screens` and `documents` are."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .drift import labelled, migration_lines, migration_object, schema_lines, schema_object
from .sides import side_object, side_text
from .text import count_text, many, table_lines

if TYPE_CHECKING:
    from ..executors.diff import DiffSummary, ExtensionDifference, Side, TableDifference

__all__ = ["diff_document", "diff_lines"]

SHOWN = 20
"""How many lines of a kind are shown; all are in the JSON document."""
UNKNOWN = "an unknown version"
BLIND = "counting does not see rows that were changed in place"


def diff_lines(summary: DiffSummary, now: datetime) -> list[str]:
    """Lines of db.diff."""
    against = summary.against
    lines = [
        *labelled("Backup", [side_text(summary.backup, now, _version(summary.backup))]),
        *labelled("Against", [side_text(against, now, _version(against))]),
        *_row_lines(summary),
        *schema_lines(summary.schema, summary.not_compared, live=against.live, most=SHOWN),
        *labelled("Server", _server_texts(summary), most=SHOWN),
        *migration_lines(summary.migration, live=against.live),
        *labelled("Session", summary.sessions, most=SHOWN),
        *labelled("Note", summary.notes),
    ]
    return [*lines, _verdict(summary)]


def _version(side: Side) -> str:
    number = side.server_version
    return f"PostgreSQL {number}" if number[:1].isdecimal() else number


# -- rows ------------------------------------------------------------------------------


def _row_lines(summary: DiffSummary) -> list[str]:
    if summary.not_counted:
        return labelled("Rows", [f"not compared: {summary.not_counted}"])
    equal = many(summary.equal_tables, "table") if summary.equal_tables else "no table"
    same = f"{equal} with the same number of rows; {BLIND}"
    if not summary.tables:
        return labelled("Rows", [same])
    live = summary.against.live
    header = ("table", "backup", "live" if live else "other", "")
    rows = [_table_row(table, live=live) for table in summary.tables[:SHOWN]]
    lines = table_lines(header, rows, right=(1, 2))
    if len(summary.tables) > SHOWN:
        lines.append(f"… and {many(len(summary.tables) - SHOWN, 'more table')}")
    return labelled("Rows", [*lines, same])


def _table_row(table: TableDifference, *, live: bool) -> tuple[str, str, str, str]:
    if not table.in_against:
        what = "comes back" if live else "only in the backup"
    elif not table.in_backup:
        what = "will be gone" if live else "only in the other"
    else:
        what = f"{(table.backup_rows or 0) - (table.against_rows or 0):+,}"
    return table.name, count_text(table.backup_rows), count_text(table.against_rows), what


# -- what a server has to have -------------------------------------------------------------


def _server_texts(summary: DiffSummary) -> list[str]:
    texts = [_extension(found, live=summary.against.live) for found in summary.extensions]
    return [*texts, *(f"a role is missing: {statement}" for statement in summary.create_roles)]


def _extension(found: ExtensionDifference, *, live: bool) -> str:
    other = "live" if live else "in the other"
    if found.backup_version is None:
        return f"extension {found.name}: {found.against_version or UNKNOWN} {other}, not in the backup"
    there = f"missing {other}" if found.against_version is None else f"{found.against_version} {other}"
    text = f"extension {found.name}: {found.backup_version or UNKNOWN} in the backup, {there}"
    if not live or found.offered_version == found.backup_version:
        return text
    offers = (
        f"the server offers {found.offered_version}"
        if found.offered_version
        else "the server cannot install it"
    )
    return f"{text}; {offers}"


# -- the end ------------------------------------------------------------------------------


def _verdict(summary: DiffSummary) -> str:
    if not summary.differs:
        unknown = [
            what for what, why in (("rows", summary.not_counted), ("schema", summary.not_compared)) if why
        ]
        return (
            f"No difference found; not compared: {' and '.join(unknown)}."
            if unknown
            else "No difference found."
        )
    if not summary.against.live:
        return "They differ."
    name = summary.backup.name
    if summary.not_counted:
        return f"They differ; how many rows a restore of {name} would change is not known."
    lost = sum(max(0, (t.against_rows or 0) - (t.backup_rows or 0)) for t in summary.tables)
    back = sum(max(0, (t.backup_rows or 0) - (t.against_rows or 0)) for t in summary.tables)
    dropped = sum(1 for t in summary.tables if not t.in_backup)
    gone = [many(lost, "row")] * bool(lost) + [many(dropped, "table")] * bool(dropped)
    acts = [f"take away {' and '.join(gone)}"] * bool(gone) + [f"bring back {many(back, 'row')}"] * bool(back)
    if not acts:
        return f"They differ; restoring {name} would leave the number of rows as it is."
    return f"Restoring {name} would {', and '.join(acts)}."


# -- JSON ----------------------------------------------------------------------------------


def diff_document(summary: DiffSummary) -> dict[str, Any]:
    """What lies between the two, all of it."""
    return {
        "diff": {
            "differs": summary.differs,
            "backup": _side_object(summary.backup),
            "against": _side_object(summary.against),
            "tables": [
                {
                    "table": t.name,
                    "backup_rows": t.backup_rows,
                    "against_rows": t.against_rows,
                    "in_backup": t.in_backup,
                    "in_against": t.in_against,
                }
                for t in summary.tables
            ],
            "equal_tables": summary.equal_tables,
            "not_counted": summary.not_counted or None,
            "schema": schema_object(summary.schema),
            "not_compared": summary.not_compared or None,
            "extensions": [
                {
                    "name": e.name,
                    "backup_version": e.backup_version,
                    "against_version": e.against_version,
                    "offered_version": e.offered_version,
                }
                for e in summary.extensions
            ],
            "roles_missing": list(summary.roles_missing),
            "create_roles": list(summary.create_roles),
            "sessions": list(summary.sessions),
            "migration": migration_object(summary.migration),
            "notes": list(summary.notes),
        }
    }


def _side_object(side: Side) -> dict[str, Any]:
    return {
        **side_object(side),
        "not_included": list(side.not_included),
        "server_version": side.server_version or None,
    }
