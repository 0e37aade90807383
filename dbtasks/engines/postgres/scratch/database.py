"""A backup loaded into a scratch database, to be looked at: by the code of a restore, which is never told to go live.

To that code it is the restore of a database that does not exist. So every
proof of a restore holds here too: versions, extensions, rights, what may do
harm; and so does what removes a killed run's leftovers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from ....errors import (
    ArchiveDamaged,
    CannotReach,
    DbTasksError,
    LoadFailed,
    QueryFailed,
    Refused,
    RightMissing,
    StoreFull,
    TargetUnreachable,
    VersionMismatch,
    WrongEngine,
)
from ....events import OnEvent
from ....models import Archive, EngineName, Format
from ....plans import LoadPlan, LoadRequest, LoadStrategy
from ....rows.comparison.held import HeldRows
from ....stores.proofs import ProofMark, marking_proof
from ... import Scratch
from ...rows.archive import engine_of_rows, head_to_prove, not_provable
from ..held_rows import live_rows
from ..last_words import connection_lost, disk_full, lacks_codec, lacks_right, way_left
from ..loading.beside import LoadedBeside, loading_beside
from ..loading.fit import plan_load
from ..names import scratch_name
from ..rows.fit import plan_rows_load

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["plan_scratch", "said_so", "scratch"]

ID_BYTES = 3
READ_ONLY = "25006"
UNTOUCHED = "nothing was touched"
STATE = "no live database was touched, and what was loaded is removed"


class _Loaded:
    """The scratch database; see `engines.Scratch`."""

    def __init__(
        self,
        where: str,
        began: float,
        loaded: LoadedBeside,
        left_out: tuple[str, ...],
        engine: PostgresEngine,
    ) -> None:
        self._engine = engine
        self.where = where
        self.began = began
        self._loaded = loaded
        self._left_out = left_out

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was left out or came otherwise: owners, locale; sequences once `problems` has looked."""
        return (*self._left_out, *self._loaded.warnings)

    def counts(self) -> dict[str, int]:
        """Count every table in one snapshot."""
        return self._loaded.counts()

    def problems(self) -> tuple[str, ...]:
        """Name invalid indexes, sequences and extensions that did not come."""
        return self._loaded.problems()

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """Read what was loaded, in one snapshot."""
        return live_rows(self._engine)


def _beside(engine: PostgresEngine, archive: Archive) -> PostgresEngine:
    """Return an engine for the database a scratch one is loaded for: on the same server, of a name nobody has.

    It uses the other one's way to the server, which stays open for that one to close.
    """
    name = archive.manifest.database.name if archive.manifest else engine.target.database
    target = replace(engine.target, database=scratch_name(name))
    # what is proven is the backup's own schema, not what the project's command makes
    settings = replace(engine.settings, schema_command=())
    return type(engine)(target, settings, access=engine.access)


def plan_scratch(engine: PostgresEngine, archive: Archive) -> str:
    """See `Engine.plan_scratch`."""
    beside = _beside(engine, archive)
    _plan(beside, archive)
    return _where(beside)


@contextmanager
def scratch(
    engine: PostgresEngine, archive: Archive, on_event: OnEvent, *, marked: bool = True
) -> Iterator[Scratch]:
    """See `Engine.scratch`; the database is dropped when the block ends.

    `marked`: the backup folder tells of it until then.
    """
    beside = _beside(engine, archive)
    with ExitStack() as stack:
        with said_so(archive):
            plan = _plan(beside, archive)
            # only other proofs of this database wait for this one: the live one has a lock of its own
            stack.enter_context(beside.claimed())
            began = time.monotonic()
            id_ = os.urandom(ID_BYTES).hex()
            if marked:
                mark = ProofMark(beside.target.identity.server, beside.target.database, id_)
                stack.enter_context(marking_proof(engine.settings.backup_dir, mark))
            loaded = stack.enter_context(loading_beside(beside, plan, archive, on_event, id_))
        target = replace(beside.target, database=loaded.new)
        inside = type(engine)(target, engine.settings, access=engine.access)
        yield _Loaded(_where(beside), began, loaded, plan.warnings, inside)


def _where(beside: PostgresEngine) -> str:
    version = beside.server_version()
    number = f"{version // 10_000}.{version % 10_000}"
    return f"a scratch database of {beside.target.identity.server} (PostgreSQL {number})"


def _plan(beside: PostgresEngine, archive: Archive) -> LoadPlan:
    """Plan it as a restore that has to make its database; without owners and privileges where the role may not give them."""
    request = LoadRequest(jobs=beside.settings.jobs, analyze=False)
    if archive.format is Format.ROWS:
        plan = _plan_rows(beside, archive, request)
    else:
        plan = _plan_whole(beside, archive, request)
    if plan.strategy is not LoadStrategy.CREATE:
        raise Refused(
            f"there is a database {beside.target.name}, and a proof needs that name to be nobody's",
            state=STATE,
        )
    return plan


def _plan_whole(beside: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    try:
        return plan_load(beside, archive, request)
    except RightMissing as exc:
        try:
            return plan_load(beside, archive, replace(request, no_owner=True))
        except RightMissing:
            raise exc from None


def _plan_rows(beside: PostgresEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """Plan it by the backup's own schema: what that cannot make here stands in the way of a proof, and is no damage."""
    head_to_prove(archive)
    if engine_of_rows(archive) is not EngineName.POSTGRESQL:
        raise WrongEngine(f"{archive.path.name} holds rows of SQLite, and is proven there", state=UNTOUCHED)
    try:
        return plan_rows_load(beside, archive, request)
    except Refused as exc:
        raise not_provable(archive, exc) from exc


@contextmanager
def said_so(archive: Archive) -> Iterator[None]:
    """Tell what the archive is at fault for from what the server or the role is, and say what is left: nothing."""
    try:
        yield
    except LoadFailed as exc:
        if lacks_right(exc.details):
            raise RightMissing(exc.message, details=exc.details, state=STATE) from exc
        if lacks_codec(exc.details):
            raise VersionMismatch(exc.message, details=exc.details, state=STATE) from exc
        if connection_lost(exc.details):
            raise TargetUnreachable(
                f"the server went away while {archive.path.name} was loaded", details=exc.details, state=STATE
            ) from exc
        exc.state = STATE
        raise
    except ArchiveDamaged as exc:
        exc.state = STATE
        if lacks_codec(exc.details):
            raise VersionMismatch(exc.message, details=exc.details, state=STATE) from exc
        raise
    except QueryFailed as exc:
        if exc.sqlstate == READ_ONLY:
            raise CannotReach(
                f"the server takes no writes, as a standby: {exc.message}", details=exc.details, state=STATE
            ) from exc
        if disk_full(exc.details, exc.sqlstate):
            hint = way_left(exc.details, sqlstate=exc.sqlstate)
            raise StoreFull(exc.message, details=exc.details, state=STATE, hint=hint) from exc
        exc.state = STATE
        raise
    except DbTasksError as exc:
        if exc.state != UNTOUCHED:
            exc.state = STATE
        raise
