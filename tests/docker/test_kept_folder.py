"""The private folder inside: nobody else's, checked, and gone with its run, whatever a tool still writes there."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from dbtasks.errors import ArchiveDamaged
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.inside import KEEPER, kept_folder
from tests.docker.test_container_route import left_inside
from tests.fix_docker import Box

BUSY = 'mkdir -p "$1/dump"; for n in 1 2 3 4; do (i=0; while : >"$1/dump/$n-$i"; do i=$((i+1)); done) & done; wait'
"""Workers of a dump that put file after file there, as long as the folder is there."""
LIVES_ON = ("timeout", "2", "sh", "-c", BUSY, "sh")
DATA = b"what a table holds\n" * 5_000
SERVER_IDS = ("70", "70")
"""User and group of the image's tools."""


@pytest.mark.fault
def test_a12_a_folder_that_a_dying_tool_still_writes_to_is_removed_all_the_same(box: Box) -> None:
    runner = ContainerRunner(box.container)
    with kept_folder(runner) as inside:
        path = inside.path
        box.container.exec_run([*LIVES_ON, path], detach=True)
        time.sleep(0.5)
    runner.close()
    assert box.container.exec_run(["ls", path]).exit_code != 0


@pytest.fixture
def runner(box: Box) -> Iterator[ContainerRunner]:
    with closing(ContainerRunner(box.container)) as runner:
        yield runner


@pytest.fixture(params=["file", "folder"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file, or the folder of a directory dump, which everybody here may read and write."""
    path = tmp_path / "archive"
    if request.param == "folder":
        path.mkdir()
        for name in ("toc.dat", "3001.dat"):
            (path / name).write_bytes(DATA)
            (path / name).chmod(0o666)
        path.chmod(0o777)
    else:
        path.write_bytes(DATA)
        path.chmod(0o666)
    return path


def seen(box: Box, *arguments: str) -> list[tuple[str, tuple[str, str], str]]:
    """Return mode, owner with group, and name of what `ls -ln` shows inside."""
    code, out = box.container.exec_run(["ls", "-ln", *arguments])
    assert code == 0, out.decode()
    rows = [line.split() for line in out.decode().splitlines() if not line.startswith("total")]
    return [(row[0][:10], (row[2], row[3]), row[-1].rpartition("/")[2]) for row in rows]


def is_there(box: Box, path: str) -> bool:
    return bool(box.container.exec_run(["ls", "-d", path]).exit_code == 0)


def test_g11_a_copy_inside_is_its_tools_own_and_nobody_elses_and_is_gone_afterwards(
    box: Box, runner: ContainerRunner, archive: Path
) -> None:
    with runner.staged(archive) as inside:
        folder = inside.rpartition("/")[0]
        assert seen(box, "-d", folder) == [("drwx------", SERVER_IDS, folder.rpartition("/")[2])]
        if archive.is_dir():
            assert seen(box, "-A", folder) == [("drwx------", SERVER_IDS, "archive")]
            assert seen(box, "-A", inside) == [
                ("-rw-------", SERVER_IDS, "3001.dat"),
                ("-rw-------", SERVER_IDS, "toc.dat"),
            ]
        else:
            assert seen(box, "-A", folder) == [("-rw-------", SERVER_IDS, "archive")]
    # a folder is read once, a file by one tool after the other
    assert is_there(box, folder) is not archive.is_dir()
    runner.close()
    assert not is_there(box, folder)


def test_c01_a_byte_that_is_altered_on_its_way_inside_is_damage_and_nothing_stays_there(
    box: Box, runner: ContainerRunner, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_on = ContainerRunner.put_tar

    def altered(self: ContainerRunner, folder: str, tar: Iterator[bytes]) -> None:
        sent = bytearray(b"".join(tar))
        sent[sent.rindex(b"table")] ^= 1
        passed_on(self, folder, (bytes(part) for part in [sent]))

    with monkeypatch.context() as patched:
        patched.setattr(ContainerRunner, "put_tar", altered)
        with (
            pytest.raises(
                ArchiveDamaged,
                match=f"^what was copied into container {box.name} is not what arrived there$",
            ),
            runner.staged(archive),
        ):
            pytest.fail("a copy that is not the archive was given to a tool")
    # nor is it given to the next that asks
    with runner.staged(archive) as inside:
        file = f"{inside}/toc.dat" if archive.is_dir() else inside
        assert runner.run(Command("cat", (file,))).encode() == DATA
    runner.close()
    assert left_inside(box) == []


def test_a12_a_keeper_whose_run_is_gone_before_it_could_answer_removes_its_folder_all_the_same(
    tmp_path: Path,
):
    own = tmp_path / "dbtasks-life-1-own"
    reading, answer = os.pipe()
    os.close(reading)
    try:
        keeper = subprocess.run(
            ["sh", "-c", KEEPER, "sh", own, tmp_path / "dbtasks-life", tmp_path / "dbtasks-life-1"],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=False,
        )
    finally:
        os.close(answer)
    assert keeper.returncode == 0
    assert not own.exists()
