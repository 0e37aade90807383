"""`python -m benchmarks`: build, measure, write the page."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from .cases import GROUPS, ROWS
from .figures import Result, result_of
from .groups import contenders
from .measure import CommandBroke
from .project import REPOSITORY, compile_once
from .report import FULL_SCALE, Run, page, picture
from .rounds import Sample, play
from .servers import Unavailable
from .site import Site

PUBLISHED = REPOSITORY / "benchmarks"
RAW = REPOSITORY / "build" / "bench"
"""Ignored by git: what is not the published page."""
PICTURE = "results.svg"
QUICK_SCALE, QUICK_ROUNDS = 0.05, 2
FULL_ROUNDS = 3
"""A page of fewer, or of less data, is not published."""
MORE_ROUNDS = {"list": 7, "small": 3, "sqlite": 3}
"""Short commands vary more, and cost little to repeat."""
ONE_ROUND = ("memory",)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(
    groups: Sequence[str], scale: float, rounds: int, *, keep: bool = True
) -> tuple[list[Result], list[Sample], dict[str, str]]:
    """Measure groups of cases; return a result for each of their rows, the samples, and the versions measured with.

    `keep`: every sample so far is written below build/ after each group, whatever comes of the next one.
    """
    samples: list[Sample] = []
    reasons: dict[str, str] = {}
    with Site(scale, say) as site:
        for group in groups:
            say(f"{group}:")
            number = 1 if group in ONE_ROUND else rounds * MORE_ROUNDS.get(group, 1)
            try:
                racing, missing = contenders(group, site)
                more, broken = play(racing, number, say, warm_up=group not in ONE_ROUND)
            except (Unavailable, CommandBroke, subprocess.SubprocessError) as exc:
                say(f"  {exc}")
                missing, more = {}, []
                broken = dict.fromkeys((row.contender for row in ROWS if row.group == group), str(exc))
            reasons |= missing | broken
            samples += more
            if keep:
                RAW.mkdir(parents=True, exist_ok=True)
                (RAW / "samples.json").write_text(
                    json.dumps([asdict(sample) for sample in samples], indent=1)
                )
        versions = dict(site.versions)
    results = [result_of(row, samples, reasons) for row in ROWS if row.group in groups]
    return results, samples, versions


def write(folder: Path, run: Run, results: list[Result], samples: list[Sample]) -> Path:
    """Write page and picture into a folder; return the page."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PICTURE).write_text(picture(results), encoding="utf-8")
    target = folder / "RESULTS.md"
    target.write_text(page(run, results, samples, PICTURE), encoding="utf-8")
    return target


def main(argv: Sequence[str] | None = None) -> int:
    """Do what `invoke bench` was asked; returns the exit code."""
    parser = argparse.ArgumentParser(prog="invoke bench")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=GROUPS)
    arguments = parser.parse_args(argv)
    scale = arguments.scale or (QUICK_SCALE if arguments.quick else 1.0)
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else FULL_ROUNDS)
    groups = [group for group in GROUPS if group in (arguments.only or GROUPS)]
    # ended from outside, servers and folders are still cleared away
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    compile_once()
    started, load = time.monotonic(), os.getloadavg()[0]
    results, samples, versions = measure(groups, scale, rounds)
    published = not arguments.only and scale >= FULL_SCALE and rounds >= FULL_ROUNDS
    run = Run(scale, rounds, versions, load)
    target = write(PUBLISHED if published else RAW, run, results, samples)
    say(f"{time.monotonic() - started:.0f} s; every sample is in {RAW / 'samples.json'}")
    print(target.read_text(encoding="utf-8"))
    say(f"written: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
