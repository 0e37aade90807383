"""Where a backup is loaded to be looked at: the server of its database, a throwaway one, or a temporary file.

One server is opened, and one started, for all backups of a run, and only when
the first of them needs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from enum import StrEnum
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from ..errors import (
    CannotReach,
    LoginRefused,
    Refused,
    RouteUnavailable,
    StoreFull,
    TargetUnreachable,
    ToolMissing,
    UsageError,
)
from ..events import OnEvent, Warned, ignore
from ..models import Archive, EngineName, Format, PostgresTarget
from ..settings import Settings
from ..stores.proofs import prove_room
from . import Engine, Scratch
from .routes import open_checker, open_engine
from .rows.archive import engine_of_rows, head_to_prove

if TYPE_CHECKING:
    from .postgres.scratch.throwaway import Binaries, Throwaway

__all__ = ["Place", "ScratchPlaces", "parse_place"]

T = TypeVar("T")
NUMBER = re.compile(r"\d+")
FOR_ALL = (TargetUnreachable, LoginRefused, RouteUnavailable, ToolMissing)
"""What stands in the way of every other backup as well, of rows or by client tools: it is not tried again in this run."""


class Place(StrEnum):
    """Where PostgreSQL's scratch databases are made."""

    AUTO = "auto"
    """On the server; where that cannot do it, on a throwaway one."""
    SERVER = "server"
    """On the server of the configured database."""
    THROWAWAY = "throwaway"
    """On a server that is started for it on this machine."""


def parse_place(text: str) -> Place:
    """Read a place by its name.

    Raises:
        UsageError: there is no such place.
    """
    if text not in list(Place):
        raise UsageError(f"--in={text}: allowed is {', '.join(Place)}")
    return Place(text)


