"""SQLite: backup by the online backup API, restore by the same API into the live file.

Reading order: `files` (opening, journals, who has the file open), `dump`,
`check`, `load`. A database file is never copied as a file while it may be
live, and a live file is never replaced: both corrupt it. Each is loaded when
it is asked for: what rows need is a third of all that a task loads.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ...errors import Refused
from ...events import OnEvent, ignore
from ...holdings import Holdings
from ...models import Archive, DatabaseFacts, Format, Route, SqliteTarget
from ...plans import (
    Checked,
    Described,
    Dumped,
    DumpPlan,
    DumpRequest,
    ExchangePlan,
    LoadPlan,
    LoadRequest,
    LoadStrategy,
    PartPlan,
    PartRequest,
    Standing,
    Swapped,
    TargetState,
)
from ...rows.comparison.held import HeldRows
from ...schemas import Schema
from ...settings import Settings
from ...stores import Draft
from ...stores.drafts import claim_draft, dead_drafts, discard_draft, drafts_in
from ...stores.proofs import ProofMark
from .. import Loaded, LoadedPart, OnKeep, Scratch
from . import facts, files

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

    def schema(self) -> Schema:
        """Read the definitions as SQLite keeps them: in the words they were made with."""
        from . import holdings

        return holdings.live_schema(self)

    def holdings(self) -> Holdings:
        """Count and read the definitions in one read transaction."""
        from . import holdings

        return holdings.live_holdings(self)

    def holdings_beside(self, archive: Archive) -> tuple[Holdings, Holdings]:
        """Read the document, and the file in one read transaction."""
        from .rows import holdings as rows_holdings

        return rows_holdings.holdings_beside(self, archive)

    def holdings_of(self, archive: Archive, *, as_rows: bool = False) -> Holdings:
        """Open an archive's database read-only, unpacked where it is compressed."""
        if archive.format is Format.ROWS:
            from ..rows.holdings import document_holdings

            return document_holdings(archive)
        from . import holdings

        return holdings.archive_holdings(archive, self.settings.migration_table, as_rows=as_rows)

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """Read the file in one read transaction."""
        from . import held_rows

        return held_rows.live_rows(self)

    def plan_dump(self, request: DumpRequest, *, globals_: bool = False) -> DumpPlan:
        """Prove that the file can be read and that nothing PostgreSQL-only is asked for."""
        if (request.format or self.settings.format) is Format.ROWS:
            from .rows import backup as rows

            return rows.plan_rows(self, request, globals_=globals_)
        from . import dump

        return dump.plan_dump(self, request, globals_=globals_)

    def dump(self, plan: DumpPlan, draft: Draft, on_event: OnEvent = ignore) -> Dumped:
        """Copy into a single file, count its rows."""
        if plan.format is Format.ROWS:
            from .rows import backup as rows

            return rows.dump_rows(self, plan, draft, on_event)
        from . import dump

        return dump.dump(self, plan, draft, on_event)

    def check(self, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False) -> Checked:
        """Run SQLite's own check on the archive: the full one where it is small or `thorough` asks for it."""
        if archive.format is Format.ROWS:
            from ..rows.archive import check_rows

            return check_rows(archive, on_event)
        from . import check

        return check.check_archive(archive, on_event, thorough=thorough)

    def describe(self, archive: Archive, on_event: OnEvent = ignore) -> Described:
        """Count every table, look at keys and migration."""
        if archive.format is Format.ROWS:
            from ..rows.archive import describe_rows

            return describe_rows(archive, on_event)
        from . import described

        return described.describe(archive, self.settings.migration_table, on_event)

    def drop_replaced(self, name: str, *, system_identifier: str = "") -> None:
        """Refuse: a restore here keeps a former file only when it was damaged, as the safety copy."""
        del system_identifier
        raise Refused(f"{name} is a safety copy; remove it yourself when it is no longer wanted")

    def kept_databases(self) -> dict[str, int | None]:
        """Name none: a restore writes into the file itself."""
        return {}

    def set_aside(self) -> dict[str, int]:
        """Name the folders with damaged files beside the live one."""
        from . import set_aside

        return set_aside.set_aside(self.path)

    def standing(self, kept: str | None) -> Standing:
        """Say nothing: a file has no number that tells it from another one at its path."""
        del kept
        return Standing()

    def plan_exchange(self, kept: str) -> ExchangePlan:
        """Refuse: a restore copies into the live file, and no former one is kept."""
        raise Refused(f"{kept} cannot take the place of {self.path.name}: an open file is never replaced")

    def exchange(self, plan: ExchangePlan, on_keep: OnKeep) -> Swapped:
        """Refuse, as the plan."""
        del on_keep
        raise Refused(f"{plan.kept} cannot take the place of {self.path.name}")

    def plan_load(self, archive: Archive, request: LoadRequest) -> LoadPlan:
        """Decide between creating, copying in and moving aside; prove that there is room."""
        if archive.format is Format.ROWS:
            from .rows import fit as rows_fit

            return rows_fit.plan_rows_load(self, archive, request)
        from . import load

        return load.plan_load(self, archive, request)

    def claimed(self) -> AbstractContextManager[None]:
        """Nothing to take: the file's own locks hold off whoever shares it."""
        return nullcontext()

    def left_over(self, ids: Collection[str] = ()) -> tuple[str, ...]:
        """Name the private folders of killed restores beside the file."""
        del ids
        return tuple(str(folder) for folder in dead_drafts(self.path.parent))

    def left_in_use(self, ids: Collection[str] = ()) -> dict[str, str]:
        """Name none: nobody can be at one but the run that made it."""
        del ids
        return {}

    def drop_left_over(self, name: str) -> None:
        """Remove one of them with all that is in it."""
        if Path(name) not in drafts_in(self.path.parent):
            raise Refused(
                f"{name} is not what a restore of {self.path.name} left", state="it was not touched"
            )
        lock = claim_draft(Path(name))
        if lock is not None:
            discard_draft(Path(name), lock)

    def left_proofs(self, mark: ProofMark) -> dict[str, str]:
        """Name none: what a proof makes lies in the backup folder."""
        del mark
        return {}

    def drop_left_proof(self, mark: ProofMark, name: str) -> None:
        """Refuse: there is none."""
        del mark
        raise Refused(f"{name} is not what a proof left", state="it was not touched")

    def load(
        self, plan: LoadPlan, archive: Archive, on_event: OnEvent = ignore, *, id_: str = ""
    ) -> AbstractContextManager[Loaded]:
        """Lay the backup down beside the live file, checked; `commit()` brings it in. Rows go into its tables."""
        del id_
        if plan.strategy is LoadStrategy.ROWS:
            from .rows import load as rows_load

            return rows_load.loading_rows(self, plan, archive, on_event)
        from . import load

        return load.loading(self, plan, archive, on_event)

    def plan_scratch(self, archive: Archive) -> str:
        """Prove that there is room for the backup in the store."""
        from . import scratch

        return scratch.plan_scratch(self, archive)

    def scratch(self, archive: Archive, on_event: OnEvent = ignore) -> AbstractContextManager[Scratch]:
        """Unpack the backup into a private file of the store, checked in full, which is gone when the block ends."""
        from . import scratch

        return scratch.scratch(self, archive, on_event)

    def plan_part(self, archive: Archive, request: PartRequest) -> PartPlan:
        """Look the tables up in the archive and in the live file, and compare their columns."""
        from .part import plan as part

        return part.plan_part(self, archive, request)

    def load_part(
        self, plan: PartPlan, archive: Archive, on_event: OnEvent = ignore
    ) -> AbstractContextManager[LoadedPart]:
        """Bring the tables in within one transaction of the live file."""
        from .part import load as load_part

        return load_part.loading_part(self, plan, archive, on_event)
