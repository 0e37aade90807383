"""The databases that restores replaced and that are still there: how many, how large, and whose cleanup drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...engines import Engine
from ...errors import DbTasksError
from ...settings import Settings
from .history import past_restores

__all__ = ["KeptDatabase", "kept_databases"]


@dataclass(frozen=True)
class KeptDatabase:
    """One former database of the target, by the name that a restore gave it."""

    name: str
    size_bytes: int | None
    """None: the role may not ask."""
    recorded: bool
    """Whether a restore of this backup folder kept it: then a cleanup drops it; another folder's does otherwise."""


def kept_databases(settings: Settings, engine: Engine) -> Sequence[KeptDatabase]:
    """Name those of the engine's target, oldest first; none where nobody can say: it is only told."""
    try:
        found = engine.kept_databases()
        recorded = {past.old for past in past_restores(settings.backup_dir, engine.target.identity)}
    except DbTasksError:
        return ()
    return tuple(KeptDatabase(name, size, name in recorded) for name, size in sorted(found.items()))
