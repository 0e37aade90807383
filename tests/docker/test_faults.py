"""Faults inside a container, through whole tasks: a full /tmp, a container that is killed, a .psqlrc, another machine."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.exchange import claim
from dbtasks.engines.routes import open_engine
from dbtasks.errors import Busy, DbTasksError, NotFound, OperationFailed, StoreFull
from dbtasks.events import Event, Phase, Progress, Warned
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest
from dbtasks.runners.docker_door import docker_client
from tests.conftest import Project
from tests.disks import CAN_MOUNT, small_disk
from tests.fix_docker import Box
from tests.moments import at_phase

pytestmark = pytest.mark.long

ROWS = """
CREATE TABLE item (id int PRIMARY KEY, name text);
INSERT INTO item SELECT g, (SELECT string_agg(md5(random()::text), '') FROM generate_series(g, g + 9))
FROM generate_series(1, 9000) g
"""


def settings(root: Path, box: Box, **flags: Any) -> dbtasks.Settings:
    root.mkdir(exist_ok=True)
    return dbtasks.load_settings(root, environ={}, url=box.url(), via="container", **flags)


def left_inside(box: Box) -> list[str]:
    _, out = box.container.exec_run(["sh", "-c", "ls -a /tmp | cat; true"])
    return [name for name in out.decode().split() if "dbtasks" in name]


def eventually(look: Callable[[], bool]) -> bool:
    for _ in range(100):
        if look():
            return True
        time.sleep(0.05)
    return False


if CAN_MOUNT:

    @pytest.fixture(scope="module")
    def full(start_box: Callable[..., Box], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
        """A container whose /tmp has room for its sockets and little more."""
        with small_disk(tmp_path_factory.mktemp("inside") / "tmp", "1m", "1777") as disk:
            box = start_box(volumes={str(disk): {"bind": "/tmp", "mode": "rw"}})
            box.sql(ROWS)
            yield box
            box.container.remove(force=True, v=True)

    @pytest.mark.fault
    @pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL])
    def test_a_backup_that_streams_needs_no_room_inside_the_container(
        full: Box, tmp_path: Path, format_: Format
    ) -> None:
        config = settings(tmp_path, full)
        made = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
        assert made.manifest.counts["public.item"] == 9000
        (verified,) = dbtasks.verify(config, [made])
        assert verified.ok

    @pytest.mark.fault
    def test_a04_without_room_inside_the_container_nothing_is_published_and_nothing_left(
        full: Box, tmp_path: Path
    ) -> None:
        config = settings(tmp_path, full)
        with pytest.raises(StoreFull) as caught:
            request = DumpRequest(format=Format.DIRECTORY, jobs=1)
            dbtasks.backup(config, dbtasks.BackupJob(request=request))
        assert "nothing was published" in caught.value.state
        assert eventually(lambda: left_inside(full) == [])
        listed = dbtasks.list_backups(config)
        assert (listed.backups, listed.foreign) == ((), ())

    @pytest.mark.fault
    @pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL, Format.DIRECTORY])
    def test_a04_a05_a_full_disk_here_ends_a_backup_from_a_container_and_blocks_nobody(
        box: Box, tmp_path: Path, format_: Format
    ) -> None:
        box.sql("DROP TABLE IF EXISTS item; " + ROWS)
        with small_disk(tmp_path / "store", "200k") as disk, docker_client() as other:
            config = settings(tmp_path, box, backup_dir=str(disk))
            with pytest.raises(StoreFull):
                dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_, jobs=1)))
            other.api.timeout = 15  # an answer left open held off every other question for 50 s
            assert other.api.inspect_container(box.container.id)["State"]["Running"]
            assert not list(disk.rglob("*.dump")) + list(disk.rglob("*.sql*")) + list(disk.rglob("*.tar"))
        assert eventually(lambda: left_inside(box) == [])

    @pytest.mark.fault
    @pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
    def test_a04_without_room_inside_the_container_no_restore_touches_the_live_database(
        full: Box, box: Box, tmp_path: Path, format_: Format
    ) -> None:
        box.sql("DROP TABLE IF EXISTS item; " + ROWS)
        made = dbtasks.backup(settings(tmp_path, box), dbtasks.BackupJob(request=DumpRequest(format=format_)))
        config = settings(tmp_path, full)
        with pytest.raises(StoreFull):
            dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path))))
        assert full.sql("SELECT count(*) FROM item") == "9000"
        assert full.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'shop%'") == "1"
        assert eventually(lambda: left_inside(full) == [])


@pytest.fixture(scope="module")
def hardened(start_box: Callable[..., Box]) -> Box:
    """A container with a megabyte of memory for its /tmp."""
    return start_box(tmpfs={"/tmp": "size=1m,mode=1777"})


@pytest.mark.fault
@pytest.mark.parametrize(("format_", "moment"), [(Format.CUSTOM, "first bytes"), (Format.DIRECTORY, "dump")])
def test_a11_a_container_that_is_killed_during_a_backup_leaves_nothing_and_is_named(
    start_box: Callable[..., Box], tmp_path: Path, format_: Format, moment: str
) -> None:
    box = start_box()
    box.sql(ROWS)
    config = settings(tmp_path, box)
    request = DumpRequest(format=format_, jobs=1)
    first = dbtasks.backup(config, dbtasks.BackupJob(request=request))
    ended: list[bool] = []

    def end_it(event: Event) -> None:
        reached = (
            isinstance(event, Progress) if moment == "first bytes" else getattr(event, "name", "") == moment
        )
        if reached and not ended:
            ended.append(True)
            box.container.kill()

    with pytest.raises(DbTasksError) as caught:
        dbtasks.backup(config, dbtasks.BackupJob(request=request), on_event=end_it)
    assert caught.value.exit_code == 9
    assert "nothing was published" in caught.value.state
    assert box.name in caught.value.message
    assert "stopped" in caught.value.message or "it has stopped (exited)" in caught.value.message
    listed = dbtasks.list_backups(config)
    assert [backup.id for backup in listed.backups] == [first.id]
    assert listed.foreign == ()
    assert not list(tmp_path.rglob("*.draft"))
    (run, _) = dbtasks.list_runs(config)
    assert (run.ok, run.exit_code) == (False, caught.value.exit_code)


@pytest.mark.fault
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY, Format.SQL])
def test_a11_a_container_that_is_killed_during_a_load_is_named_with_what_stays_and_what_helps(
    start_box: Callable[..., Box], tmp_path: Path, format_: Format
) -> None:
    box = start_box(publish=False)
    box.sql(ROWS)
    tmp_path.joinpath("shop").mkdir()
    config = dbtasks.load_settings(
        tmp_path / "shop", environ={}, url="postgresql:///shop", container=box.name, via="container"
    )
    dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob("latest", skip_safety_backup=True))
    said: list[Event] = []

    def end_it(event: Event) -> None:
        said.append(event)
        if isinstance(event, Phase) and event.name == "load":
            threading.Timer(0.2, box.container.kill).start()

    with pytest.raises(DbTasksError) as caught:
        dbtasks.restore(config, plan, on_event=end_it)
    assert caught.value.exit_code in (3, 9)
    assert f"container {box.name}" in caught.value.message
    assert "shop was not touched" in caught.value.state
    if "does not answer" not in caught.value.message:
        # else the server's connection ended first, and Docker had not noticed yet
        assert "stopped" in caught.value.message
        assert f"docker start {box.name}" in caught.value.hint
    (new,) = [event.detail for event in said if isinstance(event, Phase) and event.name == "create"]
    assert any(isinstance(event, Warned) and new in event.text for event in said)


@pytest.mark.fault
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY, Format.SQL])
def test_c07_a_backup_that_is_gone_after_the_plan_is_not_found_and_nothing_was_touched(
    box: Box, tmp_path: Path, format_: Format
) -> None:
    box.sql("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 a")
    config = settings(tmp_path / "shop", box)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, skip_safety_backup=True))
    made.path.unlink()
    with pytest.raises(NotFound, match=f"{made.path} is not there") as missed:
        dbtasks.restore(config, plan)
    assert "shop was not touched" in missed.value.state
    assert box.sql("SELECT a FROM kept") == "1"
    assert left_inside(box) == []


@pytest.mark.fault
@pytest.mark.parametrize("moment", ["dump", "verify"])
def test_a10_an_interrupted_backup_of_a_paused_container_ends_and_leaves_nothing_when_it_goes_on(
    start_box: Callable[..., Box], project: Project, moment: str
) -> None:
    project.mount()
    box = start_box(publish=False)
    box.sql(ROWS)
    named = {"DATABASE_URL": "postgresql:///shop", "DBTASKS_CONTAINER": box.name, "DBTASKS_VIA": "container"}
    running = subprocess.Popen(
        [sys.executable, "-m", "invoke", "db.backup"],
        cwd=project.root,
        env=project.environ(**named),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    with running:
        assert running.stderr
        assert any(line.split()[:1] == [moment] for line in running.stderr)
        box.container.pause()
        time.sleep(0.5)
        running.send_signal(signal.SIGTERM)
        # the minute is no aim: without an end this would wait as long as the container stays paused
        _, said = running.communicate(timeout=60)
    box.container.unpause()
    assert running.returncode == 130
    if moment == "dump":
        assert f"container {box.name} is paused" in said
    assert eventually(lambda: left_inside(box) == [])
    assert eventually(lambda: not [line for line in box.processes() if "pg_dump" in line or "psql" in line])
    assert project.invoke("db.list", **named).stdout.count("shop_") == 0
    assert project.invoke("db.backup", **named).returncode == 0


@pytest.fixture
def shop(box: Box) -> Iterator[Box]:
    box.sql("DROP TABLE IF EXISTS item; CREATE TABLE item AS SELECT generate_series(1, 10) AS id")
    yield box
    kept = box.sql("SELECT string_agg(datname, ' ') FROM pg_database WHERE datname LIKE 'shop\\_\\_%'")
    for name in kept.split():
        box.sql(f'DROP DATABASE "{name}"', "postgres")


def test_h08_a_restore_by_a_container_keeps_other_machines_away(shop: Box, tmp_path: Path) -> None:
    here, there = settings(tmp_path / "here", shop), settings(tmp_path / "there", shop)
    dbtasks.backup(here)
    dbtasks.backup(there)
    waiting = dbtasks.plan_restore(there)
    refused: list[str] = []

    def come_in_between() -> None:
        with pytest.raises(Busy) as caught:
            dbtasks.restore(there, waiting)
        refused.append(caught.value.message)

    dbtasks.restore(here, dbtasks.plan_restore(here), on_event=at_phase("swap", come_in_between))
    assert "another restore of shop is under way on this server: dbtasks restore " in refused[0]
    assert shop.sql("SELECT count(*) FROM item") == "10"


def test_h08_a_restore_by_a_container_that_lost_the_servers_lock_touches_nothing(
    shop: Box, tmp_path: Path
) -> None:
    config = settings(tmp_path, shop)
    dbtasks.backup(config)
    shop.sql("DELETE FROM item WHERE id > 6")
    names = shop.sql("SELECT datname FROM pg_database ORDER BY 1", "postgres")

    def end_claim() -> None:
        ended = shop.sql(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name LIKE 'dbtasks restore %'",
            "postgres",
        )
        assert ended == "t"

    for in_place in (False, True):
        job = dbtasks.RestoreJob(request=LoadRequest(in_place=in_place))
        with pytest.raises(OperationFailed, match="another restore of shop may have been at work") as caught:
            dbtasks.restore(config, dbtasks.plan_restore(config, job), on_event=at_phase("load", end_claim))
        assert (type(caught.value), caught.value.exit_code) == (OperationFailed, 9)
        assert "this run changed nothing in shop; what another one did" in caught.value.state
        assert shop.sql("SELECT count(*) FROM item") == "6"
        assert shop.sql("SELECT datname FROM pg_database ORDER BY 1", "postgres") == names


def test_h08_the_psql_inside_that_holds_the_servers_lock_is_never_quiet_for_long(
    shop: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(tmp_path, shop)
    monkeypatch.setattr(claim, "AWAKE_SECONDS", 0.05)
    heard = "SELECT state_change FROM pg_stat_activity WHERE application_name LIKE 'dbtasks restore %'"
    with open_engine(config, config.target) as engine, engine.claimed():
        first = shop.sql(heard)
        assert first
        assert eventually(lambda: shop.sql(heard) != first)
    assert eventually(lambda: shop.sql(heard) == "")


def test_g17_a_psqlrc_inside_the_container_changes_nothing(shop: Box, tmp_path: Path) -> None:
    planted = "\\set AUTOCOMMIT off\n\\set ON_ERROR_ROLLBACK on\n\\echo planted\n\\! touch /tmp/planted\n"
    write = ["sh", "-c", 'printf "%s" "$1" > "$HOME/.psqlrc"; echo "$HOME"', "sh", planted]
    code, home = shop.container.exec_run(write)
    assert code == 0
    try:
        config = settings(tmp_path, shop)
        dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=Format.SQL)))
        shop.sql("DELETE FROM item")
        dbtasks.restore(config, dbtasks.plan_restore(config))
        assert shop.sql("SELECT count(*) FROM item") == "10"
        assert "planted" not in shop.container.exec_run(["ls", "/tmp"])[1].decode()
    finally:
        shop.container.exec_run(["rm", f"{home.decode().strip()}/.psqlrc"])


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_a_container_whose_tmp_is_in_memory_is_backed_up_and_restored(
    hardened: Box, tmp_path: Path, format_: Format
) -> None:
    """Docker's own copying does not see into a tmpfs, which is how containers are kept read-only."""
    hardened.sql("DROP TABLE IF EXISTS item; CREATE TABLE item AS SELECT generate_series(1, 500) AS id")
    config = settings(tmp_path, hardened)
    made = dbtasks.backup(
        config,
        dbtasks.BackupJob(request=DumpRequest(format=format_, jobs=None if format_ is Format.CUSTOM else 2)),
    )
    assert made.manifest.counts == {"public.item": 500}
    hardened.sql("DELETE FROM item")
    job = dbtasks.RestoreJob(made.id, skip_safety_backup=True, request=LoadRequest(drop_old=True))
    dbtasks.restore(config, dbtasks.plan_restore(config, job))
    assert hardened.sql("SELECT count(*) FROM item") == "500"
    assert left_inside(hardened) == []
