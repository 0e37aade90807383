"""What is told before a migration: casts, the order of tables, circles, misfits with their rows, what stays behind."""

from __future__ import annotations

import re
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import UsageError
from dbtasks.rows.across.candidates import ANYTHING, DECLARED, TEXT
from dbtasks.rows.across.misfit import Misfit
from dbtasks.rows.across.spellers import line_of, lines_of, speller
from dbtasks.rows.migration.casts import SPELLINGS, Cast
from dbtasks.rows.migration.order import ordered
from dbtasks.rows.sqlite.numbered import LongValue, NumberedLong, NumberedRows, numbered
from tests.conftest import REPOSITORY
from tests.postgres.migrated import chosen, lines, opened

PAGE = (REPOSITORY / "docs/migrate-types.md").read_text("utf-8")


def made(path: Path, script: str, *rows: Any) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
        for row in rows:
            connection.execute("INSERT INTO t VALUES (?)", (row,))
    return path


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("t.a:jsonb", "jsonb"),
        ("t.a: TIMESTAMPTZ ", "timestamp with time zone"),
        ("t.a:varchar(40)", "character varying(40)"),
        ("t.a:numeric( 10, 2 )", "numeric(10,2)"),
        ("t.a:double  precision", "double precision"),
        ("a:b.c.d:int", "integer"),
    ],
)
def test_a_cast_names_a_column_and_a_type(text: str, type_: str) -> None:
    cast = Cast.parse(text)
    assert (cast.column, cast.type) == (text.rpartition(":")[0], type_)


@pytest.mark.parametrize(
    "text", ["", "t.a", "t:text", "t.a:", "t.a:wrong", "t.a:text(5)", "t.a:varchar()", "t.a:varchar(10485761)", "t.a:char(0)", "t.a:numeric(1001,2)", "t.a:int; DROP TABLE x", ".a:int"]
)  # fmt: skip
def test_a_cast_that_is_none_names_its_flag(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Cast.parse(text)
    assert "cast" in f"{caught.value.message} {caught.value.hint}"


def test_a_cast_of_no_column_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a)")
    with pytest.raises(UsageError, match=r"--cast=t\.b:text names no column"):
        chosen(path, "t.b:text")
    with pytest.raises(UsageError, match="two casts"):
        chosen(path, "t.a:text", "T.A:bytea")


def test_bytes_in_a_text_column_are_misfits_until_a_cast_says_what_they_are(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT)", "a", b"\xff\x00", "b", b"\x01")
    (one,) = chosen(path).columns["t"]
    assert (one.type, one.misfits) == ("text", 2)
    assert one.why == "declared TEXT, holds 2 blobs and 2 texts"
    assert one.examples == ("2: x'ff00' (2 bytes) is no text", "4: x'01' (1 byte) is no text")
    cast = chosen(path, "t.a:bytea")
    (one,) = cast.columns["t"]
    assert (one.type, one.misfits) == ("bytea", 0)
    assert "by --cast" in one.why
    assert lines(path, cast, "t") == ["\\\\x61", "\\\\xff00", "\\\\x62", "\\\\x01"]


def test_text_that_postgresql_cannot_hold_is_a_misfit(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT)", "a\0b", "ok")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("INSERT INTO t VALUES (CAST(x'ff41' AS TEXT))")
    (one,) = chosen(path).columns["t"]
    assert one.examples == ("1: 'a\\x00b' holds a zero byte", "3: '\\xffA' is no UTF-8")
    (one,) = chosen(path, "t.a:bytea").columns["t"]
    assert one.misfits == 0


def test_postgresql_has_no_zero_below_zero(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a)", -0.0, 1.5)
    assert lines(path, chosen(path, "t.a:numeric(6,2)"), "t") == ["0.00", "1.50"]
    assert lines(path, chosen(path, "t.a:numeric"), "t") == ["0", "1.5"]
    assert lines(path, chosen(path, "t.a:float"), "t") == ["-0", "1.5"]


def test_misfits_of_a_cast_are_counted_all_and_five_of_them_shown(tmp_path: Path) -> None:
    values = [*(f"no {number}" for number in range(10)), "2024-01-01"]
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT)", *values)
    (one,) = chosen(path, "t.a:date").columns["t"]
    assert (one.type, one.misfits, len(one.examples)) == ("date", 10, 5)
    assert one.examples[0] == "1: 'no 0' is no date"


