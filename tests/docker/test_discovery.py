"""Which container is the database's: a pure choice, then what Docker really says."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import RouteUnavailable, SettingsError
from dbtasks.models import PostgresTarget
from dbtasks.runners.discovery import Container, Wanted, choose, nearby, project_name, require_running
from dbtasks.runners.docker import list_containers
from dbtasks.runners.docker_door import docker_client
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
    published={5432: (("0.0.0.0", 5433), ("::", 5433))},
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
        ("db", 5432),
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
    twin = replace(DB, id="d" * 64, name="shop-db-2")
    for host in ("db", ""):
        with pytest.raises(
            RouteUnavailable, match="several containers could be the database: shop-db-1, shop-db-2"
        ):
            choose([DB, twin, OTHER], wanted(host, 5432))


def test_another_projects_container_of_the_same_service_name_is_never_meant():
    assert choose([OTHER], wanted("db", 5432)) is None
    assert choose([OTHER, DB], wanted("db", 5432)) is DB
    assert choose([OTHER, DB], wanted("db", 5432, project="blog")) is OTHER
    stopped = replace(DB, status="exited")
    assert choose([OTHER, stopped], wanted("db", 5432)) is stopped
    with pytest.raises(
        RouteUnavailable, match="db:5432, which does not lead to container blog-db-1"
    ) as caught:
        choose([OTHER, DB], wanted("db", 5432, container="blog-db-1"))
    assert caught.value.hint.endswith("set DBTASKS_COMPOSE_PROJECT=blog for the other's")
    assert choose([OTHER, DB], wanted("db", 5432, container="blog-db-1", project="blog")) is OTHER


def test_the_ports_of_another_machines_engine_are_said_to_be_there():
    far = replace(wanted(), engine_host="far.example")
    assert choose([DB], far) is None
    assert (
        nearby([DB], far) == "container shop-db-1 (service db) of this project publishes 5433 on far.example"
    )
    there = replace(wanted("far.example"), engine_host="far.example")
    assert choose([DB], there) is DB


def test_another_project_that_took_the_port_of_this_ones_stopped_container_is_not_meant():
    stopped = replace(DB, status="exited")
    taken = replace(OTHER, published={5432: (("127.0.0.1", 5433),)})
    assert choose([taken, stopped], wanted()) is stopped
    assert choose([taken], wanted()) is taken


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


def hint_of(containers: list[Container], meant: Wanted) -> str:
    with pytest.raises(RouteUnavailable) as caught:
        choose(containers, meant)
    return caught.value.hint


def test_several_are_told_apart_by_settings_as_they_are_typed():
    reports = replace(
        DB, id="d" * 64, name="shop-reports-1", labels={**DB.labels, "com.docker.compose.service": "reports"}
    )
    assert hint_of([reports, DB], wanted("", 5432)) == (
        "set DBTASKS_SERVICE=db or DBTASKS_SERVICE=reports in the environment or in .env"
    )
    twin = replace(DB, id="e" * 64, name="shop-db-2")
    assert hint_of([twin, DB], wanted("", 5432, prefix="ANALYTICS_")) == (
        "set ANALYTICS_CONTAINER=shop-db-1 or ANALYTICS_CONTAINER=shop-db-2 in the environment or in .env"
    )


def test_a_service_that_is_not_there_is_answered_with_those_that_are():
    admin = replace(PGADMIN, labels={**DB.labels, "com.docker.compose.service": "pgadmin"})
    assert hint_of([OTHER, admin, DB], wanted("", 5432, service="nope")) == (
        "the services of this project are db, pgadmin; set DBTASKS_SERVICE=db"
    )


def test_a_container_that_is_not_there_is_answered_with_the_projects_own():
    assert "this project's database is in container shop-db-1 (service db)" in hint_of(
        [DB], wanted(container="shopdb")
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "db", "shop-db-1"])
def test_a_url_just_past_the_projects_database_is_told_where_that_is(host: str):
    meant = wanted(host, 5434)
    assert choose([OTHER, DB], meant) is None
    assert nearby([OTHER, DB], meant) == "container shop-db-1 (service db) of this project publishes 5433"
    inside = replace(DB, published={})
    assert nearby([inside], meant) == "container shop-db-1 (service db) of this project publishes no port"
    assert nearby([DB], wanted("db.prod.example", 5432)) == ""
    assert nearby([OTHER], meant) == ""


def test_container_and_service_that_name_two_different_ones_are_refused_with_where_each_was_set():
    sources = {"container": "DBTASKS_CONTAINER in .env", "service": "service in invoke.yaml"}
    meant = Wanted(None, ROOT, "shop-db-1", "reports", sources=sources)
    with pytest.raises(SettingsError) as caught:
        choose([OTHER, DB], meant)
    assert caught.value.exit_code == 2
    assert caught.value.message == (
        "container shop-db-1 (DBTASKS_CONTAINER in .env) is of the service db,"
        " and not of reports (service in invoke.yaml)"
    )
    assert choose([OTHER, DB], Wanted(None, ROOT, "shop-db-1", "db")) is DB


def test_compose_names_a_project_after_its_folder():
    assert project_name(Path("/srv/My Shop.2")) == "myshop2"


@pytest.mark.parametrize(
    ("told", "hint"),
    [
        ("has stopped (exited)", "docker compose up -d db"),
        ("is paused", "docker unpause shop-db-1"),
        ("is created but was never started", "docker compose up -d db"),
    ],
)
def test_each_state_that_takes_no_commands_is_named_with_the_command_that_helps(told: str, hint: str):
    status = next(word for word in ("exited", "paused", "created") if word in told)
    with pytest.raises(RouteUnavailable) as caught:
        require_running(replace(DB, status=status))
    assert caught.value.message == f"container shop-db-1 {told}"
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
    assert f"container {box.name} has stopped (exited)" in ran.stderr
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
