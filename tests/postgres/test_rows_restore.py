"""Restores of rows backups into databases that have the tables: all or nothing, by an ordinary owner, without client tools."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.rows import load as rows_load
from dbtasks.engines.postgres.rows import set_aside
from dbtasks.errors import (
    ArchiveDamaged,
    Busy,
    CountsDiffer,
    DbTasksError,
    LoadFailed,
    Refused,
    RightMissing,
    UsageError,
)
from dbtasks.events import OnEvent, ignore
from dbtasks.executors.undo import UndoWay
from dbtasks.models import Backup, Format, Route, Type
from dbtasks.plans import LoadRequest, LoadStrategy
from dbtasks.settings import Settings
from tests.conftest import REPOSITORY, Project
from tests.fix_postgres import PASSWORD, PgDatabase
from tests.moments import at_progress
from tests.postgres import rich

STATE = (
    "SELECT schemaname, sequencename, last_value FROM pg_sequences ORDER BY 1, 2",
    "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), obj_description(oid, 'pg_constraint')"
    " FROM pg_constraint WHERE conrelid <> 0 AND contype <> 'n' ORDER BY 1, 2",
    "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid FROM pg_index"
    " WHERE indexrelid >= 16384 ORDER BY 1",
    "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2",
    "SELECT attrelid::regclass::text, attname, attnotnull FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0"
    " AND NOT attisdropped ORDER BY 1, 2",
    "SELECT oid::regclass::text, relkind, relispopulated FROM pg_class WHERE oid >= 16384 AND relkind IN ('v', 'm') ORDER BY 1",
)
TABLES = """
    SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'm') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' ORDER BY 1
