"""What the next backup will take, judged by the log's earlier ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

from ...journal import RunRecord
from ...models import Compression, Format, Route

__all__ = ["Forecast", "Kind", "forecast"]

RUNS = 5
"""How many earlier backups are looked at."""


@dataclass(frozen=True)
class Kind:
    """What makes backups of one database comparable, as the log spells it."""

    format: str
    compression: str
    complete: bool = True
    route: str = ""


@dataclass(frozen=True)
class Forecast:
    """Time and room of the next backup."""

    seconds: float
    size_bytes: int
    needs_bytes: int
    """Free space it takes while it is made."""
    based_on: int
    """Earlier backups of the same kind that were looked at."""
    free_bytes: int

    @property
    def fits(self) -> bool:
        """Whether there is room for it."""
        return self.needs_bytes <= self.free_bytes

    @property
    def room(self) -> int:
        """How many backups of this size fit into the free space."""
        return self.free_bytes // max(self.size_bytes, 1)


def forecast(runs: Sequence[RunRecord], free_bytes: int, kind: Kind | None = None) -> Forecast | None:
    """Judge by the newest successful backups of one database, newest first.

    They take the median of their times and the size of the largest: databases
    grow. None where no backup of this kind is in the log; the route does not
    matter for that. Without a kind that of the newest backup is meant.
    """
    made = [run for run in runs if run.task == "backup" and run.ok and run.size_bytes]
    if not made:
        return None
    kind = kind or _kind(made[0])
    alike = [run for run in made if replace(_kind(run), route=kind.route) == kind][:RUNS]
    if not alike:
        return None
    size_bytes = max(run.size_bytes or 0 for run in alike)
    return Forecast(
        seconds=median(run.seconds for run in alike),
        size_bytes=size_bytes,
        needs_bytes=size_bytes + _beside(kind, size_bytes, max(map(_raw_size, alike))),
        based_on=len(alike),
        free_bytes=free_bytes,
    )


def _beside(kind: Kind, size_bytes: int, raw_size_bytes: int) -> int:
    """Return what lies beside the archive while it is made."""
    if kind.format == Format.SQLITE and kind.compression != Compression.NONE:
        return raw_size_bytes  # the copy that is compressed
    if kind.format == Format.DIRECTORY and kind.route != Route.CONTAINER:
        return size_bytes  # the directory that is packed; in a container it lies inside
    return 0


def _kind(run: RunRecord) -> Kind:
    seen = run.extra
    return Kind(
        str(seen.get("format", "")),
        str(seen.get("compression", "")),
        bool(seen.get("complete", True)),
        str(seen.get("route", "")),
    )


def _raw_size(run: RunRecord) -> int:
    size = run.extra.get("raw_size_bytes")
    return size if isinstance(size, int) else run.size_bytes or 0