def test_the_rows_of_a_table_without_rowid_are_named_by_their_key(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a TEXT, b INT, c DATE, PRIMARY KEY (a, b)) WITHOUT ROWID; INSERT INTO t VALUES ('x', 5, 'soon')"
    path = made(tmp_path / "a.db", script)
    (*_, one) = chosen(path, "t.c:date").columns["t"]
    assert one.examples == ("'x', 5: 'soon' is no date",)


def test_null_in_a_column_that_takes_none_is_a_misfit(tmp_path: Path) -> None:
    # SQLite lets NULL into the keys of its rowid tables
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT PRIMARY KEY)", None, "a")
    (one,) = chosen(path).columns["t"]
    assert (one.misfits, one.examples) == (
        1,
        ("1: NULL, and a primary key of PostgreSQL's takes none, though SQLite's does",),
    )


SHOP = """
CREATE TABLE line (id INTEGER PRIMARY KEY, orders INT REFERENCES orders, item TEXT REFERENCES item (code), up INT REFERENCES line);
CREATE TABLE orders (id INTEGER PRIMARY KEY, last INT REFERENCES line, who TEXT REFERENCES person (name));
CREATE TABLE item (code VARCHAR(9) PRIMARY KEY COLLATE NOCASE);
CREATE TABLE person (id INTEGER PRIMARY KEY, name TEXT, twice AS (name || name), CHECK (name LIKE 'A%'));
CREATE TRIGGER counted AFTER INSERT ON item BEGIN SELECT 1; END;
CREATE VIEW every AS SELECT 1;
"""


def test_tables_stand_in_the_order_of_their_keys_and_circles_are_named(tmp_path: Path) -> None:
    choices = chosen(made(tmp_path / "a.db", SHOP))
    assert choices.cycles == (("line", "orders"),)
    assert choices.order == ("item", "person", "line", "orders")


def test_what_stays_behind_is_told_by_name(tmp_path: Path) -> None:
    assert sorted(map(str, chosen(made(tmp_path / "a.db", SHOP)).losses)) == [
        "person.twice is computed, and not carried",
        "the CHECK of person (name LIKE 'A%') is not carried",
        "the foreign key of orders (who) to person refers to columns that are no key",
        "the table item goes without its collations",
        "the trigger counted is not carried: make it there by hand",
        "the unique key (code) of item compares without case: the unique index item_code_folded beside it keeps that",
        "the view every is not carried: make it there by hand",
    ]


def test_a_condition_over_a_column_with_a_collation_is_told_and_left(tmp_path: Path) -> None:
    script = """
        CREATE TABLE t (
            id INTEGER PRIMARY KEY, "Code" TEXT COLLATE NOCASE CHECK (code IN ('A', 'B')),
            plain TEXT COLLATE "binary" CHECK (plain <> 'x'), n INT CHECK (length(code) < 9),
            CHECK (n > 1 OR code <> plain), CHECK (plain COLLATE NOCASE = 'a')
        );
        CREATE INDEX some ON t (n) WHERE code = 'a';
        CREATE INDEX others ON t (n) WHERE code IS NOT NULL;
    """
    choices = chosen(made(tmp_path / "a.db", script))
    (table,) = choices.schema.tables
    assert [check.definition for check in table.checks] == [
        "CHECK (\"plain\" <> 'x')",
        'CHECK (length("Code") < 9)',
    ]
    assert [one.name for one in table.indexes] == ["others"]
    assert sorted(map(str, choices.losses)) == [
        "the CHECK of t (code IN ( 'A' , 'B' )) is not carried",
        "the CHECK of t (n > 1 OR code <> plain) is not carried",
        "the CHECK of t (plain COLLATE NOCASE = 'a') is not carried",
        "the index some is over more than columns, and not carried",
        "the table t goes without its collations",
    ]


def test_a_key_without_values_takes_the_type_of_what_it_refers_to(tmp_path: Path) -> None:
    script = "CREATE TABLE p (id TEXT PRIMARY KEY); CREATE TABLE t (p UUID REFERENCES p)"
    choices = chosen(made(tmp_path / "a.db", script))
    assert choices.columns["t"][0].type == "text"
    table = choices.schema.table("public.t")
    assert table
    assert table.foreign_keys


