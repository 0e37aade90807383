"""Every state a container and its engine can be in, on real ones: named, with the command that helps."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import CommandFailed
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
from dbtasks.runners.docker_door import stopped_answering
from tests.conftest import Project
from tests.docker.test_container_route import left_inside, run
from tests.docker.test_password_inside import eventually
from tests.fix_docker import Box

pytestmark = pytest.mark.long

SECOND = 1_000_000_000
ASLEEP = ["sleep", "infinity"]
PGDATA = "/var/lib/postgresql/data"


@pytest.fixture
def ask(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a task on a container by its name."""
    project.mount()

    def asked(box: Box, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run(project, *arguments, DATABASE_URL=f"postgresql://postgres@{box.name}/shop", **environ)

    return asked


@pytest.fixture
def own(start_box: Callable[..., Box]) -> Iterator[Callable[..., Box]]:
    """Start a container that goes with the test."""
    made: list[Box] = []

    def start(**options: Any) -> Box:
        made.append(start_box(publish=False, **options))
        return made[-1]

    yield start
    for box in made:
        with contextlib.suppress(Exception):
            box.container.unpause()
        box.container.remove(force=True, v=True)


def check(command: list[str]) -> dict[str, Any]:
    return {"test": ["CMD", *command], "interval": SECOND // 2, "timeout": 5 * SECOND, "retries": 1}


def has(box: Box, **state: str) -> bool:
    box.container.reload()
    seen = box.container.attrs["State"]
    health = (seen.get("Health") or {}).get("Status", "")
    return state.get("status", seen["Status"]) == seen["Status"] and state.get("health", health) == health


# -- containers that take no commands ----------------------------------------------------


def test_a_paused_container_is_named_with_the_command_that_unpauses_it(ask: Any, own: Any):
    box = own(wait=False)
    box.container.pause()
    ran = ask(box, "db.backup", "--via=container")
    assert ran.returncode == 3
    assert f"container {box.name} is paused" in ran.stderr
    assert f"docker unpause {box.name}" in ran.stderr


def test_a_container_that_keeps_restarting_is_named_with_its_log(ask: Any, own: Any):
    box = own(wait=False, command=["sh", "-c", "exit 1"], restart_policy={"Name": "always"})
    assert eventually(lambda: has(box, status="restarting"))
    ran = ask(box, "db.backup", "--via=container", "--wait=1")
    assert ran.returncode == 3
    assert box.name in ran.stderr
    assert f"docker logs {box.name}" in ran.stderr
    assert box.container.id not in ran.stderr


def test_a_container_that_was_never_started_is_named_with_the_command_that_starts_it(
    docker_client: Any, pg_image: str, ask: Any
):
    container = docker_client.containers.create(pg_image)
    try:
        ran = ask(
            Box(container, container.name, None, "postgres", "", "shop"), "db.backup", "--via=container"
        )
    finally:
        container.remove()
    assert ran.returncode == 3
    assert f"container {container.name} is created but was never started" in ran.stderr
    assert f"docker start {container.name}" in ran.stderr


def test_a_container_that_stops_while_it_is_waited_for_is_named(own: Any, project: Project):
    project.mount()
    box = own(wait=False, command=ASLEEP)
    since = int(time.time())
    waiting = project.start("db.backup", "--wait=3000", DATABASE_URL=f"postgresql://postgres@{box.name}/shop")
    # a psql that finds no server is gone too soon to be seen among the processes
    its_own = {"container": box.container.id, "type": "container"}
    events = box.container.client.events(decode=True, since=since, filters=its_own)
    with contextlib.closing(events):
        assert next(
            event
            for event in events
            if event["status"].startswith("exec_start: ") and "psql -X" in event["status"]
        )
    box.container.kill()
    _, told = waiting.communicate(timeout=60)
    assert waiting.returncode == 3, told
    assert f"container {box.name} has stopped (exited)" in told
    assert f"docker start {box.name}" in told


# -- servers that take no connections ------------------------------------------------------


def test_a_server_that_is_still_starting_is_waited_for(ask: Any, own: Any):
    box = own(wait=False, command=["sh", "-c", "sleep 3; exec /entry.sh"])
    at_once = ask(box, "db.backup")
    assert at_once.returncode == 3
    assert f"the server in container {box.name} does not answer" in at_once.stderr
    assert "--wait=30" in at_once.stderr
    waited = ask(box, "db.backup", "--wait=60")
    assert waited.returncode == 0, waited.stderr
    assert "warning" not in waited.stderr


def test_when_the_wait_is_over_it_is_said_how_long_it_was(ask: Any, own: Any):
    box = own(wait=False, command=ASLEEP)
    ran = ask(box, "db.backup", DBTASKS_WAIT="1.5")
    assert ran.returncode == 3
    assert f"the server in container {box.name} does not answer after 1.5 s" in ran.stderr
    assert "is the server running" in ran.stderr.lower()


def test_a_server_in_recovery_says_that_it_is_starting_up(ask: Any, own: Any, project: Project):
    box = own()
    box.sql("ALTER SYSTEM SET restore_command = 'sleep 600'")
    box.sql("ALTER SYSTEM SET hot_standby = off")
    box.container.exec_run(["sh", "-c", f"echo > {PGDATA}/standby.signal"])
    box.container.restart(timeout=5)
    ran = ask(box, "db.backup", "--wait=1")
    assert ran.returncode == 3
    assert f"the server in container {box.name} is still starting after 1 s" in ran.stderr
    assert "the database system is starting up" in ran.stderr
    assert f"docker logs {box.name} shows what it does" in ran.stderr
    # somebody mends it and restarts the container while the next run waits
    url = f"postgresql://postgres@{box.name}/shop"
    waiting = project.start("db.backup", "--wait=90", DATABASE_URL=url)
    time.sleep(2)
    box.container.exec_run(["rm", f"{PGDATA}/standby.signal"])
    box.container.restart(timeout=5)
    _, told = waiting.communicate(timeout=110)
    assert waiting.returncode == 0, told


def test_an_unhealthy_container_whose_server_answers_is_used_with_a_warning(ask: Any, own: Any):
    box = own(healthcheck=check(["false-is-not-there"]))
    assert eventually(lambda: has(box, health="unhealthy"))
    ran = ask(box, "db.backup")
    assert ran.returncode == 0, ran.stderr
    assert (
        f"warning: container {box.name} is unhealthy; its server answers and is used (docker logs {box.name})"
        in ran.stderr
    )


def test_an_unhealthy_container_whose_server_does_not_answer_is_exit_3(ask: Any, own: Any):
    box = own(wait=False, command=ASLEEP, healthcheck=check(["false-is-not-there"]))
    assert eventually(lambda: has(box, health="unhealthy"))
    ran = ask(box, "db.backup")
    assert ran.returncode == 3
    assert f"container {box.name} is unhealthy, and its server does not answer" in ran.stderr
    assert f"docker logs {box.name}" in ran.stderr


def test_a_health_check_that_is_still_starting_is_waited_for(ask: Any, own: Any, project: Project):
    box = own(healthcheck=check(["sh", "-c", "test -e /tmp/well"]) | {"start_period": 600 * SECOND})
    at_once = ask(box, "db.backup")
    assert at_once.returncode == 0, at_once.stderr
    assert f"container {box.name} is still starting by its health check; its server answers" in at_once.stderr
    waiting = project.start("db.backup", "--wait=90", DATABASE_URL=f"postgresql://postgres@{box.name}/shop")
    assert eventually(lambda: [line for line in box.processes() if "psql" in line])
    assert box.container.exec_run(["sh", "-c", "echo > /tmp/well"]).exit_code == 0
    _, told = waiting.communicate(timeout=110)
    assert waiting.returncode == 0, told
    assert "warning" not in told
    assert has(box, health="healthy")


# -- Docker itself ---------------------------------------------------------------------------

KNOCK = """
import os, sys
import docker
from dbtasks.errors import RouteUnavailable
from dbtasks.runners.docker_door import docker_client
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    with docker_client():
        print("got in")
except RouteUnavailable as exc:
    print(exc.message, "|", exc.hint)
"""


def test_a_user_who_may_not_talk_to_docker_is_told_the_command_that_helps(project: Project):
    folder = Path(tempfile.mkdtemp(prefix="dbtasks-sock-"))
    folder.chmod(0o755)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(folder / "docker.sock"))
            listening.listen()
            (folder / "docker.sock").chmod(0o660 if os.geteuid() == 0 else 0)
            ran = subprocess.run(
                [sys.executable, "-W", "error", "-c", KNOCK],
                env=project.environ(DOCKER_HOST=f"unix://{folder}/docker.sock"),
                capture_output=True,
                text=True,
                check=True,
            )
    finally:
        shutil.rmtree(folder)
    assert ran.stdout == (
        "this user may not talk to Docker | add the user to the group docker"
        " (sudo usermod -aG docker $USER), or use --via=host\n"
    )
    assert ran.stderr == ""


@pytest.mark.parametrize("place", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1", "nonsense://x"])
def test_a_docker_host_that_leads_nowhere_is_named(project: Project, place: str):
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", KNOCK],
        env=project.environ(DOCKER_HOST=place),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.startswith(f"Docker is not running here: nothing answers at DOCKER_HOST={place}")
    assert "correct DOCKER_HOST" in ran.stdout
    assert ran.stderr == ""


@pytest.mark.parametrize("backlog", ["taken in", "full"])
def test_an_engine_that_never_answers_is_given_up_soon_and_called_what_it_is(project: Project, backlog: str):
    folder = Path(tempfile.mkdtemp(prefix="dbtasks-sock-"))
    folder.chmod(0o755)
    place = f"unix://{folder}/docker.sock"
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(folder / "docker.sock"))
        (folder / "docker.sock").chmod(0o666)
        listening.listen(0 if backlog == "full" else 16)
        if backlog == "full":
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
            waiting.connect(str(folder / "docker.sock"))
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", KNOCK],
            env=project.environ(DOCKER_HOST=place),
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    assert ran.stdout.startswith(f"Docker at DOCKER_HOST={place} does not answer within 10 s | restart it")
    assert ran.stderr == ""


def test_an_engine_that_is_slow_is_told_from_one_that_is_gone():
    asked = f"/v1.41/containers/{'a' * 64}/json"
    slow = stopped_answering(TimeoutError(f"{asked}: Read timed out. (read timeout=90)"))
    assert slow.message == "Docker does not answer within 90 s, though it runs"
    assert f"containers/{'a' * 12}/json" in slow.details
    gone = stopped_answering(ConnectionRefusedError(f"{asked}: Connection refused"))
    assert gone.message == f"Docker stopped answering: /v1.41/containers/{'a' * 12}/json: Connection refused"
    assert "not running" not in slow.message + slow.hint


class Between:
    """Stands between a client and Docker's socket, until it is cut.

    A slow one sends much at once; one with a limit lets only so many bytes of each answer pass.
    """

    def __init__(self, real: str, *, slow: float = 0, limit: int = 1 << 62) -> None:
        self._slow, self._limit = slow, limit
        self.folder = Path(tempfile.mkdtemp(prefix="dbtasks-between-"))
        self._real = real.removeprefix("unix://")
        self._open: list[socket.socket] = []
        self.url = self._listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _listen(self) -> str:
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.folder / "docker.sock"))
        self._listening.listen()
        return f"unix://{self.folder}/docker.sock"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.socket(socket.AF_UNIX)
                self._open += [near, far]
                far.connect(self._real)
                for pair in ((near, far, 0, 1 << 62), (far, near, self._slow, self._limit)):
                    thread = threading.Thread(target=self._carry, args=pair, daemon=True)
                    self._threads.append(thread)
                    thread.start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket, slow: float, limit: int) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(min(1 << 16, limit)):
                limit -= len(data)
                if slow:
                    time.sleep(slow)
                    with contextlib.suppress(BlockingIOError):
                        data += source.recv(1 << 16, socket.MSG_DONTWAIT)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """Be gone, as an engine that was stopped."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._threads[0].join()
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def between(docker_client: Any) -> Iterator[Between]:
    made = Between(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"))
    yield made
    made.cut()


def test_output_that_comes_together_with_dockers_answer_is_not_lost(docker_client: Any, box: Box):
    import docker

    slow = Between(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), slow=0.3)
    client = docker.DockerClient(base_url=slow.url, timeout=10)
    try:
        runner = ContainerRunner(client.containers.get(box.container.id))
        assert runner.run(Command("sh", ("-c", "echo first; echo second"))) == "first\nsecond\n"
        with runner.writing(Command("cat"), output=True) as tool:
            tool.write(b"there and back\n")
            assert tool.read_line() == b"there and back\n"
        runner.close()
    finally:
        client.close()
        slow.cut()


def test_output_that_is_cut_on_its_way_is_a_failure_though_the_tool_ended_well(docker_client: Any, box: Box):
    import docker

    short = Between(os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock"), limit=40_000)
    client = docker.DockerClient(base_url=short.url, timeout=10)
    try:
        runner = ContainerRunner(client.containers.get(box.container.id))
        with pytest.raises(
            CommandFailed, match=f"what sh wrote was cut on its way out of container {box.name}"
        ):
            runner.run(Command("sh", ("-c", "printf '%080000d' 0")))
        runner.close()
    finally:
        client.close()
        short.cut()


LOSING = """
import sys
import docker
from dbtasks.errors import DbTasksError
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
client = docker.from_env(timeout=10)
runner = ContainerRunner(client.containers.get(sys.argv[1]))
for command in (Command("sleep", ("691",)), Command("true")):
    try:
        runner.run(command)
    except DbTasksError as exc:
        print(type(exc).__name__, exc.message, flush=True)
