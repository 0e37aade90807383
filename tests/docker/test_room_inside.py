"""Room for a second database is looked at inside the container, where the server's disk is."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

NOISE = "SELECT i, gen_random_uuid() a, gen_random_uuid() b FROM generate_series(1, {}) i"
DISK = {"/var/lib/postgresql": "size=192m,mode=1777"}


def free(box: Box) -> int:
    _, told = box.container.exec_run(["df", "-Pk", "/var/lib/postgresql/data"])
    return int(told.decode().splitlines()[-1].split()[3]) * 1024


def test_d24_a_disk_inside_that_is_too_small_for_the_restore_is_named_before_it_starts(
    start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    box = start_box(publish=False, tmpfs=DISK)
    box.sql(f"CREATE TABLE public.noise AS {NOISE.format(400_000)}; CHECKPOINT")
    url = f"postgresql://postgres@{box.name}/shop"
    made = json.loads(run(project, "db.backup", "--json", DATABASE_URL=url).stdout)["backup"]
    box.sql(f"CREATE TABLE public.more AS {NOISE.format(1)}")
    while free(box) > made["size_bytes"]:
        box.sql(f"INSERT INTO public.more {NOISE.format(20_000)}; CHECKPOINT")
    refused = run(project, "db.restore", "--file=latest", "--yes", "--json", DATABASE_URL=url)
    assert refused.returncode == 9, refused.stderr
    error = json.loads(refused.stdout)["error"]
    assert "unpacks to more than" in error["message"]
    assert "/var/lib/postgresql/data on the server's disk" in error["message"]
    assert error["state"] == "nothing was touched"
    assert box.sql("SELECT count(*) FROM pg_database WHERE datname LIKE 'shop%'") == "1"
    box.sql("DROP TABLE public.more; CHECKPOINT")
    planned = run(project, "db.restore", "--file=latest", "--dry-run", "--json", DATABASE_URL=url)
    assert planned.returncode == 0, planned.stderr
