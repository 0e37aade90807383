"""Streams: codecs anybody can open, damage noticed at every cut, memory flat."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from dbtasks.errors import ArchiveDamaged, CommandFailed
from dbtasks.events import Event, Progress
from dbtasks.models import Compression
from dbtasks.streams import (
    BLOCK_BYTES,
    HashingReader,
    HashingWriter,
    compressing,
    decompressing,
    pump,
    zstd_available,
)

CODECS = [Compression.NONE, Compression.GZIP, Compression.ZSTD]
REAL_CODECS = [Compression.GZIP, Compression.ZSTD]
ROWS = b"".join(b"%d\tcustomer %d\t%d\n" % (i, i, i * 7919 % 10007) for i in range(20_000))


def compressed(data: bytes, codec: Compression) -> bytes:
    sink = io.BytesIO()
    with compressing(sink, codec) as plain:
        plain.write(data)
    return sink.getvalue()


def read_all(data: bytes, codec: Compression) -> bytes:
    sink = io.BytesIO()
    with decompressing(io.BytesIO(data), codec) as plain:
        pump(plain, sink)
    return sink.getvalue()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "data",
    [b"", b"x", ROWS, random.Random(1).randbytes(3 * BLOCK_BYTES + 17)],
    ids=["empty", "one byte", "rows", "noise"],
)
def test_what_goes_in_comes_out(codec, data):
    assert read_all(compressed(data, codec), codec) == data


def test_gzip_output_is_ordinary_gzip():
    assert gzip.decompress(compressed(ROWS, Compression.GZIP)) == ROWS
    assert read_all(gzip.compress(ROWS), Compression.GZIP) == ROWS


def test_zstd_output_is_ordinary_zstd():
    done = subprocess.run(
        ["zstd", "-dc"], input=compressed(ROWS, Compression.ZSTD), capture_output=True, check=True
    )
    assert done.stdout == ROWS


def test_several_gzip_members_in_a_row_are_one_stream():
    assert read_all(gzip.compress(b"one ") + gzip.compress(b"two"), Compression.GZIP) == b"one two"


def test_zstd_is_available_where_the_tests_run():
    assert zstd_available()


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_c03_a_stream_cut_at_any_kilobyte_is_damaged(codec):
    data = compressed(ROWS, codec)
    assert len(data) > 20 * 1024
    for size in (1, *range(1024, len(data), 1024), len(data) - 1):
        with pytest.raises(ArchiveDamaged):
            read_all(data[:size], codec)


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_c05_an_empty_file_is_damaged_and_not_an_empty_stream(codec):
    with pytest.raises(ArchiveDamaged):
        read_all(b"", codec)


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_c01_a_flipped_bit_is_damaged_or_harmless_but_never_other_data(codec):
    data, dice = compressed(ROWS, codec), random.Random(2)
    noticed = 0
    for _ in range(60):
        place = dice.randrange(len(data))
        flipped = bytearray(data)
        flipped[place] ^= 1 << dice.randrange(8)
        try:
            result = read_all(bytes(flipped), codec)
        except ArchiveDamaged:
            noticed += 1
        else:
            assert result == ROWS
    assert noticed > 30


@pytest.mark.parametrize("codec", REAL_CODECS)
@pytest.mark.parametrize("data", [b"not compressed at all", b"PGDMP\1\0", b"\0" * 5000])
def test_something_else_is_damaged(codec, data):
    with pytest.raises(ArchiveDamaged):
        read_all(data, codec)


@pytest.mark.parametrize("codec", CODECS)
def test_the_sink_stays_open_for_its_owner(codec):
    sink = io.BytesIO()
    with compressing(sink, codec) as plain:
        plain.write(b"data")
    sink.write(b"more")


@pytest.mark.parametrize("codec", CODECS)
def test_the_source_stays_open_for_its_owner_and_may_be_left_half_read(codec):
    source = io.BytesIO(compressed(ROWS * 20, codec))
    with decompressing(source, codec) as plain:
        assert plain.read(10) == ROWS[:10]
    assert not source.closed


@pytest.mark.parametrize("codec", CODECS)
def test_an_exception_inside_the_block_passes_through(codec):
    with pytest.raises(KeyError, match="mine"), compressing(io.BytesIO(), codec) as plain:
        plain.write(ROWS)
        raise KeyError("mine")


class Breaks:
    """Works for a while, then raises what a pipe or a full disk raises."""

    def __init__(self, error: Exception, after: int, data: bytes = b"") -> None:
        self.error = error
        self.left = after
        self.data = io.BytesIO(data)

    def write(self, data: bytes) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise self.error
        return len(data)

    def flush(self) -> None:
        pass

    def read(self, size: int = -1) -> bytes:
        if self.left <= 0:
            raise self.error
        block = self.data.read(self.left if size < 0 else min(size, self.left))
        self.left -= len(block)
        return block


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_a05_a_sink_that_fails_is_reported_as_it_failed(codec):
    noise = random.Random(3)
    full = OSError(28, "No space left on device")
    with (
        pytest.raises(OSError, match="No space left"),
        compressing(Breaks(full, 2 * BLOCK_BYTES), codec) as plain,
    ):
        for _ in range(20):
            # never the same twice, which zstd would notice
            plain.write(noise.randbytes(BLOCK_BYTES))


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_a_source_that_fails_is_reported_as_it_failed(codec):
    broken = Breaks(CommandFailed("cat", "host", 1, ""), 5000, compressed(ROWS, codec))
    with pytest.raises(CommandFailed), decompressing(broken, codec) as plain:
        pump(plain, io.BytesIO())


def test_hashing_ends_count_and_hash_what_passes():
    sink = io.BytesIO()
    writer = HashingWriter(sink)
    reader = HashingReader(io.BytesIO(ROWS))
    assert pump(reader, writer) == len(ROWS)
    expected = hashlib.sha256(ROWS).hexdigest()
    assert (writer.size_bytes, writer.sha256) == (len(ROWS), expected)
    assert (reader.size_bytes, reader.sha256) == (len(ROWS), expected)
    assert sink.getvalue() == ROWS


def test_a_failed_write_is_not_counted():
    writer = HashingWriter(Breaks(OSError(28, "full"), 0))
    with pytest.raises(OSError, match="full"):
        writer.write(b"data")
    assert writer.size_bytes == 0
    assert writer.sha256 == hashlib.sha256().hexdigest()


def test_drain_reads_the_rest():
    reader = HashingReader(io.BytesIO(ROWS))
    reader.read(10)
    reader.drain()
    assert reader.size_bytes == len(ROWS)


def test_pump_says_how_far_it_is():
    events: list[Event] = []
    total = 2 * BLOCK_BYTES + 5
    pump(io.BytesIO(b"x" * total), io.BytesIO(), total_bytes=total, on_event=events.append)
    assert events == [
        Progress(BLOCK_BYTES, total),
        Progress(2 * BLOCK_BYTES, total),
        Progress(total, total),
    ]


PEAK = """
import resource, sys
from dbtasks.models import Compression
from dbtasks.streams import HashingReader, HashingWriter, compressing, decompressing, pump

class Source:
    left = int(sys.argv[2]) << 20
    def read(self, size=-1):
        size = min(size, self.left)
        self.left -= size
        return b"0123456789abcdef" * (size // 16)

codec = Compression(sys.argv[1])
with open(sys.argv[3], "w+b") as file:
    with compressing(HashingWriter(file), codec) as plain:
        pump(Source(), plain)
    file.seek(0)
    with decompressing(HashingReader(file), codec) as plain, open("/dev/null", "wb") as sink:
        assert pump(plain, sink) == int(sys.argv[2]) << 20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("codec", REAL_CODECS)
def test_b09_memory_is_flat_however_much_passes(codec, tmp_path):
    def peak(megabytes: int) -> int:
        command = [sys.executable, "-c", PEAK, codec, str(megabytes), str(tmp_path / "archive")]
        return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)

    assert peak(400) < peak(40) * 1.1
