"""A directory dump's tar file laid out as a directory again.

The tar is flat, uncompressed (pg_dump compressed each file already) and
readable by any tar. Coming back nothing is trusted: a member is a plain file
with a plain name, or the archive is refused.
"""

from __future__ import annotations

import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ....errors import ArchiveDamaged
from ....stores.drafts import open_draft
from ....stores.files import create_new, open_archive, translated
from ....streams import BLOCK_BYTES

__all__ = ["unpacked"]

MEMBER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}")
END_BYTES = 1024
"""A tar ends with two empty blocks; without them it was cut."""


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Unpack an archive into a private folder beside it (or for temporary files), gone when the block ends.

    It lies in a draft: if this process is killed, the store's next sweep
    removes it.

    Raises:
        ArchiveDamaged: it is no tar, was cut, or holds what no dump holds.
    """
    beside = archive.absolute().parent
    place = beside if os.access(beside, os.W_OK) else Path(tempfile.gettempdir())
    with open_draft(place) as draft:
        folder = draft.folder / "directory"
        with translated(f"cannot unpack {archive.name} in {place}"), open_archive(archive) as stream:
            folder.mkdir(mode=0o700)
            _unpack(stream, folder, archive.name)
        yield folder


def _unpack(stream: BinaryIO, folder: Path, name: str) -> None:
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                _unpack_member(tar, member, folder, name)
            end = tar.offset
    except tarfile.TarError as exc:
        raise ArchiveDamaged(f"{name} is not a whole tar file", details=str(exc)) from exc
    if not (folder / "toc.dat").is_file():
        raise ArchiveDamaged(f"{name} holds no directory dump: toc.dat is missing")
    _expect_end(stream, end, name)


def _unpack_member(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, name: str) -> None:
    inner = member.name.removeprefix("./")
    if member.isdir() and inner in ("", "."):
        return
    # a sparse member of a few bytes may stand for a terabyte of zeros
    if not member.isreg() or member.issparse() or not MEMBER.fullmatch(inner):
        raise ArchiveDamaged(f"{name} holds {member.name!r}, which no directory dump has; nothing was loaded")
    source = tar.extractfile(member)
    try:
        descriptor = create_new(folder / inner)
    except FileExistsError as exc:
        raise ArchiveDamaged(f"{name} holds {inner} twice") from exc
    left = member.size
    with os.fdopen(descriptor, "wb") as sink:
        while source and left and (block := source.read(min(left, BLOCK_BYTES))):
            sink.write(block)
            left -= len(block)
    if left:
        raise ArchiveDamaged(f"{name} ends inside {inner}")


def _expect_end(stream: BinaryIO, end: int, name: str) -> None:
    """Demand the two empty blocks, and nothing but zeros up to the end of the file."""
    stream.seek(end)
    seen = 0
    while block := stream.read(BLOCK_BYTES):
        if block.strip(b"\0"):
            raise ArchiveDamaged(f"{name} goes on after its end")
        seen += len(block)
    if seen < END_BYTES:
        raise ArchiveDamaged(f"{name} was cut: the end of the tar is missing")
