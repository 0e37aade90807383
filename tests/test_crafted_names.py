"""A manifest somebody wrote by hand, hostile in every field: shown, quoted, never run, never a place to write to."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import DbTasksError
from dbtasks.formats import by_hand, by_hand_inside
from dbtasks.manifest import SUFFIX, dump_manifest, load_manifest
from dbtasks.models import EngineName, Format, Identity, Revision, Route, TableCount
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases
from tests.postgres.rich import fingerprint
from tests.samples import a_backup
from tests.sqlite.databases import content, make, tree

EVIL = "a\x1b]0;t\x07\n'; DROP TABLE item; --\"`touch ran`$(touch ran)\u202e\x9b"
FIELDS = {
    "environment": EVIL,
    "note": EVIL,
    "not_included": (EVIL,),
    "server_version": EVIL,
    "tool_version": EVIL,
    "extensions": {EVIL: EVIL},
    "encoding": EVIL,
    "collation": EVIL,
    "ctype": EVIL,
    "revision": Revision(EVIL, (EVIL,)),
    "sequences": (f"{EVIL}=1",),
    "database_settings": (EVIL,),
    "warnings": (EVIL,),
    "verified_how": EVIL,
    "restored_how": EVIL,
    "anomaly": EVIL,
}


def craft(archive: Path, **fields: Any) -> None:
    """Write other things into a backup's manifest."""
    path = archive.with_name(archive.name + SUFFIX)
    path.write_bytes(dump_manifest(replace(load_manifest(path.read_bytes()), **fields)))


@pytest.mark.long
def test_g21_what_a_crafted_manifest_says_reaches_no_terminal_raw_and_runs_nothing(project: Project) -> None:
    project.mount()
    live = make(project.root / "app.db")
    given = {"DATABASE_URL": "sqlite:///app.db"}
    assert project.invoke("db.backup", **given).returncode == 0
    (archive,) = project.root.glob("backups/manual/*.sqlite3")
    tables = load_manifest(archive.with_name(archive.name + SUFFIX).read_bytes()).tables
    craft(archive, **FIELDS, tables=(*tables, TableCount(EVIL, 3)))
    before, files = content(live), tree(project.root)
    for arguments in (
        ("db.list", "--all"),
        ("db.show", "--file=latest"),
        ("db.info",),
        ("db.diff",),
        ("db.cleanup", "--dry-run"),
        ("db.verify", "--dry-run"),
        ("db.restore", "--file=latest", "--dry-run"),
        ("db.restore", "--file=latest", "--table=item", "--dry-run"),
        ("db.restore", "--file=latest", "--yes", "--confirm=app"),
        ("db.restore", "--file=latest", "--table", EVIL, "--dry-run"),
        ("db.log",),
    ):
        for flags in ((), ("--json",)):
            ran = project.invoke(*arguments, *flags, **given)
            assert "Traceback" not in ran.stderr, (arguments, ran.stderr)
            shown = ran.stdout + ran.stderr
            assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown), (arguments, shown)
            if flags:
                json.loads(ran.stdout)
    # the table it names never came, so nothing of the restore is kept
    assert content(live) == before
    gone = {path for path in files if path not in tree(project.root)}
    assert gone == set()
    assert not list(project.root.rglob("ran"))


DROP = "DROP DATABASE victim"
CRAFTED: dict[str, Any] = {
    "encoding": f"UTF8' CONNECTION LIMIT 7 -- {DROP}",
    "collation": f"C' CONNECTION LIMIT 7 -- {DROP}",
    "ctype": f"C' CONNECTION LIMIT 7 -- {DROP}",
    "database_settings": (
        f"ALTER DATABASE x SET work_mem TO '1MB'; {DROP}",
        f"ALTER ROLE x IN DATABASE y; {DROP} SET a TO b",
    ),
    "extensions": {f"x'; {DROP}; --": "1"},
    "sequences": (f"public.x'; {DROP}; --=1",),
    "tables": (TableCount(f"public.t; {DROP}", 1),),
}


