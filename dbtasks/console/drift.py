"""What happens to definitions and migrations: lines and JSON objects of db.diff and of a restore's plan. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..migrations import MigrationStep, Order
from ..nouns import some
from ..revisions import revision_summary
from .text import many

if TYPE_CHECKING:
    from ..executors.restoring.drift import Drift
    from ..models import Revision
    from ..schemas import ObjectChange, SchemaDrift

__all__ = [
    "after_restore_line",
    "drift_document",
    "drift_lines",
    "labelled",
    "migration_lines",
    "migration_object",
    "schema_lines",
    "schema_object",
]

SHOWN_IN_A_PLAN = 8
"""How many lines are shown; all are in the JSON document."""
REVISIONS_SHOWN = 3
INDENT = 9
ORDERS = {
    Order.SAME: "the same",
    Order.OLDER: "the backup is older",
    Order.NEWER: "the backup is newer",
    Order.DIVERGED: "each has migrations that the other lacks",
    Order.UNKNOWN: "their order is not known",
}


def labelled(label: str, texts: Iterable[str], *, most: int | None = None) -> list[str]:
    """Write texts below each other behind one label, at most so many."""
    listed = list(texts)
    shown = listed if most is None else listed[:most]
    more = [f"… and {len(listed) - len(shown)} more"] if len(shown) < len(listed) else []
    width = max(INDENT, len(label) + 1)
    return [f"{label if i == 0 else '':<{width}}{text}" for i, text in enumerate((*shown, *more))]


# -- definitions -----------------------------------------------------------------------


def drift_lines(drift: Drift) -> list[str]:
    """Lines of a restore's plan: what happens to the definitions, in short, and the migration step."""
    lines = []
    if drift.schema is not None or drift.not_compared:
        lines = schema_lines(drift.schema, drift.not_compared, live=True, most=SHOWN_IN_A_PLAN)
    return [*lines, *migration_lines(drift.migration)]


def schema_lines(drift: SchemaDrift | None, not_compared: str, *, live: bool, most: int) -> list[str]:
    """What a backup would bring back, take away and change among the definitions, or where two backups differ."""
    if drift is None:
        return labelled("Schema", [f"not compared: {not_compared}"])
    back, gone, changes = (
        ("comes back", "will be gone", "changes")
        if live
        else ("only in the backup", "only in the other", "differs")
    )
    texts = [
        *(f"{back}: {text}" for text in _folded(drift.only_in_backup)),
        *(f"{gone}: {text}" for text in _folded(drift.only_against)),
        *(line for change in drift.changed for line in _changed(changes, change)),
        *(f"owner: {text}" for text in drift.owners),
        *(f"privilege: {text}" for text in drift.privileges),
    ]
    if drift.uncertain:
        names = some((f"{c.type} {c.name}" for c in drift.uncertain), most)
        texts.append(f"not certain ({drift.why_uncertain}): {names}")
    return labelled("Schema", texts or ["the same"], most=most)


def _folded(objects: Sequence[ObjectChange]) -> list[str]:
    """Name objects, tables first; what comes and goes with a table is only counted."""
    tables = {o.name for o in objects if o.type == "table"}
    alone = [o for o in objects if o.table not in tables]
    with_it = Counter(o.table for o in objects)
    texts = []
    for found in sorted(alone, key=lambda o: (o.type != "table", o.type, o.name)):
        inside = with_it[found.name] if found.type == "table" else 0
        texts.append(
            f"{found.type} {found.name}" + (f" (with {many(inside, 'object')} of its own)" if inside else "")
        )
    return texts


def _changed(word: str, change: ObjectChange) -> list[str]:
    return [f"{word}: {change.type} {change.name}", *(f"  {detail}" for detail in change.details)]


# -- migrations ------------------------------------------------------------------------


def migration_lines(step: MigrationStep | None, *, live: bool = True) -> list[str]:
    """Where the schema migrations stand on both sides, and what to run after a restore."""
    if step is None:
        return []
    other = "live" if live else "the other"
    lines = [
        f"{step.tool}: backup at {_stand(step.backup)}, {other} at {_stand(step.against)}: {ORDERS[step.order]}"
    ]
    if step.only_against:
        lines.append(f"not in the backup: {some(step.only_against, REVISIONS_SHOWN)}")
    if step.only_in_backup:
        lines.append(f"only in the backup: {some(step.only_in_backup, REVISIONS_SHOWN)}")
    if step.note:
        lines.append(step.note)
    if live and (after := _afterwards(step)):
        lines.append(f"after restoring it, {after}")
    return labelled("Migrate", lines)


def _afterwards(step: MigrationStep) -> str:
    """Say what comes after a restore, with the command; empty where nothing does."""
    if step.backup is None or not step.command or step.order is Order.SAME:
        return ""
    newer = step.order is Order.NEWER
    return f"{'once the code is as new as the backup, ' if newer else ''}run: {step.command}"


def after_restore_line(step: MigrationStep) -> str:
    """Say where the migrations of what was restored stand, and what to run now; empty where it has none."""
    if step.backup is None:
        return ""
    stands = f"its schema stands at {step.tool} {_stand(step.backup)}"
    if step.order is Order.SAME:
        return f"{stands}, as before: there is no migration to run"
    after = _afterwards(step)
    return f"{stands}; {after}" if after else stands


def _stand(revision: Revision | None) -> str:
    if revision is None:
        return "none that is known"
    return revision_summary(revision).removeprefix(revision.tool).removeprefix(":").strip() or "none"


# -- JSON ---------------------------------------------------------------------------------


def drift_document(drift: Drift) -> dict[str, Any]:
    """The same parts of a restore's plan."""
    return {
        "schema": schema_object(drift.schema),
        "not_compared": drift.not_compared or None,
        "migration": migration_object(drift.migration),
    }


def schema_object(drift: SchemaDrift | None) -> dict[str, Any] | None:
    """Return the whole drift, nothing folded; None where it was not compared."""
    if drift is None:
        return None
    return {
        "only_in_backup": [_object(o) for o in drift.only_in_backup],
        "only_against": [_object(o) for o in drift.only_against],
        "changed": [_object(o) for o in drift.changed],
        "uncertain": [_object(o) for o in drift.uncertain],
        "why_uncertain": drift.why_uncertain or None,
        "owners": list(drift.owners),
        "privileges": list(drift.privileges),
    }


def _object(change: ObjectChange) -> dict[str, Any]:
    return {
        "type": change.type,
        "name": change.name,
        "table": change.table or None,
        "details": list(change.details),
    }


def migration_object(step: MigrationStep | None) -> dict[str, Any] | None:
    """Return the migration step; None where no tool is known."""
    if step is None:
        return None
    return {
        "tool": step.tool,
        "backup": list(step.backup.revisions) if step.backup else None,
        "against": list(step.against.revisions) if step.against else None,
        "order": str(step.order),
        "only_in_backup": list(step.only_in_backup),
        "only_against": list(step.only_against),
        "command": step.command,
        "note": step.note or None,
    }
