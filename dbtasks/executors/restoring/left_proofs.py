"""What killed proofs, comparisons and migrations left: databases on the server, and folders of the store with a server in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ...engines import Engine
from ...engines.postgres.names import new_name
from ...engines.python_route import saving_rows
from ...engines.routes import open_engine
from ...engines.scratch import ScratchPlaces
from ...errors import DbTasksError
from ...events import OnEvent, Phase, Warned, ignore
from ...models import Format, PostgresTarget
from ...settings import Settings
from ...stores.proofs import MIGRATION, ProofMark, forget_mark, left_folders, left_marks

__all__ = ["LeftProofs", "find_left_proofs", "remove_left_proofs", "sweep_proofs", "told_of_left_proofs"]

LEFT_BY = "a killed proof or comparison"
LEFT_BY_MIGRATION = "a killed or failed migration"
NEXT = {LEFT_BY: "db.verify", LEFT_BY_MIGRATION: "db.migrate"}
"""The task that removes it by itself, by what left it."""


@dataclass(frozen=True)
class LeftProofs:
    """What killed proofs and migrations left, as far as nobody is at it."""

    databases: tuple[str, ...] = ()
    folders: tuple[Path, ...] = ()
    """Of the store: with files, with a server of their own that may still run, or with the name of a database that is gone."""
    in_use: Mapping[str, str] = field(default_factory=dict)
    """Databases that stay for now, with the reason in words."""
    left_by: Mapping[str, str] = field(default_factory=dict)
    """By each of `names`, what left it, in words."""
    why_unknown: str = ""
    """Why the server could not be asked, where a proof or a migration on it was killed."""

    @property
    def names(self) -> tuple[str, ...]:
        """All that can be removed."""
        return (*self.databases, *map(str, self.folders))


def find_left_proofs(settings: Settings, engine: Engine | None = None) -> LeftProofs:
    """Look for what killed proofs and migrations left; the server is asked only where a folder tells of something on it."""
    in_use, folders = _elsewhere(settings), left_folders(settings.backup_dir)
    left_by = {str(folder): LEFT_BY for folder in folders}
    try:
        marks = _asked(settings, engine)
    except DbTasksError as exc:
        return LeftProofs(folders=folders, in_use=in_use, left_by=left_by, why_unknown=exc.message)
    databases: list[str] = []
    for mark, found in marks:
        free = [name for name, why in found.items() if not why]
        databases += free
        in_use |= {name: why for name, why in found.items() if why}
        # a folder that tells of one that is gone is all that is left
        folders += () if found else (mark.folder,)
        left_by |= dict.fromkeys(free if found else [str(mark.folder)], _left_by(mark))
    return LeftProofs(tuple(dict.fromkeys(databases)), folders, in_use, left_by)


def _asked(settings: Settings, engine: Engine | None) -> list[tuple[ProofMark, dict[str, str]]]:
    marks = _marks(settings)
    if not marks:
        return []
    with _engine(settings, engine) as asked:
        return [(mark, asked.left_proofs(mark)) for mark in marks]


def _left_by(mark: ProofMark) -> str:
    return LEFT_BY_MIGRATION if mark.kind == MIGRATION else LEFT_BY


def remove_left_proofs(
    settings: Settings, left: LeftProofs, on_event: OnEvent = ignore
) -> tuple[list[str], list[str]]:
    """Remove what is still left over of these; returns what went, and what could not go with the reason."""
    gone, failed = list[str](), list[str]()
    if not left.names:
        return gone, failed
    # before the folders that tell of them
    marks = [] if left.why_unknown else _marks(settings)
    try:
        if marks:
            with _engine(settings) as engine:
                for mark in marks:
                    _remove(engine, mark, left, gone, failed, on_event)
    except DbTasksError as exc:
        failed += [f"{name}: {exc.message}" for name in left.databases if name not in gone]
    with ScratchPlaces(settings) as places:
        places.sweep()
    for folder in left.folders:
        if folder.exists():
            failed.append(f"{folder}: it could not be removed")
        else:
            gone.append(str(folder))
    return gone, failed


def _remove(
    engine: Engine,
    mark: ProofMark,
    left: LeftProofs,
    gone: list[str],
    failed: list[str],
    on_event: OnEvent,
) -> None:
    stays = False
    for name, why in engine.left_proofs(mark).items():
        if why or name not in left.databases:
            stays = True
            failed += [why] if name in left.databases else []
            continue
        on_event(Phase("drop", name))
        try:
            engine.drop_left_proof(mark, name)
        except DbTasksError as exc:
            failed.append(f"{name}: {exc.message}")
            stays = True
            continue
        gone.append(name)
    if not stays:
        forget_mark(mark)


def sweep_proofs(settings: Settings, on_event: OnEvent) -> None:
    """Remove what killed proofs and migrations left, before others are made; what cannot go is a warning."""
    left = find_left_proofs(settings)
    _, failed = remove_left_proofs(settings, left, on_event)
    for text in failed:
        on_event(Warned(f"left over by an earlier run: {text}"))


def told_of_left_proofs(settings: Settings, engine: Engine) -> tuple[str, ...]:
    """Say what killed proofs and migrations left, and what removes it."""
    left = find_left_proofs(settings, engine)
    told = [
        f"{name} was left over by {why}: db.cleanup removes it, and so does the next {NEXT[why]}"
        for name, why in ((name, left.left_by[name]) for name in left.names)
    ]
    return (*told, *left.in_use.values())


def _marks(settings: Settings) -> tuple[ProofMark, ...]:
    """Return those of the configured server: of another one nothing can be asked here."""
    return tuple(mark for mark in left_marks(settings.backup_dir) if _is_here(settings, mark))


def _is_here(settings: Settings, mark: ProofMark) -> bool:
    target = settings.target
    return isinstance(target, PostgresTarget) and mark.server == target.identity.server


def _elsewhere(settings: Settings) -> dict[str, str]:
    """Say of migrations to other servers what they may have left: a migration often goes to another than the configured one."""
    away = [m for m in left_marks(settings.backup_dir) if m.kind == MIGRATION and not _is_here(settings, m)]
    names = {new_name(mark.database, mark.id): mark for mark in away}
    return {
        name: f"{name} at {mark.server} may be left over by {LEFT_BY_MIGRATION}: db.cleanup removes it where"
        f" {mark.database} there is the configured database, and so does the next db.migrate into it; where that"
        f" server is gone for good, remove {mark.folder}"
        for name, mark in names.items()
    }


@contextmanager
def _engine(settings: Settings, engine: Engine | None = None) -> Iterator[Engine]:
    if engine is not None:
        yield engine
        return
    # asking and dropping needs no client tools
    with open_engine(settings, restoring=True, on_event=ignore, dumping=saving_rows(Format.ROWS)) as opened:
        yield opened
