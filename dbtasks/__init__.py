"""Database backups: back up, restore, list, verify and clean up SQLite and PostgreSQL databases.

Mount it in a project's tasks.py:

    from invoke import Collection
    import dbtasks

    ns = Collection()
    ns.add_collection(dbtasks, name="db")

or use the same executors from Python:

    settings = dbtasks.load_settings(url="sqlite:///app.db")
    made = dbtasks.backup(settings)

Everything is loaded when it is first used: mounting costs a host's
`invoke --list` a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .catalog import Catalog
    from .engines.configured import load_settings
    from .errors import DbTasksError
    from .executors.adopt import AdoptJob, AdoptPlan, adopt, plan_adopt
    from .executors.backup import BackupJob, BackupPlan, backup, plan_backup
    from .executors.browse import find, list_backups, list_runs, show
    from .executors.cleanup import CleanupPlan, CleanupResult, cleanup, plan_cleanup
    from .executors.diff import DiffSummary, diff
    from .executors.diff_rows import RowsDiff, diff_rows
    from .executors.inspect import InfoReport, inspect
    from .executors.migrate import migrate
    from .executors.migration.plan import plan_migration
    from .executors.migration.values import MigrationJob, MigrationPlan, MigrationReport, OnError
    from .executors.prove_restore import Proved
    from .executors.restore import RestoreJob, RestorePlan, RestoreResult, plan_restore, restore
    from .executors.restore_tables import (
        TablesJob,
        TablesPlan,
        TablesResult,
        plan_restore_tables,
        restore_tables,
    )
    from .executors.undo import UndoPlan, UndoResult, plan_undo, undo
    from .executors.verify import Verified, verify
    from .models import Backup, Manifest, Type
    from .plans import DumpRequest, LoadRequest
    from .retention import Policy
    from .settings import Settings
    from .tasks import ns

__version__ = "0.1.0"

__all__ = [
    "AdoptJob",
    "AdoptPlan",
    "Backup",
    "BackupJob",
    "BackupPlan",
    "Catalog",
    "CleanupPlan",
    "CleanupResult",
    "DbTasksError",
    "DiffSummary",
    "DumpRequest",
    "InfoReport",
    "LoadRequest",
    "Manifest",
    "MigrationJob",
    "MigrationPlan",
    "MigrationReport",
    "OnError",
    "Policy",
    "Proved",
    "RestoreJob",
    "RestorePlan",
    "RestoreResult",
    "RowsDiff",
    "Settings",
    "TablesJob",
    "TablesPlan",
    "TablesResult",
    "Type",
    "UndoPlan",
    "UndoResult",
    "Verified",
    "adopt",
    "backup",
    "cleanup",
    "diff",
    "diff_rows",
    "find",
    "inspect",
    "list_backups",
    "list_runs",
    "load_settings",
    "migrate",
    "ns",
    "plan_adopt",
    "plan_backup",
    "plan_cleanup",
    "plan_migration",
    "plan_restore",
    "plan_restore_tables",
    "plan_undo",
    "restore",
    "restore_tables",
    "show",
    "undo",
    "verify",
]

_HOMES = {
    "catalog": ("Catalog",),
    "engines.configured": ("load_settings",),
    "errors": ("DbTasksError",),
    "executors.adopt": ("AdoptJob", "AdoptPlan", "adopt", "plan_adopt"),
    "executors.backup": ("BackupJob", "BackupPlan", "backup", "plan_backup"),
    "executors.browse": ("find", "list_backups", "list_runs", "show"),
    "executors.cleanup": ("CleanupPlan", "CleanupResult", "cleanup", "plan_cleanup"),
    "executors.diff": ("DiffSummary", "diff"),
    "executors.diff_rows": ("RowsDiff", "diff_rows"),
    "executors.inspect": ("InfoReport", "inspect"),
    "executors.migrate": ("migrate",),
    "executors.migration.plan": ("plan_migration",),
    "executors.migration.values": ("MigrationJob", "MigrationPlan", "MigrationReport", "OnError"),
    "executors.prove_restore": ("Proved",),
    "executors.restore": ("RestoreJob", "RestorePlan", "RestoreResult", "plan_restore", "restore"),
    "executors.restore_tables": (
        "TablesJob",
        "TablesPlan",
        "TablesResult",
        "plan_restore_tables",
        "restore_tables",
    ),
    "executors.undo": ("UndoPlan", "UndoResult", "plan_undo", "undo"),
    "executors.verify": ("Verified", "verify"),
    "models": ("Backup", "Manifest", "Type"),
    "plans": ("DumpRequest", "LoadRequest"),
    "retention": ("Policy",),
    "settings": ("Settings",),
    "tasks": ("ns",),
}
_WHERE = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    home = _WHERE.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
