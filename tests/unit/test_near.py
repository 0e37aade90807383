"""Names that were meant: by case, by one letter, with and without a schema."""

from __future__ import annotations

import pytest

from dbtasks.near import did_you_mean

THERE = ["public.customer", "public.Orders", "item"]


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("custmer", "did you mean public.customer?"),
        ("public.custmer", "did you mean public.customer?"),
        ("orders", "did you mean public.Orders? Upper and lower case count"),
        ("items", "did you mean item?"),
        ("nosuch", ""),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_those_that_are_near(name: str, asked: str) -> None:
    assert did_you_mean(name, THERE) == asked
