"""Whether a backup has shrunk beyond belief: one manifest and those before it in, a sentence out.

Pure. An emptied database is backed up as faithfully as a full one, and after
`keep` nights only empty backups would be left. So a backup is compared with
the last normal one of the same database and server. The last normal one, and
no mean of several: a database that is meant to be smaller then needs one word,
a pin or an acceptance, and is the measure from there on.

Compared are rows, of all tables and of each large one that is still there,
and the size where both were made alike. What may well shrink alone counts
for nothing: small tables, tables that are gone (renamed, or a partition whose
time is over; their rows are missing in the sum), tables left out of one of the two.
Files that others made and somebody adopted are neither judged nor a measure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from .models import Backup, Identity, Manifest, Type
from .nouns import many

__all__ = ["Source", "Suspension", "find_anomaly", "source_of", "suspensions"]

SMALL_DATABASE_ROWS = 20
"""A database of fewer rows may shrink as it likes, until none is left."""
SMALL_TABLE_ROWS = 1000
"""A table of fewer rows counts in the sum only."""
SMALL_BYTES = 1 << 20
TABLES_NAMED = 3
Source = tuple[Identity, str]
"""A database, and the system identifier of the server it was on; SQLite has none."""


def source_of(manifest: Manifest) -> Source:
    """Return whose backup it is; a new server under an old address has a measure of its own."""
    return manifest.database, manifest.system_identifier


def find_anomaly(made: Manifest, earlier: Iterable[Backup], limit: float | None) -> str:
    """Say how a backup has shrunk to less than `limit` of the last normal one; empty where it has not.

    Safety backups are neither judged nor a measure: they hold what a restore
    is about to replace, and that may well be the wreck. Adopted files neither:
    nobody knows of which database they are.
    """
    if limit is None or _stands_apart(made):
        return ""
    before = _last_normal(made, [backup.manifest for backup in earlier])
    if before is None:
        return ""
    shrunk = [*_fewer_rows(made, before, limit), *_smaller(made, before, limit)]
    return f"less than {limit:.0%} of {before.id}: {'; '.join(shrunk)}" if shrunk else ""


@dataclass(frozen=True)
class Suspension:
    """Why nothing of a database may be removed."""

    backup: Backup
    """The newest one that has shrunk."""

    def __str__(self) -> str:
        return (
            f"cleanup is suspended: {self.backup.id} holds {self.backup.manifest.anomaly}; "
            f"db.cleanup --accept={self.backup.id} takes it for normal"
        )


def suspensions(backups: Iterable[Backup]) -> Mapping[Source, Suspension]:
    """Return, per database and server, what suspends the cleanup: one that has shrunk, and no normal one after it."""
    found: dict[Source, Suspension] = {}
    normal: list[Manifest] = []
    for backup in sorted(backups, key=lambda one: (one.manifest.started_at, one.id), reverse=True):
        manifest = backup.manifest
        if manifest.damage or _stands_apart(manifest):
            continue
        if not manifest.anomalous:
            normal.append(manifest)
        elif not any(_settles(since, manifest) for since in normal):
            found.setdefault(source_of(manifest), Suspension(backup))
    return found


def _stands_apart(manifest: Manifest) -> bool:
    return manifest.type is Type.SAFETY or manifest.foreign


def _settles(since: Manifest, manifest: Manifest) -> bool:
    """Whether a normal one made later holds what this one does: a single table says nothing of the rest."""
    covers = since.complete or since.parts == manifest.parts
    return source_of(since) == source_of(manifest) and (
        covers or manifest.counts.keys() <= since.counts.keys()
    )


def _last_normal(made: Manifest, earlier: Iterable[Manifest]) -> Manifest | None:
    """Pick the measure: of the same parts, else of the whole database, else whatever there is."""
    normal = [
        one
        for one in sorted(earlier, key=lambda one: (one.started_at, one.id), reverse=True)
        if source_of(one) == source_of(made)
        and one.id != made.id
        and not _stands_apart(one)
        and not (one.damage or one.anomalous)
    ]
    alike = (one for one in normal if one.parts == made.parts)
    whole = (one for one in normal if one.complete)
    return next(alike, None) or next(whole, None) or next(iter(normal), None)


def _fewer_rows(made: Manifest, before: Manifest, limit: float) -> Iterator[str]:
    if made.not_counted or before.not_counted:
        return
    now, then = made.counts, before.counts
    shared = now.keys() & then.keys()
    if made.parts == before.parts or not made.tables:
        total, expected = sum(now.values()), sum(then.values())
    else:  # other parts are left out: only what both hold can be compared
        total, expected = sum(now[name] for name in shared), sum(then[name] for name in shared)
    if total < limit * expected and (expected >= SMALL_DATABASE_ROWS or total == 0):
        yield f"{total:,} of {expected:,} rows"
    tables = [
        f"{name}: {now[name]:,} of {then[name]:,} rows"
        for name in sorted(shared, key=lambda name: now[name] - then[name])
        if then[name] >= SMALL_TABLE_ROWS and now[name] < limit * then[name]
    ]
    yield from tables[:TABLES_NAMED]
    if len(tables) > TABLES_NAMED:
        yield f"and {many(len(tables) - TABLES_NAMED, 'table')} more"


def _smaller(made: Manifest, before: Manifest, limit: float) -> Iterator[str]:
    if made.format is not before.format or made.parts != before.parts:
        return
    now, then = made.raw_size_bytes, before.raw_size_bytes
    if now is None or then is None:
        if made.compression is not before.compression:
            return
        now, then = made.size_bytes, before.size_bytes
    if then >= SMALL_BYTES and now < limit * then:
        yield f"{now:,} of {then:,} bytes"
