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
    "PresentSaved",
    "Progress",
    "RouteTaken",
    "RowsSoFar",
    "Warned",
    "ignore",
    "without_route",
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
class RowsSoFar:
    """Rows read so far in the present phase, of a total where it is known."""

    done: int
    total: int | None = None


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


@dataclass(frozen=True)
class PresentSaved:
    """What is about to be replaced was backed up; it comes back by this id, whatever happens now."""

    backup: str


Event = Phase | Progress | RowsSoFar | Note | Warned | CommandStarted | RouteTaken | PresentSaved


OnEvent = Callable[[Event], Any]


def without_route(on_event: OnEvent) -> OnEvent:
    """Return the listener without the news of the route, where that was told before, and why it is not another."""
    return lambda event: None if isinstance(event, RouteTaken) else on_event(event)


def ignore(event: Event) -> None:
    """Take an event and do nothing: the default of every `on_event`."""
    del event
