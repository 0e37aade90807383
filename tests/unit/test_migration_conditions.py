"""CHECKs and defaults of SQLite's: carried where PostgreSQL means the same by them, told where not."""

from __future__ import annotations

import pytest

from dbtasks.rows.schema import Table
from dbtasks.rows.sqlite.conditions import Typed, Unsaid, checks_of, said_there
from dbtasks.rows.sqlite.defaults import default_there
from dbtasks.rows.sqlite.words import tokens

COLUMNS = {
    name.lower(): Typed(name, type_, how)
    for name, type_, how in (
        ("Name", "text", "text"),
        ("code", "character varying(3)", "text:3"),
        ("n", "bigint", "bigint"),
        ("price", "numeric(10,2)", "numeric:10,2"),
        ("flag", "boolean", "boolean"),
        ("day", "date", "date"),
        ("at", "timestamp without time zone", "timestamp"),
        ("seen", "timestamp with time zone", "timestamptz:seconds"),
        ("raw", "bytea", "bytea"),
        ("held", "json", "json"),
        ("odd name", "bigint", "bigint"),
    )
}
CARRIED = [
    ("n > 0", '"n" > 0'),
    ("0 < n", '0 < "n"'),
    ("N==-1.5 or n<>3", '("n" = -1.5) OR ("n" <> 3)'),
    ("[odd name] >= +2 AND `n` != 1", '("odd name" >= 2) AND ("n" <> 1)'),
    ("name IN ('a', 'it''s')", "\"Name\" IN ('a', 'it''s')"),
    ("name NOT IN ('a')", "\"Name\" NOT IN ('a')"),
    ("name >= 'a'", '"Name" COLLATE "C" >= \'a\''),
    ("length(name) BETWEEN 1 AND 40", 'length("Name") BETWEEN 1 AND 40'),
    ("NOT (n NOT BETWEEN 1 AND 2)", 'NOT (("n" NOT BETWEEN 1 AND 2))'),
    ("price IS NOT NULL and n notnull", '("price" IS NOT NULL) AND ("n" IS NOT NULL)'),
    ("price is null or n not null", '("price" IS NULL) OR ("n" IS NOT NULL)'),
    ("n ISNULL", '"n" IS NULL'),
    ("flag IN (0, 1)", '"flag" IN (false, true)'),
    ("flag", '"flag"'),
    ("NOT flag OR n > 1", '(NOT ("flag")) OR ("n" > 1)'),
    ("day >= '2024-01-01'", "\"day\" >= '2024-01-01'"),
    ("at < '2024-01-01T10:00:00'", "\"at\" < '2024-01-01 10:00:00'"),
    ("length(raw) = 16", 'length("raw") = 16'),
    ("n <= price", '"n" <= "price"'),
    ("1 = n", '1 = "n"'),
    ("n /* why */ > 0 -- so", '"n" > 0'),
]
ALIKE, SPELLED = frozenset(("0000-00-00 00:00:00",)), frozenset(("0000-00-00",))
SHAPED = {
    name: Typed(name, type_, how, shapes=shapes, kinds=frozenset(kinds))
    for name, type_, how, shapes, kinds in (
        ("at", "timestamp without time zone", "timestamp", ALIKE, ("text",)),
        ("until", "timestamp without time zone", "timestamp", ALIKE, ("text",)),
        ("day", "date", "date", SPELLED, ("text",)),
        ("new", "timestamp without time zone", "timestamp", frozenset[str](), ()),
        ("mixed", "timestamp without time zone", "timestamp", ALIKE | SPELLED, ("text",)),
        ("zoned", "timestamp with time zone", "timestamptz", frozenset(("0000-00-00 00:00:00+00:00",)), ("text",)),
        ("zulu", "timestamp with time zone", "timestamptz", frozenset(("0000-00-00T00:00:00Z",)), ("text",)),
        ("began", "timestamp with time zone", "timestamptz:seconds", frozenset[str](), ("integer",)),
        ("ended", "timestamp with time zone", "timestamptz:seconds", frozenset[str](), ("integer",)),
        ("exact", "timestamp with time zone", "timestamptz:seconds", frozenset[str](), ("real",)),
        ("n", "bigint", "bigint", frozenset[str](), ("integer", "text")),
        ("name", "text", "text", frozenset[str](), ("integer", "text")),
        ("u", "uuid", "uuid", frozenset[str](), ("text",)),
    )
}  # fmt: skip
MOMENTS = [
    ("at > '2020-01-01 00:00:00'", "\"at\" > '2020-01-01 00:00:00'"),
    ("at IN ('2020-01-01 00:00:00')", "\"at\" IN ('2020-01-01 00:00:00')"),
    ("until >= at", '"until" >= "at"'),
    ("day = '2020-01-01'", "\"day\" = '2020-01-01'"),
    ("new < '2020-01-01 00:00:00'", "\"new\" < '2020-01-01 00:00:00'"),
    ("zulu > '2020-01-01T00:00:00Z'", "\"zulu\" > '2020-01-01 00:00:00+00'"),
    ("began <= ended", '"began" <= "ended"'),
    ("mixed IS NOT NULL", '"mixed" IS NOT NULL'),
]
NO_MOMENTS = [
    *("at > '2020-01-01'", "at > '2020-01-01T00:00:00'", "at < '2020-01-01 00:00:00.000'", "at <> '2020-01-01 00:00'"),
    *("at BETWEEN '2020-01-01' AND '2020-02-01'", "at IN ('2020-01-01')", "mixed > '2020-01-01 00:00:00'"),
    *("at > mixed", "mixed > mixed", "day = '2020-01-01 00:00:00'", "new > '2020-01-01'"),
    *("zoned > '2020-01-01 00:00:00+00:00'", "exact > began", "exact = exact", "n > 0", "name = 'a'", "u = u"),
]  # fmt: skip
NOT_CARRIED = [
    "name LIKE 'a%'",
    "name GLOB 'a*'",
    "n % 2 = 0",
    "n + 1 > 0",
    "json_valid(held)",
    "typeof(n) = 'integer'",
    "name = 1",
    "n = 'a'",
    "n",
    "flag = 2",
    "seen > 0",
    "day > 'soon'",
    "held = '{}'",
    'name = "a"',
    "n IN (SELECT 1)",
    "length(n) > 1",
    "n IS 1",
    "name COLLATE NOCASE = 'a'",
    "CASE WHEN n THEN 1 END",
    "n = 0x10",
    "1 = 1",
    "n > 0 n",
    "(n > 0",
    "",
    "nobody = 1",
    "name || 'a' = 'b'",
    "n = abs(n)",
    "n > 0 AND",
    "flag > n",
    "name = 'a\\b'",
]


