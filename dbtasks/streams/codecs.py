"""gzip and zstd as stackable wrappers, at the speed the fastest installed library allows.

gzip is written by isal in a thread of its own (measured 1.03 of an uncompressed
dump, against 2.4 for the standard library's level 1), and is ordinary gzip.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from ..errors import ArchiveDamaged, DbTasksError, MissingExtra
from ..models import Compression
from .pump import BLOCK_BYTES, HasRead, HasWrite

__all__ = ["compressing", "decompressing", "zstd_available"]


@contextmanager
def compressing(sink: HasWrite, codec: Compression) -> Iterator[HasWrite]:
    """Yield a writer whose compressed output goes to `sink`; the end is written on a clean exit only.

    The sink stays open: its owner still has to fsync it.

    Raises:
        MissingExtra: zstd is asked for and no library has it.
    """
    if codec is Compression.NONE:
        yield sink
        return
    opened = _gzip_writer(sink) if codec is Compression.GZIP else _zstd_writer(sink)
    try:
        yield cast(HasWrite, opened)
    except BaseException:
        # closing stops isal's thread; the trailer it writes ends in a draft that is thrown away
        _close_quietly(opened)
        raise
    opened.close()


@contextmanager
def decompressing(source: HasRead, codec: Compression) -> Iterator[HasRead]:
    """Yield a reader of the plain bytes; a cut or damaged stream raises ArchiveDamaged."""
    if codec is Compression.NONE:
        yield source
        return
    counted = _Counted(source)
    opened = _gzip_reader(counted) if codec is Compression.GZIP else _zstd().ZstdFile(counted, "rb")
    try:
        yield _Reading(opened, codec, counted)
    finally:
        _close_quietly(opened)


def zstd_available() -> bool:
    """Whether our own process can read and write zstd."""
    try:
        _zstd()
    except MissingExtra:
        return False
    return True


class _Counted:
    """Remembers whether there was anything to read at all."""

    def __init__(self, source: HasRead) -> None:
        self._source = source
        self.size_bytes = 0

    def read(self, size: int = -1) -> bytes:
        block = self._source.read(size)
        self.size_bytes += len(block)
        return block

    def readinto(self, buffer: bytearray | memoryview) -> int:
        # isal asks for this way of reading, zstd for the other
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class _Reading:
    """Translates each codec's own ways of saying "damaged" into one."""

    def __init__(self, opened: IO[bytes], codec: Compression, counted: _Counted) -> None:
        self._opened = opened
        self._codec = codec
        self._errors = _damage(codec)
        self._counted = counted

    def read(self, size: int = -1) -> bytes:
        try:
            block = self._opened.read(size)
        except self._errors as exc:
            raise ArchiveDamaged(
                f"the {self._codec} stream ends early or is damaged", details=str(exc)
            ) from exc
        if not block and not self._counted.size_bytes:
            # gzip readers take an empty file for a valid empty stream
            raise ArchiveDamaged(f"the {self._codec} stream is empty")
        return block


def _damage(codec: Compression) -> tuple[type[Exception], ...]:
    if codec is Compression.GZIP:
        import gzip
        import zlib

        isal_zlib = importlib.import_module("isal.isal_zlib")
        return (EOFError, gzip.BadGzipFile, zlib.error, isal_zlib.error)
    return (EOFError, _zstd().ZstdError)


def _gzip_writer(sink: HasWrite) -> Any:
    threaded = importlib.import_module("isal.igzip_threaded")
    return threaded.open(sink, "wb", compresslevel=1, threads=1, block_size=2 * BLOCK_BYTES)


def _gzip_reader(source: HasRead) -> Any:
    threaded = importlib.import_module("isal.igzip_threaded")
    return threaded.open(source, "rb", threads=1, block_size=BLOCK_BYTES)


def _zstd_writer(sink: HasWrite) -> Any:
    zstd = _zstd()
    parameter = zstd.CompressionParameter
    # without the checksum, which zstd leaves out by default, most flipped bits go unnoticed by `zstd -t`
    return zstd.ZstdFile(sink, "wb", options={parameter.compression_level: 1, parameter.checksum_flag: 1})


def _zstd() -> Any:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingExtra("zstd needs one more package", hint='pip install "dbtasks[zstd]"')


def _close_quietly(opened: Any) -> None:
    try:
        opened.close()
    except (OSError, ValueError, EOFError, DbTasksError):
        # another error is already on its way
        pass
