"""The local store: a folder with one folder per type.

Publishing is two links out of a private draft folder: archive first, manifest
last. `os.link` never overwrites, and a draft folder that outlives its run
holds all that is needed to take a half publication back: the archive under
its public name is the same inode as the draft's.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..errors import AlreadyExists, ArchiveDamaged, NotFound, OperationFailed, StoreFull, StoreUnusable
from ..lock import try_lock
from ..manifest import SUFFIX, dump_manifest, load_manifest
from ..models import Backup, ForeignFile, Manifest, Proof, Type
from . import Draft

__all__ = ["LocalDraft", "LocalStore", "OutputFolder", "open_archive", "translated"]

NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
NEW = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DRAFT = ".draft"
TOMB = ".removing"
OURS = {".gitignore", ".locks", "log.jsonl", "restores", "reports"}
MANIFEST_LIMIT = 256 << 20
"""Bytes; a manifest with 2,000 tables has about 200 kB. Larger than this is not ours."""


class LocalDraft:
    """A private folder inside a type's folder; see `stores.Draft`."""

    def __init__(self, folder: Path, lock: int) -> None:
        self.folder = folder
        self.path = folder / "archive"
        self.globals_path = folder / "globals"
        self.lock = lock

    @contextmanager
    def create(self) -> Iterator[BinaryIO]:
        """Open the archive for writing; synced to disk on a clean exit."""
        with (
            translated(f"cannot write {self.path}"),
            os.fdopen(os.open(self.path, NEW, 0o600), "wb") as stream,
        ):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())


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

    def prepare(self) -> None:
        """Create the folder, private and ignored by git, where it is missing.

        Raises:
            StoreUnusable: it cannot be created or written, or others may write to it.
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.root.stat().st_mode
        except OSError as exc:
            raise _unusable(self.root, exc) from exc
        if mode & (stat.S_IWOTH | stat.S_IWGRP) and not mode & stat.S_ISVTX and os.name == "posix":
            raise StoreUnusable(
                f"others may write to the backup folder {self.root}", hint=f"chmod go-w {self.root}"
            )
        with suppress(FileExistsError):
            self._write_new(self.root / ".gitignore", b"*\n")

    @contextmanager
    def draft(self, type_: Type) -> Iterator[Draft]:
        """Open a draft in the type's folder, so that publishing never crosses file systems."""
        self.prepare()
        home = self.home(type_)
        folder = home / f".{secrets.token_hex(8)}{DRAFT}"
        try:
            home.mkdir(mode=0o700, exist_ok=True)
            if home.is_symlink():
                raise StoreUnusable(
                    f"{home} is a symbolic link", hint="make backup_dir itself point elsewhere"
                )
            folder.mkdir(mode=0o700)
            lock = os.open(folder / "lock", NEW, 0o600)
        except OSError as exc:
            raise _unusable(home, exc) from exc
        try:
            try_lock(lock)
            yield LocalDraft(folder, lock)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)

    def publish(self, draft: Draft, manifest: Manifest, proof: Proof) -> Backup:
        """Link archive, then globals, then manifest; on any failure take back what was linked."""
        home = self.home(manifest.type)
        self._prove(draft, manifest, proof)
        links = [(draft.path, home / manifest.archive)]
        if manifest.globals:
            links.append((draft.globals_path, home / manifest.globals))
        links.append((draft.folder / "manifest", home / f"{manifest.archive}{SUFFIX}"))
        with translated(f"cannot publish {manifest.archive}"):
            self._write_new(draft.folder / "manifest", dump_manifest(manifest))
            _sync(draft.path)
            self._link_all(links)
        return Backup(manifest, home / manifest.archive)

    def entries(self) -> Iterator[Backup | ForeignFile]:
        """List by manifests; whatever has none, or one that does not fit, is foreign."""
        for home in (self.root, *(self.root / type_ for type_ in Type)):
            yield from self._entries(home)

    def open(self, backup: Backup) -> BinaryIO:
        """Open an archive for reading; a link in its place is refused."""
        return open_archive(backup.path)

    def replace_manifest(self, backup: Backup, manifest: Manifest) -> Backup:
        """Write beside, sync, rename over: a reader sees the old manifest or the new one."""
        final = backup.path.with_name(f"{backup.path.name}{SUFFIX}")
        beside = final.with_name(f".{secrets.token_hex(8)}.manifest")
        try:
            with translated(f"cannot rewrite the manifest of {backup.path.name}"):
                self._write_new(beside, dump_manifest(manifest))
                beside.replace(final)
                _sync(final.parent)
        finally:
            beside.unlink(missing_ok=True)
        return replace(backup, manifest=manifest)

    def remove(self, backup: Backup) -> None:
        """Turn the manifest into a tombstone, then remove the archive, then the tombstone."""
        manifest = backup.path.with_name(f"{backup.path.name}{SUFFIX}")
        tomb = manifest.with_name(f".{backup.path.name}{TOMB}")
        with translated(f"cannot remove {backup.path.name}"):
            manifest.replace(tomb)
            _sync(tomb.parent)
            self._bury(tomb, backup.manifest)

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
            for path in sorted(home.glob(f".*{DRAFT}")):
                removed += self._sweep_draft(path)
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
        done: list[Path] = []
        try:
            for source, final in links:
                try:
                    os.link(source, final, follow_symlinks=False)
                except FileExistsError as exc:
                    raise AlreadyExists(
                        f"{final.name} exists already; archives are never overwritten"
                    ) from exc
                done.append(final)
                _sync(final.parent)
        except BaseException:
            for final in reversed(done):
                final.unlink(missing_ok=True)
            raise

    def _write_new(self, path: Path, data: bytes) -> None:
        with os.fdopen(os.open(path, NEW, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    # -- listing ---------------------------------------------------------------

    def _entries(self, home: Path) -> Iterator[Backup | ForeignFile]:
        try:
            names = sorted(
                entry.name for entry in os.scandir(home) if not entry.is_dir(follow_symlinks=False)
            )
        except OSError:
            return
        claimed: set[str] = set()
        for name in names:
            if name.endswith(SUFFIX) and not name.startswith("."):
                entry = self._read_entry(home, name)
                claimed.add(name)
                if isinstance(entry, Backup):
                    claimed.update({entry.path.name, entry.manifest.globals or ""})
                else:
                    claimed.add(entry.path.name)
                yield entry
        for name in names:
            if name not in claimed and not name.startswith(".") and not (home == self.root and name in OURS):
                yield _foreign(home / name, "no manifest of ours")

    def _read_entry(self, home: Path, name: str) -> Backup | ForeignFile:
        path = home / name
        try:
            with open_archive(path) as stream:
                manifest = load_manifest(stream.read(MANIFEST_LIMIT))
        except (ArchiveDamaged, NotFound, OperationFailed, StoreUnusable) as exc:
            return _foreign(path, exc.message)
        if f"{manifest.archive}{SUFFIX}" != name or (home != self.root and manifest.type != home.name):
            return _foreign(path, f"its manifest belongs to {manifest.type}/{manifest.archive}")
        archive = home / manifest.archive
        if archive.is_symlink() or not archive.is_file():
            return _foreign(path, f"its archive {manifest.archive} is missing")
        if archive.stat().st_size != manifest.size_bytes:
            return _foreign(archive, "its size differs from its manifest's")
        return Backup(manifest, archive)

    # -- removing ----------------------------------------------------------------

    def _bury(self, tomb: Path, manifest: Manifest) -> list[Path]:
        """Remove what a tombstone stands for, but never a file that is not the manifest's."""
        gone: list[Path] = []
        for name in (manifest.archive, manifest.globals):
            path = tomb.parent / name if name else None
            if path and path.is_file() and not path.is_symlink():
                path.unlink()
                gone.append(path)
        tomb.unlink(missing_ok=True)
        _sync(tomb.parent)
        return gone

    def _sweep_tomb(self, tomb: Path) -> list[Path]:
        try:
            with open_archive(tomb) as stream:
                manifest = load_manifest(stream.read(MANIFEST_LIMIT))
            if (tomb.parent / f"{manifest.archive}{SUFFIX}").exists():
                tomb.unlink()
                return [tomb]
            return [*self._bury(tomb, manifest), tomb]
        except (ArchiveDamaged, NotFound, OSError):
            return []

    def _sweep_draft(self, folder: Path) -> list[Path]:
        try:
            lock = os.open(folder / "lock", os.O_RDWR | NOFOLLOW)
        except FileNotFoundError:
            shutil.rmtree(folder, ignore_errors=True)  # killed between mkdir and lock
            return [folder]
        except OSError:
            return []
        try:
            if not try_lock(lock):
                return []
            removed = self._take_back(folder)
            shutil.rmtree(folder, ignore_errors=True)
            return [*removed, folder]
        finally:
            os.close(lock)

    def _take_back(self, folder: Path) -> list[Path]:
        """Remove archive links of a publication that never reached its manifest."""
        home, removed = folder.parent, []
        for inner in ("archive", "globals"):
            draft = folder / inner
            if not draft.is_file() or draft.stat().st_nlink < 2:
                continue
            inode = draft.stat().st_ino
            listed = {e.path.name: e.manifest.globals for e in self._entries(home) if isinstance(e, Backup)}
            for path in home.iterdir():
                ours = path.is_file() and not path.is_symlink() and path.stat().st_ino == inode
                if ours and path.name not in listed and path.name not in listed.values():
                    path.unlink()
                    removed.append(path)
        return removed


class OutputFolder(LocalStore):
    """Any folder of the user's that one archive is handed out to: nothing in it but that is ours."""

    def home(self, type_: Type) -> Path:
        """Return the folder itself: there are no types here."""
        del type_
        return self.root

    def prepare(self) -> None:
        """Demand the folder; it is the user's and stays as it is.

        Raises:
            StoreUnusable: it does not exist.
        """
        if not self.root.is_dir():
            raise StoreUnusable(f"there is no folder {self.root}", hint=f"mkdir -p {self.root}")


def open_archive(path: Path) -> BinaryIO:
    """Open a file of the store for reading, without following a link in its place.

    Raises:
        NotFound: it is not there. ArchiveDamaged: it is not a plain file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | NOFOLLOW | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as exc:
        raise NotFound(f"{path} is not there") from exc
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise ArchiveDamaged(f"{path} is a symbolic link, not an archive") from exc
        raise StoreUnusable(f"cannot read {path}: {exc.strerror}") from exc
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ArchiveDamaged(f"{path} is not a plain file")
    return os.fdopen(descriptor, "rb")


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn the file system's errors into ours."""
    try:
        yield
    except OSError as exc:
        if exc.errno in FULL:
            raise StoreFull(
                f"{what}: no space left",
                state="nothing was published; earlier backups are untouched",
                hint="free some space, or move backup_dir to a larger disk",
            ) from exc
        raise OperationFailed(f"{what}: {exc.strerror or exc}") from exc


def _unusable(path: Path, exc: OSError) -> Exception:
    if exc.errno in FULL:
        return StoreFull(f"cannot create {path}: no space left", hint="free some space, or move backup_dir")
    return StoreUnusable(
        f"cannot write to the backup folder {path}: {exc.strerror}",
        hint="make it writable for this user, or set backup_dir to a folder that is",
    )


def _foreign(path: Path, why: str) -> ForeignFile:
    facts = path.lstat()
    kind = "a symbolic link, not followed" if stat.S_ISLNK(facts.st_mode) else why
    return ForeignFile(path, facts.st_size, datetime.fromtimestamp(facts.st_mtime, UTC), kind)


def _sync(path: Path) -> None:
    """Flush a file or a folder's entries to disk; folders cannot be opened on Windows."""
    if os.name == "nt" and path.is_dir():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
