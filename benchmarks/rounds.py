"""Contenders side by side: A B C, A B C, so that a machine that slows down slows all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .measure import CommandBroke, Job, Ran, run

__all__ = ["Contender", "Sample", "play"]


def _whole(ran: Ran) -> dict[str, float]:
    return {"whole": ran.wall_s}


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Contender:
    """A command in the race, and what has to be so before and after it."""

    name: str
    job: Job
    parts: Callable[[Ran], Mapping[str, float]] = _whole
    """Seconds by part, `itself` or `whole`."""
    size: Callable[[], int] | None = None
    """Bytes of what it made."""
    before: Callable[[], object] = _nothing
    after: Callable[[], object] = _nothing


@dataclass(frozen=True)
class Sample:
    """One run of one contender."""

    contender: str
    round: int
    seconds: Mapping[str, float]
    cpu_s: float
    own_peak_mb: float
    child_peak_mb: float
    size_bytes: int | None = None


def play(
    contenders: Sequence[Contender], rounds: int, say: Callable[[str], object], *, warm_up: bool = True
) -> tuple[list[Sample], dict[str, str]]:
    """Run all contenders in turns; return the samples, and why each that broke did.

    The first one, the yardstick, runs once before that counts: caches are warm for everybody.
    """
    samples: list[Sample] = []
    broken: dict[str, str] = {}
    for number in range(0 if warm_up else 1, rounds + 1):
        for contender in contenders if number else contenders[:1]:
            if contender.name in broken:
                continue
            try:
                sample = _once(contender, number)
            except CommandBroke as exc:
                broken[contender.name] = str(exc)
                say(f"  {contender.name}: {exc}")
                continue
            if number:
                samples.append(sample)
                say(f"  {number}  {contender.name:<34} {_shown(sample)}")
    return samples, broken


def _once(contender: Contender, number: int) -> Sample:
    contender.before()
    try:
        ran = run(contender.job)
        return Sample(
            contender=contender.name,
            round=number,
            seconds=dict(contender.parts(ran)),
            cpu_s=ran.cpu_s,
            own_peak_mb=ran.own_peak_mb,
            child_peak_mb=ran.child_peak_mb,
            size_bytes=contender.size() if contender.size else None,
        )
    finally:
        contender.after()


def _shown(sample: Sample) -> str:
    seconds = ", ".join(f"{part} {value:.2f} s" for part, value in sample.seconds.items())
    return f"{seconds}, CPU {sample.cpu_s:.2f} s, {sample.own_peak_mb:.0f} MB (children {sample.child_peak_mb:.0f})"
