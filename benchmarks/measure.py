"""One command as a tree of processes: wall clock, CPU time, and the peak of each one's memory.

CPU time is what the kernel says of the process and of all it waited for; a
server that is nobody's child here is not in it. Memory is each process's own
high-water mark, looked at 25 times a second: the kernel keeps the mark, so a
look misses only what grew after the last one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

__all__ = ["CommandBroke", "Job", "Ran", "run"]

LOOK_SECONDS = 0.04
SEARCH_SECONDS = 0.25
"""Finding new children means reading all of /proc: rarer, or the measuring would be measured."""
PROC = Path("/proc")
TAIL_LINES = 12


class CommandBroke(Exception):
    """A command that is measured did not end well; its figures mean nothing."""


@dataclass(frozen=True)
class Job:
    """A command to measure."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path | None = None
    stdout: Path | None = None
    """Where its output goes; None: nowhere."""


@dataclass(frozen=True)
class Ran:
    """What one run of a command took."""

    wall_s: float
    cpu_s: float
    """User and system, of the whole tree."""
    own_peak_mb: float
    """Of the command's own process, in 10⁶ bytes."""
    child_peak_mb: float
    """Of the largest single process below it; 0 where it has none, or none was seen."""
    said: tuple[tuple[float, str], ...]
    """The lines of its stderr, each with the second it came in."""


def run(job: Job) -> Ran:
    """Run a command to its end and measure it.

    Raises:
        CommandBroke: it did not end with 0; the text holds the last it said.
    """
    with open(job.stdout or os.devnull, "wb") as out:
        started = time.perf_counter()
        process = subprocess.Popen(
            job.argv,
            env={**job.env},
            cwd=job.cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.PIPE,
        )
    assert process.stderr is not None
    listener = _Listener(process.stderr, started)
    watcher = _Watcher(process.pid)
    try:
        _, status, used = os.wait4(process.pid, 0)
    except BaseException:
        process.kill()
        raise
    finally:
        wall = time.perf_counter() - started
        watcher.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    said = listener.lines()
    if process.returncode:
        tail = "\n".join(text for _, text in said[-TAIL_LINES:])
        raise CommandBroke(f"{Path(job.argv[0]).name} ended with {process.returncode}\n{tail}")
    own = watcher.own_peak or used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Ran(wall, used.ru_utime + used.ru_stime, own / 1e6, watcher.child_peak / 1e6, said)


class _Listener(threading.Thread):
    """Reads stderr as it comes, so that each line has its second."""

    def __init__(self, stream: IO[bytes], started: float) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._since = started
        self._lines: list[tuple[float, str]] = []
        self.start()

    def run(self) -> None:
        for line in self._stream:
            self._lines.append((time.perf_counter() - self._since, line.decode(errors="replace").rstrip()))
        self._stream.close()

    def lines(self) -> tuple[tuple[float, str], ...]:
        self.join()
        return tuple(self._lines)


class _Watcher(threading.Thread):
    """Looks at the high-water marks of a process and of all below it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._ended = threading.Event()
        self.own_peak = 0
        self.child_peak = 0
        if PROC.joinpath("self/status").exists():
            self.start()

    def stop(self) -> None:
        self._ended.set()
        if self.is_alive():
            self.join()

    def run(self) -> None:
        children: set[int] = set()
        searched = 0.0
        own_program = _program(self._pid)
        while True:
            now = time.monotonic()
            if now - searched > SEARCH_SECONDS:
                children, searched = set(_below(self._pid)), now
            self.own_peak = max(self.own_peak, _high_water(self._pid))
            # one that has not become its own program yet still wears its parent's memory
            others = (pid for pid in children if _program(pid) != own_program)
            self.child_peak = max((self.child_peak, *map(_high_water, others)))
            if self._ended.wait(LOOK_SECONDS):
                return


def _high_water(pid: int) -> int:
    """Return the most memory a process has held at once, in bytes; 0 when it is gone."""
    try:
        text = PROC.joinpath(str(pid), "status").read_bytes()
    except OSError:
        return 0
    _, found, rest = text.partition(b"VmHWM:")
    return int(rest.split(None, 1)[0]) * 1024 if found else 0


def _program(pid: int) -> str:
    try:
        return os.readlink(PROC / str(pid) / "exe")
    except OSError:
        return ""


def _below(root: int) -> Iterator[int]:
    """Find all descendants of a process."""
    parents: dict[int, int] = {}
    for entry in os.listdir(PROC):
        if entry.isdigit():
            try:
                stat = PROC.joinpath(entry, "stat").read_bytes()
            except OSError:
                continue
            # the name in brackets may hold spaces and brackets itself
            parents[int(entry)] = int(stat.rpartition(b")")[2].split()[1])
    found = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        yield from more
        found |= more
        grown = bool(more)
