"""`--table` in a database with event triggers: they stay awake, the plan names them, and one that refuses is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused
from tests.fix_postgres import PgDatabase
from tests.postgres.rich import fingerprint
from tests.postgres.test_one_table import Shop, bring, plan
from tests.postgres.test_undo import backed_up

SEES = "event triggers see what is done to the tables, write what they write, and may refuse it: "
WAKEFUL = """
    CREATE FUNCTION public.acted() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not to fire'; END$$;
    CREATE TRIGGER acting BEFORE INSERT ON public.item FOR EACH ROW EXECUTE FUNCTION public.acted();
    CREATE TABLE public.seen (what text);
    CREATE SCHEMA rules;
"""
REFUSES = """
    CREATE FUNCTION rules."No DDL"() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN IF session_user = current_user THEN RAISE EXCEPTION 'no % today', tg_tag; END IF; END$$;
    CREATE EVENT TRIGGER "Nobody changes tables" ON {} EXECUTE FUNCTION rules."No DDL"();
"""
NOTES = """
    CREATE FUNCTION rules.note() RETURNS event_trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO public.seen VALUES (tg_tag); END$$;
    CREATE EVENT TRIGGER noting_ddl ON ddl_command_end EXECUTE FUNCTION rules.note();
"""
WAYS = {"replaced": {}, "created": {}, "beside": {"as_name": "item_then"}}


@pytest.fixture
def shop(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    """Six of ten items are left, and what acts on each row that is inserted must not."""
    config = backed_up(tmp_path, pg_db)
    pg_db.run(WAKEFUL)
    return config, pg_db


@pytest.mark.long
@pytest.mark.parametrize("function", ['"No DDL"', "no_ddl"])
@pytest.mark.parametrize("event", ["ddl_command_start", "ddl_command_end"])
@pytest.mark.parametrize("way", WAYS)
def test_an_event_trigger_that_refuses_is_named_and_nothing_is_changed(
    shop: Shop, way: str, event: str, function: str
) -> None:
    config, database = shop
    if way == "created":
        database.run("DROP TABLE item")
    database.run(REFUSES.format(event).replace('"No DDL"', function))
    before = fingerprint(database)
    planned = plan(config, "item", **WAYS[way])
    # whose name is quoted is not shown, and so not certain
    said = "may have refused it" if '"' in function else "refused it"
    assert planned.warnings[-1] == f"{SEES}Nobody changes tables"
    with pytest.raises(
        Refused, match=rf"the event trigger Nobody changes tables {said}: no [A-Z]+ TABLE today"
    ) as caught:
        dbtasks.restore_tables(config, planned)
    assert f"{database.name} is as it was" in caught.value.state
    disable = 'ALTER EVENT TRIGGER "Nobody changes tables" DISABLE'
    assert disable in caught.value.hint
    assert fingerprint(database) == before
    database.run(disable)
    assert bring(config, "item", **WAYS[way]).rows
    assert not any(text.startswith(SEES) for text in plan(config, "item").warnings)


def test_an_event_trigger_that_notes_what_is_done_is_named_and_left_to_it(shop: Shop) -> None:
    config, database = shop
    database.run(NOTES)
    planned = plan(config, "item")
    assert planned.warnings[-1] == f"{SEES}noting_ddl"
    assert dbtasks.restore_tables(config, planned).rows == {"public.item": 10}
    assert set(database.run("SELECT what FROM seen")) == {("ALTER TABLE",)}
    assert database.run("SELECT evtenabled FROM pg_event_trigger") == [("O",)]


def test_event_triggers_that_will_not_fire_are_not_named(shop: Shop) -> None:
    config, database = shop
    database.run(NOTES)
    database.run("CREATE EVENT TRIGGER dropping ON sql_drop EXECUTE FUNCTION rules.note()")
    database.run("CREATE EVENT TRIGGER asleep ON ddl_command_end EXECUTE FUNCTION rules.note()")
    database.run("ALTER EVENT TRIGGER asleep DISABLE; ALTER EVENT TRIGGER noting_ddl ENABLE REPLICA")
    viewing = "CREATE EVENT TRIGGER viewing ON ddl_command_end WHEN TAG IN ('CREATE VIEW') EXECUTE FUNCTION rules.note()"
    database.run(viewing)
    assert not any(text.startswith(SEES) for text in plan(config, "item").warnings)


def test_a_failure_of_something_else_is_not_blamed_on_an_event_trigger(shop: Shop) -> None:
    config, database = shop
    database.run(NOTES)
    database.run("ALTER TABLE item ADD CONSTRAINT few CHECK (id < 8) NOT VALID")
    with pytest.raises(dbtasks.DbTasksError) as caught:
        bring(config, "item")
    assert "few" in caught.value.message
    assert "event trigger" not in caught.value.message


@pytest.mark.parametrize("name", ['"No DDL"', "no_ddl"])
def test_a_failure_of_a_function_beside_it_is_not_certainly_the_event_triggers(shop: Shop, name: str) -> None:
    config, database = shop
    other = '"Only few"' if '"' in name else "only_few"
    database.run(f"""
        CREATE FUNCTION rules.{name}() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
        CREATE EVENT TRIGGER watching ON ddl_command_start EXECUTE FUNCTION rules.{name}();
        CREATE FUNCTION rules.{other}(id integer) RETURNS boolean LANGUAGE plpgsql
            AS 'BEGIN IF id > 8 THEN RAISE EXCEPTION ''no more than eight''; END IF; RETURN true; END';
        ALTER TABLE item ADD CONSTRAINT few CHECK (rules.{other}(id::integer)) NOT VALID;
    """)
    with pytest.raises(dbtasks.DbTasksError, match="no more than eight") as caught:
        bring(config, "item")
    told = f"{caught.value.message} {caught.value.hint}"
    if '"' in name:
        assert "the event trigger watching may have refused it" in told
        assert "where it was that, and its rule allows it, a superuser says ALTER EVENT TRIGGER" in told
    else:
        assert "event trigger" not in told
