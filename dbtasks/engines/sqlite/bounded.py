"""Unpacking that ends before a bomb fills the disk: a megabyte of gzip can hold a gigabyte of zeros.

A backup of ours is as large as its manifest says. Somebody else's file says it
itself: a database's header holds its page size and the number of its pages.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ...errors import ArchiveDamaged, StoreFull
from ...models import Archive
from ...streams import HasRead
from . import files

__all__ = ["Bounded"]

HEAD_BYTES = 100
PAGES = {1, *(1 << bits for bits in range(9, 16))}
"""Page sizes as a header writes them; 1 stands for 65,536."""
SLACK_BYTES = 64 << 20
"""Applications may make a file grow in large chunks, ahead of its pages."""


class Bounded:
    """A reader of an archive's plain bytes that raises where they are no database, or more than they should be."""

    def __init__(self, source: HasRead, archive: Archive, beside: Path) -> None:
        self._source = source
        self._name = archive.path.name
        self._beside = beside
        self._head = b""
        self._seen = 0
        self._limit = archive.manifest.raw_size_bytes if archive.manifest else None
        self._says = "its manifest says"

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes.

        Raises:
            ArchiveDamaged: no SQLite database, or larger than it says. StoreFull: no room for one of this size.
        """
        block = self._source.read(size)
        self._seen += len(block)
        if len(self._head) < HEAD_BYTES:
            self._head += block[: HEAD_BYTES - len(self._head)]
            self._read_head()
        if self._limit is not None and self._seen > self._limit:
            raise ArchiveDamaged(
                f"{self._name} unpacks to more than the {self._limit:,} bytes {self._says}",
                hint="do not trust this file",
            )
        return block

    def _read_head(self) -> None:
        magic = self._head[: len(files.HEADER)]
        if magic != files.HEADER[: len(magic)]:
            raise ArchiveDamaged(f"{self._name} is not a SQLite database")
        if self._limit is not None or len(self._head) < HEAD_BYTES:
            return
        if int.from_bytes(self._head[16:18], "big") not in PAGES:
            raise ArchiveDamaged(f"{self._name} is not a SQLite database: its header names no page size")
        size, free = _declared(self._head), shutil.disk_usage(self._beside).free
        if size > free:
            raise StoreFull(
                f"{self._name} holds a database of {size:,} bytes, and {free:,} are free in {self._beside}",
                hint="free some space",
            )
        self._limit = min(2 * size + SLACK_BYTES, free) if size else free // 2
        self._says = "its header allows" if size else "that may be taken of the free disk"


def _declared(head: bytes) -> int:
    """Return the size the header tells, in bytes; 0 where its writer was too old to tell."""
    page = int.from_bytes(head[16:18], "big")
    # the count holds if it was written together with the last change
    if head[24:28] != head[92:96]:
        return 0
    return (65536 if page == 1 else page) * int.from_bytes(head[28:32], "big")
