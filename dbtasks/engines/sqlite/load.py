"""The load: beside first, checked, then into the live file by the backup API.

The backup API takes SQLite's own locks, so applications that have the file
open see the old state or the new one. Where nothing usable is there, the
checked file is linked into place; a damaged file is moved aside with its
journals first, because a stale journal beside a new file corrupts it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...clock import utc_now
from ...errors import (
    ArchiveDamaged,
    Busy,
    LoadFailed,
    OperationFailed,
    Refused,
    StoreFull,
    UsageError,
    WrongEngine,
)
from ...events import OnEvent, Phase, ignore
from ...models import Archive, DatabaseFacts, Format, Route
from ...plans import Kept, LoadPlan, LoadRequest, LoadStrategy, Swapped, TargetState
from ...stores.drafts import open_draft, sweep_drafts
from ...stores.local import open_archive, translated
from ...streams import HashingReader, decompressing, pump
from .. import OnKeep
from . import check, facts, files
from .after_load import prove_scripts, run_scripts
from .bounded import Bounded
from .dump import copy_pages
from .into_empty import copy_into_empty
from .set_aside import aside_name

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["loading", "no_old", "plan_beside", "plan_load", "prove_rights", "prove_room", "stage"]

STRATEGIES = {
    TargetState.MISSING: LoadStrategy.CREATE,
    TargetState.EMPTY: LoadStrategy.SWAP,
    TargetState.PRESENT: LoadStrategy.SWAP,
    TargetState.DAMAGED: LoadStrategy.ASIDE,
}


def plan_load(engine: SqliteEngine, archive: Archive, request: LoadRequest) -> LoadPlan:
    """See `Engine.plan_load`."""
    if archive.format is not Format.SQLITE:
        raise WrongEngine(
            f"{archive.path.name} is a {archive.format} archive of PostgreSQL, and {engine.target.name} is a SQLite file",
            hint="choose a SQLite backup (db.list), or point the url at the PostgreSQL database",
        )
    for flag, given in (
        ("--in-place", request.in_place),
        ("--no-owner", request.no_owner),
        ("--role", request.role),
    ):
        if given:
            raise UsageError(f"{flag} means nothing for SQLite")
    return plan_beside(engine, archive, request, engine.state())


def plan_beside(engine: SqliteEngine, archive: Archive, request: LoadRequest, state: TargetState) -> LoadPlan:
    """Prove that a file can be laid down beside the live one and take its place, and say how."""
    scripts = request.after_load or ()
    prove_scripts(scripts)
    strategy = STRATEGIES[state]
    # beside, plus a second copy in the journal or WAL while it is brought in
    prove_room(engine.path, archive, copies=3 if strategy is LoadStrategy.SWAP else 1)
    prove_rights(engine.path, strategy)
    known = state in (TargetState.PRESENT, TargetState.EMPTY)
    facts: DatabaseFacts | None = engine.facts() if known else None
    pids = files.openers(engine.path)
    if strategy is LoadStrategy.ASIDE:
        _refuse_opened(engine.path, pids)
    return LoadPlan(
        request=request,
        strategy=strategy,
        state=state,
        route=Route.FILE,
        why="SQLite is written directly",
        facts=facts,
        live_rows=engine.row_counts() if known else {},
        sessions=tuple(f"process {pid} has the file open; it stays connected" for pid in pids),
        steps=_steps(engine.path, strategy, scripts),
        warnings=no_old(request, strategy),
    )


def no_old(request: LoadRequest, strategy: LoadStrategy) -> tuple[str, ...]:
    """Say that there is no old database to drop: a restore writes into the file, or moves a damaged one aside."""
    if not request.drop_old or strategy is LoadStrategy.CREATE:
        return ()
    if strategy is LoadStrategy.ASIDE:
        return ("drop_old does not remove a damaged file: it is moved aside, the only safety copy there is",)
    return ("drop_old means nothing for SQLite: no old database is kept",)


def _refuse_opened(path: Path, pids: list[int]) -> None:
    if pids:
        raise Refused(
            f"{path} is damaged and process {', '.join(map(str, pids))} has it open",
            hint="stop that process first: it would go on writing into the file that is moved aside",
            state=f"{path.name} was not touched",
        )


def _steps(path: Path, strategy: LoadStrategy, scripts: Sequence[Path]) -> tuple[str, ...]:
    hooks = (f"run {', '.join(script.name for script in scripts)} in it, check it again",) if scripts else ()
    beside = ("unpack beside the live file, check it, count its rows", *hooks)
    return {
        LoadStrategy.CREATE: (*beside, f"put it in place as {path.name}"),
        LoadStrategy.ASIDE: (
            *beside,
            f"move {path.name} and its journals aside as one unit",
            "put the new file in place",
        ),
        LoadStrategy.SWAP: (*beside, f"copy it into {path.name} by the backup API, in one transaction"),
    }[strategy]


def prove_room(path: Path, archive: Archive, *, copies: int) -> None:
    """See that the disk of the live file holds so many more of the backup's plain size.

    Raises:
        StoreFull: it does not.
    """
    raw = archive.manifest.raw_size_bytes if archive.manifest else None
    size = raw or archive.path.stat().st_size
    needed = size * copies
    folder = _existing(path.parent)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreFull(
            f"restoring needs {needed:,} bytes beside {path} and {free:,} are free",
            state=f"{path.name} was not touched",
            hint="free some space, or restore --into another disk",
        )


def _existing(folder: Path) -> Path:
    while files.size_of(folder) is None and folder != folder.parent:
        folder = folder.parent
    return folder


def prove_rights(path: Path, strategy: LoadStrategy) -> None:
    """See that the file and its folder can be written.

    Raises:
        Refused: they cannot.
    """
    folder = _existing(path.parent)
    writable = os.access(folder, os.W_OK) and (strategy is LoadStrategy.CREATE or os.access(path, os.W_OK))
    if not writable:
        raise Refused(
            f"{path} or its folder is not writable for this user", state=f"{path.name} was not touched"
        )


@contextmanager
def loading(engine: SqliteEngine, plan: LoadPlan, archive: Archive, on_event: OnEvent) -> Iterator[_Loaded]:
    """See `Engine.load`; the private folder beside the live file is gone afterwards."""
    path = engine.path
    on_event(Phase("load", f"beside {path.name}"))
    with ExitStack() as stack:
        with translated(f"cannot write beside {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
        sweep_drafts(path.parent)
        staged = stack.enter_context(open_draft(path.parent)).path
        told: tuple[str, ...] = ()
        held: Collection[str] | None = None
        if plan.schema_command:
            from .rows.command import stage_by_command

            told = stage_by_command(engine, plan, archive, staged, on_event)
        elif archive.format is Format.ROWS:
            from .rows.stage import stage_rows

            held = stage_rows(archive, staged, on_event)
        else:
            stage(archive, staged, on_event)
        check.check_file(staged)
        yield _Loaded(engine, plan, staged, told, held)


def stage(archive: Archive, staged: Path, on_event: OnEvent) -> None:
    """Lay down the very bytes whose hash the manifest has; a file swapped meanwhile is refused."""
    with (
        translated(f"cannot write {staged}"),
        os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink,
        open_archive(archive.path) as raw,
    ):
        source = HashingReader(raw)
        with decompressing(source, archive.compression) as reader:
            pump(Bounded(reader, archive, staged.parent), sink, on_event=on_event)
        source.drain()
        sink.flush()
        os.fsync(sink.fileno())
    if archive.expected_sha256 and source.sha256 != archive.expected_sha256:
        raise ArchiveDamaged(f"{archive.path.name} changed after it was verified")


class _Loaded:
    """A checked database file beside the live one; see `engines.Loaded`."""

    def __init__(
        self,
        engine: SqliteEngine,
        plan: LoadPlan,
        staged: Path,
        told: tuple[str, ...] = (),
        held: Collection[str] | None = None,
    ) -> None:
        self._told = told
        self._held = held
        self._engine = engine
        self._plan = plan
        self._staged = staged
        self._untouched = f"{engine.path.name} is as it was"

    def counts(self) -> dict[str, int]:
        with files.translated(self._staged), files.opened(self._staged, "ro", immutable=True) as connection:
            return facts.count_rows(connection)

    def problems(self) -> tuple[str, ...]:
        with files.translated(self._staged), files.opened(self._staged, "ro", immutable=True) as connection:
            return facts.broken_foreign_keys(connection, self._held)

    def after_load(self, files: Sequence[Path], on_event: OnEvent = ignore) -> None:
        try:
            run_scripts(self._staged, files, on_event)
        except (ArchiveDamaged, Busy, OperationFailed, Refused) as exc:
            exc.state = self._untouched
            raise

    def commit(self, on_keep: OnKeep | None = None) -> Swapped:
        path = self._engine.path
        if self._plan.strategy is LoadStrategy.SWAP:
            return Swapped(old=None, warnings=(*self._told, *self._copy_in(path)))
        if self._plan.strategy is LoadStrategy.CREATE and path.exists():
            raise LoadFailed(f"{path} was created by somebody else meanwhile", state="it was not touched")
        _refuse_opened(path, files.openers(path))
        aside: Path | None = None
        try:
            aside = self._move_aside(path, on_keep)
            self._put_in_place(path, aside)
        except OSError as exc:
            state = f"what was there lies in {aside}" if aside and not _bring_back(aside, path) else None
            raise LoadFailed(
                f"{path.name} could not be put in place: {exc.strerror or exc}",
                state=state or self._untouched,
            ) from exc
        return Swapped(old=str(aside) if aside else None, warnings=self._told)

    def _copy_in(self, path: Path) -> tuple[str, ...]:
        timeout = self._engine.settings.lock_timeout
        copy = copy_into_empty if self._plan.state is TargetState.EMPTY else copy_pages
        try:
            with files.writing(path) as live:
                left_wal = self._leave_wal(live)
                try:
                    with files.opened(self._staged, "ro", immutable=True) as source:
                        copy(source, live, timeout, blocked=path)
                finally:
                    is_back = not left_wal or _enter_wal(live)
                return (
                    () if is_back else (f"{path.name} is in rollback-journal mode now, it was in WAL mode",)
                )
        except Busy as exc:
            exc.state = exc.state or self._untouched
            raise
        except (ArchiveDamaged, OperationFailed) as exc:
            raise LoadFailed(
                f"the restore into {path.name} broke off: {exc.message}", state=self._untouched
            ) from exc

    def _leave_wal(self, live: sqlite3.Connection) -> bool:
        """Page sizes that differ cannot meet under WAL: leave it, which needs the file to ourselves."""
        timeout = self._engine.settings.lock_timeout
        (mode,) = files.patiently(lambda: live.execute("PRAGMA journal_mode").fetchone(), timeout)
        (size,) = files.patiently(lambda: live.execute("PRAGMA page_size").fetchone(), timeout)
        with files.opened(self._staged, "ro", immutable=True) as staged:
            (wanted,) = staged.execute("PRAGMA page_size").fetchone()
        if mode != "wal" or size == wanted:
            return False
        try:
            files.patiently(lambda: live.execute("PRAGMA journal_mode=DELETE").fetchone(), timeout)
        except sqlite3.OperationalError as exc:
            raise Busy(
                f"{self._engine.path.name} has another page size than the backup and is in use",
                hint="stop the application that has it open, then restore again",
                state=self._untouched,
            ) from exc
        return True

    def _move_aside(self, path: Path, on_keep: OnKeep | None) -> Path | None:
        """Move the file and its journals into one folder, the file itself first.

        Killed in between, no database is live and its parts lie in two places;
        the next restore finds the journals that stayed and moves them as well.
        """
        parts = [
            p for p in (path, *(path.with_name(f"{path.name}{s}") for s in files.SIDECARS)) if p.exists()
        ]
        if not parts:
            return None
        aside = aside_name(path, utc_now())
        if on_keep is not None:
            on_keep(Kept(str(aside)))
        aside.mkdir(mode=0o700)
        try:
            for part in parts:
                part.rename(aside / part.name)
        except OSError:
            _bring_back(aside, path)
            raise
        return aside

    def _put_in_place(self, path: Path, aside: Path | None) -> None:
        if aside and (aside / path.name).exists():
            shutil.copystat(aside / path.name, self._staged)
            _keep_owner(aside / path.name, self._staged)
        try:
            os.link(self._staged, path)  # unlike a rename, never replaces what came up meanwhile
        except FileExistsError as exc:
            raise LoadFailed(
                f"{path} was created by somebody else meanwhile",
                state=f"that file was not touched; the damaged one lies in {aside}"
                if aside
                else "it was not touched",
            ) from exc
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _enter_wal(live: sqlite3.Connection) -> bool:
    try:
        (mode,) = live.execute("PRAGMA journal_mode=WAL").fetchone()
    except sqlite3.OperationalError:
        # somebody came in between; the data is what it should be, and the application can switch back
        return False
    return bool(mode == "wal")


def _bring_back(aside: Path, path: Path) -> bool:
    """Undo a move aside; False when something stands in the way."""
    if path.exists():
        return False
    try:
        for part in sorted(aside.iterdir(), key=lambda part: part.name != path.name):
            part.rename(path.with_name(part.name))
        aside.rmdir()
    except OSError:
        return False
    return True


def _keep_owner(source: Path, copy: Path) -> None:
    facts = source.stat()
    try:
        os.chown(copy, facts.st_uid, facts.st_gid)
    except (PermissionError, AttributeError):
        # only root may give files away, and Windows has no owners of this kind
        pass
