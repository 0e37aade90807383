"""SQLite: backup by the file's bytes under a read lock or by the online backup API, restore by that API into the live file.

Reading order: `files` (opening, journals, who has the file open), `dump`,
`check`, `load`. A database file is never copied as a file while it may be
live, and a live file is never replaced: both corrupt it.
"""

from __future__ import annotations

import sqlite3
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ...errors import Refused
from ...events import OnEvent, ignore
from ...models import Archive, DatabaseFacts, Route, SqliteTarget
from ...plans import Checked, Dumped, DumpPlan, DumpRequest, LoadPlan, LoadRequest, TargetState
from ...settings import Settings
from ...stores import Draft
from .. import Loaded
from . import check, dump, facts, files, load

__all__ = ["SqliteEngine"]


class SqliteEngine:
    """One SQLite file; see `engines.Engine` for the contract."""

    route = Route.FILE

    def __init__(self, target: SqliteTarget, settings: Settings) -> None:
        self.target = target
        self.settings = settings

    @property
    def path(self) -> Path:
        """The database file."""
        return self.target.path

    @property
    def tool_version(self) -> str:
        """The library all work is done with."""
        return f"SQLite {sqlite3.sqlite_version}"

    def state(self) -> TargetState:
        """Say what is there now; a file that fails its integrity check is damaged."""
        return facts.state_of(self.path, self.settings.lock_timeout)

    def facts(self) -> DatabaseFacts:
        """Ask the file about itself."""
        with files.reading(self.path, self.settings.lock_timeout) as connection:
            return facts.facts_of(connection, self.path, self.settings.migration_table)

    def row_counts(self) -> dict[str, int]:
        """Count every table's rows in one read transaction."""
        with files.reading(self.path, self.settings.lock_timeout) as connection:
            connection.execute("BEGIN")
            return facts.count_rows(connection)

    def plan_dump(self, request: DumpRequest, *, globals_: bool = False) -> DumpPlan:
        """Prove that the file can be read and that nothing PostgreSQL-only is asked for."""
        return dump.plan_dump(self, request, globals_=globals_)

    def dump(self, plan: DumpPlan, draft: Draft, on_event: OnEvent = ignore) -> Dumped:
        """Copy into a single file, count its rows."""
        return dump.dump(self, plan, draft, on_event)

    def check(self, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False) -> Checked:
        """Run SQLite's own check on the archive: the full one where it is small or `thorough` asks for it."""
        return check.check_archive(archive, on_event, thorough=thorough)

    def drop_replaced(self, name: str, *, system_identifier: str = "") -> None:
        """Refuse: a restore here keeps a former file only when it was damaged, as the safety copy."""
        del system_identifier
        raise Refused(f"{name} is a safety copy; remove it yourself when it is no longer wanted")

    def plan_load(self, archive: Archive, request: LoadRequest) -> LoadPlan:
        """Decide between creating, copying in and moving aside; prove that there is room."""
        return load.plan_load(self, archive, request)

    def claimed(self) -> AbstractContextManager[None]:
        """Nothing to take: the file's own locks hold off whoever shares it."""
        return nullcontext()

    def load(
        self, plan: LoadPlan, archive: Archive, on_event: OnEvent = ignore
    ) -> AbstractContextManager[Loaded]:
        """Lay the backup down beside the live file, checked; `commit()` brings it in."""
        return load.loading(self, plan, archive, on_event)
