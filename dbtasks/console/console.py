"""The console: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TextIO

from ..errors import DbTasksError, Declined, SettingsError
from ..events import CommandStarted, Event, Note, Phase, Progress, RouteTaken, RowsSoFar, Warned
from ..models import Route
from .text import many, printable, size_text

__all__ = ["Console", "error_lines"]

QUIET_SECONDS = 10.0
"""Away from a terminal: at most one progress line per phase in this time."""
BAR_SECONDS = 0.1
BAR_WIDTH = 24
HEED_SECONDS = 0.2


class Console:
    """Shows one task's progress and result. It is itself the `on_event` of the executors."""

    def __init__(
        self,
        *,
        as_json: bool = False,
        echo: bool = False,
        stdin: TextIO | None = None,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.as_json = as_json
        self.echo = echo
        self.warnings: list[str] = []
        self._route: RouteTaken | None = None
        self.spell: Callable[[str], str] = str
        """How a command named in a hint is typed in this project."""
        # a stream closed by the caller (`>&-`) is None
        self._stdin: TextIO | None = stdin or sys.stdin
        self._stdout: TextIO | None = stdout or sys.stdout
        self._stderr: TextIO | None = stderr or sys.stderr
        self._phase = ""
        self._bar_open = False
        self._last = time.monotonic()
        self._live = (
            _is_terminal(self._stderr) and os.environ.get("TERM") != "dumb" and not os.environ.get("CI")
        )

    # -- while work is done ----------------------------------------------------

    def __call__(self, event: Event) -> None:
        """Take an event of an executor."""
        if isinstance(event, Progress):
            self._progress(size_text(event.done_bytes), event.done_bytes, event.total_bytes)
        elif isinstance(event, RowsSoFar):
            self._progress(many(event.done, "row"), event.done, event.total)
        elif isinstance(event, Phase):
            self._phase = event.name
            self._last = time.monotonic()
            self._say(f"  {event.name:<8} {event.detail}".rstrip())
        elif isinstance(event, Warned):
            self.warn(event.text)
        elif isinstance(event, Note):
            self._say(f"  {event.text}")
        elif isinstance(event, RouteTaken):
            self._take(event)
        elif isinstance(event, CommandStarted) and self.echo:
            self._say(f"  + {event.command}  ({event.where})")

    def warn(self, text: str) -> None:
        """Show a warning once; it is also part of the JSON document."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._say(f"  warning: {text}")

    def _take(self, taken: RouteTaken) -> None:
        """Say once which way is gone; to a file there is only one, and nothing to say."""
        if taken != self._route and taken.route is not Route.FILE:
            self._say(f"  {'route':<8} {taken.route}: {taken.why}")
        self._route = taken

    def say(self, lines: Sequence[str]) -> None:
        """Show lines that are not the result: plans and questions."""
        for line in lines:
            self._say(line)

    def _progress(self, done: str, moved: int, total: int | None) -> None:
        pause = BAR_SECONDS if self._live else QUIET_SECONDS
        if time.monotonic() - self._last < pause:
            return
        self._last = time.monotonic()
        share = min(1.0, moved / total) if total else None
        if not self._live:
            part = f" ({share:.0%})" if share is not None else ""
            self._say(f"  {self._phase}: {done}{part}")
            return
        bar = f"{'█' * int(share * BAR_WIDTH):<{BAR_WIDTH}} " if share is not None else ""
        shown = printable(f"  {self._phase:<8} {bar}{done}", _encoding(self._stderr))
        self._write(self._stderr, f"\r{shown}\x1b[K")
        self._bar_open = True

    def _say(self, line: str) -> None:
        self._close_bar()
        self._write(self._stderr, f"{printable(line, _encoding(self._stderr))}\n")

    def _close_bar(self) -> None:
        if self._bar_open:
            self._write(self._stderr, "\r\x1b[K")
            self._bar_open = False

    # -- questions ---------------------------------------------------------------

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return not self.as_json and _is_terminal(self._stdin)

    def ask(self, question: str) -> str:
        """Ask on stderr and return one line, stripped.

        Raises:
            Declined: the input ended instead; that is nobody's yes.
        """
        self._close_bar()
        self._write(self._stderr, f"{printable(question, _encoding(self._stderr))} ")
        answer = _line_of(self._stdin) if self._stdin else ""
        if not answer:
            self._say("")
            raise Declined("no answer was given", state="nothing was touched")
        return answer.strip()

    # -- at the end ---------------------------------------------------------------

    def show(self, task: str, lines: Sequence[str], document: Mapping[str, Any], exit_code: int) -> None:
        """Show a result: lines for people, or the one JSON document."""
        if self.as_json:
            self._document({"ok": exit_code == 0, "task": task, "exit_code": exit_code, **document})
        else:
            encoding = _encoding(self._stdout)
            self._write(self._stdout, "".join(f"{printable(line, encoding)}\n" for line in lines))

    def fail(self, task: str, error: DbTasksError) -> None:
        """Show an error: what failed, the tool's last words, the state, and what helps."""
        for line in error_lines(error, self.spell):
            self._say(line)
        if self.as_json:
            parts = {"code": error.code, "message": error.message, "details": error.details}
            parts |= {"state": self.spell(error.state), "hint": self.spell(error.hint)}
            self._document({"ok": False, "task": task, "exit_code": error.exit_code, "error": parts})

    def _document(self, document: Mapping[str, Any]) -> None:
        route = {"route": str(self._route.route), "why": self._route.why} if self._route else {}
        whole = {**document, **route, "warnings": self.warnings}
        text = json.dumps(whole, indent=2, ensure_ascii=True, default=str)
        self._write(self._stdout, f"{text}\n")

    def _write(self, stream: TextIO | None, text: str) -> None:
        """Write and flush; a reader that has gone away never stops the work that is told about."""
        if stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except BrokenPipeError:
            _silence(stream)

    @property
    def width(self) -> int | None:
        """Columns of the terminal results go to; None where there is no terminal to fit."""
        return shutil.get_terminal_size().columns if _is_terminal(self._stdout) else None


def error_lines(error: DbTasksError, spell: Callable[[str], str] = str) -> list[str]:
    """Return an error as lines: message, details, state, hint."""
    # only a list of wrong settings has lines of its own; elsewhere a line break is part of somebody's name
    message = error.message.split("\n") if type(error) is SettingsError else [error.message]
    lines = [f"✗ {message[0]}", *message[1:]]
    # a server's one line is often the whole message already
    details = [
        line for line in error.details.expandtabs(2).strip().splitlines() if not error.message.endswith(line)
    ]
    lines += [f"  {line}" for line in details]
    if error.state:
        lines.append(f"  state: {spell(error.state)}")
    if error.hint:
        lines.append(f"  hint: {spell(error.hint)}")
    return lines


def _silence(stream: TextIO) -> None:
    """Send the rest nowhere: Python's own flush at exit must not complain either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    finally:
        os.close(nowhere)


def _encoding(stream: TextIO | None) -> str | None:
    return getattr(stream, "encoding", None)


def _is_terminal(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False  # closed


def _line_of(stream: TextIO) -> str:
    """Read one line, and wait for it in short steps: Python acts on a Ctrl-C between two of its own, and one that came right before the read would wait for the next key."""
    # a text of somebody's has no descriptor, and Windows waits for sockets only
    with suppress(OSError, ValueError):
        while not select.select([stream], [], [], HEED_SECONDS)[0]:
            pass
    return stream.readline()
