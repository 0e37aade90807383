"""What a migration makes of SQLite's columns and values, on a real server: what was sent is what it holds."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbtasks.rows.across.moments import IN_DIGITS
from dbtasks.rows.comparison.alike import Family, family_of, postgres_reader, sqlite_reader
from dbtasks.rows.sqlite.defaults import NOW, THERE
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.migrated import brought, chosen, formed
from tests.unit.test_migration_conditions import CARRIED


def made(path: Path, script: str, **rows: list[tuple[Any, ...]]) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
        for table, held in rows.items():
            for row in held:
                connection.execute(f"INSERT INTO {table} VALUES ({','.join('?' * len(row))})", row)
    return path


@pytest.fixture(scope="module")
def across(pg: PgServer) -> Iterator[PgDatabase]:
    with pg.fresh() as database:
        yield database


EVERYTHING = """
CREATE TABLE customer (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name VARCHAR(40) NOT NULL DEFAULT 'nobody',
    is_active BOOLEAN DEFAULT 1,
    joined DATETIME DEFAULT CURRENT_TIMESTAMP,
    seen TIMESTAMP,
    clicked TIMESTAMP,
    born DATE,
    wakes TIME,
    key UUID,
    raw_key UUID,
    held JSON DEFAULT '{}',
    credit DECIMAL(10,2) DEFAULT 0 CHECK (credit >= 0),
    weight REAL,
    photo BLOB,
    anything,
    CHECK (length(name) BETWEEN 1 AND 40 AND is_active IN (0, 1)),
    CONSTRAINT known CHECK (name <> 'root' OR id = 1)
);
CREATE TABLE purchase (
    id INTEGER PRIMARY KEY,
    customer_id INT NOT NULL REFERENCES customer ON DELETE CASCADE,
    at INTEGER,
    UNIQUE (customer_id, at)
);
CREATE INDEX purchase_at ON purchase (at DESC) WHERE at IS NOT NULL;
CREATE INDEX purchase_odd ON purchase (at + 1);
CREATE VIEW totals AS SELECT count(*) FROM purchase;
"""
CUSTOMERS: list[tuple[Any, ...]] = [
    (
        *(7, "Ada\tL\\ove\nlace", 1, "2024-01-01 10:00:00", 1_700_000_000, "2024-01-01T10:00:00+02:00"),
        *("1815-12-10", "07:30", "6F9619FF-8B86-D011-B42D-00CF4FC964FF", bytes(range(16))),
        *('{"a": [1, 2.50, "é"]}', 12.5, 0.1, b"\x00\xff", 1),
    ),
    (
        *(9, "Grace", 0, "2024-01-01 10:00:00.5", 1_700_000_001, "2024-01-01 10:00:00"),
        *(None, None, None, None, None, 13, 1e15, b"", 2),
    ),
]


def test_each_column_gets_the_type_that_it_was_declared_as_where_the_data_agree(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    path = made(tmp_path / "a.db", EVERYTHING, customer=CUSTOMERS, purchase=[(1, 7, 5), (2, 9, None)])
    choices = chosen(path)
    for table, (sent, came) in brought(path, choices, pg_db).items():
        assert sent == came, table
    assert {one.column: one.type for one in choices.columns["customer"]} == {
        "id": "bigint",
        "name": "character varying(40)",
        "is_active": "boolean",
        "joined": "timestamp without time zone",
        "seen": "timestamp with time zone",
        "clicked": "timestamp with time zone",
        "born": "date",
        "wakes": "time without time zone",
        "key": "uuid",
        "raw_key": "uuid",
        "held": "json",
        "credit": "numeric(10,2)",
        "weight": "double precision",
        "photo": "bytea",
        "anything": "bigint",
    }
    assert pg_db.run(
        "SELECT wakes::text, raw_key::text, credit::text FROM public.customer ORDER BY id LIMIT 1"
    ) == [("07:30:00", "00010203-0405-0607-0809-0a0b0c0d0e0f", "12.50")]
    assert pg_db.run(
        "SELECT extract(epoch FROM seen)::bigint, to_char(clicked AT TIME ZONE 'UTC', 'HH24:MI') FROM public.customer ORDER BY id"
    ) == [(1_700_000_000, "08:00"), (1_700_000_001, "10:00")]


def test_keys_numbers_checks_defaults_and_indexes_come_along(tmp_path: Path, pg_db: PgDatabase) -> None:
    path = made(tmp_path / "a.db", EVERYTHING, customer=CUSTOMERS, purchase=[(1, 7, 5)])
    choices = chosen(path)
    brought(path, choices, pg_db)
    pg_db.run("INSERT INTO public.customer DEFAULT VALUES")
    row = pg_db.run(
        "SELECT id, name, is_active, held::text, credit::text, joined IS NOT NULL FROM public.customer WHERE name = 'nobody'"
    )
    assert row == [(10, "nobody", True, "{}", "0.00", True)]
    checks = pg_db.run(
        "SELECT oid FROM pg_constraint WHERE contype = 'c' AND conrelid = 'public.customer'::regclass"
    )
    assert len(checks) == 3
    for broken in ("credit = -1", "name = ''", "name = 'root'"):
        with pytest.raises(Exception, match="check constraint"):
            pg_db.run(f"UPDATE public.customer SET {broken} WHERE id = 7")
    ((definition,),) = pg_db.run("SELECT indexdef FROM pg_indexes WHERE indexname = 'purchase_at'")
    assert definition.endswith("(at DESC) WHERE (at IS NOT NULL)")
    pg_db.run("DELETE FROM public.customer WHERE id = 7")
    assert pg_db.run("SELECT count(*) FROM public.purchase") == [(0,)]
    assert sorted(map(str, choices.losses)) == [
        "the index purchase_odd is over more than columns, and not carried",
        "the view totals is not carried: make it there by hand",
    ]
    assert choices.order == ("customer", "purchase")


SINCE_1970 = [
    ("DATETIME", [1_700_000_000, 0, -5], "timestamp with time zone", "seconds since 1970"),
    ("DATETIME", [1_700_000_000.25], "timestamp with time zone", "seconds since 1970"),
    ("TIMESTAMP", [1_700_000_000_250], "timestamp with time zone", "milliseconds since 1970"),
    ("TIMESTAMP", [1_700_000_000_250_000], "timestamp with time zone", "microseconds since 1970"),
    ("DATE", [2_460_000.5, 2_460_001], "timestamp with time zone", "days of the Julian period"),
    ("DATETIME", [1_700_000_000.1234567], "timestamp with time zone", "of which microseconds are kept"),
    # what may be a date in digits, a year that nobody means, or a duration
    ("DATETIME", [20240131123045, 20231231235959], "bigint", "may be dates in digits"),
    ("DATETIME", [202401311230, 202313991230, 202401311231], "bigint", "may be dates in digits"),
    ("TIMESTAMP", [2401311230, 2402011400, 0], "bigint", "may be dates in digits"),
    ("TIMESTAMP", [2024013112], "bigint", "may be dates in digits"),
    ("TIMESTAMP", [240131123045], "bigint", "may be dates in digits"),
    ("DATETIME", [80_000_000_000, 90_000_000_000], "bigint", "whole numbers"),
    ("DATETIME", [32_503_680_000], "bigint", "whole numbers"),
    ("DATE", [2_460_000], "bigint", "whole numbers"),
    ("DATE", [1_800_000.5], "double precision", "numbers"),
    ("TIME", [1_800_000], "bigint", "whole numbers"),
    ("TIME", [250_000_000], "bigint", "whole numbers"),
    ("TIME", [2_460_000.5], "double precision", "numbers"),
    # small numbers may count anything, and of two units nobody knows which
    ("DATETIME", [1, 2, 3], "bigint", "whole numbers"),
    ("DATETIME", [1_700_000_000, 1_700_000_000_000], "bigint", "whole numbers"),
    ("DATETIME", [10**18], "bigint", "whole numbers"),
]
SPELLINGS = [
    ("BOOLEAN", [0, 1, None], "boolean", "only 0 and 1"),
    ("BOOLEAN", ["true", 0], "boolean", "only 0, 1 and the words for true and false"),
    ("BOOLEAN", [0, 2], "bigint", "whole numbers (row 2: 2 is neither 0 nor 1)"),
    ("INTEGER", [2**63 - 1, -(2**63)], "bigint", "whole numbers"),
    ("INTEGER", [1, 1.5], "double precision", "numbers (row 2: 1.5 is no whole number)"),
    ("INTEGER", [1, "soon"], "text", "texts (row 2: 'soon' is no whole number)"),
    ("DATETIME", ["2024-01-01 10:00", "2024-01-01T10:00:00.500", "2024-01-01"], "timestamp without time zone", ""),
    ("DATETIME", ["2024-01-01 10:00:00Z", "2024-01-01 10:00:00"], "timestamp with time zone", "in UTC where they say no zone"),
    ("DATETIME", ["2024-01-01T10:00:00.1234567"], "timestamp without time zone", "digits beyond microseconds are cut"),
    ("DATETIME", ["2024-01-01 10:00:00.123456789 +0100 UTC"], "timestamp with time zone", "are cut"),
    ("DATETIME", ["2024-02-30 10:00:00"], "text", "is in no calendar"),
    ("TIMESTAMP WITH TIME ZONE", ["2024-01-01 10:00:00"], "timestamp with time zone", ""),
    ("DATE", ["2024-02-29", "2024-01-01 00:00:00"], "date", "dates"),
    ("DATE", ["2024-02-29 10:00:00"], "timestamp without time zone", "has a time, and a date has none"),
    ("TIME", ["10:00", "10:00:00.120"], "time without time zone", ""),
    ("UUID", ["{6F9619FF-8B86-D011-B42D-00CF4FC964FF}", "6f9619ff8b86d011b42d00cf4fc964ff", bytes(16)], "uuid", ""),
    ("UUID", ["none"], "text", "is no UUID"),
    ("JSON", ['{"a" : 1}', 5, "[]"], "json", "JSON"),
    ("JSON", [' [1] \n', "{}"], "json", "JSON"),
    ("JSON", ["{", "[]"], "text", "is no JSON"),
    ("JSON", ["{} {}"], "text", "is more than one JSON document"),
    ("JSON", ["NaN"], "text", "is no JSON"),
    ("JSONB", ['{"b": 1.50, "a": "\\u00e9\\t"}'], "jsonb", "JSON"),
    ("JSONB", ['[{"b": 1, "a": 2, "\\u0061": 3}]'], "json", "has a name twice, of which jsonb keeps one"),
    ("JSONB", ['"\\ud83d\\ude00"'], "jsonb", "JSON"),
    ("JSONB", ['{"lat": -0.0, "lon": 1}'], "json", "holds a zero below zero, which jsonb does not"),
    ("JSONB", ['["x -0, y", -0.5, {"-0": 0.0}]'], "jsonb", "JSON"),
    ("JSONB", ['"\\ud83d"'], "json", "holds half a character"),
    ("DECIMAL(6,2)", [1.5, 100, -0.01, 0.1 + 0.2], "numeric(6,2)", ""),
    ("DECIMAL(6,2)", [1.555], "numeric", "more than 2 digits behind the point"),
    # of a large float the last digits are its own, and no noise
    ("DECIMAL(18,2)", [12345678901234.564], "numeric", "more than 2 digits behind the point"),
    ("DECIMAL(20,0)", [1234567890123456.5], "numeric", "more than 0 digits behind the point"),
    ("DECIMAL(18,3)", [123456789012.3456], "numeric", "more than 3 digits behind the point"),
    ("DECIMAL(18,2)", [12345678901234.56, 0.1 + 0.7], "numeric(18,2)", ""),
    ("DECIMAL(6,2)", [12345], "numeric", "more than 4 digits in front"),
    ("NUMERIC", [1e300, 1e-300, 5, -0.0, 0.1], "numeric", ""),
    ("REAL", [1e15, 123456789012345678, 5e-324, 1.7976931348623157e308, 0.1, -0.0, 1e-5, 4.71316385632163e16], "double precision", ""),
    ("REAL", [float("inf"), float("-inf")], "double precision", ""),
    ("VARCHAR(3)", ["abc", "é\n\\"], "character varying(3)", ""),
    ("VARCHAR(10485760)", ["a"], "character varying(10485760)", ""),
    ("VARCHAR(10485761)", ["a"], "text", "texts"),
    ("VARCHAR(99999999)", [], "text", "holds no value"),
    ("VARCHAR(3)", ["abcd"], "text", "4 characters, and 3 fit"),
    ("TEXT", ["\t\r\n\b\f\v\\N", "\\.", ""], "text", "texts"),
    ("BLOB", [b"", b"\x00\\"], "bytea", "blobs"),
    ("BLOB", ["a", "b"], "text", "texts"),
    ("", [1, 2], "bigint", ""),
    ("", [1, 2.5], "double precision", ""),
    ("", [2**60 + 1, 0.5], "numeric", ""),
    ("", ["a", 1], "text", ""),
    ("STRING", [1], "bigint", ""),
    # a text that looks like a number is one only where the number is written as it is
    ("", ["420", "-1"], "bigint", ""),
    ("", ["0.25", 1], "double precision", ""),
    ("", ["1.50", "0.25"], "numeric", ""),
    ("", ["00420", "007"], "text", "'00420' is a text, and no number is written so"),
    ("", [7, "+1"], "text", "'+1' is a text, and no number is written so"),
    ("", ["1e3"], "text", "'1e3' is no whole number"),
    ("", ["1.", "-0"], "text", ""),
    ("DATETIME", [], "timestamp without time zone", "holds no value"),
    ("BLOB", [None], "bytea", "holds no value"),
    ("", [], "text", "holds no value"),
]  # fmt: skip


@pytest.mark.parametrize(("declared", "values", "type_", "why"), [*SINCE_1970, *SPELLINGS], ids=repr)
def test_a_column_without_misfits_arrives_as_it_was_sent(
    across: PgDatabase, tmp_path: Path, declared: str, values: list[Any], type_: str, why: str
) -> None:
    path = made(tmp_path / "a.db", f"CREATE TABLE t (v {declared})", t=[(value,) for value in values])
    choices = chosen(path)
    (one,) = choices.columns["t"]
    assert (one.type, one.misfits) == (type_, 0)
    assert why in one.why
    assert (f"declared {declared}" if declared else "without a type") in one.why
    across.run("DROP TABLE IF EXISTS public.t")
    ((sent, came),) = brought(path, choices, across).values()
    assert len(sent) == len(values)
    assert formed(sent, choices, "t") == formed(came, choices, "t")


SECONDS = {"seconds": 1, "milliseconds": 1_000, "microseconds": 1_000_000}
MOMENTS = st.datetimes(min_value=datetime(1, 1, 2), max_value=datetime(9999, 12, 30))
TEXTS = st.text(
    st.one_of(st.sampled_from("\t\n\r\b\f\v\\\"'N.{}[]:, é€😀"), st.characters(codec="utf-8", exclude_characters="\0"))
)  # fmt: skip
BY_TYPE: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "boolean": ("BOOLEAN", st.integers(0, 1)),
    "bigint": ("INTEGER", st.integers(-(2**63), 2**63 - 1)),
    "double precision": ("REAL", st.floats(allow_nan=False)),
    "numeric": ("NUMERIC", st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))),
    "numeric(12,3)": ("DECIMAL(12,3)", st.integers(-(10**11), 10**11).map(lambda number: number / 1000)),
    "text": ("TEXT", TEXTS),
    "bytea": ("BLOB", st.binary()),
    "date": ("DATE", st.dates().map(str)),
    "time without time zone": ("TIME", st.times().map(str)),
    "timestamp without time zone": ("DATETIME", st.tuples(MOMENTS, st.sampled_from(" T")).map(lambda two: two[0].isoformat(two[1]))),
    "timestamp with time zone": (
        "TIMESTAMPTZ",
        st.tuples(MOMENTS, st.integers(-14 * 60, 14 * 60), st.sampled_from(" T")).map(
            lambda three: three[0].replace(tzinfo=timezone(timedelta(minutes=three[1]))).isoformat(three[2])
        ),
    ),
    "uuid": ("UUID", st.one_of(st.uuids().map(str), st.uuids().map(lambda one: one.hex.upper()), st.binary(min_size=16, max_size=16))),
    "json": ("JSON", st.recursive(st.one_of(st.none(), st.booleans(), st.integers(), TEXTS), st.lists).map(json.dumps)),
    "jsonb": ("JSONB", st.dictionaries(TEXTS, st.one_of(st.integers(), TEXTS)).map(json.dumps)),
}  # fmt: skip


@pytest.mark.long
@pytest.mark.parametrize("type_", BY_TYPE)
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_fits_a_type_means_the_same_there(
    across: PgDatabase, tmp_path_factory: pytest.TempPathFactory, type_: str, data: st.DataObject
) -> None:
    declared, values = BY_TYPE[type_]
    drawn = data.draw(st.lists(st.one_of(st.none(), values), min_size=1, max_size=40))
    path = made(
        tmp_path_factory.mktemp("a") / "a.db", f"CREATE TABLE t (v {declared})", t=[(one,) for one in drawn]
    )
    across.run("DROP TABLE IF EXISTS public.t")
    choices = chosen(path)
    (one,) = choices.columns["t"]
    if any(value is not None for value in drawn):
        assert (one.type, one.misfits) == (type_, 0), one
    ((sent, came),) = brought(path, choices, across).values()
    assert formed(sent, choices, "t") == formed(came, choices, "t")
    with closing(sqlite3.connect(path)) as connection:
        held = [value for (value,) in connection.execute("SELECT v FROM t ORDER BY rowid")]
    family = family_of(type_, {})
    assert family
    there = postgres_reader(family) or (lambda value: value)
    read = sqlite_reader(family)
    found = across.run("SET TimeZone = 'UTC'; SELECT v::text FROM public.t ORDER BY ctid")
    for (text,), value in zip(found, held, strict=True):
        if value is None or text is None:
            assert text is value
        elif type_ == "double precision":
            # of two shortest spellings the server may take the other one
            assert float(text) == value
        else:
            assert there(text) == (read(value) if family is not Family.BOOLEAN else str(read(value)).lower())


@pytest.mark.parametrize("unit", SECONDS)
@given(data=st.data())
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_since_1970_are_that_many_of_their_unit_there(
    across: PgDatabase, tmp_path_factory: pytest.TempPathFactory, unit: str, data: st.DataObject
) -> None:
    per_second = SECONDS[unit]
    whole = st.integers(10**8 * per_second + 1, 7_258_118_400 * per_second - 1)
    whole = whole.filter(lambda number: not IN_DIGITS.match(str(number)))
    before = st.integers(-2_208_988_800, 0) if unit == "seconds" else st.just(0)
    drawn = data.draw(st.lists(st.one_of(whole, before)).map(lambda found: [*found, 10**9 * per_second]))
    path = made(
        tmp_path_factory.mktemp("a") / "a.db", "CREATE TABLE t (v TIMESTAMP)", t=[(one,) for one in drawn]
    )
    across.run("DROP TABLE IF EXISTS public.t")
    choices = chosen(path)
    assert unit in choices.columns["t"][0].why
    ((sent, came),) = brought(path, choices, across).values()
    assert sent == came
    found = across.run(f"SELECT (extract(epoch FROM v) * {per_second})::bigint FROM public.t ORDER BY ctid")
    assert [number for (number,) in found] == drawn


def test_every_condition_that_is_carried_is_one_that_the_server_takes(
    tmp_path: Path, across: PgDatabase
) -> None:
    checks = [f"CHECK ({said})" for said, _ in CARRIED if "--" not in said]
    script = (
        "CREATE TABLE t (name TEXT, code VARCHAR(3), n INT, price DECIMAL(10,2), flag BOOLEAN, day DATE, at DATETIME, raw BLOB,"
        f' "odd name" INT, {", ".join(checks)})'
    )
    path = made(tmp_path / "a.db", script)
    across.run("DROP TABLE IF EXISTS public.t")
    choices = chosen(path)
    assert not choices.losses
    brought(path, choices, across)
    ((number,),) = across.run(
        "SELECT count(*) FROM pg_constraint WHERE conrelid = 'public.t'::regclass AND contype = 'c'"
    )
    assert number == len(checks)


def test_every_way_to_say_the_present_time_is_one_that_the_server_takes(
    tmp_path: Path, across: PgDatabase
) -> None:
    # NOW has no blanks but in its strings
    said = {kind: text.replace("ASINT", " AS INT") for text, kind in NOW.items()}
    declared = {
        "timestamp without time zone": "DATETIME",
        "timestamp with time zone": "TIMESTAMPTZ",
        "text": "TEXT",
        "date": "DATE",
        "time without time zone": "TIME",
        "bigint": "INT",
        "double precision": "REAL",
    }
    columns = [
        f"c{place} {declared[type_]} DEFAULT ({said[kind]})" for place, (kind, type_) in enumerate(THERE)
    ]
    path = made(tmp_path / "a.db", f"CREATE TABLE t ({', '.join(columns)})")
    across.run("DROP TABLE IF EXISTS public.t")
    choices = chosen(path)
    assert not choices.losses
    assert [one.type for one in choices.columns["t"]] == [type_ for _, type_ in THERE]
    brought(path, choices, across)
    (row,) = across.run("INSERT INTO public.t DEFAULT VALUES RETURNING *")
    assert None not in row


@pytest.mark.parametrize("said", [text for text, kind in NOW.items() if (kind, "text") in THERE])
def test_the_present_time_as_text_is_written_as_sqlite_writes_it(
    tmp_path: Path, across: PgDatabase, said: str
) -> None:
    path = made(tmp_path / "a.db", f"CREATE TABLE t (a INT, b TEXT DEFAULT ({said}))")
    across.run("DROP TABLE IF EXISTS public.t")
    brought(path, chosen(path), across)
    ((there,),) = across.run("INSERT INTO public.t (a) VALUES (1) RETURNING b")
    with closing(sqlite3.connect(path)) as connection:
        ((here,),) = connection.execute("INSERT INTO t (a) VALUES (1) RETURNING b")
    assert re.sub("[0-9]", "0", there) == re.sub("[0-9]", "0", here)


def test_the_present_time_is_no_act_where_the_server_calls_a_namesake_volatile(
    tmp_path: Path, pg_db: PgDatabase
) -> None:
    """As PostgreSQL 14 does."""
    pg_db.run("ALTER FUNCTION pg_catalog.timezone(text, timetz) VOLATILE")
    path = made(tmp_path / "a.db", "CREATE TABLE t (a INT, b TEXT DEFAULT CURRENT_TIMESTAMP)")
    brought(path, chosen(path), pg_db)
    assert pg_db.run("INSERT INTO public.t (a) VALUES (1) RETURNING b IS NULL") == [(False,)]


def test_a_cast_of_a_rows_own_number_keeps_it_counting(tmp_path: Path, across: PgDatabase) -> None:
    script = (
        "CREATE TABLE t (id INTEGER PRIMARY KEY, up INT REFERENCES t); INSERT INTO t VALUES (7, NULL), (8, 7)"
    )
    path = made(tmp_path / "a.db", script)
    across.run("DROP TABLE IF EXISTS public.t")
    choices = chosen(path, "t.id:int")
    assert not choices.losses
    brought(path, choices, across)
    inserted = across.run("INSERT INTO public.t (up) VALUES (7) RETURNING id, pg_typeof(id)::text")
    assert inserted == [(9, "integer")]
    across.run("DROP TABLE public.t")
    text = chosen(path, "t.id:text")
    brought(path, text, across)
    assert [one.type for one in text.columns["t"]] == ["text", "bigint"]
    assert [str(loss) for loss in text.losses] == [
        "the foreign key of t (up) to t compares columns of different types"
    ]


def test_a_name_that_the_server_keeps_for_itself_holds_the_migration_up(tmp_path: Path) -> None:
    (loss,) = chosen(made(tmp_path / "a.db", "CREATE TABLE t (xmin INT)")).losses
    assert str(loss) == "the column of t xmin has a name that PostgreSQL keeps for itself"
    assert loss.holds_up
