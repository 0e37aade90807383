"""Where archives live. A store publishes whole, verified backups or nothing.

The contract every store keeps (tests/contract/test_store.py):

- `draft()` gives a private place on the store's own file system; what is in it
  is invisible to everybody and gone when the block ends, unless published.
- `publish()` takes a draft with the proof of its full read, refuses a draft
  that changed since, never overwrites, and makes archive and manifest visible
  in that order. After a failure or a kill nothing new is listed.
- `entries()` lists by manifests. Files without one are foreign: shown, never
  touched. What a run is publishing or removing, or died at, is neither.
- `remove()` takes the manifest first, then the archive; interrupted, it is
  finished by the next `sweep()`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, Protocol

from ..models import Backup, ForeignFile, Manifest, Proof, Type

__all__ = ["Draft", "Store"]


class Draft(Protocol):
    """An archive in the making: write it as a stream, or at a path."""

    @property
    def path(self) -> Path:
        """Where the archive's bytes go; lies in a private folder, does not exist yet."""

    @property
    def folder(self) -> Path:
        """The private folder, for tools that need to lay down more than one file."""

    @property
    def globals_path(self) -> Path:
        """Where roles and tablespaces go when they are dumped too; published with the archive."""

    @property
    def lock(self) -> int:
        """Descriptor that children must inherit: while one lives, the draft is not swept."""

    def create(self) -> AbstractContextManager[BinaryIO]:
        """Open the archive for writing, once, 0600 from the first byte; synced on a clean exit."""


class Store(Protocol):
    """A place for backups."""

    @property
    def name(self) -> str:
        """What to call it in messages."""

    def draft(self, type_: Type) -> AbstractContextManager[Draft]:
        """Open a draft for one backup of a type.

        Raises:
            StoreUnusable: the place cannot be written.
        """

    def publish(self, draft: Draft, manifest: Manifest, proof: Proof) -> Backup:
        """Make a verified draft a backup; all or nothing, never over an existing name.

        Raises:
            AlreadyExists: the archive's name is taken.
            ArchiveDamaged: the draft is not what the proof was made from.
        """

    def entries(self) -> Iterable[Backup | ForeignFile]:
        """Return everything that lies in the store, in no particular order."""

    def open(self, backup: Backup) -> BinaryIO:
        """Open an archive for reading, without following links."""

    def replace_manifest(self, backup: Backup, manifest: Manifest) -> Backup:
        """Put a new manifest in place of a backup's own, atomically."""

    def remove(self, backup: Backup) -> None:
        """Remove one backup: manifest first, then the archive and what belongs to it."""

    def sweep(self) -> list[Path]:
        """Finish or undo what killed runs left behind; returns what was removed."""
