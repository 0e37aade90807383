"""Bytes in motion: one copying loop, codecs and hashing. Nothing here prints or knows a database."""

from .codecs import compressing, decompressing, zstd_available
from .pump import BLOCK_BYTES, HashingReader, HashingWriter, HasRead, HasWrite, pump

__all__ = [
    "BLOCK_BYTES",
    "HasRead",
    "HasWrite",
    "HashingReader",
    "HashingWriter",
    "compressing",
    "decompressing",
    "pump",
    "zstd_available",
]
