"""The local store: a folder with one folder per type.

Publishing is two links out of a private draft folder: archive first, manifest
last. `os.link` never overwrites, and a draft folder that outlives its run
holds all that is needed to take a half publication back: the archive under
its public name is the same inode as the draft's.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..errors import (
    AlreadyExists,
    ArchiveDamaged,
    DbTasksError,
    NotFound,
    StoreUnusable,
)
from ..manifest import SUFFIX, dump_manifest, load_manifest
from ..models import Backup, ForeignFile, Manifest, Proof, Type
from . import Draft
from .drafts import LOCK, LocalDraft, claim_draft, dead_drafts, discard_draft, drafts_in, open_draft
from .files import (
    MAKE_WRITABLE,
    is_plain_file,
    open_archive,
    refuse_others,
    sync,
    translated,
    unusable,
    why_unusable,
    write_new,
)

__all__ = ["MANIFEST_LIMIT", "LocalDraft", "LocalStore", "OutputFolder", "open_archive", "translated"]

TOMB = ".removing"
UNREADABLE = "its manifest cannot be read"
OURS = {".gitignore", ".locks", "log.jsonl", "restores", "reports"}
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
MANIFEST_LIMIT = 256 << 20
"""Bytes; a manifest with 2,000 tables has about 200 kB. Larger than this is not ours."""


class LocalStore:
    """Backups in a local folder; see `stores.Store` for the contract."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def name(self) -> str:
        """The folder's path."""
        return str(self.root)

    def home(self, type_: Type) -> Path:
        """Return the folder of a type."""
        return self.root / type_

    def prove(self) -> None:
        """See that `prepare` would go well, by looking only.

        Raises:
            StoreUnusable: it would not.
        """
        why = why_unusable(self.root)
        if why:
            raise StoreUnusable(why, state="nothing was touched", hint=MAKE_WRITABLE)
        if self.root.exists():
            refuse_others(self.root, self.root.stat().st_mode)

    def prepare(self) -> None:
        """Create the folder, private and ignored by git, where it is missing.

        Raises:
            StoreUnusable: it cannot be created or written, or others may write to it.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.root.stat().st_mode
        except OSError as exc:
            raise unusable(self.root, exc) from exc
        refuse_others(self.root, mode)
        try:
            _write_gitignore(self.root / ".gitignore")
        except OSError as exc:
            raise unusable(self.root, exc) from exc

    @contextmanager
    def draft(self, type_: Type) -> Iterator[Draft]:
        """Open a draft in the type's folder, so that publishing never crosses file systems."""
        self.prepare()
        home = self.home(type_)
        try:
            home.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise unusable(home, exc) from exc
        if home.is_symlink() and home != self.root:
            raise StoreUnusable(f"{home} is a symbolic link", hint="make backup_dir itself point elsewhere")
        with open_draft(home) as draft:
            yield draft

    def publish(self, draft: Draft, manifest: Manifest, proof: Proof) -> Backup:
        """Link archive, then globals, then manifest; on any failure take back what was linked."""
        home = self.home(manifest.type)
        links = [(draft.path, home / manifest.archive)]
        if manifest.globals:
            links.append((draft.globals_path, home / manifest.globals))
        links.append((draft.folder / "manifest", home / f"{manifest.archive}{SUFFIX}"))
        with translated(f"cannot publish {manifest.archive}"):
            self._prove(draft, manifest, proof)
            write_new(draft.folder / "manifest", dump_manifest(manifest))
            for source, _ in links:
                # tools that write at the path themselves leave the mode to the umask, and sync nothing
                source.chmod(0o600)
                sync(source)
            self._link_all(links)
        return Backup(manifest, home / manifest.archive)

    def entries(self) -> Iterator[Backup | ForeignFile]:
        """List by manifests; whatever has none, or one that does not fit, is foreign.

        Raises:
            StoreUnusable: something is there that cannot be listed; a missing folder holds nothing yet.
        """
        try:
            os.scandir(self.root).close()
        except FileNotFoundError:
            return
        except OSError as exc:
            raise StoreUnusable(
                f"cannot list the backup folder {self.root}: {exc.strerror}",
                hint="set backup_dir to a folder that this user may read",
            ) from exc
        yield from self._entries_of((self.root, *(self.root / type_ for type_ in Type)))

    def open(self, backup: Backup) -> BinaryIO:
        """Open an archive for reading; a link in its place is refused."""
        return open_archive(backup.path)

    def replace_manifest(self, backup: Backup, manifest: Manifest) -> Backup:
        """Write in a draft, sync, rename over: a reader sees the old manifest or the new one.

        Raises:
            NotFound: the backup was removed meanwhile.
        """
        final = backup.path.with_name(f"{backup.path.name}{SUFFIX}")
        with translated(f"cannot rewrite the manifest of {backup.path.name}"):
            if not is_plain_file(final):
                raise NotFound(f"the backup {backup.path.name} is not there any more")
            with open_draft(final.parent) as draft:
                write_new(draft.folder / "manifest", dump_manifest(manifest))
                (draft.folder / "manifest").replace(final)
                sync(final.parent)
        return replace(backup, manifest=manifest)

    def remove(self, backup: Backup) -> None:
        """Turn the manifest into a tombstone, then remove the archive, then the tombstone."""
        manifest = backup.path.with_name(f"{backup.path.name}{SUFFIX}")
        tomb = manifest.with_name(f".{backup.path.name}{TOMB}")
        with translated(f"cannot remove {backup.path.name}"):
            manifest.replace(tomb)
            sync(tomb.parent)
            self._bury(tomb, backup.manifest)

    def unfinished(self) -> tuple[Path, ...]:
        """Name the drafts of dead runs, which `sweep` removes; nothing is changed.

        Raises:
            OperationFailed: this user may not look into the folder.
        """
        homes = (self.root / type_ for type_ in Type)
        with translated(f"cannot look for unfinished backups in {self.root}"):
            found = (draft for home in homes if not home.is_symlink() for draft in dead_drafts(home))
            # without its lock it was never begun, or is none of ours
            return tuple(draft for draft in found if is_plain_file(draft / LOCK))

    def sweep(self) -> list[Path]:
        """Take back half publications, remove dead drafts, finish removals.

        A draft whose lock is held belongs to a living run or to its orphaned
        child, and stays.
        """
        removed: list[Path] = []
        for type_ in Type:
            home = self.root / type_
            if not home.is_dir() or home.is_symlink():
                continue
            for folder in drafts_in(home):
                removed += self._sweep_draft(folder)
            for tomb in sorted(home.glob(f".*{TOMB}")):
                removed += self._sweep_tomb(tomb)
        return removed

    # -- publishing ----------------------------------------------------------

    def _prove(self, draft: Draft, manifest: Manifest, proof: Proof) -> None:
        facts = draft.path.lstat()
        if not stat.S_ISREG(facts.st_mode) or facts.st_size != proof.size_bytes:
            raise ArchiveDamaged(f"{manifest.archive} changed after it was verified; nothing was published")
        if (manifest.size_bytes, manifest.sha256) != (proof.size_bytes, proof.sha256):
            raise ArchiveDamaged(f"the manifest of {manifest.archive} does not describe what was verified")

    def _link_all(self, links: list[tuple[Path, Path]]) -> None:
        try:
            for source, final in links:
                _link(source, final)
                sync(final.parent)
        except BaseException:
            for source, final in reversed(links):
                if is_plain_file(final) and final.samefile(source):
                    final.unlink()
            raise

    # -- listing ---------------------------------------------------------------

    def _entries_of(self, homes: Iterable[Path]) -> Iterator[Backup | ForeignFile]:
        try:
            for home in homes:
                yield from self._entries(home)
        except PermissionError as exc:
            # names may be read here, and nothing behind them
            raise StoreUnusable(
                f"cannot look at {exc.filename}: {exc.strerror}",
                hint="make it readable for this user, or name another folder",
            ) from exc

    def _entries(self, home: Path) -> Iterator[Backup | ForeignFile]:
        try:
            if home != self.root and home.is_symlink():
                return
            with os.scandir(home) as found:
                names = sorted(entry.name for entry in found if not entry.is_dir(follow_symlinks=False))
        except OSError:
            return
        claimed: set[str] = set()
        unreadable: set[str] = set()
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
                claimed.add(name)
                entry = self._read_entry(home, name)
                if isinstance(entry, Backup):
                    claimed.update({entry.path.name, entry.manifest.globals or ""})
                elif entry:
                    claimed.add(entry.path.name)
                    if entry.why == UNREADABLE:
                        unreadable.add(name.removesuffix(SUFFIX))
                if entry:
                    yield entry
        rest = [name for name in names if name not in claimed and not name.startswith(".")]
        if home == self.root:
            rest = [name for name in rest if name not in OURS]
        in_motion = self._in_motion(home) if rest else set()
        for name in rest:
            whole = f"{name.removesuffix('.globals.sql')}{SUFFIX}"
            if name in in_motion or (whole not in names and (home / whole).exists()):
                continue  # half-way, or published while we looked: the next look lists it
            entry = _foreign(home / name, UNREADABLE if name in unreadable else "no manifest of ours")
            if entry:
                yield replace(entry, unreadable=name in unreadable)

    def _in_motion(self, home: Path) -> set[str]:
        """Name what a run is publishing or removing, or died at: no backups, and not somebody's files."""
        found: set[str] = set()
        for tomb in home.glob(f".*{TOMB}"):
            try:
                with open_archive(tomb) as stream:
                    manifest = load_manifest(stream.read(MANIFEST_LIMIT))
            except DbTasksError:
                continue
            found.update((manifest.archive, manifest.globals or manifest.archive))
        for folder in drafts_in(home):
            found.update(path.name for path in _links_out_of(folder))
        return found

    def _read_entry(self, home: Path, name: str) -> Backup | ForeignFile | None:
        path = home / name
        try:
            with open_archive(path) as stream:
                data = stream.read(MANIFEST_LIMIT)
        except DbTasksError as exc:
            return _foreign(path, exc.message)
        try:
            manifest = load_manifest(data)
        except ArchiveDamaged:
            return _foreign(path, UNREADABLE)
        if f"{manifest.archive}{SUFFIX}" != name or (home != self.root and manifest.type != home.name):
            return _foreign(path, f"its manifest belongs to {manifest.type}/{manifest.archive}")
        archive = home / manifest.archive
        if not is_plain_file(archive):
            entry = _foreign(path, f"its archive {manifest.archive} is missing")
            return replace(entry, lost=manifest) if entry else None
        size_bytes = archive.lstat().st_size
        if size_bytes != manifest.size_bytes and not manifest.damage:
            # cut or grown since: seen at every look, so that it is nobody's latest even before db.verify
            damage = f"it has {size_bytes:,} bytes, its manifest says {manifest.size_bytes:,}"
            manifest = replace(manifest, damage=damage)
        return Backup(manifest, archive)

    # -- removing ----------------------------------------------------------------

    def _bury(self, tomb: Path, manifest: Manifest) -> list[Path]:
        """Remove what a tombstone stands for, but never a file that is not the manifest's."""
        gone: list[Path] = []
        for name in (manifest.archive, manifest.globals):
            path = tomb.parent / name if name else None
            if path and is_plain_file(path):
                path.unlink(missing_ok=True)
                gone.append(path)
        tomb.unlink(missing_ok=True)
        sync(tomb.parent)
        return gone

    def _sweep_tomb(self, tomb: Path) -> list[Path]:
        try:
            with open_archive(tomb) as stream:
                manifest = load_manifest(stream.read(MANIFEST_LIMIT))
            if (tomb.parent / f"{manifest.archive}{SUFFIX}").exists():
                tomb.unlink()
                return [tomb]
            return [*self._bury(tomb, manifest), tomb]
        except (DbTasksError, OSError):
            return []

    def _sweep_draft(self, folder: Path) -> list[Path]:
        lock = claim_draft(folder)
        if lock is None:
            return []
        removed = self._take_back(folder)
        discard_draft(folder, lock)
        return [*removed, folder]

    def _take_back(self, folder: Path) -> list[Path]:
        """Remove archive links of a publication that never reached its manifest."""
        home, removed = folder.parent, []
        for path in _links_out_of(folder):
            listed = {e.path.name: e.manifest.globals for e in self._entries(home) if isinstance(e, Backup)}
            if path.name not in listed and path.name not in listed.values():
                path.unlink()
                removed.append(path)
        return removed


