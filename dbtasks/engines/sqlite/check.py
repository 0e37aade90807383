"""Reading an archive to its end: SQLite's own integrity check, on the bytes of the archive."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...errors import ArchiveDamaged, Refused, StoreUnusable
from ...events import OnEvent, Phase, ignore
from ...models import Archive, Compression
from ...plans import Checked
from ...stores.drafts import open_draft
from ...stores.local import open_archive, translated
from ...streams import decompressing, pump
from . import facts, files
from .bounded import Bounded

__all__ = ["check_archive", "check_file", "laid_open", "private_folder_beside", "unpack"]


def check_archive(archive: Archive, on_event: OnEvent = ignore, *, thorough: bool = False) -> Checked:
    """See `Engine.check`; a compressed archive is unpacked into a private folder beside it."""
    on_event(Phase("verify", archive.path.name))
    with laid_open(archive, on_event) as plain:
        return check_file(plain, thorough=thorough)


@contextmanager
def laid_open(archive: Archive, on_event: OnEvent = ignore) -> Iterator[Path]:
    """Yield an archive's plain database file: itself, or unpacked into a private folder that goes with the block.

    Raises:
        ArchiveDamaged: it is no whole SQLite database. Refused: somebody's file with rows in a journal beside it.
    """
    if archive.manifest is None:
        _refuse_half(archive.path)
    if archive.compression is Compression.NONE:
        _check_header(archive.path)
        yield archive.path
        return
    with private_folder_beside(archive.path.parent) as folder:
        plain = folder / "plain"
        unpack(archive, plain, on_event)
        yield plain


def _refuse_half(path: Path) -> None:
    """Refuse somebody's database file whose latest rows lie in a journal beside it."""
    for suffix in ("-wal", "-journal"):
        beside = path.with_name(f"{path.name}{suffix}")
        if beside.is_file() and beside.stat().st_size:
            raise Refused(
                f"{path.name} is only a part of a database: the rest lies in {beside.name}",
                hint=f"make one file of it first: sqlite3 {shlex.quote(path.name)} '.backup whole.db'",
                state="nothing was touched",
            )


def check_file(path: Path, *, thorough: bool = False) -> Checked:
    """Check a single-file database that nobody else uses.

    Raises:
        ArchiveDamaged: it is not whole, or has no content at all.
    """
    which = facts.which_check(path.stat().st_size, thorough=thorough)
    try:
        with files.translated(path), files.opened(path, "ro", immutable=True) as connection:
            problems = facts.integrity_problems(connection, which)
            schema = None if problems else facts.schema_of(connection)
    except ArchiveDamaged as exc:
        raise ArchiveDamaged(f"{path.name} is not a readable SQLite database", details=exc.details) from exc
    if problems:
        raise ArchiveDamaged(f"{path.name} fails SQLite's {which}", details="\n".join(problems))
    return Checked(f"SQLite's {which} passed", schema=schema)


def unpack(archive: Archive, plain: Path, on_event: OnEvent = ignore) -> None:
    """Write the archive's database to a new private file, synced; refuses what is not SQLite."""
    with (
        translated(f"cannot write {plain}"),
        os.fdopen(os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as sink,
        open_archive(archive.path) as source,
        decompressing(source, archive.compression) as reader,
    ):
        pump(Bounded(reader, archive, plain.parent), sink, on_event=on_event)
        sink.flush()
        os.fsync(sink.fileno())
    _check_header(plain, archive.path.name)


def _check_header(path: Path, name: str = "") -> None:
    with open_archive(path) as stream:
        head = stream.read(len(files.HEADER))
    if head != files.HEADER:
        # an empty file is a valid empty database to SQLite, and restoring it empties the live one
        what = "is empty" if not head else "is not a SQLite database"
        raise ArchiveDamaged(f"{name or path.name} {what}")


@contextmanager
def private_folder_beside(folder: Path) -> Iterator[Path]:
    """Yield a private folder, beside the archive where possible: that disk has held the database before."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(open_draft(folder)).folder
        except StoreUnusable:
            made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dbtasks-check-")))
        yield made
