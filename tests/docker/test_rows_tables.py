"""Single tables of a rows backup into a database in a container: by the port it publishes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_one_table import FILL
from tests.docker.test_rows_restore import run
from tests.fix_docker import Box

pytestmark = pytest.mark.long


def test_e06_tables_are_replaced_created_and_copied_by_the_published_port(
    start_box: Callable[..., Box], project: Project
) -> None:
    box = start_box()
    project.mount()
    environ = {"DATABASE_URL": box.url()}
    box.sql(FILL)
    made = run(project, "db.backup", "--format=rows", **environ)["backup"]
    file = f"--file={made['id']}"
    box.sql("DELETE FROM public.item WHERE id > 10")
    refused = run(project, "db.restore", file, "--table=customer", "--yes", code=6, **environ)["error"]
    assert "item_customer_fkey of public.item" in refused["message"]
    replaced = run(project, "db.restore", file, "--table=item", "--yes", **environ)["restore"]
    assert replaced["rows_of"] == {"public.item": 1000}
    assert box.sql("SELECT count(*), sum(price) FROM public.item") == "1000|750750.0"
    run(project, "db.undo", "--yes", **environ)
    assert box.sql("SELECT count(*) FROM public.item") == "10"
    run(project, "db.restore", file, "--table=item", "--as=item_then", "--yes", **environ)
    assert box.sql("SELECT count(*) FROM public.item_then") == "1000"
    box.sql('DROP TABLE public.item; DROP TABLE public."we""ird\n name"')
    weird = '--table="we""ird\n name"'
    created = run(project, "db.restore", file, "--table=item", weird, "--yes", **environ)["restore"]
    assert sum(created["rows_of"].values()) == 1002
    assert box.sql("INSERT INTO public.item (name) VALUES ('next') RETURNING id").startswith("1001")
