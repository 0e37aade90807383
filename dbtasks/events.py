"""What a run says while it goes: values for a callback, without a word of printing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .models import Route

__all__ = [
    "CommandStarted",
    "Event",
    "Note",
    "OnEvent",
    "Phase",
    "Progress",
    "RouteTaken",
    "Warned",
    "ignore",
]


@dataclass(frozen=True)
class Phase:
    """A step of a task begins."""

    name: str
    detail: str = ""


@dataclass(frozen=True)
class Progress:
    """Bytes moved so far in the present phase, of a total where it is known."""

    done_bytes: int
    total_bytes: int | None = None


@dataclass(frozen=True)
class Note:
    """Something worth saying that is not a warning."""

    text: str


@dataclass(frozen=True)
class Warned:
    """Something the user should know; also part of the result."""

    text: str


@dataclass(frozen=True)
class CommandStarted:
    """A client tool was started; the text is the redacted command line."""

    command: str
    where: str


@dataclass(frozen=True)
class RouteTaken:
    """The way to the database was chosen; what is done from now on goes by it."""

    route: Route
    why: str


Event = Phase | Progress | Note | Warned | CommandStarted | RouteTaken


OnEvent = Callable[[Event], Any]


def ignore(event: Event) -> None:
    """Take an event and do nothing: the default of every `on_event`."""
    del event
