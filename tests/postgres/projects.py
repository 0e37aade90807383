"""What the tests of whole runs on a server share: settings of a project beside it, a backup, an act at a phase."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dbtasks
from dbtasks.events import Event, Phase
from dbtasks.models import Backup
from tests.fix_postgres import PgDatabase

__all__ = ["at_phase", "configured", "made_with"]


def configured(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    """Settings by which the server's own client tools do the work, and no backup goes while a test looks."""
    tools = {"via": "host", "pg_bin": str(database.server.bin), "keep": "9"}
    return dbtasks.load_settings(root, environ={}, url=database.url, **{**tools, **flags})


def made_with(config: dbtasks.Settings, **request: Any) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))


def at_phase(name: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """Do something when a phase of that name begins."""

    def on_event(event: Event) -> None:
        if isinstance(event, Phase) and event.name == name:
            act()

    return on_event
