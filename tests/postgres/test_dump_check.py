"""Archives are read to their end, and what is not whole is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dbtasks.engines.postgres.archive import check
from dbtasks.errors import ArchiveDamaged, DbTasksError, VersionMismatch, WrongEngine
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import DumpRequest
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.dumping import dumped, engine_of

ROWS = "CREATE TABLE t AS SELECT i, md5(i::text) AS text FROM generate_series(1, 3000) i"


class Checker:
    """Checks bytes as if they were an archive."""

    def __init__(self, database: PgDatabase, root: Path) -> None:
        self.database, self.root = database, root

    def archive(self, format_: Format, compression: Compression | None = None, **changes: PgServer) -> bytes:
        with dumped(
            self.database, self.root, DumpRequest(format=format_, compression=compression), **changes
        ) as made:
            return made.archive.path.read_bytes()

    def refusal(self, data: bytes, format_: Format, *, tools: PgServer | None = None) -> DbTasksError:
        with pytest.raises(DbTasksError) as caught:
            self.check(data, format_, tools=tools)
        return caught.value

    def check(self, data: bytes, format_: Format, *, tools: PgServer | None = None) -> str:
        path = self.root / "-archive"
        path.write_bytes(data)
        with engine_of(self.database, self.root, tools=tools) as engine:
            try:
                return engine.check(Archive(path, format_, Compression.NONE, None)).how
            finally:
                assert [found for found in self.root.iterdir() if found.name.endswith(".draft")] == []


@pytest.fixture
def checker(pg_db: PgDatabase, tmp_path: Path) -> Iterator[Checker]:
    pg_db.run(ROWS)
    yield Checker(pg_db, tmp_path)


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL, Format.DIRECTORY])
@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP])
def test_c03_a_cut_anywhere_is_found(checker: Checker, format_: Format, compression: Compression) -> None:
    whole = checker.archive(format_, compression)
    checker.check(whole, format_)
    # a script whose last line ends without a newline, or without an empty one, is whole
    end = (
        len(whole.rstrip(b"\n")) if format_ is Format.SQL and compression is Compression.NONE else len(whole)
    )
    cuts = [*range(1, end, end // 12), end - 1]
    if format_ is Format.DIRECTORY:
        # a tar may be padded: what is left without its padding and still has its end is whole
        cuts = [cut for cut in cuts if whole[cut:].strip(b"\0")] + [len(whole.rstrip(b"\0")) + 100]
    for cut in cuts:
        assert isinstance(checker.refusal(whole[:cut], format_), ArchiveDamaged | WrongEngine), cut


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_c03_a_cut_zstd_archive_is_found(pg17: PgServer, tmp_path: Path, format_: Format) -> None:
    with pg17.fresh() as database:
        database.run(ROWS)
        checker = Checker(database, tmp_path)
        whole = checker.archive(format_, Compression.ZSTD)
        checker.check(whole, format_)
        end = len(whole.rstrip(b"\0"))
        for cut in range(100, end, end // 15):
            assert isinstance(checker.refusal(whole[:cut], format_), ArchiveDamaged | WrongEngine), cut


def test_c01_a_flipped_bit_in_compressed_data_is_found(checker: Checker) -> None:
    whole = checker.archive(Format.CUSTOM, Compression.GZIP)
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :]
    assert type(checker.refusal(flipped, Format.CUSTOM)) is ArchiveDamaged


MORE_ROWS = """
CREATE TABLE u AS SELECT i, md5((-i)::text) AS text FROM generate_series(1, 2000) i;
CREATE TABLE v AS SELECT i, md5((i * 7)::text) AS text FROM generate_series(1, 2500) i;
SELECT lo_from_bytea(0, convert_to(string_agg(md5(i::text), ''), 'UTF8')) FROM generate_series(1, 500) i;
"""


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_c01_c03_two_tools_that_share_the_parts_find_every_cut_and_flip(
    checker: Checker, format_: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    checker.database.run(MORE_ROWS)
    monkeypatch.setattr(check, "HALVES_FROM_BYTES", 0)
    shares: list[list[str]] = []
    read_parts = check._read_parts
    monkeypatch.setattr(
        check,
        "_read_parts",
        lambda runner, archive, kind, parts: (
            shares.append(list(parts)),
            read_parts(runner, archive, kind, parts),
        ),
    )
    whole = checker.archive(format_, Compression.GZIP)
    checker.check(whole, format_)
    one, two = shares[-2:]
    assert not set(one) & set(two)
    assert len(one) + len(two) >= 8  # four tables' and objects' definitions, and as many data
    end = len(whole.rstrip(b"\0"))
    for cut in range(end // 30, end, end // 15):
        assert isinstance(checker.refusal(whole[:cut], format_), ArchiveDamaged | WrongEngine), cut
    # the middle of each member that is data, or of each part of the one file
    for at in range(end // 8, end - end // 8, end // 8):
        noise = bytes(byte ^ 0x55 for byte in whole[at : at + 64])
        assert isinstance(
            checker.refusal(whole[:at] + noise + whole[at + 64 :], format_), ArchiveDamaged | WrongEngine
        ), at


def test_c05_an_empty_file_is_no_archive(checker: Checker) -> None:
    for data in (b"", gzip.compress(b"")):
        assert isinstance(checker.refusal(data, Format.SQL), ArchiveDamaged | WrongEngine)


def test_c08_a_script_without_its_last_lines_or_with_other_keys_is_refused(checker: Checker) -> None:
    script = checker.archive(Format.SQL, Compression.NONE)
    assert b"\\restrict " in script
    assert "last lines" in checker.check(script, Format.SQL)
    end = script.rindex(b"--\n-- PostgreSQL database dump complete")
    assert "ends before its end" in checker.refusal(script[:end], Format.SQL).message
    assert "ends before its end" in checker.refusal(script + b"SELECT 1;\n", Format.SQL).message
    key = script.split(b"\\unrestrict ")[1].split(b"\n")[0]
    swapped = script.replace(b"\\unrestrict " + key, b"\\unrestrict other")
    assert "two dumps" in checker.refusal(swapped, Format.SQL).message
    assert (
        "ends before its end"
        in checker.refusal(script[:end] + b"-- PostgreSQL database dump complete\n", Format.SQL).message
    )


def test_another_kind_of_file_is_named(checker: Checker) -> None:
    assert type(checker.refusal(b"SQLite format 3\0" + bytes(5000), Format.CUSTOM)) is WrongEngine
    assert type(checker.refusal(b"nothing of the kind", Format.CUSTOM)) is WrongEngine
    assert type(checker.refusal(b"-- MySQL dump 10", Format.SQL)) is WrongEngine
    assert "holds a sql archive" in checker.refusal(checker.archive(Format.SQL), Format.CUSTOM).message
    packed = gzip.compress(checker.archive(Format.CUSTOM))
    assert "inside a gzip file" in checker.refusal(packed, Format.CUSTOM).message


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_an_archive_too_new_for_pg_restore_is_not_called_damaged(
    checker: Checker, pg16: PgServer, format_: Format
) -> None:
    error = checker.refusal(checker.archive(format_), format_, tools=pg16)
    assert type(error) is VersionMismatch
    assert "pg_restore 16" in error.message


def test_an_archive_whose_codec_pg_restore_lacks_is_not_called_damaged(
    pg17: PgServer, pg18: PgServer, tmp_path: Path
) -> None:
    with pg17.fresh() as database:
        database.run(ROWS)
        checker = Checker(database, tmp_path)
        error = checker.refusal(checker.archive(Format.CUSTOM, Compression.ZSTD), Format.CUSTOM, tools=pg18)
    assert type(error) is VersionMismatch
    assert "codec" in error.message


@pytest.mark.parametrize(
    "name", ["../escape", "/tmp/escape", "a/b", "..", ".hidden", "new\nline", "-rf", "x" * 300]
)
def test_a_tar_with_a_member_no_dump_has_is_refused(checker: Checker, tmp_path: Path, name: str) -> None:
    assert type(checker.refusal(tar({"toc.dat": b"x", name: b"x"}), Format.DIRECTORY)) is ArchiveDamaged
    assert not (tmp_path / "escape").exists()
    assert not Path("/tmp/escape").exists()


def test_a_tar_with_links_devices_or_doubles_is_refused(checker: Checker) -> None:
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as writer:
            member = tarfile.TarInfo("toc.dat")
            member.type, member.linkname = kind, "/etc/passwd"
            writer.addfile(member)
        assert type(checker.refusal(stream.getvalue(), Format.DIRECTORY)) is ArchiveDamaged
    twice = tar({"toc.dat": b"x"})[:1024] + tar({"toc.dat": b"y"})
    assert "twice" in checker.refusal(twice, Format.DIRECTORY).message


def test_a_directory_without_one_of_its_files_is_found(checker: Checker) -> None:
    whole = checker.archive(Format.DIRECTORY)
    with tarfile.open(fileobj=io.BytesIO(whole)) as reader:
        files = {name: reader.extractfile(name).read() for name in reader.getnames()}  # type: ignore[union-attr]
    assert checker.check(tar(files), Format.DIRECTORY)
    data = next(name for name in files if name != "toc.dat")
    del files[data]
    assert type(checker.refusal(tar(files), Format.DIRECTORY)) is ArchiveDamaged
    assert "toc.dat is missing" in checker.refusal(tar({data: b""}), Format.DIRECTORY).message


def tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as writer:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            writer.addfile(member, io.BytesIO(data))
    return stream.getvalue()
