"""Another server under the same address: its backups are listed, and neither replaced by nor put over what is there now."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, free_port, server_of_its_own
from tests.postgres.projects import configured
from tests.postgres.test_undo import backed_up, restore

ELSEWHERE = "7300000000000000001"


@pytest.fixture
def environ(project: Project, pg_db: PgDatabase) -> dict[str, str]:
    project.mount()
    pg_db.run("CREATE TABLE public.t (id int PRIMARY KEY); INSERT INTO public.t VALUES (1), (2)")
    return {"DATABASE_URL": pg_db.url, "DBTASKS_PG_BIN": str(pg_db.server.bin)}


def backup(project: Project, environ: dict[str, str], *flags: str, elsewhere: bool = False) -> str:
    """Make a backup, or one as a former server under this address would have left it; return its id."""
    made = project.invoke("db.backup", "--json", *flags, **environ)
    assert made.returncode == 0, made.stderr
    document = json.loads(made.stdout)["backup"]
    if elsewhere:
        path = Path(document["path"] + ".manifest.json")
        manifest = json.loads(path.read_text())
        assert manifest["system_identifier"]
        path.chmod(0o600)
        path.write_text(json.dumps({**manifest, "system_identifier": ELSEWHERE}))
    return str(document["id"])


@pytest.mark.long
def test_a_backup_of_another_server_at_this_address_needs_the_typed_name(
    project: Project, pg_db: PgDatabase, environ: dict[str, str]
) -> None:
    backup(project, environ, elsewhere=True)
    pg_db.run("INSERT INTO public.t VALUES (3)")
    refused = project.invoke("db.restore", "--file=latest", "--yes", **environ)
    assert refused.returncode == 6
    assert "made on another server than the one that answers as" in refused.stderr
    assert f"--confirm={pg_db.name}" in refused.stderr
    assert pg_db.run("SELECT count(*) FROM public.t") == [(3,)]
    restored = project.invoke("db.restore", "--file=latest", f"--confirm={pg_db.name}", **environ)
    assert restored.returncode == 0, restored.stderr
    assert pg_db.run("SELECT count(*) FROM public.t") == [(2,)]


@pytest.mark.long
@pytest.mark.parametrize("state", ["empty", "missing"])
def test_a_fresh_server_takes_a_backup_of_the_former_one_without_a_question(
    project: Project, pg_db: PgDatabase, environ: dict[str, str], state: str
) -> None:
    backup(project, environ, elsewhere=True)
    if state == "empty":
        pg_db.run("DROP TABLE public.t")
    else:
        pg_db.server.drop_database(pg_db.name)
    restored = project.invoke("db.restore", "--file=latest", "--yes", **environ)
    assert restored.returncode == 0, restored.stderr
    assert pg_db.run("SELECT count(*) FROM public.t") == [(2,)]


def test_the_same_server_asks_for_nothing_more(
    project: Project, pg_db: PgDatabase, environ: dict[str, str]
) -> None:
    backup(project, environ)
    restored = project.invoke("db.restore", "--file=latest", "--yes", **environ)
    assert restored.returncode == 0, restored.stderr


@pytest.mark.long
def test_backups_of_a_new_server_push_out_none_of_the_former_one(
    project: Project, environ: dict[str, str]
) -> None:
    former = backup(project, environ, elsewhere=True)
    new = [backup(project, {**environ, "DBTASKS_KEEP": "1"}) for _ in range(2)]
    listed = json.loads(project.invoke("db.list", "--json", **environ).stdout)["backups"]
    assert [b["id"] for b in listed] == [new[1], former]
    assert [b["latest"] for b in listed] == [True, False]
    plan = project.invoke("db.cleanup", "--dry-run", DBTASKS_KEEP="1", **environ)
    assert "made on another server at this address, counted apart" in plan.stdout


@pytest.mark.long
def test_an_undo_is_refused_where_another_server_answers_although_its_databases_have_the_same_names_and_numbers(
    tmp_path: Path,
) -> None:
    """Two servers made alike give out the same numbers: only their own identity tells them apart."""
    port, seen = str(free_port()), list[list[tuple[str, int]]]()
    kept = ""
    for number in range(2):
        with server_of_its_own(18, port=port) as server:
            shop = server.create_database("shop")
            config = backed_up(tmp_path / str(number), shop)
            old = restore(config).old or ""
            if number:
                server.run("postgres", f'ALTER DATABASE "{old}" RENAME TO "{kept}"')
            kept = kept or old
            seen.append(server.run("postgres", "SELECT datname, oid FROM pg_database ORDER BY 1"))
            if not number:
                continue
            assert seen[0] == seen[1], "nothing but the servers' identity differs"
            first = configured(tmp_path / "0", shop)
            with pytest.raises(Refused, match=r"changed hands.*another server answers"):
                dbtasks.plan_undo(first)
            cleaned = dbtasks.cleanup(first, dbtasks.plan_cleanup(first))
            assert cleaned.dropped == (), "what another server keeps is not dropped either"
            assert server.run("postgres", "SELECT datname, oid FROM pg_database ORDER BY 1") == seen[1]
            assert shop.run("SELECT count(*) FROM public.item") == [(10,)]
