"""Numbers of a migration are held against what their texts say, by another reading than the one that spells them."""

from __future__ import annotations

import re

import pytest

from dbtasks.rows.across import numerals
from dbtasks.rows.across.spellers import speller

HOWS = ("smallint", "bigint", "double", "real", "numeric", "numeric:12,3")


OTHERS = ("1_000", "1_0.5", "１２", "٣", "१.५")
"""Which Python reads, and nobody else."""


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("text", [*OTHERS, " 12 ", "nan", "NaN", "inf", "Infinity", "-Infinity"])
def test_what_the_server_or_sqlite_reads_otherwise_is_no_number(how: str, text: str) -> None:
    assert "no" in speller(how).fits(text)


@pytest.mark.parametrize("how", ["double", "real", "numeric", "numeric:12,3"])
@pytest.mark.parametrize("text", OTHERS)
def test_what_only_python_reads_is_none_even_where_the_words_for_numbers_are_too_wide(
    monkeypatch: pytest.MonkeyPatch, how: str, text: str
) -> None:
    monkeypatch.setattr(numerals, "DECIMAL", re.compile(r".*", re.DOTALL))
    assert "is no number that is kept as it is" in speller(how).fits(text) or how == "real"
    assert speller(how).fits(text)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize(("text", "spelled"), [("7", "7"), ("+7", "7"), ("007", "7"), ("-12", "-12")])
def test_a_text_is_the_number_that_it_says(how: str, text: str, spelled: str) -> None:
    assert speller(how).spell((text,))[0].removesuffix(".000") == spelled


@pytest.mark.parametrize("how", ["numeric", "bigint", "numeric:5,2"])
def test_a_zero_has_no_sign_where_the_type_has_none(how: str) -> None:
    assert float(speller(how).spell(("-0",))[0]) == 0
    assert "-" not in speller(how).spell(("-0",))[0]
