"""`python -m benchmarks`: build, measure, write the page."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict

from .cases import GROUPS, ROWS
from .figures import Result, result_of
from .groups import contenders
from .measure import CommandBroke
from .project import REPOSITORY
from .rounds import Sample, play
from .servers import Unavailable
from .site import Site

RAW = REPOSITORY / "build" / "bench"
QUICK_SCALE, QUICK_ROUNDS = 0.05, 2
MORE_ROUNDS = {"list": 7, "small": 3}
"""Short commands vary more, and cost little to repeat."""
ONE_ROUND = ("memory",)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def measure(
    groups: Sequence[str], scale: float, rounds: int
) -> tuple[list[Result], list[Sample], dict[str, str]]:
    """Measure groups of cases; return a result for each of their rows."""
    samples: list[Sample] = []
    reasons: dict[str, str] = {}
    with Site(scale, say) as site:
        for group in groups:
            say(f"{group}:")
            number = 1 if group in ONE_ROUND else rounds * MORE_ROUNDS.get(group, 1)
            try:
                racing, missing = contenders(group, site)
                more, broken = play(racing, number, say, warm_up=group not in ONE_ROUND)
            except (Unavailable, CommandBroke) as exc:
                say(f"  {exc}")
                missing, more = {}, []
                broken = dict.fromkeys((row.contender for row in ROWS if row.group == group), str(exc))
            reasons |= missing | broken
            samples += more
        versions = dict(site.versions)
    results = [result_of(row, samples, reasons) for row in ROWS if row.group in groups]
    return results, samples, versions


def main() -> int:
    parser = argparse.ArgumentParser(prog="invoke bench")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=GROUPS)
    arguments = parser.parse_args()
    scale = arguments.scale or (QUICK_SCALE if arguments.quick else 1.0)
    rounds = arguments.rounds or (QUICK_ROUNDS if arguments.quick else 3)
    groups = [group for group in GROUPS if group in (arguments.only or GROUPS)]
    started = time.monotonic()
    results, samples, versions = measure(groups, scale, rounds)
    RAW.mkdir(parents=True, exist_ok=True)
    (RAW / "samples.json").write_text(json.dumps([asdict(sample) for sample in samples], indent=1))
    for result in results:
        print(
            result.row.what, result.row.figure, result.value, result.row.aim, result.reached, result.why_not
        )
    print(f"{time.monotonic() - started:.0f} s", versions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
