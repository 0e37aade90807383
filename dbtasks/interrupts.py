"""Holding Ctrl-C and SIGTERM back while something must be done whole or not at all.

Python delivers a signal between two of its instructions: also between "the
database was swapped" and the line that remembers it. A restore that is live
must not be reported as one that left everything as it was.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["held_back", "is_waiting"]

SIGNALS = (signal.SIGINT, signal.SIGTERM)
_held: list[int] = []


@contextmanager
def held_back() -> Iterator[None]:
    """Keep interrupts until the block has ended well, then deliver the first one.

    When the block raises, its error is the news, and the interrupt is dropped.
    Outside the main thread, which gets no signals, nothing is changed.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    if threading.current_thread() is not threading.main_thread() or None in handlers.values():
        yield
        return

    def hold(number: int, frame: FrameType | None) -> None:
        del frame
        _held.append(number)

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
        seen = list(_held)
    finally:
        _held.clear()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if seen:
        signal.raise_signal(seen[0])


def is_waiting() -> bool:
    """Whether an interrupt is being held back: a loop that merely waits should then give up."""
    return bool(_held)
