"""Turning a stream that pushes into one that is pulled: COPY calls us, and whoever reads wants to ask."""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import Full, Queue
from threading import Event
from typing import TypeVar

__all__ = ["pulled"]

T = TypeVar("T")
WAITING = 2
"""Items that may be on their way."""
POLL_SECONDS = 0.1


class _Left(Exception):
    """The reader is gone."""


def pulled(push: Callable[[Callable[[T], None]], object], cancel: Callable[[], object]) -> Generator[T]:
    """Yield what `push`, run in a thread, hands to the function it is given.

    Closing the iterator early calls `cancel`, and waits until the thread has ended.
    """
    waiting: Queue[T | None] = Queue(WAITING)
    left = Event()

    def put(item: T | None) -> None:
        while not left.is_set():
            try:
                return waiting.put(item, timeout=POLL_SECONDS)
            except Full:
                continue
        raise _Left

    def work() -> None:
        try:
            push(put)
        finally:
            # the end; a failure is told by the thread's result
            with suppress(_Left):
                put(None)

    with ThreadPoolExecutor(1, "dbtasks-rows") as pool:
        working = pool.submit(work)
        ended = False
        try:
            while (item := waiting.get()) is not None:
                yield item
            ended = True
            working.result()
        finally:
            left.set()
            if not ended:
                cancel()
