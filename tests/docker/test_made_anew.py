"""The project's container made anew, or not to be told from another: what its backups do then."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import FILL, labels, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long


def test_a_container_made_anew_is_filled_while_empty_and_asks_for_the_name_once_it_holds_something(
    start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    first = start_box(publish=False, labels=labels(project), user="app", database="shop")
    first.sql(FILL)
    made = run(project, "db.backup", "--json")
    assert made.returncode == 0, made.stderr
    former = json.loads(made.stdout)["backup"]["id"]
    first.container.remove(force=True, v=True)
    # its backups are there while no container is: nobody is told otherwise
    gone = run(project, "db.list")
    assert gone.returncode == 0
    assert former in gone.stdout
    assert "which database is meant is not known" in gone.stderr
    second = start_box(publish=False, labels=labels(project), user="app", database="shop")
    filled = run(project, "db.restore", "--file=latest", "--yes")
    assert filled.returncode == 0, filled.stderr
    assert second.sql("SELECT count(*) FROM public.item") == "1000"
    second.sql("DELETE FROM public.item WHERE id > 10")
    refused = run(project, "db.restore", f"--file={former}", "--yes")
    assert refused.returncode == 6
    assert "made on another server than the one that answers as" in refused.stderr
    assert second.sql("SELECT count(*) FROM public.item") == "10"
    for _ in range(2):
        assert run(project, "db.backup", DBTASKS_KEEP="1").returncode == 0
    listed = json.loads(run(project, "db.list", "--json").stdout)["backups"]
    assert [b["id"] for b in listed][1:] == [former]


def test_two_containers_that_fit_hide_no_backup(start_box: Callable[..., Box], project: Project) -> None:
    project.mount()
    start_box(publish=False, labels=labels(project), database="shop")
    made = run(project, "db.backup", "--json")
    assert made.returncode == 0, made.stderr
    own = json.loads(made.stdout)["backup"]["id"]
    start_box(publish=False, labels=labels(project, "other"), database="shop")
    listed = run(project, "db.list")
    assert listed.returncode == 0
    assert own in listed.stdout
    assert "several containers could be the database" in listed.stderr
    latest = run(project, "db.show")
    assert latest.returncode == 3
    assert "several containers could be the database" in latest.stderr
    assert "or name a backup by its id: invoke db.list shows what there is" in latest.stderr
    assert run(project, "db.show", "--file=1").returncode == 0
