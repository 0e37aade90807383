"""Where client tools run. A command becomes a stream, and its end is always looked at.

The contract every runner keeps: no shell, no secret in argv, stderr drained
into a bounded tail, exit status read when the block ends, the child ended and
reaped when the block is left by an exception.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from ..secrets import Secret
from ..streams import HasRead

__all__ = ["Command", "CommandInput", "Runner", "ToolVersion"]


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


class CommandInput(Protocol):
    """The writing end of a running tool."""

    def write(self, data: bytes, /) -> object:
        """Send bytes; raises CommandFailed when the tool has already ended."""


class Runner(Protocol):
    """A place where PostgreSQL's client tools can be run."""

    @property
    def where(self) -> str:
        """What to call it in messages: `host`, `container shop-db`."""

    def version(self, tool: str) -> ToolVersion:
        """Return the version of a tool.

        Raises:
            ToolMissing: it is not there.
        """

    def reading(self, command: Command) -> AbstractContextManager[HasRead]:
        """Run a tool and yield its stdout.

        Raises:
            CommandFailed: on leaving the block, when it did not end with 0.
        """

    def writing(self, command: Command) -> AbstractContextManager[CommandInput]:
        """Run a tool and yield its stdin, closed on a clean exit; an exception kills the tool instead.

        Raises:
            CommandFailed: on leaving the block, when it did not end with 0.
        """

    def run(self, command: Command) -> str:
        """Run a tool that works on files by itself and return its (short) stdout.

        Raises:
            CommandFailed: it did not end with 0.
        """
