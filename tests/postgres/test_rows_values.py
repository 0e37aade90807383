"""Every value of every built-in type stands in a rows file to the last bit, and any JSON reader reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.rows_file import bits, loaded_back, put_back, rows_in, written, written_bytes

TYPES = """
CREATE TYPE mood AS ENUM ('so "so"', 'ok,fine', 'null', E'a\\nb');
CREATE DOMAIN even AS int CHECK (VALUE % 2 = 0);
CREATE DOMAIN evener AS even;
CREATE TYPE pair AS (a int, b text);
"""
EXTREMES = {
    "smallint": ["-32768", "32767"],
    "int": ["-2147483648", "2147483647"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "9007199254740993"],
    "oid": ["0", "4294967295"],
    "boolean": ["true", "false"],
    "numeric": ["NaN", "Infinity", "-Infinity", "1e130000", "-1e-16383", "-0.00", "12345678901234567890.12345678901234567890"],
    "real": ["NaN", "Infinity", "-Infinity", "-0", "1e-45", "3.4028235e38", "1.1"],
    "double precision": ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.30000000000000004"],
    "date": ["infinity", "-infinity", "4713-01-01 BC", "0044-03-15 BC", "5874897-12-31"],
    "time": ["24:00:00", "00:00:00", "23:59:59.999999"],
    "timetz": ["24:00:00+14", "12:00:00.5-15:59:59"],
    "timestamp": ["infinity", "-infinity", "4713-01-01 00:00:00 BC", "294276-12-31 23:59:59.999999"],
    "timestamptz": ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "12026-01-01 00:00:00.000001"],
    "interval": ["1 mon", "30 days", "-1 mon +30 days -04:05:06.789", "178000000 years", "-178000000 years", "0"],
    "text": ["", " lead trail ", "null", '"', "\\", "\\.", "\\n", "\\u0041", '"],\n["', "],\n[", "a\tb\nc\rd\be\ff", "".join(map(chr, range(1, 128))), "é🙂\ufeff\u2028", "\n"],
    "varchar(5)": ["ab   ", "é🙂é🙂é"],
    "char(5)": ["ab", "", "null"],
    "name": ["Upper \"name\""],
    '"char"': ["x", "\n", ""],
    "bytea": ["", "\\x00ff5c2200", "\\x5c2e0a"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "json": ['{"a" :\n 1, "a": 2, "u":"\\u00e9\\ud83d\\ude42"}', "null", '"\\u0001"', "[1,  2]", "1.10"],
    "jsonb": ['{"z":1e400,"n":12345678901234567890.123456789}', "null", "1.10", '"\\u0001\\n"'],
    "int[]": ["{}", "[2:3]={1,NULL}", "[-2:-1][0:1]={{1,2},{3,4}}"],
    "text[]": ['{"a,b","\\"x\\"",NULL,"NULL","n\nl"}', '{""}'],
    "numeric[]": ["{NaN,Infinity,1.10}"],
    "timestamptz[]": ["{infinity,\"0044-03-15 12:00:00 BC\"}"],
    "int4range": ["empty", "(,)", "[1,5)", "[2147483646,)"],
    "numrange": ["(NaN,)", "[1.10,2.200]", "(-Infinity,Infinity)"],
    "tstzrange": ['["2020-01-01 00:00:00+00",infinity)', '[-infinity,"0044-03-15 12:00:00 BC")'],
    "int4multirange": ["{}", "{[1,3),[5,9)}"],
    "inet": ["::1/64", "10.0.0.1", "10.0.0.1/8", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"],
    "cidr": ["10.0.0.0/8", "::/0"],
    "macaddr": ["ff:ff:ff:ff:ff:ff"],
    "macaddr8": ["00:00:00:00:00:00:00:01"],
    "bit(3)": ["101"],
    "varbit": ["", "1010101"],
    "money": ["-92233720368547758.08", "92233720368547758.07", "0.01"],
    "point": ["(1.1,-0)", "(NaN,Infinity)"],
    "line": ["{1,-1,0.1}"],
    "lseg": ["[(0,0),(1.1,2.2)]"],
    "box": ["(2,2),(0.1,0.1)"],
    "path": ["[(0,0),(1,1)]", "((0,0),(1,1))"],
    "polygon": ["((0,0),(1,1),(1e300,0))"],
    "circle": ["<(0,0),1.1>"],
    "tsvector": ["a:1 'b c':2A", ""],
    "tsquery": ["'a' & !'b' <2> 'c'"],
    "pg_lsn": ["FFFFFFFF/FFFFFFFF", "0/0"],
    "mood": ['so "so"', "ok,fine", "null", "a\nb"],
    "even": ["2"],
    "evener": ["-2147483648"],
    "pair": ["(,)", '(1,"x ""y"" \\\\ \n")'],
    "pair[]": ['{"(1,z)",NULL,"(,)"}'],
    "mood[]": ['{null,"null","so \\"so\\""}'],
}  # fmt: skip
"""What other ways of writing values lose, by type; the spec's own list stands among them."""


