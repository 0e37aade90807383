"""Engines: one kind of database, reached by one route, dumped and loaded.

The contract every engine keeps (tests/contract/test_engine.py):

- `plan_dump()` and `plan_load()` only read. Whatever would make the work fail
  (a tool too old, a right missing, an extension not installable) is raised by
  them, before a byte is written.
- `dump()` fills a draft from one consistent snapshot and counts the rows in
  that same snapshot. It returns only if every child ended well.
- `check()` reads an archive to its end.
- `load()` is a context manager: inside the block the backup is loaded and can
  be counted, the live database is as it was. Only `commit()` changes it, at
  once and whole. Leaving the block without it removes everything.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from ..events import OnEvent, ignore
from ..models import Archive, DatabaseFacts, Route, Target
from ..plans import Checked, Dumped, DumpPlan, DumpRequest, LoadPlan, LoadRequest, Swapped, TargetState
from ..stores import Draft

__all__ = ["Engine", "Loaded", "OnKeep"]

OnKeep = Callable[[str], object]


class Loaded(Protocol):
    """A backup that is loaded and not yet live."""

    def counts(self) -> dict[str, int]:
        """Count the rows of every table that was loaded, `schema.table`, exactly."""

    def problems(self) -> tuple[str, ...]:
        """Name what else is wrong with the loaded data: broken foreign keys, invalid indexes."""

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Make it the live database.

        `on_keep` is told under which name the former one will be kept, before
        that happens; what it raises stops the commit.

        Raises:
            OperationFailed, Busy: it is not; the state says so, and the live database is as it was.
        """


class Engine(Protocol):
    """One database by one route."""

    @property
    def target(self) -> Target:
        """The database."""

    @property
    def route(self) -> Route:
        """Which way it is reached."""

    def state(self) -> TargetState:
        """Say what is there now."""

    def facts(self) -> DatabaseFacts:
        """Ask the database about itself.

        Raises:
            CannotReach: it does not answer.
        """

    def row_counts(self) -> dict[str, int]:
        """Count the live rows per table, exactly, in one snapshot."""

    def plan_dump(self, request: DumpRequest, *, globals_: bool = False) -> DumpPlan:
        """Prove that a dump can be made and say what it will hold.

        Raises:
            CannotReach: version, tool or right does not fit. UsageError: a table does not exist.
        """

    def dump(self, plan: DumpPlan, draft: Draft, on_event: OnEvent = ignore) -> Dumped:
        """Fill the draft.

        Raises:
            DumpFailed: it broke off. Busy: a lock inside the database was not given in time.
        """

    def check(self, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False) -> Checked:
        """Read an archive's inside to its end; thorough: with what takes long and hardly ever finds more.

        Raises:
            ArchiveDamaged: it is not whole. WrongEngine: it is another kind of file.
        """

    def drop_replaced(self, name: str, *, system_identifier: str = "") -> None:
        """Drop a former database that a restore of this target kept; gone already is fine.

        Raises:
            Refused: it is not one, or the server is another than the one of this identifier. Busy: somebody is connected to it.
        """

    def plan_load(self, archive: Archive, request: LoadRequest) -> LoadPlan:
        """Prove that the archive fits and say what loading it will do.

        Raises:
            CannotReach: version, extension or right does not fit; the hint names the way left.
        """

    def claimed(self) -> AbstractContextManager[None]:
        """Keep other machines' restores of this database away as long as the block, where the server can.

        Raises:
            Busy: another one is under way; says whose.
        """

    def load(
        self, plan: LoadPlan, archive: Archive, on_event: OnEvent = ignore
    ) -> AbstractContextManager[Loaded]:
        """Load beside or inside a transaction; see the module's contract.

        Raises:
            LoadFailed: it broke off; the live database is as it was.
        """
