"""The catalog: archive names, the newest-first list of a database, and how one backup is chosen."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from .errors import NotFound, UsageError
from .models import Backup, ForeignFile, Format, Identity, Manifest, Type
from .nouns import many

__all__ = ["Catalog", "archive_name", "new_id", "read_catalog"]

ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0, 1: ids are read aloud and typed on bad days."""
SHOWN = 3
"""So many backups are named in a message."""


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
        """The newest complete backup of ours that is not a safety one; else the newest of all tables' rows."""
        return next((backup for backup in self.backups if backup.latest), None)

    @property
    def about_latest(self) -> str:
        """That `latest` is not complete, in words; empty where it is."""
        latest = self.latest
        if latest is None or latest.manifest.complete:
            return ""
        return (
            f"there is no complete backup of this database{self._but_safety}: latest is {latest.id},"
            " the newest that holds the rows of all its tables"
        )

    @property
    def namesakes(self) -> tuple[Backup, ...]:
        """Backups of a database that is called the same, under another address or of another engine."""
        if self.identity is None:
            return ()
        name = _plain_name(self.identity)
        return tuple(b for b in self.others if _plain_name(b.manifest.database) == name)

    @property
    def _but_safety(self) -> str:
        safety = [b for b in self.backups if b.manifest.type is Type.SAFETY and b.manifest.complete]
        return " but safety backups" if any(_is_sound(b) for b in safety) else ""

    @property
    def about_namesakes(self) -> str:
        """Where such backups lie, in words; empty where there are none."""
        found = self.namesakes
        if not found:
            return ""
        where = ", ".join(sorted({f"{b.manifest.database} ({b.manifest.database.engine})" for b in found}))
        lie = "lies" if len(found) == 1 else "lie"
        return f"{many(len(found), 'backup')} of a database of that name {lie} under another address or engine: {where}"

    @property
    def lost(self) -> tuple[Manifest, ...]:
        """Manifests of this database whose archives are missing."""
        found = (file.lost for file in self.foreign if file.lost)
        return tuple(manifest for manifest in found if manifest.database == self.identity)

    @property
    def unreadable(self) -> tuple[str, ...]:
        """Paths of archives whose manifests cannot be read: of which database they are is not known."""
        return tuple(str(file.path) for file in self.foreign if file.unreadable)

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
        if not wanted and self.latest:
            return self.latest
        of_type = [b for b in self.backups if b.manifest.type == wanted and _is_sound(b)]
        if found := _newest(of_type):
            return found
        kind = f"{wanted} " if wanted else ""
        damaged = [b for b in self.backups if b.manifest.damage and wanted in ("", b.manifest.type)]
        hint = f"db.backup{f' --type={wanted}' if wanted else ''} makes one"
        if wanted == Type.SAFETY:
            hint = "a restore takes one before it begins"
        if unread := self.unreadable[:SHOWN]:
            hint = f"--file={shlex.quote(unread[0])} --unverified takes it as it is; db.list --all shows all"
        if self.about_namesakes:
            hint = f"{self.about_namesakes}; db.list --all shows them"
        if self.sound_ones:
            hint = f"choose another: {self.sound_ones}; db.list shows all"
        raise NotFound(
            f"there is no {'sound and ' if damaged else ''}complete {kind}backup of this database{'' if wanted else self._but_safety}"
            + (f": {', '.join(b.id for b in damaged[:SHOWN])} was found damaged" if damaged else "")
            + (f"; the manifest of {', '.join(unread)} cannot be read" if unread else ""),
            details="\n".join(f"{b.id}: {b.manifest.damage}" for b in damaged[:SHOWN]),
            hint=hint,
        )

    @property
    def sound_ones(self) -> str:
        """Name backups not found damaged as `--file` takes them, with what each is; empty where there is none.

        The newest whole ones first, safety backups behind those that somebody made: one of a single table helps less.
        """
        sound = sorted(
            (b for b in self.backups if not b.manifest.damage),
            key=lambda b: (_is_part(b) and not b.manifest.foreign, b.manifest.type is Type.SAFETY),
        )
        return " or ".join(f"--file={b.id} ({_kind(b)})" for b in sound[:SHOWN])

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
    newest = _newest([b for b in own if _is_sound(b) and b.manifest.type is not Type.SAFETY])
    numbered = (
        replace(b, number=i, latest=newest is not None and b.id == newest.id)
        for i, b in enumerate(own, start=1)
    )
    if identity is None:
        others = [replace(b, number=i) for i, b in enumerate(others, start=1)]
    foreign.sort(key=lambda f: f.modified_at, reverse=True)
    return Catalog(tuple(numbered), tuple(others), tuple(foreign), identity)


def _kind(backup: Backup) -> str:
    """Say what is particular about a backup that somebody may choose."""
    manifest = backup.manifest
    if manifest.foreign:
        return "adopted, never latest"
    return str(manifest.type) if manifest.complete else f"{manifest.type}, partial"


def _plain_name(identity: Identity) -> str:
    """Return what a database is called in every engine: a SQLite file without its ending."""
    return Path(identity.name).stem if identity.engine == "sqlite" else identity.name


def _is_part(backup: Backup) -> bool:
    return not backup.manifest.complete and not backup.manifest.all_tables


def _is_sound(backup: Backup) -> bool:
    return not backup.manifest.foreign and not backup.manifest.damage


def _newest(backups: Sequence[Backup]) -> Backup | None:
    """Pick the newest complete one of these, newest first; where there is none, the newest of all tables' rows."""
    complete = (backup for backup in backups if backup.manifest.complete)
    rows = (b for b in backups if b.manifest.format is Format.ROWS and b.manifest.all_tables)
    return next(complete, None) or next(rows, None)
