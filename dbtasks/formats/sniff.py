"""What kind of file it is, by its first bytes: names are not evidence."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path
from typing import BinaryIO

from ..errors import ArchiveDamaged, WrongEngine
from ..models import Compression, Format
from ..stores.local import open_archive, translated
from ..streams import decompressing
from .others import HEAD_BYTES, UNPACK, other_tool

__all__ = ["sniff"]

SQL_START = re.compile(
    rb"--\r?\n-- PostgreSQL database dump(?! complete)|SET statement_timeout = |-- PostgreSQL database dump"
    rb"|\\restrict [A-Za-z0-9]"
)
ROWS_START = re.compile(rb'\s*\{\s*"(?:metadata|tables)"\s*:\s*\{')
"""Of our own, and of an older tool's, however that one laid it out."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TOC = "toc.dat"
LARGE_OBJECTS = re.compile(r"blobs_\d+\.toc")


def sniff(path: Path) -> tuple[Format, Compression]:
    """Return format and compression of a file.

    Raises:
        ArchiveDamaged: it is empty, or its compression is broken at the start.
        OperationFailed: the disk does not give it.
        WrongEngine: it is nothing a restore can read; names what it is, where known, and the way left.
    """
    with translated(f"cannot read {path}"), open_archive(path) as stream:
        head = stream.read(HEAD_BYTES)
        if not head:
            raise ArchiveDamaged(f"{path.name} is empty")
        compression = _compression(head)
        if compression is not Compression.NONE:
            stream.seek(0)
            with decompressing(stream, compression) as reader:
                head = reader.read(HEAD_BYTES)
            if not head:
                raise ArchiveDamaged(f"{path.name} has nothing in it")
        format_ = _format(path, head)
        if format_ is Format.DIRECTORY:
            _look_into_tar(path, stream, compression)
        elif format_ is Format.CUSTOM and compression is not Compression.NONE:
            raise WrongEngine(
                f"{path.name} is a {format_} archive inside a {compression} file, which pg_restore does not read",
                hint="unpack it first",
            )
    return format_, compression


def _compression(head: bytes) -> Compression:
    if head.startswith(b"\x1f\x8b"):
        return Compression.GZIP
    return Compression.ZSTD if head.startswith(b"\x28\xb5\x2f\xfd") else Compression.NONE


def _format(path: Path, head: bytes) -> Format:
    if head.startswith(b"SQLite format 3\0"):
        return Format.SQLITE
    if head.startswith(b"PGDMP"):
        return Format.CUSTOM
    if head[257:262] == b"ustar":
        return Format.DIRECTORY
    if ROWS_START.match(head):
        return Format.ROWS
    if SQL_START.match(head.removeprefix(BYTE_ORDER_MARK).lstrip()):
        return Format.SQL
    other = other_tool(head.removeprefix(BYTE_ORDER_MARK))
    if other:
        raise WrongEngine(f"{path.name} {other.what}", hint=other.way)
    raise WrongEngine(
        f"{path.name} is not a backup dbtasks knows",
        hint="it reads SQLite files, pg_dump's custom, plain and (tarred) directory formats, and rows files: JSON in"
        " gzip, its own and an older tool's",
    )


def _look_into_tar(path: Path, stream: BinaryIO, compression: Compression) -> None:
    """Tell a directory dump from other tars by its table of contents; what pg_dump -Ft makes is one when unpacked."""
    if compression is not Compression.NONE:
        raise WrongEngine(
            f"{path.name} is a tar inside a {compression} file", hint="unpack it: gunzip or zstd -d"
        )
    stream.seek(0)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            names = {member.name.removeprefix("./") for member in tar}
    except tarfile.TarError:
        # a cut one is told apart by whoever unpacks it
        return
    if TOC in names:
        if "restore.sql" in names and any(LARGE_OBJECTS.fullmatch(name) for name in names):
            # its table of contents calls that file otherwise, and pg_restore does not find it in a folder
            raise WrongEngine(
                f"{path.name} was made by pg_dump --format=tar and holds large objects",
                hint=f"make a script of it first: pg_restore --file={path.stem}.sql {path.name}",
            )
        return
    if {"backup_label", "PG_VERSION", "tablespace_map"} & names:
        raise WrongEngine(
            f"{path.name} was made by pg_basebackup: it is a whole server's files",
            hint="unpack it into a new data folder and start a server on it, then db.backup the database",
        )
    raise WrongEngine(f"{path.name} is a tar without a directory dump in it: {TOC} is missing", hint=UNPACK)
