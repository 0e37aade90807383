"""SQL that runs in a loaded backup before it goes live, through a container: the file is here, the database inside."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, left_inside, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = "CREATE TABLE public.item (id int PRIMARY KEY, name text); INSERT INTO public.item SELECT g, 'real' FROM generate_series(1, 100) g"


@pytest.mark.parametrize("flags", [(), ("--in-place",)], ids=["beside", "in place"])
def test_a_script_of_this_machine_scrubs_inside_the_container_or_nothing_is_swapped(
    start_box: Callable[..., Box], project: Project, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    project.mount()
    box = start_box(labels=labels(project), publish=False)
    box.sql(FILL)
    script = project.root / "scrub.sql"
    script.write_text("UPDATE item SET name = 'nobody';\nDELETE FROM item WHERE id > 10;\n")
    environ = {"DATABASE_URL": "postgresql:///shop", "DBTASKS_AFTER_LOAD": "scrub.sql"}
    assert run(project, "db.backup", **environ).returncode == 0
    done = run(project, "db.restore", "--file=latest", "--yes", *flags, **environ)
    assert done.returncode == 0, done.stderr
    assert box.sql("SELECT count(*), max(name) FROM public.item") == "10|nobody"
    script.write_text("DELETE FROM item;\nDELETE FROM nosuch;\n")
    failed = run(project, "db.restore", "--file=latest", "--yes", *flags, **environ)
    assert failed.returncode == 9
    assert 'relation "nosuch" does not exist' in failed.stderr
    assert box.sql("SELECT count(*), max(name) FROM public.item") == "10|nobody"
    names = box.sql("SELECT string_agg(datname, ',') FROM pg_database WHERE datname LIKE '%__new_%'")
    assert names == ""
    assert left_inside(box) == []
