"""What the next backup will take, judged by the log's earlier ones. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from ..journal import RunRecord
from ..models import Format

__all__ = ["Forecast", "forecast"]

RUNS = 5
"""How many earlier backups are looked at."""


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


def forecast(
    runs: Sequence[RunRecord],
    free_bytes: int,
    *,
    format_: Format | None = None,
    complete: bool = True,
    twice: bool = False,
) -> Forecast | None:
    """Judge by the newest successful backups of one database, newest first.

    They take the median of their times and the size of the largest: databases
    grow. None where no backup of this format, whole or partial as this one, is
    in the log. Without a format that of the newest backup is meant. `twice`: it
    lies there as a directory, too, until it is packed.
    """
    made = [run for run in runs if run.task == "backup" and run.ok and run.size_bytes]
    if format_ is None and made:
        alike = [run for run in made if _kind(run) == _kind(made[0])]
    else:
        alike = [run for run in made if _kind(run) == (str(format_), complete)]
    alike = alike[:RUNS]
    if not alike:
        return None
    size_bytes = max(run.size_bytes or 0 for run in alike)
    return Forecast(
        seconds=median(run.seconds for run in alike),
        size_bytes=size_bytes,
        needs_bytes=2 * size_bytes if twice else size_bytes,
        based_on=len(alike),
        free_bytes=free_bytes,
    )


def _kind(run: RunRecord) -> tuple[str, bool]:
    return str(run.extra.get("format", "")), bool(run.extra.get("complete", True))
