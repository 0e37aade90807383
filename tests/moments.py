"""What tests do at a moment of a run: when a phase begins, when rows are on their way, at every phase in turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from dbtasks.errors import DbTasksError, LoadFailed
from dbtasks.events import Event, OnEvent, Phase, Progress

__all__ = ["at_phase", "at_progress", "failures_at_each_phase"]

PHASES = 20
"""More than any run has."""


def at_phase(name: str, act: Callable[[], object]) -> Callable[[Event], None]:
    """Do something when a phase of that name begins."""

    def on_event(event: Event) -> None:
        if isinstance(event, Phase) and event.name == name:
            act()

    return on_event


def at_progress(act: Callable[[], object]) -> Callable[[Event], None]:
    """Do something when rows of a load are on their way."""
    loading: list[bool] = []

    def hear(event: Event) -> None:
        if isinstance(event, Phase):
            loading[:] = [True] if event.name == "load" else []
        elif isinstance(event, Progress) and loading:
            loading.clear()
            act()

    return hear


def failures_at_each_phase(act: Callable[[OnEvent], object]) -> Iterator[tuple[str, DbTasksError]]:
    """Stop a run at its first phase, then at its second, until one comes through; yields each phase and its failure."""
    for number in range(PHASES):
        begun: list[str] = []

        def stop(event: Event, begun: list[str] = begun, number: int = number) -> None:
            if isinstance(event, Phase):
                begun.append(event.name)
                if len(begun) > number:
                    raise LoadFailed("stopped")

        try:
            act(stop)
        except DbTasksError as exc:
            yield begun[number], exc
        else:
            return
    raise AssertionError("no run came through")
