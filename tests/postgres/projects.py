"""What the tests of whole runs on a server share: settings of a project beside it, a backup."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dbtasks
from dbtasks.models import Backup
from tests.fix_postgres import PgDatabase

__all__ = ["configured", "made_with"]


def configured(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    """Settings by which the server's own client tools do the work, and no backup goes while a test looks."""
    tools = {"via": "host", "pg_bin": str(database.server.bin), "keep": "9"}
    return dbtasks.load_settings(root, environ={}, url=database.url, **{**tools, **flags})


def made_with(config: dbtasks.Settings, **request: Any) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))
