"""Engines: one kind of database, reached by one route, dumped and loaded.

The contract every engine keeps (tests/contract/test_engine.py):

- `plan_dump()` and `plan_load()` only read. Whatever would make the work fail
  (a tool too old, a right missing, an extension not installable) is raised by
  them, before a byte is written.
- `dump()` fills a draft from one consistent snapshot and counts the rows in
  that same snapshot. It returns only if every child ended well.
- `check()` reads an archive to its end.
- `load_part()` is like `load()`, for single tables.
- `load()` is a context manager: inside the block the backup is loaded and can
  be counted, the live database is as it was. Only `commit()` changes it, at
  once and whole. Leaving the block without it removes everything.
- `scratch()` is the same without any `commit()`: what it loads never becomes live.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ..events import OnEvent, ignore
from ..holdings import Holdings
from ..models import Archive, DatabaseFacts, Route, Target
from ..plans import (
    Checked,
    Described,
    Dumped,
    DumpPlan,
    DumpRequest,
    ExchangePlan,
    Kept,
    LoadPlan,
    LoadRequest,
    PartPlan,
    PartRequest,
    Standing,
    Swapped,
    TargetState,
)
from ..rows.comparison.held import HeldRows
from ..schemas import Schema
from ..stores import Draft
from ..stores.proofs import ProofMark

__all__ = ["Engine", "Loaded", "LoadedPart", "OnKeep", "Scratch"]

OnKeep = Callable[[Kept], object]


class LoadedPart(Protocol):
    """Tables of a backup, or all of it, that are loaded and not yet live."""

    def counts(self) -> dict[str, int]:
        """Count the rows of every table that was loaded, `schema.table`, exactly."""

    def problems(self) -> tuple[str, ...]:
        """Name what else is wrong with the loaded data: broken foreign keys, invalid indexes."""

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        """Make it the live database.

        `on_keep` is told under which name the former one will be kept, and the
        numbers of both, before that happens; what it raises stops the commit.

        Raises:
            OperationFailed, Busy: it is not; the state says so, and this run changed nothing in the live database.
        """


class Loaded(LoadedPart, Protocol):
    """A whole backup that is loaded and not yet live."""

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        """Run SQL files in what was loaded, in order and all or nothing; constraints hold afterwards.

        Raises:
            LoadFailed: one failed; says which, and what the database said. Refused: one holds what no such file may.
        """


class Scratch(Protocol):
    """A backup that is loaded to be looked at, where it is in nobody's way."""

    @property
    def where(self) -> str:
        """What it was loaded into, for people and manifests."""

    @property
    def began(self) -> float:
        """When loading began, by `time.monotonic()`: a server may have been started before."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What did not come as it would in a restore, as far as it was looked at."""

    def counts(self) -> dict[str, int]:
        """As `LoadedPart.counts`."""

    def problems(self) -> tuple[str, ...]:
        """As `LoadedPart.problems`."""

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """As `Engine.held_rows`, of what was loaded."""


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

    def schema(self) -> Schema:
        """Read the live definitions.

        Raises:
            CannotReach: a tool or a right is missing. Busy: something stayed locked.
        """

    def holdings(self) -> Holdings:
        """Read what the database holds in one read-only snapshot: rows counted exactly, definitions.

        Raises:
            CannotReach: a tool or a right is missing. Busy: something stayed locked.
        """

    def holdings_beside(self, archive: Archive) -> tuple[Holdings, Holdings]:
        """Read what a rows backup holds, and what the database holds, both as far as such a backup tells it.

        Raises:
            ArchiveDamaged, Refused: it cannot be read, or one of its tables could be several here.
            CannotReach, Busy: as `holdings`.
        """

    def holdings_of(self, archive: Archive, *, as_rows: bool = False) -> Holdings:
        """Read what an archive holds without loading it; the database is not asked.

        `as_rows`: the definitions are to be compared with those of a rows backup, and are told as that tells them.

        Raises:
            ArchiveDamaged, WrongEngine, Refused, VersionMismatch: it cannot be read.
        """

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """Make the live rows readable, all in one read-only snapshot that lasts as long as the block.

        Raises:
            CannotReach: the database is not reached from this machine. Busy: something stayed locked.
        """

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

    def describe(self, archive: Archive, on_event: OnEvent = ignore) -> Described:
        """Read somebody else's archive, checked before, to its end and say what it tells of itself; needs no database.

        Raises:
            ArchiveDamaged, Refused: it is not whole, or holds what no dump holds.
        """

    def drop_replaced(self, name: str, *, system_identifier: str = "") -> None:
        """Drop a former database that a restore of this target kept; gone already is fine.

        Raises:
            Refused: it is not one, or the server is another than the one of this identifier. Busy: somebody is connected to it.
        """

    def kept_databases(self) -> dict[str, int | None]:
        """Name the former databases that restores of this target kept, by their names alone, with their sizes.

        None: this role may not ask for the size. An engine whose restores keep no database names none.

        Raises:
            CannotReach: the server does not answer.
        """

    def set_aside(self) -> dict[str, int]:
        """Name the folders into which restores of this target moved damaged files, with their sizes; none where that cannot be read."""

    def standing(self, kept: str | None) -> Standing:
        """Say which databases bear the live name and a kept one now; an engine without such numbers says nothing.

        Raises:
            CannotReach: the server does not answer.
        """

    def plan_exchange(self, kept: str) -> ExchangePlan:
        """Prove that a kept database can be given the live name back, and count the rows of both.

        Raises:
            Refused, CannotReach: it cannot; says why. The live database can still be restored into.
        """

    def exchange(self, plan: ExchangePlan, on_keep: OnKeep) -> Swapped:
        """Give the kept database the live name, and keep the live one; all or nothing.

        `on_keep` as in `Loaded.commit`. After a failure the live database has
        its name and its contents.

        Raises:
            Refused: they are not the planned ones any more. OperationFailed, Busy: nothing was changed.
            CannotReach: the server went away; which of the two is live is to be asked.
        """

    def plan_load(self, archive: Archive, request: LoadRequest) -> LoadPlan:
        """Prove that the archive fits and say what loading it will do.

        Raises:
            CannotReach: version, extension or right does not fit; the hint names the way left.
        """

    def claimed(self) -> AbstractContextManager[None]:
        """Keep other machines' restores of this database away as long as the block, where the server can.

        Inside it a `commit` or `exchange` takes no effect where that was lost meanwhile: Busy, or OperationFailed.

        Raises:
            Busy: another one is under way; says whose.
        """

    def left_over(self, ids: Collection[str] = ()) -> tuple[str, ...]:
        """Name what killed restores into this target left beside it, as far as nobody is at it.

        `ids`: of their records, for what they had no time to mark.

        Raises:
            CannotReach: the server does not answer.
        """

    def left_in_use(self, ids: Collection[str] = ()) -> dict[str, str]:
        """Name others of these, which stay because somebody is connected to them; with that and how they go in words.

        Nothing while another restore is at work.

        Raises:
            CannotReach: the server does not answer.
        """

    def drop_left_over(self, name: str) -> None:
        """Remove one of these; gone already is fine.

        Raises:
            Refused: it is not one. Busy: somebody is at it now.
        """

    def left_proofs(self, mark: ProofMark) -> dict[str, str]:
        """Name what a killed proof or migration left on this server; with the reason why one stays for now, empty where nothing does.

        Raises:
            CannotReach: the server does not answer. Busy: another one for that database is at work.
        """

    def drop_left_proof(self, mark: ProofMark, name: str) -> None:
        """Remove one of these; gone already is fine.

        Raises:
            Refused: it is not one, or another server's. Busy: somebody is at it now, or another run is at work.
        """

    def load(
        self, plan: LoadPlan, archive: Archive, on_event: OnEvent = ignore, *, id_: str = ""
    ) -> AbstractContextManager[Loaded]:
        """Load beside or inside a transaction; see the module's contract.

        `id_`: of the restore's record; what is made beside bears it in its name, where it has one.

        Raises:
            LoadFailed: it broke off; the live database is as it was.
        """

    def plan_scratch(self, archive: Archive) -> str:
        """Prove, by reading only, that `scratch` can be had for an archive; returns what it will be, for people.

        Raises:
            CannotReach: version, extension or right does not fit. StoreFull: no room. Refused: nothing could hold it.
        """

    def scratch(self, archive: Archive, on_event: OnEvent = ignore) -> AbstractContextManager[Scratch]:
        """Load an archive beside everything else, to look at it; gone when the block ends, however it ends.

        The live database need not be there, and is not touched.

        Raises:
            As `plan_scratch`. LoadFailed: what the archive holds cannot be loaded.
            Busy: another one of this database is under way. OperationFailed: it broke off for another reason.
        """

    def plan_part(self, archive: Archive, request: PartRequest) -> PartPlan:
        """Prove that single tables of an archive can be brought into the live database, and say how.

        Raises:
            UsageError: the archive does not hold a table. Refused: a foreign key, a column or a name is in
            the way; names it. CannotReach: version or right does not fit, or there is no such database.
        """

    def load_part(
        self, plan: PartPlan, archive: Archive, on_event: OnEvent = ignore
    ) -> AbstractContextManager[LoadedPart]:
        """Load what the plan says in one transaction of the live database; see the module's contract.

        `counts()` tells the plan's tables, and no others.

        Raises:
            LoadFailed, Refused, Busy: the live database is as it was.
        """
