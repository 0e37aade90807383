"""Small files that hold very much: the disk does not fill, memory stays flat, and the message says what it is."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import sqlite3
import struct
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.archive.contents import read_contents
from dbtasks.engines.postgres.archive.tarred import unpacked
from dbtasks.engines.sqlite import bounded
from dbtasks.errors import ArchiveDamaged, DbTasksError, StoreFull, WrongEngine
from dbtasks.manifest import SUFFIX, dump_manifest
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import engine_on
from tests.sqlite.databases import content, leftovers, make, settings

BOMB_MIB = 160
LIMIT_MIB = 128
"""More than a refusal may write, less than the bomb holds."""


def bomb(begin: bytes, end: bytes = b"", fill: bytes = b"\0") -> bytes:
    """Gzip with 160 MiB between its ends: about 160 kB."""
    packer = zlib.compressobj(1, wbits=31)
    block = fill * (1 << 20)
    blocks = (begin, *[block] * BOMB_MIB, end)
    return b"".join(packer.compress(data) for data in blocks) + packer.flush()


@contextmanager
def little_room() -> Iterator[None]:
    """No file may grow beyond the limit: a bomb that went off would be told as a full disk."""
    if os.name != "posix":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_MIB << 20, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def refused(config: dbtasks.Settings, file: Path) -> DbTasksError:
    with little_room(), pytest.raises(DbTasksError) as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(str(file), request=LoadRequest(unverified=True)))
    return caught.value


def test_g15_a_foreign_file_that_unpacks_to_more_than_its_database_is_refused(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    before, config = content(path), settings(tmp_path)
    file = tmp_path / "bomb.sqlite3.gz"
    file.write_bytes(bomb(path.read_bytes()))
    error = refused(config, file)
    assert type(error) is ArchiveDamaged
    assert "bytes its header allows" in error.message
    assert content(path) == before
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("what", ["zeros", "gzip in gzip", "gzip in gzip behind a database's first bytes"])
def test_g15_what_holds_no_database_is_refused_by_its_first_bytes(tmp_path: Path, what: str) -> None:
    make(tmp_path / "app.db")
    file = tmp_path / "bomb.sqlite3.gz"
    inner = {
        "zeros": b"",
        "gzip in gzip": gzip.compress(b"\0"),
        "gzip in gzip behind a database's first bytes": b"SQLite format 3\0",
    }
    file.write_bytes(bomb(inner[what]))
    error = refused(settings(tmp_path), file)
    assert isinstance(error, WrongEngine | ArchiveDamaged)
    assert leftovers(tmp_path) == []


def test_g15_a_header_that_promises_more_than_the_disk_has_is_refused_before_a_byte_is_written(
    tmp_path: Path,
) -> None:
    path = make(tmp_path / "app.db")
    data = bytearray(path.read_bytes())
    data[28:32] = struct.pack(">I", 0xFFFFFFFE)
    file = tmp_path / "bomb.sqlite3.gz"
    file.write_bytes(gzip.compress(bytes(data)))
    free = bounded.shutil.disk_usage(tmp_path).free
    if free > 4096 * 0xFFFFFFFE:  # sixteen terabytes
        data[16:18] = struct.pack(">H", 1)
        file.write_bytes(gzip.compress(bytes(data)))
    error = refused(settings(tmp_path), file)
    assert type(error) is StoreFull
    assert "are free in" in error.message


def test_g15_a_backup_of_ours_is_unpacked_no_further_than_its_manifest_says(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    config = settings(tmp_path)
    gzipped = DumpRequest(compression=Compression.GZIP)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=gzipped))
    assert made.path.name.endswith(".gz")
    data = bomb(path.read_bytes())
    made.path.write_bytes(data)
    # somebody who may write to the folder makes everything fit but what is inside
    forged = replace(made.manifest, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    made.path.with_name(made.path.name + SUFFIX).write_bytes(dump_manifest(forged))
    with little_room():
        (verified,) = dbtasks.verify(config, dbtasks.list_backups(config).backups)
    assert not verified.ok
    assert "bytes its manifest says" in verified.how
    assert leftovers(tmp_path) == []


def test_g15_a_database_larger_than_its_header_by_a_chunk_is_restored(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    before = content(path)
    file = tmp_path / "grown.sqlite3.gz"
    file.write_bytes(gzip.compress(path.read_bytes() + bytes(1 << 20)))
    config = settings(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM note")
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(str(file), request=LoadRequest(unverified=True)))
    dbtasks.restore(config, plan)
    assert content(path) == before


MEASURED = """
import json, resource, sys
from pathlib import Path
from dbtasks.engines.postgres.archive.check import check_archive
from dbtasks.engines.postgres.script.gate import Gate
from dbtasks.models import Archive, Compression, Format
from dbtasks.streams import decompressing
path = Path(sys.argv[1])
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with path.with_name("small.sql.gz").open("rb") as f, decompressing(f, Compression.GZIP) as plain:
    for block in Gate(plain): pass
before = peak()
how = check_archive(None, Archive(path, Format.SQL, Compression.GZIP, None), print).how
with path.open("rb") as f, decompressing(f, Compression.GZIP) as plain:
    size = sum(len(block) for block in Gate(plain))
print(json.dumps([how, size, (peak() - before) >> 10]))
"""
SCRIPT = (b"--\n-- PostgreSQL database dump\n--\n\n", b"\n--\n-- PostgreSQL database dump complete\n--\n\n")


@pytest.mark.skipif(sys.platform == "win32", reason="memory is asked of POSIX")
def test_g15_a_script_that_unpacks_to_a_thousand_times_its_size_is_read_in_flat_memory(
    tmp_path: Path,
) -> None:
    (tmp_path / "small.sql.gz").write_bytes(gzip.compress(b"".join(SCRIPT)))
    path = tmp_path / "bomb.sql.gz"
    path.write_bytes(bomb(SCRIPT[0] + b"-- ", SCRIPT[1], b"x"))
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)],
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    how, size, grown_mib = json.loads(done.stdout.splitlines()[-1])
    assert "gzip decompressed to its end" in how
    assert size > BOMB_MIB << 20
    assert grown_mib < 32


def sparse_tar(path: Path, member: str) -> Path:
    """GNU's way to say "a terabyte of zeros" in two kilobytes."""
    entry = tarfile.TarInfo(member)
    entry.type = tarfile.GNUTYPE_SPARSE
    header = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + b"\0" * 1024)
    return path


@pytest.mark.parametrize("act", ["unpack", "read its contents"])
def test_g15_a_sparse_member_of_a_directory_dump_is_refused(
    pg_db: PgDatabase, tmp_path: Path, act: str
) -> None:
    path = sparse_tar(tmp_path / "bomb.dir.tar", "toc.dat")
    with tarfile.open(path) as tar:
        assert tar.getmember("toc.dat").size == 1 << 40
    ways: dict[str, Callable[[], object]] = {
        "unpack": lambda: unpacked(path).__enter__(),
        "read its contents": lambda: read_contents(
            engine, Archive(path, Format.DIRECTORY, Compression.NONE, None)
        ),
    }
    with engine_on(pg_db) as engine, little_room(), pytest.raises(ArchiveDamaged, match=r"toc\.dat"):
        ways[act]()
    assert [found.name for found in tmp_path.iterdir() if found != path] == []
