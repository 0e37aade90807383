"""A restore into another server's container by its url: never into the container the settings name for the own one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = "CREATE TABLE public.item (id int PRIMARY KEY); INSERT INTO public.item SELECT generate_series(1, 100)"


def test_the_url_leads_to_its_own_container_whatever_the_settings_name(
    start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    own = start_box(labels=labels(project), publish=False)
    other = start_box(publish=True)
    own.sql(FILL)
    other.sql("CREATE TABLE public.theirs (a int); INSERT INTO public.theirs VALUES (1)")
    environ = {"DATABASE_URL": "postgresql:///shop", "DBTASKS_CONTAINER": own.name}
    assert run(project, "db.backup", **environ).returncode == 0
    own.sql("DELETE FROM public.item WHERE id > 90")
    flags = ("db.restore", "--file=latest", "--into=@", "--yes", "--json")
    done = run(project, *flags, DBTASKS_INTO_URL=other.url(), **environ)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["route"] == "container"
    assert other.name in document["why"]
    assert other.sql("SELECT count(*) FROM public.item") == "100"
    assert own.sql("SELECT count(*) FROM public.item") == "90"
    assert document["restore"]["safety_backup"]
    assert document["restore"]["way_back"].endswith("--into=@")
    # undone with that database configured
    back = run(project, "db.undo", "--yes", DATABASE_URL=other.url())
    assert back.returncode == 0, back.stderr
    assert other.sql("SELECT a FROM public.theirs") == "1"
