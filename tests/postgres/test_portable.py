"""A database comes up again from its rows file alone: types, tables, keys, indexes, sequences, without pg_dump."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest

from dbtasks.errors import QueryFailed, Refused
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres import odd, rich
from tests.postgres.portable import described, lines_of, made_again, made_of, texts_of, written


def comes_up_again(original: PgDatabase) -> None:
    document, rows, schema = written(original), texts_of(original), described(original)
    with original.server.fresh() as copy:
        made_again(document, copy)
        assert lines_of(described(copy)) == lines_of(schema)
        assert texts_of(copy) == rows


def test_the_awkward_schema_comes_up_again_without_pg_dump(any_db: PgDatabase) -> None:
    rich.fill(any_db)
    comes_up_again(any_db)


def test_one_of_everything_comes_up_again(any_db: PgDatabase) -> None:
    any_db.run(odd.schema_for(any_db.server.version))
    comes_up_again(any_db)


def test_chinook_comes_up_again_without_pg_dump(chinook: Path, any_db: PgDatabase) -> None:
    script = (chinook / "Chinook_PostgreSql_AutoIncrementPKs.sql").read_text(encoding="utf-8-sig")
    any_db.run(script.split("\\c chinook_auto_increment;", 1)[1])
    assert len(described(any_db).tables) == 11
    comes_up_again(any_db)


def test_an_older_servers_schema_comes_up_on_a_newer_one_and_its_own_again(
    pg16: PgServer, pg18: PgServer
) -> None:
    with pg16.fresh() as old, pg18.fresh() as new, pg16.fresh() as again:
        old.run(odd.schema_for(16))
        made_again(written(old), new)
        assert texts_of(new) == texts_of(old)
        made_again(written(new), again)
        assert texts_of(again) == texts_of(old)
        assert len(described(again).tables) == len(described(old).tables)


def test_an_ordinary_owner_makes_all_of_it(any_db: PgDatabase) -> None:
    any_db.run(odd.schema_for(any_db.server.version))
    role = any_db.server.create_role()
    with any_db.server.fresh(f'OWNER "{role.user}"') as copy:
        made_again(written(any_db), copy.seen_by(role))
        assert lines_of(described(copy)) == lines_of(described(any_db))


def test_what_was_made_works_as_it_did(pg_db: PgDatabase) -> None:
    pg_db.run(odd.SCHEMA)
    with pg_db.server.fresh() as copy:
        made_again(written(pg_db), copy)
        # what a sequence gives next is what it would have given
        for database in (pg_db, copy):
            assert database.run("SELECT nextval('public.fresh'), nextval('public.down')") == [(42, -16)]
            given = database.run(
                "INSERT INTO public.parts (region) VALUES ('de') RETURNING id, n, tableoid::regclass::text"
            )
            assert given == [(3, 1, "parts_eu")]
            owned = database.run("""SELECT pg_get_serial_sequence('public."Everything"', 'small')""")
            assert owned == [('public."Everything_small_seq"',)]
            assert database.run('SELECT nextval(\'"Sch.ema ""x"" y".owned\')') == [(17,)]
            with pytest.raises(psycopg2.errors.ForeignKeyViolation):
                database.run("INSERT INTO public.parts (region, a_id) VALUES ('us', 99)")
            with pytest.raises(psycopg2.errors.CheckViolation):
                database.run("INSERT INTO public.grandkid (id) VALUES (-1)")
            with pytest.raises(psycopg2.errors.ExclusionViolation):
                database.run("""INSERT INTO public."Everything" (id, v, span, "update", "delete")
                    VALUES (105, 'p', '[1,2)', 1, 1), (107, 'q', '[1,2)', 1, 1)""")


NEEDY = """
CREATE FUNCTION public.shout(t text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper(t)';
CREATE TEXT SEARCH CONFIGURATION public.ours (COPY = english);
CREATE COLLATION public.mine (locale = 'C');
CREATE OPERATOR public.=== (FUNCTION = int4eq, LEFTARG = int, RIGHTARG = int);
CREATE TABLE public.needy (
    id int PRIMARY KEY,
    a text DEFAULT public.shout('x') CHECK (public.shout(a) = a),
    b int CHECK (b OPERATOR(public.===) 1),
    c text DEFAULT 'plain'
);
CREATE INDEX shouted ON public.needy (public.shout(a));
CREATE INDEX searched ON public.needy USING gin (to_tsvector('public.ours'::regconfig, c));
CREATE INDEX collated ON public.needy (c COLLATE public.mine);
CREATE INDEX fine ON public.needy (c);
INSERT INTO public.needy VALUES (1, 'X', 1, 'c');
"""


def test_what_a_rows_backup_lacks_is_listed_by_name_before_anything_is_touched(pg_db: PgDatabase) -> None:
    pg_db.run(NEEDY)
    with pg_db.server.fresh() as copy:
        with pytest.raises(Refused, match="cannot be made here") as caught:
            made_again(written(pg_db), copy)
        assert caught.value.details.splitlines() == [
            "the default of public.needy.a needs function public.shout(), which is not there",
            "the check needy_a_check of public.needy needs function public.shout(), which is not there",
            "the check needy_b_check of public.needy needs operator public.===, which is not there",
            "the index collated of public.needy needs object public.mine, which is not there",
            "the index searched of public.needy needs text search configuration public.ours, which is not there",
            "the index shouted of public.needy needs function public.shout(), which is not there",
        ]
        assert (caught.value.state, caught.value.exit_code) == ("nothing was touched", 6)
        assert described(copy).tables == ()


def test_what_is_lost_is_left_out_where_that_is_accepted(pg_db: PgDatabase) -> None:
    pg_db.run(NEEDY)
    with pg_db.server.fresh() as copy:
        creation = made_again(written(pg_db), copy, accept_losses=True)
        assert len(creation.losses) == 6
        (table,) = described(copy).tables
        assert ([index.name for index in table.indexes], table.checks) == (["fine"], ())
        assert texts_of(copy) == texts_of(pg_db)


def test_what_was_made_beforehand_is_used(pg_db: PgDatabase) -> None:
    pg_db.run(NEEDY)
    with pg_db.server.fresh() as copy:
        copy.run(NEEDY.partition("CREATE TABLE")[0])
        assert made_again(written(pg_db), copy).losses == ()
        assert lines_of(described(copy)) == lines_of(described(pg_db))


@pytest.mark.parametrize(
    "column",
    [
        "a public.citext",
        "a int, b int GENERATED ALWAYS AS (public.later(a)) STORED",
        "a text COLLATE public.other",
    ],
)
def test_a_table_whose_column_cannot_be_holds_up_the_whole(pg_db: PgDatabase, column: str) -> None:
    pg_db.run(
        "CREATE SCHEMA extra; CREATE DOMAIN public.citext AS text; CREATE COLLATION public.other (locale = 'C');"
        "CREATE FUNCTION public.later(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT 1'; "
        f"CREATE TABLE public.t ({column})"
    )
    schema = described(pg_db)
    with pg_db.server.fresh() as copy:
        with pytest.raises(Refused, match="cannot be made here"):
            made_of(replace(schema, types=()), copy, accept_losses=True)
        assert described(copy).tables == ()


def test_names_that_are_taken_are_told_and_left_alone(pg_db: PgDatabase) -> None:
    rich.fill(pg_db)
    document = written(pg_db)
    before = rich.fingerprint(pg_db)
    with pytest.raises(Refused, match=r"already has App Data\.Upper Case, public\.child, .* and \d+ more"):
        made_again(document, pg_db)
    assert rich.fingerprint(pg_db) == before


def test_single_tables_come_up_without_what_they_refer_to(pg_db: PgDatabase) -> None:
    rich.fill(pg_db)
    document = written(pg_db, "public.orders_2025", "public.child")
    with pg_db.server.fresh() as copy:
        with pytest.raises(Refused) as caught:
            made_again(document, copy)
        assert caught.value.details.splitlines() == [
            "the default of public.orders_2025.id needs relation public.orders_id_seq, which is not there",
            "what public.child inherits from public.parent needs relation public.parent, which is not there",
            "the place of public.orders_2025 in public.orders needs relation public.orders, which is not there",
        ]
        made_again(document, copy, accept_losses=True)
        held = texts_of(copy)
        assert {name: len(rows) for name, rows in held.items()} == {
            "public.child": 1,
            "public.orders_2025": 213,
        }


def test_e14_a_failure_leaves_nothing_behind(pg_db: PgDatabase) -> None:
    pg_db.run("CREATE TABLE public.t (a int PRIMARY KEY); INSERT INTO public.t VALUES (1), (2)")
    document = written(pg_db).replace(b"\n[2]", b"\n[1]")
    with pg_db.server.fresh() as copy:
        with pytest.raises(QueryFailed, match="cannot be made"):
            made_again(document, copy)
        assert described(copy).tables == ()


def test_a_role_whose_strings_are_of_the_old_kind_writes_and_reads_the_same(pg_db: PgDatabase) -> None:
    rich.fill(pg_db)
    pg_db.run(f'ALTER DATABASE "{pg_db.name}" SET standard_conforming_strings = off')
    with pg_db.server.fresh() as copy:
        copy.run(f'ALTER DATABASE "{copy.name}" SET standard_conforming_strings = off')
        made_again(written(pg_db), copy)
        assert lines_of(described(copy)) == lines_of(described(pg_db))
        assert copy.run(
            "INSERT INTO public.customer (id) OVERRIDING SYSTEM VALUE VALUES (99) RETURNING name"
        ) == [("C:\\",)]
