"""Backups and restores through a container, as a host project runs them: no client tools on the host."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.fix_docker import PASSWORD, PSQL, Box

FILL = """
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL, price numeric);
INSERT INTO public.item (name, price) SELECT 'item ' || g, g * 1.5 FROM generate_series(1, 1000) g;
CREATE TABLE public."we""ird
 name" (a int); INSERT INTO public."we""ird
 name" VALUES (1), (2);
CREATE VIEW public.dear AS SELECT * FROM public.item WHERE price > 100;
"""
BREAK = "DROP VIEW public.dear; DELETE FROM public.item WHERE id > 10; CREATE TABLE public.newer (a int);"


@pytest.fixture
def shop(start_box: Callable[..., Box], project: Project, tmp_path: Path) -> Callable[..., Box]:
    """Return a function that starts a filled shop of this project."""
    project.mount()

    def start(**options: Any) -> Box:
        box = start_box(**options)
        box.sql(FILL)
        return box

    return start


def run(project: Project, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    # a folder without client tools: whatever works, works inside
    nothing = project.root / "no-tools"
    nothing.mkdir(exist_ok=True)
    ran = project.invoke(*arguments, DBTASKS_PG_BIN=str(nothing), **environ)
    assert PASSWORD not in ran.stdout + ran.stderr
    return ran


def labels(project: Project, service: str = "db") -> dict[str, str]:
    start = "com.docker.compose."
    return {
        f"{start}project.working_dir": str(project.root),
        f"{start}project": "shop",
        f"{start}service": service,
    }


def left_inside(box: Box) -> list[str]:
    _, out = box.container.exec_run(["sh", "-c", "ls -a /tmp | cat; true"])
    return [name for name in out.decode().split() if "dbtasks" in name]


@pytest.mark.parametrize(
    ("format_", "place"),
    [
        ("sql", "inside"),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ("custom", "published"),
                ("custom", "inside"),
                ("sql", "published"),
                ("directory", "inside"),
                ("directory", "published"),
            )
        ),
    ],
)
def test_a_broken_shop_comes_back_through_its_container(
    shop: Callable[..., Box], project: Project, format_: str, place: str
):
    # published: the url names the port; inside: no port, no host and no password anywhere
    box = shop(publish=place == "published", labels=labels(project))
    url = box.url() if place == "published" else "postgresql:///shop"
    made = run(project, "db.backup", f"--format={format_}", "--json", DATABASE_URL=url)
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)
    manifest = document["backup"]
    assert (manifest["route"], manifest["format"], manifest["complete"]) == ("container", format_, True)
    assert document["warnings"] == []
    assert {t["name"]: t["rows"] for t in manifest["tables"]}["public.item"] == 1000
    box.sql(BREAK)
    restored = run(project, "db.restore", "--file=latest", "--yes", "--json", DATABASE_URL=url)
    assert restored.returncode == 0, restored.stderr
    assert box.sql("SELECT count(*) FROM public.item") == "1000"
    assert box.sql("SELECT count(*) FROM public.dear") == "934"
    assert box.sql("SELECT to_regclass('public.newer') IS NULL") == "t"
    assert box.sql("INSERT INTO public.item (name) VALUES ('next') RETURNING id").startswith("1001")
    assert left_inside(box) == []
    assert not [line for line in box.processes() if "pg_dump" in line or "psql" in line]


@pytest.mark.long
def test_d14_sessions_inside_without_a_published_port_are_planned_and_ended(
    shop: Callable[..., Box], project: Project
):
    box = shop(labels=labels(project), publish=False)
    url = "postgresql:///shop"
    assert run(project, "db.backup", DATABASE_URL=url).returncode == 0
    box.sql(BREAK)
    holding = "SELECT set_config('application_name', 'the shop itself', false), pg_sleep(600)"
    box.container.exec_run([*PSQL, "-U", box.user, "-d", box.database, "-c", holding], detach=True)
    connected = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'the shop itself'"
    while box.sql(connected) != "1":
        time.sleep(0.05)
    plan = run(project, "db.restore", "--file=latest", "--dry-run", "--json", DATABASE_URL=url)
    assert "the shop itself" in str(json.loads(plan.stdout)["plan"]["sessions"])
    assert box.sql(connected) == "1"
    ran = run(project, "db.restore", "--file=latest", "--yes", "--json", DATABASE_URL=url)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["restore"]["sessions_ended"] == 1
    assert box.sql(connected) == "0"
    assert box.sql("SELECT count(*) FROM public.item") == "1000"


def test_a14_what_pg_dump_warns_of_inside_is_in_the_manifest_and_the_log_and_not_in_the_dump(
    shop: Callable[..., Box], project: Project
):
    box = shop(labels=labels(project), publish=False)
    box.sql(
        "CREATE TABLE public.chicken (id int PRIMARY KEY, egg int);"
        "CREATE TABLE public.egg (id int PRIMARY KEY, chicken int REFERENCES public.chicken);"
        "ALTER TABLE public.chicken ADD FOREIGN KEY (egg) REFERENCES public.egg"
    )
    url = "postgresql:///shop"
    command = ("db.backup", "--format=sql", "--compression=none", "--data-only", "--json")
    made = run(project, *command, DATABASE_URL=url)
    assert made.returncode == 0, made.stderr
    backup = json.loads(made.stdout)["backup"]
    warned = "circular foreign-key constraints"
    assert warned in " ".join(backup["warnings"])
    archive = next((project.root / "backups").rglob("*.sql"))
    assert warned not in archive.read_text()
    assert warned in (project.root / "backups" / "log.jsonl").read_text()


@pytest.mark.long
def test_in_place_works_through_a_container(shop: Callable[..., Box], project: Project):
    box = shop(labels=labels(project), publish=False)
    url = "postgresql:///shop"
    assert run(project, "db.backup", DATABASE_URL=url).returncode == 0
    box.sql(BREAK)
    ran = run(project, "db.restore", "--file=latest", "--in-place", "--yes", DATABASE_URL=url)
    assert ran.returncode == 0, ran.stderr
    assert box.sql("SELECT count(*) FROM public.item") == "1000"
    assert box.sql("SELECT to_regclass('public.newer') IS NULL") == "t"
