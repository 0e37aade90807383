"""Whatever language a server speaks: what kind of error ended a load is told by its SQLSTATE, with the hint that belongs to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import DbTasksError, LoadFailed, RightMissing, TargetUnreachable
from tests.fix_postgres import PgDatabase, PgServer

SAID = "Auf dem Gerät ist kein Speicherplatz mehr verfügbar"
SCHEMA = f"""
CREATE FUNCTION public.holds(a int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
  IF coalesce(current_setting('dbtasks_test.fails', true), '') <> '' THEN
    RAISE EXCEPTION '{SAID}' USING ERRCODE = current_setting('dbtasks_test.fails');
  END IF;
  RETURN true;
END $$;
CREATE TABLE public.item (a int CHECK (public.holds(a)));
INSERT INTO public.item VALUES (1);
"""


@contextmanager
def failing(
    pg: PgServer, root: Path, state: str, options: str
) -> Iterator[tuple[dbtasks.Settings, PgDatabase]]:
    """A database of an ordinary role whose rows cannot be loaded any more, for what an SQLSTATE says."""
    role = pg.create_role(options)
    with pg.fresh(f'OWNER "{role.user}"') as owned:
        database = owned.seen_by(role)
        database.run(SCHEMA)
        tools = {"via": "host", "pg_bin": str(pg.bin), "format": "sql"}
        config = dbtasks.load_settings(root, environ={}, url=database.url, **tools)
        dbtasks.backup(config)
        pg.run("postgres", f"ALTER ROLE \"{role.user}\" SET dbtasks_test.fails = '{state}'")
        yield config, database


@pytest.mark.parametrize(
    ("state", "hint"),
    [
        ("53100", "free some space on the server's disk"),
        ("23503", "there that foreign key can be left out or made NOT VALID"),
        ("22000", ""),
    ],
)
@pytest.mark.parametrize("options", ["LOGIN", "LOGIN CREATEDB"], ids=["in place", "beside"])
def test_the_hint_goes_by_the_code_and_not_by_english_words(
    pg: PgServer, tmp_path: Path, state: str, hint: str, options: str
) -> None:
    with failing(pg, tmp_path, state, options) as (config, database):
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(skip_safety_backup=True))
        with pytest.raises(LoadFailed) as failed:
            dbtasks.restore(config, plan)
        error = failed.value
        assert error.message.endswith(f" broke off: {SAID}")
        assert f"{state}: {SAID}" in error.details
        assert "LOCATION" not in error.details
        assert error.hint.endswith(hint)
        assert bool(error.hint) is bool(hint)
        assert database.run("SELECT count(*) FROM public.item") == [(1,)]


@pytest.mark.parametrize(
    ("state", "kind"), [("42501", RightMissing), ("57P01", TargetUnreachable), ("22000", None)]
)
def test_what_is_no_fault_of_the_backup_is_told_apart_by_the_code(
    pg: PgServer, tmp_path: Path, state: str, kind: type[DbTasksError] | None
) -> None:
    with failing(pg, tmp_path, state, "LOGIN CREATEDB") as (config, _):
        made = [dbtasks.find(config, "latest")]
        if kind:
            with pytest.raises(kind):
                dbtasks.verify(config, made, restore=True, where="server")
        else:
            (proved,) = dbtasks.verify(config, made, restore=True, where="server")
            assert not proved.ok
