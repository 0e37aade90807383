"""Files that others made, by the tools inside a container: the gate stands in front of that psql as well."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Project
from tests.fix_docker import Box

pytestmark = pytest.mark.long

FILL = """
CREATE TABLE public.item (id serial PRIMARY KEY, name text NOT NULL);
INSERT INTO public.item (name) SELECT 'größer ' || g FROM generate_series(1, 500) g;
"""


@pytest.fixture
def shop(start_box: Callable[..., Box], project: Project) -> Box:
    """A shop that belongs to a role with no power over the server."""
    project.mount()
    box = start_box()
    box.sql("CREATE ROLE app LOGIN CREATEDB PASSWORD 'app'; ALTER DATABASE shop OWNER TO app")
    box.sql(f"SET ROLE app; {FILL}")
    return box


def invoke(project: Project, box: Box, *arguments: str, user: str = "") -> subprocess.CompletedProcess[str]:
    # a folder without client tools: whatever works, works inside
    nothing = project.root / "no-tools"
    nothing.mkdir(exist_ok=True)
    url = user or f"postgresql://app:app@127.0.0.1:{box.port}/shop"
    return project.invoke(*arguments, DATABASE_URL=url, DBTASKS_PG_BIN=str(nothing))


def dump(box: Box, path: Path, *options: str) -> bytes:
    code, (out, err) = box.container.exec_run(["pg_dump", "-U", "app", *options, "shop"], demux=True)
    assert code == 0, err
    path.write_bytes(out)
    return bytes(out)


@pytest.mark.parametrize("options", [("-Fp",), ("-Fp", "--inserts"), ("-Fc",)], ids=" ".join)
def test_c09_a_foreign_dump_is_restored_and_adopted_by_the_tools_inside(
    shop: Box, project: Project, options: tuple[str, ...]
) -> None:
    path = project.root / "theirs"
    dump(shop, path, *options)
    shop.sql("DELETE FROM public.item")
    ran = invoke(project, shop, "db.restore", "--file=theirs", "--unverified", "--yes", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["route"] == "container"
    assert shop.sql("SELECT count(*), max(name) FROM public.item") == "500|größer 99"
    made = invoke(project, shop, "db.adopt", "--file=theirs", "--json")
    assert made.returncode == 0, made.stderr
    backup = json.loads(made.stdout)["backup"]
    counted = {table["name"]: table["rows"] for table in backup["tables"]}
    assert counted == {"public.item": None if "--inserts" in options else 500}
    shop.sql("DELETE FROM public.item")
    again = invoke(project, shop, "db.restore", f"--file={backup['id']}", "--yes")
    assert again.returncode == 0, again.stderr
    assert shop.sql("SELECT count(*) FROM public.item") == "500"
    # the superuser's login is refused for both
    for file in ("theirs", backup["id"]):
        refused = invoke(
            project, shop, "db.restore", f"--file={file}", "--unverified", "--yes", user=shop.url()
        )
        assert refused.returncode == 6, refused.stderr
        assert "ordinary role" in refused.stderr


def test_g01_d04_a_hostile_or_cut_script_runs_nothing_inside_and_changes_nothing(
    shop: Box, project: Project
) -> None:
    path = project.root / "theirs.sql.gz"
    script = dump(shop, path)
    shop.sql("INSERT INTO public.item (name) VALUES ('new')")
    hostile = script.replace(b"CREATE TABLE", b"\\! touch /tmp/ran\nCREATE TABLE", 1)
    packed = gzip.compress(script)
    for data, code, said in (
        (gzip.compress(hostile), 6, "meta-command"),
        (packed[: len(packed) // 2], 5, ""),
        (gzip.compress(script[: len(script) // 2]), 5, "last lines are missing"),
    ):
        path.write_bytes(data)
        ran = invoke(project, shop, "db.restore", "--file=theirs.sql.gz", "--unverified", "--yes")
        assert ran.returncode == code, ran.stderr
        assert said in ran.stderr
    assert shop.sql("SELECT count(*) FROM public.item") == "501"
    assert shop.container.exec_run(["ls", "/tmp/ran"])[0] != 0
    assert not Path("/tmp/ran").exists()
