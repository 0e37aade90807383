"""Reading an archive back: its checksum, alone or while its inside is being checked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from ..errors import ArchiveDamaged
from ..models import Archive
from ..stores.local import open_archive, translated
from ..streams import BLOCK_BYTES, HashingReader

__all__ = ["Hashed", "hash_file", "hashing", "prove_bytes"]

Hashed = tuple[str, int]
"""sha256 in hex, and size in bytes."""


def hash_file(path: Path) -> Hashed:
    """Return sha256 and size of a file of the store."""
    return _hash(path, Event())


def prove_bytes(archive: Archive) -> None:
    """Compare an archive's bytes with its manifest; one that has none passes.

    Raises:
        ArchiveDamaged: size or checksum do not hold.
    """
    manifest = archive.manifest
    if manifest is None:
        return
    sha256, size_bytes = hash_file(archive.path)
    if size_bytes != manifest.size_bytes:
        raise ArchiveDamaged(
            f"{archive.path.name} has {size_bytes:,} bytes, its manifest says {manifest.size_bytes:,}"
        )
    if sha256 != manifest.sha256:
        raise ArchiveDamaged(f"{archive.path.name} does not have the checksum of its manifest")


@contextmanager
def hashing(path: Path) -> Iterator[Future[Hashed]]:
    """Hash a file in a thread of its own while the block does something else with it.

    An exception that leaves the block ends the hashing: nobody waits for it.
    """
    given_up = Event()
    with ThreadPoolExecutor(1, "dbtasks-hash") as pool:
        future = pool.submit(_hash, path, given_up)
        try:
            yield future
        except BaseException:
            given_up.set()
            raise


def _hash(path: Path, given_up: Event) -> Hashed:
    with translated(f"cannot read {path}"), open_archive(path) as stream:
        source = HashingReader(stream)
        while source.read(BLOCK_BYTES):
            if given_up.is_set():
                break
    return source.sha256, source.size_bytes
