"""Database backups: back up, restore, list, verify and clean up SQLite and PostgreSQL databases."""

from __future__ import annotations

from invoke.collection import Collection

from .backup import backup
from .boundary import DbTask
from .browse import info, list_, log, show
from .restore import restore
from .upkeep import cleanup, verify

__all__ = ["TASKS", "ns"]

TASKS: tuple[DbTask, ...] = (backup, restore, list_, show, info, verify, cleanup, log)

ns = Collection("db")
ns.__doc__ = __doc__
for _task in TASKS:
    ns.add_task(_task)
