"""A backup beside the live database or another backup, where the database is PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.archive.contents import read_statements
from dbtasks.errors import Busy, Refused, RightMissing, WrongEngine
from dbtasks.models import Format
from dbtasks.schemas import ObjectChange
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.migrating import TOOLS, Tool
from tests.postgres.rich import HOSTILE, fill, tool

FORMATS = ("custom", "sql", "directory")
DRIFT = """
ALTER TABLE public.parent ADD COLUMN since date DEFAULT now();
ALTER TABLE public.parent ALTER COLUMN v TYPE varchar(20);
DROP INDEX public.orders_note;
ALTER TABLE public.orders DROP CONSTRAINT orders_customer_id_fkey;
ALTER TYPE public.mood ADD VALUE 'new';
CREATE OR REPLACE FUNCTION public.shout(t text) RETURNS text LANGUAGE sql AS 'SELECT $1';
DROP TRIGGER stamped ON public.orders;
CREATE TABLE public.coupon (id serial PRIMARY KEY, code text UNIQUE);
INSERT INTO public.coupon (code) VALUES ('a'), ('b');
ALTER POLICY all_of_it ON public.parent USING (false);
COMMENT ON TABLE public.orders IS 'another';
GRANT SELECT ON public.parent TO PUBLIC;
DELETE FROM public.files WHERE id > 1;
ALTER TABLE public.customer ALTER COLUMN name SET DEFAULT 'nobody';
"""


def configured(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    tools = {"via": "host", "pg_bin": str(database.server.bin), "lock_timeout": "5"}
    return dbtasks.load_settings(root, environ={}, url=database.url, **{**tools, **flags})


def backup(config: dbtasks.Settings, **request: Any) -> dbtasks.Backup:
    if "format" in request:
        request["format"] = Format(request["format"])
    return dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(**request)))


def named(changes: tuple[ObjectChange, ...]) -> list[str]:
    return [f"{change.type} {change.name}" for change in changes]


def differences(summary: dbtasks.DiffSummary) -> set[tuple[str, int | None, int | None]]:
    return {(table.name, table.backup_rows, table.against_rows) for table in summary.tables}


@pytest.fixture
def items(tmp_path: Path, pg_db: PgDatabase) -> tuple[dbtasks.Settings, PgDatabase]:
    """Ten items with one backup."""
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 10)")
    config = configured(tmp_path, pg_db)
    backup(config)
    return config, pg_db


def test_a_table_above_partitions_is_counted_nowhere(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TABLE day (d int PRIMARY KEY) PARTITION BY RANGE (d);"
        " CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM (1) TO (2);"
        " CREATE TABLE day_2 PARTITION OF day FOR VALUES FROM (2) TO (9) PARTITION BY LIST (d);"
        " CREATE TABLE day_2_a PARTITION OF day_2 DEFAULT; CREATE TABLE item (id int PRIMARY KEY);"
    )
    config = configured(tmp_path, pg_db)
    made = backup(config)
    theirs = tmp_path / "theirs.dump"
    theirs.write_bytes(made.path.read_bytes())
    facts = dbtasks.inspect(config).facts
    assert facts
    assert facts.tables == tuple(table.name for table in made.manifest.tables)
    one, other = dbtasks.diff(config), dbtasks.diff(config, str(theirs), unverified=True)
    rows = dbtasks.diff_rows(config)
    sides = (one.backup, one.against, other.backup, rows.backup, rows.against)
    assert [side.tables for side in sides] == [len(facts.tables)] * 5 == [3] * 5


# -- definitions -----------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_one_of_everything_does_not_differ_from_its_own_backup_nor_after_a_restore(
    tmp_path: Path, any_db: PgDatabase, format_: str
) -> None:
    fill(any_db)
    config = configured(tmp_path, any_db)
    made = backup(config, format=format_)
    before = dbtasks.diff(config)
    assert not before.differs, before
    assert before.schema is not None
    assert before.schema.uncertain == ()
    assert before.equal_tables == 9
    any_db.run(DRIFT)
    assert dbtasks.diff(config).differs
    for in_place in (False, True):
        request = dbtasks.LoadRequest(in_place=in_place)
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, request=request))
        dbtasks.restore(config, plan)
        after = dbtasks.diff(config, made.id)
        assert not after.differs, after


@pytest.mark.parametrize("format_", FORMATS)
def test_what_was_changed_is_told_object_by_object(tmp_path: Path, any_db: PgDatabase, format_: str) -> None:
    fill(any_db)
    config = configured(tmp_path, any_db)
    backup(config, format=format_)
    any_db.run(DRIFT)
    summary = dbtasks.diff(config)
    drift = summary.schema
    assert drift is not None
    # the indexes of partitions go with their parent's
    gone = [c for c in drift.only_in_backup if not c.name.endswith("_lower_idx")]
    assert named(tuple(gone)) == [
        "foreign key public.orders orders_customer_id_fkey",
        "index public.orders_note",
        "trigger public.orders stamped",
    ]
    assert named(drift.only_against) == [
        "constraint public.coupon coupon_code_key",
        "constraint public.coupon coupon_pkey",
        "sequence public.coupon_id_seq",
        "table public.coupon",
    ]
    assert {o.table for o in drift.only_against if o.type != "table"} == {"public.coupon"}
    changed = {f"{c.type} {c.name}": c.details for c in drift.changed}
    assert set(changed) == {
        "comment TABLE public.orders",
        "function public.shout(t text)",
        "policy public.parent all_of_it",
        "table public.child",
        "table public.customer",
        "table public.parent",
        "type public.mood",
    }
    assert "- since date DEFAULT now()" in changed["table public.parent"]
    assert "+ v text" in changed["table public.parent"]
    assert "- v character varying(20)" in changed["table public.parent"]
    assert any("'nobody'" in line for line in changed["table public.customer"])
    assert (drift.uncertain, drift.owners) == ((), ())
    assert drift.privileges == ("- GRANT SELECT ON TABLE public.parent TO PUBLIC",)
    assert differences(summary) == {("public.files", 3, 1), ("public.coupon", None, 2)}


def test_rows_that_look_like_statements_are_no_definitions(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE evil (line text)")
    lines = [
        "--",
        "-- Name: ghost; Type: TABLE; Schema: public; Owner: jo",
        "--",
        "",
        "CREATE TABLE public.ghost ();",
    ]
    for line in lines:
        pg_db.run("INSERT INTO evil VALUES (%s)", (line,))
    config = configured(tmp_path, pg_db)
    for extra in ((), ("--inserts",)):
        backup(config, format="sql", extra=extra)
        summary = dbtasks.diff(config, "1")
        assert summary.schema is not None
        assert summary.schema.only_in_backup == ()


def test_names_of_every_kind_are_found_again(tmp_path: Path, pg_db: PgDatabase) -> None:
    fill(pg_db)
    config = configured(tmp_path, pg_db)
    backup(config)
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    pg_db.run(f'DROP TABLE {quoted}; DROP TABLE "App Data"."Upper Case"')
    summary = dbtasks.diff(config)
    assert summary.schema is not None
    assert [c.name for c in summary.schema.only_in_backup if c.type == "table"] == [
        '"App Data"."Upper Case"',
        f"public.{quoted}",
    ]
    assert differences(summary) == {
        ("App Data.Upper Case", 1, None),
        (f"public.{quoted}", 2, None),
    }


def test_other_major_versions_are_told_and_invent_no_drift(
    tmp_path: Path, pg16: PgServer, pg18: PgServer
) -> None:
    with pg16.fresh() as old, pg18.fresh() as new:
        fill(old)
        config = configured(tmp_path, old, pg_bin=str(pg18.bin))
        made = backup(config)
        current = configured(tmp_path, new)
        plan = dbtasks.plan_restore(current, dbtasks.RestoreJob(made.id))
        dbtasks.restore(current, plan)
        summary = dbtasks.diff(current, made.id)
        drift = summary.schema
        assert drift is not None
        assert (drift.only_in_backup, drift.only_against, drift.changed) == ((), (), ())
        assert drift.uncertain == ()
        # PostgreSQL 18 has names for what older ones only know as NOT NULL
        new.run("ALTER TABLE public.customer RENAME CONSTRAINT customer_name_not_null TO named")
        summary = dbtasks.diff(current, made.id)
        drift = summary.schema
        assert drift is not None
        assert named(drift.uncertain) == ["table public.customer"]
        assert "PostgreSQL 16" in drift.why_uncertain
        assert "PostgreSQL 18" in drift.why_uncertain
        assert not summary.differs
        new.run("ALTER TABLE public.parent ADD COLUMN since date")
        surely = dbtasks.diff(current, made.id).schema
        assert surely is not None
        assert named(surely.changed) == ["table public.parent"]


@pytest.mark.long
def test_a_schema_of_two_thousand_tables_is_compared(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "DO $$BEGIN FOR i IN 1..2000 LOOP"
        " EXECUTE format('CREATE TABLE t%s (id int PRIMARY KEY, a text, b numeric)', i);"
        " IF i % 100 = 0 THEN COMMIT; END IF; END LOOP; END$$"
    )
    config = configured(tmp_path, pg_db)
    backup(config)
    pg_db.run("ALTER TABLE t1000 ADD COLUMN c int")
    summary = dbtasks.diff(config)
    assert summary.equal_tables == 2000
    assert summary.schema is not None
    assert named(summary.schema.changed) == ["table public.t1000"]


def test_rows_are_never_held_in_memory() -> None:
    class Source:
        def __init__(self) -> None:
            self.left = [b"COPY public.t (a) FROM stdin;\n", *[b"x" * 64 * 1024] * 800, b"\n\\.\n"]
            self.left += [b"\n--\n-- PostgreSQL database dump complete\n--\n\n"]

        def read(self, size: int = -1, /) -> bytes:
            return self.left.pop(0) if self.left else b""

    source = Source()
    tracemalloc.start()
    try:
        read_statements(source)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20, "of a row of 52 MB"


# -- rows, in one snapshot and in nobody's way --------------------------------------------------


def test_rows_and_definitions_are_of_one_snapshot_and_a_backup_runs_beside(
    items: tuple[dbtasks.Settings, PgDatabase], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbtasks.engines.postgres import holdings

    config, database = items
    read, seen = holdings.live_schema, []

    def meanwhile(engine: Any, snapshot: str = "") -> Any:
        database.run("CREATE TABLE newer (a int)")
        found = read(engine, snapshot)
        database.run("INSERT INTO item VALUES (11)")
        seen.append(backup(config))
        return found

    monkeypatch.setattr(holdings, "live_schema", meanwhile)
    summary = dbtasks.diff(config)
    assert seen
    assert not summary.differs
    monkeypatch.undo()
    assert differences(dbtasks.diff(config, "2")) == {("public.item", 10, 11), ("public.newer", None, 0)}


def test_the_live_database_is_only_read(items: tuple[dbtasks.Settings, PgDatabase]) -> None:
    config, database = items
    made = backup(config)
    database.run(f'ALTER DATABASE "{database.name}" SET default_transaction_read_only = on')
    summary = dbtasks.diff(config, made.id)
    assert (summary.differs, summary.equal_tables) == (False, 1)


def test_a_table_that_a_migration_holds_is_busy_after_the_lock_timeout(
    items: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = items
    with contextlib.closing(database.connect()) as migration:
        cursor = migration.cursor()
        cursor.execute("BEGIN; LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Busy):
            dbtasks.diff(replace(config, lock_timeout=0.3))
        cursor.execute("ROLLBACK")
    assert not dbtasks.diff(config).differs


def test_a_role_that_may_not_read_all_is_told_so(items: tuple[dbtasks.Settings, PgDatabase]) -> None:
    config, database = items
    role = database.server.create_role()
    with pytest.raises(RightMissing, match="may not read all"):
        dbtasks.diff(replace(config, target=database.seen_by(role).target))
    database.run(f'GRANT SELECT ON item TO "{role.user}"; ALTER TABLE item ENABLE ROW LEVEL SECURITY')
    backup(config)
    summary = dbtasks.diff(replace(config, target=database.seen_by(role).target))
    assert "public.item" in summary.not_counted
    assert summary.schema is not None
    assert not summary.schema.differs


def test_a_restore_is_planned_although_the_schema_cannot_be_read(
    items: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = items
    role = database.server.create_role("LOGIN CREATEDB")
    database.server.run("postgres", f'ALTER DATABASE "{database.name}" OWNER TO "{role.user}"')
    limited = replace(config, target=database.seen_by(role).target)
    job = dbtasks.RestoreJob("latest", request=dbtasks.LoadRequest(no_owner=True))
    plan = dbtasks.plan_restore(limited, job)
    assert plan.drift.schema is None
    assert "may not read all" in plan.drift.not_compared


# -- the rest of what a restore meets ------------------------------------------------------------


def test_roles_that_are_missing_come_with_the_statements_that_make_them(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    server = pg_db.server
    role = server.create_role("NOLOGIN", name=f'o"dd {tmp_path.name}')
    quoted = '"' + role.user.replace('"', '""') + '"'
    pg_db.run(f"CREATE TABLE item (id int); ALTER TABLE item OWNER TO {quoted}")
    config = configured(tmp_path, pg_db)
    made = backup(config)
    assert dbtasks.diff(config).roles_missing == ()
    pg_db.run(f"ALTER TABLE item OWNER TO {server.user}; DROP OWNED BY {quoted}")
    server.run("postgres", f"DROP ROLE {quoted}")
    summary = dbtasks.diff(config)
    assert summary.roles_missing == (role.user,)
    assert summary.create_roles == (f"CREATE ROLE {quoted};",)
    assert summary.schema is not None
    assert summary.schema.owners == (
        f"public.item belongs to {quoted} in the backup, to {server.user} in the other",
    )
    assert summary.schema.changed == ()
    with pytest.raises(RightMissing) as refused:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert f"CREATE ROLE {quoted};" in refused.value.hint
    server.run("postgres", summary.create_roles[0])
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)))
    assert not dbtasks.diff(config, made.id).differs


def test_extensions_that_are_missing_or_of_another_version_are_told(tmp_path: Path, pg17: PgServer) -> None:
    with pg17.fresh() as database:
        database.run("CREATE EXTENSION hstore VERSION '1.4'; CREATE TABLE item (id int)")
        config = configured(tmp_path, database)
        backup(config)
        assert dbtasks.diff(config).extensions == ()
        database.run("ALTER EXTENSION hstore UPDATE")
        (newer,) = dbtasks.diff(config).extensions
        assert (newer.name, newer.backup_version) == ("hstore", "1.4")
        assert newer.against_version == newer.offered_version != "1.4"
        database.run("DROP EXTENSION hstore; CREATE EXTENSION citext")
        summary = dbtasks.diff(config)
        found = {(e.name, e.backup_version is None, e.against_version is None) for e in summary.extensions}
        assert found == {("hstore", False, True), ("citext", True, False)}
        assert summary.schema is not None
        assert named(summary.schema.only_in_backup) == ["extension hstore"]


def test_who_is_connected_is_told(items: tuple[dbtasks.Settings, PgDatabase]) -> None:
    config, database = items
    assert dbtasks.diff(config).sessions == ()
    with contextlib.closing(database.connect()) as other:
        pid = other.info.backend_pid
        (session,) = dbtasks.diff(config).sessions
        assert session.startswith(f"process {pid} (")
        assert not dbtasks.diff(config).differs


@pytest.mark.long
@pytest.mark.parametrize("tool_", TOOLS, ids=lambda tool_: tool_.name)
def test_each_tools_migration_step_comes_with_its_command(
    tmp_path: Path, pg_db: PgDatabase, tool_: Tool
) -> None:
    pg_db.run(f"{tool_.make}; {tool_.first}")
    config = configured(tmp_path, pg_db)
    made = backup(config)
    same = dbtasks.diff(config).migration
    assert same is not None
    assert (same.tool, same.order) == (tool_.name, "same")
    pg_db.run(tool_.then)
    step = dbtasks.diff(config).migration
    assert step is not None
    assert (step.tool, step.order, step.command, step.only_against) == (
        tool_.name,
        tool_.order,
        tool_.command,
        tool_.missing,
    )
    assert dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)).drift.migration == step


# -- what is not whole, or not ours ----------------------------------------------------------------


@pytest.mark.long
def test_what_a_partial_backup_leaves_out_is_no_difference(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); CREATE TABLE log (a int); INSERT INTO log VALUES (1)")
    config = configured(tmp_path, pg_db)
    chosen = backup(config, tables=("item",))
    without_rows = backup(config, exclude_data=("log",))
    definitions = backup(config, schema_only=True)
    rows = backup(config, data_only=True)
    for made in (chosen, without_rows, definitions, rows):
        summary = dbtasks.diff(config, made.id)
        assert not summary.differs, summary
        assert any("partial" in note for note in summary.notes)
    assert "lacks all definitions" in dbtasks.diff(config, rows.id).not_compared
    pg_db.run("INSERT INTO item VALUES (1); CREATE TABLE newer (a int)")
    assert differences(dbtasks.diff(config, chosen.id)) == {("public.item", 0, 1)}
    assert ("public.newer", None, 0) in differences(dbtasks.diff(config, without_rows.id))
    whole = backup(config)
    assert differences(dbtasks.diff(config, whole.id, chosen.id)) == {("public.item", 1, 0)}


@pytest.mark.parametrize("arguments", [("-Fp",), ("-Fc",)], ids=["script", "custom"])
def test_somebody_elses_file_is_compared_without_its_rows(
    items: tuple[dbtasks.Settings, PgDatabase], arguments: tuple[str, ...]
) -> None:
    config, database = items
    path = config.root / "foreign.dump"
    path.write_bytes(tool(database.server, "pg_dump", *arguments, database.name))
    database.run("DROP TABLE item; CREATE TABLE newer (a int)")
    with pytest.raises(Refused, match="no manifest"):
        dbtasks.diff(config, "./foreign.dump")
    summary = dbtasks.diff(config, "./foreign.dump", unverified=True)
    assert "no manifest" in summary.not_counted
    assert summary.tables == ()
    assert summary.schema is not None
    assert "table public.item" in named(summary.schema.only_in_backup)
    assert summary.schema.uncertain == ()


def test_a_file_with_a_meta_command_is_refused_and_runs_nothing(
    items: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = items
    script = tool(database.server, "pg_dump", "-Fp", database.name)
    (config.root / "evil.sql").write_bytes(script.replace(b"\nCOPY", b"\n\\! touch ran-here\nCOPY", 1))
    with pytest.raises(Refused, match="meta-command"):
        dbtasks.diff(config, "./evil.sql", unverified=True)
    assert not (config.root / "ran-here").exists()


def test_two_backups_are_compared_while_the_server_is_away(
    items: tuple[dbtasks.Settings, PgDatabase],
) -> None:
    config, database = items
    first = dbtasks.list_backups(config).backups[0].id
    database.run("INSERT INTO item VALUES (11); ALTER TABLE item ADD COLUMN name text")
    second = backup(config, format="sql").id
    assert config.target is not None
    nowhere = replace(config, target=replace(config.target, port=1))  # type: ignore[call-arg]
    summary = dbtasks.diff(nowhere, first, second)
    assert differences(summary) == {("public.item", 10, 11)}
    assert summary.schema is not None
    assert [c.details for c in summary.schema.changed] == [("- name text",)]
    (config.root / "lite.sqlite3").write_bytes(b"SQLite format 3\0" + bytes(100))
    with pytest.raises(WrongEngine):
        dbtasks.diff(config, first, "./lite.sqlite3", unverified=True)


# -- the screens -------------------------------------------------------------------------------------


def test_the_task_and_the_plan_of_a_restore_show_the_same_facts(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY, price numeric(12,2)); INSERT INTO item VALUES (1, 2)")
    environ = {
        "DATABASE_URL": pg_db.url,
        "DBTASKS_PG_BIN": str(pg_db.server.bin),
        "DBTASKS_VIA": "host",
    }
    assert project.invoke("db.backup", **environ).returncode == 0
    pg_db.run("ALTER TABLE item ALTER price TYPE numeric(10,2); CREATE TABLE coupon (id serial)")
    with contextlib.closing(pg_db.connect()) as other:
        shown = project.invoke("db.diff", "--exit-code", **environ)
        assert shown.returncode == 10, shown.stderr
        planned = project.invoke("db.restore", "--file=latest", "--dry-run", **environ)
        assert planned.returncode == 0, planned.stderr
        session = f"Session  process {other.info.backend_pid} ("
    for line in (
        session,
        "will be gone: table public.coupon (with 1 object of its own)",
        "changes: table public.item",
        "  + price numeric(12,2)",
        "  - price numeric(10,2)",
    ):
        assert line in shown.stdout
        assert line in planned.stdout


def test_what_a_restore_would_lack_and_whom_it_would_meet_stands_on_the_screen_and_in_the_document(
    project: Project, pg17: PgServer, pg18: PgServer
) -> None:
    """The server of 18 comes without the contrib packages."""
    project.mount()
    role = pg17.create_role("NOLOGIN", name=f"re ports {project.root.parent.name}"[:63]).user
    with pg17.fresh() as source, pg18.fresh() as live:
        source.run(
            f'CREATE EXTENSION hstore; CREATE TABLE item (a hstore); ALTER TABLE item OWNER TO "{role}"'
        )
        tools = {"DBTASKS_VIA": "host", "DBTASKS_PG_BIN": str(pg18.bin)}
        made = project.invoke("db.backup", "--json", DATABASE_URL=source.url, **tools)
        assert made.returncode == 0, made.stderr
        file = f"--file={json.loads(made.stdout)['backup']['id']}"
        live.run("CREATE TABLE item (a text)")
        given = {"DATABASE_URL": live.url, **tools}
        with contextlib.closing(live.connect()) as other:
            shown = project.invoke("db.diff", file, **given)
            document = json.loads(project.invoke("db.diff", file, "--json", **given).stdout)["diff"]
            pid = other.info.backend_pid
        assert shown.returncode == 0, shown.stderr
        version = pg17.run(
            "postgres", "SELECT default_version FROM pg_available_extensions WHERE name = 'hstore'"
        )
        assert (
            f"extension hstore: {version[0][0]} in the backup, missing live; the server cannot install it"
            in shown.stdout
        )
        assert f'a role is missing: CREATE ROLE "{role}";' in shown.stdout
        assert f"Session  process {pid} (" in shown.stdout
        assert document["create_roles"] == [f'CREATE ROLE "{role}";']
        assert [(e["name"], e["offered_version"]) for e in document["extensions"]] == [("hstore", None)]
        assert len(document["sessions"]) == 1
        # a restore of it is refused for the same reasons, each by name
        refused = project.invoke("db.restore", file, "--dry-run", **given)
        assert refused.returncode == 3
        assert f'CREATE ROLE "{role}";' in refused.stderr
        refused = project.invoke("db.restore", file, "--no-owner", "--dry-run", **given)
        assert refused.returncode == 3
        assert "extensions that are not installed on this server: hstore" in " ".join(refused.stderr.split())