"""


def state_of(database: PgDatabase) -> dict[str, Any]:
    """Everything a restore of rows could leave changed: rows, sequences, keys, indexes, triggers, views."""
    rows = {
        table: sorted(str(row) for (row,) in database.run(f"SELECT x::text FROM ONLY {table} x"))
        for (table,) in database.run(TABLES)
    }
    return {**rows, **{query: database.run(query) for query in STATE}}


def settings_of(database: PgDatabase, root: Path, **flags: Any) -> Settings:
    return dbtasks.load_settings(root, environ={}, url=database.url, **{"via": "python", **flags})


def backed_up(config: Settings, **request: Any) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))


def planned(config: Settings, made: Backup | str = "latest", **request: Any) -> dbtasks.RestorePlan:
    skip = request.pop("skip_safety_backup", False)
    file = made if isinstance(made, str) else made.id
    return dbtasks.plan_restore(
        config, dbtasks.RestoreJob(file, request=LoadRequest(**request), skip_safety_backup=skip)
    )


def restored(
    config: Settings, made: Backup | str = "latest", on_event: OnEvent = ignore, **request: Any
) -> dbtasks.RestoreResult:
    return dbtasks.restore(config, planned(config, made, **request), on_event=on_event)


@dataclass(frozen=True)
class Shop:
    """A database with a backup of it, and the way to both."""

    database: PgDatabase
    config: Settings
    made: Backup

    def fails(self, kind: type[DbTasksError], match: str, **request: Any) -> DbTasksError:
        """See that a restore fails so, and that the database is as it was."""
        before = state_of(self.database)
        with pytest.raises(kind, match=match) as caught:
            restored(self.config, self.made, skip_safety_backup=True, **request)
        assert state_of(self.database) == before
        return caught.value


SMALL = """
CREATE TABLE customer (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text);
CREATE TABLE item (id serial PRIMARY KEY, customer_id int REFERENCES customer (id), price numeric(9,2));
CREATE INDEX item_price ON item (price);
INSERT INTO customer (name) SELECT 'c' || i FROM generate_series(1, 5) i;
INSERT INTO item (customer_id, price) SELECT 1 + i % 5, i FROM generate_series(1, 20) i;
"""


@pytest.fixture
def shop(pg_db: PgDatabase, tmp_path: Path) -> Shop:
    pg_db.run(SMALL)
    config = settings_of(pg_db, tmp_path)
    return Shop(pg_db, config, backed_up(config))


@pytest.fixture
def owned(pg_db: PgDatabase) -> Iterator[PgDatabase]:
    """A database seen by an ordinary role that owns what it makes there, and may not create databases."""
    role = pg_db.server.create_role("LOGIN NOSUPERUSER NOCREATEDB NOBYPASSRLS")
    pg_db.run(f'GRANT ALL ON SCHEMA public TO "{role.user}"')
    yield pg_db.seen_by(role)
    pg_db.run(f'REASSIGN OWNED BY "{role.user}" TO postgres; DROP OWNED BY "{role.user}"')


# -- all of it comes back ----------------------------------------------------------------------------


def test_b05_b06_b07_b08_e09_e13_e14_e16_every_row_comes_back_and_all_else_stays(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    rich.fill(any_db)
    any_db.run("CREATE TABLE later (id int); INSERT INTO later VALUES (1)")
    config = settings_of(any_db, tmp_path)
    before = state_of(any_db)
    made = backed_up(config, exclude_tables=("later",))
    any_db.run(
        "DELETE FROM orders; DELETE FROM customer; INSERT INTO customer (name) VALUES ('new'); DELETE FROM parent;"
        "SELECT nextval('ticket'); SELECT nextval('orders_id_seq'); REFRESH MATERIALIZED VIEW totals;"
        'UPDATE "App Data"."Upper Case" SET "Sel ect" = \'changed\''
    )
    changed = state_of(any_db)
    plan = planned(config, made)
    assert plan.load.strategy is LoadStrategy.ROWS
    assert sorted(plan.load.fills) == sorted(made.manifest.counts)
    assert plan.load.stays[0] == "table public.later"
    assert "3 functions (public.add_one, public.shout, public.stamp)" in plan.load.stays
    assert plan.warnings == ()
    result = dbtasks.restore(config, plan)
    # of a sequence that is no column's, `later` may have taken the next number
    assert any_db.run("SELECT setval('ticket', last_value - 1) FROM ticket") == [(1000,)]
    assert state_of(any_db) == before
    assert (result.tables, result.rows) == (len(made.manifest.counts), sum(made.manifest.counts.values()))
    assert result.way_back == "db.undo"
    assert any_db.run("INSERT INTO customer (name) VALUES ('next') RETURNING id") == [(51,)]
    any_db.run("DELETE FROM customer WHERE id = 51")
    undone = dbtasks.undo(config, dbtasks.plan_undo(config))
    assert undone.way is UndoWay.SAFETY
    assert {k: v for k, v in state_of(any_db).items() if "sequence" not in k} == {
        k: v for k, v in changed.items() if "sequence" not in k
    }


def test_without_any_client_tools_a_backup_a_restore_and_an_undo_go_by_themselves(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no-tools").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "no-tools"))
    environ = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}
    monkeypatch.setenv("DOCKER_HOST", environ["DOCKER_HOST"])
    config = dbtasks.load_settings(tmp_path, environ=environ, url=shop.database.url)
    before = state_of(shop.database)
    shop.database.run("DELETE FROM item")
    emptied = state_of(shop.database)
    result = restored(config, shop.made)
    assert state_of(shop.database) == before
    assert result.safety_backup is not None
    assert result.safety_backup.manifest.format is Format.ROWS
    assert result.safety_backup.manifest.type is Type.SAFETY
    assert dbtasks.undo(config, dbtasks.plan_undo(config)).way is UndoWay.SAFETY
    assert state_of(shop.database)["public.item"] == emptied["public.item"] == []


def test_with_client_tools_the_present_is_saved_whole(shop: Shop, tmp_path: Path) -> None:
    tools = settings_of(shop.database, tmp_path, via="host", pg_bin=str(shop.database.server.bin))
    shop.database.run("DELETE FROM item; CREATE VIEW v AS SELECT 1 AS one")
    result = restored(tools, shop.made)
    assert result.safety_backup is not None
    assert (result.safety_backup.manifest.format, result.safety_backup.manifest.complete) == (
        Format.CUSTOM,
        True,
    )
    assert shop.database.run("SELECT count(*) FROM item") == [(20,)]
    dbtasks.undo(tools, dbtasks.plan_undo(tools))
    assert shop.database.run("SELECT count(*) FROM item") == [(0,)]


@pytest.mark.long
@pytest.mark.parametrize("what", ["filled", "made", "one table"])
def test_the_route_of_rows_is_python_and_the_tools_are_said_to_save_the_present(
    shop: Shop, project: Project, what: str
) -> None:
    project.mount()
    if what == "made":
        shop.database.run(
            "DROP TABLE item, customer; CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 7'"
        )
    flags = [f"--file={shop.made.path}", *(["--table=item"] if what == "one table" else [])]
    tools = {"DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(shop.database.server.bin)}
    environ = {"DATABASE_URL": shop.database.url, **tools}
    shown = project.invoke("db.restore", *flags, "--dry-run", **environ)
    assert "  route    python: rows go by psycopg2 alone" in shown.stderr.splitlines()
    assert "Route    python: rows go by psycopg2 alone" in shown.stdout.splitlines()
    safety = next(line for line in shown.stdout.splitlines() if line.startswith("Safety"))
    assert safety.endswith(" is taken first, by host: asked for")
    assert "Route    host" not in shown.stdout
    told = json.loads(project.invoke("db.restore", *flags, "--dry-run", "--json", **environ).stdout)
    plan = told["plan"]
    assert (told["route"], plan["route"], plan["safety_route"]) == ("python", "python", "host")
    assert told["why"] == plan["why"] == "rows go by psycopg2 alone"
    ran = project.invoke("db.restore", *flags, "--yes", "--json", **environ)
    done = json.loads(ran.stdout)
    assert (ran.returncode, done["route"]) == (0, "python"), ran.stderr
    config = settings_of(shop.database, project.root)
    (saved,) = (one for one in dbtasks.list_backups(config).backups if one.manifest.type is Type.SAFETY)
    assert (saved.id, saved.manifest.route) == (done["restore"]["safety_backup"], Route.HOST)


@pytest.mark.long
def test_tools_that_are_not_in_a_container_are_warned_of_as_those_of_the_safety_backup(
    shop: Shop, project: Project
) -> None:
    project.mount()
    nowhere = "unix:///nowhere/docker.sock"
    tools = {"DBTASKS_PG_BIN": str(shop.database.server.bin), "DOCKER_HOST": nowhere}
    flags = ("db.restore", f"--file={shop.made.path}", "--dry-run")
    ran = project.invoke(*flags, "--json", **{"DATABASE_URL": shop.database.url, **tools})
    told = json.loads(ran.stdout)
    (warning,) = (text for text in told["warnings"] if "client tools" in text)
    why = f"not by a container: Docker is not running here: nothing answers at DOCKER_HOST={nowhere}"
    assert warning == f"any safety backup is made by the host's client tools, {why}"
    assert (told["route"], told["plan"]["safety_route"]) == ("python", "host")
    environ = {"DATABASE_URL": shop.database.url, **tools}
    for more, off in ((("--skip-safety-backup",), {}), ((), {"DBTASKS_SAFETY_BACKUP": "no"})):
        for table in ((), ("--table=item",)):
            ran = project.invoke(*flags, *more, *table, "--json", **environ, **off)
            assert [text for text in json.loads(ran.stdout)["warnings"] if "client tools" in text] == []


@pytest.mark.long
def test_where_nothing_is_saved_no_way_of_it_is_told(shop: Shop, project: Project) -> None:
    project.mount()
    environ = {"DATABASE_URL": shop.database.url, "DBTASKS_VIA": "python"}
    flags = ("db.restore", f"--file={shop.made.path}", "--dry-run")
    told = json.loads(project.invoke(*flags, "--json", **environ).stdout)
    assert (told["plan"]["route"], told["plan"]["why"]) == ("python", "asked for")
    assert told["plan"]["safety_route"] == "python"
    shown = project.invoke(*flags, "--skip-safety-backup", **{**environ, "DBTASKS_VIA": "host"})
    assert "Safety   none: --skip-safety-backup" in shown.stdout.splitlines()
    told = json.loads(project.invoke(*flags, "--skip-safety-backup", "--json", **environ).stdout)
    assert told["plan"]["safety_route"] is None


def test_into_another_database_that_has_the_tables(shop: Shop, tmp_path: Path) -> None:
    with shop.database.server.fresh() as other:
        other.run(SMALL.partition("INSERT")[0])
        job = dbtasks.RestoreJob(shop.made.id, into=other.name)
        plan = dbtasks.plan_restore(shop.config, job)
        assert (plan.safety, plan.load.route) == (True, Route.PYTHON)
        dbtasks.restore(shop.config, plan)
        assert other.run("SELECT count(*), sum(price) FROM item") == [(20, 210)]


@pytest.mark.parametrize("what", ["empty", "missing", "one table"])
def test_what_lacks_the_tables_is_refused_by_name(shop: Shop, what: str) -> None:
    # where there is no table at all, only a backup without definitions is refused
    made = shop.made if what == "one table" else backed_up(shop.config, data_only=True)
    with shop.database.server.fresh() as other:
        if what == "missing":
            shop.database.server.drop_database(other.name)
        if what == "one table":
            other.run("CREATE TABLE customer (id int, name text)")
        with pytest.raises(Refused, match=r"lacks tables of .*: .*public\.item") as caught:
            dbtasks.plan_restore(shop.config, dbtasks.RestoreJob(made.id, into=other.name))
        assert "of a backup with definitions" in caught.value.hint
        assert caught.value.state == "nothing was touched"


def test_the_plan_says_what_is_there_and_stays_and_not_what_the_backup_saw(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); CREATE VIEW gone AS SELECT 1 AS x")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run(
        "DROP VIEW gone; CREATE VIEW came AS SELECT 2 AS x; ALTER TABLE item ENABLE ROW LEVEL SECURITY;"
        "CREATE FUNCTION lately() RETURNS int LANGUAGE sql AS 'SELECT 1'"
    )
    assert planned(config, made).load.stays == (
        "1 function (public.lately)",
        "1 view (public.came)",
        "1 table's row-level security (public.item)",
        "owners, privileges, comments",
    )


def test_rows_without_definitions_come_back_too(shop: Shop) -> None:
    made = backed_up(shop.config, data_only=True)
    before = state_of(shop.database)
    shop.database.run("DELETE FROM item WHERE id > 3; UPDATE customer SET name = 'x'")
    restored(shop.config, made)
    assert state_of(shop.database) == before


def test_a_part_brings_its_own_tables_back_and_no_others(shop: Shop) -> None:
    made = backed_up(shop.config, tables=("item",))
    shop.database.run("DELETE FROM item; UPDATE customer SET name = 'x'")
    plan = planned(shop.config, made)
    assert plan.load.fills == ("public.item",)
    assert plan.load.stays[0] == "table public.customer"
    assert [(change.name, change.backup_rows, change.live_rows) for change in plan.changes] == [
        ("public.item", 20, 0)
    ]
    dbtasks.restore(shop.config, plan)
    assert shop.database.run("SELECT count(*), (SELECT min(name) FROM customer) FROM item") == [(20, "x")]


def test_definitions_alone_hold_nothing_to_restore(shop: Shop) -> None:
    made = backed_up(shop.config, schema_only=True)
    with pytest.raises(Refused, match="holds no rows"):
        planned(shop.config, made)


def test_a_table_without_columns_and_one_of_computed_ones_get_their_rows(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE none (); INSERT INTO none SELECT FROM generate_series(1, 3);"
        "CREATE TABLE computed (a int GENERATED ALWAYS AS (1 + 1) STORED); INSERT INTO computed DEFAULT VALUES"
    )
    config = settings_of(pg_db, tmp_path)
    before = state_of(pg_db)
    made = backed_up(config)
    pg_db.run("TRUNCATE none; TRUNCATE computed")
    assert restored(config, made).rows == 4
    assert state_of(pg_db) == before


@pytest.mark.long
def test_b09_a_value_of_thirty_megabytes_goes_in_piece_by_piece(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        "CREATE TABLE wide (id int, t text, b bytea); ALTER TABLE wide ALTER t SET STORAGE EXTERNAL;"
        "INSERT INTO wide SELECT i, repeat(E'a\"\\\\\\n\\u0001ü', 3000000), decode(repeat('00ff5c22', 4000000), 'hex') FROM generate_series(1, 2) i"
    )
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    query = "SELECT id, md5(t), length(t), md5(b) FROM wide ORDER BY id"
    before = pg_db.run(query)
    pg_db.run("TRUNCATE wide")
    script = (
        "import resource, sys, dbtasks; from pathlib import Path\n"
        "config = dbtasks.load_settings(Path(sys.argv[1]), environ={}, url=sys.argv[2], via='python')\n"
        "plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[3], skip_safety_backup=True))\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "dbtasks.restore(config, plan)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = run_python(script, str(tmp_path), pg_db.url, made.id)
    assert done.returncode == 0, done.stderr
    assert pg_db.run(query) == before
    assert int(done.stdout) < 16_000  # KiB beyond what reading it whole had taken; one value has 30 MB


def run_python(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


# -- keys, triggers, sequences, views ---------------------------------------------------------------------


@pytest.mark.long
def test_e11_two_hundred_tables_in_circles_as_an_ordinary_owner(owned: PgDatabase, tmp_path: Path) -> None:
    count = 200
    names = [f"t{i:03}" for i in range(count)]
    owned.run("".join(f"CREATE TABLE {n} (id int PRIMARY KEY, next int, self int);" for n in names))
    owned.run("".join(f"INSERT INTO {n} VALUES (1, 1, 1), (2, 1, NULL);" for n in names))
    owned.run(
        "".join(
            f"ALTER TABLE {n} ADD CONSTRAINT around FOREIGN KEY (next) REFERENCES {names[(i + 1) % count]}"
            f" {('', 'DEFERRABLE', 'ON DELETE CASCADE', 'DEFERRABLE INITIALLY DEFERRED')[i % 4]};"
            f"ALTER TABLE {n} ADD FOREIGN KEY (self) REFERENCES {n};"
            for i, n in enumerate(names)
        )
        + "COMMENT ON CONSTRAINT around ON t000 IS 'it''s round';"
    )
    config = settings_of(owned, tmp_path)
    made = backed_up(config)
    before = state_of(owned)
    owned.run(f"TRUNCATE {', '.join(names)}; INSERT INTO t001 VALUES (5, NULL, 5)")
    assert restored(config, made).tables == count
    assert state_of(owned) == before


def test_e10_a_table_outside_that_refers_into_it_is_refused_by_name(shop: Shop) -> None:
    shop.database.run(
        'CREATE SCHEMA x; CREATE TABLE x."Later" (id int, item int CONSTRAINT leads REFERENCES item);'
        'INSERT INTO x."Later" VALUES (1, 1)'
    )
    refused = shop.fails(
        Refused, r"x\.Later is not in the backup and refers to public\.item \(foreign key leads\)"
    )
    assert refused.state == "nothing was touched"


def test_e10_a_table_whose_rows_alone_are_left_out_is_told_when_backed_up_and_refused_as_that(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p DEFAULT;"
        "CREATE TABLE r (id int CONSTRAINT leads REFERENCES p)"
    )
    config = settings_of(pg_db, tmp_path)
    assert backed_up(config).manifest.warnings == ()
    said = (
        "the rows of public.r are not in it and refer to public.p: it cannot go back into tables where that key stands",
    )
    assert backed_up(config, tables=("p",)).manifest.warnings == said
    made = backed_up(config, exclude_data=("r",))
    assert made.manifest.warnings == said
    with pytest.raises(
        Refused,
        match=r"rows of public\.r were left out of the backup and refer to public\.p \(foreign key leads\)",
    ):
        planned(config, made)


def test_e10_a_key_into_a_partition_goes_by_the_name_that_somebody_gave_it(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (9);"
        "CREATE TABLE p2 PARTITION OF p DEFAULT; CREATE TABLE r (id int CONSTRAINT leads REFERENCES p)"
    )
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, tables=("public.p1",))
    with pytest.raises(
        Refused, match=r"public\.r is not in the backup and refers to public\.p1 \(foreign key leads\)"
    ):
        planned(config, made)


def test_e12_rows_that_break_a_key_are_refused_and_it_is_named(shop: Shop) -> None:
    shop.database.run(
        "ALTER TABLE item DROP CONSTRAINT item_customer_id_fkey; UPDATE item SET customer_id = 9 WHERE id = 1"
    )
    made = backed_up(shop.config)
    shop.database.run(
        "UPDATE item SET customer_id = 1; ALTER TABLE item ADD CONSTRAINT told FOREIGN KEY (customer_id) REFERENCES customer"
    )
    failed = Shop(shop.database, shop.config, made).fails(
        LoadFailed, r"rows of public\.item break its foreign key told"
    )
    assert "as it was" in failed.state


def test_a_key_to_a_table_that_is_not_in_the_backup_holds_too(shop: Shop) -> None:
    made = backed_up(shop.config, tables=("item",))
    shop.database.run("DELETE FROM item; DELETE FROM customer WHERE id = 1")
    Shop(shop.database, shop.config, made).fails(
        LoadFailed, r"rows of public\.item do not go in: .*foreign key"
    )


def test_a_key_that_was_never_validated_is_so_afterwards(shop: Shop) -> None:
    shop.database.run(
        "ALTER TABLE item DROP CONSTRAINT item_customer_id_fkey; UPDATE item SET customer_id = 9 WHERE id = 1;"
        "ALTER TABLE item ADD CONSTRAINT later FOREIGN KEY (customer_id) REFERENCES customer NOT VALID"
    )
    before, made = state_of(shop.database), backed_up(shop.config)
    shop.database.run("DELETE FROM item")
    restored(shop.config, made)
    assert state_of(shop.database) == before


def test_e13_triggers_sleep_and_wake_up_as_they_were(shop: Shop) -> None:
    shop.database.run(
        "CREATE TABLE heard (what text);"
        "CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.heard VALUES (TG_NAME); RETURN NEW; END$$;"
        "CREATE TRIGGER plain AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION hear();"
        "CREATE TRIGGER always AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION hear();"
        "CREATE TRIGGER emptied AFTER TRUNCATE ON item FOR EACH STATEMENT EXECUTE FUNCTION hear();"
        "CREATE TRIGGER off AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION hear();"
        "CREATE TRIGGER replica AFTER INSERT ON item FOR EACH ROW EXECUTE FUNCTION hear();"
        "ALTER TABLE item ENABLE ALWAYS TRIGGER always; ALTER TABLE item DISABLE TRIGGER off;"
        "ALTER TABLE item ENABLE REPLICA TRIGGER replica"
    )
    before = state_of(shop.database)
    restored(shop.config, shop.made)
    assert state_of(shop.database) == before
    shop.database.run("INSERT INTO item (price) VALUES (1)")
    assert sorted(shop.database.run("SELECT what FROM heard")) == [("always",), ("plain",)]


@pytest.mark.parametrize("stays", [(), ("two",)], ids=str)
def test_e14_sequences_stand_where_they_stood_and_never_at_a_number_in_use(
    pg_db: PgDatabase, tmp_path: Path, stays: tuple[str, ...]
) -> None:
    pg_db.run(
        "CREATE TABLE a (id serial, small smallserial, down int); CREATE SEQUENCE down INCREMENT -2 START -1 MINVALUE -9;"
        "ALTER TABLE a ALTER down SET DEFAULT nextval('down'); CREATE SEQUENCE never; CREATE SEQUENCE alone START 7;"
        "CREATE SEQUENCE ended MAXVALUE 2; SELECT nextval('alone'), nextval('ended'); SELECT nextval('ended');"
        "CREATE SEQUENCE shared; CREATE TABLE one (id int DEFAULT nextval('shared')); CREATE TABLE two (id int DEFAULT nextval('shared'));"
        "INSERT INTO a DEFAULT VALUES; INSERT INTO a DEFAULT VALUES; INSERT INTO one DEFAULT VALUES;"
        "CREATE TABLE behind (id serial); INSERT INTO behind (id) VALUES (10)"
    )
    config = settings_of(pg_db, tmp_path)
    query = "SELECT sequencename, last_value FROM pg_sequences ORDER BY 1"
    before = dict(pg_db.run(query))
    made = backed_up(config, exclude_data=stays)
    pg_db.run(
        "SELECT nextval('a_id_seq'), nextval('alone'), nextval('never'), nextval('shared'), nextval('down');"
        "INSERT INTO two SELECT nextval('shared'); ALTER SEQUENCE ended MAXVALUE 5"
    )
    restored(config, made)
    after = dict(pg_db.run(query))
    # `two` is not in the backup, and has 3: `shared` stays there, and with it all that are no column's own;
    # `behind` has a 10 that its sequence never gave out
    kept = {"shared": 3, "alone": 8, "never": 1, "down": -5} if stays else {}
    assert after == before | {"behind_id_seq": None} | kept
    assert pg_db.run(
        "SELECT nextval('shared'), nextval('behind_id_seq'), nextval('never'), nextval('down')"
    ) == [(4, 11, 2, -7) if stays else (2, 11, 1, -5)]


def test_e15_a_failure_leaves_the_sequences_where_they_are(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.database.run("SELECT nextval('item_id_seq') FROM generate_series(1, 7)")

    def fail(*_: object) -> None:
        raise LoadFailed("a disk fell out")

    monkeypatch.setattr(rows_load, "wake", fail)
    shop.fails(LoadFailed, "a disk fell out")
    assert shop.database.run("SELECT nextval('item_id_seq')") == [(28,)]


def test_e16_materialized_views_are_refreshed_in_their_order_and_others_are_told(
    owned: PgDatabase, pg_db: PgDatabase, tmp_path: Path
) -> None:
    owned.run(
        SMALL + "CREATE MATERIALIZED VIEW b AS SELECT count(*) AS n FROM item;"
        "CREATE VIEW between AS SELECT n FROM b; CREATE MATERIALIZED VIEW a AS SELECT n FROM between;"
        "CREATE MATERIALIZED VIEW empty AS SELECT n FROM b WITH NO DATA"
    )
    pg_db.run(
        "CREATE MATERIALIZED VIEW public.strange AS SELECT count(*) AS n FROM item; GRANT SELECT ON strange TO PUBLIC"
    )
    config = settings_of(owned, tmp_path)
    made = backed_up(config)
    pg_db.run(
        "DELETE FROM item; REFRESH MATERIALIZED VIEW b; REFRESH MATERIALIZED VIEW a; REFRESH MATERIALIZED VIEW strange"
    )
    plan = planned(config, made)
    assert plan.warnings == (
        "public.strange belongs to postgres and is not refreshed: REFRESH MATERIALIZED VIEW afterwards",
    )
    dbtasks.restore(config, plan)
    assert owned.run("SELECT (SELECT n FROM b), (SELECT n FROM a), (SELECT n FROM strange)") == [(20, 20, 0)]
    assert owned.run("SELECT relispopulated FROM pg_class WHERE relname = 'empty'") == [(False,)]


def test_e17_the_migrations_revision_comes_back_in_the_same_transaction(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.database.run(
        "CREATE TABLE alembic_version (version_num text PRIMARY KEY); INSERT INTO alembic_version VALUES ('old')"
    )
    made = backed_up(shop.config)
    shop.database.run("UPDATE alembic_version SET version_num = 'new'")
    plan = planned(shop.config, made)
    assert plan.warnings == (
        "the definitions here are of alembic's revision new and stay so, and its table will say old, as in the backup:"
        " correct it before the next migration",
    )
    assert plan.drift.migration is None
    with monkeypatch.context() as patched:
        patched.setattr(rows_load, "set_sequences", fails_with(LoadFailed("no")))
        Shop(shop.database, shop.config, made).fails(LoadFailed, "no")
    assert shop.database.run("SELECT version_num FROM alembic_version") == [("new",)]
    dbtasks.restore(shop.config, plan)
    assert shop.database.run("SELECT version_num FROM alembic_version") == [("old",)]


def fails_with(error: DbTasksError) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_indexes_of_large_tables_are_built_over_all_rows_and_are_as_they_were(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.database.run(
        "CREATE UNIQUE INDEX one ON item (id, price) INCLUDE (customer_id) WHERE price > 0;"
        "CREATE INDEX told ON item (price DESC NULLS LAST); COMMENT ON INDEX told IS 'mine';"
        "CREATE INDEX lower ON customer (lower(name)); ALTER INDEX lower ALTER COLUMN 1 SET STATISTICS 500;"
        "CREATE UNIQUE INDEX for_replicas ON customer (id); ALTER TABLE customer REPLICA IDENTITY USING INDEX for_replicas;"
        "CREATE UNIQUE INDEX for_a_key ON customer (id, name);"
        "CREATE TABLE refers (a int, b text, FOREIGN KEY (a, b) REFERENCES customer (id, name));"
        "CREATE TABLE keys (a int UNIQUE DEFERRABLE, b int PRIMARY KEY WITH (fillfactor = 50), c int UNIQUE NULLS NOT DISTINCT,"
        " d int CONSTRAINT told_key UNIQUE); COMMENT ON CONSTRAINT told_key ON keys IS 'mine'; INSERT INTO keys VALUES (1, 1, NULL, 1);"
        "CREATE TABLE grouped (id int PRIMARY KEY, name text); INSERT INTO grouped VALUES (1, 'x');"
        "CREATE VIEW by_key AS SELECT id, name FROM grouped GROUP BY id"
    )
    before = state_of(shop.database)
    oids = dict(shop.database.run("SELECT relname, oid FROM pg_class WHERE relkind = 'i' AND oid >= 16384"))
    made = backed_up(shop.config)
    monkeypatch.setattr(set_aside, "REBUILT_FROM_ROWS", 1)
    restored(shop.config, made)
    assert state_of(shop.database) == before
    now = dict(shop.database.run("SELECT relname, oid FROM pg_class WHERE relkind = 'i' AND oid >= 16384"))
    assert {name for name in now if now[name] != oids[name]} == {
        *("item_price", "one", "for_a_key"),
        *("item_pkey", "customer_pkey", "keys_a_key", "keys_c_key"),
    }
    assert shop.database.run("SELECT obj_description('told'::regclass)") == [("mine",)]


def test_e04_functions_that_lean_on_the_search_path_work_as_they_do_for_everybody(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE TABLE allowed (id int); INSERT INTO allowed VALUES (1), (2);"
        "CREATE FUNCTION known(int) RETURNS boolean LANGUAGE sql AS 'SELECT $1 IN (SELECT id FROM allowed)';"
        "CREATE DOMAIN knows AS int CHECK (known(VALUE));"
        "CREATE TABLE checked (a int CHECK (known(a)), b knows); INSERT INTO checked VALUES (1, 2);"
        f"ALTER DATABASE {pg_db.name} SET TimeZone TO 'Asia/Kolkata'"
    )
    pg_db.run("CREATE MATERIALIZED VIEW here AS SELECT a, current_setting('TimeZone') AS zone FROM checked")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, exclude_tables=("allowed",))
    pg_db.run("DELETE FROM checked")
    restored(config, made)
    assert pg_db.run("SELECT a, b FROM checked") == [(1, 2)]
    assert pg_db.run("SELECT * FROM here") == [(1, "Asia/Kolkata")]


def test_e18_defaults_and_checks_go_by_the_roles_own_settings(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(
        f"ALTER DATABASE {pg_db.name} SET TimeZone TO 'Asia/Kolkata';"
        f"ALTER DATABASE {pg_db.name} SET DateStyle TO 'SQL, DMY'"
    )
    # by Greenwich it is the day before
    pg_db.run("CREATE TABLE t (at timestamptz, day date, CHECK (day = at::date))")
    pg_db.run("INSERT INTO t VALUES ('2026-02-03 01:00', '2026-02-03')")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run(
        "DELETE FROM t; ALTER TABLE t ADD made timestamp DEFAULT now(), ADD said text DEFAULT '2026-02-03'::date"
    )
    restored(config, made)
    ((off, said),) = pg_db.run("SELECT abs(extract(epoch FROM made - localtimestamp)), said FROM t")
    assert (off < 3600, said) == (True, "03/02/2026")


def test_an_index_that_was_invalid_before_is_no_reason_against_it(shop: Shop) -> None:
    shop.database.run("CREATE TABLE later (id int); CREATE INDEX broken ON later (id); DELETE FROM item")
    shop.database.run("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'broken'::regclass")
    assert restored(shop.config, shop.made).rows == 25


def test_the_roles_defaults_for_transactions_do_not_count(shop: Shop) -> None:
    shop.database.run(
        f"ALTER DATABASE {shop.database.name} SET default_transaction_read_only TO on;"
        f"ALTER DATABASE {shop.database.name} SET default_transaction_isolation TO 'serializable'"
    )
    restored(shop.config, shop.made)


# -- what does not fit -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("ALTER TABLE item DROP price", r"public\.item\.price is not there"),
        ("ALTER TABLE item ALTER price TYPE double precision", r"public\.item\.price is double precision here, and numeric\(9,2\) in the backup"),
        ("ALTER TABLE item ADD must text NOT NULL DEFAULT 'x'; ALTER TABLE item ALTER must DROP DEFAULT", r"public\.item\.must is not in the backup, takes no NULL and has no default"),
        ("ALTER TABLE item DROP price; ALTER TABLE item ADD price numeric(9,2) GENERATED ALWAYS AS (1) STORED", r"public\.item\.price is computed here"),
        ("DROP TABLE item", r"lacks tables of .*: public\.item"),
        ("ALTER TABLE item RENAME TO items; CREATE VIEW item AS SELECT * FROM items", r"lacks tables of .*: public\.item"),
        ("ALTER TYPE mood RENAME VALUE 'ok' TO 'fine'", r"the type public\.mood does not know 'ok'"),
        ("ALTER TYPE pair ALTER ATTRIBUTE b TYPE varchar(3)", r"the type public\.pair has other fields"),
    ],
)  # fmt: skip
def test_e18_what_differs_is_listed_before_anything_is_touched(
    pg_db: PgDatabase, tmp_path: Path, change: str, named: str
) -> None:
    pg_db.run(SMALL + "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TYPE pair AS (a int, b text)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    pg_db.run(change)
    refused = Shop(pg_db, config, made).fails(Refused, named)
    assert refused.state == "nothing was touched"


def test_e18_every_difference_is_named(shop: Shop) -> None:
    shop.database.run("ALTER TABLE item DROP price; ALTER TABLE customer ALTER name TYPE varchar(9)")
    refused = shop.fails(Refused, r"public\.customer\.name|public\.item\.price")
    assert "public.customer.name is character varying(9) here" in refused.message + refused.details
    assert "public.item.price is not there" in refused.message + refused.details


def test_e18_what_is_new_and_does_no_harm_is_told(shop: Shop) -> None:
    shop.database.run(
        "ALTER TABLE item ADD note text; ALTER TABLE item ADD kind text NOT NULL DEFAULT 'thing';"
        "ALTER TABLE item ADD twice numeric GENERATED ALWAYS AS (price * 2) STORED; ALTER TABLE customer ALTER name SET NOT NULL"
    )
    plan = planned(shop.config, shop.made)
    assert plan.warnings == (
        "public.customer.name takes no NULL here, and did in the backup",
        "public.item.note is not in the backup: every row gets NULL there",
        "public.item.kind is not in the backup: every row gets its default there",
    )
    dbtasks.restore(shop.config, plan)
    assert shop.database.run("SELECT note, kind, twice FROM item WHERE id = 3") == [(None, "thing", 6)]


def test_a_value_that_does_not_go_in_ends_all_of_it_and_is_not_shown(shop: Shop) -> None:
    shop.database.run("DELETE FROM item WHERE price >= 15; ALTER TABLE item ADD CHECK (price < 15)")
    failed = shop.fails(LoadFailed, r"rows of public\.item do not go in: .*item_price_check")
    assert "as it was" in failed.state
    assert "15.00" not in failed.details + failed.message


def test_e19_other_counts_than_the_documents_are_never_committed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = rows_load.csv_of

    def one_less(pieces: Any, table: str) -> Iterator[bytes]:
        whole = b"".join(real(pieces, table))
        yield whole[whole.index(b"\n") + 1 :]

    monkeypatch.setattr(rows_load, "csv_of", one_less)
    shop.fails(CountsDiffer, "rows came into public")


def test_tables_of_others_are_refused_by_name(shop: Shop) -> None:
    role = shop.database.server.create_role("LOGIN")
    shop.database.run(
        f'GRANT ALL ON ALL TABLES IN SCHEMA public TO "{role.user}"; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO "{role.user}"'
    )
    config = settings_of(shop.database.seen_by(role), Path(shop.config.root))
    try:
        with pytest.raises(RightMissing, match=r"public\.customer belongs to postgres"):
            planned(config, str(shop.made.path))
        # where the sequences stand this role may not see either
        shop.database.run(f'REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM "{role.user}"')
        with pytest.raises(RightMissing, match=r"public\.customer belongs to postgres"):
            planned(config, str(shop.made.path))
    finally:
        shop.database.run(f'DROP OWNED BY "{role.user}"')


def test_a19_row_level_security_is_an_error_that_names_the_table(owned: PgDatabase, tmp_path: Path) -> None:
    owned.run(SMALL)
    config = settings_of(owned, tmp_path)
    made = backed_up(config)
    owned.run("ALTER TABLE item ENABLE ROW LEVEL SECURITY; ALTER TABLE item FORCE ROW LEVEL SECURITY")
    Shop(owned, config, made).fails(RightMissing, r"row-level security .* public\.item")


def test_flags_that_mean_nothing_are_refused(shop: Shop) -> None:
    with pytest.raises(UsageError, match="--no-owner means nothing for a rows backup"):
        planned(shop.config, shop.made, no_owner=True)


def test_a_role_that_owns_the_tables_is_taken_on(
    owned: PgDatabase, pg_db: PgDatabase, tmp_path: Path
) -> None:
    owned.run(SMALL)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    owned.run("DELETE FROM item")
    restored(config, made, role=owned.server.user)
    assert owned.run("SELECT count(*) FROM item") == [(20,)]
    assert pg_db.run("SELECT count(*) FROM pg_constraint WHERE conname = 'item_customer_id_fkey'") == [(1,)]


# -- crafted files ---------------------------------------------------------------------------------------------


def crafted(shop: Shop, change: Callable[[str], str]) -> Path:
    path = Path(shop.config.root) / "crafted.json.gz"
    text = change(gzip.decompress(shop.made.path.read_bytes()).decode())
    path.write_bytes(gzip.compress(text.encode()))
    return path


@pytest.mark.parametrize(
    ("old", "new", "kind", "named"),
    [
        ('"public.item": {"columns"', '"public.item; DROP TABLE customer": {"columns"', ArchiveDamaged, "schema does not know"),
        ('{"columns": ["id", "customer_id", "price"]', '{"columns": ["id", "customer_id", "price) FROM PROGRAM \'touch /tmp/x\' --"]', ArchiveDamaged, "columns that its schema says"),
        ('"public.item"', '"pg_catalog.pg_authid"', Refused, r"lacks tables of .*: pg_catalog\.pg_authid"),
        ('"last_value": 20', '"last_value": "20; DROP"', ArchiveDamaged, "its schema is none|its metadata cannot be read"),
        ('[20,5,"20.00"]', '[20,5,"20.00","more"]', ArchiveDamaged, r"public\.item\.price is a string or null, and not so in row 20"),
        ('[20,5,"20.00"]', '[20,"5","20.00"]', ArchiveDamaged, r"public\.item\.customer_id is a whole number or null, and not so in row 20"),
        ('[20,5,"20.00"]', '[20,5,20.00]', ArchiveDamaged, r"public\.item\.price is a string or null"),
        ('[20,5,"20.00"]', '[20,5,"\\u0041"]', ArchiveDamaged, "not spelled"),
    ],
)  # fmt: skip
def test_g21_a_crafted_file_touches_nothing_it_is_not_allowed_to(
    shop: Shop, old: str, new: str, kind: type[DbTasksError], named: str
) -> None:
    shop.database.run("UPDATE item SET customer_id = 5 WHERE id = 20")
    real = Shop(shop.database, shop.config, backed_up(shop.config))
    path = crafted(real, lambda text: text.replace(old, new))
    assert gzip.decompress(path.read_bytes()) != gzip.decompress(real.made.path.read_bytes())
    before = state_of(shop.database)
    with pytest.raises(kind, match=named):
        restored(shop.config, str(path), unverified=True, skip_safety_backup=True)
    assert state_of(shop.database) == before


def test_g21_a_bare_word_is_no_text_wherever_the_file_is_to_go(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE t (id int, word text); INSERT INTO t VALUES (1, 'x'), (2, NULL)")
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    text = gzip.decompress(made.path.read_bytes()).decode()
    path = tmp_path / "crafted.json.gz"
    before = state_of(pg_db)
    for value in ("bare", '{"text":"00"}', "true"):
        path.write_bytes(gzip.compress(text.replace('[1,"x"]', f"[1,{value}]").encode()))
        named = r"public\.t\.word is a string or null, and not so in row 1$"
        with pytest.raises(ArchiveDamaged, match=named) as caught:
            planned(config, str(path), unverified=True)
        assert "was not touched" in caught.value.state
        with pytest.raises(ArchiveDamaged, match=named):
            job = dbtasks.TablesJob(("public.t",), str(path), unverified=True)
            dbtasks.plan_restore_tables(config, job)
        with pytest.raises(ArchiveDamaged, match=named):
            dbtasks.adopt(config, dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(path), type=Type.MANUAL)))
    assert state_of(pg_db) == before


def test_c09_a_file_without_a_manifest_is_restored_when_it_is_asked_for(shop: Shop) -> None:
    path = crafted(shop, lambda text: text)
    before = state_of(shop.database)
    shop.database.run("DELETE FROM item")
    result = restored(shop.config, str(path), unverified=True)
    assert not result.checked_against_manifest
    assert state_of(shop.database) == before


# -- breaking off ------------------------------------------------------------------------------------------------


def many(database: PgDatabase, config: Settings) -> Shop:
    database.run(
        "TRUNCATE item, customer; INSERT INTO item (price) SELECT i % 1000 FROM generate_series(1, 200000) i"
    )
    made = backed_up(config)
    database.run("DELETE FROM item WHERE id > 10")
    return Shop(database, config, made)


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[4])
import dbtasks
from tests.moments import at_progress
config = dbtasks.load_settings(Path(sys.argv[1]), environ={}, url=sys.argv[2], via="python")
plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[3], skip_safety_backup=True))
number = getattr(signal, sys.argv[5])
dbtasks.restore(config, plan, on_event=at_progress(lambda: os.kill(os.getpid(), number)))
"""


