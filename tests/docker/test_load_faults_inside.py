"""Loads that go wrong inside a container without a published port: the live database there is as it was."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import left_inside, run
from tests.docker.test_password_inside import eventually
from tests.docker.test_undo import Shop
from tests.fix_docker import PSQL, Box

pytestmark = [pytest.mark.long, pytest.mark.fault]

PLACES = {"beside": (), "in place": ("--in-place",)}
LOADS = [("custom", "beside"), ("directory", "beside"), ("custom", "in place"), ("sql", "in place")]
"""What is loaded in each way there is: pg_restore, its workers, pg_restore into psql, psql alone."""
FILL = """
    CREATE TABLE public.audit (a int);
    CREATE TABLE public.item (id int PRIMARY KEY);
    INSERT INTO public.item SELECT generate_series(1, 10);
    SELECT lo_from_bytea(0, 'large');
"""
BREAKING = """
    CREATE FUNCTION public.below(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN a; END';
    CREATE INDEX ON public.item (public.below(id));
    CREATE OR REPLACE FUNCTION public.below(a int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN a / 0; END';
"""
"""The index cannot be made again: an error behind the rows and the large objects."""
WRITING = """
    CREATE FUNCTION public.seen(a int) RETURNS int LANGUAGE plpgsql AS
        'BEGIN INSERT INTO public.audit VALUES (a); RETURN a; END';
    CREATE FUNCTION public.key(a int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.seen(a); END';
    CREATE INDEX ON public.item (public.key(id));
"""
SLOW = """
    CREATE FUNCTION public.wait() RETURNS boolean LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_catalog.pg_sleep(3) WHERE pg_catalog.current_setting('application_name') = 'dbtasks';
        RETURN true; END $$;
    CREATE TABLE public.b_slow (a int CHECK (public.wait())); INSERT INTO public.b_slow VALUES (1);
    CREATE TABLE public.c_more AS SELECT repeat(md5(i::text), 20) a FROM generate_series(1, 12000) i;
"""


@pytest.fixture(scope="module")
def inside(start_box: Callable[..., Box]) -> Box:
    return start_box(publish=False)


@pytest.fixture
def shop(inside: Box, project: Project) -> Iterator[Shop]:
    """Ten items; afterwards nothing of any run is inside."""
    project.mount()
    shop = Shop(inside, project, f"shop_{secrets.token_hex(3)}")
    shop.sql(f"CREATE DATABASE {shop.name}", "postgres")
    shop.sql(FILL)
    yield shop
    assert eventually(lambda: left_inside(inside) == [])
    assert eventually(lambda: not [line for line in inside.processes() if "psql" in line])
    for name in shop.kin():
        shop.sql(f'DROP DATABASE "{name}" WITH (FORCE)', "postgres")


def whole(shop: Shop) -> str:
    """The live database as the pg_dump inside shows it."""
    code, (out, err) = shop.box.container.exec_run(["pg_dump", "-U", "postgres", shop.name], demux=True)
    assert code == 0, err
    noise = ("\\restrict", "\\unrestrict", "-- Data for Name: ")
    return "\n".join(line for line in out.decode().splitlines() if not line.startswith(noise))


def state_of(document: dict[str, Any]) -> str:
    return str(document["error"]["state"])


@pytest.mark.parametrize(("format_", "place"), LOADS)
def test_d01_d07_d09_an_error_in_a_load_inside_leaves_the_live_database_alone(
    shop: Shop, format_: str, place: str
) -> None:
    shop.sql(BREAKING)
    shop.run("db.backup", f"--format={format_}")
    shop.sql("DELETE FROM public.item WHERE id > 3; CREATE TABLE public.newer (a int)")
    before = whole(shop)
    failed = shop.run("db.restore", "--file=latest", "--yes", *PLACES[place], code=9)
    assert "division by zero" in failed["error"]["details"]
    assert f"{shop.name} " in state_of(failed)
    assert "what it held when this began was backed up" in state_of(failed)
    assert (whole(shop), shop.kin()) == (before, [shop.name])


@pytest.mark.parametrize(("format_", "place"), LOADS)
def test_d22_rows_that_are_not_as_the_manifest_says_do_not_go_live_inside(
    shop: Shop, format_: str, place: str
) -> None:
    shop.sql(WRITING)
    shop.run("db.backup", f"--format={format_}")
    shop.sql("DELETE FROM public.item WHERE id > 3")
    before = whole(shop)
    failed = shop.run("db.restore", "--file=latest", "--yes", *PLACES[place], code=5)
    assert re.fullmatch(r"public\.audit: [23]0 instead of 10", failed["error"]["details"])
    assert f"{shop.name} is as it was; what was loaded is removed" in state_of(failed)
    assert (whole(shop), shop.kin()) == (before, [shop.name])


@pytest.mark.parametrize(("format_", "place"), LOADS)
def test_d10_d12_d13_a_restore_inside_is_whole_twice_over(shop: Shop, format_: str, place: str) -> None:
    shop.sql("CREATE TABLE public.without_key AS SELECT 1 a")
    wanted = whole(shop)
    shop.run("db.backup", f"--format={format_}")
    for _ in range(2):
        shop.sql("CREATE VIEW public.later AS SELECT * FROM public.item; CREATE TABLE public.newer (a int)")
        shop.run("db.restore", "--file=latest", "--yes", *PLACES[place])
        assert whole(shop) == wanted


@contextlib.contextmanager
def reading(shop: Shop) -> Iterator[None]:
    """Somebody inside reads, and stays in the transaction."""
    api = shop.box.container.client.api
    said = f"SET application_name = 'the till {shop.name}'; BEGIN; SELECT * FROM public.item WHERE id = 4711; SELECT pg_sleep(600)"
    command = [*PSQL, "-U", "postgres", "-d", shop.name, "-c", said]
    api.exec_start(api.exec_create(shop.box.container.id, command)["Id"], detach=True)
    there = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'public.item'::regclass AND mode = 'AccessShareLock'"
    )
    assert eventually(lambda: shop.sql(there) == "1")
    try:
        yield
    finally:
        ours = f"application_name = 'the till {shop.name}'"
        shop.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}", "postgres")


def test_d15_a_reader_inside_is_named_with_its_statement_and_nothing_hangs(shop: Shop) -> None:
    shop.run("db.backup")
    before = whole(shop)
    with reading(shop):
        ran = run(
            shop.project,
            *("db.restore", "--file=latest", "--in-place", "--yes"),
            DATABASE_URL=shop.url,
            DBTASKS_LOCK_TIMEOUT="1",
        )
        assert ran.returncode == 7, ran.stderr
        assert f"(postgres, the till {shop.name}, active)" in ran.stderr
        assert "SELECT * FROM public.item WHERE id = …" in ran.stderr
        assert "4711" not in ran.stderr
        assert f"{shop.name} is as it was" in ran.stderr
    assert whole(shop) == before


@pytest.mark.parametrize(
    ("format_", "victim"),
    [
        ("custom", "the task"),
        ("directory", "the task"),
        ("sql", "the task"),
        ("sql", "psql"),
        ("custom", "pg_restore"),
        ("custom", "the session"),
    ],
)
def test_d05_d08_whatever_of_a_load_in_place_is_killed_inside_nothing_of_it_is_committed(
    shop: Shop, format_: str, victim: str
) -> None:
    shop.sql(SLOW)
    shop.run("db.backup", f"--format={format_}")
    shop.sql("DELETE FROM public.item WHERE id > 3; CREATE TABLE public.newer (a int)")
    before = whole(shop)
    running = shop.project.start("db.restore", "--file=latest", "--in-place", "--yes", DATABASE_URL=shop.url)
    asleep = "FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name = 'dbtasks'"
    assert eventually(lambda: shop.sql(f"SELECT count(*) {asleep}", "postgres") == "1"), running.poll()
    if victim == "the session":
        shop.sql(f"SELECT pg_terminate_backend(pid) {asleep}", "postgres")
    elif victim == "the task":
        running.send_signal(signal.SIGKILL)
    else:
        _kill_inside(shop.box, victim)
    _, said = running.communicate(timeout=60)
    assert running.returncode == (-signal.SIGKILL if victim == "the task" else 9), said
    if victim != "the task":
        assert f"{shop.name} is as it was" in said
    others = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{shop.name}'"
    assert eventually(lambda: shop.sql(others, "postgres") == "0")
    assert (whole(shop), shop.kin()) == (before, [shop.name])


def _kill_inside(box: Box, tool: str) -> None:
    """Kill the tools of a name, as the system does that has no memory left."""
    script = f'for p in /proc/[0-9]*; do read -r n < $p/comm && [ "$n" = {tool} ] && kill -9 ${{p#/proc/}}; done; true'
    code, out = box.container.exec_run(["bash", "-c", script])
    assert code == 0, out


POLLUTE = "CREATE TABLE public.polluted (a int); CREATE TABLE public.item (b text)"


def test_d17_d18_a_swap_inside_carries_over_what_pg_dump_leaves_out_and_nothing_of_template1(
    shop: Shop,
) -> None:
    name = shop.name
    shop.sql(
        f"CREATE ROLE owner_{name}; CREATE ROLE guest_{name}; ALTER DATABASE {name} OWNER TO owner_{name}"
    )
    shop.sql(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC; GRANT CONNECT ON DATABASE {name} TO guest_{name}")
    shop.sql(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'; ALTER DATABASE {name} CONNECTION LIMIT 17")
    shop.sql(f"ALTER ROLE guest_{name} IN DATABASE {name} SET work_mem TO '3MB'")
    shop.sql(f"COMMENT ON DATABASE {name} IS 'the shop''s'")
    about = f"""
        SELECT pg_get_userbyid(datdba), encoding, datcollate, datctype, datlocprovider, datconnlimit, datallowconn,
               (SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(datacl) a),
               shobj_description(d.oid, 'pg_database'),
               (SELECT string_agg(setrole || ' ' || setconfig::text, ';' ORDER BY setrole)
                FROM pg_db_role_setting WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = '{name}'
    """
    before, wanted, oid = shop.sql(about), whole(shop), shop.oid()
    shop.run("db.backup")
    shop.sql(POLLUTE, "template1")
    try:
        shop.run("db.restore", "--file=latest", "--drop-old", "--yes")
    finally:
        shop.sql("DROP TABLE public.polluted, public.item", "template1")
    assert shop.oid() != oid
    assert (shop.sql(about), whole(shop)) == (before, wanted)
    shop.sql(f"ALTER DATABASE {name} OWNER TO postgres")
    shop.sql(
        f"DROP OWNED BY guest_{name}; DROP ROLE owner_{name}; ALTER ROLE guest_{name} IN DATABASE {name} RESET ALL"
    )
    shop.sql(f"DROP ROLE guest_{name}")


def test_d21_where_the_present_inside_cannot_be_saved_nothing_is_loaded(shop: Shop) -> None:
    shop.run("db.backup")
    shop.sql("DELETE FROM public.item")
    (shop.project.root / "backups" / "safety").write_text("a file where the folder should be")
    before = whole(shop)
    for flags in PLACES.values():
        failed = shop.run("db.restore", "--file=latest", "--yes", *flags, code=2)
        assert "without a safety backup the restore did not start" in state_of(failed)
        assert (whole(shop), shop.kin()) == (before, [shop.name])


DRY = [
    "db.backup --format=directory",
    "db.backup --format=sql",
    "db.restore --file=latest --yes",
    "db.restore --file=latest --in-place --yes",
    "db.restore --file=latest --table=public.item --yes",
    "db.undo --yes",
    "db.diff",
    "db.verify --all --restore",
    "db.cleanup --keep=1 --yes",
    "db.info",
]


def test_d23_a_dry_run_changes_neither_a_file_nor_a_row_inside(shop: Shop) -> None:
    shop.run("db.backup", "--format=directory")
    shop.run("db.backup")
    shop.run("db.restore", "--file=latest", "--yes")
    shop.sql("DELETE FROM public.item WHERE id > 3")
    everything = """
        SELECT string_agg(datname || d.oid || coalesce(datacl::text, '') || coalesce(shobj_description(d.oid, 'pg_database'), ''), ' ' ORDER BY d.oid),
               pg_snapshot_xmax(pg_current_snapshot()) FROM pg_database d
    """

    def look() -> tuple[str, list[str], str]:
        outside = [c["Path"] for c in shop.box.container.diff() if "/postgresql/data" not in c["Path"]]
        return shop.sql(everything, "postgres"), sorted(outside), whole(shop)

    before = look()
    for line in DRY:
        ran = run(shop.project, *line.split(), "--dry-run", "--json", DATABASE_URL=shop.url)
        assert ran.returncode == 0, (line, ran.stdout)
        assert json.loads(ran.stdout).get("dry_run", True)
        assert look() == before, line
