"""Which type a column gets on the other engine; the tables in docs/rows.md are those of `rows.mapping`."""

from __future__ import annotations

from typing import Any

import pytest

from dbtasks.rows.across.mapping import (
    FROM_POSTGRES,
    FROM_SQLITE,
    Attempt,
    Chosen,
    declared_for,
    not_kept,
    type_for,
)
from dbtasks.rows.across.profile import Profile
from dbtasks.rows.postgres.spelling import type_of
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs/rows.md").read_text("utf-8")


def profile(*values: Any) -> Profile:
    found = Profile()
    for value in values:
        found.add(value)
    return found


def line_of(attempt: Attempt) -> str:
    """Return the line of the page that says the same."""
    words = ", ".join(f"`{word}`" for word in attempt.words) or "anything"
    values = " and ".join(sorted(attempt.kinds))
    if attempt.flag:
        values += ", all 0 or 1"
    if attempt.form:
        values += f", each a {attempt.form}"
    if attempt.finite:
        values += ", none infinite"
    return f"| {words} | {values} | {attempt.type} |"


@pytest.mark.parametrize("attempt", FROM_SQLITE, ids=line_of)
def test_the_page_shows_how_types_come_from_sqlite(attempt: Attempt) -> None:
    assert line_of(attempt) in PAGE


def test_the_lines_stand_in_the_order_in_which_they_are_tried() -> None:
    places = [PAGE.index(line_of(attempt)) for attempt in FROM_SQLITE]
    assert places == sorted(places)


@pytest.mark.parametrize(("name", "found"), FROM_POSTGRES.items())
def test_the_page_shows_how_types_come_from_postgresql(name: str, found: tuple[str, str]) -> None:
    assert f"| {name} | {found[0]} |" in PAGE


@pytest.mark.parametrize(
    ("declared", "values", "type_"),
    [
        ("BOOLEAN", (0, 1, None), "boolean"),
        ("BOOLEAN", (0, 2), "bigint"),
        ("tinyint", (1,), "bigint"),
        ("DATETIME", ("2024-01-01 00:00:00",), "timestamp without time zone"),
        ("DATETIME", ("2024-01-01 00:00:00.10",), "text"),
        ("DATETIME", ("2024-02-30 00:00:00",), "text"),
        ("DATETIME", ("2024-01-01T00:00:00Z",), "text"),
        ("DATETIME", (1700000000,), "bigint"),
        ("DATE", ("2024-01-01",), "date"),
        ("DATE", ("0000-01-01",), "text"),
        ("UUID", ("00000000-0000-0000-0000-00000000000A",), "text"),
        ("JSON", ("[NaN]",), "text"),
        ("VARCHAR(3)", ("abc",), "character varying(3)"),
        ("VARCHAR(3)", ("abcd",), "text"),
        ("NUMERIC(4,2)", (12.34, 1), "numeric(4,2)"),
        ("NUMERIC(4,2)", (12.345,), "numeric"),
        ("NUMERIC(4,2)", (123,), "numeric"),
        ("REAL", (float("inf"),), "double precision"),
        ("NUMERIC", (float("inf"),), "double precision"),
        ("", (1, 1.5), "numeric"),
        ("", (b"x",), "bytea"),
        ("INTEGER", (), "bigint"),
        ("NVARCHAR(9)", (None,), "character varying(9)"),
    ],
)
def test_values_decide_what_a_declared_type_becomes(
    declared: str, values: tuple[Any, ...], type_: str
) -> None:
    chosen = type_for(declared, profile(*values))
    assert chosen
    assert chosen.type == type_


@pytest.mark.parametrize(
    "values", [(1, "x"), ("x", b"x"), (1.5, b""), (float("inf"), 1, "x"), ("a\0",), ("\udcff",)]
)
def test_what_no_type_holds_gets_none(values: tuple[Any, ...]) -> None:
    assert type_for("TEXT", profile(*values)) is None


@pytest.mark.parametrize(
    ("type_", "declared"),
    [
        ("integer", "INTEGER"),
        ("numeric(10,2)", "NUMERIC(10,2)"),
        ("numeric(20,2)", "TEXT"),
        ("numeric", "TEXT"),
        ("character varying(20)", "VARCHAR(20)"),
        ("integer[]", "TEXT"),
        ("public.mood", "TEXT"),
        ("timestamp with time zone", "TEXT"),
        ("jsonb", "TEXT"),
    ],
)
def test_types_of_postgresql_become_what_sqlite_keeps_them_as(type_: str, declared: str) -> None:
    assert declared_for(type_of(type_)).type == declared


@pytest.mark.parametrize(
    ("declared", "values", "why"),
    [
        (
            "TIMESTAMP",
            ("2024-01-01 00:00:00", None, "2024-01-01 00:00:00.120"),
            "the text in row 3 would not",
        ),
        ("DATETIME", ("2024-01-01",), "the text in row 1 would not"),
        ("GUID", ("00000000-0000-0000-0000-00000000000A",), "the text in row 1 would not"),
        ("INT", (1, 2.5, "x"), "it holds 1 real and 1 text"),
        ("BOOLEAN", (0, 2), "it holds other integers than 0 and 1"),
        ("NUMERIC", (float("inf"),), "it holds infinity"),
        ("DECIMAL(4,2)", (123, 0.125), "its numbers have up to 3 digits before the point and 3 behind it"),
        ("VARCHAR(3)", ("abcd",), "its longest text has 4 characters"),
        ("TEXT", (b"x",), "it holds 1 blob"),
        ("DECIMAL(4,2)", (12.5,), ""),
        ("VARCHAR(3)", ("abc",), ""),
        ("DATE", (None,), ""),
        ("", ("x",), ""),
        ("MONEY", (1, 2.5), ""),
    ],
)
def test_a_declared_type_that_is_not_kept_is_told_with_the_reason(
    declared: str, values: tuple[Any, ...], why: str
) -> None:
    known = profile(*values)
    # where no type holds them there is another word for it
    chosen = type_for(declared, known) or Chosen("text", "as it is")
    assert not_kept(declared, known, chosen).startswith(why)
    assert bool(why) == bool(not_kept(declared, known, chosen))
