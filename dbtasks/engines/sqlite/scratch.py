"""A backup unpacked into a temporary file, to be looked at: checked in full, counted, and gone again."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import Refused, WrongEngine
from ...events import OnEvent, Phase
from ...models import Archive, EngineName, Format
from ...rows.comparison.held import HeldRows
from ...stores.drafts import open_draft
from ...stores.proofs import proofs_folder, prove_room
from .. import Scratch
from ..rows.archive import engine_of_rows, head_to_prove, not_provable
from . import check, facts, files
from .held_rows import file_rows
from .load import stage
from .rows.create import prove_creation
from .rows.stage import stage_rows

if TYPE_CHECKING:
    from . import SqliteEngine

__all__ = ["plan_scratch", "scratch"]


class _Staged:
    """The temporary file; see `engines.Scratch`."""

    where = "a temporary file"
    warnings: tuple[str, ...] = ()

    def __init__(self, path: Path, began: float, held: Collection[str] | None) -> None:
        self.began = began
        self._held = held
        self._path = path

    @cached_property
    def _examined(self) -> facts.Examined:
        with files.translated(self._path):
            return facts.examine(self._path, self._held)

    def counts(self) -> dict[str, int]:
        """Count every table; those whose module is not in this SQLite are left out."""
        return {table: rows for table, rows in self._examined.rows.items() if rows is not None}

    def problems(self) -> tuple[str, ...]:
        """Name the tables whose foreign keys do not hold, but for keys into what was left out."""
        return self._examined.broken

    def held_rows(self) -> AbstractContextManager[HeldRows]:
        """Read them in the temporary file."""
        return file_rows(self._path)


def plan_scratch(engine: SqliteEngine, archive: Archive) -> str:
    """See `Engine.plan_scratch`."""
    if archive.format is Format.ROWS:
        _prove_rows(archive)
    elif archive.format is not Format.SQLITE:
        raise WrongEngine(
            f"{archive.path.name} is a {archive.format} archive of PostgreSQL, not a SQLite file"
        )
    raw = archive.manifest.raw_size_bytes if archive.manifest else None
    needed = raw or archive.path.stat().st_size
    prove_room(engine.settings.backup_dir, needed, f"the proof of {archive.path.name}")
    return _Staged.where


def _prove_rows(archive: Archive) -> None:
    """See that a file can be made of a rows backup.

    Raises:
        WrongEngine: it is one of PostgreSQL. Refused: it does not tell its tables, or this SQLite cannot make them.
    """
    head = head_to_prove(archive)
    if engine_of_rows(archive) is not EngineName.SQLITE:
        raise WrongEngine(f"{archive.path.name} holds rows of PostgreSQL, and is proven there")
    try:
        prove_creation(head)
    except Refused as exc:
        raise not_provable(archive, exc) from exc


@contextmanager
def scratch(engine: SqliteEngine, archive: Archive, on_event: OnEvent) -> Iterator[Scratch]:
    """See `Engine.scratch`."""
    plan_scratch(engine, archive)
    on_event(Phase("load", f"{archive.path.name} into {_Staged.where}"))
    began = time.monotonic()
    with open_draft(proofs_folder(engine.settings.backup_dir)) as draft:
        held: Collection[str] | None = None
        if archive.format is Format.ROWS:
            held = stage_rows(archive, draft.path, on_event)
        else:
            stage(archive, draft.path, on_event)
        on_event(Phase("check", "all of it, row counts and foreign keys"))
        check.check_file(draft.path, thorough=True)
        yield _Staged(draft.path, began, held)
