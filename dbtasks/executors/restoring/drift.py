"""What a planned restore does to the definitions, and the migration step that comes after it."""

from __future__ import annotations

from dataclasses import dataclass

from ...engines import Engine
from ...errors import DbTasksError
from ...migrations import MigrationStep, migration_step
from ...models import Archive
from ...plans import LoadPlan, LoadStrategy, TargetState
from ...schemas import Schema, SchemaDrift, compare_schemas

__all__ = ["Drift", "planned_drift"]


@dataclass(frozen=True)
class Drift:
    """What lies between the schema of a backup and the live one, and between their migrations."""

    schema: SchemaDrift | None = None
    """None: not compared; `not_compared` says why, or there is nothing to compare with."""
    not_compared: str = ""
    migration: MigrationStep | None = None


def planned_drift(
    engine: Engine, archive: Archive, load: LoadPlan, from_check: Schema | None = None
) -> Drift:
    """Compare before a restore; only reads, and what cannot be read is no reason against the restore.

    `from_check` is the archive's schema where its check came by it and the plan did not.
    """
    if load.strategy is LoadStrategy.ROWS:
        # the definitions stay, and the plan itself says what differs
        return Drift()
    manifest, facts = archive.manifest, load.facts
    tables = [t.name for t in manifest.tables] if manifest else []
    revisions = (manifest.revision if manifest else None, facts.revision if facts else None)
    migration = migration_step(*revisions, tables=[*tables, *(facts.tables if facts else ())])
    backup = load.schema or from_check
    if backup is None or load.state is not TargetState.PRESENT:
        return Drift(migration=migration)
    try:
        live = engine.schema()
    except DbTasksError as exc:
        return Drift(not_compared=exc.message, migration=migration)
    return Drift(compare_schemas(backup, live), migration=migration)
