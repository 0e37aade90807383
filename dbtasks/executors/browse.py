"""Look at what there is: the list, one backup, what ran."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from ..catalog import Catalog, read_catalog
from ..errors import ArchiveDamaged, NotFound, Refused, WrongEngine
from ..formats import by_hand, by_hand_inside, sniff
from ..journal import RunRecord, read_log
from ..manifest import SUFFIX, load_manifest
from ..models import Archive, Backup, PostgresTarget, Type
from ..settings import Settings
from ..stores.files import is_plain_file
from ..stores.local import MANIFEST_LIMIT, LocalStore, OutputFolder, open_archive, translated
from .reading import hash_file

__all__ = [
    "Shown",
    "archive_of",
    "find",
    "find_archive",
    "hint_of_another",
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
    """Return the runs of the configured database newest first; of all, where none is configured.

    Restores from here into other databases are among them, and migrations of it into others.
    """
    name = str(settings.target.identity) if settings.target else None
    runs = [
        run
        for run in read_log(settings.backup_dir)
        if name in (None, run.database, run.configured, run.source) and not (failed and run.ok)
    ]
    return runs[:last] if last else runs


def archive_of(backup: Backup) -> Archive:
    """Return a listed backup as something to load."""
    manifest = backup.manifest
    return Archive(backup.path, manifest.format, manifest.compression, manifest)


def find_archive(settings: Settings, selector: str, *, unverified: bool) -> Archive:
    """Return what a selector means as something to load: a backup, or somebody else's file if the user insists.

    Raises:
        NotFound: nothing matches. ArchiveDamaged: it was found damaged. Refused: see `unlisted_archive`.
    """
    try:
        backup = find(settings, selector)
    except NotFound:
        if selector.isdecimal() or selector.startswith("latest"):
            raise
        try:
            return unlisted_archive(settings, selector, unverified=unverified)
        except NotFound as exc:
            exc.message = f"no backup matches {selector!r}, and {exc.message}"
            raise
    if backup.manifest.damage and not unverified:
        raise ArchiveDamaged(
            f"backup {backup.id} was found damaged: {backup.manifest.damage}",
            hint=hint_of_another(settings, backup.path),
            state="nothing was touched",
        )
    return archive_of(backup)


def hint_of_another(settings: Settings, damaged: Path) -> str:
    """Name the backups that can be taken in a damaged one's place; whether they still are whole is seen when they are read."""
    listed = list_backups(settings)
    others = replace(listed, backups=tuple(b for b in listed.backups if b.path != damaged))
    return f"choose another{f': {others.sound_ones}; db.list shows all' if others.sound_ones else ' one (db.list)'}"


def unlisted_archive(settings: Settings, selector: str, *, unverified: bool) -> Archive:
    """Return somebody else's file as something to load, if the user insists.

    Raises:
        NotFound: there is no such file. Refused: `unverified` was not given.
        WrongEngine, ArchiveDamaged: it is nothing a restore can read. OperationFailed: this user may not look.
    """
    path = settings.root / Path(selector).expanduser()
    with translated(f"cannot look for {path}"):
        is_there, is_folder = path.is_file(), path.is_dir()
        is_directory_dump = (path / "toc.dat").is_file()
    if is_directory_dump:
        raise WrongEngine(
            f"{path} is a folder that pg_dump -Fd made",
            hint=f"make one file of it first: tar -cf {shlex.quote(path.name)}.dir.tar -C {shlex.quote(str(path))} .",
            state="nothing was touched",
        )
    if not is_there:
        with translated(f"cannot look into {settings.backup_dir}"):
            in_store = [p for type_ in Type if (p := settings.backup_dir / type_ / selector).is_file()]
        if not in_store:
            raise _no_such_file(settings, selector, path, is_folder=is_folder)
        path = in_store[0]
    try:
        format_, compression = sniff(path)
    except ArchiveDamaged as exc:
        exc.hint = exc.hint or f"copy it anew from where it came, or {hint_of_another(settings, path)}"
        raise
    if not unverified:
        raise Refused(
            f"{path} {_about_manifest(path)}: nobody knows whether it is whole",
            hint="add --unverified to take it as it is",
            state="nothing was touched",
        )
    # what is loaded in the end must be what is looked at now
    return Archive(path, format_, compression, None, hash_file(path)[0])


def _about_manifest(path: Path) -> str:
    """Say why a file counts as somebody else's."""
    beside = path.with_name(f"{path.name}{SUFFIX}")
    with translated(f"cannot read {beside}"):
        if not is_plain_file(beside):
            return "has no manifest of dbtasks"
        with open_archive(beside) as stream:
            data = stream.read(MANIFEST_LIMIT)
    try:
        load_manifest(data)
    except ArchiveDamaged:
        return f"has a manifest that cannot be read, {beside.name}"
    return f"has a manifest that does not fit it, {beside.name}"


def _no_such_file(settings: Settings, selector: str, path: Path, *, is_folder: bool) -> NotFound:
    hint = "db.list --all shows what there is, files of others too"
    if is_folder:
        return NotFound(f"{path} is a folder and no file to be read", hint=f"name a file; {hint}")
    if not Path(selector).is_absolute():
        hint += f"; a relative path begins at {settings.root}"
    return NotFound(f"there is no file {path}", hint=hint)
