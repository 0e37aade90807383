"""Long values in a comparison: each is known by its size and a digest, whether it was held or came in parts.

A value is made alike by the rule of its column first, as any other. Where that
cannot be done part by part, JSON of two types, the value is held after all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from typing import Any

from ...errors import ArchiveDamaged
from ...models import EngineName
from ..cells import LONG_CHARS, LongBytes, LongText, bytes_of_hex
from .alike import Family, Reader, Unlike

__all__ = ["Digested", "Seen", "digested", "read_long"]


@dataclass(frozen=True)
class Digested:
    """What stands for a value of more than `LONG_CHARS` characters or bytes."""

    kind: str
    size: int
    digest: str


def digested(value: Any) -> Any:
    """Return what stands for a value that was made alike: itself where it is not long."""
    if isinstance(value, tuple):
        # like nothing else, and its own value all the same
        return tuple(map(digested, value))
    if isinstance(value, str | bytes) and len(value) > LONG_CHARS:
        return _digest([value])
    return value


class Seen:
    """The parts of a value on their way: its beginning, and how long it is."""

    def __init__(self, parts: Iterator[Any], beginning: int) -> None:
        self._parts = parts
        self._wanted = beginning
        self.beginning: Any = None
        self.size = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        part = next(self._parts)
        if self.size < self._wanted:
            begun = part[: self._wanted - self.size]
            self.beginning = begun if self.beginning is None else self.beginning + begun
        self.size += len(part)
        return part


def read_long(
    cell: LongText | LongBytes, family: Family | None, read: Reader | None, engine: EngineName
) -> Any:
    """Return what stands for a value that comes in parts, made alike by the rule of its column.

    Raises:
        Unlike: no rule makes it so; holds what stands for the value as it is. ArchiveDamaged: it is none of its type.
    """
    whole, parts = _held(cell)
    if whole is not None:
        return _by_rule(whole, read)
    if family is Family.JSON:
        return _by_rule(_joined(cell, parts), read)
    is_bytes = isinstance(cell, LongBytes)
    if family is Family.BYTES and not is_bytes and engine is EngineName.POSTGRESQL:
        return _digest(_bytes_of(parts))
    if family is not None and is_bytes != (family is Family.BYTES):
        raise Unlike(_digest(parts))
    if family is Family.BOOLEAN:
        raise Unlike(_digest(parts))
    return _digest(_without_blanks(parts) if family is Family.PADDED else parts)


def _bytes_of(parts: Iterable[str]) -> Iterator[bytes]:
    try:
        yield from bytes_of_hex(parts)
    except ValueError as exc:
        raise ArchiveDamaged("a value of bytea is spelled as PostgreSQL spells none") from exc


def _by_rule(value: Any, read: Reader | None) -> Any:
    if read is None:
        return digested(value)
    try:
        return digested(read(value))
    except Unlike as exc:
        raise Unlike(digested(value)) from exc


def _held(cell: LongText | LongBytes) -> tuple[Any, Iterator[Any]]:
    """Return the value where it is not long after all; else all its parts."""
    begun: list[Any] = []
    size = 0
    for part in cell.parts:
        begun.append(part)
        size += len(part)
        if size > LONG_CHARS:
            return None, chain(begun, cell.parts)
    return _joined(cell, begun), iter(())


def _joined(cell: LongText | LongBytes, parts: Iterable[Any]) -> Any:
    return b"".join(parts) if isinstance(cell, LongBytes) else "".join(parts)


def _digest(parts: Iterable[Any]) -> Any:
    """Return what stands for the parts together: all of them where they are not long."""
    begun: list[Any] = []
    size = 0
    hashed = blake2b(digest_size=16)
    for part in parts:
        if size <= LONG_CHARS:
            begun.append(part)
        size += len(part)
        # bytes that are no character stand in a text as lone surrogates
        hashed.update(part if isinstance(part, bytes) else part.encode("utf-8", "surrogatepass"))
    if size <= LONG_CHARS:
        return (b"" if begun and isinstance(begun[0], bytes) else "").join(begun)
    kind = "bytes" if isinstance(begun[0], bytes) else "text"
    return Digested(kind, size, hashed.hexdigest())


def _without_blanks(parts: Iterable[str]) -> Iterator[str]:
    """Leave out the blanks at the end, which are none of a char(n)'s value."""
    blanks = 0
    for part in parts:
        text = part.rstrip(" ")
        if text:
            yield " " * blanks + text
            blanks = 0
        blanks += len(part) - len(text)