@pytest.mark.long
@pytest.mark.parametrize("field", CRAFTED)
def test_g21_what_a_crafted_manifest_says_is_no_statement_where_a_database_is_made_from_it(
    tmp_path: Path, pg_db: PgDatabase, field: str
) -> None:
    pg_db.run("CREATE TABLE t AS SELECT 1 AS a")
    victim = pg_db.server.create_database(f"{pg_db.name}__victim")
    before = fingerprint(pg_db)
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=pg_db.url, via="host", pg_bin=str(pg_db.server.bin)
    )
    made = dbtasks.backup(config)
    path = made.path.with_name(made.path.name + SUFFIX)
    craft(made.path, **{field: CRAFTED[field]})
    path.write_text(path.read_text("utf-8").replace(DROP, f"DROP DATABASE {victim.name}"), "utf-8")
    there = {*databases(pg_db)}
    try:
        done = dbtasks.restore(
            config, dbtasks.plan_restore(config, dbtasks.RestoreJob(into=f"{pg_db.name}__made"))
        )
        # what is not understood is left out and told
        assert any("DROP DATABASE" in said for said in done.warnings)
        limit = "SELECT datconnlimit FROM pg_database WHERE datname = %s"
        assert pg_db.server.run("postgres", limit, (f"{pg_db.name}__made",)) == [(-1,)]
        assert {*databases(pg_db)} == {*there, f"{pg_db.name}__made"}
    except DbTasksError as exc:
        assert exc.exit_code in (3, 5, 9)
        assert {*databases(pg_db)} == there
    assert victim.name in there
    assert fingerprint(pg_db) == before


HOSTILE_NAMES = ["-h evil.example", "host=evil.example", "postgresql://evil.example/x", "../../x", EVIL]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=repr)
@pytest.mark.parametrize("format_", Format)
def test_g21_the_commands_by_hand_name_a_database_here_whatever_the_manifest_calls_it(
    tmp_path: Path, name: str, format_: Format
) -> None:
    engine = EngineName.SQLITE if format_ is Format.SQLITE else EngineName.POSTGRESQL
    shown = a_backup(
        format=format_,
        route=Route.CONTAINER,
        database=Identity(engine, "localhost:5432", name),
        tool_version="18.4\ntouch ran",
        encoding="UTF8; touch ran",
    )
    lines = [*by_hand(shown), *by_hand_inside(shown)]
    for line in lines:
        assert "\n" not in line
        words = shlex.split(line, comments=True)
        assert not {"touch", "ran", "-h", "evil.example"} & set(words)
        for word in words:
            if "restored" in word:
                assert not word.startswith("-")
                assert not re.search(r"[=/:\n]", word)
    # and a shell that runs them where nothing else is installed makes no file of that name
    bash, touch = shutil.which("bash"), shutil.which("touch")
    if bash and touch:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "touch").symlink_to(touch)
        given = {"PATH": str(tmp_path / "bin")}
        subprocess.run(
            [bash, "-c", "\n".join(lines)], cwd=tmp_path, env=given, capture_output=True, check=False
        )
        made = {path.name for path in tmp_path.iterdir()} - {"bin"}
        # where jq writes the rows of a table to, by a name of ours
        assert all(name.endswith(".restored") or name == "rows.csv" for name in made)


def test_g21_the_version_of_an_extension_ends_no_statement_by_hand() -> None:
    shown = a_backup(format=Format.CUSTOM, extensions={"timescaledb": "2.1'; DROP DATABASE shop; --"})
    created = [line for line in by_hand(shown) if "CREATE EXTENSION" in line]
    assert len(created) == 1
    assert "CREATE EXTENSION timescaledb VERSION '2.1___DROP_DATABASE_shop__--'" in shlex.split(created[0])
