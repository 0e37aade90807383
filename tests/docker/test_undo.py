"""Restores taken back through a container that publishes no port: each question goes through a psql held open inside."""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import left_inside, run
from tests.docker.test_password_inside import eventually
from tests.fix_docker import PSQL, Box

pytestmark = pytest.mark.long

FILL = "CREATE TABLE public.item (id int PRIMARY KEY); INSERT INTO public.item SELECT generate_series(1, 10)"
COMMENT = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = current_database()"


@dataclass(frozen=True)
class Shop:
    """A database inside, and the project that restores it."""

    box: Box
    project: Project
    name: str

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        """Run a task and return its document."""
        ran = run(self.project, *arguments, "--json", DATABASE_URL=self.url)
        assert ran.returncode == code, ran.stdout + ran.stderr
        document: dict[str, Any] = json.loads(ran.stdout)
        return document

    def undo(self, way: str) -> dict[str, Any]:
        """Take the last restore back and say how that was done."""
        undone: dict[str, Any] = self.run("db.undo", "--yes")["undo"]
        assert undone["way"] == way
        return undone

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.box.name}/{self.name}"

    def sql(self, statement: str, database: str = "") -> str:
        return self.box.sql(statement, database or self.name)

    def rows(self) -> int:
        return int(self.sql("SELECT count(*) FROM public.item"))

    def oid(self) -> str:
        return self.sql("SELECT oid FROM pg_database WHERE datname = current_database()")

    def kin(self) -> list[str]:
        """The names of this database and of what restores made of it."""
        named = f"SELECT datname FROM pg_database WHERE datname LIKE '{self.name}%' ORDER BY 1"
        return self.sql(named, "postgres").split()


@pytest.fixture(scope="module")
def inside(start_box: Callable[..., Box]) -> Box:
    return start_box(publish=False)


@pytest.fixture
def shop(inside: Box, project: Project) -> Iterator[Shop]:
    """Ten items backed up, six of them left; afterwards nothing of any run is inside."""
    project.mount()
    shop = Shop(inside, project, f"shop_{secrets.token_hex(3)}")
    shop.sql(f"CREATE DATABASE {shop.name}", "postgres")
    shop.sql(FILL)
    shop.run("db.backup")
    shop.sql("DELETE FROM public.item WHERE id > 6")
    yield shop
    assert eventually(lambda: left_inside(inside) == [])
    assert eventually(lambda: not [line for line in inside.processes() if "psql" in line])


def test_d13_a_restore_through_a_container_is_taken_back_by_name_and_so_is_the_undo(shop: Shop) -> None:
    shop.sql(f"COMMENT ON DATABASE {shop.name} IS 'the shop''s'")
    shop.sql(f"ALTER DATABASE {shop.name} SET work_mem TO '3MB'")
    before = shop.oid()
    restored = shop.run("db.restore", "--file=latest", "--yes")["restore"]
    assert restored["way_back"] == "db.undo"
    assert shop.rows() == 10
    after = shop.oid()
    shop.sql("INSERT INTO public.item VALUES (11); CREATE TABLE public.newer (a int)")
    shop.sql(f"ALTER DATABASE {shop.name} SET work_mem TO '5MB'")
    plan = shop.run("db.undo", "--dry-run")["plan"]
    assert {(c["table"], c["restored_rows"], c["live_rows"], c["back_rows"]) for c in plan["changes"]} == {
        ("public.item", 10, 11, 6),
        ("public.newer", None, 0, None),
    }
    assert not plan["protected"], "the numbers of both databases prove that it did not change hands"
    undone = shop.undo("rename")
    assert undone["undone"]["id"] == restored["id"]
    assert (shop.oid(), shop.rows()) == (before, 6)
    assert (shop.sql(COMMENT), shop.sql("SHOW work_mem")) == ("the shop's", "3MB")
    assert shop.kin() == [shop.name, undone["old"]]
    shop.undo("rename")
    assert (shop.oid(), shop.rows(), shop.sql("SHOW work_mem")) == (after, 11, "5MB")
    assert shop.sql("INSERT INTO public.item VALUES (12) RETURNING id") == "12"
    kinds = [one["task"] for one in shop.run("db.log")["runs"]]
    assert kinds[:3] == ["undo", "undo", "restore"]


def test_where_the_old_database_was_dropped_the_safety_backup_comes_back_through_the_container(
    shop: Shop,
) -> None:
    restored = shop.run("db.restore", "--file=latest", "--drop-old", "--yes")["restore"]
    assert shop.kin() == [shop.name]
    shop.sql("INSERT INTO public.item VALUES (11)")
    plan = shop.run("db.undo", "--dry-run")["plan"]
    assert (plan["way"], plan["safety_backup"]) == ("safety backup", restored["safety_backup"])
    undone = shop.undo("safety backup")
    assert undone["safety_backup"]
    assert shop.rows() == 6
    shop.undo("rename")
    assert shop.rows() == 11


def test_a_restore_in_place_through_a_container_is_taken_back_in_place(shop: Shop) -> None:
    before = shop.oid()
    shop.run("db.restore", "--file=latest", "--in-place", "--yes")
    assert (shop.oid(), shop.rows()) == (before, 10)
    shop.sql("INSERT INTO public.item VALUES (11)")
    shop.undo("safety backup")
    assert (shop.oid(), shop.rows()) == (before, 6)
    shop.undo("safety backup")
    assert (shop.oid(), shop.rows()) == (before, 11)
    assert shop.kin() == [shop.name]


