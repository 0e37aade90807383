"""Which container is the database's: a pure choice, then what Docker really says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import RouteUnavailable
from dbtasks.models import PostgresTarget
from dbtasks.runners.docker import (
    Container,
    Wanted,
    choose,
    docker_client,
    list_containers,
    project_name,
    require_running,
)
from tests.conftest import Project
from tests.fix_docker import Box

ROOT = Path("/srv/shop")
DB = Container(
    id="a" * 64,
    name="shop-db-1",
    image="postgres:16",
    status="running",
    labels={
        "com.docker.compose.project": "shop",
        "com.docker.compose.service": "db",
        "com.docker.compose.project.working_dir": "/srv/shop",
    },
    environment={"POSTGRES_USER": "app", "POSTGRES_DB": "shop"},
    exposed=frozenset({5432}),
    published={5432: (("0.0.0.0", 5433),)},
    addresses=frozenset({"172.18.0.2"}),
    aliases=frozenset({"db", "shop-db-1"}),
)
PGADMIN = replace(
    DB,
    id="b" * 64,
    name="postgres-admin",
    exposed=frozenset({80}),
    published={80: (("", 5050),)},
    environment={},
)
OTHER = replace(
    DB,
    id="c" * 64,
    name="blog-db-1",
    labels={
        **DB.labels,
        "com.docker.compose.project": "blog",
        "com.docker.compose.project.working_dir": "/srv/blog",
    },
    published={5432: (("127.0.0.1", 5432),)},
    addresses=frozenset({"172.19.0.2"}),
    aliases=frozenset({"db", "blog-db-1"}),
)


def wanted(host: str = "localhost", port: int = 5433, **named: str) -> Wanted:
    return Wanted(PostgresTarget("shop", host=host, port=port), ROOT, **named)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("localhost", 5433),
        ("127.0.0.1", 5433),
        ("::1", 5433),
        ("shop-db-1", 5432),
        ("172.18.0.2", 5432),
        ("", 5432),
    ],
)
def test_a_container_is_taken_when_the_url_leads_to_it(host: str, port: int):
    assert choose([PGADMIN, OTHER, DB], wanted(host, port)) is DB


@pytest.mark.parametrize(
    ("host", "port"),
    [("localhost", 5434), ("db.prod.example", 5432), ("shop-db-1", 5433), ("172.18.0.2", 5433)],
)
def test_no_container_is_taken_when_the_url_leads_elsewhere(host: str, port: int):
    assert choose([PGADMIN, OTHER, DB], wanted(host, port)) is None


def test_two_candidates_are_refused_and_never_guessed_between():
    with pytest.raises(
        RouteUnavailable, match="several containers could be the database: blog-db-1, shop-db-1"
    ):
        choose([OTHER, DB], wanted("db", 5432))
    twin = replace(DB, id="d" * 64, name="shop-db-2")
    with pytest.raises(RouteUnavailable, match="several"):
        choose([DB, twin], wanted("", 5432))


def test_of_several_only_the_running_one_is_meant():
    stopped = replace(DB, id="d" * 64, name="shop-db-old", status="exited")
    assert choose([stopped, DB], wanted("", 5432)) is DB
    assert choose([stopped], wanted("", 5432)) is stopped


def test_without_a_host_only_a_container_of_this_project_is_meant():
    assert choose([OTHER], wanted("", 5432)) is None
    assert choose([OTHER, DB], Wanted(None, ROOT)) is DB
    by_name = replace(DB, labels={"com.docker.compose.project": "shop", "com.docker.compose.service": "db"})
    assert choose([by_name], wanted("", 5432)) is by_name


def test_pgadmin_is_never_taken_for_the_database():
    assert choose([PGADMIN], wanted("", 5432)) is None


def test_a_container_made_for_one_command_is_not_the_database():
    oneoff = replace(DB, labels={**DB.labels, "com.docker.compose.oneoff": "True"})
    assert choose([oneoff], wanted()) is None


@pytest.mark.parametrize("name", ["shop-db-1", "a" * 64, "a" * 12])
def test_a_named_container_is_found_by_name_and_id(name: str):
    assert choose([OTHER, DB], wanted(container=name)) is DB


def test_a_named_container_that_is_not_there_is_refused_with_help():
    with pytest.raises(RouteUnavailable, match="there is no container shopdb") as caught:
        choose([DB], wanted(container="shopdb"))
    assert "docker ps" in caught.value.hint


def test_a_named_container_the_url_does_not_lead_to_is_refused():
    with pytest.raises(RouteUnavailable, match=r"localhost:5433, which does not lead to container blog-db-1"):
        choose([OTHER, DB], wanted(container="blog-db-1"))


def test_a_service_is_looked_for_in_this_project_only():
    assert choose([OTHER, DB], wanted("", 5432, service="db")) is DB
    assert choose([OTHER, DB], wanted("localhost", 5432, service="db", project="blog")) is OTHER
    with pytest.raises(RouteUnavailable, match="there is no service db"):
        choose([OTHER], wanted("", 5432, service="db"))


def test_compose_names_a_project_after_its_folder():
    assert project_name(Path("/srv/My Shop.2")) == "myshop2"


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        ("exited", "docker compose up -d db"),
        ("paused", "docker unpause shop-db-1"),
        ("created", "docker compose up -d db"),
    ],
)
def test_each_state_that_takes_no_commands_is_named_with_the_command_that_helps(status: str, hint: str):
    with pytest.raises(RouteUnavailable, match=f"shop-db-1 is {status}") as caught:
        require_running(replace(DB, status=status))
    assert caught.value.hint == hint


# -- real ones ---------------------------------------------------------------------


def test_docker_is_asked_for_what_discovery_needs(start_box: Callable[..., Box]):
    box = start_box(labels={"com.docker.compose.service": "db", "com.docker.compose.project": "x"})
    with docker_client() as client:
        (found,) = [c for c in list_containers(client) if c.name == box.name]
    assert found.status == "running"
    assert found.ports == (("127.0.0.1", box.port),)
    assert (found.service, found.project) == ("db", "x")
    assert found.speaks_postgres
    assert dict(found.environment) == {"POSTGRES_USER": "postgres", "POSTGRES_DB": "shop"}
    assert box.password not in str(found)


def invoke(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    project.mount()
    return project.invoke(*arguments, **environ)


def test_a_stopped_container_asked_for_by_name_is_refused_with_the_command_that_starts_it(
    start_box: Callable[..., Box], project: Project
):
    box = start_box()
    url = box.url()
    box.container.stop(timeout=5)
    ran = invoke(project, "db.backup", DATABASE_URL=url, DBTASKS_CONTAINER=box.name)
    assert ran.returncode == 3
    assert f"container {box.name} is exited" in ran.stderr
    assert f"docker start {box.name}" in ran.stderr


def test_auto_falls_to_the_host_with_a_warning_that_says_why(docker_client: Any, project: Project, pg: Any):
    ran = invoke(project, "db.backup", DATABASE_URL=pg.url(), DBTASKS_PG_BIN=str(pg.bin))
    assert ran.returncode == 0, ran.stderr
    assert "warning: by the host's client tools, not by a container: no container is reached by" in ran.stderr
    asked = invoke(project, "db.backup", "--via=host", DATABASE_URL=pg.url(), DBTASKS_PG_BIN=str(pg.bin))
    assert "warning" not in asked.stderr


def test_no_docker_at_all_is_said_when_the_container_route_is_asked_for(project: Project):
    url = "postgresql://app@localhost/shop"
    ran = invoke(
        project, "db.backup", "--via=container", DATABASE_URL=url, DOCKER_HOST="unix:///nowhere/docker.sock"
    )
    assert ran.returncode == 3
    assert "Docker is not running here" in ran.stderr
    assert "--via=host" in ran.stderr