@given(
    st.dictionaries(
        st.sampled_from("abcdefgh"), st.lists(st.sampled_from("abcdefgh"), max_size=3), min_size=1
    )
)
def test_what_is_referred_to_comes_first_but_in_circles(wants: dict[str, list[str]]) -> None:
    order, cycles = ordered(wants, wants)
    assert sorted(order) == sorted(wants)
    for name, others in wants.items():
        for other in set(others) & set(wants):
            together = any(name in one and other in one for one in cycles)
            assert together or name == other or order.index(other) < order.index(name)


def test_a_value_of_any_length_is_streamed_and_looked_at(tmp_path: Path) -> None:
    long = "é\t" * 900_000
    path = made(tmp_path / "a.db", "CREATE TABLE t (a)", "short", long, b"\x00" * 2_000_000, "end")
    with opened(path) as (connection, schema):
        batches = list(numbered(connection, schema.tables[0]))
        assert [list(batch.ids) for batch in batches] == [[1], [2], [3], [4]]
        text, blob = batches[1:3]
        assert isinstance(text, NumberedLong)
        assert isinstance(blob, NumberedLong)
        assert isinstance(text.values[0], LongValue)
        assert max(map(len, text.values[0].pieces())) <= 1 << 19
    (one,) = chosen(path).columns["t"]
    assert (one.type, one.misfits) == ("text", 1)
    assert one.examples == ("3: a blob of 2,000,000 bytes is no text",)
    cast = chosen(path, "t.a:bytea")
    assert cast.misfits == 0
    assert lines(path, cast, "t")[1:3] == ["\\\\x" + long.encode().hex(), "\\\\x" + "00" * 2_000_000]


def test_long_text_with_a_zero_byte_is_a_misfit(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a TEXT)", "x" * 1_500_000 + "\0")
    (one,) = chosen(path).columns["t"]
    assert one.misfits == 1
    assert "zero byte" in one.examples[0]


TWICE = "has a name twice, of which jsonb keeps one"
LONG_DOCUMENTS = [
    ("JSON", '{"a": "%s"}', "json", ""),
    ("JSON", '{"a": "%s"', "text", "is no JSON"),
    ("JSONB", '{"a": "%s"}', "jsonb", ""),
    ("JSONB", '{"a": "%s", "\\u0061": 1}', "json", TWICE),
    ("JSONB", '[{"a": {"a": "\\ud83d\\ude00%s"}}, {"a": 1, "aa": 1}]', "jsonb", ""),
    ("JSONB", '{"a": "%s\\ud83d"}', "json", "holds half a character"),
    ("JSONB", '{"a": "%s", "lat": -0.0}', "json", "holds a zero below zero, which jsonb does not"),
    ("JSONB", '{"a": "%s -0, ", "lat": -0.5}', "jsonb", ""),
    ("JSONB", '{"a": "%s\\u0000"}', "json", "holds a zero character"),
    ("JSONB", '{"a": "%s\\\\u0000"}', "jsonb", ""),
]


