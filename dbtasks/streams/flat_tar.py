"""A folder of files as one flat, uncompressed tar that any tar reads."""

from __future__ import annotations

import tarfile
from pathlib import Path

from .pump import BLOCK_BYTES, HasWrite

__all__ = ["pack"]


def pack(folder: Path, sink: HasWrite) -> None:
    """Write all files of a folder as one tar, removing each as soon as it is in: the disk holds it once."""
    with tarfile.open(  # type: ignore[call-overload]
        fileobj=sink, mode="w|", bufsize=BLOCK_BYTES, copybufsize=BLOCK_BYTES, format=tarfile.PAX_FORMAT
    ) as tar:
        # the table of contents first: whoever reads the tar as a stream needs it before the data
        for path in sorted(folder.iterdir(), key=lambda path: (path.name != "toc.dat", path.name)):
            member = tarfile.TarInfo(path.name)
            member.size = path.stat().st_size
            member.mtime = int(path.stat().st_mtime)
            member.mode = 0o600
            with path.open("rb") as source:
                tar.addfile(member, source)
            path.unlink()
