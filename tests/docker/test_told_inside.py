"""Through a container: what restores kept, what stays although a killed one left it, and which event trigger refused."""

from __future__ import annotations

import pytest

from dbtasks.engines.postgres.exchange.leftovers import MARK
from tests.docker.test_password_inside import eventually
from tests.docker.test_undo import Shop, inside, shop
from tests.fix_docker import PSQL

__all__ = ["inside", "shop"]

pytestmark = pytest.mark.long


def test_what_earlier_restores_kept_is_told_inside_with_its_size(shop: Shop) -> None:
    first = shop.run("db.restore", "--file=latest", "--yes")["restore"]
    second = shop.run("db.restore", "--file=latest:manual", "--yes")["restore"]
    (older,) = second["older"]
    assert (older["name"], older["recorded"]) == (first["old"], True)
    assert older["size_bytes"] > 1_000_000
    info = shop.run("db.info")
    assert {one["name"] for one in info["replaced"]} == {first["old"], second["old"]}
    assert info["store"]["next_cleanup_removes"] == {
        "backups": 0,
        "databases": 2,
        "left_over": 0,
        "drafts": 0,
    }
    shop.run("db.cleanup", "--yes")
    assert shop.run("db.info")["replaced"] == []


def test_d08_what_a_killed_restore_left_inside_and_somebody_uses_is_named_by_the_next(shop: Shop) -> None:
    left = f"{shop.name}__new_zzzzzz"
    shop.sql(f"CREATE DATABASE {left}", "postgres")
    shop.sql(f"COMMENT ON DATABASE {left} IS '{MARK}'", "postgres")
    api, ours = shop.box.container.client.api, f"datname = '{left}'"
    guest = [*PSQL, "-U", "postgres", "-d", left, "-c", "SELECT pg_sleep(600)"]
    api.exec_start(api.exec_create(shop.box.container.id, guest)["Id"], detach=True)
    connected = f"SELECT count(*) FROM pg_stat_activity WHERE {ours}"
    assert eventually(lambda: shop.sql(connected, "postgres") == "1")
    try:
        done = shop.run("db.restore", "--file=latest", "--yes")
        assert any(
            text.startswith(f"{left}, left over by an earlier restore, stays while process ")
            for text in done["warnings"]
        )
        assert left in shop.kin()
    finally:
        shop.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}", "postgres")
    assert eventually(lambda: shop.sql(connected, "postgres") == "0")
    shop.run("db.restore", "--file=latest:manual", "--yes")
    assert left not in shop.kin()


def test_an_event_trigger_that_refuses_a_table_inside_is_named(shop: Shop) -> None:
    shop.sql(
        "CREATE FUNCTION public.no() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''no %'', tg_tag; END'"
    )
    shop.sql("CREATE TABLE public.gone (a int)")
    shop.run("db.backup", "--skip-cleanup")
    shop.sql("DROP TABLE public.gone")
    shop.sql("CREATE EVENT TRIGGER never ON ddl_command_end EXECUTE FUNCTION public.no()")
    failed = shop.run("db.restore", "--file=latest", "--table=gone", "--yes", code=6)
    assert failed["error"]["message"] == "the event trigger never refused it: no CREATE TABLE"
    assert any(text.endswith("may refuse it: never") for text in failed["warnings"])