@pytest.mark.parametrize(("said", "there"), CARRIED)
def test_a_condition_over_columns_and_constants_is_carried(said: str, there: str) -> None:
    assert said_there(tokens(said), COLUMNS) == there


@pytest.mark.parametrize("said", NOT_CARRIED)
def test_any_other_condition_is_left_and_never_guessed(said: str) -> None:
    with pytest.raises(Unsaid):
        said_there(tokens(said), COLUMNS)


@pytest.mark.parametrize(("said", "there"), MOMENTS)
def test_a_condition_over_moments_is_carried_where_all_are_spelled_alike(said: str, there: str) -> None:
    assert said_there(tokens(said), SHAPED) == there


@pytest.mark.parametrize("said", NO_MOMENTS)
def test_a_condition_that_compares_texts_of_several_spellings_is_left(said: str) -> None:
    with pytest.raises(Unsaid):
        said_there(tokens(said), SHAPED)


def test_checks_are_found_wherever_they_stand() -> None:
    table = Table(
        "t",
        definition="""CREATE TABLE t (a INT CHECK (a > 0), b TEXT DEFAULT 'CHECK (x)' -- CHECK (no)
        , "check" INT, CONSTRAINT "one of" CHECK (b IN ('(', ')')), CHECK (a < 5))""",
    )
    assert list(checks_of(table)) == [
        ("", ["a", ">", "0"]),
        ("one of", ["b", "IN", "(", "'('", ",", "')'", ")"]),
        ("", ["a", "<", "5"]),
    ]


DEFAULTS = [
    ("", "text", "text", ""),
    ("NULL", "text", "text", ""),
    ("0", "boolean", "boolean", "false"),
    ("TRUE", "boolean", "boolean", "true"),
    ("'5'", "bigint", "bigint", "5"),
    ("'0'", "boolean", "boolean", "false"),
    ('"1"', "boolean", "boolean", "true"),
    ("'2'", "boolean", "boolean", None),
    ("'1700000000'", "timestamp with time zone", "timestamptz:seconds", "'2023-11-14 22:13:20+00'::timestamp with time zone"),
    ("'0'", "text", "text", "'0'::text"),
    ("'12345'", "character varying(3)", "text:3", None),
    ("(-5)", "bigint", "bigint", "-5"),
    ("5", "numeric(10,2)", "numeric:10,2", "5.00"),
    ("'it''s'", "text", "text", "'it''s'::text"),
    ('"word"', "text", "text", "'word'::text"),
    ("'abcd'", "character varying(3)", "text:3", None),
    ("'2024-01-01T10:00'", "timestamp without time zone", "timestamp", "'2024-01-01 10:00:00'::timestamp without time zone"),
    ("1700000000", "timestamp with time zone", "timestamptz:seconds", "'2023-11-14 22:13:20+00'::timestamp with time zone"),
    ("'{}'", "json", "json", "'{}'::json"),
    ("x'00ff'", "bytea", "bytea", "'\\x00ff'::bytea"),
    ("(datetime('now'))", "timestamp with time zone", "timestamptz", "date_trunc('second'::text, now())"),
    ("(strftime('%s', 'NOW'))", "bigint", "bigint", "(floor(date_part('epoch'::text, now())))::bigint"),
    ("(strftime('%S', 'now'))", "bigint", "bigint", None),
    ("CURRENT_TIMESTAMP", "bigint", "bigint", None),
    ("(lower(hex(randomblob(16))))", "text", "text", None),
    ("(1) + (2)", "bigint", "bigint", None),
]  # fmt: skip


@pytest.mark.parametrize(("said", "type_", "how", "there"), DEFAULTS)
def test_a_default_is_a_constant_as_its_column_spells_it_or_the_present_time(
    said: str, type_: str, how: str, there: str | None
) -> None:
    assert default_there(said, type_, how) == there
