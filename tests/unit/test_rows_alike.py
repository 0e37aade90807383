"""Values of two engines are equal when they mean the same, by the table in docs/diff.md, and never by a guess."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.rows.comparison.alike import Family, Unlike, family_of, number_of, postgres_reader, sqlite_reader
from tests.conftest import REPOSITORY


def same(family: Family, of_sqlite: Any, of_postgres: Any) -> bool:
    read = postgres_reader(family) or (lambda value: value)
    return repr(sqlite_reader(family)(of_sqlite)) == repr(read(of_postgres))


@pytest.mark.parametrize(
    ("type_", "family"),
    [
        ("bigint", Family.NUMBER),
        ("numeric(12,2)", Family.NUMBER),
        ("character varying(20)", Family.TEXT),
        ("character(3)", Family.PADDED),
        ("timestamp(3) with time zone", Family.INSTANT),
        ("timestamp without time zone", Family.TIMESTAMP),
        ("integer[]", Family.WORDS),
        ("public.mood", Family.WORDS),
        ("public.even", Family.NUMBER),
        ("public.evener", Family.NUMBER),
        ("", None),
    ],
)
def test_a_type_is_known_with_its_modifier_and_a_domain_by_what_it_stands_on(
    type_: str, family: Family | None
) -> None:
    domains = {"public.even": "numeric(5,0)", "public.evener": "public.even", "public.ring": "public.ring"}
    assert family_of(type_, domains) is family
    assert family_of("public.ring", domains) is Family.WORDS, "a crafted schema does not hold it up"


SAME = [
    (Family.NUMBER, 1, "1"),
    (Family.NUMBER, 1.0, "1"),
    (Family.NUMBER, "1.00", "1.0"),
    (Family.NUMBER, 0.1, "0.1000"),
    (Family.NUMBER, -0.0, "-0"),
    (Family.NUMBER, "-0.00e5", "-0"),
    (Family.NUMBER, 1e22, "10000000000000000000000"),
    (Family.NUMBER, float("inf"), "Infinity"),
    (Family.NUMBER, -(2**63), "-9223372036854775808"),
    (Family.NUMBER, "12345678901234567890.123456789", "12345678901234567890.123456789"),
    (Family.BOOLEAN, 1, True),
    (Family.BOOLEAN, "FALSE", False),
    (Family.TEXT, "5", "5"),
    (Family.TEXT, 5, "5"),
    (Family.PADDED, "ab", "ab   "),
    (Family.BYTES, b"\x00\xff", "\\x00ff"),
    (Family.UUID, "6F9619FF8B86D011B42D00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    (Family.UUID, b"\x11" * 16, "11111111-1111-1111-1111-111111111111"),
    (Family.DATE, "2026-02-24 00:00:00", "2026-02-24"),
    (Family.TIME, "15:03", "15:03:00"),
    (Family.TIMESTAMP, "2026-02-24T15:03:20.500", "2026-02-24 15:03:20.5"),
    (Family.TIMESTAMP, "2026-02-24", "2026-02-24 00:00:00"),
    (Family.TIMESTAMP, "2026-02-24 15:03:20+00:00", "2026-02-24 15:03:20"),
    (Family.TIMESTAMP, "infinity", "infinity"),
    (Family.TIMESTAMP, "0044-03-15 12:00:00 BC", "0044-03-15 12:00:00 BC"),
    (Family.INSTANT, "2026-02-24 17:03:20+02:00", "2026-02-24 15:03:20+00"),
    (Family.INSTANT, "2026-02-24 15:03:20", "2026-02-24 15:03:20+00"),
    (Family.JSON, '{"b":1.0, "a":[true,null]}', '{"a": [true, null], "b": 1}'),
    (Family.JSON, 7, "7.0"),
    (Family.JSON, '{"a":1,"b":0,"a":2}', '{"b": 0, "a": 1.0, "a": 2}'),
    (Family.WORDS, "{1,2}", "{1,2}"),
]
UNEQUAL = [
    (Family.NUMBER, 1, "1.0000000000000000000000001"),
    (Family.NUMBER, 9007199254740993, "9007199254740992"),
    (Family.NUMBER, "NaN", "Infinity"),
    (Family.NUMBER, -0.0, "0"),
    (Family.NUMBER, 0, "-0"),
    (Family.TEXT, "5", "5.0"),
    (Family.TEXT, "a ", "a"),
    (Family.DATE, "2026-02-24 00:00:01", "2026-02-24"),
    (Family.TIMESTAMP, "2026-02-24 15:03:20+02:00", "2026-02-24 15:03:20"),
    (Family.TIMESTAMP, "2026-02-24 15:03:20.0000001", "2026-02-24 15:03:20"),
    (Family.INSTANT, "2026-02-24 15:03:20+02", "2026-02-24 15:03:20+00"),
    (Family.JSON, '{"a": "1"}', '{"a": 1}'),
    (Family.JSON, "[1, 2]", "[2, 1]"),
    (Family.JSON, '{"a": true}', '{"a": 1}'),
    (Family.JSON, '{"a": 1, "a": 2}', '{"a": 2}'),
    (Family.JSON, '{"a": 1, "a": 2}', '{"a": 2, "a": 1}'),
]
WITHOUT_A_RULE = [
    (Family.NUMBER, b"1"),
    (Family.BOOLEAN, 2),
    (Family.BOOLEAN, "yes"),
    (Family.TEXT, 1.5),
    (Family.TEXT, b"a"),
    (Family.BYTES, "a"),
    (Family.UUID, b"short"),
    (Family.DATE, 0),
    (Family.TIMESTAMP, 1771945400),
    (Family.INSTANT, 1771945400.5),
    (Family.WORDS, 5),
]


@pytest.mark.parametrize(("family", "of_sqlite", "of_postgres"), SAME)
def test_what_means_the_same_is_the_same(family: Family, of_sqlite: Any, of_postgres: Any) -> None:
    assert same(family, of_sqlite, of_postgres)


@pytest.mark.parametrize(("family", "of_sqlite", "of_postgres"), UNEQUAL)
def test_what_does_not_is_not(family: Family, of_sqlite: Any, of_postgres: Any) -> None:
    assert not same(family, of_sqlite, of_postgres)


@pytest.mark.parametrize(("family", "value"), WITHOUT_A_RULE)
def test_what_no_rule_brings_together_is_not_guessed(family: Family, value: Any) -> None:
    with pytest.raises(Unlike):
        sqlite_reader(family)(value)


@given(st.decimals(allow_nan=False, allow_infinity=False), st.integers(0, 5))
def test_every_spelling_of_a_number_is_one_and_no_other_number_is(number: Decimal, zeros: int) -> None:
    plain = str(number)
    assert number_of(plain) == number_of(
        str(number.normalize()) if len(number.as_tuple().digits) < 28 else plain
    )
    if "E" not in plain:
        padded = plain + ("" if "." in plain else ".") + "0" * zeros
        assert number_of(padded) == number_of(plain)
    more = number + Decimal(1).scaleb(int(number.as_tuple().exponent))
    if more != number:
        assert number_of(str(more)) != number_of(plain)


@given(st.floats(allow_nan=False))
def test_a_float_is_the_number_that_postgresql_writes_for_it(value: float) -> None:
    words = {"inf": "Infinity", "-inf": "-Infinity"}
    assert number_of(value) == number_of(words.get(str(value), repr(value)))


def test_a_number_of_a_million_digits_stays_as_short_as_it_is_written() -> None:
    assert number_of("1e999999") == "1e999999"
    assert number_of("1e9999999") == "1e9999999", "beyond any number it is a text"


def test_a_number_is_written_so_that_people_can_read_it_in_a_key() -> None:
    forms = {"12.50": "12.5", "-0.05": "-0.05", "9223372036854775807": "9223372036854775807", "1e2": 100}
    assert {text: number_of(text) for text in forms} == forms
    assert number_of(2**63 - 1) == "9223372036854775807"


def test_the_page_has_a_row_for_every_family() -> None:
    section = (REPOSITORY / "docs" / "diff.md").read_text("utf-8").partition("### Equal between")[2]
    named = set(re.findall(r"[a-z]+", " ".join(re.findall(r"^\| (.*?) \|", section, re.MULTILINE))))
    words = {
        "number": "numeric",
        "character": "char",
        "timestamp with time zone": "timestamptz",
        "words": "other",
    }
    assert {words.get(family, str(family)) for family in Family} <= named
