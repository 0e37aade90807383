"""Which way a run takes to PostgreSQL, and what it says when it is not the first: the words are held."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels
from tests.fix_docker import Box
from tests.rights import bound_by_modes

pytestmark = pytest.mark.long

BY_HOST = "warning: by the host's client tools, not by a container: "


def invoke(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    project.mount()
    return project.invoke(*arguments, **environ)


def by_host(pg: Any) -> dict[str, str]:
    return {"DATABASE_URL": pg.url(), "DBTASKS_PG_BIN": str(pg.bin)}


def warnings(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.strip() for line in ran.stderr.splitlines() if "warning: " in line]


@pytest.fixture
def bound(docker_client: Any, pg_image: str) -> Any:
    """Return a function that makes containers which were to publish a port, and never ran."""
    made = []

    def create(port: int, **options: Any) -> Any:
        container = docker_client.containers.create(
            pg_image, ports={"5432/tcp": ("127.0.0.1", port)}, **options
        )
        made.append(container)
        return container

    yield create
    for container in made:
        container.remove(force=True, v=True)


# -- no container is meant -----------------------------------------------------------


def test_auto_goes_to_the_host_where_no_container_is_reached(
    docker_client: Any, project: Project, pg: Any
) -> None:
    ran = invoke(project, "db.backup", **by_host(pg))
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == [f"{BY_HOST}no container is reached by {pg.host}:{pg.port}"]


def test_the_host_asked_for_by_name_gives_no_warning(docker_client: Any, project: Project, pg: Any) -> None:
    for via in ("--via=host", "--via=host,container", "--via=container,host"):
        ran = invoke(project, "db.backup", via, **by_host(pg))
        assert ran.returncode == 0, ran.stderr
        assert warnings(ran) == []


def test_auto_goes_to_the_host_where_docker_is_not_running(project: Project, pg: Any) -> None:
    nowhere = "unix:///nowhere/docker.sock"
    ran = invoke(project, "db.backup", DOCKER_HOST=nowhere, **by_host(pg))
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == [f"{BY_HOST}Docker is not running here: nothing answers at DOCKER_HOST={nowhere}"]


def test_docker_is_looked_for_where_the_projects_dotenv_says(project: Project, pg: Any) -> None:
    project.dotenv("DOCKER_HOST=unix:///of/the/dotenv.sock\n")
    environ = by_host(pg) | {"DOCKER_HOST": ""}
    ran = invoke(project, "db.backup", **environ)
    assert "nothing answers at DOCKER_HOST=unix:///of/the/dotenv.sock" in ran.stderr


@contextmanager
def engine(mode: int) -> Iterator[str]:
    """A socket of this mode in the place of Docker's, at which nobody ever says a word."""
    # its path has to be short
    with (
        tempfile.TemporaryDirectory(prefix="dbtasks-sock-") as folder,
        socket.socket(socket.AF_UNIX) as listening,
    ):
        place = Path(folder) / "docker.sock"
        listening.bind(str(place))
        listening.listen()
        place.chmod(mode)
        yield f"unix://{place}"


