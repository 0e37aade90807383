"""A command of the project's own, run in its root: no shell, no input, its last words kept, ended with all it started.

Unlike a client tool it gets the whole environment: it needs what the project needs.
The database comes on top of that, by the names that programs look for.

It does not outlive this process either, however that ends: a shell of its own
session waits for the end of its input, which is our end, and then ends the
command. Nothing of the command's is in that shell but the number of its group.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import LoadFailed, OperationFailed, ToolMissing
from ..interrupts import held_back
from ..row_values import without_rows
from ..secrets import Secret, redact

__all__ = ["find_program", "run_project_command"]

TAIL_BYTES = 16 << 10
TAIL_LINES = 20
PATIENCE_SECONDS = 5.0
DRAIN_SECONDS = 1.0
"""What a program that it left behind says is not waited for."""
# A word behind the number says that the command was seen to its end. TERM first: its own children, and what it has to put away
ENDER = (
    "read -r group || exit 0; read -r word && exit 0;"
    ' kill -s TERM -- "-$group" 2>/dev/null; for second in 1 2 3 4 5; do sleep 1;'
    ' kill -s 0 -- "-$group" 2>/dev/null || exit 0; done; kill -s KILL -- "-$group" 2>/dev/null'
)
LEADING = ("PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS")
"""What would lead a program of libpq's elsewhere than the names that are set."""


def find_program(argv: Sequence[str], root: Path) -> str:
    """Return the path of a command's program: relative to the root where a folder stands in it, else in PATH.

    Raises:
        ToolMissing: it is not there.
    """
    name = argv[0]
    found = shutil.which(str(root / name) if os.sep in name else name)
    if found is None:
        raise ToolMissing(
            f"{name} of schema_command was not found {f'in {root}' if os.sep in name else 'in PATH'}",
            hint="install it, activate its virtual environment, or give its path",
            state="nothing was touched",
        )
    return found


def run_project_command(
    argv: Sequence[str],
    root: Path,
    environment: Mapping[str, str | Secret | None],
    *,
    seconds: float,
    secrets: Iterable[Secret] = (),
) -> None:
    """Run it to its end; what it says is kept to its last lines, for a failure. None in `environment` takes a name away.

    Whatever ends the block early ends it as well, and everything that it started in its session.

    Raises:
        ToolMissing: it is not there. LoadFailed: it ended badly, or took longer than it may (0: as long as it likes).
    """
    program = find_program(argv, root)
    hidden = [*secrets, *(value for value in environment.values() if isinstance(value, Secret))]
    shown = redact(shlex.join(argv), hidden)
    child: subprocess.Popen[bytes] | None = None
    tail: _Tail | None = None
    with _ender() as tell:
        try:
            # Ctrl-C between its start and knowing of it would leave it behind
            with held_back():
                child = _start(program, argv, root, environment)
                tell(child.pid)
            tail = _Tail(child)
            child.wait(seconds or None)
        except subprocess.TimeoutExpired as exc:
            raise LoadFailed(
                f"schema_command ({shown}) took longer than {seconds:g} s",
                details=_said(tail, hidden),
                hint="raise schema_timeout, or see what it waits for",
            ) from exc
        finally:
            if child is not None:
                _end(child)
            if tail is not None:
                tail.close()
    if child.returncode:
        code = child.returncode
        how = f"was killed by signal {-code}" if code < 0 else f"exited {code}"
        raise LoadFailed(
            f"schema_command ({shown}) {how}",
            details=_said(tail, hidden),
            hint="run it by hand with DATABASE_URL set to an empty database",
        )


def _start(
    program: str, argv: Sequence[str], root: Path, environment: Mapping[str, str | Secret | None]
) -> subprocess.Popen[bytes]:
    own = {k: v.reveal() if isinstance(v, Secret) else v for k, v in environment.items() if v is not None}
    inherited = {
        name: value for name, value in os.environ.items() if name not in LEADING and name not in environment
    }
    try:
        return subprocess.Popen(
            [program, *argv[1:]],
            cwd=root,
            env={**inherited, **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except (OSError, ValueError) as exc:
        # a NUL character, or no program at all
        raise OperationFailed(f"{program} could not be started: {exc}") from exc


@contextmanager
def _ender() -> Iterator[Callable[[int], None]]:
    """Yield who is told the command's group, and ends all of it should this process end before the block does."""
    ender: subprocess.Popen[bytes] | None = None
    # without a shell it is as it would be without this: the command goes on, and what it makes is left over
    with suppress(OSError), held_back():
        ender = _start_ender()

    def tell(text: str) -> None:
        if ender is not None and ender.stdin is not None:
            # somebody has ended it
            with suppress(OSError):
                ender.stdin.write(text.encode())

    try:
        yield lambda group: tell(f"{group}\n")
    finally:
        # two lines: where no command was started the first is taken for its group
        tell("done\ndone\n")
        if ender is not None:
            ender.communicate()


def _start_ender() -> subprocess.Popen[bytes] | None:
    if os.name != "posix":
        return None
    return subprocess.Popen(
        ["/bin/sh", "-c", ENDER],
        cwd="/",
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        # what ends this process by its group or by Ctrl-C is not to end it too
        start_new_session=True,
    )


class _Tail:
    """The end of what a child says; read all the time, so that it never waits for us."""

    def __init__(self, child: subprocess.Popen[bytes]) -> None:
        self._stream = child.stdout
        self._held = b""
        self._thread = threading.Thread(target=self._read, name="schema-command", daemon=True)
        self._thread.start()

    @property
    def text(self) -> str:
        """Its last lines."""
        lines = self._held.decode(errors="replace").strip().splitlines()
        return "\n".join(lines[-TAIL_LINES:])

    def close(self) -> None:
        """Wait for what is still on its way."""
        self._thread.join(DRAIN_SECONDS)
        if self._stream is not None and not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        if self._stream is None:
            return
        with suppress(OSError, ValueError):
            while block := os.read(self._stream.fileno(), TAIL_BYTES):
                self._held = (self._held + block)[-TAIL_BYTES:]


def _said(tail: _Tail | None, hidden: Iterable[Secret]) -> str:
    return without_rows(redact(tail.text, hidden)) if tail else ""


def _end(child: subprocess.Popen[bytes]) -> None:
    """End it and what it started; nothing where it is over and has left nothing behind."""
    for number in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        running = child.poll() is None
        if hasattr(os, "killpg"):
            # its group is its own: it leads a session
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)
        elif running:
            child.terminate()
        if not running:
            return
        with suppress(subprocess.TimeoutExpired):
            child.wait(PATIENCE_SECONDS)
