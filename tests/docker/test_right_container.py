"""Never another project's database: real containers that look alike, backed up and restored."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, run
from tests.docker.test_states import Between
from tests.fix_docker import PASSWORD, Box

pytestmark = pytest.mark.long

BY_SERVICE = "postgresql://postgres@db/shop"
WHO = "SELECT string_agg(name, ',') FROM public.who"


@pytest.fixture
def made(start_box: Callable[..., Box], docker_client: Any, project: Project) -> Iterator[Callable[..., Box]]:
    """Start a database that knows whose it is, on a network where it is called `db`."""
    project.mount()
    networks, boxes = [], []

    def start(whose: str, **start_labels: str) -> Box:
        network = docker_client.networks.create(f"dbtasks-test-{whose}-{project.root.name}")
        networks.append(network)
        box = start_box(publish=False, labels=start_labels)
        boxes.append(box)
        network.connect(box.container, aliases=["db"])
        box.sql(f"CREATE TABLE public.who AS SELECT '{whose}'::text AS name")
        return box

    yield start
    for box in boxes:
        box.container.remove(force=True, v=True)
    for network in networks:
        network.remove()


@pytest.fixture
def foreign(made: Callable[..., Box], project: Project, tmp_path: Path) -> Box:
    """Another project's database, which is called `db` as well."""
    start = "com.docker.compose."
    another = {f"{start}project": "blog", f"{start}project.working_dir": str(tmp_path / "blog")}
    return made("foreign", **(labels(project) | another))


def tables(box: Box) -> set[str]:
    return set(box.sql("SELECT string_agg(relname, ',') FROM pg_class WHERE relkind = 'r' AND relnamespace"
                       " = 'public'::regnamespace").split(","))  # fmt: skip


def test_a_service_name_leads_to_no_other_projects_database(foreign: Box, project: Project) -> None:
    backup = run(project, "db.backup", "--via=container", DATABASE_URL=BY_SERVICE)
    assert backup.returncode == 3, backup.stdout
    assert "no container is reached by db:5432" in backup.stderr
    # whose backup could be restored into it: one of a database of the same name
    by_name = f"postgresql://postgres@{foreign.name}/shop"
    archive = json.loads(run(project, "db.backup", "--json", DATABASE_URL=by_name).stdout)["backup"]["path"]
    foreign.sql("CREATE TABLE public.written_since AS SELECT 1 AS a")
    for via in ((), ("--via=container",)):
        restored = run(project, "db.restore", f"--file={archive}", "--yes", *via, DATABASE_URL=BY_SERVICE)
        assert restored.returncode == 3, restored.stdout
    assert tables(foreign) == {"who", "written_since"}


def test_with_both_running_this_projects_own_is_backed_up_and_restored(
    foreign: Box, made: Callable[..., Box], project: Project
) -> None:
    own = made("own", **labels(project))
    backup = run(project, "db.backup", "--json", DATABASE_URL=BY_SERVICE)
    assert backup.returncode == 0, backup.stderr
    assert json.loads(backup.stdout)["warnings"] == []
    for box in (own, foreign):
        box.sql("CREATE TABLE public.written_since AS SELECT 1 AS a")
    restored = run(project, "db.restore", "--file=latest", "--yes", DATABASE_URL=BY_SERVICE)
    assert restored.returncode == 0, restored.stderr
    assert (own.sql(WHO), tables(own)) == ("own", {"who"})
    assert (foreign.sql(WHO), tables(foreign)) == ("foreign", {"who", "written_since"})


def test_with_its_own_stopped_the_other_projects_is_neither_backed_up_nor_restored(
    foreign: Box, made: Callable[..., Box], project: Project
) -> None:
    own = made("own", **labels(project))
    assert run(project, "db.backup", DATABASE_URL=BY_SERVICE).returncode == 0
    own.container.stop(timeout=5)
    foreign.sql("CREATE TABLE public.written_since AS SELECT 1 AS a")
    backup = run(project, "db.backup", DATABASE_URL=BY_SERVICE)
    # on to the host, which has no tools here: the warning is held, not what comes of it
    assert backup.returncode == 3
    assert (
        f"by the host's client tools, not by a container: container {own.name} has stopped" in backup.stderr
    )
    restored = run(project, "db.restore", "--file=latest", "--yes", DATABASE_URL=BY_SERVICE)
    assert restored.returncode == 3
    assert (
        f"container {own.name} has stopped (exited), and a restore goes no other way by itself"
        in restored.stderr
    )
    assert tables(foreign) == {"who", "written_since"}
    assert len(list((project.root / "backups" / "manual").glob("*.dump"))) == 1


def test_a_project_reached_by_a_symbolic_link_finds_its_container(
    made: Callable[..., Box], project: Project, tmp_path: Path
) -> None:
    link = tmp_path / "by-link"
    link.symlink_to(project.root)
    own = made("own", **(labels(project) | {"com.docker.compose.project.working_dir": str(link)}))
    for url in ({"DATABASE_URL": BY_SERVICE}, {"DATABASE_URL": "postgresql:///shop"}, {}):
        backup = run(project, "db.backup", "--json", **url)
        assert backup.returncode == 0, backup.stderr
        assert json.loads(backup.stdout)["backup"]["route"] == "container"
    assert own.sql(WHO) == "own"


# -- one that is just being started --------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("leads", [False, True])
def test_a_container_that_was_waited_for_has_to_be_the_urls_too(
    docker_client: Any, pg_image: str, project: Project, leads: bool
) -> None:
    project.mount()
    right, wrong = free_port(), free_port()
    container = docker_client.containers.create(
        pg_image,
        ports={"5432/tcp": ("127.0.0.1", right)},
        environment={"POSTGRES_USER": "postgres", "POSTGRES_PASSWORD": PASSWORD, "POSTGRES_DB": "shop"},
    )
    try:
        starter = threading.Timer(2, container.start)
        starter.start()
        backup = run(
            project,
            "db.backup",
            "--wait=60",
            DATABASE_URL=f"postgresql://postgres@localhost:{right if leads else wrong}/shop",
            DBTASKS_CONTAINER=container.name,
        )
        starter.join()
    finally:
        container.remove(force=True, v=True)
    listed = json.loads(run(project, "db.list", "--all", "--json", DATABASE_URL=BY_SERVICE).stdout)
    if leads:
        assert backup.returncode == 0, backup.stderr
        return
    assert backup.returncode == 3
    assert f"localhost:{wrong}, which does not lead to container {container.name}" in backup.stderr
    assert (listed["backups"], listed["others"]) == ([], [])


# -- an engine behind tcp -------------------------------------------------------------


class Tunnel(Between):
    """Offers the engine at a port of the loopback."""

    def _listen(self) -> str:
        self._listening = socket.create_server(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{self._listening.getsockname()[1]}"


@pytest.fixture
def by_tcp(docker_client: Any) -> Iterator[str]:
    tunnel = Tunnel(docker_client.api.get_adapter(docker_client.api.base_url).socket_path)
    yield tunnel.url
    tunnel.cut()


def test_an_engine_behind_tcp_on_the_loopback_is_this_machines(
    start_box: Callable[..., Box], project: Project, by_tcp: str
) -> None:
    project.mount()
    box = start_box()
    backup = run(
        project, "db.backup", "--via=container", "--json", DATABASE_URL=box.url(), DOCKER_HOST=by_tcp
    )
    assert backup.returncode == 0, backup.stderr
    assert json.loads(backup.stdout)["backup"]["route"] == "container"