@pytest.mark.parametrize(
    ("mode", "why", "helps"),
    [
        pytest.param(
            0,
            "this user may not talk to Docker",
            "add the user to the group docker (sudo usermod -aG docker $USER), or use --via=host",
            id="no permission",
        ),
        pytest.param(
            0o600,
            "Docker at DOCKER_HOST={} does not answer within 10 s",
            "restart it (sudo systemctl restart docker, or Docker Desktop), or use --via=host",
            id="no answer",
        ),
    ],
)
def test_auto_goes_to_the_host_where_docker_lets_nobody_in(
    project: Project, pg: Any, mode: int, why: str, helps: str
) -> None:
    project.mount()
    with engine(mode) as place, pg.fresh() as database:

        def asked(*arguments: str) -> subprocess.CompletedProcess[str]:
            environ = by_host(pg) | {"DATABASE_URL": database.url, "DOCKER_HOST": place}
            return subprocess.run(
                [sys.executable, "-m", "invoke", *arguments],
                cwd=project.root,
                env=project.environ(**environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
                **bound_by_modes(),
            )

        why = why.format(place)
        for arguments in (("db.backup",), ("db.restore", "--file=latest", "--dry-run")):
            ran = asked(*arguments)
            assert ran.returncode == 0, ran.stderr
            assert warnings(ran) == [f"{BY_HOST}{why}"]
        by_name = asked("db.backup", "--via=container", "--json")
    assert by_name.returncode == 3
    error = json.loads(by_name.stdout)["error"]
    assert (error["code"], error["message"], error["hint"]) == ("route_unavailable", why, helps)


# -- which way, and why ------------------------------------------------------------------


def said(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return [line.split(maxsplit=1)[1] for line in ran.stderr.splitlines() if line.startswith("  route ")]


def test_every_task_that_takes_a_way_to_the_database_says_which_and_why(
    start_box: Callable[..., Box], project: Project, pg: Any
) -> None:
    box = start_box()
    inside = {"DATABASE_URL": box.url()}
    by_url = f"the url leads to it: {box.name}"
    with pg.fresh() as database:
        outside = by_host(pg) | {"DATABASE_URL": database.url}
        not_inside = f"not by a container: no container is reached by {pg.host}:{pg.port}"
        for environ, route, why in (
            (inside, "container", by_url),
            (inside | {"DBTASKS_CONTAINER": box.name}, "container", "named by"),
            (outside, "host", not_inside),
            (outside | {"DBTASKS_VIA": "host"}, "host", "asked for"),
        ):
            for arguments in (
                ("db.backup",),
                ("db.verify", "--file=latest"),
                ("db.restore", "--file=latest", "--yes", "--drop-old"),
            ):
                ran = invoke(project, *arguments, "--json", **environ)
                assert ran.returncode == 0, ran.stderr
                document = json.loads(ran.stdout)
                assert document["route"] == route
                assert document["why"].startswith(why)
                assert said(ran) == [f"{route}: {document['why']}"]
    failed = invoke(project, "db.backup", "--table=nothing", "--json", **inside)
    assert json.loads(failed.stdout)["error"]["code"] == "usage_error"
    assert (json.loads(failed.stdout)["route"], json.loads(failed.stdout)["why"]) == ("container", by_url)


def test_the_host_without_tools_gives_way_to_the_container_that_was_asked_for_too(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box()
    environ = {
        "DATABASE_URL": box.url(),
        "DBTASKS_PG_BIN": str(project.root),
        "DBTASKS_VIA": "host,container",
    }
    ran = invoke(project, "db.backup", "--json", **environ)
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == []
    (way,) = said(ran)
    assert way.startswith(
        f"container: the url leads to it: {box.name}; not by the host: pg_dump was not found in pg_bin"
    )
    read = invoke(project, "db.verify", "--file=latest", **environ)
    assert said(read)[0].startswith(
        f"container: the url leads to it: {box.name}; not by the host: pg_restore"
    )
    # a script needs no tool to be read
    assert invoke(project, "db.backup", "--format=sql", **environ).returncode == 0
    assert said(invoke(project, "db.verify", "--file=latest", **environ)) == ["host: asked for"]
    nowhere = environ | {"DATABASE_URL": "postgresql://postgres@nowhere.invalid/shop"}
    failed = invoke(project, "db.backup", **nowhere)
    assert failed.returncode == 3
    assert (
        "no container is reached by nowhere.invalid:5432; nor by the host: pg_dump was not found in pg_bin"
        in failed.stderr
    )


# -- a container is meant, and is not there or does not run ----------------------------


def test_auto_goes_to_the_host_past_a_stopped_container_and_names_the_command_that_starts_it(
    bound: Callable[..., Any], project: Project, pg: Any
) -> None:
    container = bound(pg.port)
    ran = invoke(project, "db.backup", **by_host(pg))
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == [
        f"{BY_HOST}container {container.name} is created but was never started (docker start {container.name})"
    ]


class Beside:
    """An address of this machine's loopback at which the host's server answers, and a container of that name."""

    def __init__(self, pg: Any, held: ExitStack) -> None:
        self.host = f"127.{'.'.join(str(random.randint(2, 250)) for _ in range(3))}"
        self._pg, self._held = pg, held
        listening = held.enter_context(socket.create_server((self.host, 5432)))
        # a thread in accept() is not woken by close()
        held.callback(listening.shutdown, socket.SHUT_RDWR)
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def url(self, database: Any) -> str:
        return str(database.url).replace(f"@{self._pg.host}:{self._pg.port}/", f"@{self.host}:5432/")

    def _accept(self, listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection((self._pg.host, self._pg.port))
                for end in (near, far):
                    self._held.callback(end.close)
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    @staticmethod
    def _carry(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


def throw_away(container: Any) -> None:
    with suppress(Exception):
        container.unpause()
    container.remove(force=True, v=True)


def pause(container: Any) -> None:
    container.pause()


def stop(container: Any) -> None:
    container.kill()
    container.wait()


def keep_failing(container: Any) -> None:
    """Wait until Docker lets so much time pass before it tries again that a few tasks run meanwhile."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        container.reload()
        if container.attrs["RestartCount"] >= 8 and container.status == "restarting":
            return
        time.sleep(0.1)
    raise AssertionError(container.attrs["State"])


FAILING = {"command": ["sh", "-c", "exit 1"], "restart_policy": {"Name": "always"}}
ASLEEP = {"command": ["sleep", "infinity"]}


@pytest.mark.parametrize(
    ("bring", "options", "condition", "helps"),
    [
        pytest.param(pause, ASLEEP, "is paused", "docker unpause", id="paused"),
        pytest.param(stop, ASLEEP, "has stopped (exited)", "docker start", id="exited"),
        pytest.param(keep_failing, FAILING, "is restarting", "docker logs", id="restarting"),
    ],
)
def test_auto_goes_past_a_container_that_takes_no_commands_with_a_backup_and_not_with_a_restore(
    start_box: Callable[..., Box],
    project: Project,
    pg: Any,
    bring: Callable[[Any], None],
    options: dict[str, Any],
    condition: str,
    helps: str,
) -> None:
    with ExitStack() as held, pg.fresh() as database:
        beside = Beside(pg, held)
        name = beside.host
        environ = by_host(pg) | {"DATABASE_URL": beside.url(database)}
        box = start_box(name=name, publish=False, wait=False, **options)
        held.callback(throw_away, box.container)
        bring(box.container)
        ran = invoke(project, "db.backup", **environ)
        assert ran.returncode == 0, ran.stderr
        assert warnings(ran) == [f"{BY_HOST}container {name} {condition} ({helps} {name})"]
        refused = invoke(project, "db.restore", "--file=latest", "--yes", "--json", **environ)
        by_name = invoke(project, "db.backup", "--via=container", "--json", **environ)
    for refusal, message, hint in (
        (
            refused,
            f"container {name} {condition}, and a restore goes no other way by itself",
            f"{helps} {name}; or --via=host, if the server that answers at {name}:5432 is meant",
        ),
        (by_name, f"container {name} {condition}", f"{helps} {name}"),
    ):
        assert refusal.returncode == 3
        error = json.loads(refusal.stdout)["error"]
        assert (error["code"], error["message"], error["hint"]) == ("container_stopped", message, hint)
        assert warnings(refusal) == []


def test_a_restore_does_not_go_past_a_stopped_container_by_itself(
    bound: Callable[..., Any], project: Project, pg: Any
) -> None:
    with pg.fresh() as database:
        environ = by_host(pg) | {"DATABASE_URL": database.url}
        assert invoke(project, "db.backup", "--via=host", **environ).returncode == 0
        container = bound(pg.port, labels=labels(project))
        ran = invoke(project, "db.restore", "--file=latest", "--yes", "--json", **environ)
        assert ran.returncode == 3
        error = json.loads(ran.stdout)["error"]
        assert error["code"] == "container_stopped"
        assert (
            error["message"]
            == f"container {container.name} is created but was never started, and a restore goes no other way by itself"
        )
        assert error["hint"] == (
            f"docker compose up -d db; or --via=host, if the server that answers at {pg.host}:{pg.port} is meant"
        )
        asked = invoke(project, "db.restore", "--file=latest", "--yes", "--via=host", **environ)
        assert asked.returncode == 0, asked.stderr
        assert warnings(asked) == []


def test_a_restore_by_the_host_shows_in_its_plan_why_not_by_a_container(
    docker_client: Any, project: Project, pg: Any
) -> None:
    with pg.fresh() as database:
        environ = by_host(pg) | {"DATABASE_URL": database.url}
        assert invoke(project, "db.backup", **environ).returncode == 0
        ran = invoke(project, "db.restore", "--file=latest", "--dry-run", **environ)
    why = f"not by a container: no container is reached by {pg.host}:{pg.port}"
    assert f"host: {why}" in ran.stdout
    assert warnings(ran) == [f"warning: by the host's client tools, {why}"]


def test_a_stopped_container_of_another_project_is_not_meant(
    bound: Callable[..., Any], project: Project, pg: Any
) -> None:
    bound(pg.port, labels=labels(project) | {"com.docker.compose.project.working_dir": "/srv/other"})
    ran = invoke(project, "db.backup", **by_host(pg))
    assert warnings(ran) == [f"{BY_HOST}no container is reached by {pg.host}:{pg.port}"]


def test_of_two_stopped_containers_neither_is_guessed_and_the_host_is_taken(
    bound: Callable[..., Any], project: Project, pg: Any
) -> None:
    names = sorted(bound(pg.port).name for _ in range(2))
    ran = invoke(project, "db.backup", **by_host(pg))
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == [
        f"{BY_HOST}none of the containers that could be the database runs: {', '.join(names)}"
        " (docker start NAME, the one that is meant)"
    ]


@pytest.mark.parametrize("how", ["--via=container", "container", "service"])
def test_what_is_asked_for_by_name_is_never_replaced_by_the_host(
    bound: Callable[..., Any], project: Project, pg: Any, how: str
) -> None:
    container = bound(pg.port, labels=labels(project))
    named = {"container": {"DBTASKS_CONTAINER": container.name}, "service": {"DBTASKS_SERVICE": "db"}}
    flags = [how] if how.startswith("--") else []
    ran = invoke(project, "db.backup", *flags, **by_host(pg), **named.get(how, {}))
    assert ran.returncode == 3
    assert f"container {container.name} is created" in ran.stderr
    assert "docker compose up -d db" in ran.stderr


def test_a_name_nothing_has_is_exit_3_and_not_the_host(docker_client: Any, project: Project, pg: Any) -> None:
    ran = invoke(project, "db.backup", **by_host(pg), DBTASKS_CONTAINER="nothing-of-this-name")
    assert ran.returncode == 3
    assert "there is no container nothing-of-this-name" in ran.stderr
    assert "docker compose up -d starts it" in ran.stderr


def test_two_running_containers_are_refused_and_the_host_is_not_taken_instead(
    start_box: Callable[..., Box], project: Project
) -> None:
    both = [start_box(publish=False, labels=labels(project)) for _ in range(2)]
    try:
        names = ", ".join(sorted(box.name for box in both))
        for arguments in (("db.backup",), ("db.backup", "--via=container,host")):
            ran = invoke(project, *arguments, DATABASE_URL="postgresql:///shop")
            assert ran.returncode == 3
            assert f"several containers could be the database: {names}" in ran.stderr
            hint = " or ".join(f"DBTASKS_CONTAINER={box.name}" for box in sorted(both, key=lambda b: b.name))
            assert f"set {hint} in the environment or in .env" in ran.stderr
        chosen = invoke(
            project, "db.backup", DATABASE_URL="postgresql:///shop", DBTASKS_CONTAINER=both[0].name
        )
        assert chosen.returncode == 0, chosen.stderr
    finally:
        for box in both:
            box.container.remove(force=True, v=True)


def test_a_rows_backup_goes_by_the_published_port_and_not_inside(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box(name="rows-box", publish=True)
    ran = invoke(project, "db.backup", "--format=rows", "--json", DATABASE_URL=box.url())
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["route"] == "python"
    # without a url the database is only reached inside, where there is no psycopg2
    ran = invoke(project, "db.backup", "--format=rows", DBTASKS_CONTAINER=box.name)
    assert ran.returncode == 3
    assert f"the database in container {box.name} is only reached in there" in ran.stderr


# -- the words about containers ------------------------------------------------------------


@pytest.mark.parametrize("task", ["db.backup", "db.info"])
def test_a_stopped_container_is_the_cause_where_nothing_answers_at_its_port(
    bound: Callable[..., Any], project: Project, task: str
) -> None:
    container = bound(1, labels=labels(project), command=["true"])
    container.start()
    container.wait()
    url = "postgresql://app@127.0.0.1:1/shop"
    # a wait this long would be cut by the test's own limit
    ran = invoke(project, task, "--json", DATABASE_URL=url, DBTASKS_WAIT="3000")
    said = f"container {container.name} has stopped (exited)"
    if task == "db.info":
        assert any(
            said in text and "docker compose up -d db" in text for text in json.loads(ran.stdout)["problems"]
        )
        return
    assert ran.returncode == 3
    error = json.loads(ran.stdout)["error"]
    assert error["code"] == "container_stopped"
    assert error["message"].startswith(f"{said}, and the server at 127.0.0.1:1 cannot be reached")
    assert error["hint"] == "docker compose up -d db"


def test_container_and_service_that_contradict_each_other_are_exit_2(
    bound: Callable[..., Any], project: Project
) -> None:
    container = bound(1, labels=labels(project))
    project.dotenv("DBTASKS_SERVICE=reports\n")
    for environ in ({}, {"DATABASE_URL": "postgresql:///shop"}):
        ran = invoke(project, "db.backup", DBTASKS_CONTAINER=container.name, **environ)
        assert ran.returncode == 2
        assert (
            f"container {container.name} (DBTASKS_CONTAINER in the environment) is of the service db,"
            " and not of reports (DBTASKS_SERVICE in .env)"
        ) in ran.stderr


def test_a_wrong_port_is_answered_with_the_one_the_projects_database_publishes(
    bound: Callable[..., Any], project: Project
) -> None:
    container = bound(2, labels=labels(project))
    ran = invoke(project, "db.backup", "--via=container", DATABASE_URL="postgresql://app@127.0.0.1:1/shop")
    assert ran.returncode == 3
    near = f"container {container.name} (service db) of this project publishes 2"
    assert f"no container is reached by 127.0.0.1:1; {near}" in ran.stderr
    assert "postgresql:///shop" in ran.stderr


def test_a_list_of_ways_goes_past_a_stopped_container_with_a_backup_and_not_with_a_restore_or_a_name(
    bound: Callable[..., Any], project: Project, pg: Any
) -> None:
    container = bound(pg.port)
    listed = "--via=container,host"
    ran = invoke(project, "db.backup", listed, **by_host(pg))
    assert ran.returncode == 0, ran.stderr
    assert warnings(ran) == []
    ran = invoke(project, "db.restore", listed, "--file=latest", "--yes", **by_host(pg))
    assert ran.returncode == 3
    assert "and a restore goes no other way by itself" in ran.stderr
    ran = invoke(project, "db.backup", listed, DBTASKS_CONTAINER=container.name, **by_host(pg))
    assert ran.returncode == 3
    assert f"docker start {container.name}" in ran.stderr