class OutputFolder(LocalStore):
    """Any folder of the user's that one archive is handed out to: nothing in it but that is ours."""

    def home(self, type_: Type) -> Path:
        """Return the folder itself: there are no types here."""
        del type_
        return self.root

    def entries(self) -> Iterator[Backup | ForeignFile]:
        """List the folder itself; nothing where it is none, or where this user may not read it."""
        yield from self._entries_of((self.root,))

    @contextmanager
    def draft(self, type_: Type) -> Iterator[Draft]:
        """Open a draft in the folder; no run sweeps here but the next one that comes, which is this."""
        self.sweep()
        with super().draft(type_) as draft:
            yield draft

    def sweep(self) -> list[Path]:
        """Remove what killed runs left beside their output, and nothing else."""
        removed: list[Path] = []
        for folder in drafts_in(self.root):
            removed += self._sweep_draft(folder)
        return removed

    def prepare(self) -> None:
        """Demand the folder; it is the user's and stays as it is.

        Raises:
            StoreUnusable: it does not exist.
        """
        try:
            is_folder = self.root.is_dir()
        except OSError as exc:
            raise unusable(self.root, exc) from exc
        if not is_folder:
            raise StoreUnusable(f"there is no folder {self.root}", hint=f"mkdir -p {self.root}")