@pytest.fixture(scope="module", params=[16, 17, 18], ids=lambda version: f"pg{version}")
def typed(request: pytest.FixtureRequest) -> Iterator[PgDatabase]:
    server: PgServer = request.getfixturevalue("pg_servers")(request.param)
    with server.fresh() as database:
        database.run(TYPES)
        yield database


def same(database: PgDatabase, table: str = "v") -> None:
    """Write a table into a document, put its rows into a copy of it by their texts and by COPY, and compare bit by bit."""
    document = written_bytes(database, f"public.{table}")
    rows = rows_in(json.loads(document), f"public.{table}")
    database.run(f"DROP TABLE IF EXISTS back; CREATE TABLE back (LIKE {table})")
    put_back(database, "back", rows)
    assert bits(database, "back") == bits(database, table)
    database.run("TRUNCATE back")
    loaded_back(database, "back", document)
    assert bits(database, "back") == bits(database, table)


@pytest.mark.parametrize("type_", EXTREMES)
def test_b04_b05_the_extremes_of_a_type_keep_every_bit(typed: PgDatabase, type_: str) -> None:
    typed.run(f"DROP TABLE IF EXISTS v; CREATE TABLE v (x {type_})")
    texts = (None, *EXTREMES[type_])
    typed.run(f"INSERT INTO v VALUES {', '.join(['(%s)'] * len(texts))}", texts)
    same(typed)


def test_b04_what_javascript_would_round_is_a_string_and_what_it_would_not_is_a_number(
    typed: PgDatabase,
) -> None:
    typed.run(
        "DROP TABLE IF EXISTS v; CREATE TABLE v (a smallint, b int, c oid, d evener, e boolean, f bigint, g numeric, h real, i json);"
        "INSERT INTO v VALUES (1, -2147483648, 4294967295, 2, true, 1, 1.10, 1.5, '{\"a\": 1}'),"
        " (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
    )
    assert rows_in(written(typed, "public.v"), "public.v") == [
        [1, -2147483648, 4294967295, 2, True, "1", "1.10", "1.5", '{"a": 1}'],
        [None] * 9,
    ]


# -- any value ---------------------------------------------------------------------------------

NO_NUL = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
FLOATS = st.floats().map(repr)
INTS = st.integers(-(2**31), 2**31 - 1)
NUMERICS = (
    st.decimals(allow_infinity=False).map(str).filter(lambda text: "sNaN" not in text and "-NaN" not in text)
)
PARTS = st.tuples(*[st.integers(-(10**6), 10**6)] * 4)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NO_NUL,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NO_NUL, inner, max_size=4),
    max_leaves=8,
)


def _array(values: list[str | None], lower: int) -> str:
    quoted = (
        "NULL" if v is None else '"' + v.replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values
    )
    bounds = f"[{lower}:{lower + len(values) - 1}]=" if values else ""
    return f"{bounds}{{{','.join(quoted)}}}"


