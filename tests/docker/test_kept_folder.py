"""The private folder inside: nobody else's, checked, and gone with its run, whatever a tool still writes there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from dbtasks.errors import ArchiveDamaged, DbTasksError, NotFound
from dbtasks.events import Event, Warned
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.exec_stream import ContainerInput
from dbtasks.runners.inside import KEEPER, kept_folder
from tests.conftest import Project
from tests.docker.test_container_route import left_inside
from tests.fix_docker import Box

pytestmark = pytest.mark.long

BUSY = (
    'mkdir -p "$1/dump"; for n in 1 2 3 4; do'
    ' (i=0; while [ "$SECONDS" -lt 2 ] && : >"$1/dump/$n-$i"; do i=$((i+1)); done) & done; wait'
)
"""Workers of a dump that put file after file there, for two seconds or as long as the folder is there."""
LIVES_ON = ("sh", "-c", BUSY, "sh")
DATA = b"what a table holds\n" * 5_000
RECORD = 10240
"""Bytes that a tar reads at once."""
SERVER_IDS = ("70", "70")
"""User and group of the image's tools."""
COPYING = """
import sys
from pathlib import Path
import docker
from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.inside import Inside
Inside(ContainerRunner(docker.from_env().containers.get(sys.argv[1])), sys.argv[2]).put(Path(sys.argv[3]))
"""
END_KEEPER = """
for process in /proc/[0-9]*; do
  read -r line <"$process/cmdline" 2>/dev/null
  case $line in *"$FOLDER"*) kill -KILL "${process#/proc/}" ;; esac
done 2>/dev/null
"""


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
    passed_on = ContainerInput.write

    def altered(self: ContainerInput, data: bytes) -> int:
        return passed_on(self, data.replace(b"table", b"fable", 1))

    with monkeypatch.context() as patched:
        patched.setattr(ContainerInput, "write", altered)
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


def test_a_tar_that_has_read_its_end_before_we_look_has_taken_all(
    runner: ContainerRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "dump"
    folder.mkdir()
    # two headers, this and the mark of the end fill one record: nothing of another one is waited for
    (folder / "toc.dat").write_bytes(DATA[: RECORD - 4 * 512])
    send = ContainerInput._send

    def send_and_wait(taker: ContainerInput, data: memoryview) -> int:
        sent = send(taker, data)
        deadline = time.monotonic() + 20
        while not taker._ended and time.monotonic() < deadline:
            time.sleep(0.01)
        return sent

    with kept_folder(runner) as inside:
        # from here on only what is copied in is written
        monkeypatch.setattr(ContainerInput, "_send", send_and_wait)
        there = inside.put(folder)
        monkeypatch.undo()
        assert len(runner.run(Command("cat", (f"{there}/toc.dat",)))) == RECORD - 4 * 512


def test_a12_a_folder_that_goes_while_it_is_copied_into_is_not_made_anew(
    box: Box, runner: ContainerRunner, tmp_path: Path, project: Project
) -> None:
    """What a kill does to keeper and copier in an order of chance, in the worse one: the copier comes last."""
    dump = tmp_path / "dump"
    dump.mkdir()
    for number in range(128):
        with (dump / f"{number}.dat").open("wb") as file:
            file.truncate(2 << 20)
    with ExitStack() as end:
        with kept_folder(runner) as inside:
            path = inside.path
            copier = end.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", COPYING, box.container.id, path, dump],
                    env=project.environ(),
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            end.callback(copier.kill)
            while not is_there(box, f"{path}/dump") and copier.poll() is None:
                pass
            copier.send_signal(signal.SIGSTOP)
        assert not is_there(box, path)
        copier.send_signal(signal.SIGCONT)
        _, said = copier.communicate(timeout=60)
    assert f"could not be copied into container {box.name}" in said
    assert not is_there(box, path)
    assert left_inside(box) == []


def test_a12_the_folder_of_a_keeper_that_was_ended_goes_with_its_run(
    box: Box, runner: ContainerRunner
) -> None:
    with pytest.raises(DbTasksError), kept_folder(runner) as inside:
        ended = box.container.exec_run(["sh", "-c", END_KEEPER], environment={"FOLDER": inside.path})
        assert ended.exit_code == 0
        assert is_there(box, inside.path)
    assert left_inside(box) == []
    assert box.crashes() == []


def test_a12_a_folder_that_cannot_be_removed_is_named_and_fails_nothing_that_went_well(box: Box) -> None:
    told: list[Event] = []
    runner = ContainerRunner(box.container, on_event=told.append)
    with kept_folder(runner) as inside:
        planted = ["mkdir", "-p", f"{inside.path}/planted/deep"]
        assert box.container.exec_run(planted, user="root").exit_code == 0
    runner.close()
    try:
        (text,) = [event.text for event in told if isinstance(event, Warned)]
        assert text.startswith(f"{inside.path} in container {box.name} could not be removed: rm: ")
    finally:
        box.container.exec_run(["rm", "-rf", inside.path], user="root")


def test_c07_what_is_gone_before_it_is_copied_inside_is_not_found(
    box: Box, runner: ContainerRunner, tmp_path: Path
) -> None:
    path = tmp_path / "archive"
    with pytest.raises(NotFound, match=f"{path} is not there") as missed, runner.staged(path):
        pass
    assert missed.value.exit_code == 4
    with kept_folder(runner) as inside:
        with pytest.raises(NotFound, match=f"{path} is not there"):
            inside.put(path)
        path.symlink_to("/etc/passwd")
        with pytest.raises(ArchiveDamaged, match="symbolic link"):
            inside.put(path)
    assert left_inside(box) == []


@pytest.fixture
def no_tar(box: Box) -> Iterator[None]:
    """The image has none, for a while."""
    move = ["mv", "/usr/bin/tar", "/usr/bin/tar.away"]
    assert box.container.exec_run(move, user="root").exit_code == 0
    yield
    assert box.container.exec_run([move[0], move[2], move[1]], user="root").exit_code == 0


def test_a_folder_is_copied_file_by_file_where_the_image_has_no_tar(
    box: Box, runner: ContainerRunner, tmp_path: Path, no_tar: None
) -> None:
    dump = tmp_path / "dump"
    dump.mkdir()
    for name in ("toc.dat", "3001.dat"):
        (dump / name).write_bytes(name.encode() + DATA)
    with runner.staged(dump) as inside:
        assert seen(box, "-d", inside) == [("drwx------", SERVER_IDS, "dump")]
        assert [(mode, name) for mode, _, name in seen(box, "-A", inside)] == [
            ("-rw-------", "3001.dat"),
            ("-rw-------", "toc.dat"),
        ]
        for name in ("toc.dat", "3001.dat"):
            assert runner.run(Command("cat", (f"{inside}/{name}",))).encode() == name.encode() + DATA
    assert left_inside(box) == []
