"""One table back through the tools inside a container, without a published port or tools on the host."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, left_inside, run
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = """
CREATE TABLE public.customer (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE);
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL, price numeric DEFAULT 1 CHECK (price >= 0),
    customer integer REFERENCES public.customer (id));
CREATE INDEX item_name ON public.item (lower(name));
INSERT INTO public.customer (name) VALUES ('one'), ('two');
INSERT INTO public.item (name, price, customer) SELECT E'item\\\\' || g, g * 1.5, 1 + g % 2 FROM generate_series(1, 1000) g;
CREATE TABLE public."we""ird
 name" ("a b" int); INSERT INTO public."we""ird
 name" VALUES (1), (2);
"""
URL = "postgresql:///shop"


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_e06_one_table_comes_back_through_its_container(
    start_box: Callable[..., Box], project: Project, format_: str
) -> None:
    project.mount()
    box = start_box(publish=False, labels=labels(project))
    box.sql(FILL)
    assert run(project, "db.backup", f"--format={format_}", DATABASE_URL=URL).returncode == 0
    box.sql("DELETE FROM public.item WHERE id > 10; UPDATE public.customer SET name = 'x' || id")
    refused = run(project, "db.restore", "--file=latest", "--table=customer", "--yes", DATABASE_URL=URL)
    assert refused.returncode == 6
    assert "item_customer_fkey of public.item → public.customer" in refused.stderr
    replaced = run(
        project, "db.restore", "--file=latest", "--table=item", "--yes", "--json", DATABASE_URL=URL
    )
    assert replaced.returncode == 0, replaced.stderr
    document = json.loads(replaced.stdout)
    assert document["route"] == "container"
    assert document["restore"]["rows_of"] == {"public.item": 1000}
    assert box.sql("SELECT count(*), sum(price) FROM public.item") == "1000|750750.0"
    assert box.sql("SELECT count(*) FROM public.customer WHERE name LIKE 'x%'") == "2"
    assert box.sql("INSERT INTO public.item (name) VALUES ('next') RETURNING id").startswith("1001")
    box.sql('DROP TABLE public.item; DROP TABLE public."we""ird\n name"')
    created = run(
        project,
        "db.restore",
        "--file=latest:manual",
        "--table=item",
        '--table="we""ird\n name"',
        "--json",
        DATABASE_URL=URL,
    )
    assert created.returncode == 0, created.stderr
    assert box.sql('SELECT sum("a b") FROM public."we""ird\n name"') == "3"
    assert box.sql("INSERT INTO public.item (name) VALUES ('next') RETURNING id, price").startswith("1001|1")
    assert (
        box.sql(
            "SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.item'::regclass AND contype IN ('p', 'f', 'c')"
        )
        == "3"
    )
    beside = run(project, "db.restore", "--file=latest:manual", "--table=item", "--as=then", DATABASE_URL=URL)
    assert beside.returncode == 0, beside.stderr
    assert box.sql("SELECT count(*) FROM public.then") == "1000"
    assert box.sql("INSERT INTO public.then (name) VALUES ('next') RETURNING id").startswith("1001")
    assert left_inside(box) == []
    assert not [line for line in box.processes() if "pg_restore" in line or "psql" in line]
