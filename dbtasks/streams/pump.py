"""The copying loop, once, and the two hashing ends."""

from __future__ import annotations

import hashlib
from typing import Protocol

from ..events import OnEvent, Progress, ignore

__all__ = ["BLOCK_BYTES", "HasRead", "HasWrite", "HashingReader", "HashingWriter", "pump"]

BLOCK_BYTES = 1 << 18
"""What is moved at once: larger blocks are no faster, and several wait in each queue on the way."""


class HasRead(Protocol):
    """Whatever bytes can be read from; an empty result is the end."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes."""


class HasWrite(Protocol):
    """Whatever bytes can be written to."""

    def write(self, data: bytes, /) -> object:
        """Take all of `data`."""


def pump(
    source: HasRead, sink: HasWrite, *, total_bytes: int | None = None, on_event: OnEvent = ignore
) -> int:
    """Copy until the end of the source and return the number of bytes."""
    done = 0
    while block := source.read(BLOCK_BYTES):
        sink.write(block)
        done += len(block)
        on_event(Progress(done, total_bytes))
    return done


class HashingWriter:
    """Counts and hashes what is written through it; does not own its sink."""

    def __init__(self, sink: HasWrite) -> None:
        self._sink = sink
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Write, then hash: a failed write is not counted."""
        self._sink.write(data)
        self._digest.update(data)
        size = len(data)
        self.size_bytes += size
        return size

    def flush(self) -> None:
        """Nothing is held back here."""

    @property
    def sha256(self) -> str:
        """Hex digest of everything written so far."""
        return self._digest.hexdigest()


class HashingReader:
    """Counts and hashes what is read through it; does not own its source."""

    def __init__(self, source: HasRead) -> None:
        self._source = source
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes."""
        block = self._source.read(size)
        self._digest.update(block)
        self.size_bytes += len(block)
        return block

    def drain(self) -> None:
        """Read to the end, so that the digest covers the whole file."""
        while self.read(BLOCK_BYTES):
            pass

    @property
    def sha256(self) -> str:
        """Hex digest of everything read so far."""
        return self._digest.hexdigest()