ANY: dict[str, st.SearchStrategy[str]] = {
    "smallint": st.integers(-(2**15), 2**15 - 1).map(str),
    "int": INTS.map(str),
    "bigint": st.integers(-(2**63), 2**63 - 1).map(str),
    "oid": st.integers(0, 2**32 - 1).map(str),
    "boolean": st.booleans().map(str),
    "numeric": NUMERICS,
    "real": st.floats(width=32).map(repr),
    "double precision": FLOATS,
    "text": NO_NUL,
    "varchar(40)": NO_NUL,
    "char(40)": NO_NUL,
    "bytea": st.binary(max_size=40).map(lambda data: "\\x" + data.hex()),
    "uuid": st.uuids().map(str),
    "date": st.dates().map(str),
    "time": st.times().map(str),
    "timestamp": st.datetimes().map(str),
    "timestamptz": st.datetimes().map(lambda at: f"{at}+00"),
    "interval": PARTS.map(lambda p: f"{p[0]} mons {p[1]} days {p[2]} hours {p[3]} microseconds"),
    "inet": st.ip_addresses().map(str),
    "macaddr": st.binary(min_size=6, max_size=6).map(lambda data: data.hex(":")),
    "varbit": st.text("01", max_size=40),
    "money": st.integers(-(2**63), 2**63 - 1).map(lambda n: f"{n // 100}.{n % 100:02}" if n >= 0 else f"-{-n // 100}.{-n % 100:02}"),
    "json": JSONS.map(json.dumps),
    "jsonb": JSONS.filter(lambda value: "\\u0000" not in json.dumps(value)).map(json.dumps),
    "text[]": st.builds(_array, st.lists(st.none() | NO_NUL, max_size=4), st.integers(-5, 5)),
    "numeric[]": st.builds(_array, st.lists(st.none() | NUMERICS, max_size=4), st.integers(-5, 5)),
    "int8range": st.tuples(INTS, INTS).map(lambda p: f"[{min(p)},{max(p)}]"),
    "int4multirange": st.lists(st.tuples(INTS, INTS), max_size=3).map(
        lambda pairs: "{" + ",".join(f"[{min(p)},{max(p)})" for p in pairs) + "}"
    ),
    "point": st.tuples(FLOATS, FLOATS).map(lambda p: f"({p[0]},{p[1]})"),
    "pg_lsn": st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(lambda p: f"{p[0]:X}/{p[1]:X}"),
    "mood": st.sampled_from(EXTREMES["mood"]),
    "pair": st.tuples(INTS, NO_NUL).map(lambda p: f'({p[0]},"{p[1].replace(chr(92), chr(92) * 2).replace(chr(34), chr(34) * 2)}")'),
}  # fmt: skip
ROW = st.tuples(*[st.none() | values for values in ANY.values()])


@pytest.mark.long
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows=st.lists(ROW, min_size=1, max_size=6))
def test_b04_b05_b07_any_values_of_the_built_in_types_keep_every_bit(
    typed: PgDatabase, rows: list[tuple[str | None, ...]]
) -> None:
    columns = ", ".join(f"c{number} {type_}" for number, type_ in enumerate(ANY))
    typed.run(f"DROP TABLE IF EXISTS v; CREATE TABLE v ({columns})")
    holes = f"({', '.join(['%s'] * len(ANY))})"
    for row in rows:
        # one by one: several rows in one statement would have to agree on what each text is
        typed.run(f"INSERT INTO v VALUES {holes}", row)
    same(typed)
    # and the same words as the server's own for each value
    texts = ", ".join(f"CASE WHEN num_nulls(c{n}) = 0 THEN format('%%s', c{n}) END" for n in range(len(ANY)))
    fixed = "SET TimeZone = 'UTC'; SET lc_monetary = 'C'; SET extra_float_digits = 3;"
    expected = [list(row) for row in typed.run(f"{fixed} SELECT {texts} FROM v".replace("%%", "%"))]
    told = [[_said(value) for value in row] for row in rows_in(written(typed, "public.v"), "public.v")]
    assert told == expected


def _said(value: object) -> object:
    if isinstance(value, bool):
        return "t" if value else "f"
    return str(value) if isinstance(value, int) else value
