"""No url anywhere: the database is the one in this project's container, found by its labels."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from dbtasks.engines.configured import target_in
from dbtasks.errors import RouteRefused, SettingsError
from dbtasks.runners.discovery import Container
from tests.conftest import TASKS_PY, Project
from tests.docker.test_container_route import FILL, labels, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

LOADED = """
import sys, json
import dbtasks
settings = dbtasks.load_settings(sys.argv[1])
print(json.dumps([settings.target and settings.target.address, "docker" in sys.modules]))
"""


@pytest.fixture
def unpublished(start_box: Callable[..., Box], project: Project) -> Box:
    project.mount()
    box = start_box(publish=False, labels=labels(project), user="app", database="shop")
    box.sql(FILL)
    return box


def loaded(project: Project, **environ: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-c", LOADED, str(project.root)],
        env=project.environ(**environ),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout)


def test_a_project_without_a_url_has_the_database_of_its_container(unpublished: Box, project: Project):
    made = run(project, "db.backup", "--json")
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    backup = document["backup"]
    assert (backup["route"], backup["complete"], document["warnings"]) == ("container", True, [])
    assert {t["name"]: t["rows"] for t in backup["tables"]}["public.item"] == 1000
    unpublished.sql("DELETE FROM public.item WHERE id > 10")
    restored = run(project, "db.restore", "--file=latest", "--yes", "--json")
    assert restored.returncode == 0, restored.stderr
    assert unpublished.sql("SELECT count(*) FROM public.item") == "1000"
    listed = json.loads(run(project, "db.list", "--json").stdout)
    assert [b["id"] for b in listed["backups"] if b["type"] == "manual"] == [backup["id"]]


def test_the_variables_a_compose_file_shares_with_its_image_lead_to_that_container(
    unpublished: Box, project: Project
):
    project.dotenv("POSTGRES_USER=app\nPOSTGRES_PASSWORD=unasked\nPOSTGRES_DB=shop\n")
    made = run(project, "db.backup", "--json")
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    assert (document["backup"]["route"], document["warnings"]) == ("container", [])


def test_the_containers_name_is_the_source_of_the_url(unpublished: Box, project: Project):
    told = json.loads(run(project, "db.info", "--json").stdout)
    (url,) = [s for s in told["settings"] if s["name"] == "url"]
    assert (url["value"], url["source"]) == ("app@db:5432/shop", f"container {unpublished.name}")


def test_a_stopped_container_is_refused_with_the_command_that_starts_it(unpublished: Box, project: Project):
    assert run(project, "db.backup").returncode == 0
    unpublished.container.stop(timeout=5)
    ran = run(project, "db.backup")
    assert ran.returncode == 3
    assert f"container {unpublished.name} has stopped (exited)" in ran.stderr
    assert "docker compose up -d db" in ran.stderr
    # what is there can still be looked at: no database is needed for it
    listed = json.loads(run(project, "db.list", "--json").stdout)
    assert len(listed["backups"]) == 1


def test_a_backup_can_be_verified_by_the_hosts_tools_while_its_container_is_stopped(
    unpublished: Box, project: Project, pg: Any
):
    assert run(project, "db.backup").returncode == 0
    unpublished.container.stop(timeout=5)
    ran = project.invoke("db.verify", DBTASKS_PG_BIN=str(pg.bin))
    assert ran.returncode == 0, ran.stderr
    assert (
        f"by the host's client tools, not by a container: container {unpublished.name} has stopped (exited)"
        " (docker compose up -d db)"
    ) in ran.stderr


def test_two_candidates_are_refused_with_both_names(
    unpublished: Box, start_box: Callable[..., Box], project: Project
):
    second = start_box(publish=False, labels=labels(project, "other"))
    try:
        ran = run(project, "db.backup")
        assert ran.returncode == 3
        names = ", ".join(sorted((unpublished.name, second.name)))
        assert f"several containers could be the database: {names}" in ran.stderr
        chosen = run(project, "db.backup", "--json", DBTASKS_SERVICE="db")
        assert chosen.returncode == 0, chosen.stderr
        assert json.loads(chosen.stdout)["backup"]["database"]["name"] == "shop"
    finally:
        second.container.remove(force=True, v=True)


def test_the_host_cannot_be_asked_for_without_a_url(unpublished: Box, project: Project):
    ran = run(project, "db.backup", "--via=host")
    assert ran.returncode == 2
    assert "no database is configured" in ran.stderr


@pytest.mark.parametrize("docker", ["there", "not there"])
def test_with_neither_url_nor_container_the_message_is_about_the_url(
    docker_client: Any, project: Project, docker: str
):
    project.mount()
    environ = {"DOCKER_HOST": "unix:///nowhere/docker.sock"} if docker == "not there" else {}
    ran = run(project, "db.backup", **environ)
    assert ran.returncode == 2
    assert "no database is configured" in ran.stderr
    assert "DATABASE_URL=sqlite:///app.db" in ran.stderr
    why = {
        "there": "none is this project's database",
        "not there": "Docker is not running here: nothing answers at DOCKER_HOST=unix:///nowhere/docker.sock",
    }
    assert f"a container was looked for as well: {why[docker]}" in ran.stderr
    assert run(project, "db.list", **environ).returncode == 0


def test_docker_is_not_even_loaded_where_a_url_is_configured(unpublished: Box, project: Project):
    assert loaded(project, DATABASE_URL="postgresql://localhost/other") == ["localhost:5432/other", False]
    assert loaded(project, POSTGRES_DB="other", POSTGRES_USER="me") == ["me@local socket:5432/other", False]
    assert loaded(project) == ["app@db:5432/shop", True]


def test_invoke_list_asks_no_docker(unpublished: Box, project: Project):
    project.mount(
        f"{TASKS_PY}\nimport atexit, sys\natexit.register(lambda: print('docker' in sys.modules))\n"
    )
    ran = project.invoke("--list")
    assert ran.stdout.splitlines()[-1] == "False"


def test_a_second_mount_takes_the_projects_container_only_by_name(unpublished: Box, project: Project):
    mount = 'Collection.from_module(dbtasks, name="db", config={"dbtasks": {"env_prefix": "ANALYTICS_"}})'
    project.mount(
        f"from invoke import Collection\nimport dbtasks\nns = Collection()\nns.add_collection({mount})\n"
    )
    refused = run(project, "db.backup")
    assert refused.returncode == 2
    assert "ANALYTICS_URL" in refused.stderr
    assert run(project, "db.backup", ANALYTICS_SERVICE="db").returncode == 0


def test_the_route_says_whether_the_container_was_found_or_named(unpublished: Box, project: Project):
    assert run(project, "db.backup").returncode == 0
    asked = ("db.restore", "--file=latest", "--dry-run")
    assert f"found by its labels: {unpublished.name}" in run(project, *asked).stdout
    named = run(project, *asked, DBTASKS_CONTAINER=unpublished.name)
    assert f"named by DBTASKS_CONTAINER in the environment: {unpublished.name}" in named.stdout


@pytest.mark.parametrize(
    ("environment", "address"),
    [
        ({}, "postgres@shop-db-1:5432/postgres"),
        ({"POSTGRES_USER": "app"}, "app@shop-db-1:5432/app"),
        ({"POSTGRES_USER": "app", "POSTGRES_DB": "shop"}, "app@shop-db-1:5432/shop"),
        ({"POSTGRES_DB": "shop"}, "postgres@shop-db-1:5432/shop"),
    ],
)
def test_user_and_database_are_those_the_image_was_told(environment: dict[str, str], address: str):
    target = target_in(Container("a" * 64, "shop-db-1", "postgres:16", "running", environment=environment))
    assert target.address == address
    assert target.password is None


def test_from_python_the_refusal_is_an_error_and_loading_is_not(project: Project, docker_client: Any):
    import dbtasks

    settings = dbtasks.load_settings(project.root, container="nothing-of-this-name")
    with pytest.raises(RouteRefused, match="there is no container nothing-of-this-name"):
        settings.require_target()
    with pytest.raises(SettingsError, match="no database is configured"):
        dbtasks.load_settings(project.root).require_target()
