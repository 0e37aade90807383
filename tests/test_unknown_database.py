"""Which database is meant is not known, or its backups lie under another address: nobody is told that there are none."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project

AWAY = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def fill(path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE t (a)")


def backup(project: Project, url: str) -> str:
    made = project.invoke("db.backup", "--json", DATABASE_URL=url)
    assert made.returncode == 0, made.stderr
    return str(json.loads(made.stdout)["backup"]["id"])


@pytest.fixture
def two(project: Project) -> tuple[Project, str, str]:
    """A project with a backup each of two databases, and no word of either in its settings."""
    project.mount()
    fill(project.root / "app.db")
    fill(project.root / "other.db")
    return project, backup(project, "sqlite:///app.db"), backup(project, "sqlite:///other.db")


def document(project: Project, *arguments: str, **environ: str) -> dict[str, Any]:
    ran = project.invoke(*arguments, "--json", **environ)
    return dict(json.loads(ran.stdout))


def test_without_a_database_the_list_shows_all_there_is_and_says_why(two: tuple[Project, str, str]) -> None:
    project, app, other = two
    ran = project.invoke("db.list", **AWAY)
    assert ran.returncode == 0
    assert "No backups" not in ran.stdout
    assert app in ran.stdout
    assert other in ran.stdout
    assert "which database is meant is not known, so all backups are listed" in ran.stderr
    assert "Docker is not running here" in ran.stderr
    told = document(project, "db.list", "--last=1", **AWAY)
    assert told["backups"] == []
    assert [(b["id"], b["number"], b["latest"]) for b in told["others"]] == [(other, 1, False)]
    assert "Docker is not running here" in " ".join(told["warnings"])


def test_an_empty_store_without_a_database_is_said_to_be_empty(project: Project) -> None:
    project.mount()
    ran = project.invoke("db.list", **AWAY)
    assert ran.returncode == 0
    assert "There are no backups of any database." in ran.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    "call", [("db.show",), ("db.verify",), ("db.verify", "--all"), ("db.show", "--file=latest:daily")]
)
def test_latest_of_an_unknown_database_says_why_it_is_unknown(
    two: tuple[Project, str, str], call: tuple[str, ...]
) -> None:
    project, _, _ = two
    ran = project.invoke(*call, **AWAY)
    assert ran.returncode == 2
    assert "no database is configured" in ran.stderr
    assert "Docker is not running here" in ran.stderr
    assert "db.list shows what there is" in ran.stderr
    assert "no complete" not in ran.stderr


@pytest.mark.long
def test_a_backup_that_is_named_is_found_without_a_database(two: tuple[Project, str, str]) -> None:
    project, app, other = two
    path = document(project, "db.show", f"--file={app}", **AWAY)["backup"]["path"]
    for selector, wanted in ((path, app), (Path(path).name, app), ("1", other), ("2", app)):
        assert document(project, "db.show", f"--file={selector}", **AWAY)["backup"]["id"] == wanted
    assert project.invoke("db.verify", "--file=2", **AWAY).returncode == 0
    assert project.invoke("db.show", "--file=3", **AWAY).returncode == 4


@pytest.mark.parametrize("named", ["compose file", "service"])
def test_a_container_that_is_meant_and_cannot_be_looked_for_is_the_reason(
    project: Project, named: str
) -> None:
    project.mount()
    environ = dict(AWAY)
    if named == "service":
        environ["DBTASKS_SERVICE"] = "db"
    else:
        (project.root / "compose.yaml").write_text("services: {}\n")
    ran = project.invoke("db.backup", **environ)
    assert ran.returncode == 3
    assert "no database is configured, and its container cannot be looked for" in ran.stderr
    assert "nothing answers at DOCKER_HOST=unix:///nowhere/docker.sock" in ran.stderr
    assert "start that engine; or set DATABASE_URL" in ran.stderr
    assert "--via=host" not in ran.stderr
    assert project.invoke("db.show", **environ).returncode == 3
    assert project.invoke("db.list", **environ).returncode == 0


def test_nothing_configured_at_all_names_both_ways(project: Project) -> None:
    project.mount()
    ran = project.invoke("db.backup", **AWAY)
    assert ran.returncode == 2
    assert "set DATABASE_URL in the environment or in .env" in ran.stderr
    assert "docker compose up -d" in ran.stderr


@pytest.mark.long
def test_backups_of_the_same_name_under_another_address_are_mentioned(project: Project) -> None:
    project.mount()
    fill(project.root / "old" / "app.db")
    fill(project.root / "app.db")
    backup(project, "sqlite:///old/app.db")
    here = {"DATABASE_URL": "sqlite:///app.db"}
    listed = project.invoke("db.list", **here)
    words = "1 backup of a database of that name lies under another address or engine: app.db on old (sqlite)"
    assert words in listed.stdout
    assert "invoke db.list --all" in listed.stdout
    assert document(project, "db.list", **here)["namesakes"] == 1
    for call in (("db.show",), ("db.restore", "--file=latest", "--yes")):
        ran = project.invoke(*call, **here)
        assert ran.returncode == 4
        assert words in ran.stderr
        assert "invoke db.list --all" in ran.stderr
    backup(project, here["DATABASE_URL"])
    assert "of that name" not in project.invoke("db.list", **here).stdout
