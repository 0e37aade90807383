"""G21: a rows file that somebody made by hand makes tables at most; nothing in it is a statement of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2 import sql

from dbtasks.errors import DbTasksError, Refused
from dbtasks.rows.postgres.creating import creating
from dbtasks.rows.postgres.definitions import expression
from dbtasks.rows.postgres.needs import needs_of
from dbtasks.rows.postgres.spelling import split_name
from dbtasks.rows.postgres.words import NotWritten, Words
from dbtasks.rows.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    PortableSchema,
    Sequence,
    Table,
    UserType,
    schema_from,
)
from dbtasks.sessions import PsycopgSession, connect
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.portable import made_of

DROP = "DROP TABLE public.canary"
PAYLOADS = (
    f"1); COMMIT; {DROP}; --",
    f"1); {DROP}; --",
    f"'x'; {DROP}",
    f'x"; {DROP}; --',
    f"1 /* ) */); {DROP}; SELECT (1",
    f"$$a$$); {DROP}; --",
    f"E'\\'); {DROP}; --'",
    f"E'a'\n'\\'x'); {DROP}; --'",
    f"E'a'\n'\\'||'); {DROP}; --'",
    f"E'a'\n'\\'||')); {DROP}; --'",
    f"1)); {DROP}; --",
    f"$$a$$)); {DROP}; --",
    f"E'\\'||')); {DROP}; --'",
    f'U&"\\0070"); {DROP}; --',
    f"1)\r; {DROP}; --",
    f"1\0); {DROP}",
    f"(SELECT 1); {DROP}",
    "(SELECT count(*) FROM public.canary)",
    "(TABLE public.canary)",
    "lo_create(4711)",
    "LO_CREATE(4711)",
    '"lo_create"(4711)',
    "pg_catalog.lo_create(4711)",
    "template1.pg_catalog . /**/ lo_create(4711)",
    "query_to_xml('SELECT lo_create(4711)', true, true, '')::text",
    "pg_notify('a', 'b')::text",
    "set_config('session_authorization', 'postgres', false)",
    "public.acts()",
    "1 public.=! 2",
    "1 OPERATOR(public.=!) 2",
)
"""What a person with bad thoughts writes where an expression, a definition, a type or a name should stand."""


def wrapped(payload: str) -> Iterator[PortableSchema]:
    """Put it into every place of a schema that holds a text."""
    t = Table("public.t", (Column("a", "integer"), Column("b", "text")))

    def table(**changes: Any) -> PortableSchema:
        return PortableSchema(tables=(replace(t, **changes),))

    def column(**changes: Any) -> PortableSchema:
        return table(columns=(Column(**{"name": "a", "type": "integer", **changes}),))

    yield column(name=payload)
    yield column(type=payload)
    yield column(type=f"numeric({payload})")
    yield column(type=f"integer {payload}")
    yield column(default=payload)
    yield column(type="text", default=payload)
    yield column(generated=payload)
    yield column(collation=payload)
    yield column(identity=payload)
    yield table(name=payload)
    yield table(name=f"public.{payload}")
    yield table(partition_by=payload)
    yield table(partition_by=f"RANGE ({payload})")
    yield table(inherits=(f"public.{payload}",))
    yield table(primary_key=Key((payload,)))
    yield table(primary_key=Key(("a",), payload, "PRIMARY KEY (a)"))
    yield table(primary_key=Key(("a",), "k", payload))
    yield table(primary_key=Key(("a",), "k", f"PRIMARY KEY (a) {payload}"))
    yield table(primary_key=Key(("a",), "k", f"PRIMARY KEY (a), {DROP}"))
    yield table(unique=(Key(("a",), "k", f"UNIQUE (a), DROP COLUMN b, ADD CHECK ({payload})"),))
    yield table(foreign_keys=(ForeignKey(("a",), "public.t", ("a",), "k", payload),))
    yield table(
        foreign_keys=(
            ForeignKey(("a",), "public.t", ("a",), "k", f"FOREIGN KEY (a) REFERENCES public.t({payload})"),
        )
    )
    yield table(foreign_keys=(ForeignKey(("a",), f"public.{payload}"),))
    for text in (
        payload,
        f"CHECK ({payload})",
        f"CHECK (true) {payload}",
        f"EXCLUDE USING btree ({payload} WITH =)",
    ):
        yield table(checks=(Check("c", text),))
        yield table(checks=(Check("c", f"{text} NOT VALID"),))
    yield table(checks=(Check(payload, "CHECK (true)"),))
    for text in (
        payload,
        f"CREATE INDEX i ON public.t USING btree (a); {DROP}",
        f"CREATE INDEX i ON public.t USING btree ({payload})",
        f"CREATE INDEX i ON public.t USING btree (a) WHERE {payload}",
        f"CREATE INDEX i ON public.t USING btree (a) WITH (fillfactor={payload})",
        "CREATE INDEX i ON public.canary USING btree (a)",
        f"CREATE INDEX i ON public.t USING {payload}",
    ):
        yield table(indexes=(Index("i", text),))
    parent = Table("public.p", t.columns, partition_by="RANGE (a)")
    for text in (payload, f"FOR VALUES FROM ({payload}) TO (5)", f"FOR VALUES IN (1) {payload}"):
        child = replace(t, partition_of="public.p", partition_bound=text)
        yield PortableSchema(tables=(parent, child))
    for type_ in (
        UserType(payload, "enum"),
        UserType("public.e", "enum", (payload,)),
        UserType("public.e", payload),
        UserType("public.e", "composite", attributes=(Column(payload, "integer"),)),
        UserType("public.e", "composite", attributes=(Column("a", payload),)),
        UserType("public.e", "domain", base=payload),
        UserType("public.e", "domain", base="text", default=payload),
        UserType("public.e", "domain", base="text", checks=(Check("c", f"CHECK ({payload})"),)),
        UserType("public.e", "range", base=payload),
        UserType("public.e", "range", base="integer", subtype_diff=payload),
        UserType("public.e", "range", base="integer", canonical=f"public.{payload}"),
        UserType("public.e", "range", base="integer", multirange=f"public.{payload}"),
    ):
        yield PortableSchema(types=(type_,), tables=(t,))
    for sequence in (
        Sequence(payload, 1),
        Sequence(f"public.{payload}", 1),
        Sequence("public.s", 1, type=payload),
        Sequence("public.s", 1, table="public.t", column=payload),
        Sequence("public.s", 1, table=payload, column="a"),
    ):
        yield PortableSchema(sequences=(sequence,), tables=(t,))
    yield PortableSchema(schemas=(payload,), tables=(t,))


@pytest.fixture(scope="module")
def target(pg: PgServer) -> Iterator[PgDatabase]:
    """A database with something to lose; as a superuser, who could lose it."""
    with pg.fresh() as database:
        database.run(
            "CREATE TABLE public.canary (a int); INSERT INTO public.canary VALUES (1);"
            " CREATE FUNCTION public.acts() RETURNS int LANGUAGE sql AS 'SELECT lo_create(4711)::int';"
            " CREATE FUNCTION public.acts(int, int) RETURNS int LANGUAGE sql AS 'SELECT lo_create(4711)::int';"
            " CREATE OPERATOR public.=! (FUNCTION = public.acts, LEFTARG = int, RIGHTARG = int)"
        )
        yield database


LIVES = """
    SELECT (SELECT pg_catalog.count(*) FROM public.canary),
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_largeobject_metadata),
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
            WHERE a.attrelid = 'public.canary'::pg_catalog.regclass AND a.attnum > 0 AND NOT a.attisdropped),
           (SELECT pg_catalog.count(*) FROM pg_catalog.pg_index i
            WHERE i.indrelid = 'public.canary'::pg_catalog.regclass)
