"""The sum of a JSON document: the same for every way to write it, another one for everything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.rows.comparison.alike import Family, postgres_reader
from dbtasks.rows.migration.json_sum import json_sum, json_sum_of

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
)
PLAIN = postgres_reader(Family.JSON)


def turned(value: Any) -> Any:
    """The same document, its names in the other order."""
    if isinstance(value, dict):
        return {name: turned(held) for name, held in reversed(value.items())}
    return [turned(held) for held in value] if isinstance(value, list) else value


@given(DOCUMENTS, st.integers(1, 7))
def test_however_it_is_written_and_cut_the_sum_is_the_same(document: Any, cut: int) -> None:
    text = json.dumps(document)
    other = json.dumps(turned(document), ensure_ascii=False, indent=1)
    parts = [other[start : start + cut] for start in range(0, len(other), cut)]
    assert (
        json_sum([text])
        == json_sum(parts)
        == json_sum([text[start : start + cut] for start in range(0, len(text), cut)])
    )


@given(DOCUMENTS, DOCUMENTS)
def test_sums_are_the_same_where_the_documents_are(one: Any, other: Any) -> None:
    assert PLAIN is not None
    first, second = json.dumps(one), json.dumps(other)
    assert (json_sum([first]) == json_sum([second])) is (PLAIN(first) == PLAIN(second))


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("[1, 2]", "[2, 1]", False),
        ("[[1], 2]", "[[1, 2]]", False),
        ('{"a": 1, "b": 2}', '{"a": 2, "b": 1}', False),
        ('{"a": {"b": 1}}', '{"a": {}, "b": 1}', False),
        ('["a", "b"]', '{"a": "b"}', False),
        ("1", '"1"', False),
        ("null", '"null"', False),
        ("[]", "{}", False),
        ("1.50", "15e-1", True),
        ("1" * 5000, "1" * 5000 + ".0", True),
        ('"' + "é" * 400 + '"', '"' + "\\u00e9" * 400 + '"', True),
        (f'"{"x" * 400}"', f'"{"x" * 401}"', False),
        ('"\\u00e9\\ud83d\\ude00\\/"', '"é😀/"', True),
        ("[" * 50_000 + "]" * 50_000, " [" * 50_000 + "] " * 50_000, True),
    ],
)
def test_what_is_another_document_has_another_sum(one: str, other: str, alike: bool) -> None:
    assert (json_sum([one]) == json_sum([other])) is (json_sum_of(one) == json_sum_of(other)) is alike
    assert json_sum([one]) == json_sum_of(one)


@given(st.text('[]{}",:\\u0d8a1 ', max_size=30), st.integers(1, 3))
def test_what_is_no_json_has_some_sum(text: str, cut: int) -> None:
    assert json_sum([text[start : start + cut] for start in range(0, len(text), cut)])
