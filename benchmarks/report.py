"""The results page: every row with its figure, its aim, and whether it is reached."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .cases import Figure
from .figures import Result
from .picture import Bar, chart
from .rounds import Sample

__all__ = ["FULL_SCALE", "Run", "page", "picture"]

FULL_SCALE = 0.9
"""From here on the aims of `BY_SIZE` are judged."""
BY_SIZE = (Figure.RATIO, Figure.CPU, Figure.SIZE, Figure.PEAK, Figure.FLAT)
"""Their aims are those of about 1 GB."""
BY_TIME = (Figure.RATIO, Figure.MORE_SECONDS, Figure.MORE_CPU, Figure.SECONDS)
LONGEST_BAR = 4.0
NOT_REACHED = Path(__file__).with_name("not_reached.md")
"""Written by hand: where the time goes in the rows that miss their aim."""
BUSY = 1.0
NUMBERS = {
    Figure.RATIO: "{:.2f}",
    Figure.SIZE: "{:.2f}",
    Figure.CPU: "{:.2f}",
    Figure.MORE_SECONDS: "{:+.2f}",
    Figure.MORE_CPU: "{:+.1f}",
    Figure.SECONDS: "{:.3f}",
    Figure.PEAK: "{:.0f}",
    Figure.FLAT: "{:.1%}",
}
UNITS = {
    Figure.RATIO: "",
    Figure.SIZE: " of its bytes",
    Figure.CPU: " of its CPU",
    Figure.MORE_SECONDS: " s",
    Figure.MORE_CPU: " ms of CPU",
    Figure.SECONDS: " s",
    Figure.PEAK: " MB",
    Figure.FLAT: " apart",
}
HEADER = """# Measured

Written by `invoke bench`. Each command runs in turns with its yardstick (A B C, A B C); a ratio is taken pair by pair, and the
median shown with the lowest and the highest, so it says more than the seconds do, which are this machine's. {conditions}

![Ratios to the yardsticks]({picture})

| what | beside | figure | aim | reached |
|---|---|---|---|---|
"""
NOTES = """
*The dump itself* is the time from the exported snapshot to the last byte written and synced, with the rows counted beside it (SQLite's copy is not
synced there, as cp's is not); *the whole task* is
`invoke db.backup` or `db.restore` as it is typed, from the start of Python to its end: planning, dump, sha256, reading the archive back, exact row
counts, manifest, fsync, retention. The restore's safety backup and ANALYZE are left out, as its yardstick has neither; its load is everything
between creating the new database and checking it, that of rows everything between locking the tables and checking them. *Peak memory* is the high-water
mark of our own Python process; it *stays flat* where it is the same for 6.5 million rows (1 GB), for a tenth of them, and for rows whose single values have 50 MB.
Caches are warm: the yardstick runs once before it counts. The server has fsync on and autovacuum off.

## Seconds, CPU and memory

Medians of the rounds; memory is the largest of them. CPU is user and system of the command's whole tree of processes, without the server and
without what runs inside a container.

| command | seconds | itself | CPU, s | own peak, MB | largest child, MB | archive, MB |
|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Run:
    """How a run was made."""

    scale: float
    rounds: int
    versions: Mapping[str, str]
    load: float = 0.0
    """Processes that wanted a core when it began."""


def page(run: Run, results: Sequence[Result], samples: Sequence[Sample], picture_name: str) -> str:
    """Return RESULTS.md."""
    lines = [_row(result, judged=_judged(run, result.row.figure)) for result in results]
    header = HEADER.format(conditions=_conditions(run), picture=picture_name)
    tables = [header.rstrip("\n"), *lines, NOTES.rstrip("\n"), *_commands(samples), ""]
    # its figures are those of a full run
    more = [NOT_REACHED.read_text(encoding="utf-8")] if run.scale >= FULL_SCALE else []
    return "\n".join([*tables, *more])


def picture(results: Sequence[Result]) -> str:
    """Return the ratios as an SVG chart."""
    bars = [
        Bar(result.row.what, result.value, result.row.aim)
        for result in results
        if result.row.figure is Figure.RATIO and result.value is not None
    ]
    return chart("Seconds by the yardstick's, median of the rounds", bars, LONGEST_BAR)


def _judged(run: Run, figure: Figure) -> bool:
    """Whether the aim is for a run like this: large databases, and for what takes time a machine without other work."""
    if figure in BY_SIZE and run.scale < FULL_SCALE:
        return False
    return figure not in BY_TIME or run.load <= BUSY


def _conditions(run: Run) -> str:
    versions = {"Python": platform.python_version(), **run.versions}
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    text = (
        f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {platform.system()}, {named}; large databases of {run.scale:g} GB,"
        f" medians of {run.rounds} round{'s' if run.rounds > 1 else ''}."
    )
    if run.load > BUSY:
        text += f" **The machine was busy with other work** (load {run.load:.1f} when it began): what takes time is not judged."
    if run.scale < FULL_SCALE:
        text += " **The aims are those of 1 GB and are not judged here**: on less, starting Python is much of each figure."
    return text


def _row(result: Result, *, judged: bool) -> str:
    row = result.row
    if result.value is None:
        figure, reached = f"– ({_short(result.why_not)})", "–"
    else:
        figure = _shown(row.figure, result.value)
        if result.spread and row.figure is not Figure.SIZE:
            figure += " ({}–{})".format(*(NUMBERS[row.figure].format(end) for end in result.spread))
        reached = {True: "yes", False: "**no**", None: "–"}[result.reached]
        if not judged:
            reached = "–"
    aim = "–" if row.aim is None else f"≤ {_shown(row.figure, row.aim)}"
    return _line(row.what, row.yardstick or "–", figure, aim, reached)


def _shown(figure: Figure, value: float) -> str:
    return NUMBERS[figure].format(value) + UNITS[figure]


def _short(text: str) -> str:
    """The first line of a reason: a tool's last words may be many."""
    return (text.splitlines() or [""])[0]


def _line(*cells: str) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _commands(samples: Sequence[Sample]) -> Iterator[str]:
    names = dict.fromkeys(sample.contender for sample in samples)
    for name in names:
        found = [sample for sample in samples if sample.contender == name]
        whole = statistics.median(sample.seconds["whole"] for sample in found)
        itself = [sample.seconds["itself"] for sample in found if "itself" in sample.seconds]
        cells = [
            name,
            f"{whole:.2f}",
            f"{statistics.median(itself):.2f}" if itself else "–",
            f"{statistics.median(sample.cpu_s for sample in found):.2f}",
            f"{max(sample.own_peak_mb for sample in found):.0f}",
            f"{max(sample.child_peak_mb for sample in found):.0f}",
            f"{found[-1].size_bytes / 1e6:.1f}" if found[-1].size_bytes else "–",
        ]
        yield _line(*cells)