runner.close()
"""


def started(script: str, between: Between, box: Box, project: Project) -> subprocess.Popen[str]:
    """Run it in a process of its own: the library leaves sockets open with which it cannot connect."""
    return subprocess.Popen(
        [sys.executable, "-c", script, box.container.id],
        env=project.environ(DOCKER_HOST=between.url),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_docker_that_stops_answering_in_the_middle_is_named_and_nothing_runs_on(
    between: Between, box: Box, project: Project
):
    losing = started(LOSING, between, box, project)
    assert eventually(lambda: [line for line in box.processes() if "sleep 691" in line])
    between.cut()
    told, err = losing.communicate(timeout=60)
    first, second = told.splitlines()
    assert first == "CommandFailed sleep broke off: Docker stopped answering"
    assert second.startswith("RouteUnavailable Docker stopped answering"), err
    assert losing.returncode == 0, err
    assert eventually(lambda: not [line for line in box.processes() if "sleep 691" in line])
    assert left_inside(box) == []


HELD = """
import sys
import docker
from dbtasks.errors import TargetUnreachable
from dbtasks.psql import connect_psql
from dbtasks.runners.container import ContainerRunner
client = docker.from_env(timeout=10)
runner = ContainerRunner(client.containers.get(sys.argv[1]))
try:
    with connect_psql(runner, "shop", user="postgres", env={}, prepare=("SELECT 1", ())) as session:
        session.execute("DO $$ BEGIN RAISE WARNING 'words of its own'; END $$")
        while "words" not in session.last_words():
            pass  # the two streams of an exec are not ordered
        print("held", flush=True)
        sys.stdin.read()
        session.rows("SELECT 1")