@pytest.mark.long
@pytest.mark.fault
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_a10_d08_a_kill_in_the_middle_leaves_the_live_rows(shop: Shop, number: str) -> None:
    held = many(shop.database, shop.config)
    before = state_of(shop.database)
    done = run_python(
        KILLED, str(shop.config.root), shop.database.url, held.made.id, str(REPOSITORY), number, timeout=60
    )
    assert done.returncode != 0
    assert ("KeyboardInterrupt" in done.stderr or "Interrupted" in done.stderr) == (number == "SIGINT")
    gone = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(100):
        if shop.database.run(gone) == [(0,)]:
            break
        threading.Event().wait(0.1)
    assert state_of(shop.database) == before
    assert restored(shop.config, held.made).rows == 200_000


def test_a03_a_session_ended_by_the_server_leaves_the_live_rows(shop: Shop) -> None:
    held = many(shop.database, shop.config)
    before = state_of(shop.database)
    end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dbtasks' AND datname = current_database()"
    with pytest.raises(LoadFailed) as caught:
        restored(
            shop.config,
            held.made,
            on_event=at_progress(lambda: shop.database.run(end)),
            skip_safety_backup=True,
        )
    assert "as it was" in caught.value.state
    assert PASSWORD not in str(caught.value) + caught.value.details
    assert state_of(shop.database) == before


