"""Rows backups into a database in a container: by the port it publishes; the present is saved by the tools inside."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Project
from tests.fix_docker import Box
from tests.older_files import older, table

pytestmark = pytest.mark.long

FILL = (
    "CREATE TABLE public.item (id serial PRIMARY KEY); INSERT INTO public.item SELECT generate_series(1, 10)"
)


def run(project: Project, *arguments: str, code: int = 0, **environ: str) -> dict[str, Any]:
    ran = project.invoke(*arguments, "--json", **environ)
    assert ran.returncode == code, ran.stdout + ran.stderr
    document: dict[str, Any] = json.loads(ran.stdout)
    return document


def test_rows_go_in_by_the_published_port_and_the_present_is_saved_whole_inside(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box()
    project.mount()
    environ = {"DATABASE_URL": box.url()}
    box.sql(FILL)
    made = run(project, "db.backup", "--format=rows", **environ)["backup"]
    box.sql("DELETE FROM public.item; CREATE VIEW public.v AS SELECT 1 AS one")
    restored = run(project, "db.restore", f"--file={made['id']}", "--yes", **environ)["restore"]
    assert box.sql("SELECT count(*) FROM public.item") == "10"
    backups = run(project, "db.list", "--type=safety", **environ)["backups"]
    assert [(b["id"], b["format"], b["route"]) for b in backups] == [
        (restored["safety_backup"], "custom", "container")
    ]
    run(project, "db.undo", "--yes", **environ)
    assert box.sql("SELECT count(*) FROM public.item") == "0"


def test_a_container_without_a_published_port_is_refused_by_name(
    start_box: Callable[..., Box], project: Project
) -> None:
    outside, inside = start_box(), start_box(publish=False)
    project.mount()
    for box in (outside, inside):
        box.sql(FILL)
    made = run(project, "db.backup", "--format=rows", DATABASE_URL=outside.url())["backup"]
    url = f"postgresql://postgres@{inside.name}/shop"
    refused = run(
        project, "db.restore", f"--file={made['path']}", "--unverified", "--yes", code=3, DATABASE_URL=url
    )["error"]
    assert "rows of shop go by a connection from this machine" in refused["message"]
    assert "publish the container's port" in refused["hint"]
    assert inside.sql("SELECT count(*) FROM public.item") == "10"


def test_a_database_that_is_missing_is_made_of_rows_by_the_published_port(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box()
    project.mount()
    environ = {"DATABASE_URL": box.url()}
    box.sql(FILL)
    made = run(project, "db.backup", "--format=rows", **environ)["backup"]
    into = f"--into={box.url().rpartition('/')[2]}_copy"
    plan = run(project, "db.restore", f"--file={made['id']}", into, "--dry-run", **environ)["plan"]
    assert (plan["state"], plan["strategy"], plan["creates"]) == ("missing", "create", ["public.item"])
    run(project, "db.restore", f"--file={made['id']}", into, "--yes", **environ)
    databases = box.sql("SELECT datname FROM pg_database WHERE datname LIKE '%copy%'")
    assert databases == into.partition("=")[2]


def test_a_missing_database_behind_no_port_is_refused_before_anything_is_made(
    start_box: Callable[..., Box], project: Project
) -> None:
    outside, inside = start_box(), start_box(publish=False)
    project.mount()
    outside.sql(FILL)
    made = run(project, "db.backup", "--format=rows", DATABASE_URL=outside.url())["backup"]
    url = f"postgresql://postgres@{inside.name}/newone"
    refused = run(
        project, "db.restore", f"--file={made['path']}", "--unverified", "--dry-run", code=3, DATABASE_URL=url
    )["error"]
    assert "by a connection from this machine" in refused["message"]
    assert inside.sql("SELECT count(*) FROM pg_database WHERE datname = 'newone'") == "0"


def test_schema_command_makes_the_tables_by_the_published_port_beside_and_they_are_exchanged(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box()
    project.mount()
    script = (
        "import os, psycopg2\nwith psycopg2.connect(os.environ['DATABASE_URL']) as c:\n"
        "    c.cursor().execute('CREATE TABLE item (id serial PRIMARY KEY)')\n"
    )
    (project.root / "make.py").write_text(script)
    command = f"{shlex.quote(sys.executable)} make.py"
    environ = {"DATABASE_URL": box.url(), "DBTASKS_SCHEMA_COMMAND": command}
    file = older(project.root, {"item": table(["id"], [3], [4])})
    done = run(project, "db.restore", f"--file={file}", "--unverified", "--yes", **environ)
    assert done["restore"]["rows"] == 2
    assert box.sql("SELECT sum(id) FROM public.item") == "7"
    assert box.sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%\\_\\_%'") == "0"