except TargetUnreachable as exc:
    print(exc.details, flush=True)
runner.close()
"""


def test_a_held_psql_that_loses_docker_says_so_whatever_it_had_said_itself(
    between: Between, box: Box, project: Project
):
    holding_it = started(HELD, between, box, project)
    assert holding_it.stdout is not None
    assert holding_it.stdout.readline() == "held\n"
    between.cut()
    told, err = holding_it.communicate(timeout=60)
    assert holding_it.returncode == 0, err
    assert told.splitlines()[:2] == ["Docker stopped answering", "WARNING:  words of its own"]


def test_a_backup_that_loses_docker_fails_and_lists_nothing(
    between: Between, box: Box, project: Project, ask: Any
):
    box.sql("CREATE TABLE IF NOT EXISTS public.held (a int)")
    url = f"postgresql://postgres@{box.name}/shop"
    with holding(box, "public.held"):
        running = project.start("db.backup", DATABASE_URL=url, DOCKER_HOST=between.url)
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        assert eventually(lambda: box.sql(waits) != "0")
        between.cut()
        _, told = running.communicate(timeout=60)
    assert running.returncode == 9, told
    assert "nothing was published" in told
    assert "Docker stopped answering" in told
    assert "bug" not in told
    assert '"backups": []' in ask(box, "db.list", "--json").stdout
    assert eventually(lambda: left_inside(box) == [])
    assert eventually(lambda: not [line for line in box.processes() if "psql -X" in line])


def test_a12_a_tool_that_docker_falls_silent_over_while_it_is_ended_is_ended_with_us(
    box: Box, monkeypatch: pytest.MonkeyPatch
):
    runner = ContainerRunner(box.container)
    monkeypatch.setattr(runner, "end_process", lambda pid: setattr(runner, "is_silent", True))
    with pytest.raises(KeyError), runner.writing(Command("sleep", ("693",))):
        assert eventually(lambda: [line for line in box.processes() if "sleep 693" in line])
        raise KeyError
    runner.close()
    assert eventually(lambda: not [line for line in box.processes() if "sleep 693" in line])


@contextlib.contextmanager
def holding(box: Box, table: str) -> Iterator[None]:
    """Lock a table so that a dump has to wait for it."""
    statement = f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(600)"
    api = box.container.client.api
    created = api.exec_create(
        box.container.id, ["psql", "--no-psqlrc", "-U", box.user, "-d", box.database, "-c", statement]
    )
    api.exec_start(created["Id"], detach=True)
    held = f"SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND granted"
    assert eventually(lambda: box.sql(held) != "0")
    try:
        yield
    finally:
        box.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%ACCESS EXCLUSIVE%' AND pid <> pg_backend_pid()"
        )
