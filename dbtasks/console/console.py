"""The console: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from ..errors import DbTasksError
from ..models import CommandStarted, Event, Note, Phase, Progress, Warned
from .text import printable, size_text

__all__ = ["Console", "error_lines"]

QUIET_SECONDS = 10.0
"""Away from a terminal: at most one progress line per phase in this time."""
BAR_SECONDS = 0.1
BAR_WIDTH = 24


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
        self._stdin = stdin or sys.stdin
        self._stdout = stdout or sys.stdout
        self._stderr = stderr or sys.stderr
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
            self._progress(event)
        elif isinstance(event, Phase):
            self._phase = event.name
            self._last = time.monotonic()
            self._say(f"  {event.name:<8} {event.detail}".rstrip())
        elif isinstance(event, Warned):
            self.warn(event.text)
        elif isinstance(event, Note):
            self._say(f"  {event.text}")
        elif isinstance(event, CommandStarted) and self.echo:
            self._say(f"  + {event.command}  ({event.where})")

    def warn(self, text: str) -> None:
        """Show a warning once; it is also part of the JSON document."""
        if text not in self.warnings:
            self.warnings.append(text)
            self._say(f"  warning: {text}")

    def say(self, lines: Sequence[str]) -> None:
        """Show lines that are not the result: plans and questions."""
        for line in lines:
            self._say(line)

    def _progress(self, event: Progress) -> None:
        pause = BAR_SECONDS if self._live else QUIET_SECONDS
        if time.monotonic() - self._last < pause:
            return
        self._last = time.monotonic()
        done = size_text(event.done_bytes)
        share = min(1.0, event.done_bytes / event.total_bytes) if event.total_bytes else None
        if not self._live:
            part = f" ({share:.0%})" if share is not None else ""
            self._say(f"  {self._phase}: {done}{part}")
            return
        bar = f"{'█' * int(share * BAR_WIDTH):<{BAR_WIDTH}} " if share is not None else ""
        self._write(self._stderr, f"\r  {self._phase:<8} {bar}{done}\x1b[K", raw=True)
        self._bar_open = True

    def _say(self, line: str) -> None:
        if self._bar_open:
            self._write(self._stderr, "\r\x1b[K", raw=True)
            self._bar_open = False
        self._write(self._stderr, f"{line}\n")

    # -- questions ---------------------------------------------------------------

    @property
    def may_ask(self) -> bool:
        """Whether somebody is there to answer."""
        return not self.as_json and _is_terminal(self._stdin)

    def ask(self, question: str) -> str:
        """Ask on stderr and return one line; the end of input is an empty answer."""
        if self._bar_open:
            self._say("")
        self._write(self._stderr, f"{question} ")
        self._stderr.flush()
        return self._stdin.readline().strip()

    # -- at the end ---------------------------------------------------------------

    def show(self, task: str, lines: Sequence[str], document: Mapping[str, Any], exit_code: int) -> None:
        """Show a result: lines for people, or the one JSON document."""
        if self.as_json:
            self._document({"ok": exit_code == 0, "task": task, "exit_code": exit_code, **document})
        else:
            for line in lines:
                self._write(self._stdout, f"{line}\n")
            self._stdout.flush()

    def fail(self, task: str, error: DbTasksError) -> None:
        """Show an error: what failed, the tool's last words, the state, and what helps."""
        if self._bar_open:
            self._say("")
        for line in error_lines(error):
            self._say(line)
        if self.as_json:
            parts = {"code": error.code, "message": error.message, "details": error.details}
            parts |= {"state": error.state, "hint": error.hint}
            self._document({"ok": False, "task": task, "exit_code": error.exit_code, "error": parts})

    def _document(self, document: Mapping[str, Any]) -> None:
        text = json.dumps({**document, "warnings": self.warnings}, indent=2, ensure_ascii=True, default=str)
        self._write(self._stdout, f"{text}\n", raw=True)
        self._stdout.flush()

    def _write(self, stream: TextIO, text: str, *, raw: bool = False) -> None:
        encoding = getattr(stream, "encoding", None)
        if raw and _can_encode(text, encoding):
            stream.write(text)
        else:
            stream.write(printable(text, encoding))

    @property
    def width(self) -> int | None:
        """Columns of the terminal results go to; None where there is no terminal to fit."""
        return shutil.get_terminal_size().columns if _is_terminal(self._stdout) else None


def error_lines(error: DbTasksError) -> list[str]:
    """Return an error as lines: message, details, state, hint."""
    lines = [f"✗ {error.message}"]
    lines += [f"  {line}" for line in error.details.strip().splitlines()]
    if error.state:
        lines.append(f"  state: {error.state}")
    if error.hint:
        lines.append(f"  hint: {error.hint}")
    return lines


def _can_encode(text: str, encoding: str | None) -> bool:
    try:
        text.encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_terminal(stream: TextIO) -> bool:
    try:
        return stream.isatty()
    except (AttributeError, ValueError):
        return False
