"""Runs of `invoke` that are killed: when, and how much of them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dbtasks.models import Type
from tests.conftest import REPOSITORY, Project

__all__ = [
    "STEPS",
    "Ended",
    "Pace",
    "kill_in_a_phase",
    "kill_some_time",
    "kill_when",
    "pace_of",
    "processes_of",
    "slow_disk",
]

PHASES = (
    *("dump", "pack", "verify", "publish", "remove"),
    *("safety", "create", "drop", "load", "analyze", "check", "swap", "commit"),
)
"""What a run says on stderr as it goes, at the beginning of a line."""
STEPS = {
    "publish": {"archive linked": ("{}", True), "manifest linked": ("{}.manifest.json", True)},
    "remove": {"manifest gone": ("{}.manifest.json", False), "archive gone": ("{}", False)},
}
"""What can be seen in the folder while these phases go on: a file, and whether it comes or goes.

After the first step of each the folder holds half a backup, after the second a whole one or none.
"""
FIRST_STEPS = (3, 1)
"""How much more often a blow is aimed at the first of them."""
SLOW_DISK = """\
import os, time

fsync = os.fsync


def slow(descriptor):
    fsync(descriptor)
    time.sleep(0.01)


os.fsync = slow
"""
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


def slow_disk(folder: Path) -> dict[str, str]:
    """Return the variables of a run whose disk takes its time, as one that turns does, so that its steps lie apart."""
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(SLOW_DISK)
    return {"PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY)))}


def kill_some_time(
    project: Project, arguments: tuple[str, ...], environ: dict[str, str], pace: Pace, dice: random.Random
) -> Ended:
    """Start a run and kill it: at any moment of its time, some time into one of its phases, or at a step.

    What matters most takes a thousandth of the time: a third of the blows are
    aimed at a phase, and a third, on a slow disk, wait for a file to come or go.
    """
    steps = ("step",) if any(phase in STEPS for phase, _ in pace.phases) else ()
    aim = dice.choice(("any moment", "phase", *steps))
    if aim == "step":
        return _kill_at_a_step(project, arguments, environ, pace, dice)
    place = dice.randrange(len(pace.phases)) if aim == "phase" else None
    phase, seconds = ("any moment", pace.seconds) if place is None else pace.phases[place]
    if place is not None:
        # what ends with the process ends early in its last phase
        seconds = min(seconds, dice.choice((0.002, 0.01, seconds)))
    delay = dice.uniform(0, seconds)
    said: list[str] = []
    with project.start(*arguments, **environ) as process, _bounded(process):
        if place is not None:
            _read_until(process, place, said)
        time.sleep(delay)
        return _struck(process, f"{phase} + {delay * 1000:.1f} ms", said, dice)


def kill_in_a_phase(
    project: Project,
    arguments: tuple[str, ...],
    environ: dict[str, str],
    pace: Pace,
    phases: tuple[str, ...],
    dice: random.Random,
) -> Ended:
    """Start a run and kill it some time into one of these phases, as long as it takes when nobody disturbs it."""
    place, phase, seconds = dice.choice(
        [(n, phase, seconds) for n, (phase, seconds) in enumerate(pace.phases) if phase in phases]
    )
    delay = dice.uniform(0, seconds)
    said: list[str] = []
    with project.start(*arguments, **environ) as process, _bounded(process):
        _read_until(process, place, said)
        time.sleep(delay)
        return _struck(process, f"{phase} + {delay * 1000:.1f} ms", said, dice)


def kill_when(
    project: Project,
    arguments: tuple[str, ...],
    environ: dict[str, str],
    when: str,
    seen: Callable[[Callable[[], bool]], object],
    dice: random.Random,
) -> Ended:
    """Start a run on a slow disk and kill it as soon as `seen` returns; it is told how to ask whether the run goes on."""
    slow = slow_disk(project.root.parent / "slow-disk")
    said: list[str] = []
    with project.start(*arguments, **environ, **slow) as process, _bounded(process):
        reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
        reader.start()
        seen(lambda: process.poll() is None)
        return _struck(process, when, said, dice, drain=reader.join)


def _kill_at_a_step(
    project: Project, arguments: tuple[str, ...], environ: dict[str, str], pace: Pace, dice: random.Random
) -> Ended:
    place, phase = dice.choice([(n, phase) for n, (phase, _) in enumerate(pace.phases) if phase in STEPS])
    step = dice.choices([*STEPS[phase]], FIRST_STEPS)[0]
    slow = slow_disk(project.root.parent / "slow-disk")
    said: list[str] = []
    with project.start(*arguments, **environ, **slow) as process, _bounded(process):
        if archive := _read_until(process, place, said):
            _wait_for(process, project.root / "backups", archive, STEPS[phase][step])
        return _struck(process, f"{phase}, {step}", said, dice)


def _struck(
    process: subprocess.Popen[str],
    when: str,
    said: list[str],
    dice: random.Random,
    *,
    drain: Callable[[], object] | None = None,
) -> Ended:
    how = dice.choices(("process", "group", "tree"), (6, 2, 2))[0]
    _kill(process, how)
    if drain:
        drain()
    else:
        said += process.stderr or ()
    code = process.wait()
    return Ended(code == -signal.SIGKILL, code, when, how, "".join(said))


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


def _read_until(process: subprocess.Popen[str], place: int, said: list[str]) -> str:
    """Read on until the phase of that number begins and return what it is about; nothing where the run is over."""
    for line in process.stderr or ():
        said.append(line)
        if _phase(line) is not None:
            if place == 0:
                return line.split()[-1]
            place -= 1
    return ""


def _wait_for(process: subprocess.Popen[str], folder: Path, archive: str, step: tuple[str, bool]) -> None:
    """Wait until that step can be seen in the folder, or the run is over."""
    name, comes = step
    # of every type: the run may make the folder itself
    paths = [str(folder / type_ / name.format(archive)) for type_ in Type]
    # without a pause: the next step may be a fraction of a millisecond away
    while any(map(os.path.exists, paths)) is not comes and process.poll() is None:
        pass


def _kill(process: subprocess.Popen[str], how: str) -> None:
    """SIGKILL as the kernel's OOM killer does it, as a closed terminal does it, as a service manager does it."""
    if process.poll() is not None:
        return
    if how == "group":
        os.killpg(process.pid, signal.SIGKILL)
        return
    if how == "tree":
        # it goes no step further while its children are looked for
        process.send_signal(signal.SIGSTOP)
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
