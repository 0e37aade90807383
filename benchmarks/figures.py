"""From samples to figures: ratios and differences pair by pair, never of two medians."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .cases import Figure, Row
from .rounds import Sample

__all__ = ["BIG", "TENTH", "WIDE", "Result", "result_of"]

BIG, TENTH, WIDE = "full size", "a tenth", "50 MB values"
"""What the contenders of the group `memory` are named with, after the route."""


@dataclass(frozen=True)
class Result:
    """A row with its figure, or why it has none."""

    row: Row
    value: float | None
    why_not: str = ""
    spread: tuple[float, float] | None = None
    """The lowest and the highest of the rounds; None where the figure is not a median."""

    @property
    def reached(self) -> bool | None:
        """Whether the aim is met; None where there is no figure or no aim."""
        if self.value is None or self.row.aim is None:
            return None
        return self.value <= self.row.aim


def result_of(row: Row, samples: Sequence[Sample], broken: Mapping[str, str]) -> Result:
    """Work out one row's figure."""
    needed = [row.contender, row.yardstick]
    if row.figure is Figure.FLAT:
        needed = [f"{row.contender}, {size}" for size in (BIG, TENTH, WIDE)]
    for name in filter(None, needed):
        if not any(sample.contender == name for sample in samples):
            return Result(row, None, broken.get(name, "not measured"))
    values = _values(row, samples)
    spread = (min(values), max(values)) if len(values) > 1 else None
    return Result(row, statistics.median(values), spread=spread)


def _values(row: Row, samples: Sequence[Sample]) -> list[float]:
    """Return the figure of each round, or the only one there is."""
    if row.figure is Figure.FLAT:
        full, *others = (
            max(sample.own_peak_mb for sample in samples if sample.contender == f"{row.contender}, {size}")
            for size in (BIG, TENTH, WIDE)
        )
        return [max(abs(other / full - 1) for other in others)]
    ours = {sample.round: sample for sample in samples if sample.contender == row.contender}
    if row.figure is Figure.PEAK:
        return [max(sample.own_peak_mb for sample in ours.values())]
    if row.figure is Figure.SECONDS:
        return [sample.seconds[row.part] for sample in ours.values()]
    theirs = {sample.round: sample for sample in samples if sample.contender == row.yardstick}
    pairs = [(ours[number], theirs[number]) for number in sorted(ours.keys() & theirs.keys())]
    return [_compared(row, our, their) for our, their in pairs]


def _compared(row: Row, our: Sample, their: Sample) -> float:
    if row.figure is Figure.MORE_CPU:
        return (our.cpu_s - their.cpu_s) * 1000
    if row.figure is Figure.CPU:
        return our.seconds["itself"] / their.cpu_s
    if row.figure is Figure.SIZE:
        return (our.size_bytes or 0) / (their.size_bytes or 1)
    seconds = our.seconds[row.part], their.seconds["whole"]
    return seconds[0] - seconds[1] if row.figure is Figure.MORE_SECONDS else seconds[0] / seconds[1]
