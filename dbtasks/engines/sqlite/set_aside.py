"""The folders into which restores moved damaged files: told by their names beside the live file, never removed by us."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

__all__ = ["aside_name", "set_aside"]

BEFORE = "__before_"


def aside_name(path: Path, at: datetime) -> Path:
    """Return the folder that takes a damaged file and its journals."""
    return path.with_name(f"{path.name}{BEFORE}{at:%Y%m%dT%H%M%S%fZ}")


def set_aside(path: Path) -> dict[str, int]:
    """See `Engine.set_aside`."""
    named = re.compile(rf"{re.escape(path.name + BEFORE)}\d{{8}}T\d{{12}}Z")
    try:
        found = [place for place in path.parent.iterdir() if named.fullmatch(place.name)]
        return {str(folder): _size(folder) for folder in sorted(found) if _is_folder(folder)}
    except OSError:
        return {}


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


def _size(folder: Path) -> int:
    return sum(part.lstat().st_size for part in folder.iterdir())
