"""Rows of a database in a container, compared by the port it publishes; one without a port is refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_rows_restore import run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = """
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO public.item (name) SELECT 'item ' || g FROM generate_series(1, 100) g;
"""
DRIFT = "DELETE FROM public.item WHERE id = 7; UPDATE public.item SET name = 'x' WHERE id IN (8, 9)"


@pytest.mark.parametrize("format_", ["custom", "rows"])
def test_rows_come_by_the_published_port_and_a_scratch_database_inside_is_dropped(
    start_box: Callable[..., Box], project: Project, format_: str
) -> None:
    project.mount()
    box = start_box()
    environ = {"DATABASE_URL": box.url()}
    box.sql(FILL)
    run(project, "db.backup", f"--format={format_}", **environ)
    before = box.sql("SELECT count(*) FROM pg_database")
    assert run(project, "db.diff", "--rows", "--exit-code", **environ)["rows"]["differs"] is False
    box.sql(DRIFT)
    (item,) = run(project, "db.diff", "--rows", "--exit-code", code=10, **environ)["rows"]["tables"]
    assert (item["added"], item["removed"], item["changed"]) == (0, 1, 2)
    assert [row["key"]["id"] for row in item["examples"]["changed"]] == [8, 9]
    assert box.sql("SELECT count(*) FROM pg_database") == before


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
        project,
        "db.diff",
        "--rows",
        f"--file={made['path']}",
        "--unverified",
        "--via=container",
        code=3,
        DATABASE_URL=url,
    )["error"]
    assert "rows of shop go by a connection from this machine" in refused["message"]
    assert "publish the container's port" in refused["hint"]
