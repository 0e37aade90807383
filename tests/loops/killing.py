"""Runs of `invoke` that are killed: when, and how much of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import Project

__all__ = ["STEPS", "Ended", "Pace", "kill_some_time", "pace_of", "processes_of"]

PHASES = ("dump", "pack", "verify", "publish", "remove")
"""What a run says on stderr as it goes, at the beginning of a line."""
STEPS = {
    "publish": {"archive linked": ("{}", True), "manifest linked": ("{}.manifest.json", True)},
    "remove": {"manifest gone": ("{}.manifest.json", False), "archive gone": ("{}", False)},
}
"""What can be seen in the folder while these phases go on: a file, and whether it comes or goes."""
STEP_SECONDS = 0.5
PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class Pace:
    """How a run goes when nobody disturbs it, in seconds from its start."""

    seconds: float
    phases: tuple[tuple[str, float], ...]
    """What it said it does, and how long until it said the next thing or ended."""


@dataclass(frozen=True)
class Ended:
    """How a run ended."""

    killed: bool
    """False: it was over before the blow fell."""
    returncode: int
    when: str
    how: str
    said: str


def pace_of(project: Project, arguments: tuple[str, ...], environ: dict[str, str]) -> Pace:
    """Let a run end by itself and measure it."""
    started, seen = time.monotonic(), []
    with project.start(*arguments, **environ) as process, _bounded(process):
        said = []
        for line in process.stderr or ():
            said.append(line)
            if (phase := _phase(line)) is not None:
                seen.append((phase, time.monotonic()))
    ended = time.monotonic()
    assert process.returncode == 0, f"{arguments} ended with {process.returncode}: {''.join(said)}"
    assert seen, f"{arguments} did nothing that could be disturbed: {''.join(said)}"
    ends = [*(at for _, at in seen[1:]), ended]
    phases = tuple((phase, end - at) for (phase, at), end in zip(seen, ends, strict=True))
    return Pace(ended - started, phases)


def kill_some_time(
    project: Project, arguments: tuple[str, ...], environ: dict[str, str], pace: Pace, dice: random.Random
) -> Ended:
    """Start a run and kill it: at any moment of its time, some time into one of its phases, or at a step.

    What matters most takes a thousandth of the time: half of the blows are
    aimed at a phase, and half of those that hit the folder wait for a file to
    come or go.
    """
    place = dice.randrange(len(pace.phases)) if dice.random() < 0.5 else None
    phase, seconds = ("any moment", pace.seconds) if place is None else pace.phases[place]
    if place is not None:
        # what ends with the process ends early in its last phase
        seconds = min(seconds, dice.choice((0.002, 0.01, seconds)))
    delay = dice.uniform(0, seconds)
    step = dice.choice([*STEPS[phase]]) if phase in STEPS and dice.random() < 0.5 else None
    how = dice.choices(("process", "group", "tree"), (6, 2, 2))[0]
    said: list[str] = []
    with project.start(*arguments, **environ) as process, _bounded(process):
        if place is not None:
            _read_until(process, place, said)
        if step is None:
            time.sleep(delay)
        elif said:
            _wait_for(project.root / "backups", said[-1].split()[-1], STEPS[phase][step])
        _kill(process, how)
        said += process.stderr or ()
    when = f"{phase}, {step}" if step else f"{phase} + {delay * 1000:.1f} ms"
    return Ended(process.returncode == -signal.SIGKILL, process.returncode, when, how, "".join(said))


@contextmanager
def _bounded(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a run that hangs, which its return code then tells."""
    timer = threading.Timer(PATIENCE_SECONDS, process.terminate)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _phase(line: str) -> str | None:
    word = line.split(maxsplit=1)[:1]
    return word[0] if line.startswith("  ") and word and word[0] in PHASES else None


def _read_until(process: subprocess.Popen[str], place: int, said: list[str]) -> None:
    """Read on until the phase of that number begins, or the run is over."""
    for line in process.stderr or ():
        said.append(line)
        if _phase(line) is not None:
            if place == 0:
                return
            place -= 1


def _wait_for(folder: Path, archive: str, step: tuple[str, bool]) -> None:
    """Wait until that step can be seen in the folder, not long."""
    name, comes = step
    paths = [home / name.format(archive) for home in folder.iterdir() if home.is_dir()]
    deadline = time.monotonic() + STEP_SECONDS
    # without a pause: the next step is a fraction of a millisecond away
    while any(path.exists() for path in paths) is not comes and time.monotonic() < deadline:
        pass


def _kill(process: subprocess.Popen[str], how: str) -> None:
    """SIGKILL as the kernel's OOM killer does it, as a closed terminal does it, as a service manager does it."""
    if process.poll() is not None:
        return
    if how == "group":
        os.killpg(process.pid, signal.SIGKILL)
        return
    below = _descendants(process.pid) if how == "tree" else []
    for pid in (process.pid, *below):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it was faster


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in task.read_text().split()]
        except OSError:
            continue
        for child in children:
            found += [child, *_descendants(child)]
    return found


def processes_of(tmpdir: Path) -> list[str]:
    """Return the command lines of all processes whose temporary folder is this one, orphans too."""
    mark = f"TMPDIR={tmpdir}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes().split(b"\0")
            if mark in environ:
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue  # it ended, or is another user's
    return found
