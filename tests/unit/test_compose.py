"""What stands around the database, read off containers' labels: no compose file, no Docker."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dbtasks.errors import RouteUnavailable
from dbtasks.runners import compose
from dbtasks.runners.compose import (
    DockerOnce,
    PgAdmin,
    Project,
    Service,
    find_pgadmin,
    project_of,
    services_of,
    started_at,
)
from dbtasks.runners.discovery import Container, describe

ROOT = Path("/srv/Shop")
SHOP = Project("shop", "/srv/Shop")


def labels(project: str, service: str, folder: str = "/srv/Shop") -> dict[str, str]:
    start = "com.docker.compose."
    known = {f"{start}project": project, f"{start}service": service}
    return {**known, f"{start}project.working_dir": folder} if folder else known


DB = Container(
    id="a" * 64, name="shop-db-1", image="postgres:16", status="running", labels=labels("shop", "db")
)
WEB = replace(
    DB, id="b" * 64, name="shop-web-1", image="shop-web", status="exited", labels=labels("shop", "web")
)
ADMIN = replace(
    DB,
    id="c" * 64,
    name="shop-pgadmin-1",
    image="docker.io/dpage/pgadmin4:8.12@sha256:" + "0" * 64,
    labels=labels("shop", "pgadmin"),
    published={443: (("127.0.0.1", 8443),), 80: (("0.0.0.0", 5050), ("::", 5050))},
)
BLOG = replace(DB, id="d" * 64, name="blog-db-1", labels=labels("blog", "db", "/srv/blog"))


def test_the_services_of_a_project_are_its_containers_by_service() -> None:
    sick = replace(DB, health="unhealthy")
    oneoff = replace(DB, name="shop-db-run-1", labels={**DB.labels, "com.docker.compose.oneoff": "True"})
    assert services_of([WEB, sick, BLOG, oneoff], SHOP) == (
        Service("db", "shop-db-1", "running", "unhealthy"),
        Service("web", "shop-web-1", "exited"),
    )
    assert services_of([WEB, DB, replace(DB, labels={})], Project()) == ()


def test_the_project_is_the_one_named_or_the_databases_or_that_of_the_folder() -> None:
    assert project_of([BLOG, WEB], ROOT, named="other") == Project("other")
    assert project_of([BLOG, WEB], ROOT, database=BLOG) == Project("blog", "/srv/blog")
    assert project_of([BLOG, WEB], ROOT, named="blog", database=BLOG) == Project("blog", "/srv/blog")
    assert project_of([BLOG, WEB], ROOT, database=replace(DB, labels={})) == SHOP
    assert project_of([BLOG], ROOT) == Project()


def test_a_project_of_the_same_name_in_another_folder_is_another() -> None:
    elsewhere = replace(DB, labels=labels("shop", "db", "/home/me/shop"))
    assert project_of([elsewhere], ROOT) == Project()
    assert services_of([elsewhere, DB], SHOP) == (Service("db", "shop-db-1", "running"),)
    assert project_of([replace(DB, labels=labels("shop", "db", ""))], ROOT) == SHOP


@pytest.mark.parametrize(
    "image",
    ["dpage/pgadmin4", "dpage/pgadmin4:latest", "registry:5000/x/pgadmin4:8", "pgadmin4@sha256:" + "0" * 64],
)
def test_pgadmin_is_told_by_its_image(image: str) -> None:
    found = find_pgadmin([DB, replace(ADMIN, image=image)], SHOP)
    assert found == PgAdmin("shop-pgadmin-1", "running", "http://localhost:5050")
    assert found.enabled


@pytest.mark.parametrize("image", ["postgres:16", "me/pgadmin4-backup:1", "sha256:" + "0" * 64, ""])
def test_nothing_else_is_taken_for_pgadmin(image: str) -> None:
    assert find_pgadmin([replace(ADMIN, image=image)], SHOP) is None


def test_another_projects_pgadmin_is_none_of_ours_and_one_of_no_project_is_anybodys() -> None:
    others = replace(ADMIN, labels=labels("blog", "pgadmin", "/srv/blog"))
    alone = replace(ADMIN, name="pgadmin", labels={})
    assert find_pgadmin([others], SHOP) is None
    assert find_pgadmin([others, alone], SHOP) == PgAdmin("pgadmin", "running", "http://localhost:5050")
    assert find_pgadmin([alone, ADMIN], SHOP) == PgAdmin("shop-pgadmin-1", "running", "http://localhost:5050")


@pytest.mark.parametrize(
    ("published", "url"),
    [
        ({}, ""),
        ({80: (("", 5050),)}, "http://localhost:5050"),
        ({443: (("127.0.0.1", 8443),)}, "https://localhost:8443"),
        ({5050: (("10.0.0.7", 5050),)}, "http://10.0.0.7:5050"),
        ({80: (("fd00::7", 5050),)}, "http://[fd00::7]:5050"),
    ],
)
def test_pgadmins_address_is_the_port_it_publishes(
    published: dict[int, tuple[tuple[str, int], ...]], url: str
) -> None:
    found = find_pgadmin([replace(ADMIN, published=published)], SHOP)
    assert found is not None
    assert found.url == url


def test_a_pgadmin_that_does_not_run_is_not_enabled_and_has_no_address() -> None:
    found = find_pgadmin([replace(ADMIN, status="exited")], SHOP)
    assert found == PgAdmin("shop-pgadmin-1", "exited", helps="docker compose up -d pgadmin")
    assert not found.enabled


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-02-24T15:03:20.123456789Z", datetime(2026, 2, 24, 15, 3, 20, 123456, UTC)),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_container_says_when_it_was_started(text: str, moment: datetime | None) -> None:
    assert started_at(replace(DB, started_at=text)) == moment


def test_docker_that_does_not_answer_is_asked_once_and_refuses_everybody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    asked = []
    real = compose.docker_client
    monkeypatch.setattr(compose, "docker_client", lambda environment: asked.append(1) or real(environment))
    with DockerOnce() as docker:
        assert asked == []
        for _ in range(2):
            with pytest.raises(RouteUnavailable, match="Docker is not running here"):
                _ = docker.containers
        with pytest.raises(RouteUnavailable, match="Docker is not running here"):
            _ = docker.client
    assert asked == [1]


@pytest.mark.parametrize(
    ("pgdata", "mounts", "kept"),
    [
        ("", [("volume", "/var/lib/postgresql/data")], True),
        ("", [("bind", "/var/lib/postgresql")], True),
        ("", [("volume", "/backups"), ("bind", "/docker-entrypoint-initdb.d")], False),
        ("", [("tmpfs", "/var/lib/postgresql/data")], False),
        ("", [("volume", "/var/lib/postgresql/data/pgdata")], False),
        ("", [], False),
        ("/var/lib/postgresql/18/docker", [("volume", "/var/lib/postgresql")], True),
        # a volume where older images had their data holds nothing of an image from 18 on
        ("/var/lib/postgresql/18/docker", [("volume", "/var/lib/postgresql/data")], False),
        ("/var/lib/postgresql/data2", [("volume", "/var/lib/postgresql/data")], False),
    ],
)
def test_data_is_kept_where_it_lies_on_a_volume(
    pgdata: str, mounts: list[tuple[str, str]], kept: bool
) -> None:
    container = describe(
        {
            "Id": "a" * 64,
            "Config": {"Env": [f"PGDATA={pgdata}"]},
            "Mounts": [{"Type": kind, "Destination": place, "Name": "v"} for kind, place in mounts],
        }
    )
    assert container.keeps_data is kept
    assert container.data_folder == (pgdata or "/var/lib/postgresql/data")


def test_names_in_commands_are_quoted() -> None:
    odd = replace(DB, status="exited", labels=labels("shop", "db; rm -rf x"))
    assert odd.helps == "docker compose up -d 'db; rm -rf x'"
    assert replace(odd, labels={}, name="$(x)").helps == "docker start '$(x)'"
    assert replace(odd, status="paused", name="a b").helps == "docker unpause 'a b'"
