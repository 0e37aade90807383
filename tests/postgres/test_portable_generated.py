"""Whatever tables there are, what is described of them makes them again: a property over generated schemas."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbtasks.rows.schema import Check, Column, ForeignKey, Index, Key, PortableSchema, Table, UserType
from dbtasks.schemas import table_name
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.portable import described, lines_of, made_again, made_of, written

NAMES = st.one_of(
    st.sampled_from(
        [
            "a",
            "select",
            "Order",
            "x y",
            'q"q',
            "d.d",
            "é",
            ";--",
            "%s",
            "'",
            "\\",
            "$1",
            "\n",
            "user",
            "period",
        ]
    ),
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=12),
)
TYPES = (
    *(
        "smallint",
        "integer",
        "bigint",
        "numeric(9,3)",
        "real",
        "boolean",
        "text",
        "character varying(7)",
        "character(2)",
        '"char"',
    ),
    *(
        "bytea",
        "date",
        "time(3) with time zone",
        "timestamp without time zone",
        "interval day to second(2)",
        "uuid",
        "jsonb",
    ),
    *(
        "inet",
        "bit varying(9)",
        "int4range",
        "integer[]",
        "character varying(3)[]",
        "public.mood",
        "public.mood[]",
    ),
)
DEFAULTS = {
    "integer": ("1", "'-5'::integer", "(1 + 2)"),
    "text": ("'a''b\\c;--'::text", "upper('x'::text)", "CURRENT_USER"),
    "boolean": ("true", "(1 = 1)"),
    "jsonb": ("'{}'::jsonb",),
    "public.mood": ("'so ''so'''::public.mood",),
    "timestamp without time zone": ("now()",),
}
MOOD = UserType("public.mood", "enum", ("so 'so'", "\\", "ok"))


@st.composite
def tables(draw: st.DrawFn, number: int) -> Table:
    names = draw(st.lists(NAMES, min_size=1, max_size=5, unique=True))
    columns = []
    for name in names:
        type_ = draw(st.sampled_from(TYPES))
        default = draw(st.sampled_from(("", *DEFAULTS.get(type_, ()))))
        identity = draw(st.sampled_from(["", "always", "by default"])) if type_ == "integer" else ""
        columns.append(
            Column(
                name,
                type_,
                not_null=draw(st.booleans()) or bool(identity),
                default="" if identity else default,
                identity=identity,
            )
        )
    # jsonb, arrays and all others here but these can be compared
    plain = tuple(
        column.name for column in columns if column.type in ("integer", "text", "boolean", "uuid", "date")
    )
    own = f"{draw(NAMES)[:5]}{number}"
    schema = draw(st.sampled_from(["public", "Other. one"]))
    quoted = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name in plain]
    on = ".".join(f'"{part.replace(chr(34), chr(34) * 2)}"' for part in (schema, own))
    return Table(
        table_name(schema, own),
        tuple(columns),
        primary_key=Key(plain) if plain and draw(st.booleans()) else None,
        unique=(Key(plain[:1]),) if plain and draw(st.booleans()) else (),
        checks=(Check("c;", f"CHECK ({quoted[0]} IS NOT NULL)"),) if plain and draw(st.booleans()) else (),
        indexes=(Index(f"i {number}", f'CREATE INDEX "i {number}" ON {on} USING btree ({quoted[0]} DESC)'),)
        if plain and draw(st.booleans())
        else (),
        unlogged=draw(st.booleans()),
    )


@st.composite
def schemas(draw: st.DrawFn) -> PortableSchema:
    made = [draw(tables(number)) for number in range(draw(st.integers(1, 3)))]
    for place, table in enumerate(made):
        other = made[draw(st.integers(0, len(made) - 1))]
        mine = [c.name for c in table.columns if c.type == "integer"]
        keyed = (
            other.unique[0].columns if other.unique and not (other.unlogged and not table.unlogged) else ()
        )
        theirs = [c.name for c in other.columns if c.type == "integer" and (c.name,) == keyed]
        if mine and theirs:
            reference = ForeignKey((mine[0],), other.name, (theirs[0],))
            made[place] = Table(**{**vars(table), "foreign_keys": (reference,)})
    return PortableSchema(types=(MOOD,), tables=tuple(made))


@pytest.fixture(scope="module")
def server(pg: PgServer) -> Iterator[PgDatabase]:
    with pg.fresh() as database:
        yield database


@pytest.mark.long
@given(schemas())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_what_is_described_makes_the_same_again(server: PgDatabase, schema: PortableSchema) -> None:
    clear = 'DROP SCHEMA IF EXISTS public, "Other. one" CASCADE; CREATE SCHEMA public'
    server.run(clear)
    made_of(schema, server)
    first = described(server)
    document = written(server)
    server.run(clear)
    made_again(document, server)
    assert lines_of(described(server)) == lines_of(first)
    assert {table.name for table in first.tables} == {table.name for table in schema.tables}
