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
    from .executors.backup import BackupJob, BackupPlan, backup, plan_backup
    from .executors.browse import find, list_backups, list_runs, show
    from .executors.cleanup import CleanupPlan, CleanupResult, cleanup, plan_cleanup
    from .executors.inspect import InfoReport, inspect
    from .executors.restore import RestoreJob, RestorePlan, RestoreResult, plan_restore, restore
    from .executors.verify import Verified, verify
    from .models import Backup, Manifest, Type
    from .plans import DumpRequest, LoadRequest
    from .retention import Policy
    from .settings import Settings
    from .tasks import ns

__version__ = "0.1.0"

__all__ = [
    "Backup",
    "BackupJob",
    "BackupPlan",
    "Catalog",
    "CleanupPlan",
    "CleanupResult",
    "DbTasksError",
    "DumpRequest",
    "InfoReport",
    "LoadRequest",
    "Manifest",
    "Policy",
    "RestoreJob",
    "RestorePlan",
    "RestoreResult",
    "Settings",
    "Type",
    "Verified",
    "backup",
    "cleanup",
    "find",
    "inspect",
    "list_backups",
    "list_runs",
    "load_settings",
    "ns",
    "plan_backup",
    "plan_cleanup",
    "plan_restore",
    "restore",
    "show",
    "verify",
]

_HOMES = {
    "catalog": ("Catalog",),
    "engines.configured": ("load_settings",),
    "errors": ("DbTasksError",),
    "executors.backup": ("BackupJob", "BackupPlan", "backup", "plan_backup"),
    "executors.browse": ("find", "list_backups", "list_runs", "show"),
    "executors.cleanup": ("CleanupPlan", "CleanupResult", "cleanup", "plan_cleanup"),
    "executors.inspect": ("InfoReport", "inspect"),
    "executors.restore": ("RestoreJob", "RestorePlan", "RestoreResult", "plan_restore", "restore"),
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