def test_a18_d15_a_reader_that_stays_is_named(shop: Shop, tmp_path: Path) -> None:
    config = settings_of(shop.database, tmp_path, lock_timeout="0.3")
    plan = planned(config, shop.made, skip_safety_backup=True)
    with closing(shop.database.connect()) as reader, reader.cursor() as cursor:
        reader.autocommit = False
        cursor.execute("SET application_name = 'a reader'; SELECT count(*) FROM customer")
        with pytest.raises(Busy, match=r"waited 0.3 s for a lock held by process \d+ \(postgres, a reader\)"):
            dbtasks.restore(config, plan)
    assert shop.database.run("SELECT count(*) FROM item") == [(20,)]


def test_what_changed_since_it_was_planned_is_refused(shop: Shop) -> None:
    plan = planned(shop.config, shop.made, skip_safety_backup=True)
    shop.database.run("ALTER TABLE item ADD note text; DELETE FROM item WHERE id = 1")
    with pytest.raises(Refused, match="were changed since this was planned"):
        dbtasks.restore(shop.config, plan)
    assert shop.database.run("SELECT count(*) FROM item") == [(19,)]


def test_nobody_sees_anything_in_between(shop: Shop) -> None:
    held = many(shop.database, shop.config)
    seen: list[Any] = []

    def look() -> None:
        seen.append(
            shop.database.run("SELECT count(*) FROM pg_index WHERE indexrelid::regclass::text = 'item_price'")
        )

    restored(shop.config, held.made, on_event=at_progress(look))
    assert seen == [[(1,)]]