def _write_gitignore(path: Path) -> None:
    """Keep the backups out of the project's repository; a file of the user's stays as it is."""
    text = b"*\n"
    try:
        write_new(path, text)
    except FileExistsError:
        if is_plain_file(path) and path.stat().st_size == 0:
            # a run was killed between making and filling it
            path.write_bytes(text)


def _link(source: Path, final: Path) -> None:
    try:
        os.link(source, final, follow_symlinks=False)
    except FileExistsError as exc:
        raise AlreadyExists(f"{final.name} exists already; archives are never overwritten") from exc
    except OSError as exc:
        if exc.errno not in NO_LINKS:
            raise
        raise StoreUnusable(
            f"the file system of {final.parent} has no hard links, which publishing needs",
            hint="set backup_dir to a folder on a local file system",
        ) from exc


def _links_out_of(folder: Path) -> list[Path]:
    """Find what of a draft is visible under another name beside it: the same file, told by its inode."""
    found: list[Path] = []
    for inner in ("archive", "globals"):
        try:
            facts = (folder / inner).lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(facts.st_mode) and facts.st_nlink > 1:
            found += (path for path in folder.parent.iterdir() if _is_same(path, facts))
    return found


def _is_same(path: Path, facts: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), facts)
    except FileNotFoundError:
        return False


def _foreign(path: Path, why: str) -> ForeignFile | None:
    """Describe somebody's file; None where it was removed while we looked."""
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return None
    kind = "a symbolic link, not followed" if stat.S_ISLNK(facts.st_mode) else why
    return ForeignFile(path, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), kind)
