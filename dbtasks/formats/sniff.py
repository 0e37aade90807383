"""What kind of file it is, by its first bytes: names are not evidence."""

from __future__ import annotations

from pathlib import Path

from ..errors import ArchiveDamaged, WrongEngine
from ..models import Compression, Format
from ..stores.local import open_archive, translated
from ..streams import decompressing

__all__ = ["sniff"]

HEAD_BYTES = 4096
SQL_STARTS = (b"--\n-- PostgreSQL database dump", b"SET statement_timeout", b"-- PostgreSQL", b"\\restrict ")
OTHER_TOOLS = {
    b"-- MySQL dump": "mysqldump",
    b"-- MariaDB dump": "mariadb-dump",
    b"/*!999999": "mariadb-dump",
    b"--\n-- PostgreSQL database cluster dump": "pg_dumpall",
    b"age-encryption.org": "age",
}


def sniff(path: Path) -> tuple[Format, Compression]:
    """Return format and compression of a file.

    Raises:
        ArchiveDamaged: it is empty, or its compression is broken at the start.
        OperationFailed: the disk does not give it.
        WrongEngine: it is nothing a restore can read; names the tool that made it where known.
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
    return _format(path, head), compression


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
    start = head.lstrip()
    for mark, tool in OTHER_TOOLS.items():
        if start.startswith(mark):
            raise WrongEngine(f"{path.name} was made by {tool}, which dbtasks cannot restore")
    if any(start.startswith(mark) for mark in SQL_STARTS):
        return Format.SQL
    raise WrongEngine(
        f"{path.name} is not a backup dbtasks knows",
        hint="it reads SQLite files, pg_dump's custom, plain and (tarred) directory formats",
    )