# -- after_load, tasks --------------------------------------------------------------------------------------------


def test_after_load_runs_in_the_same_transaction(shop: Shop, tmp_path: Path) -> None:
    script = tmp_path / "names.sql"
    script.write_text("UPDATE customer SET name = '100% ' || id; -- \\! no\n")
    shop.database.run("DELETE FROM item")
    restored(shop.config, shop.made, after_load=(script,))
    assert shop.database.run("SELECT count(*), min(name) FROM customer") == [(5, "100% 1")]
    script.write_text("DELETE FROM item; SELECT 1 / 0;")
    shop.fails(LoadFailed, r"names\.sql failed", after_load=(script,))
    script.write_text("COMMIT;")
    shop.fails(Refused, "COMMIT", after_load=(script,))


@pytest.mark.long
def test_the_task_shows_what_is_filled_and_what_stays(shop: Shop, project: Any) -> None:
    project.mount()
    environ = {"DATABASE_URL": shop.database.url, "DBTASKS_VIA": "python"}
    assert project.invoke("db.backup", **environ).returncode == 0
    shop.database.run("CREATE TABLE later (id int); CREATE VIEW v AS SELECT 1 AS one; DELETE FROM item")
    shown = project.invoke("db.restore", "--file=latest", "--dry-run", **environ)
    assert shown.returncode == 0, shown.stderr
    assert "Fills    public.customer\n         public.item\n" in shown.stdout
    assert "Stays    table public.later\n" in shown.stdout
    dry = json.loads(project.invoke("db.restore", "--file=latest", "--dry-run", "--json", **environ).stdout)
    assert dry["plan"]["strategy"] == "rows"
    assert dry["plan"]["fills"] == ["public.customer", "public.item"]
    assert dry["plan"]["stays"][0] == "table public.later"
    done = project.invoke("db.restore", "--file=latest", "--yes", "--json", **environ)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["restore"]["rows"] == 25
    assert shop.database.run("SELECT count(*) FROM item") == [(20,)]
    assert project.invoke("db.undo", "--yes", **environ).returncode == 0
    assert shop.database.run("SELECT count(*) FROM item") == [(0,)]


def test_statistics_are_read_afterwards(shop: Shop) -> None:
    shop.database.run("DELETE FROM item")
    restored(shop.config, shop.made)
    assert shop.database.run("SELECT reltuples FROM pg_class WHERE relname = 'item'") == [(20,)]
