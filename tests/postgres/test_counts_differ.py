"""A load that does not give the rows the manifest counted: nothing of it becomes live, and what is said about it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import CountsDiffer
from dbtasks.models import Format
from dbtasks.plans import DumpRequest, LoadRequest
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.projects import configured
from tests.postgres.restoring import databases
from tests.postgres.rich import count, fingerprint
from tests.postgres.test_restore import FORMATS

WRITING = """
    CREATE TABLE public.audit (id int, at timestamptz DEFAULT now());
    CREATE FUNCTION public.seen(a int) RETURNS int LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.audit VALUES (a); RETURN a; END';
    CREATE FUNCTION public.key(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.seen(a); END';
    CREATE TABLE public.item (id int);
    CREATE INDEX ON public.item (public.key(id));
    INSERT INTO public.item SELECT generate_series(1, 10);
"""
"""An index whose function writes: making it after the rows came writes ten more into a table that had come with ten."""


@pytest.mark.long
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
@pytest.mark.parametrize("format_", FORMATS)
def test_d22_e19_rows_that_a_load_itself_writes_are_noticed_and_nothing_of_it_is_kept(
    any_db: PgDatabase, tmp_path: Path, format_: Format, in_place: bool
) -> None:
    any_db.run(WRITING)
    config = configured(tmp_path, any_db)
    dbtasks.backup(config, dbtasks.BackupJob(request=DumpRequest(format=format_)))
    any_db.run("DELETE FROM public.item WHERE id > 3; CREATE TABLE public.newer (a int)")
    before = fingerprint(any_db)
    job = dbtasks.RestoreJob(request=LoadRequest(in_place=in_place))
    plan = dbtasks.plan_restore(config, job)
    with pytest.raises(CountsDiffer) as caught:
        dbtasks.restore(config, plan)
    assert caught.value.exit_code == 5
    assert caught.value.message == "1 table did not come back with the rows of the manifest"
    # ANALYZE may ask the function as well
    assert re.fullmatch(r"public\.audit: [23]0 instead of 10", caught.value.details)
    (safety,) = (b for b in dbtasks.list_backups(config).backups if str(b.manifest.type) == "safety")
    assert f"{any_db.name} is as it was; what was loaded is removed" in caught.value.state
    assert safety.id in caught.value.state
    assert fingerprint(any_db) == before
    assert databases(any_db) == [any_db.name]


@pytest.mark.long
def test_d22_what_is_printed_names_each_table_what_things_are_in_and_the_saved_present(
    project: Project, pg_db: PgDatabase
) -> None:
    project.mount()
    pg_db.run(
        "CREATE TABLE public.item AS SELECT generate_series(1, 10) id; CREATE TABLE public.other (a int)"
    )
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin), "DBTASKS_VIA": "host"}
    made = json.loads(project.invoke("db.backup", "--json", **environ).stdout)["backup"]
    manifest = Path(f"{made['path']}.manifest.json")
    document = json.loads(manifest.read_text())
    for table in document["tables"]:
        table["rows"] += 1
    manifest.write_text(json.dumps(document))
    pg_db.run("DELETE FROM public.item")
    before = fingerprint(pg_db)
    ran = project.invoke("db.restore", "--file=latest", "--yes", **environ)
    assert ran.returncode == 5
    safety = json.loads(project.invoke("db.show", "--file=latest:safety", "--json", **environ).stdout)
    for said in (
        "2 tables did not come back with the rows of the manifest",
        "public.item: 10 instead of 11",
        "public.other: 0 instead of 1",
        f"{pg_db.name} is as it was; what was loaded is removed",
        f"what it held when this began was backed up, as {safety['backup']['id']}",
    ):
        assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert fingerprint(pg_db) == before
    assert (databases(pg_db), count(pg_db)["public.item"]) == ([pg_db.name], 0)
    assert json.loads(project.invoke("db.log", "--json", **environ).stdout)["runs"][0]["exit_code"] == 5
    nothing = project.invoke("db.undo", "--yes", **environ)
    assert nothing.returncode == 4, "what failed is not to be undone"
