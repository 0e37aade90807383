"""A backup proven inside its database's container: no client tools on the host, no port, nothing left in there."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import FILL, labels, left_inside, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

PARTITIONED = """
    CREATE TABLE public.visit (day int, hour int, PRIMARY KEY (day, hour)) PARTITION BY RANGE (day);
    CREATE TABLE public.visit_1 PARTITION OF public.visit FOR VALUES FROM (1) TO (2) PARTITION BY RANGE (hour);
    CREATE TABLE public.visit_1_1 PARTITION OF public.visit_1 FOR VALUES FROM (1) TO (2);
    INSERT INTO public.visit VALUES (1, 1)
"""
DATABASES = "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate"


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_backup_is_proven_inside_the_container(
    start_box: Callable[..., Box], project: Project, format_: str
) -> None:
    project.mount()
    box = start_box(publish=False, labels=labels(project))
    box.sql(f"{FILL}; {PARTITIONED}")
    url = "postgresql:///shop"
    made = run(project, "db.backup", f"--format={format_}", DATABASE_URL=url)
    assert made.returncode == 0, made.stderr
    before = box.sql(DATABASES)
    planned = run(project, "db.verify", "--restore", "--dry-run", DATABASE_URL=url)
    assert planned.returncode == 0, planned.stderr
    assert "and restore it into a scratch database of " in planned.stdout
    box.sql("DROP VIEW public.dear; DELETE FROM public.item")
    done = run(project, "db.verify", "--restore", "--json", DATABASE_URL=url)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    (entry,) = document["verified"]
    assert document["route"] == "container"
    assert (entry["restored"]["tables"], entry["restored"]["rows"]) == (3, 1003)
    assert "a scratch database of " in entry["restored"]["how"]
    assert box.sql(DATABASES) == before
    assert box.sql("SELECT count(*) FROM public.item") == "0", "the live one is as it was"
    assert left_inside(box) == []
    assert not [line for line in box.processes() if "pg_restore" in line or "psql" in line]


def test_a_failed_proof_inside_names_the_table_and_leaves_nothing(
    start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    box = start_box(publish=False, labels=labels(project))
    box.sql(FILL)
    url = "postgresql:///shop"
    assert run(project, "db.backup", DATABASE_URL=url).returncode == 0
    before = box.sql(DATABASES)
    (path,) = project.root.glob("backups/manual/*.manifest.json")
    path.write_text(path.read_text().replace('"rows": 1000', '"rows": 999'))
    done = run(project, "db.verify", "--restore", DATABASE_URL=url)
    assert done.returncode == 5
    assert "public.item: 1000 instead of 999" in done.stdout
    assert box.sql(DATABASES) == before
    assert left_inside(box) == []
