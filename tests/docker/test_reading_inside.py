"""Archives that are read by the container's tools without being laid down there."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.archive.check import check_archive
from dbtasks.engines.postgres.dumping.commands import read_command
from dbtasks.engines.routes import open_engine
from dbtasks.errors import ArchiveDamaged, CommandFailed
from dbtasks.events import CommandStarted
from dbtasks.models import Archive, Compression, Format
from tests.fix_docker import Box

TABLES = """
CREATE TABLE IF NOT EXISTS one AS SELECT g, repeat(md5(g::text), 20) AS body FROM generate_series(1, 3000) g;
CREATE TABLE IF NOT EXISTS two AS SELECT g, repeat(md5((-g)::text), 20) AS body FROM generate_series(1, 4000) g;
"""
OFFSET_IS_SET = 2
BLOCK_OF_DATA = 1


def settings(root: Path, box: Box) -> dbtasks.Settings:
    return dbtasks.load_settings(root, environ={}, url=box.url(), via="container")


@pytest.fixture
def archive(box: Box, tmp_path: Path) -> Path:
    """A custom archive that a tool wrote into a file, so that its table of contents knows where each table lies."""
    box.sql(TABLES)
    box.container.exec_run(
        ["pg_dump", "-U", box.user, "-Fc", "-t", "one", "-t", "two", "-f", "/tmp/seekable", box.database]
    )
    code, (out, _) = box.container.exec_run(["cat", "/tmp/seekable"], demux=True)
    assert code == 0
    box.container.exec_run(["rm", "/tmp/seekable"])
    path = tmp_path / "foreign.dump"
    path.write_bytes(out)
    return path


def with_its_tables_exchanged(data: bytes) -> bytes:
    """Let the second table's rows lie before the first one's, as the table of contents then says."""
    places = {}
    for at in range(len(data) - 9):
        if data[at] == OFFSET_IS_SET:
            (offset,) = struct.unpack_from("<Q", data, at + 1)
            if at < offset < len(data) and data[offset] == BLOCK_OF_DATA:
                places[at + 1] = offset
    (first_at, first), (second_at, second) = sorted(places.items(), key=lambda place: place[1])
    changed = bytearray(data[:first] + data[second:] + data[first:second])
    struct.pack_into("<Q", changed, second_at, first)
    struct.pack_into("<Q", changed, first_at, first + len(data) - second)
    return bytes(changed)


def test_a_custom_archive_is_sent_to_the_tool_and_not_laid_down(
    box: Box, archive: Path, tmp_path: Path
) -> None:
    events: list[object] = []
    config = settings(tmp_path, box)
    with open_engine(config, on_event=events.append) as engine:
        checked = engine.check(Archive(archive, Format.CUSTOM, Compression.NONE, None))
        _, out = box.container.exec_run(["ls", "-a", "/tmp"])
    assert "read the archive to its end" in checked.how
    assert b"dbtasks" not in out
    started = [event.command for event in events if isinstance(event, CommandStarted)]
    assert "pg_restore --format=custom --file=/dev/null" in started


def test_a_tool_that_has_read_enough_before_everything_is_sent_has_read_it_well(
    box: Box, archive: Path, tmp_path: Path
) -> None:
    # it is gone while we still send what follows the last part, as it may be with a small archive that ends there
    archive.write_bytes(archive.read_bytes() + bytes(40_000_000))
    with open_engine(settings(tmp_path, box)) as engine:
        checked = engine.check(Archive(archive, Format.CUSTOM, Compression.NONE, None))
    assert "read the archive to its end" in checked.how


def test_an_archive_whose_tables_lie_in_another_order_is_read_all_the_same(
    box: Box, archive: Path, tmp_path: Path
) -> None:
    archive.write_bytes(with_its_tables_exchanged(archive.read_bytes()))
    with open_engine(settings(tmp_path, box)) as engine:
        runner = engine.runner  # type: ignore[attr-defined]
        with (
            pytest.raises(CommandFailed) as caught,
            runner.writing(read_command(Format.CUSTOM)) as tool,
        ):
            tool.write(archive.read_bytes())
        assert "non-seekable" in caught.value.details, "nothing to go back for in this one"
        assert (
            "to its end"
            in check_archive(runner, Archive(archive, Format.CUSTOM, Compression.NONE, None), print).how
        )


def test_c03_an_archive_that_is_cut_or_flipped_is_damaged_when_it_is_sent(
    box: Box, archive: Path, tmp_path: Path
) -> None:
    whole = archive.read_bytes()
    with open_engine(settings(tmp_path, box)) as engine:
        for damaged in (whole[:-1], whole[: len(whole) // 2], whole[:-300] + b"\0" * 300):
            archive.write_bytes(damaged)
            with pytest.raises(ArchiveDamaged):
                engine.check(Archive(archive, Format.CUSTOM, Compression.NONE, None))
