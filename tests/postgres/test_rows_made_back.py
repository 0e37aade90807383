"""A restore that made tables in a database without any: it is taken back, and the way back that is told is one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import LoadFailed, NotFound, Refused
from dbtasks.executors.undo import UndoWay
from tests.conftest import Project
from tests.fix_postgres import PgDatabase
from tests.postgres.test_rows_restore import backed_up, planned, restored, settings_of

MADE = """
CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 7';
CREATE SCHEMA "odd schema";
CREATE TYPE "odd schema".mood AS ENUM ('sad', 'glad');
CREATE DOMAIN price AS numeric CHECK (VALUE > 0);
CREATE SEQUENCE free;
CREATE TABLE t (id serial PRIMARY KEY, a int DEFAULT f(), m "odd schema".mood, p price, up int);
CREATE TABLE part (i int GENERATED ALWAYS AS IDENTITY, d int) PARTITION BY LIST (d);
CREATE TABLE "odd schema"."Pa.rt" PARTITION OF part FOR VALUES IN (1);
ALTER TABLE t ADD FOREIGN KEY (up) REFERENCES t;
INSERT INTO t (m, p) VALUES ('sad', 1); INSERT INTO part (d) VALUES (1);
"""
EVERYTHING = (
    "SELECT c.oid::regclass::text FROM pg_class c WHERE c.oid >= 16384 AND c.relnamespace <> 'pg_toast'::regnamespace"
    " UNION ALL SELECT typname FROM pg_type WHERE oid >= 16384"
    " UNION ALL SELECT nspname FROM pg_namespace WHERE oid >= 16384 UNION ALL SELECT proname FROM pg_proc WHERE oid >= 16384"
)


def emptied(database: PgDatabase) -> None:
    """Leave the function alone, as docs/rows.md has it made before such a restore."""
    database.run(
        'DROP TABLE t, part; DROP SEQUENCE free; DROP DOMAIN price; DROP SCHEMA "odd schema" CASCADE'
    )


def test_a_restore_that_made_tables_is_taken_back_to_the_last_type_and_that_again(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    before = pg_db.run(EVERYTHING)
    done = restored(config, made)
    assert pg_db.run("SELECT a, p FROM t") == [(7, 1)]
    assert done.way_back == "db.undo"
    pg_db.run("INSERT INTO t (m, p) VALUES ('glad', 2)")
    plan = dbtasks.plan_undo(config)
    assert [(one.name, one.restored_rows, one.live_rows, one.back_rows) for one in plan.changes] == [
        ('odd schema."Pa.rt"', 1, 1, None),
        ("public.t", 1, 2, None),
    ]
    assert plan.steps[0].startswith("in one transaction: DROP TABLE ")
    undone = dbtasks.undo(config, plan)
    assert pg_db.run(EVERYTHING) == before
    assert undone.way_back == "db.undo"
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert pg_db.run("SELECT a, p FROM t ORDER BY p") == [(7, 1), (7, 2)]


@pytest.mark.long
def test_an_undo_that_takes_tables_away_says_so_and_speaks_of_no_backup_that_is_loaded(
    pg_db: PgDatabase, project: Project
) -> None:
    pg_db.run(MADE)
    project.mount()
    environ = {"DATABASE_URL": pg_db.url, "DBTASKS_VIA": "python"}
    config = settings_of(pg_db, project.root)
    made = backed_up(config)
    emptied(pg_db)
    done = restored(config, made)
    plan = dbtasks.plan_undo(config)
    assert (plan.way, plan.last.id) == (UndoWay.TAKE_AWAY, done.id)
    shown = project.invoke("db.undo", "--dry-run", **environ)
    assert f"Way      taking tables away: the restore {done.id} made them, and there were none before it" in (
        shown.stdout.splitlines()
    )
    assert "Back to" not in shown.stdout
    told = json.loads(project.invoke("db.undo", "--dry-run", "--json", **environ).stdout)["plan"]
    assert (told["way"], told["safety_backup"]) == ("taking tables away", None)
    ran = project.invoke("db.undo", "--yes", **environ)
    assert f"✓ took back the restore {done.id} of {pg_db.name} by taking tables away in " in ran.stdout
    assert ": 3 tables gone\n" in ran.stdout
    # of a backup that was not loaded the next one says nothing
    shown = project.invoke("db.undo", "--dry-run", **environ).stdout.splitlines()[0]
    assert shown.startswith("Undo     the undo ") and shown.endswith("), which took tables away")
    undoes = json.loads(project.invoke("db.undo", "--dry-run", "--json", **environ).stdout)["plan"]["undoes"]
    assert (undoes["kind"], undoes["backup"]) == ("undo", None)
    # the way back of that loads one again
    again = json.loads(project.invoke("db.undo", "--yes", "--json", **environ).stdout)["undo"]
    assert (again["way"], again["tables"], again["taken_away"]) == ("safety backup", 2, [])
    gone = json.loads(project.invoke("db.undo", "--yes", "--json", **environ).stdout)["undo"]
    assert (gone["way"], gone["tables"]) == ("taking tables away", 0)
    assert sorted(gone["taken_away"]) == ['odd schema."Pa.rt"', "public.part", "public.t"]


LEANING = {
    "a view on it": "view public.v",
    "a view of a type": "view public.v",
    "a matview": "materialized view public.v",
    "a function of its rows": "function public.takes(public.t)",
    "a function of a type": 'function public.takes("odd schema".mood[])',
}


@pytest.mark.parametrize("since", [*LEANING, "dropped", "renamed", "another"])
def test_what_made_tables_is_not_taken_back_where_something_leans_on_them_or_they_are_others(
    pg_db: PgDatabase, tmp_path: Path, since: str
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    restored(config, made)
    statement = {
        "a view on it": "CREATE VIEW v AS TABLE t",
        "a view of a type": "CREATE VIEW v AS SELECT 'sad'::\"odd schema\".mood AS m",
        "a matview": "CREATE MATERIALIZED VIEW v AS TABLE part",
        "a function of its rows": "CREATE FUNCTION takes(t) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "a function of a type": "CREATE FUNCTION takes(\"odd schema\".mood[]) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "dropped": "DROP TABLE t",
        "another": "CREATE TABLE since (i int)",
        "renamed": "ALTER TABLE t RENAME TO u",
    }
    pg_db.run(statement[since])
    before = pg_db.run(EVERYTHING)
    with pytest.raises(Refused) as caught:
        dbtasks.plan_undo(config)
    assert caught.value.state == "nothing was touched"
    if since in LEANING:
        assert caught.value.message == (
            f"{pg_db.name} has what came since and leans on the tables that the restore made: {LEANING[since]}"
        )
        pg_db.run(f"DROP {LEANING[since]}")
        assert dbtasks.undo(config, dbtasks.plan_undo(config)).taken_away
        return
    if since == "another":
        assert (
            "has tables that came since the restore that made the others: public.since"
            in caught.value.message
        )
    else:
        assert "has not all the tables any more that the restore made: public.t" in caught.value.message
        assert 'DROP TABLE "odd schema"."Pa.rt", "public"."part";' in caught.value.hint
    assert pg_db.run(EVERYTHING) == before


def test_taking_tables_away_that_breaks_off_is_not_called_a_load(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    restored(config, made)
    plan = dbtasks.plan_undo(config)
    pg_db.run("CREATE VIEW v AS TABLE t")
    before = pg_db.run(EVERYTHING)
    with pytest.raises(LoadFailed, match=f"^taking tables of {pg_db.name} away broke off: ") as caught:
        dbtasks.undo(config, plan)
    assert caught.value.state.startswith(f"{pg_db.name} is as it was")
    assert pg_db.run(EVERYTHING) == before


def test_what_was_given_to_the_tables_since_is_named_before_it_goes_with_them(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    restored(config, made)
    role = pg_db.server.create_role()
    pg_db.run(
        "CREATE FUNCTION wakes() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER after_all AFTER INSERT ON t EXECUTE FUNCTION wakes(); CREATE POLICY own ON t USING (true);"
        f"CREATE RULE none AS ON DELETE TO t DO INSTEAD NOTHING; GRANT SELECT ON t TO {role.user}"
    )
    warnings = dbtasks.plan_undo(config).warnings
    along = (
        "policy own of public.t",
        "privileges on public.t",
        "rule none of public.t",
        "trigger after_all of public.t",
    )
    assert [text for text in warnings if "goes with the tables" in text] == [
        f"goes with the tables, and is in no backup of rows: {what}" for what in along
    ]


@pytest.mark.parametrize("into", [True, False])
def test_what_takes_away_made_tables_is_told_where_no_undo_does(
    pg_db: PgDatabase, tmp_path: Path, into: bool
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    with pg_db.server.fresh() as other:
        there = other if into else pg_db
        if into:
            other.run(MADE)
        emptied(there)
        before = there.run(EVERYTHING)
        job = dbtasks.RestoreJob(made.id, into=other.name if into else None, skip_safety_backup=not into)
        done = dbtasks.restore(config, dbtasks.plan_restore(config, job))
        words, _, statements = done.way_back.partition(" taken away by: ")
        assert words == "no backup goes back to a database without tables; what was made there is"
        if not into:
            with pytest.raises(NotFound) as caught:
                dbtasks.plan_undo(config)
            assert caught.value.hint == f"what it made is taken away by: {statements}"
        there.run(statements)
        assert there.run(EVERYTHING) == before


def test_a_database_that_lost_its_tables_makes_no_backup_that_is_latest(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(MADE)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    emptied(pg_db)
    empty = backed_up(config)
    assert not empty.manifest.all_tables
    assert f"{pg_db.name} holds no tables" in empty.manifest.warnings
    plan = planned(config, "latest")
    assert plan.archive.manifest is not None
    assert plan.archive.manifest.id == made.id