"""


def harmless(session: PsycopgSession, schema: PortableSchema) -> bool:
    """Make it and write a row, in a transaction that is given up; whether everything lives then, and before."""
    session.execute("BEGIN")
    if made(session, schema) and not lives(session):
        return False
    session.execute("ROLLBACK")
    return lives(session)


def made(session: PsycopgSession, schema: PortableSchema) -> bool:
    try:
        with creating(session, schema):
            pass
        for table in schema.tables[-1:]:
            written = sql.SQL("INSERT INTO {} DEFAULT VALUES").format(sql.Identifier(*split_name(table.name)))
            session.execute(written)
    except DbTasksError:
        return False
    return True


def lives(session: PsycopgSession) -> bool:
    try:
        return session.rows(LIVES) == [(1, 0, 1, 0)]
    except DbTasksError:
        return False


@pytest.mark.long
@pytest.mark.parametrize("payload", PAYLOADS)
def test_g21_nothing_in_a_crafted_file_is_a_statement_of_its_own(target: PgDatabase, payload: str) -> None:
    with connect(target.target) as session:
        for schema in wrapped(payload):
            assert harmless(session, schema), schema


ACTING = [text for text in PAYLOADS if "lo_create" in text or "acts" in text or "OPERATOR" in text]


@pytest.mark.parametrize("payload", ACTING)
def test_g21_no_expression_of_a_file_nobody_vouches_for_calls_what_acts(
    target: PgDatabase, payload: str
) -> None:
    table = Table("public.t", (Column("a", "integer", default=payload),))
    with pytest.raises(Refused, match=r"cannot be made|nothing that PostgreSQL writes"):
        made_of(PortableSchema(tables=(table,)), target)


def test_a_file_of_ones_own_may_call_functions_that_are_there(target: PgDatabase) -> None:
    table = Table("public.mine", (Column("a", "integer", default="public.acts()"),))
    made_of(PortableSchema(tables=(table,)), target, foreign=False)
    assert target.run("SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef") == [("acts()",)]
    target.run("DROP TABLE public.mine")


def test_defaults_that_count_and_draw_are_nobodys_harm(pg_db: PgDatabase) -> None:
    texts = ("nextval('public.s'::regclass)", "gen_random_uuid()", "clock_timestamp()", "random()", "now()")
    columns = tuple(Column(f"c{i}", "text", default=f"({text})::text") for i, text in enumerate(texts))
    made_of(PortableSchema(tables=(Table("public.t", columns),), sequences=(Sequence("public.s", 1),)), pg_db)
    pg_db.run("INSERT INTO public.t DEFAULT VALUES")


@pytest.mark.parametrize(
    "name",
    [
        "pg_catalog.x",
        "information_schema.x",
        "pg_temp.x",
        "x",
        "public.",
        ".x",
        "a.b.c",
        'public."x',
        "public." + "n" * 64,
    ],
)
def test_g21_tables_are_made_in_schemas_of_the_users_only(pg_db: PgDatabase, name: str) -> None:
    with pytest.raises(Refused, match="nothing that PostgreSQL writes"):
        made_of(PortableSchema(tables=(Table(name, (Column("a", "integer"),)),)), pg_db)
    assert pg_db.run(
        "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ) == [(0,)]


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("tables", [{"name": ["public.t"]}]),
        ("tables", [{"name": "public.t", "columns": [{"name": "a", "type": 5}]}]),
        ("tables", [{"name": "public.t", "columns": [{"name": "a", "type": "integer", "not_null": "yes"}]}]),
        ("tables", [{"name": "public.t", "checks": [{"name": "c", "definition": {}}]}]),
        ("sequences", [{"name": "public.s", "last_value": "1); DROP TABLE public.canary"}]),
        ("sequences", [{"name": "public.s", "last_value": 1, "cycle": "true"}]),
        ("sequences", [{"name": "public.s", "last_value": True}]),
        ("sequences", [{"name": "public.s", "last_value": 1, "minimum": 1.5}]),
    ],
)
def test_g21_a_schema_holds_texts_where_texts_belong_and_numbers_where_numbers_do(
    part: str, value: Any
) -> None:
    with pytest.raises(TypeError):
        schema_from({part: value})


FRAGMENTS = st.sampled_from(
    (
        *(
            "(",
            ")",
            "[",
            "]",
            "'",
            "''",
            '"',
            '""',
            "E'",
            "U&",
            "B'",
            "$$",
            "$a$",
            "--",
            "/*",
            "*/",
            "\\",
            "\n",
            " ",
        ),
        *(
            "a",
            "b",
            "1",
            "+",
            "||",
            ",",
            "::",
            ".",
            "lower",
            "true",
            ";",
            "&",
            "N'",
            "x",
            "\r",
            "\t",
            "@",
            "\x00",
        ),
        *("; INSERT INTO pg_temp.heard VALUES (1); ", "lo_create(4711)", "SELECT"),
    )
)


@given(st.lists(FRAGMENTS, max_size=12).map("".join))
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_g21_what_passes_for_an_expression_is_one_to_the_server_as_well(
    target: PgDatabase, text: str
) -> None:
    try:
        needs = needs_of(Words(text))
        part = expression(text)
    except NotWritten:
        return
    assert not {need.name for need in needs} & {"lo_create"} or "lo_create" in text
    with connect(target.target) as session:
        session.execute("CREATE TEMP TABLE heard (a int)")
        with contextlib.suppress(DbTasksError):
            # a second statement would end the parentheses or the first one
            session.rows(sql.SQL("SELECT 1 WHERE false AND ({}) IS NULL").format(part.sql))
        assert session.rows(LIVES) == [(1, 0, 1, 0)]
        assert session.rows("SELECT pg_catalog.count(*) FROM pg_temp.heard") == [(0,)]
