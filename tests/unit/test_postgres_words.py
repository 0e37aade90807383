"""Reading what PostgreSQL wrote: whatever could be read in two ways is refused, each by a rule of its own."""

from __future__ import annotations

import pytest

from dbtasks.rows.postgres.needs import Kind, Need, needs_of
from dbtasks.rows.postgres.spelling import TypeName, split_name, type_of
from dbtasks.rows.postgres.words import NotWritten, Words, words_of
from dbtasks.schemas import table_name


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1; 2", "';'"),
        ("1 -- 2", "a comment"),
        ("1 /* 2 */", "a comment"),
        ("1 +/* 2 */", "a comment"),
        ("$$1$$", r"'\$'"),
        ("$a$1$a$", r"'\$'"),
        ("\\c", r"'\\\\'"),
        ("'a'\n'b'", "a string behind a string"),
        ("'a' 'b'", "a string behind a string"),
        ("E'a'\n'\\'", "a string behind a string"),
        ("U&'a'", "U&"),
        ('U&"a"', "U&"),
        ("u &'a'", "U&"),
        ("N'a'", "glued"),
        ("e'a'", "glued"),
        ("1x", "glued"),
        ("1'x'", "glued"),
        ('"a"b', "glued"),
        ("'a'b", "glued"),
        ("a\rb", r"'\\r'"),
        ("a\vb", r"'\\x0b'"),
        ("a\u00a0b", "\\\\xa0"),
        ("é", "é"),
        ("a\0", "a zero byte"),
        ("'a\0'", "a zero byte"),
        ("(1", "never closed"),
        ("1)", "closes nothing"),
        ("(1]", "closes nothing"),
        ("'a", '"\'"'),
        ('"a', "'\"'"),
        ('""', "'\"'"),
        ("E'a\\'", 'glued|"\'"'),
        ("{}", "'{'"),
    ],
)
def test_g21_what_the_server_never_writes_is_refused(text: str, why: str) -> None:
    with pytest.raises(NotWritten, match=why):
        words_of(text)


def test_words_come_as_the_server_reads_them() -> None:
    words = words_of("Lower(\"A\"\"b\") || E'it\\'s' || 'C:\\' <> ARRAY[1.5e-3]::text[]")
    assert [
        (word.kind, word.text) for word in words if word.kind in ("word", "quoted", "string", "number")
    ] == [
        ("word", "Lower"),
        ("quoted", '"A""b"'),
        ("string", "E'it\\'s'"),
        ("string", "'C:\\'"),
        ("word", "ARRAY"),
        ("number", "1.5e-3"),
        ("word", "text"),
    ]
    assert (words[0].name, words[2].name) == ("lower", 'A"b')


@pytest.mark.parametrize(
    ("text", "needs"),
    [
        ("(price > 0) AND name ~~ 'a(%'", set()),
        ("lower(name)", {Need(Kind.FUNCTION, "pg_catalog", "lower")}),
        (
            'PG_SLEEP(1) + "Pg"(2)',
            {Need(Kind.FUNCTION, "pg_catalog", "pg_sleep"), Need(Kind.FUNCTION, "pg_catalog", "Pg")},
        ),
        ('app . "Sh out"(name)', {Need(Kind.FUNCTION, "app", "Sh out")}),
        ("db.app.shout(name)", {Need(Kind.FUNCTION, "app", "shout")}),
        ("(a)::public.mood", {Need(Kind.OBJECT, "public", "mood")}),
        ("(place).x > 1", set()),
        ("(t.* IS NOT NULL)", set()),
        ("a OPERATOR(public.@@) b", {Need(Kind.OPERATOR, "public", "@@")}),
        ("'public.s'::regclass", {Need(Kind.RELATION, "public", "s")}),
        ('\'"Up"."q""c"\'::regconfig', {Need(Kind.CONFIGURATION, "Up", 'q"c')}),
        ("'english'::regconfig", {Need(Kind.CONFIGURATION, "pg_catalog", "english")}),
        ("'{a}'::regclass[]", set()),
        ("COALESCE(a, 'x'::character varying(20))", set()),
        ("a IN (1, 2) AND NOT (b OR (c = ANY (d)))", set()),
    ],
)
def test_an_expression_tells_what_it_calls_for(text: str, needs: set[Need]) -> None:
    assert needs_of(Words(text)) == needs


@pytest.mark.parametrize("text", ["(SELECT 1)", "(select 1)", "(TABLE x)", "(VALUES (1))"])
def test_g21_an_expression_has_no_query_in_it(text: str) -> None:
    with pytest.raises(NotWritten, match="the word"):
        needs_of(Words(text))


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("integer", TypeName("pg_catalog", "int4")),
        ("numeric(5,-2)[]", TypeName("pg_catalog", "numeric", ("5", "-2"), is_array=True)),
        ("timestamp(3) with time zone", TypeName("pg_catalog", "timestamptz", ("3",))),
        ("interval day to second(3)", TypeName("pg_catalog", "interval", ("3",), "day to second")),
        ('"char"', TypeName("pg_catalog", "char")),
        ('"bit"', TypeName("pg_catalog", "bit")),
        ('"Sch.ema"."My ""t"""[]', TypeName("Sch.ema", 'My "t"', is_array=True)),
        ("public.geometry(Point,4326)", TypeName("public", "geometry", ("Point", "4326"))),
    ],
)
def test_a_type_is_read_as_the_server_spells_it(text: str, type_: TypeName) -> None:
    assert type_of(text) == type_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "integer, b text",
        "integer DEFAULT 1",
        "integer NOT NULL",
        "SETOF integer",
        "integer[][]",
        "a.b.c",
        "int(1)(2)",
        "numeric(1+1)",
        "numeric(lower('a'))",
        "interval day and second",
        "interval(3) day",
        "numeric()",
        "public.t%TYPE",
    ],
)
def test_g21_what_is_more_than_a_type_is_refused(text: str) -> None:
    with pytest.raises(NotWritten):
        type_of(text)


@pytest.mark.parametrize("name", [("a", "b"), ("a.b", "c"), ('a"', '"b"'), ("Ä", "x y\n"), ("a", '."')])
def test_a_tables_name_is_taken_apart_as_it_was_put_together(name: tuple[str, str]) -> None:
    assert split_name(table_name(*name)) == name
