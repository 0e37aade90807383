"""Single tables and the next numbers of sequences: none is given out twice, and no copy moves those of the live table."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.part.renaming import Renaming
from dbtasks.engines.postgres.script.statements import read
from dbtasks.errors import Refused
from dbtasks.events import Warned
from dbtasks.models import Format
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.projects import configured
from tests.postgres.test_one_table import FORMATS, Shop, backup, bring


@pytest.fixture
def empty(tmp_path: Path, pg_db: PgDatabase) -> Shop:
    return configured(tmp_path, pg_db), pg_db


@pytest.mark.long
@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("table", ["a\\b", "a'b", "a\\'\\\\b"])
def test_a21_e14_a_copy_leaves_the_live_sequence_alone_whatever_the_table_is_called(
    empty: Shop, format_: Format, table: str
) -> None:
    config, database = empty
    fill = f"""INSERT INTO "{table}" (v) SELECT 'x' FROM generate_series(1, {{}})"""
    database.run(f'CREATE TABLE "{table}" (id serial PRIMARY KEY, v text)')
    database.run(fill.format(5))
    backup(config, format_)
    database.run(fill.format(50))
    bring(config, f'"{table}"', as_name="copy")
    assert database.run(f'SELECT last_value FROM "{table}_id_seq"') == [(55,)]
    assert database.run("SELECT pg_get_serial_sequence('copy', 'id')") == [("public.copy_id_seq",)]
    assert database.run("INSERT INTO copy (v) VALUES ('n') RETURNING id") == [(6,)]
    assert database.run(f'SELECT last_value FROM "{table}_id_seq"') == [(55,)]


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        (r"""SELECT pg_catalog.setval(E'public."a\\b"', 5, true);""", """setval('"s"."c"', 5"""),
        (r"""SELECT pg_catalog.setval('public."a\b"', 5, true);""", """setval('"s"."c"', 5"""),
        ("""SELECT pg_catalog.setval('public."a\\b"'::regclass, 5, true);""", """setval('"s"."c"'::"""),
    ],
)
def test_e14_setval_is_about_the_copys_sequence_however_its_name_is_written(text: str, spelt: str) -> None:
    renaming = Renaming({("public", "a\\b"): ("s", "c")})
    assert spelt in renaming.spell(read(text), text)


def test_e14_a_statement_that_would_still_be_about_what_is_live_is_refused() -> None:
    text = "SELECT pg_catalog.setval(\n'public.a' 'b', 5, true);"
    about = read("SELECT pg_catalog.setval('public.b', 5, true);")
    with pytest.raises(Refused, match=r"about public\.b .*: value"):
        Renaming({("public", "b"): ("s", "c")}).spell(about, text)


# -- tables that are created -------------------------------------------------------------


def test_e14_a_created_table_whose_sequence_stayed_behind_gives_out_no_used_number(empty: Shop) -> None:
    config, database = empty
    database.run("CREATE SEQUENCE ours; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('ours'), v text)")
    database.run("INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 100)")
    backup(config)
    database.run("DROP TABLE t; ALTER SEQUENCE ours RESTART WITH 1")
    assert bring(config, "t", as_name="copy").rows == {"public.copy": 100}
    assert database.run("SELECT last_value FROM ours") == [(1,)]
    bring(config, "t")
    assert database.run("INSERT INTO t (v) VALUES ('n') RETURNING id") == [(101,)]


IDENTITY = "int GENERATED ALWAYS AS IDENTITY"


@pytest.mark.long
@pytest.mark.parametrize(
    ("numbers", "lost"), [("serial", "DROP TABLE"), (IDENTITY, "DROP TABLE"), (IDENTITY, "DELETE FROM")]
)
def test_e14_a_partition_that_comes_alone_moves_the_sequence_of_its_table(
    tmp_path: Path, any_db: PgDatabase, numbers: str, lost: str
) -> None:
    database, config = any_db, configured(tmp_path, any_db)
    database.run(f"CREATE TABLE o (id {numbers}, d date) PARTITION BY RANGE (d)")
    for year in (25, 26):
        database.run(
            f"CREATE TABLE o{year} PARTITION OF o FOR VALUES FROM ('20{year}-01-01') TO ('20{year}-12-31');"
            f" INSERT INTO o (d) SELECT date '20{year}-02-01' FROM generate_series(1, 50)"
        )
    backup(config)
    database.run(f"{lost} o26; ALTER SEQUENCE o_id_seq RESTART WITH 51")
    bring(config, "o26")
    assert database.run("INSERT INTO o (d) VALUES ('2025-02-01') RETURNING id") == [(101,)]


# -- sequences that cannot go on ---------------------------------------------------------


def test_e14_a_sequence_that_ends_before_the_rows_do_is_told(empty: Shop) -> None:
    config, database = empty
    database.run("CREATE TABLE t (id smallserial PRIMARY KEY, v text); INSERT INTO t (v) VALUES ('x'), ('y')")
    database.run("INSERT INTO t VALUES (32767, 'the last')")
    backup(config)
    heard: list[object] = []
    planned = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("t",)))
    (text,) = dbtasks.restore_tables(config, planned, on_event=heard.append).warnings
    assert text.startswith("the sequence public.t_id_seq was not moved")
    assert text.endswith("the first free one would be 32768, its last one is 32767")
    assert Warned(text) in heard
    # one that has come to its own end gives out nothing, and is no news
    database.run("SELECT setval('t_id_seq', 32767)")
    assert bring(config, "t").warnings == ()


@pytest.mark.parametrize("may", ["USAGE, SELECT", "USAGE"])
def test_e14_a_sequence_of_another_role_stays_and_is_told(empty: Shop, pg: PgServer, may: str) -> None:
    config, database = empty
    role = pg.create_role("LOGIN")
    database.run(
        f'CREATE SEQUENCE theirs; GRANT {may} ON SEQUENCE theirs TO "{role.user}"; GRANT ALL ON SCHEMA public TO "{role.user}";'
        " CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('theirs'), v text);"
        f" INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 9) g; ALTER TABLE t OWNER TO \"{role.user}\""
    )
    made = backup(config)
    own = configured(config.root, database.seen_by(role), safety_backup="false")
    assert not [
        text for text in bring(own, "t", file=made.id).warnings if "theirs" in text and may != "USAGE"
    ]
    database.run("ALTER SEQUENCE theirs RESTART WITH 3")
    (text,) = [text for text in bring(own, "t", file=made.id).warnings if "theirs" in text]
    assert text.startswith(f"the sequence public.theirs belongs to {pg.user}")
    assert database.run("SELECT last_value FROM theirs") == [(3,)]
    if may == "USAGE":
        assert "cannot be looked at" in text
        return
    database.run(text.partition("has: ")[2])
    assert database.run("INSERT INTO t (v) VALUES ('n') RETURNING id") == [(10,)]


def test_e14_numbers_that_are_taken_while_a_table_comes_back_are_not_given_out_again(empty: Shop) -> None:
    config, database = empty
    database.run("CREATE SEQUENCE ours; CREATE TABLE t (id int PRIMARY KEY DEFAULT nextval('ours'), v text)")
    database.run("INSERT INTO t (v) SELECT 'x' FROM generate_series(1, 9)")
    backup(config)
    database.run("DROP TABLE t; ALTER SEQUENCE ours RESTART WITH 1")
    waits = "SELECT count(*) FROM pg_locks WHERE relation = 'ours'::regclass AND NOT granted"
    with ThreadPoolExecutor() as pool, closing(database.connect()) as other, other.cursor() as cursor:
        other.autocommit = False
        cursor.execute("SELECT nextval('ours')")
        coming = pool.submit(bring, config, "t")
        while not coming.done() and database.run(waits) == [(0,)]:
            time.sleep(0.05)
        cursor.execute("SELECT nextval('ours') FROM generate_series(1, 99)")
        other.commit()
        coming.result()
    assert database.run("INSERT INTO t (v) VALUES ('n') RETURNING id") == [(101,)]
