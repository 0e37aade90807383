"""SQL that runs in a loaded backup before it goes live: PostgreSQL, beside and in place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import LoadFailed, Refused
from dbtasks.events import Event, Phase
from dbtasks.journal import read_restores
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import databases
from tests.postgres.rich import count, fingerprint
from tests.test_after_load import recipe

SCHEMA = """
CREATE TABLE public.customer (id int PRIMARY KEY, name text, email text, phone text);
CREATE TABLE public.session (id int PRIMARY KEY, customer int REFERENCES public.customer (id));
CREATE TABLE public.audit_log (id int, at timestamptz);
INSERT INTO public.customer VALUES (1, 'Ada', 'ada@really.example', '1815'), (2, 'Bob', 'bob@really.example', NULL);
INSERT INTO public.session VALUES (1, 1), (2, 2), (3, 2);
INSERT INTO public.audit_log VALUES (1, now() - interval '8 days'), (2, now());
"""
BOTH = pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
Shop = tuple[dbtasks.Settings, PgDatabase]


def prepared(root: Path, database: PgDatabase, **flags: Any) -> dbtasks.Settings:
    database.run(SCHEMA)
    tools = {"via": "host", "pg_bin": str(database.server.bin), **flags}
    config = dbtasks.load_settings(root, environ={}, url=database.url, **tools)
    dbtasks.backup(config)
    database.run("INSERT INTO public.customer VALUES (3, 'Cy', 'cy@here.example', '1')")
    return config


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    return prepared(tmp_path, pg_db), pg_db


@pytest.fixture
def any_shop(tmp_path: Path, any_db: PgDatabase) -> Shop:
    return prepared(tmp_path, any_db), any_db


def plan(config: dbtasks.Settings, *scripts: str, **request: Any) -> dbtasks.RestorePlan:
    files = []
    for number, script in enumerate(scripts):
        files.append(config.root / f"script{number}.sql")
        files[-1].write_text(script)
    asked = dbtasks.LoadRequest(after_load=tuple(files), **request)
    return dbtasks.plan_restore(config, dbtasks.RestoreJob(request=asked))


def restore(
    config: dbtasks.Settings, *scripts: str, heard: list[Event] | None = None, **request: Any
) -> dbtasks.RestoreResult:
    found = plan(config, *scripts, **request)
    return dbtasks.restore(config, found, on_event=(heard if heard is not None else []).append)


@pytest.mark.long
@BOTH
def test_the_recipe_of_the_page_scrubs_before_anybody_sees_it(any_shop: Shop, in_place: bool) -> None:
    config, database = any_shop
    heard: list[Event] = []
    done = restore(config, recipe("PostgreSQL"), heard=heard, in_place=in_place)
    assert database.run("SELECT name, email, phone FROM public.customer ORDER BY id") == [
        ("Customer 1", "customer1@example.invalid", None),
        ("Customer 2", "customer2@example.invalid", None),
    ]
    assert count(database) == {"public.customer": 2, "public.session": 0, "public.audit_log": 1}
    phases = [event.name for event in heard if isinstance(event, Phase)]
    last = "commit" if in_place else "swap"
    order = [phases.index(name) for name in ("load", "check", "after_load", "analyze", last)]
    assert order == sorted(order)
    assert (done.rows, len(done.after_load)) == (3, 1)
    (record,) = read_restores(config.backup_dir)
    assert record["rows"] == count(database)
    assert record["after_load"] == [str(config.root / "script0.sql")]
    dbtasks.undo(config, dbtasks.plan_undo(config))
    assert count(database) == {"public.customer": 3, "public.session": 3, "public.audit_log": 2}


def test_while_it_runs_the_live_database_is_the_one_from_before_and_another_one_is_scrubbed(
    shop: Shop,
) -> None:
    config, database = shop
    live = "SELECT string_agg(email, ' ' ORDER BY id) FROM public.customer"
    before, seen = database.run(live), []

    def look(event: Event) -> None:
        if isinstance(event, Phase) and event.name in ("after_load", "swap"):
            (new,) = {*databases(database)} - {database.name}
            seen.append((event.name, database.run(live), PgDatabase(database.server, new).run(live)))

    (config.root / "scrub.sql").write_text(recipe("PostgreSQL"))
    asked = dbtasks.LoadRequest(after_load=(config.root / "scrub.sql",))
    dbtasks.restore(config, dbtasks.plan_restore(config, dbtasks.RestoreJob(request=asked)), on_event=look)
    scrubbed = [("customer1@example.invalid customer2@example.invalid",)]
    assert seen == [
        ("after_load", before, [("ada@really.example bob@really.example",)]),
        ("swap", before, scrubbed),
    ]
    assert database.run(live) == scrubbed


@pytest.mark.long
@BOTH
@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("UPDATE public.customer SET name = 'x'; UPDATE public.nosuch SET a = 1;", "nosuch"),
        ("DELETE FROM public.customer WHERE id = 1;", "violates foreign key"),
        ("SET session_replication_role = replica; DELETE FROM public.customer WHERE id = 1;", "public.session break"),
        ("ALTER TABLE public.session ALTER CONSTRAINT session_customer_fkey DEFERRABLE INITIALLY DEFERRED;"
         " DELETE FROM public.customer WHERE id = 1;", "violates foreign key"),
        ("CREATE INDEX CONCURRENTLY i ON public.customer (name);", "cannot run inside a transaction block"),
        ("DO $$ BEGIN COMMIT; END $$;", "invalid transaction termination"),
    ],
    ids=["error", "foreign key", "triggers off", "deferred", "concurrently", "hidden commit"],
)  # fmt: skip
def test_one_that_fails_swaps_nothing(shop: Shop, in_place: bool, script: str, told: str) -> None:
    config, database = shop
    before = fingerprint(database)
    with pytest.raises(LoadFailed) as caught:
        restore(config, script, in_place=in_place)
    assert told in caught.value.message
    assert "script0.sql" in caught.value.message
    assert "<stdin>" not in caught.value.details
    assert caught.value.exit_code == 9
    assert caught.value.hint.startswith("correct it and restore again; after_load=none")
    assert f"{database.name} " in caught.value.state
    assert "is as it was" in caught.value.state or "was not touched" in caught.value.state
    assert fingerprint(database) == before
    assert databases(database) == [database.name]
    (record,) = read_restores(config.backup_dir)
    assert record["state"].startswith("failed")


@pytest.mark.long
@BOTH
@pytest.mark.parametrize(
    ("script", "told", "hint"),
    [
        ("SELECT 1;\n\\! touch /tmp/dbtasks-was-here\n", r"the meta-command.*\(line 2\)", "say it in SQL"),
        ("\\copy public.customer to program 'cat'\n", "the meta-command", "say it in SQL"),
        (
            "BEGIN;\nDELETE FROM public.session;\nCOMMIT;\n",
            r"BEGIN which is the restore's to say \(line 1\)",
            "take that out",
        ),
        ("DELETE FROM public.session; COMMIT; DROP TABLE public.customer;", "COMMIT", "take that out"),
        ("ROLLBACK;", "ROLLBACK", "take that out"),
        ("DELETE FROM public.session", "perhaps a missing semicolon", "with a semicolon"),
        ("UPDATE public.customer SET name = 'half", "perhaps a missing semicolon", "with a semicolon"),
        # it would reach the live one while the loaded one has another name
        (
            "ALTER DATABASE shop SET statement_timeout = 1;",
            r"ALTER DATABASE: until .* another name \(line 1\)",
            "take that out",
        ),
    ],
)
def test_one_that_reaches_further_is_refused_before_anything_is_touched(
    shop: Shop, in_place: bool, script: str, told: str, hint: str
) -> None:
    config, _ = shop
    with pytest.raises(Refused, match=told) as caught:
        plan(config, script, in_place=in_place)
    assert f"{hint} and restore again; after_load=none restores without such files" in caught.value.hint
    assert "script0.sql holds" in caught.value.message
    assert caught.value.state == "nothing was touched"
    assert not (config.backup_dir / "restores").exists()


def test_one_that_is_exchanged_after_the_plan_is_judged_again(shop: Shop) -> None:
    config, database = shop
    before = fingerprint(database)
    found = plan(config, "DELETE FROM public.session;")
    (config.root / "script0.sql").write_text("DELETE FROM public.session; COMMIT;")
    with pytest.raises(Refused, match="COMMIT"):
        dbtasks.restore(config, found)
    assert fingerprint(database) == before
    assert databases(database) == [database.name]


@BOTH
def test_names_are_looked_up_as_in_a_new_connection_to_the_live_database(shop: Shop, in_place: bool) -> None:
    config, database = shop
    database.run("CREATE SCHEMA app; CREATE TABLE app.note (a int)")
    config = prepared_again(config)
    database.run(f'ALTER DATABASE "{database.name}" SET search_path = app, public')
    restore(
        config,
        "INSERT INTO note VALUES (1);",
        "INSERT INTO note SELECT count(*) FROM customer;",
        in_place=in_place,
    )
    assert database.run("SELECT a FROM app.note ORDER BY a") == [(1,), (3,)]


def prepared_again(config: dbtasks.Settings) -> dbtasks.Settings:
    dbtasks.backup(config)
    return config


@BOTH
def test_it_runs_as_the_role_that_everything_is_loaded_as(shop: Shop, in_place: bool) -> None:
    config, database = shop
    role = database.server.create_role("NOLOGIN")
    database.run(f'ALTER DATABASE "{database.name}" OWNER TO "{role.user}"')
    script = "CREATE TABLE public.made AS SELECT current_user::text AS by;"
    restore(config, script, role=role.user, no_owner=True, in_place=in_place)
    assert database.run("SELECT by FROM public.made") == [(role.user,)]


def test_what_a_script_of_pg_dump_switched_off_is_on_again(shop: Shop) -> None:
    config, database = shop
    script = "CREATE TABLE public.seen AS SELECT current_setting('row_security') AS a, current_setting('check_function_bodies') AS b;"
    restore(config, script, in_place=True)
    assert database.run("SELECT a, b FROM public.seen") == [("on", "on")]


def test_keys_of_every_kind_are_looked_at_again(shop: Shop) -> None:
    config, database = shop
    database.run(
        """
        CREATE TABLE public.pair ("a b" int, c text, PRIMARY KEY ("a b", c));
        CREATE TABLE public.part (id int, p int, q text, FOREIGN KEY (p, q) REFERENCES public.pair ("a b", c))
            PARTITION BY RANGE (id);
        CREATE TABLE public.part1 PARTITION OF public.part FOR VALUES FROM (0) TO (10);
        INSERT INTO public.pair VALUES (1, 'x');
        INSERT INTO public.part VALUES (1, 1, 'x'), (2, NULL, 'nowhere on purpose'), (3, 1, NULL);
        """
    )
    dbtasks.backup(config)
    assert restore(config, "SELECT 1;").rows == 12
    with pytest.raises(LoadFailed, match=r"rows of public\.part break the foreign key"):
        restore(config, "SET session_replication_role = replica; UPDATE public.pair SET c = 'y';")


def test_it_runs_in_a_database_that_is_made_by_the_restore(shop: Shop) -> None:
    config, database = shop
    database.server.drop_database(database.name)
    assert restore(config, "DELETE FROM session;").rows == 4
    assert count(database)["public.session"] == 0
