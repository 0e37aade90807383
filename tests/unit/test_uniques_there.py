"""Keys and indexes of PostgreSQL's as the server writes them: what is read of them, and what is left to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dbtasks.rows.across.spellers import NULL
from dbtasks.rows.migration.choices import ColumnChoice, choose, survey_for
from dbtasks.rows.migration.conditions_there import Constant, Unread, constant_of, read_condition
from dbtasks.rows.migration.left_out import left_out
from dbtasks.rows.migration.uniques_there import COMPARED_THERE, MORE_THAN_COLUMNS, UniqueThere, uniques_there
from dbtasks.rows.postgres.words import Words
from dbtasks.rows.schema import Column, ForeignKey, Index, Key, PortableSchema, Table, UserType
from tests.postgres.leaving import made
from tests.postgres.migrated import opened

HOWS = {
    "v": ("text", "text"),
    "c": ("character(4)", "padded:4"),
    "b": ("boolean", "boolean"),
    "n": ("bigint", "bigint"),
    "p": ("numeric(8,2)", "numeric:8,2"),
    "d": ("double precision", "double"),
    "r": ("real", "real"),
    "m": ("public.mood", "enum:fine,low"),
    "u": ("uuid", "uuid"),
    "t": ("timestamp with time zone", "timestamptz"),
}
CHOSEN = {name: ColumnChoice("t", name, "", *held, "", into=name) for name, held in HOWS.items()}
UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"


def asked(text: str, **row: str | None) -> Any:
    where = read_condition(Words(text), CHOSEN, {"none": Constant(None), "yes": constant_of("true")})
    assert {one.into for one in where.columns} <= {*row}
    return where.holds(row)


# as pg_get_indexdef writes them; the row is as `keyed` compares it
HOLDS: list[tuple[str, dict[str, str | None], bool]] = [
    ("(v = 'x'::text)", {"v": "x"}, True),
    ("((v)::text = 'x'::text)", {"v": NULL}, False),
    ("(NOT ((v)::text = 'x'::text))", {"v": NULL}, False),
    ("((v)::text <> 'x'::text)", {"v": None}, True),
    ("(v IS NOT NULL)", {"v": None}, True),
    ("((v)::text = ANY ((ARRAY['a]'::character varying, 'b'::character varying])::text[]))", {"v": "a]"}, True),
    ("(v <> ALL (ARRAY['a'::text, 'b'::text]))", {"v": "b"}, False),
    ("(v = 'a\tb'::text)", {"v": "a\\tb"}, True),
    ("(c = 'x'::bpchar)", {"c": "x"}, True),
    ("((c)::text = 'x '::text)", {"c": "x"}, False),
    ("(c = ('x '::text)::bpchar)", {"c": "x"}, True),
    ("(b = true)", {"b": "t"}, True),
    ("(b IS NOT FALSE)", {"b": NULL}, True),
    ("(n = ANY (ARRAY[(1)::bigint, ('-5'::integer)::bigint]))", {"n": "-5"}, True),
    ("((p > (1)::numeric) AND (p <= 2.5))", {"p": "2.50"}, True),
    ("(d < (0)::double precision)", {"d": "-Infinity"}, True),
    ("(d > '0.1'::double precision)", {"d": "0.1"}, False),
    ("(m = 'fine'::public.mood)", {"m": "fine"}, True),
    (f"(u = '{UUID.upper()}'::uuid)", {"u": UUID}, True),
    ("(t IS NULL)", {"t": NULL}, True),
    # unknown beside true is true, beside false is false
    ("((n > 1) OR (v = 'x'::text))", {"n": NULL, "v": "x"}, True),
    ("(((n > 1) AND (v = 'x'::text)) IS NULL)", {"n": NULL, "v": "y"}, False),
    ("(((n > 1) AND (v = 'y'::text)) IS NULL)", {"n": NULL, "v": "y"}, True),
    ("((none IS NULL) AND yes)", {}, True),
    ("(none = 1)", {}, False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "row", "holds"), HOLDS, ids=[one[0] for one in HOLDS])
def test_a_condition_holds_for_the_rows_for_which_the_server_says_so(
    text: str, row: dict[str, str | None], holds: bool
) -> None:
    assert asked(text, **row) is holds


@pytest.mark.parametrize(
    "text",
    [
        *("(lower(v) = 'x'::text)", "(v ~~ 'x%'::text)", "(v > 'x'::text)", "(v = E'\\\\x'::text)", "((v)::character varying(1) = 'x'::text)"),
        *("(v = (5)::text)", "(n = v)", "(1 = 1)", "(n = (1.5)::integer)", "((n)::integer = 1)", "((n)::double precision = 1.0)"),
        *("(r = (0.1)::double precision)", "(t < '2024-01-01'::date)", "(n + 1)", "n", "(gone IS NULL)", "((v COLLATE \"x\") = 'y'::text)"),
        *("(v = ('x '::bpchar)::text)", "(v IS DISTINCT FROM 'x'::text)", "(v = 'x'::text) v", "(u = 'no'::uuid)"),
        "(v = ANY ('{a,b}'::text[]))",
    ],
)  # fmt: skip
def test_a_condition_that_could_mean_something_else_is_not_read(text: str) -> None:
    with pytest.raises(Unread):
        read_condition(Words(text), CHOSEN, {})


def uniques(
    *indexes: str, keys: tuple[Key, ...] = (), types: tuple[UserType, ...] = (), **columns: Column
) -> list[UniqueThere]:
    known = {name: Column(name, type_) for name, (type_, _) in HOWS.items()}
    table = Table(
        "public.t",
        tuple((known | columns).values()),
        unique=keys,
        indexes=tuple(
            Index("i", f"CREATE UNIQUE INDEX i ON public.t USING btree {text}") for text in indexes
        ),
    )
    return list(uniques_there(table, CHOSEN, types))


def test_a_column_in_a_collation_of_ones_own_is_compared_by_the_server() -> None:
    own = Column("v", "text", collation="public.folds")
    found = uniques("(v)", '(v COLLATE "C")', "(v COLLATE public.folds)", "(n)", keys=(Key(("v",)),), v=own)
    assert [one.why for one in found] == [COMPARED_THERE, COMPARED_THERE, "", MORE_THAN_COLUMNS, ""]
    servers = Column("v", "text", collation='pg_catalog."C"')
    assert [one.why for one in uniques("(v)", v=servers)] == [""]
    domain = UserType("public.folded", "domain", base="text", collation="public.folds")
    assert [one.why for one in uniques("(v)", types=(domain,), v=Column("v", "public.folded"))] == [
        COMPARED_THERE
    ]


def test_a_condition_on_a_column_in_a_collation_of_ones_own_is_read_by_the_server() -> None:
    own = Column("v", "text", collation="public.folds")
    given = Column("more", "text", default="'x'::text", collation="public.folds")
    found = uniques(
        *("(n) WHERE (v = 'x'::text)", "(n) WHERE (v <> ALL (ARRAY['x'::text]))", "(n) WHERE ((v)::text = 'x'::text)"),
        *("(n) WHERE (more = 'x'::text)", "(n) WHERE (v IS NOT NULL)", "(n) WHERE (p > (1)::numeric)"),
        v=own,
        more=given,
    )  # fmt: skip
    assert [one.why for one in found] == [*[MORE_THAN_COLUMNS] * 4, "", ""]


def test_what_sqlite_holds_apart_is_no_promise_for_a_collation_of_ones_own(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (v TEXT UNIQUE); INSERT INTO t VALUES ('a'), ('A')")
    own = Column("v", "text", collation="public.folds")
    live = PortableSchema(tables=(Table("public.t", (own,), unique=(Key(("v",)),)),))
    with opened(path) as (connection, schema):
        survey = survey_for(schema, [], live)
        survey.read(connection)
        choices = choose(schema, survey, live=live)
        found = left_out(connection, schema, choices, live, skip=False)
    assert found.uncounted == (
        f"t: rows that a unique key over v turns down: {COMPARED_THERE}; the load finds them",
    )


@pytest.mark.parametrize("skip", [True, False])
def test_a_reference_by_a_collation_of_ones_own_is_compared_by_the_server(tmp_path: Path, skip: bool) -> None:
    path = made(
        tmp_path / "a.db",
        "CREATE TABLE p (v TEXT PRIMARY KEY); CREATE TABLE t (v TEXT REFERENCES p); INSERT INTO p VALUES ('a'); INSERT INTO t VALUES ('A')",
    )
    own = Column("v", "text", collation="public.folds")
    to_p = ForeignKey(("v",), "public.p", ("v",), "t_v_fkey", "FOREIGN KEY (v) REFERENCES public.p(v)")
    live = PortableSchema(
        tables=(Table("public.p", (own,), Key(("v",))), Table("public.t", (own,), foreign_keys=(to_p,)))
    )
    with opened(path) as (connection, schema):
        survey = survey_for(schema, [], live)
        survey.read(connection)
        choices = choose(schema, survey, live=live)
        found = left_out(connection, schema, choices, live, skip=skip)
    assert (found.orphans, found.rows) == ((), {})
    said = f"t.v: rows that refer to nothing in p: {COMPARED_THERE}; the load finds them"
    assert said in found.uncounted


@pytest.mark.parametrize(
    "text",
    ["(lower(v))", "(rtrim(v, 'x'::text))", "((n + 1))", "(v public.odd_ops)", "(v COLLATE folds)", "(coalesce(v, ''::text))"],
)  # fmt: skip
def test_an_index_over_anything_else_is_named_and_not_read(text: str) -> None:
    (one,) = uniques(text)
    assert (one.index, one.columns, one.why) == ("i", (), MORE_THAN_COLUMNS)


def test_a_default_that_is_computed_is_not_taken_for_a_number_of_ones_own() -> None:
    def why(default: str, type_: str = "bigint", types: tuple[UserType, ...] = ()) -> list[str]:
        more = Column("more", type_, default=default)
        return [one.why for one in uniques(keys=(Key(("n", "more")),), types=types, more=more)]

    says = ["more is not in SQLite, and only the server gives it a value"]
    assert why("nextval('public.s'::regclass)") == why("public.uuid_generate_v4()") == why("") == []
    assert why("(nextval('public.s'::regclass) % (2)::bigint)") == why("random()") == says
    assert why("1") == why("'x'::text") == why("now()") == [""]
    domain = UserType("public.dom", "domain", base="bigint", default="7")
    assert why("", "public.dom", (domain,)) == says
