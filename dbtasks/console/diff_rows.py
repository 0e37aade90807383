"""The screen of db.diff --rows, and the same as a JSON object. Pure, as `screens` and `documents` are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from .drift import labelled
from .sides import side_object, side_text
from .text import count_text, many, table_lines

if TYPE_CHECKING:
    from ..executors.diff_rows import PlannedRowsDiff, RowsDiff, RowsSide, TableRows
    from ..rows.comparison.compare import RowValues

__all__ = [
    "planned_rows_document",
    "planned_rows_lines",
    "rows_diff_document",
    "rows_diff_lines",
    "withheld_text",
]

SHOWN = 20
"""How many lines of a kind are shown; all are in the JSON document."""
WIDEST = 60
"""Characters of a value on the screen."""
KINDS = ("added", "removed", "changed")


def rows_diff_lines(diff: RowsDiff, now: datetime) -> list[str]:
    """Lines of db.diff --rows."""
    differing = [table for table in diff.tables if table.differs]
    lines = [
        *labelled("Backup", [side_text(diff.backup, now, _withheld(diff.backup))]),
        *labelled("Against", [side_text(diff.against, now, _withheld(diff.against))]),
        *labelled("Rows", _row_texts(diff, differing)),
    ]
    for kind in KINDS:
        texts = [text for table in differing for text in _examples(table, kind)]
        lines += labelled(kind.capitalize(), texts, most=SHOWN)
    notes = [f"{table.name}: {note}" for table in diff.tables for note in table.notes]
    unread = [f"{name}: not compared, {why}" for name, why in diff.not_compared.items()]
    lines += labelled("Note", [*unread, *notes], most=SHOWN)
    return [*lines, *labelled("Note", diff.notes), _verdict(diff, differing)]


def withheld_text(diff: RowsDiff) -> str:
    """Say of which tables it is not known whether they differ."""
    names = ", ".join(diff.withheld[:SHOWN]) + (", …" if len(diff.withheld) > SHOWN else "")
    return f"this login may not read all rows of {names}: whether they differ is not known"


def _withheld(side: RowsSide) -> str:
    return f"{side.withheld} of them not to be read" if side.withheld else ""


def _row_texts(diff: RowsDiff, differing: list[TableRows]) -> list[str]:
    equal = len(diff.tables) - len(differing)
    same = f"{many(equal, 'table') if equal else 'no table'} with the same rows"
    if not differing:
        return [same]
    header = ("table", "backup", "live" if diff.against.live else "other", *KINDS, "")
    rows = [_table_row(table, live=diff.against.live) for table in differing[:SHOWN]]
    lines = table_lines(header, rows, right=(1, 2, 3, 4, 5))
    if len(differing) > SHOWN:
        lines.append(f"… and {len(differing) - SHOWN} more tables")
    return [*lines, same]


def _table_row(table: TableRows, *, live: bool) -> tuple[str, ...]:
    name = table.name if table.name == table.against else f"{table.name} / {table.against}"
    counts = (count_text(table.backup_rows), count_text(table.against_rows))
    if not table.in_against:
        return name, *counts, "", "", "", "only in the backup"
    if not table.in_backup:
        return name, *counts, "", "", "", "only live" if live else "only in the other"
    return name, *counts, *(f"{getattr(table, kind):,}" for kind in KINDS), ""


def _examples(table: TableRows, kind: str) -> Iterator[str]:
    """Name rows of one kind: by their keys in one line, or with their values in one line each."""
    rows: tuple[RowValues, ...] = getattr(table, f"{kind}_rows")
    if not rows:
        return
    more = getattr(table, kind) - len(rows)
    rest = f" and {more:,} more" if more else ""
    with_values = [row for row in rows if row.backup or row.against]
    if not with_values:
        names = ", ".join(table.key)
        yield f"{table.name}  {names} {', '.join(map(_key, rows))}{rest}"
        return
    for row in with_values:
        named = [f"{', '.join(table.key)} {_key(row)}"] if row.key else []
        # a row may be nothing but its key
        values = [text] if (text := _values(row)) else []
        yield f"{table.name}  {': '.join([*named, *values])}"
    if rest:
        yield f"{table.name} {rest}"


def _key(row: RowValues) -> str:
    values = [_value(value) for _, value in row.key]
    return values[0] if len(values) == 1 else f"({', '.join(values)})"


def _values(row: RowValues) -> str:
    """Return what changed, or of a row that only one side has all but its key."""
    keys = {name for name, _ in row.key}
    if row.backup is None or row.against is None:
        held = row.backup or row.against or ()
        return ", ".join(f"{name}={_value(value)}" for name, value in held if name not in keys)
    here, there = dict(row.backup), dict(row.against)
    changes = [f"{name} {_change(here[name], there[name])}" for name in row.differs]
    return ", ".join(changes)


def _change(value: Any, other: Any) -> str:
    old, new = _value(value), _value(other)
    return f"{old} → {new}" if old != new else f"{old}, which differs beyond what is shown of it"


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, dict):
        ((kind, text),) = value.items()
        shown = text if kind == "integer" else f"{kind} {text}"
    else:
        shown = json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= WIDEST else f"{shown[: WIDEST - 1]}…"


def _verdict(diff: RowsDiff, differing: list[TableRows]) -> str:
    if not differing:
        left = f"; {many(len(diff.not_compared), 'table')} not compared" if diff.not_compared else ""
        return f"No row differs{left}."
    sums = {kind: sum(getattr(table, kind) for table in differing) for kind in KINDS}
    said = [f"{many(number, 'row')} {kind}" for kind, number in sums.items() if number]
    alone = sum(1 for table in differing if not (table.in_backup and table.in_against))
    said += [f"{many(alone, 'table')} on one side only"] * bool(alone)
    span = (
        f"Since {diff.backup.name}"
        if diff.against.live
        else f"From {diff.backup.name} to {diff.against.name}"
    )
    return f"{span}: {', '.join(said)}."


# -- JSON ------------------------------------------------------------------------------------


def rows_diff_document(diff: RowsDiff) -> dict[str, Any]:
    """What lies between the rows, all of it."""
    return {
        "rows": {
            "differs": diff.differs,
            "backup": _side_object(diff.backup),
            "against": _side_object(diff.against),
            "tables": [_table_object(table) for table in diff.tables],
            "not_compared": [{"table": name, "why": why} for name, why in diff.not_compared.items()],
            "withheld": list(diff.withheld),
            "notes": list(diff.notes),
        }
    }


def _side_object(side: RowsSide) -> dict[str, Any]:
    return {
        **side_object(side),
        "engine": str(side.engine),
        "withheld": side.withheld,
    }


def _table_object(table: TableRows) -> dict[str, Any]:
    return {
        "table": table.name,
        "against_table": table.against,
        "differs": table.differs,
        "in_backup": table.in_backup,
        "in_against": table.in_against,
        "backup_rows": table.backup_rows,
        "against_rows": table.against_rows,
        **{kind: getattr(table, kind) for kind in KINDS},
        "key": list(table.key),
        "examples": {kind: _row_objects(getattr(table, f"{kind}_rows")) for kind in KINDS},
        "notes": list(table.notes),
    }


def _row_objects(rows: Iterable[RowValues]) -> list[dict[str, Any]]:
    return [
        {
            "key": dict(row.key) or None,
            "backup": None if row.backup is None else dict(row.backup),
            "against": None if row.against is None else dict(row.against),
            **({"differs": list(row.differs)} if row.differs else {}),
        }
        for row in rows
    ]


# -- a plan ----------------------------------------------------------------------------------


def planned_rows_lines(plan: PlannedRowsDiff) -> list[str]:
    """Lines of db.diff --rows --dry-run."""
    return [
        *labelled("Backup", [plan.backup]),
        *labelled("Against", [plan.against]),
        "Nothing was read or loaded (dry run).",
    ]


def planned_rows_document(plan: PlannedRowsDiff) -> dict[str, Any]:
    """Where the rows would come from."""
    return {"dry_run": True, "would_compare": {"backup": plan.backup, "against": plan.against}}
