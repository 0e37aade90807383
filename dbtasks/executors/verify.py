"""Verify: read a backup again to its end, and write down what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..clock import Clock, utc_now
from ..engines import Engine
from ..engines.routes import open_checker
from ..errors import ArchiveDamaged, Damaged, NotFound
from ..events import OnEvent, Phase, ignore
from ..journal import recorded
from ..models import Archive, Backup
from ..plans import Checked
from ..settings import Settings
from ..stores.local import LocalStore
from .browse import archive_of
from .reading import hash_file

__all__ = ["Verified", "read_whole", "verify"]


@dataclass(frozen=True)
class Verified:
    """What reading one backup again showed."""

    backup: Backup
    ok: bool
    how: str
    """What was checked, or what is wrong."""


def verify(
    settings: Settings, backups: Sequence[Backup], *, now: Clock = utc_now, on_event: OnEvent = ignore
) -> tuple[Verified, ...]:
    """Read backups to their end: checksum, decompression, format; stamp each manifest with the outcome.

    A damaged backup stays where it is, is marked, and counts for nothing from
    then on: not as `latest`, not in the retention.

    Raises:
        ToolMissing: the tool that reads this format is not there.
    """
    identity = settings.target.identity if settings.target else None
    with recorded(settings.backup_dir, "verify", identity) as run:
        run.note(backup=", ".join(backup.id for backup in backups))
        results = tuple(_verify(settings, backup, now, on_event) for backup in backups)
        bad = [f"{result.backup.id}: {result.how}" for result in results if not result.ok]
        if bad:
            run.note(ok=False, exit_code=5, error="archive_damaged", message="; ".join(bad))
    return results


def _verify(settings: Settings, backup: Backup, now: Clock, on_event: OnEvent) -> Verified:
    archive = archive_of(backup)
    store = LocalStore(settings.backup_dir)
    try:
        with open_checker(settings, archive.format, on_event=on_event) as engine:
            checked = read_whole(engine, archive, on_event, thorough=True)
    except (Damaged, NotFound) as exc:
        what = f"{exc.message}: {exc.details}" if exc.details else exc.message
        marked = store.replace_manifest(backup, replace(backup.manifest, damage=what))
        return Verified(marked, ok=False, how=what)
    manifest = replace(backup.manifest, verified_at=now(), verified_how=checked.how, damage="")
    return Verified(store.replace_manifest(backup, manifest), ok=True, how=checked.how)


def read_whole(
    engine: Engine, archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False
) -> Checked:
    """Read an archive twice over: its bytes against the manifest, its inside to the end.

    Raises:
        ArchiveDamaged: size, checksum or inside do not hold.
    """
    on_event(Phase("read", archive.path.name))
    manifest = archive.manifest
    if manifest:
        sha256, size_bytes = hash_file(archive.path)
        if size_bytes != manifest.size_bytes:
            raise ArchiveDamaged(
                f"{archive.path.name} has {size_bytes:,} bytes, its manifest says {manifest.size_bytes:,}"
            )
        if sha256 != manifest.sha256:
            raise ArchiveDamaged(f"{archive.path.name} does not have the checksum of its manifest")
    checked = engine.check(archive, on_event, thorough=thorough)
    return Checked(f"sha256; {checked.how}", checked.warnings) if manifest else checked
