"""Look at what there is: the list, one backup, what ran."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..catalog import Catalog, read_catalog
from ..errors import NotFound, Refused
from ..formats import by_hand, by_hand_inside, sniff
from ..journal import RunRecord, read_log
from ..models import Archive, Backup, PostgresTarget, Type
from ..settings import Settings
from ..stores.local import LocalStore, OutputFolder, translated

__all__ = [
    "Shown",
    "archive_of",
    "find",
    "list_backups",
    "list_runs",
    "prove_known",
    "show",
    "unlisted_archive",
]


@dataclass(frozen=True)
class Shown:
    """One backup, with the commands that restore it by hand."""

    backup: Backup
    by_hand: tuple[str, ...]
    by_hand_inside: tuple[str, ...] = ()
    """The same by the tools inside a container, where it was made through one."""


def list_backups(settings: Settings, *, type_: Type | None = None) -> Catalog:
    """Return the catalog of the configured database, newest first.

    Needs no connection: on the day the server is gone the list still works.
    Without a known database every backup is listed among `others`, numbered.
    A type narrows what is returned and leaves the numbers as they are.
    """
    identity = settings.target.identity if settings.target else None
    catalog = read_catalog(LocalStore(settings.backup_dir).entries(), identity)
    if type_ is None:
        return catalog
    own = tuple(b for b in catalog.backups if b.manifest.type is type_)
    others = tuple(b for b in catalog.others if b.manifest.type is type_)
    return replace(catalog, backups=own, others=others)


def find(settings: Settings, selector: str) -> Backup:
    """Return the backup a selector means: number, id, beginning of an id, `latest`, `latest:TYPE`, name or path.

    Raises:
        NotFound: nothing matches. UsageError: several do. SettingsError, RouteUnavailable: `latest`
            is asked for, and which database is meant is not known.
    """
    if selector == "latest" or selector.startswith("latest:"):
        prove_known(settings)
    path = Path(selector)
    if path.is_absolute() or len(path.parts) > 1:
        # relative paths are relative to the project root, wherever Invoke was started
        selector = str(settings.root / path)
    try:
        return list_backups(settings).find(selector)
    except NotFound:
        beside = _with_manifest(settings, selector)
        if beside is None:
            raise
        return beside


def prove_known(settings: Settings) -> None:
    """See that a database is known, for what is counted per database.

    Raises:
        SettingsError, RouteUnavailable: none is configured, and why no container stands in for it.
    """
    if settings.target is None:
        unknown = settings.why_no_target()
        unknown.hint = f"{unknown.hint}; or name a backup by its id: db.list shows what there is"
        raise unknown


def _with_manifest(settings: Settings, selector: str) -> Backup | None:
    """Return a backup that lies elsewhere, its manifest beside it: handed out by --output, or carried here."""
    if selector.isdecimal() or selector.startswith("latest"):
        return None
    path = settings.root / Path(selector).expanduser()
    found = (
        e for e in OutputFolder(path.parent).entries() if isinstance(e, Backup) and e.path.name == path.name
    )
    return next(found, None)


def show(settings: Settings, selector: str) -> Shown:
    """Return one backup and how it is restored without dbtasks.

    Raises:
        NotFound: nothing matches.
    """
    found = find(settings, selector)
    container = user = ""
    if isinstance(settings.target, PostgresTarget) and settings.target.identity == found.manifest.database:
        container, user = settings.found_in or settings.container or "", settings.target.user
    return Shown(found, by_hand(found), by_hand_inside(found, container=container, user=user))


def list_runs(settings: Settings, *, failed: bool = False, last: int | None = None) -> list[RunRecord]:
    """Return the runs of the configured database newest first; of all, where none is configured."""
    name = str(settings.target.identity) if settings.target else None
    runs = [run for run in read_log(settings.backup_dir, name) if not (failed and run.ok)]
    return runs[:last] if last else runs


def archive_of(backup: Backup) -> Archive:
    """Return a listed backup as something to load."""
    manifest = backup.manifest
    return Archive(backup.path, manifest.format, manifest.compression, manifest)


def unlisted_archive(settings: Settings, selector: str, *, unverified: bool) -> Archive:
    """Return somebody else's file as something to load, if the user insists.

    Raises:
        NotFound: there is no such file. Refused: `unverified` was not given.
        WrongEngine, ArchiveDamaged: it is nothing a restore can read. OperationFailed: this user may not look.
    """
    path = settings.root / Path(selector).expanduser()
    with translated(f"cannot look for {path}"):
        is_there = path.is_file()
    if not is_there:
        with translated(f"cannot look into {settings.backup_dir}"):
            in_store = [path for type_ in Type if (path := settings.backup_dir / type_ / selector).is_file()]
        if not in_store:
            raise NotFound(
                f"no backup matches {selector!r}, and there is no such file",
                hint="db.list shows what there is",
            )
        path = in_store[0]
    format_, compression = sniff(path)
    if not unverified:
        raise Refused(
            f"{path} has no manifest of dbtasks: nobody knows whether it is whole",
            hint="add --unverified to take it as it is",
            state="nothing was touched",
        )
    return Archive(path, format_, compression, None)
