"""Comparing through a container: no client tools on the host, no published port, a psql held open inside."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, left_inside, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = """
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO public.item (name) SELECT 'item ' || g FROM generate_series(1, 100) g;
CREATE TABLE public.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO public.alembic_version VALUES ('9be03d2a1f00');
"""
DRIFT = """
DELETE FROM public.item WHERE id > 60;
ALTER TABLE public.item ADD COLUMN price numeric;
CREATE TABLE public.newer (a int);
UPDATE public.alembic_version SET version_num = '4f1c2ab90d11';
"""


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_backup_is_compared_by_the_tools_inside(
    start_box: Callable[..., Box], project: Project, format_: str
) -> None:
    project.mount()
    box = start_box(publish=False, labels=labels(project))
    box.sql(FILL)
    url = "postgresql:///shop"
    assert run(project, "db.backup", f"--format={format_}", DATABASE_URL=url).returncode == 0
    same = run(project, "db.diff", "--exit-code", DATABASE_URL=url)
    assert same.returncode == 0, same.stdout + same.stderr
    assert same.stdout.splitlines()[-1] == "No difference found."
    box.sql(DRIFT)
    ran = run(project, "db.diff", "--exit-code", "--json", DATABASE_URL=url)
    assert ran.returncode == 10, ran.stderr
    document = json.loads(ran.stdout)
    found = document["diff"]
    assert document["route"] == "container"
    assert {t["table"]: (t["backup_rows"], t["against_rows"]) for t in found["tables"]} == {
        "public.item": (100, 60),
        "public.newer": (None, 0),
    }
    assert [o["name"] for o in found["schema"]["only_against"]] == ["public.newer"]
    assert [(o["name"], o["details"]) for o in found["schema"]["changed"]] == [
        ("public.item", ["- price numeric"])
    ]
    assert found["migration"]["command"] == "alembic upgrade head"
    planned = run(project, "db.restore", "--file=latest", "--dry-run", "--json", DATABASE_URL=url)
    plan = json.loads(planned.stdout)["plan"]
    assert (plan["schema"], plan["migration"]) == (found["schema"], found["migration"])
    assert left_inside(box) == []
    assert not [line for line in box.processes() if "pg_dump" in line or "psql" in line]