def test_a_cleanup_through_a_container_leaves_a_way_back(shop: Shop) -> None:
    restored = shop.run("db.restore", "--file=latest", "--yes")["restore"]
    shop.run("db.cleanup", "--yes")
    assert shop.kin() == [shop.name]
    assert restored["old"] not in shop.kin()
    shop.undo("safety backup")
    assert shop.rows() == 6


@pytest.mark.parametrize("which", ["the live one", "the kept one"])
def test_a_database_that_changed_hands_inside_is_refused(shop: Shop, which: str) -> None:
    restored = shop.run("db.restore", "--file=latest", "--yes")["restore"]
    name = shop.name if which == "the live one" else restored["old"]
    shop.sql(f'DROP DATABASE "{name}"', "postgres")
    shop.sql(f'CREATE DATABASE "{name}"', "postgres")
    shop.sql(FILL, name)
    there = shop.oid()
    refused = shop.run("db.undo", "--yes", code=6)
    assert "changed hands" in refused["error"]["message"]
    assert restored["safety_backup"] in refused["error"]["hint"]
    assert (shop.oid(), shop.rows()) == (there, 10)
    assert shop.kin() == sorted([shop.name, restored["old"]])


def test_a_restore_from_another_project_since_is_refused(shop: Shop) -> None:
    shop.run("db.restore", "--file=latest", "--yes")
    elsewhere = {"DATABASE_URL": shop.url, "DBTASKS_BACKUP_DIR": "elsewhere"}
    assert run(shop.project, "db.backup", **elsewhere).returncode == 0
    assert run(shop.project, "db.restore", "--file=latest", "--yes", **elsewhere).returncode == 0
    refused = shop.run("db.undo", "--yes", code=6)
    assert "restored or made anew by somebody else" in refused["error"]["message"]
    assert shop.rows() == 10


CLIENT = (
    'while [ ! -e /tmp/enough ]; do {} -U postgres -d "$0" -c "INSERT INTO public.visit VALUES (1)"; done'
)


@contextlib.contextmanager
def reconnecting(shop: Shop, clients: int) -> Iterator[None]:
    """Let applications inside connect, write and connect again without a pause, whatever is said to them."""
    api = shop.box.container.client.api
    try:
        for _ in range(clients):
            command = ["bash", "-c", CLIENT.format(" ".join(PSQL)), shop.name]
            api.exec_start(api.exec_create(shop.box.container.id, command)["Id"], detach=True)
        yield
    finally:
        shop.box.container.exec_run(["sh", "-c", "echo > /tmp/enough"])
        assert eventually(lambda: not [line for line in shop.box.processes() if "visit" in line])
        shop.box.container.exec_run(["rm", "/tmp/enough"])


def test_d14_d16_eight_applications_that_reconnect_inside_defeat_neither_restore_nor_undo(shop: Shop) -> None:
    shop.sql("CREATE TABLE public.visit (a int)")
    shop.run("db.backup")
    visits = "SELECT count(*) FROM public.visit"
    with reconnecting(shop, 8):
        assert eventually(lambda: shop.sql(visits) != "0")
        restored = shop.run("db.restore", "--file=latest", "--yes")["restore"]
        assert eventually(lambda: int(shop.sql(visits)) > 0), "they go on in the restored database"
        then = int(shop.sql(visits, restored["old"]))
        shop.undo("rename")
        assert eventually(lambda: int(shop.sql(visits)) > then), "and in the one that came back"
    assert shop.rows() == 6
    assert shop.sql("SELECT datallowconn FROM pg_database WHERE datname = current_database()") == "t"


HOLD = "BEGIN; LOCK TABLE pg_catalog.pg_shdescription IN SHARE MODE; SELECT pg_sleep(600)"
"""Between the two renames the exchange sets a comment, for which this lock makes it wait."""


@contextlib.contextmanager
def between_the_names(shop: Shop) -> Iterator[None]:
    """Let an exchange of names stop behind the first of its renames while the block runs."""
    api = shop.box.container.client.api
    command = [*PSQL, "-U", "postgres", "-d", "postgres", "-c", HOLD]
    api.exec_start(api.exec_create(shop.box.container.id, command)["Id"], detach=True)
    held = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'pg_shdescription'::regclass AND mode = 'ShareLock'"
    )
    assert eventually(lambda: shop.sql(held, "postgres") == "1")
    try:
        yield
    finally:
        shop.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'BEGIN; LOCK%'",
            "postgres",
        )


@pytest.mark.fault
def test_d16_an_undo_killed_between_the_two_names_leaves_the_live_database_inside_reachable(
    shop: Shop,
) -> None:
    restored = shop.run("db.restore", "--file=latest", "--yes")["restore"]
    waits = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COMMENT%' AND wait_event_type = 'Lock'"
    with between_the_names(shop):
        running = shop.project.start("db.undo", "--yes", DATABASE_URL=shop.url)
        assert eventually(lambda: shop.sql(waits, "postgres") == "1"), running.poll()
        running.send_signal(signal.SIGKILL)
        _, told = running.communicate(timeout=60)
        assert running.returncode == -signal.SIGKILL, told
    assert eventually(lambda: shop.rows() == 10)
    assert shop.sql("INSERT INTO public.item VALUES (11) RETURNING id") == "11"
    assert shop.kin() == [shop.name, restored["old"]]
    assert shop.undo("rename")["undone"]["id"] == restored["id"]
    assert shop.rows() == 6
