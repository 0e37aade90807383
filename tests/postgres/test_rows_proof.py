"""Rows backups proven by a restore: their tables made by their own schema, on the server or a throwaway one, and gone again."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import Refused
from dbtasks.executors.verify import plan_proofs
from dbtasks.models import Format
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.moments import at_phase
from tests.ordinary_user import a_folder, as_ordinary_user
from tests.postgres import odd
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import databases
from tests.postgres.test_rows_restore import backed_up, settings_of
from tests.postgres.test_throwaway import assert_nothing_left
from tests.postgres.test_verify_restore import proven, stored
from tests.sqlite.databases import make as make_sqlite

CALLS = (
    "CREATE FUNCTION public.shout(text) RETURNS text LANGUAGE sql AS 'SELECT upper($1)';"
    "CREATE TABLE t (a text DEFAULT public.shout('x')); INSERT INTO t DEFAULT VALUES"
)


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with a_folder() as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def test_everything_a_rows_backup_can_hold_is_proven_on_its_server_and_nothing_is_left(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run(odd.schema_for(any_db.server.version))
    config = settings_of(any_db, tmp_path)
    made = backed_up(config)
    seen: list[list[str]] = []
    done = proven(config, made, on_event=at_phase("check", lambda: seen.append(databases(any_db))))
    assert done.ok, done.how
    assert done.restored is not None
    assert done.restored.rows == sum(made.manifest.counts.values())
    assert f"a scratch database of localhost:{any_db.server.port} (PostgreSQL " in done.restored.how
    assert done.restored.how.endswith("rows as in the manifest")
    assert len(seen[0]) == 2, "it was there"
    assert databases(any_db) == [any_db.name]
    kept = stored(config).manifest
    assert (kept.restored_how, kept.restored_seconds) == (done.restored.how, round(done.restored.seconds, 3))
    assert kept.restored_at is not None


def test_an_ordinary_role_without_any_client_tool_proves_it(pg: PgServer, tmp_path: Path) -> None:
    owner = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (1), (2)")
        empty = tmp_path / "no tools"
        empty.mkdir()
        made = backed_up(settings_of(mine, tmp_path))
        for one in (settings_of(mine, tmp_path, via="host", pg_bin=empty), settings_of(mine, tmp_path)):
            done = proven(one, made)
            assert done.ok, done.how
        assert databases(database) == [database.name]


def test_what_its_schema_cannot_make_here_is_why_there_is_no_proof_and_is_no_damage(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(CALLS)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pytest.raises(Refused, match="cannot be proven by a restore: ") as caught:
        proven(config, made, where="auto")
    assert caught.value.details.endswith("needs function public.shout(), which is not there")
    assert (caught.value.exit_code, caught.value.state) == (6, "nothing was touched")
    kept = stored(config).manifest
    assert (kept.damage, kept.restored_at) == ("", None)
    assert databases(pg_db) == [pg_db.name]
    with pytest.raises(Refused, match="cannot be proven by a restore"):
        plan_proofs(config, [made])


def test_f14_rows_that_break_a_key_fail_the_proof_and_are_not_called_damage(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1);"
        "CREATE TABLE b (a int REFERENCES a); INSERT INTO b VALUES (1);"
        "SET session_replication_role = replica; DELETE FROM a"
    )
    config = settings_of(pg_db, tmp_path)
    done = proven(config, backed_up(config))
    assert (done.ok, done.exit_code) == (False, 5)
    assert "violates foreign key constraint" in done.how
    assert stored(config).manifest.damage == ""
    assert databases(pg_db) == [pg_db.name]


@pytest.mark.parametrize(
    ("request_", "proves"), [({"schema_only": True}, True), ({"data_only": True}, False)]
)
def test_b10_a_part_is_proven_by_what_it_holds_and_rows_alone_cannot_be(
    pg_db: PgDatabase, tmp_path: Path, request_: dict[str, Any], proves: bool
) -> None:
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, **request_)
    if proves:
        assert proven(config, made).ok
        return
    with pytest.raises(Refused, match="holds rows alone"):
        proven(config, made)


def test_what_keeps_the_tools_away_keeps_no_rows_away_and_each_backup_says_its_own(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    config = configured(tmp_path, pg_db)
    whole, rows = made_with(config, format=Format.SQL), backed_up(settings_of(pg_db, tmp_path))
    empty = tmp_path / "no tools"
    empty.mkdir()
    without = settings_of(pg_db, tmp_path, via="host", pg_bin=empty)
    done = dbtasks.verify(without, [whole, rows], restore=True, where="server")
    assert [(one.ok, one.exit_code) for one in done] == [(False, 3), (True, 0)], [one.how for one in done]


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="Unix sockets")
def test_it_is_proven_on_a_throwaway_server_by_a_plain_role(pg_db: PgDatabase, home: Path) -> None:
    pg_db.run(odd.schema_for(pg_db.server.version))

    def act() -> None:
        config = configured(home, pg_db)
        made = backed_up(settings_of(pg_db, home))
        done = proven(config, made, where="throwaway")
        assert done.ok, done.how
        assert done.restored is not None
        assert "a throwaway server on this machine" in done.restored.how
        assert done.restored.rows == sum(made.manifest.counts.values())
        # no database of this kind is configured: its own engine proves it all the same
        lite = dbtasks.load_settings(home, environ={}, url="sqlite:///app.db", pg_bin=config.pg_bin)
        assert proven(lite, made, where="auto").ok
        assert_nothing_left(config)

    as_ordinary_user(act)
    assert databases(pg_db) == [pg_db.name]


def test_rows_of_the_other_engine_are_proven_on_their_own(pg_db: PgDatabase, tmp_path: Path) -> None:
    lite = dbtasks.load_settings(tmp_path, environ={}, url=f"sqlite:///{make_sqlite(tmp_path / 'app.db')}")
    made = backed_up(lite, format=Format.ROWS)
    done = dbtasks.verify(settings_of(pg_db, tmp_path), [made], restore=True)[0]
    assert done.ok, done.how
    assert done.restored is not None
    assert "restored into a temporary file" in done.restored.how


def test_a10_an_interrupted_proof_of_rows_drops_what_it_loaded(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)

    def stop() -> None:
        raise KeyboardInterrupt

    for phase in ("load", "create", "check"):
        with pytest.raises(KeyboardInterrupt):
            proven(config, made, on_event=at_phase(phase, stop))
        assert databases(pg_db) == [pg_db.name]


def test_the_task_says_where_and_how_long_and_lists_it(pg_db: PgDatabase, project: Project) -> None:
    pg_db.run("CREATE TABLE a (id int); INSERT INTO a VALUES (1)")
    project.mount()
    environ = {"DATABASE_URL": pg_db.url}
    assert project.invoke("db.backup", "--format=rows", **environ).returncode == 0
    planned = project.invoke("db.verify", "--restore", "--dry-run", **environ)
    assert "and restore it into a scratch database of " in planned.stdout
    done = project.invoke("db.verify", "--restore", "--json", **environ)
    assert done.returncode == 0, done.stdout + done.stderr
    (entry,) = json.loads(done.stdout)["verified"]
    assert (entry["restored"]["tables"], entry["restored"]["rows"]) == (1, 1)
    assert "✓ restored " in project.invoke("db.list", **environ).stdout
