"""The catalog: archive names, the newest-first list of a database, and how one backup is chosen."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .errors import NotFound, UsageError
from .models import Backup, ForeignFile, Identity, Type

__all__ = ["Catalog", "archive_name", "new_id", "read_catalog"]

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0, 1: ids are read aloud and typed on bad days."""


def new_id() -> str:
    """Return six random characters, at least one of them a letter, so that no id looks like a number."""
    while True:
        candidate = "".join(secrets.choice(ALPHABET) for _ in range(6))
        if not candidate.isdecimal():
            return candidate


def archive_name(identity: Identity, id_: str, started_at: datetime, suffix: str) -> str:
    """Return `shop_20260224T150320Z_k3f9a1.dump`; the database's true name stands in the manifest only."""
    stem = Path(identity.name).stem if identity.engine == "sqlite" else identity.name
    slug = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:40] or "database"
    return f"{slug}_{started_at.astimezone(UTC):%Y%m%dT%H%M%SZ}_{id_}{suffix}"


@dataclass(frozen=True)
class Catalog:
    """Everything a store holds, sorted: one database's backups first-class, the rest beside."""

    backups: tuple[Backup, ...]
    """Of the database asked for, newest first, numbered from 1."""
    others: tuple[Backup, ...] = ()
    """Of other databases, newest first; without numbers, unless no database was asked for."""
    foreign: tuple[ForeignFile, ...] = ()
    identity: Identity | None = None
    """The database asked for; None: which one is meant is not known."""

    @property
    def latest(self) -> Backup | None:
        """The newest complete backup that is not a safety one."""
        return next((backup for backup in self.backups if backup.latest), None)

    @property
    def namesakes(self) -> tuple[Backup, ...]:
        """Backups of a database that is called the same, under another address or of another engine."""
        if self.identity is None:
            return ()
        name = _plain_name(self.identity)
        return tuple(b for b in self.others if _plain_name(b.manifest.database) == name)

    @property
    def about_namesakes(self) -> str:
        """Where such backups lie, in words; empty where there are none."""
        found = self.namesakes
        if not found:
            return ""
        where = ", ".join(sorted({f"{b.manifest.database} ({b.manifest.database.engine})" for b in found}))
        backups = "1 backup" if len(found) == 1 else f"{len(found)} backups"
        lie = "lies" if len(found) == 1 else "lie"
        return f"{backups} of a database of that name {lie} under another address or engine: {where}"

    def find(self, selector: str) -> Backup:
        """Return the backup a user means.

        Digits are always a number of the list; then `latest`, `latest:TYPE`,
        an id, a file name or path, or a unique beginning of an id of our own.

        Raises:
            NotFound: nothing matches. UsageError: several do.
        """
        if selector.isdecimal():
            return self._numbered(int(selector))
        if selector == "latest" or selector.startswith("latest:"):
            return self._latest(selector.partition(":")[2])
        everything = (*self.backups, *self.others)
        named = [b for b in everything if selector in (b.id, b.path.name)] or self._at_path(Path(selector))
        if len(named) == 1:
            return named[0]
        # a beginning is typed from the list, and that shows our own: another database's must be said in full
        begun = [b for b in self.backups if selector and b.id.startswith(selector)]
        if len(begun) > 1:
            ids = ", ".join(b.id for b in begun)
            raise UsageError(f"{selector!r} begins several ids: {ids}", hint="add another character")
        if not begun:
            raise NotFound(f"no backup matches {selector!r}", hint="db.list shows what there is")
        return begun[0]

    def _numbered(self, number: int) -> Backup:
        listed = self.backups if self.identity else self.others
        for backup in listed:
            if backup.number == number:
                return backup
        raise NotFound(
            f"there is no backup number {number}: the list has {len(listed)}", hint="db.list shows them"
        )

    def _latest(self, wanted: str) -> Backup:
        if wanted and wanted not in list(Type):
            raise UsageError(f"latest:{wanted}: no such type", hint=f"types are {', '.join(Type)}")
        for backup in self.backups:
            sound = backup.manifest.complete and not backup.manifest.damage
            if sound and (backup.manifest.type == wanted if wanted else backup.latest):
                return backup
        kind = f"{wanted} " if wanted else ""
        hint = "db.backup makes one"
        if self.about_namesakes:
            hint = f"{self.about_namesakes}; db.list --all shows them"
        raise NotFound(f"there is no complete {kind}backup of this database", hint=hint)

    def _at_path(self, path: Path) -> list[Backup]:
        try:
            wanted = path.resolve()
            return [b for b in (*self.backups, *self.others) if b.path.resolve() == wanted]
        except (OSError, ValueError):
            return []


def read_catalog(entries: Iterable[Backup | ForeignFile], identity: Identity | None) -> Catalog:
    """Sort a store's entries by the manifests' own times, never by file times.

    Without an identity nothing is `latest`, and what there is is numbered as one list.
    """
    found, foreign = [], []
    for entry in entries:
        if isinstance(entry, Backup):
            found.append(entry)
        else:
            foreign.append(entry)
    found.sort(key=lambda b: (b.manifest.started_at, b.id), reverse=True)
    own = [b for b in found if b.manifest.database == identity]
    others = [b for b in found if b.manifest.database != identity]
    newest = next((b.id for b in own if _may_be_latest(b)), None)
    numbered = (replace(b, number=i, latest=b.id == newest) for i, b in enumerate(own, start=1))
    if identity is None:
        others = [replace(b, number=i) for i, b in enumerate(others, start=1)]
    foreign.sort(key=lambda f: f.modified_at, reverse=True)
    return Catalog(tuple(numbered), tuple(others), tuple(foreign), identity)


def _plain_name(identity: Identity) -> str:
    """Return what a database is called in every engine: a SQLite file without its ending."""
    return Path(identity.name).stem if identity.engine == "sqlite" else identity.name


def _may_be_latest(backup: Backup) -> bool:
    manifest = backup.manifest
    return manifest.complete and not manifest.damage and manifest.type is not Type.SAFETY
