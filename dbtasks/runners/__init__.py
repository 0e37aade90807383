"""Where client tools run. A command becomes a stream, and its end is always looked at.

The contract every runner keeps: no shell, no secret in argv, stderr drained
into a bounded tail, exit status read when the block ends, the child ended and
reaped when the block is left by an exception.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ..secrets import Secret
from ..streams import HasWrite

__all__ = ["Command", "CommandInput", "CommandOutput", "Runner", "ToolFolder", "ToolVersion"]


@dataclass(frozen=True)
class Command:
    """One client tool's call. Its text is for people: quoted for a shell, environment left out."""

    tool: str
    """pg_dump, pg_restore, psql, …; the runner knows where it lies."""
    arguments: tuple[str, ...] = ()
    env: Mapping[str, str | Secret] = field(default_factory=dict)
    """What the child gets besides a neutral environment without any PG*."""
    inherit: tuple[int, ...] = ()
    """Descriptors the child keeps open: locks that must live as long as it does."""

    def __str__(self) -> str:
        return shlex.join((self.tool, *self.arguments))


@dataclass(frozen=True, order=True)
class ToolVersion:
    """Version of a client tool, comparable."""

    major: int
    minor: int
    text: str = field(compare=False, default="")

    def __str__(self) -> str:
        return self.text or f"{self.major}.{self.minor}"


class CommandOutput(Protocol):
    """The reading end of a running tool."""

    @property
    def said(self) -> str:
        """What the tool said on stderr so far, redacted; complete once it has ended."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes of its stdout, all there are for -1; empty at the end."""

    def kill(self) -> None:
        """End the tool now, from any thread."""


class CommandInput(Protocol):
    """The writing end of a running tool, and its stdout where that was asked for."""

    @property
    def said(self) -> str:
        """What the tool said on stderr so far, redacted; complete once it has ended."""

    def write(self, data: bytes, /) -> object:
        """Send bytes; raises CommandFailed when the tool has already ended."""

    def flush(self) -> None:
        """Make sure that the tool can read everything written so far."""

    def read_line(self) -> bytes:
        """Return the next line of the tool's stdout; empty when it has ended."""

    def close(self) -> None:
        """Say that nothing more comes."""

    def kill(self) -> None:
        """End the tool now, from any thread."""


@dataclass(frozen=True)
class ToolFolder:
    """A folder for a tool that writes more than one file."""

    path: str
    """As the tool sees it; does not exist yet."""
    pack: Callable[[HasWrite], None]
    """Writes its files as one flat tar."""


class Runner(Protocol):
    """A place where PostgreSQL's client tools can be run."""

    @property
    def where(self) -> str:
        """What to call it in messages: `host`, `container shop-db`."""

    @property
    def sees_our_files(self) -> bool:
        """Whether a tool there opens this machine's files; elsewhere they are sent, or copied there."""

    def version(self, tool: str) -> ToolVersion:
        """Return the version of a tool.

        Raises:
            ToolMissing: it is not there.
        """

    def reading(self, command: Command) -> AbstractContextManager[CommandOutput]:
        """Run a tool and yield its stdout.

        Raises:
            CommandFailed: on leaving the block, when it did not end with 0.
        """

    def writing(self, command: Command, *, output: bool = False) -> AbstractContextManager[CommandInput]:
        """Run a tool and yield its stdin, closed on a clean exit; an exception kills the tool instead.

        `output=True` keeps its stdout readable; the caller then has to read it.

        Raises:
            CommandFailed: on leaving the block, when it did not end with 0.
        """

    def staged(self, path: Path) -> AbstractContextManager[str]:
        """Yield where a tool finds a file or folder of ours; a copy of it is gone afterwards.

        Raises:
            ArchiveDamaged: the copy differs. StoreFull: there is no room for it.
        """

    def folder(self, beside: Path) -> AbstractContextManager[ToolFolder]:
        """Yield a place where a tool can lay down a directory; `beside` is where this machine has room."""

    def run(self, command: Command) -> str:
        """Run a tool that works on files by itself and return its (short) stdout.

        Raises:
            CommandFailed: it did not end with 0.
        """
