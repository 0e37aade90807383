"""SQLite into a database in a container: by the port it publishes, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Project
from tests.fix_docker import Box
from tests.postgres.leaving import made

pytestmark = pytest.mark.long


def migrate(project: Project, *flags: str, code: int = 0, **environ: str) -> dict[str, Any]:
    ran = project.invoke("db.migrate", "--from=app.db", "--yes", "--json", *flags, **environ)
    assert ran.returncode == code, ran.stdout + ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


@pytest.mark.parametrize("via", ["auto", "container"])
def test_a_missing_and_an_empty_database_are_filled_by_the_published_port(
    start_box: Callable[..., Box], project: Project, via: str
) -> None:
    box = start_box()
    project.mount()
    made(project.root / "app.db")
    environ = {"DATABASE_URL": box.url(), "DBTASKS_VIA": via}
    there = migrate(project, **environ)["migration"]
    assert (there["made_database"], there["rows"]) == (False, 5)
    assert box.sql("SELECT count(*) FROM public.orders") == "3"
    new = f"{box.database}_moved"
    moved = migrate(project, f"--to={new}", **environ)
    assert moved["migration"]["made_database"] is True
    assert moved["route"] == ("container" if via == "container" else "python")
    assert box.sql(f"SELECT count(*) FROM pg_database WHERE datname = '{new}'") == "1"


def test_a_container_without_a_published_port_is_refused_before_anything_is_made(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box(publish=False)
    project.mount()
    made(project.root / "app.db")
    for database in ("shop", "missing"):
        url = f"postgresql://postgres@{box.name}/{database}"
        error = migrate(project, code=3, DATABASE_URL=url, DBTASKS_VIA="container")["error"]
        assert f"rows of {database} go by a connection from this machine" in error["message"]
        assert error["state"] == "nothing was touched"
    assert box.sql("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == "0"
