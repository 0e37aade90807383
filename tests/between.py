"""What lies between here and a server: it cuts connections that carry no data for a while, as proxies do."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable

__all__ = ["Between"]

Pair = tuple[socket.socket, socket.socket]


class Between:
    """Carries bytes from a port of this machine to where `reach` connects to, and back."""

    def __init__(self, reach: Callable[[], socket.socket], idle_seconds: float) -> None:
        self.cut = 0
        """How many connections it has ended for being quiet."""
        self.is_stuck = False
        """Whether it carries nothing at all, and cuts nothing."""
        self._reach = reach
        self._idle_seconds = idle_seconds
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._pairs: dict[Pair, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    @property
    def port(self) -> int:
        port: int = self._listening.getsockname()[1]
        return port

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        for pair in list(self._pairs):
            self._end(pair)
        self._listening.close()

    def _carry(self) -> None:
        while not self._over.is_set():
            ends = {} if self.is_stuck else {end: pair for pair in self._pairs for end in pair}
            readable, _, _ = select.select([self._listening, *ends], [], [], 0.05)
            for end in readable:
                if end is self._listening:
                    self._pairs[(end.accept()[0], self._reach())] = time.monotonic()
                elif ends[end] in self._pairs:
                    self._hand_on(end, ends[end])
            if not self.is_stuck:
                self._cut_quiet(time.monotonic() - self._idle_seconds)

    def _hand_on(self, end: socket.socket, pair: Pair) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = end.recv(1 << 16)
        if not data:
            self._end(pair)
            return
        with contextlib.suppress(OSError):
            (pair[1] if end is pair[0] else pair[0]).sendall(data)
        self._pairs[pair] = time.monotonic()

    def _cut_quiet(self, since: float) -> None:
        for pair in [pair for pair, last in self._pairs.items() if last < since]:
            self.cut += 1
            self._end(pair)

    def _end(self, pair: Pair) -> None:
        del self._pairs[pair]
        for end in pair:
            end.close()
