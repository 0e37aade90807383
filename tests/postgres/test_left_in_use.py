"""What a killed restore left half loaded and somebody is connected to: it stays, and that is said wherever it is looked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.cleanup import cleanup_plan_lines
from dbtasks.engines.postgres.exchange.claim import claim_key
from dbtasks.engines.postgres.exchange.leftovers import MARK
from dbtasks.engines.postgres.names import new_name
from dbtasks.journal import read_restores, write_restore
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on
from tests.postgres.test_undo import backed_up, record_of, restore


@dataclass(frozen=True)
class Left:
    """A restore that was killed as it loaded, and the database it left."""

    config: dbtasks.Settings
    database: PgDatabase
    name: str
    why: str
    """The words for it, while its one guest is there; the process is left out."""


@pytest.fixture
def left(tmp_path: Path, pg_db: PgDatabase) -> Left:
    config = backed_up(tmp_path, pg_db)
    restore(config, drop_old=True)
    # as a kill leaves them: a record that says loading, and a database with a mark
    record = {**record_of(config), "id": "zzzzzz", "state": "loading"}
    write_restore(config.backup_dir, "zzzzzz", record)
    for lock in (config.backup_dir / ".locks").iterdir():
        lock.unlink()  # it was another process that died
    name = new_name(pg_db.name, "zzzzzz")
    pg_db.server.create_database(name)
    pg_db.server.run("postgres", f"COMMENT ON DATABASE \"{name}\" IS '{MARK}'")
    return Left(config, pg_db, name, f"{name}, left over by an earlier restore, stays while process ")


@contextmanager
def guest(left: Left) -> Iterator[int]:
    """Somebody connected to what was left; yields the process."""
    connection = left.database.server.connect(left.name)
    try:
        yield connection.info.backend_pid
    finally:
        connection.close()


def plan(left: Left) -> dbtasks.RestorePlan:
    return dbtasks.plan_restore(left.config, dbtasks.RestoreJob("latest:manual"))


def test_d08_a_leftover_that_somebody_is_connected_to_is_told_by_info_and_both_plans(left: Left) -> None:
    with guest(left) as pid:
        told = "\n".join(dbtasks.inspect(left.config).warnings)
        assert f"{left.why}{pid} (postgres" in told
        assert "is connected to it; db.cleanup drops it afterwards, and so does the next restore" in told
        planned = plan(left)
        assert any(text.startswith(f"{left.why}{pid} ") for text in planned.warnings)
        assert not any("left over" in step for step in planned.load.steps), "what stays is not promised"
        cleaning = dbtasks.plan_cleanup(left.config)
        assert cleaning.remains.names == ()
        done = dbtasks.restore(left.config, planned)
        assert len([text for text in done.warnings if text.startswith(f"{left.why}{pid} ")]) == 1
        assert f"keep    {left.why}{pid} " in "\n".join(cleanup_plan_lines(cleaning, utc_now(), None))
        dbtasks.cleanup(left.config, cleaning)
        assert left.name in databases(left.database)
    assert dbtasks.cleanup(left.config, dbtasks.plan_cleanup(left.config)).swept == (left.name,)
    assert left.name not in databases(left.database)


@pytest.mark.long
def test_d08_a_leftover_that_somebody_came_to_after_the_plan_is_told_when_the_restore_ends(
    left: Left,
) -> None:
    planned = plan(left)
    assert f"drop {left.name}, left over by an earlier restore" in planned.load.steps
    with guest(left) as pid:
        done = dbtasks.restore(left.config, planned)
    assert [text for text in done.warnings if text.startswith(f"{left.why}{pid} ")]
    assert left.name in databases(left.database)
    again = dbtasks.restore(left.config, plan(left))
    assert not [text for text in again.warnings if "left over" in text]
    assert left.name not in databases(left.database)


def test_d08_a_cleanup_that_finds_somebody_there_says_so_and_the_next_one_tries_again(left: Left) -> None:
    planned = dbtasks.plan_cleanup(left.config)
    assert planned.remains.names == (left.name,)
    with guest(left) as pid:
        done = dbtasks.cleanup(left.config, planned)
    assert (done.ok, done.swept) == (False, ())
    assert done.failed[0].startswith(f"{left.why}{pid} ")
    assert not any(record.get("swept_at") for record in read_restores(left.config.backup_dir))
    assert dbtasks.cleanup(left.config, dbtasks.plan_cleanup(left.config)).swept == (left.name,)


def test_d08_a_leftover_that_the_role_may_not_drop_is_told_with_the_servers_reason(
    pg: PgServer, tmp_path: Path
) -> None:
    role = pg.create_role("LOGIN CREATEDB")
    with pg.fresh(f'OWNER "{role.user}"') as owned:
        config = backed_up(tmp_path, owned.seen_by(role))
        name = new_name(owned.name, "zzzzzz")
        pg.create_database(name)
        pg.run("postgres", f"COMMENT ON DATABASE \"{name}\" IS '{MARK}'")
        done = restore(config)
        (told,) = [text for text in done.warnings if "left over" in text]
        assert told.startswith(f"{name}, left over by an earlier restore, was not dropped: ")
        assert "must be owner" in told
        pg.drop_database(name)


def test_d13_what_another_restore_is_making_is_not_called_a_leftover(left: Left) -> None:
    with guest(left), engine_on(left.database) as engine:
        with engine.claimed():
            assert list(engine.left_in_use(["zzzzzz"])) == [left.name], (
                "our own claim says nothing against it"
            )
        with closing(left.database.server.connect("postgres")) as elsewhere:
            elsewhere.autocommit = True
            elsewhere.cursor().execute("SELECT pg_try_advisory_lock(%s)", (claim_key(left.database.name),))
            assert engine.left_in_use(["zzzzzz"]) == {}
        assert list(engine.left_in_use(["zzzzzz"])) == [left.name]


@pytest.mark.long
def test_d08_the_tasks_say_that_a_leftover_stays(left: Left, project: Project) -> None:
    project.mount()
    environ = {
        "DATABASE_URL": left.database.url,
        "DBTASKS_PG_BIN": str(left.database.server.bin),
        "DBTASKS_VIA": "host",
        "DBTASKS_BACKUP_DIR": str(left.config.backup_dir),
    }
    with guest(left) as pid:
        shown = project.invoke("db.cleanup", "--dry-run", "--json", **environ)
        (stays,) = json.loads(shown.stdout)["left_in_use"]
        assert (stays["name"], stays["reason"].startswith(f"{left.why}{pid} ")) == (left.name, True)
        ended = project.invoke("db.restore", "--file=latest:manual", "--yes", **environ)
        assert ended.returncode == 0, ended.stderr
        assert f"{left.why}{pid} " in ended.stderr