@pytest.mark.parametrize("size", [500_000, 6_000_000])
@pytest.mark.parametrize(("declared", "form", "type_", "why"), LONG_DOCUMENTS, ids=repr)
def test_a_long_text_is_looked_at_whether_it_is_json(
    tmp_path: Path, declared: str, form: str, type_: str, why: str, size: int
) -> None:
    path = made(tmp_path / "a.db", f"CREATE TABLE t (a {declared})", form % ("é" * (size // 2)))
    (one,) = chosen(path).columns["t"]
    assert (one.type, one.misfits) == (type_, 0)
    assert why in one.why
    cast = chosen(path, f"t.a:{declared}")
    assert cast.misfits == bool(why)


def test_rows_come_in_flat_batches_whole_and_once(tmp_path: Path) -> None:
    path = made(tmp_path / "a.db", "CREATE TABLE t (a)", *range(12_345))
    with opened(path) as (connection, schema):
        batches = [one for one in numbered(connection, schema.tables[0]) if isinstance(one, NumberedRows)]
    assert len(batches) > 2
    assert [row for batch in batches for row in batch.rows] == [(number,) for number in range(12_345)]
    assert [number for batch in batches for number in batch.ids] == list(range(1, 12_346))


ANY = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.sampled_from(["2024-01-01", "2024-01-01 10:00:00", "2024-01-01T10:00:00.5Z", "10:00", "{}", "1.50", "t", bytes(16)]),
    st.sampled_from(["a ", "a  ", "10:00:00.5+01", "1.5 ms", "1 day 00:00:00.25"]),
    st.sampled_from([0, 1, 1_700_000_000, 1_700_000_000_000, 2_460_000.5]),
)  # fmt: skip
HOWS = [
    *("text", "text:3", "bytea", "bytea:text", "boolean", "smallint", "integer", "bigint", "double", "real", "numeric"),
    *("numeric:6,2", "uuid", "json", "jsonb", "date", "time", "timestamp", "timestamp:cut", "timestamptz", "timestamptz:cut"),
    *("timestamptz:seconds", "timestamptz:milliseconds", "timestamp:microseconds", "timestamptz:days"),
    *("time:,0", "timestamp:,3", "timestamptz:cut,3", "timestamptz:seconds,0", "interval:microseconds,3"),
    *("interval", "interval:microseconds", "interval:text,3", "enum:t,{}", "padded:3", "words:0"),
]  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("how", HOWS)
@given(values=st.lists(ANY, max_size=8))
def test_a_batch_is_spelled_as_its_values_are_one_by_one_and_told_as_they_are(
    how: str, values: list[Any]
) -> None:
    alone: list[str] = []
    for value in values:
        try:
            alone.append(line_of((value,), (how,)))
            fits = True
        except Misfit as exc:
            assert exc.column == 0
            fits = False
        if value is not None:
            assert (speller(how).fits(value) == "") is fits
    try:
        together = lines_of([(value,) for value in values], (how,))
    except Misfit:
        assert len(alone) < len(values)
    else:
        assert together == alone


@pytest.mark.long
@pytest.mark.parametrize("how", HOWS)
@given(values=st.lists(ANY.filter(lambda value: value is not None), min_size=1, max_size=8))
def test_what_is_proved_of_a_batch_is_what_its_spelling_says(how: str, values: list[Any]) -> None:
    found = speller(how)
    if found.prove is None:
        return
    kinds = set(map(type, values))
    try:
        found.spell(values)
        fits = True
    except Misfit:
        fits = False
    try:
        found.prove(values)
        assert fits
    except Misfit:
        assert not fits
    assert fits or not kinds <= found.always


WEAKER: list[tuple[str, list[Any], str, str | None, int]] = [
    ("DATE", ["2024-01-01", "2024-01-02", "soon"], "text", "date", 1),
    ("INTEGER", [1, 2, "x", 3, None], "text", "bigint", 1),
    ("INTEGER", [1, 2, 1.5], "double precision", "bigint", 1),
    ("BOOLEAN", [0, 1, 1, 2], "bigint", "boolean", 1),
    ("VARCHAR(3)", ["a", "b", "abcd"], "text", "character varying(3)", 1),
    ("DECIMAL(6,2)", [1.5, 2, 1.555], "numeric", "numeric(6,2)", 1),
    ("JSONB", ["{}", "[]", "{"], "text", "jsonb", 1),
    ("REAL", [0.5, 1.5, "x"], "text", "double precision", 1),
    ("DATETIME", ["2024-01-01 10:00:00Z", "2024-01-01 11:00:00", "2024-01-01 10:00:00Z", "soon"], "text", "timestamp with time zone", 1),
    ("DATETIME", [1_700_000_000, 1_700_000_001, "soon"], "text", "timestamp with time zone", 1),
    ("", [1, 2, "00420"], "text", "bigint", 1),
    # as many as the others, none, or another spelling only
    ("DATE", ["2024-01-01", "soon"], "text", None, 0),
    ("DATE", ["2024-01-01"], "date", None, 0),
    ("DATETIME", ["2024-01-01 10:00:00", "2024-01-01 10:00:00", "2024-01-01 10:00:00Z"], "timestamp with time zone", None, 0),
    ("TEXT", ["a", "b", b"c"], "text", None, 0),
    ("DATE", ["2024-01-01"] * 3_000 + ["soon"] * 1_001, "text", None, 0),
    ("DATE", ["2024-01-01"] * 3_000 + ["soon"] * 1_000, "text", "date", 1_000),
]  # fmt: skip


@pytest.mark.parametrize(
    ("declared", "values", "type_", "stronger", "number"), WEAKER, ids=lambda held: str(held)[:20]
)
def test_a_type_that_a_few_values_stand_in_the_way_of_is_told(
    tmp_path: Path, declared: str, values: list[Any], type_: str, stronger: str | None, number: int
) -> None:
    path = made(tmp_path / "a.db", f"CREATE TABLE t (a {declared})", *values)
    (one,) = chosen(path).columns["t"]
    assert (one.type, one.weaker.type if one.weaker else None) == (type_, stronger)
    if not one.weaker:
        return
    assert (one.weaker.values, len(one.weaker.examples)) == (number, min(number, 5))
    # what is told to be said is what gives that type
    (flag,) = shlex.split(one.weaker.flag)
    (given,) = chosen(path, flag.removeprefix("--cast=")).columns["t"]
    assert (given.type, given.weaker) == (stronger, None)
    assert given.misfits <= number
    assert given.misfits in (0, number)
    assert [*given.examples] == ([*one.weaker.examples] if given.misfits else [])


def test_the_page_shows_which_types_are_tried_and_in_which_order() -> None:
    shown = []
    for word, ways in (*DECLARED, ("", ANYTHING)):
        types = ", ".join(dict.fromkeys(way.type for way in (*ways, TEXT)))
        shown.append(f"| {f'`{word}`' if word else 'anything else, or nothing'} | {types} |\n")
    assert "".join(shown) in PAGE


def test_the_page_names_every_type_that_a_cast_takes() -> None:
    (said,) = re.findall(r"Types: (.*?)\. `bytea`", PAGE, re.DOTALL)
    names = said.replace("\n", " ").replace("(n)", "(5)").replace("(p,s)", "(5,2)").split(", ")
    assert {Cast.parse(f"t.a:{name}").type.partition("(")[0] for name in names} == set(SPELLINGS.values())


ZONELESS = "in UTC where they say no zone"


@pytest.mark.parametrize(
    ("cast", "rows", "why"),
    [
        (
            "timestamp",
            ["2024-01-01 10:00:00.123456789", "2024-01-01 10:00:00", "bad"],
            "by --cast, holds 3 texts, of which digits beyond microseconds are cut (1 value)",
        ),
        ("timestamp", ["2024-01-01 10:00:00", "bad"], "by --cast, holds 2 texts"),
        ("timestamptz", ["2024-01-01 10:00:00", "bad"], f"by --cast, holds 2 texts, {ZONELESS}"),
        (
            "timestamptz",
            ["2024-01-01 10:00:00.1234567", "2024-01-01 10:00:00.1234567+02", "bad", 5],
            f"by --cast, holds 1 integer and 3 texts, {ZONELESS}, of which digits beyond microseconds are cut (2 values)",
        ),
        (
            "",
            ["2024-01-01 10:00:00.123456789", "2024-01-01 10:00:00+02", "2024-01-03"],
            f"holds timestamps, {ZONELESS}, of which digits beyond microseconds are cut (1 value)",
        ),
        (
            "",
            ["2024-01-01 10:00:00.123456789"] * 1_200,
            "holds timestamps without a zone, of which digits beyond microseconds are cut (more than 1,000 values)",
        ),
        (
            "timestamptz",
            [1_700_000_000.25, "bad"],
            "by --cast, holds 1 real and 1 text, as seconds since 1970, of which microseconds are kept",
        ),
        (
            "timestamptz",
            [2_460_000.5, "bad"],
            "by --cast, holds 1 real and 1 text, as days of the Julian period, of which milliseconds are kept",
        ),
    ],
)
def test_what_becomes_of_values_is_said_beside_those_that_do_not_fit(
    tmp_path: Path, cast: str, rows: list[Any], why: str
) -> None:
    path = made(tmp_path / "t.db", "CREATE TABLE t (a DATETIME)", *rows)
    (one,) = chosen(path, *([f"t.a:{cast}"] if cast else [])).columns["t"]
    assert one.why.partition("declared DATETIME, ")[2] == why
