"""Whether a url leads to a container, address by address, and whose project it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.models import PostgresTarget
from dbtasks.runners.discovery import Container, Wanted
from dbtasks.runners.docker_door import engine_host
from dbtasks.runners.reach import machine_of, names, of_project, reaches

ROOT = Path("/srv/shop")
LABELS = {
    "com.docker.compose.project": "shop",
    "com.docker.compose.service": "db",
    "com.docker.compose.project.working_dir": str(ROOT),
}
DB = Container(
    id="a" * 64,
    name="shop-db-1",
    image="postgres:18",
    status="running",
    labels=LABELS,
    exposed=frozenset({5432}),
    addresses=frozenset({"172.18.0.2"}),
    aliases=frozenset({"db", "data"}),
)
ELSEWHERE = {
    **LABELS,
    "com.docker.compose.project": "blog",
    "com.docker.compose.project.working_dir": "/srv/blog",
}


def leads(host: str, *bound: str, port: int = 5432, engine_host: str = "", container: Container = DB) -> bool:
    published = {5432: tuple((address, 5432) for address in bound)}
    wanted = Wanted(PostgresTarget("shop", host=host, port=port), ROOT, engine_host=engine_host)
    return reaches(replace(container, published=published), wanted)


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("localhost", "127.0.0.1"),
        ("localhost", "::1"),
        ("localhost", "0.0.0.0"),
        ("localhost", "::"),
        ("LocalHost", ""),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", ""),
        ("127.0.0.2", "127.0.0.2"),
        ("::1", "::1"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("::1", "::"),
        ("::1", ""),
        ("192.168.1.5", "192.168.1.5"),
    ],
)
def test_a_published_port_is_reached_by_the_address_it_is_bound_to(host: str, bound: str) -> None:
    assert leads(host, bound)


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("127.0.0.1", "::1"),
        ("127.0.0.1", "::"),
        ("127.0.0.1", "127.0.0.2"),
        ("::1", "127.0.0.1"),
        ("::1", "0.0.0.0"),
        ("localhost", "192.168.1.5"),
        ("192.168.1.5", "127.0.0.1"),
        # another machine's, for all that is known here
        ("192.168.1.5", "0.0.0.0"),
        ("db.example", "0.0.0.0"),
    ],
)
def test_another_address_is_another_server(host: str, bound: str) -> None:
    assert not leads(host, bound)


def test_the_port_has_to_be_the_one_that_is_published() -> None:
    assert not leads("localhost", "127.0.0.1", port=5433)


def test_a_service_and_an_alias_mean_this_projects_container_only() -> None:
    foreign = replace(DB, labels=ELSEWHERE)
    for host in ("db", "data", "DB"):
        assert leads(host)
        assert not leads(host, container=foreign)
        assert not leads(host, container=replace(DB, labels={}))
    # these are one container's on the whole engine
    for host in ("shop-db-1", "172.18.0.2"):
        assert leads(host, container=foreign)
        assert not leads(host, port=5433, container=foreign)
    assert names(foreign, Wanted(None, ROOT, project="blog")) == {"shop-db-1", "db", "data"}


@pytest.mark.parametrize(
    ("host", "bound"), [("far.example", "0.0.0.0"), ("far.example", ""), ("far.example", "10.0.0.9")]
)
def test_a_port_of_another_machines_engine_is_reached_at_that_machine(host: str, bound: str) -> None:
    assert leads(host, bound, engine_host="far.example")


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ("localhost", "0.0.0.0"),
        ("127.0.0.1", "0.0.0.0"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", ""),
        ("other.example", "0.0.0.0"),
        # bound to that machine's loopback: nobody comes to it from here
        ("far.example", "127.0.0.1"),
    ],
)
def test_a_port_of_another_machines_engine_is_not_this_machines(host: str, bound: str) -> None:
    assert not leads(host, bound, engine_host="far.example")


def test_another_machines_engine_may_be_called_by_its_address() -> None:
    assert leads("10.0.0.9", "0.0.0.0", engine_host="10.0.0.9")
    assert leads("10.0.0.9", "10.0.0.9", engine_host="far.example")
    assert not leads("10.0.0.9", "::", engine_host="10.0.0.9")


@pytest.mark.parametrize(
    ("docker_host", "machine"),
    [
        ("", ""),
        ("unix:///var/run/docker.sock", ""),
        ("npipe:////./pipe/docker_engine", ""),
        ("tcp://127.0.0.1:2375", ""),
        ("tcp://localhost:2375", ""),
        ("tcp://[::1]:2375", ""),
        ("127.0.0.1:2375", ""),
        ("tcp://:2375", ""),
        ("tcp://Far.example:2376", "far.example"),
        ("https://far.example:2376", "far.example"),
        ("far.example:2375", "far.example"),
        ("tcp://10.0.0.9:2375", "10.0.0.9"),
        ("ssh://deploy@far.example:22", "far.example"),
        ("ssh://far.example", "far.example"),
        ("ssh://deploy@localhost", ""),
    ],
)
def test_the_engines_machine_is_read_off_docker_host(docker_host: str, machine: str) -> None:
    assert machine_of(docker_host) == machine


def test_the_environment_counts_before_the_projects_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    dotenv = {"DOCKER_HOST": "tcp://far.example:2375"}
    monkeypatch.setenv("DOCKER_HOST", "")
    assert engine_host(dotenv) == "far.example"
    monkeypatch.setenv("DOCKER_HOST", "unix:///var/run/docker.sock")
    assert engine_host(dotenv) == ""


def test_a_project_reached_by_a_symbolic_link_is_the_same_project(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    for started_in, looked_from in ((real, link), (link, real), (link / "..", tmp_path)):
        labels = {**LABELS, "com.docker.compose.project.working_dir": str(started_in)}
        assert of_project(replace(DB, labels=labels), Wanted(None, looked_from))
    assert not of_project(
        replace(DB, labels={**LABELS, "com.docker.compose.project.working_dir": str(tmp_path)}),
        Wanted(None, link),
    )