class ScratchPlaces:
    """The places of one run; leaving its block stops and removes what was made."""

    def __init__(self, settings: Settings, place: Place = Place.AUTO, *, on_event: OnEvent = ignore) -> None:
        self._settings = settings
        self._place = place
        self._on_event = on_event
        self._open = ExitStack()
        self._server: Engine | None = None
        self._no_server: dict[bool, CannotReach] = {}
        # rows go by a connection of our own and need no tools: what keeps the ones away may let the others through
        self._throwaway: Throwaway | None = None

    def __enter__(self) -> ScratchPlaces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def sweep(self) -> None:
        """Remove what killed runs left in the store; what they left on a server goes when it is used again."""
        from .postgres.scratch.throwaway import sweep_servers

        sweep_servers(self._settings.backup_dir)

    def foresee(self, archive: Archive) -> str:
        """Say where an archive would be loaded; nothing is written.

        Raises:
            As `loaded`.
        """
        if _is_file(archive):
            with self._by_file(archive) as engine:
                return engine.plan_scratch(archive)
        return self._first(
            archive,
            lambda: self._on_server(archive).plan_scratch(archive),
            lambda: self._foreseen(archive),
        )

    @contextmanager
    def loaded(self, archive: Archive) -> Iterator[Scratch]:
        """Load an archive where it is in nobody's way, and remove it when the block ends, however it ends.

        Raises:
            CannotReach, StoreFull: it cannot be had anywhere; says why not in each place.
            LoadFailed: what the archive holds cannot be loaded. UsageError: no such place for this engine.
            Refused: nothing could hold it. Busy: another run proves this database on the server.
        """
        with ExitStack() as stack:
            yield self._enter(stack, archive)

    def _enter(self, stack: ExitStack, archive: Archive) -> Scratch:
        if _is_file(archive):
            engine = stack.enter_context(self._by_file(archive))
            return stack.enter_context(engine.scratch(archive, self._on_event))
        return self._first(
            archive,
            lambda: stack.enter_context(self._on_server(archive).scratch(archive, self._on_event)),
            lambda: stack.enter_context(self._started(archive).scratch(archive)),
        )

    def _by_file(self, archive: Archive) -> AbstractContextManager[Engine]:
        if self._place is not Place.AUTO:
            raise UsageError(
                f"--in={self._place} means nothing for SQLite: a temporary file is made in the store"
            )
        return open_checker(self._settings, archive.format, on_event=self._on_event)

    def _first(self, archive: Archive, on_server: Callable[[], T], in_throwaway: Callable[[], T]) -> T:
        """Try the places that may be tried, in their order."""
        refusal: CannotReach | StoreFull | Refused | None = None
        if self._place is not Place.THROWAWAY:
            try:
                return on_server()
            except (CannotReach, StoreFull) as exc:
                if isinstance(exc, FOR_ALL):
                    self._no_server[archive.format is Format.ROWS] = exc
                if self._place is Place.SERVER:
                    raise
                refusal = exc
            except Refused as exc:
                # somebody else's file, and a login that could be made to run programs: the other place has no such
                if archive.is_ours or self._place is Place.SERVER:
                    raise
                refusal = exc
        try:
            made = in_throwaway()
        except (CannotReach, StoreFull) as exc:
            if refusal is None:
                raise
            raise _neither(refusal, exc) from exc
        if refusal is not None:
            self._on_event(
                Warned(f"on a throwaway server, because not on the database's own: {refusal.message}")
            )
        return made

    def _on_server(self, archive: Archive) -> Engine:
        refusal = self._no_server.get(archive.format is Format.ROWS)
        if refusal is not None:
            raise refusal
        target, manifest = self._settings.target, archive.manifest
        if not isinstance(target, PostgresTarget):
            raise CannotReach("no PostgreSQL server is configured")
        stranger = manifest is not None and manifest.database.server != target.identity.server
        if manifest is not None and stranger and self._place is Place.AUTO:
            raise CannotReach(
                f"{manifest.database} is on another server than the configured {target.identity.server}"
            )
        if self._server is None:
            opening = open_engine(self._settings, target, restoring=True, on_event=self._on_event)
            self._server = self._open.enter_context(opening)
        return self._server

    def _started(self, archive: Archive) -> Throwaway:
        """Return a running throwaway server that can hold an archive, and has room for it."""
        from .postgres.scratch.throwaway import starting

        if self._throwaway is not None and self._throwaway.major >= _major(archive):
            self._prove_room(archive)
            return self._throwaway
        binaries = self._binaries(archive)
        self._throwaway = self._open.enter_context(starting(self._settings, binaries, self._on_event))
        return self._throwaway

    def _foreseen(self, archive: Archive) -> str:
        return f"a throwaway server on this machine (PostgreSQL {self._binaries(archive).major})"

    def _binaries(self, archive: Archive) -> Binaries:
        from .postgres.scratch.throwaway import find_binaries

        binaries = find_binaries(self._settings, _major(archive))
        self._prove_room(archive)
        return binaries

    def _prove_room(self, archive: Archive) -> None:
        from .postgres.scratch.throwaway import ROOM_BYTES

        prove_room(self._settings.backup_dir, _size_bytes(archive) + ROOM_BYTES, "a throwaway server")


def _is_file(archive: Archive) -> bool:
    """Whether a backup is proven in a file: rows are proven on the engine they are of, and on no other."""
    if archive.format is Format.ROWS:
        made_for = engine_of_rows(archive)
        if made_for is None:
            # an older tool's: it does not tell what its tables are
            head_to_prove(archive)
        return made_for is EngineName.SQLITE
    return archive.format is Format.SQLITE


def _neither(
    refusal: CannotReach | StoreFull | Refused, exc: CannotReach | StoreFull
) -> CannotReach | StoreFull | Refused:
    """Say why in neither place; what stands in the way on the server is the news."""
    hints = "; or: ".join(hint for hint in (refusal.hint, exc.hint) if hint)
    return type(refusal)(
        f"{refusal.message}; and {exc.message}",
        details=refusal.details or exc.details,
        state=refusal.state,
        hint=hints,
    )


def _major(archive: Archive) -> int:
    """Return the oldest PostgreSQL that can hold an archive: its tools read it, its server has all that is in it."""
    manifest = archive.manifest
    versions = (manifest.server_version, manifest.tool_version) if manifest else ()
    return max((int(found[0]) for text in versions if (found := NUMBER.search(text))), default=0)


def _size_bytes(archive: Archive) -> int:
    """Return what the tables took in their database, as far as that was written down."""
    tables = archive.manifest.tables if archive.manifest else ()
    return sum(table.bytes or 0 for table in tables) or 4 * archive.path.stat().st_size
