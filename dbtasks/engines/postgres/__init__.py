"""PostgreSQL by its own client tools: pg_dump, pg_restore, psql.

Reading order: `facts` (what is there), `tables` (what a dump is to hold),
`commands` (argument lists, pure), `prove` (a dump's plan), `dump`, `check`; for the way back `fit`,
`load` and what they use. Rows are never read by us here: pg_dump moves them,
we count, hash and prove.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from ...errors import CannotReach, DatabaseMissing, LoginRefused, QueryFailed, RightMissing, TargetUnreachable
from ...events import OnEvent, ignore
from ...holdings import Holdings
from ...models import Archive, DatabaseFacts, Format, PostgresTarget, Route
from ...plans import (
    Checked,
    Described,
    Dumped,
    DumpPlan,
    DumpRequest,
    ExchangePlan,
    LoadPlan,
    LoadRequest,
    PartPlan,
    PartRequest,
    Standing,
    Swapped,
    TargetState,
)
from ...rows.comparison.held import HeldRows
from ...runners import Runner
from ...schemas import Schema
from ...sessions import Session
from ...settings import Settings
from ...stores import Draft
from ...stores.proofs import ProofMark
from .. import Loaded, LoadedPart, OnKeep, Scratch
from . import facts
from .access import Access, HostAccess

if TYPE_CHECKING:
    from .exchange.claim import Claim

__all__ = ["PostgresEngine"]

DAMAGE = ("invalid database", "not a valid data directory", "could not open file", "could not read")
"""What the server says about a database that is listed and cannot be opened."""


class PostgresEngine:
    """One PostgreSQL database, reached by an `Access`; see `engines.Engine` for the contract.

    Nothing connects before it is asked. Leaving its block removes the private
    password file of the tools.
    """

    def __init__(
        self,
        target: PostgresTarget,
        settings: Settings,
        *,
        access: Access | None = None,
        why: str = "",
        on_event: OnEvent = ignore,
    ) -> None:
        self.target = target
        self.settings = settings
        self.access: Access = access or HostAccess(target, settings, why=why, on_event=on_event)
        self.claim: Claim | None = None
        """What `claimed` holds, while it does."""

    @property
    def route(self) -> Route:
        """Which way the server is reached."""
        return self.access.route

    @property
    def why(self) -> str:
        """Why this way, for people."""
        return self.access.why

    def __enter__(self) -> PostgresEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what the tools needed; the engine must not be used afterwards."""
        self.access.close()

    # -- ways to the server ------------------------------------------------------

    @property
    def runner(self) -> Runner:
        """The client tools, led to this server; the database comes by PGDATABASE in each command."""
        return self.access.runner

    @property
    def tool_version(self) -> str:
        """Name and version of the pg_dump that would be used.

        Raises:
            ToolMissing: there is none.
        """
        return f"pg_dump {self.runner.version('pg_dump')}"

    @contextmanager
    def session(self, database: str | None = None) -> Iterator[Session]:
        """Connect to the target's database, or to another one of the same server."""
        with self.access.session(database or self.target.database) as session:
            yield session

    @contextmanager
    def maintenance_session(self) -> Iterator[Session]:
        """Connect to the database from which others are created and renamed.

        Raises:
            CannotReach: neither maintenance_db nor, without one, postgres and template1 can be reached.
        """
        with ExitStack() as stack:
            yield self._enter_maintenance(stack)

    def _enter_maintenance(self, stack: ExitStack) -> Session:
        chosen = self.settings.maintenance_db
        *others, last = (chosen,) if chosen else ("postgres", "template1")
        for database in others:
            try:
                return stack.enter_context(self.session(database))
            except (DatabaseMissing, RightMissing, LoginRefused):
                continue
        return stack.enter_context(self.session(last))

    def server_version(self) -> int:
        """Return the server's version as a number, such as 180004; asked once."""
        return self._server_version

    @cached_property
    def _server_version(self) -> int:
        query = "SELECT pg_catalog.current_setting('server_version_num')::int"
        try:
            with self.session() as session:
                ((number,),) = session.rows(query)
        except (DatabaseMissing, LoginRefused):
            # not there, or there and broken: the server is the same
            with self.maintenance_session() as session:
                ((number,),) = session.rows(query)
        return int(number)

    # -- what is there -------------------------------------------------------------

    def state(self) -> TargetState:
        """Say what is there now.

        Raises:
            CannotReach: the server, the login or a right stands in the way of knowing.
        """
        try:
            with self.session() as session:
                return TargetState.PRESENT if facts.holds_objects(session) else TargetState.EMPTY
        except QueryFailed as exc:
            if exc.sqlstate.startswith("XX"):
                return TargetState.DAMAGED
            raise
        except (TargetUnreachable, LoginRefused) as exc:
            if not isinstance(exc, DatabaseMissing | LoginRefused) and not _tells_damage(exc):
                # no answer: the same server was only to be waited for once more
                raise
            return self._state_from_outside(exc)

    def _state_from_outside(self, refusal: CannotReach) -> TargetState:
        """Ask the maintenance database: the refusal's own words come in the server's language."""
        query = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s"
        try:
            with self.maintenance_session() as session:
                listed = session.rows(query, (self.target.database,))
        except CannotReach:
            raise refusal from None
        if not listed:
            return TargetState.MISSING
        if isinstance(refusal, DatabaseMissing) or _tells_damage(refusal):
            return TargetState.DAMAGED
        raise refusal

    def facts(self) -> DatabaseFacts:
        """Ask the database about itself."""
        with self.session() as session:
            return facts.database_facts(session, migration_table=self.settings.migration_table)

    def row_counts(self) -> dict[str, int]:
        """Count every table's rows in one snapshot; a partitioned table's are in its partitions."""
        with self.session() as session:
            return facts.table_rows(session)

    def schema(self) -> Schema:
        """Let pg_dump write the definitions."""
        from . import holdings

        return holdings.live_schema(self)

    def holdings(self) -> Holdings:
        """Count and read the definitions in one exported snapshot."""
        from . import holdings

        return holdings.live_holdings(self)

    def holdings_beside(self, archive: Archive) -> tuple[Holdings, Holdings]:
        """Read the document, and the catalogue by psycopg2 as the document tells of it."""
        from .rows import holdings as rows_holdings

        return rows_holdings.holdings_beside(self, archive)

    def holdings_of(self, archive: Archive, *, as_rows: bool = False) -> Holdings:
        """Read an archive's definitions by pg_restore, a script's by ourselves; rows as its manifest counts them."""
        from ..rows.holdings import OTHER_WORDS, document_holdings
        from . import holdings

        if archive.format is Format.ROWS:
            return document_holdings(archive)
        found = holdings.archive_holdings(self, archive)
        return replace(found, schema=None, no_schema=OTHER_WORDS) if as_rows else found

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """Lock the tables in ACCESS SHARE mode and read them by psycopg2, in one snapshot."""
        from . import held_rows

        return held_rows.live_rows(self)

    # -- out and in ------------------------------------------------------------------

    def plan_dump(self, request: DumpRequest, *, globals_: bool = False) -> DumpPlan:
        """Prove versions, rights and names; nothing is written."""
        from .dumping import prove
        from .rows import backup as rows

        if prove.format_of(self, request) is Format.ROWS:
            return rows.plan_rows(self, request, globals_=globals_)

        return prove.plan_dump(self, request, globals_=globals_)

    def dump(self, plan: DumpPlan, draft: Draft, on_event: OnEvent = ignore) -> Dumped:
        """Let pg_dump fill the draft from one exported snapshot, and count in it meanwhile; rows we read ourselves."""
        from .dumping import dump
        from .rows import backup as rows

        if plan.format is Format.ROWS:
            return rows.dump_rows(self, plan, draft, on_event)

        return dump.dump(self, plan, draft, on_event)

    def check(self, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False) -> Checked:
        """Read the archive to its end: custom and directory by pg_restore, sql by us; there is no deeper look."""
        from .archive import check

        del thorough
        if archive.format is Format.ROWS:
            from ..rows.archive import check_rows

            return check_rows(archive, on_event)
        return check.check_archive(self.runner, archive, on_event)

    def describe(self, archive: Archive, on_event: OnEvent = ignore) -> Described:
        """Read the archive as a script, through the gate, and count the rows of each COPY."""
        from .archive import described

        if archive.format is Format.ROWS:
            from ..rows.archive import describe_rows

            return describe_rows(archive, on_event)
        return described.describe(self, archive, on_event)

    def drop_replaced(self, name: str, *, system_identifier: str = "") -> None:
        """Drop a database that a swap renamed away; any other name, and another server, is refused."""
        from .exchange import replaced

        replaced.drop_replaced(self, name, system_identifier=system_identifier)

    def kept_databases(self) -> dict[str, int | None]:
        """Name the databases that swaps renamed away."""
        from .exchange import replaced

        return replaced.kept_databases(self)

    def set_aside(self) -> dict[str, int]:
        """Name none: a damaged database is kept by another name, as any that is replaced."""
        return {}

    def standing(self, kept: str | None) -> Standing:
        """Look up which databases bear these names."""
        from .exchange import way_back as exchange

        return exchange.standing(self, kept)

    def plan_exchange(self, kept: str) -> ExchangePlan:
        """Prove that the two databases may exchange their names, and count both."""
        from .exchange import way_back as exchange

        return exchange.plan_exchange(self, kept)

    def exchange(self, plan: ExchangePlan, on_keep: OnKeep) -> Swapped:
        """Exchange the two names in one transaction, sessions ended meanwhile."""
        from .exchange import way_back as exchange

        return exchange.exchange(self, plan, on_keep)

    def plan_load(self, archive: Archive, request: LoadRequest) -> LoadPlan:
        """Prove that the archive fits this server, and say what will be done."""
        from .loading import load
        from .rows import fit as rows_fit

        if archive.format is Format.ROWS:
            return rows_fit.plan_rows_load(self, archive, request)
        return load.plan_load(self, archive, request)

    def claimed(self) -> AbstractContextManager[None]:
        """Hold the server's own lock on restores of this database."""
        from .exchange import claim

        return claim.claimed(self)

    def prove_claimed(self, session: Session) -> None:
        """See that what `claimed` took is still held, right before what cannot be taken back; nothing where it was not asked.

        Raises:
            Busy, OperationFailed: it is not; nothing may be done then.
        """
        if self.claim is not None:
            self.claim.prove(session)

    def left_over(self, ids: Collection[str] = ()) -> tuple[str, ...]:
        """Name the unfinished databases of killed restores."""
        from .exchange import leftovers

        return leftovers.left_over(self, ids)

    def left_in_use(self, ids: Collection[str] = ()) -> dict[str, str]:
        """Say which of them stay because somebody is connected."""
        from .exchange import leftovers

        return leftovers.left_in_use(self, ids)

    def drop_left_over(self, name: str) -> None:
        """Drop one of them."""
        from .exchange import leftovers

        leftovers.drop_left_over(self, name)

    def left_proofs(self, mark: ProofMark) -> dict[str, str]:
        """Name the databases that a killed proof or migration made."""
        from .exchange import left_proofs

        return left_proofs.left_proofs(self, mark)

    def drop_left_proof(self, mark: ProofMark, name: str) -> None:
        """Drop one of them."""
        from .exchange import left_proofs

        left_proofs.drop_left_proof(self, mark, name)

    def load(
        self, plan: LoadPlan, archive: Archive, on_event: OnEvent = ignore, *, id_: str = ""
    ) -> AbstractContextManager[Loaded]:
        """Load beside the live database, or inside one transaction of it."""
        from .loading import load

        return load.loading(self, plan, archive, on_event, id_)

    def plan_scratch(self, archive: Archive) -> str:
        """Prove that the archive could be loaded into a new database of this server."""
        from .scratch import database as scratch

        return scratch.plan_scratch(self, archive)

    def scratch(self, archive: Archive, on_event: OnEvent = ignore) -> AbstractContextManager[Scratch]:
        """Load the archive into a new database of this server, which is dropped when the block ends."""
        from .scratch import database as scratch

        return scratch.scratch(self, archive, on_event)

    def plan_part(self, archive: Archive, request: PartRequest) -> PartPlan:
        """Look the tables up in the archive and in the live database, and prove that they fit."""
        from .part import fit as fit_part
        from .rows import part as rows_part

        if archive.format is Format.ROWS:
            return rows_part.plan_rows_part(self, archive, request)
        return fit_part.plan_part(self, archive, request)

    def load_part(
        self, plan: PartPlan, archive: Archive, on_event: OnEvent = ignore
    ) -> AbstractContextManager[LoadedPart]:
        """Play the tables' part of the archive inside one transaction."""
        from .part import load as load_part
        from .rows import part as rows_part

        if archive.format is Format.ROWS:
            return rows_part.loading_rows_part(self, plan, archive, on_event)
        return load_part.loading_part(self, plan, archive, on_event)


def _tells_damage(refusal: CannotReach) -> bool:
    said = refusal.details.lower()
    return any(sign in said for sign in DAMAGE)
