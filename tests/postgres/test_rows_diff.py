"""`db.diff` of a rows backup: its own schema beside the catalogue, object by object, without any client tool."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused, WrongEngine
from dbtasks.rows.comparison.definitions import TOLD, definitions_of
from dbtasks.rows.schema import Column, PortableSchema, Table
from dbtasks.schemas import compare_schemas
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.older_files import older, table
from tests.postgres.rich import ROWS, fill
from tests.postgres.test_diff import DRIFT, differences, named
from tests.postgres.test_rows_restore import backed_up, settings_of
from tests.sqlite.databases import make


def backed_up_rows(database: PgDatabase, root: Path, **request: object) -> tuple[dbtasks.Settings, str]:
    # no client tool is to be found
    config = settings_of(database, root, pg_bin=str(root))
    return config, backed_up(config, **request).id


def test_one_of_everything_does_not_differ_from_its_own_backup(tmp_path: Path, any_db: PgDatabase) -> None:
    fill(any_db)
    config, made = backed_up_rows(any_db, tmp_path)
    summary = dbtasks.diff(config, made)
    assert summary.schema is not None
    assert not summary.differs, summary
    assert summary.schema.uncertain == ()
    assert (summary.backup.tables, summary.equal_tables) == (len(ROWS), len(ROWS))
    assert TOLD in summary.notes


def test_what_lies_between_is_named_and_what_no_rows_backup_tells_is_no_difference(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    fill(pg_db)
    config, made = backed_up_rows(pg_db, tmp_path)
    pg_db.run(DRIFT)
    pg_db.run(
        "ALTER SEQUENCE public.ticket INCREMENT 2; ALTER DOMAIN public.positive DROP CONSTRAINT positive_check"
    )
    summary = dbtasks.diff(config, made)
    drift = summary.schema
    assert drift is not None
    assert named(drift.only_in_backup) == [
        "foreign key public.orders orders_customer_id_fkey",
        "index public.orders_note",
    ]
    assert named(drift.only_against) == [
        "constraint public.coupon coupon_code_key",
        "constraint public.coupon coupon_pkey",
        "sequence public.coupon_id_seq",
        "table public.coupon",
    ]
    assert named(drift.changed) == [
        "domain public.positive",
        "sequence public.ticket",
        "table public.child",
        "table public.customer",
        "table public.parent",
        "type public.mood",
    ]
    parent = next(change for change in drift.changed if change.name == "public.parent")
    assert parent.details == ("+ v text", "- v character varying(20)", "- since date DEFAULT now()")
    assert differences(summary) == {("public.coupon", None, 2), ("public.files", 3, 1)}
    assert summary.differs
    # by the way back: the same two, the other way round
    later = backed_up(config)
    between = dbtasks.diff(config, made, later.id)
    assert between.schema == drift
    assert dbtasks.diff(config, later.id).schema == replace(
        drift, only_in_backup=(), only_against=(), changed=()
    )


def test_partitions_inheritance_and_where_a_sequence_belongs_are_compared(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE day (d int, n serial) PARTITION BY RANGE (d);"
        "CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM (1) TO (2);"
        "CREATE TABLE up (a int); CREATE TABLE down () INHERITS (up); CREATE TABLE loose (LIKE day)"
    )
    config, made = backed_up_rows(pg_db, tmp_path)
    pg_db.run(
        "ALTER TABLE day DETACH PARTITION day_1; ALTER TABLE day ATTACH PARTITION day_1 FOR VALUES FROM (1) TO (3);"
        "ALTER TABLE down NO INHERIT up; ALTER SEQUENCE day_n_seq OWNED BY NONE; ALTER TABLE up SET UNLOGGED"
    )
    drift = dbtasks.diff(config, made).schema
    assert drift is not None
    assert {change.name: change.details for change in drift.changed} == {
        "public.day_1": (
            "+ PARTITION OF public.day FOR VALUES FROM (1) TO (2)",
            "- PARTITION OF public.day FOR VALUES FROM (1) TO (3)",
        ),
        "public.down": ("+ INHERITS public.up",),
        "public.up": ("- UNLOGGED",),
        "public.day_n_seq": ("+ OWNED BY public.day.n",),
    }


def test_a_restore_into_a_new_database_leaves_no_difference(tmp_path: Path, pg_db: PgDatabase) -> None:
    pg_db.run(
        "CREATE TYPE mood AS ENUM ('a', 'b'); CREATE TABLE p (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, m mood);"
        "CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p (id) ON DELETE CASCADE, n numeric(9, 2) CHECK (n > 0));"
        "CREATE INDEX by_n ON c (n DESC) WHERE n > 1; INSERT INTO p (m) VALUES ('a')"
    )
    config, made = backed_up_rows(pg_db, tmp_path)
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(made, into=f"{pg_db.name}_new")))
    there = PgDatabase(pg_db.server, f"{pg_db.name}_new")
    summary = dbtasks.diff(settings_of(there, tmp_path, pg_bin=str(tmp_path)), made)
    there.server.run("postgres", f'DROP DATABASE "{there.name}"')
    assert summary.schema is not None
    assert not summary.differs, summary


@pytest.mark.parametrize(
    ("request_", "only_live", "compared"),
    [
        ({"tables": ("public.a",)}, [], True),
        ({"exclude_tables": ("public.b",)}, [], True),
        ({"exclude_data": ("public.b",)}, ["table public.new"], True),
        ({"schema_only": True}, ["table public.new"], True),
        ({"data_only": True}, [], False),
    ],
)
def test_what_a_part_leaves_out_by_choice_is_no_difference(
    tmp_path: Path, pg_db: PgDatabase, request_: dict[str, object], only_live: list[str], compared: bool
) -> None:
    pg_db.run("CREATE TABLE a (x int); CREATE TABLE b (x int)")
    config, made = backed_up_rows(pg_db, tmp_path, **request_)
    pg_db.run("ALTER TABLE a ADD y int; CREATE TABLE new (x int)")
    summary = dbtasks.diff(config, made)
    if not compared:
        assert summary.schema is None
        assert "holds rows only, without definitions" in summary.not_compared
        return
    assert summary.schema is not None
    assert named(summary.schema.changed) == ["table public.a"]
    assert named(summary.schema.only_against) == only_live
    assert summary.schema.only_in_backup == ()


def test_beside_a_backup_by_pg_dump_rows_are_compared_and_why_definitions_are_not_is_said(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE a (x int)")
    _, made = backed_up_rows(pg_db, tmp_path)
    pg_db.run("INSERT INTO a VALUES (1)")
    tools = settings_of(pg_db, tmp_path, via="host", pg_bin=str(pg_db.server.bin))
    dumped = backed_up(tools)
    for file, against in ((made, dumped.id), (dumped.id, made)):
        summary = dbtasks.diff(tools, file, against)
        assert summary.schema is None
        assert summary.not_compared == "a rows backup and one of pg_dump's do not tell them in the same words"
        assert [one.name for one in summary.tables] == ["public.a"]


def test_somebodys_file_is_compared_and_one_of_another_engine_is_refused(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run("CREATE TABLE a (x int); INSERT INTO a VALUES (1)")
    config, made = backed_up_rows(pg_db, tmp_path)
    theirs = tmp_path / "theirs.json.gz"
    theirs.write_bytes(dbtasks.find(config, made).path.read_bytes())
    pg_db.run("ALTER TABLE a ALTER x SET NOT NULL; INSERT INTO a VALUES (2)")
    summary = dbtasks.diff(config, str(theirs), unverified=True)
    assert summary.schema is not None
    assert named(summary.schema.changed) == ["table public.a"]
    assert differences(summary) == {("public.a", 1, 2)}
    (tmp_path / "other").mkdir()
    path = make(tmp_path / "other" / "app.db")
    other = dbtasks.load_settings(tmp_path / "other", environ={}, url=f"sqlite:///{path}", format="rows")
    lite = tmp_path / "lite.json.gz"
    lite.write_bytes(dbtasks.backup(other).path.read_bytes())
    for against in (None, made):
        with pytest.raises(WrongEngine):
            dbtasks.diff(config, str(lite), against, unverified=True)


def test_an_older_file_is_compared_by_its_tables_and_the_names_of_their_columns(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    pg_db.run(
        "CREATE TABLE customer (name text, id int, twice int GENERATED ALWAYS AS (id * 2) STORED, since date);"
        "CREATE TABLE other (x int); INSERT INTO customer (id) VALUES (1)"
    )
    file = older(
        tmp_path,
        {
            "customer": table(["id", "name", "twice", "phone"], [1, "Ada", 2, None], [2, None, 4, None]),
            "gone": table(["x"]),
        },
    )
    config = settings_of(pg_db, tmp_path, pg_bin=str(tmp_path))
    summary = dbtasks.diff(config, str(file), unverified=True)
    drift = summary.schema
    assert drift is not None
    assert named(drift.only_in_backup) == ["table gone"]
    assert drift.only_against == ()
    assert [(change.name, change.details) for change in drift.changed] == [
        ("public.customer", ("+ phone", "- since"))
    ]
    assert differences(summary) == {("gone", 0, None), ("public.customer", 2, 1)}
    notes = "\n".join(summary.notes)
    assert "tells tables and the names of their columns: types, keys, indexes" in notes
    assert "whether or not they were there: public.other" in notes
    assert "public.customer.twice is computed here" in notes
    with pytest.raises(Refused, match=r"was written by an older tool.* compared with no other backup"):
        dbtasks.diff(config, str(file), str(file), unverified=True)


def test_the_screen_says_what_a_restore_of_it_does_not_do(project: Project, pg_db: PgDatabase) -> None:
    project.mount()
    pg_db.run("CREATE TABLE a (x int); CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1")
    given = {"DATABASE_URL": pg_db.url, "DBTASKS_VIA": "python"}
    assert project.invoke("db.backup", **given).returncode == 0
    same = project.invoke("db.diff", "--exit-code", **given)
    assert same.returncode == 0, same.stderr
    assert "Schema   the same" in same.stdout
    assert "No difference found." in same.stdout
    pg_db.run("ALTER TABLE a ADD y int; CREATE TABLE b (x int)")
    shown = project.invoke("db.diff", "--exit-code", **given)
    assert shown.returncode == 10, shown.stderr
    assert "only in the other: table public.b" in shown.stdout
    assert "differs: table public.a" in shown.stdout
    assert "will be gone" not in shown.stdout
    assert "functions, views, triggers, policies and whatever else" in " ".join(shown.stdout.split())
    assert "would fill the tables that are there, and leave their definitions." in shown.stdout
    told = json.loads(project.invoke("db.diff", "--json", **given).stdout)["diff"]
    assert [one["name"] for one in told["schema"]["changed"]] == ["public.a"]


def test_a_column_that_is_called_like_a_constraint_is_one() -> None:
    def schema(type_: str) -> PortableSchema:
        columns = tuple(
            Column(name, type_) for name in ("check", "Primary", "unique", 'a"b', "like", "plain")
        )
        return PortableSchema(tables=(Table("public.t", columns),))

    drift = compare_schemas(definitions_of(schema("integer")), definitions_of(schema("text")))
    (change,) = drift.changed
    assert change.details[:2] == ('+ "check" integer', '- "check" text')
    assert len(change.details) == 12
