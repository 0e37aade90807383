"""Database backups: back up, restore, list, verify and clean up SQLite and PostgreSQL databases."""

from __future__ import annotations

from invoke.collection import Collection

from .adopt import adopt
from .backup import backup
from .boundary import DbTask
from .browse import info, list_, log, show
from .diff import diff
from .migrate import migrate
from .restore import restore
from .undo import undo
from .upkeep import cleanup
from .verify import verify

__all__ = ["TASKS", "ns"]

TASKS: tuple[DbTask, ...] = (
    backup,
    restore,
    undo,
    diff,
    list_,
    show,
    info,
    verify,
    adopt,
    migrate,
    cleanup,
    log,
)

ns = Collection("db")
ns.__doc__ = __doc__
for _task in TASKS:
    ns.add_task(_task)
