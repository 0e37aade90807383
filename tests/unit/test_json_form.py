"""Whether a text in parts is JSON: as Python's own reader says, wherever the parts end."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtasks.rows.across.json_form import DEEPEST, _Reader, is_json, why_no_json

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()
)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)), max_leaves=30
)


def cut(text: str, size: int) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def is_read(text: str) -> bool:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    try:
        json.loads(text, parse_constant=no_constant)
    except ValueError:
        return False
    return True


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.integers(1, 60))
def test_what_json_writes_is_json_wherever_it_is_cut(
    document: Any, ascii_: bool, indent: int | None, size: int
) -> None:
    text = json.dumps(document, ensure_ascii=ascii_, indent=indent)
    assert is_json(cut(text, size))
    assert is_json([text])


@settings(max_examples=500)
@given(DOCUMENTS, st.data(), st.integers(1, 60))
def test_what_is_no_json_any_more_is_told_as_pythons_own_reader_tells_it(
    document: Any, data: st.DataObject, size: int
) -> None:
    text = json.dumps(document)
    at = data.draw(st.integers(0, len(text)))
    spoilt = text[:at] + data.draw(
        st.sampled_from(['"', ",", "[", "}", ":", "\\", "0", "-", "\x01", " ", "e", ""])
    )
    spoilt += text[at + data.draw(st.integers(0, 2)) :]
    assert is_json(cut(spoilt, size)) == is_json([spoilt]) == is_read(spoilt)


@pytest.mark.parametrize(
    "text",
    ["", " ", "[1,]", '{"a":1,}', "[1 2]", "[,1]", "[01]", "[1.]", "[.5]", "[+1]", "[NaN]", "[Infinity]", "[1,-]", "[1,2,3", "{1:2}", '{"a",1}', '["\t"]', "[] []", "[1,2,],", '{"a":1,"b"}', "[tru]", "['a']"],
)  # fmt: skip
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_is_none(text: str, size: int) -> None:
    assert not is_json(cut(text, size))


@pytest.mark.parametrize("size", [7, 1 << 18])
def test_so_deep_and_no_deeper(size: int) -> None:
    deep = "[" * DEEPEST + "]" * DEEPEST
    assert is_json(cut(deep, size))
    assert not is_json(cut(f"[{deep}]", size))
    assert is_json(cut(json.dumps([["[{" * 2000, {"a": [[]] * 2000}]]), size))


@pytest.mark.parametrize("size", [7, 1 << 18])
@pytest.mark.parametrize("number", ["9" * 4300, "9" * 4301, "0." + "1" * 4299, "1e" + "1" * 4300])
def test_a_number_is_so_long_and_no_longer(number: str, size: int) -> None:
    for text in (number, f"[1, {number}]", f'{{"a": {number}, "b": 1}}', f"[[{number}]]"):
        assert is_json(cut(text, size)) == (len(number) <= 4300)


@pytest.mark.parametrize("size", [1, 5, 1 << 18])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[{"a": 1, "b": {"a": 2}}, {"a": 1}]', ""),
        ('[{"a": 1, "\\u0061": 2}]', "has a name twice"),
        ('{"x": [1, {"a": 1, "b": 1, "a": 1}]}', "has a name twice"),
        ('["\\u0000"]', "holds a zero character"),
        ('["\\\\u0000"]', ""),
        ('["\\\\\\u0000"]', "holds a zero character"),
        ('["\\ud83d\\ude00"]', ""),
        ('["\\ud83d"]', "holds half a character"),
        ('["\\ud83d x \\ude00"]', "holds half a character"),
        ('["\\ude00"]', "holds half a character"),
        ('{"\\ud83d": 1}', "holds half a character"),
        ('[1, "x", {"a" 1}]', "is no JSON"),
        ('{"lat": -0.0, "x": 1}', "holds a zero below zero"),
        ('[[1, -0, 2], "x"]', "holds a zero below zero"),
        ("[1, -0.000, 2]", "holds a zero below zero"),
        ("[1, -0e5, 2]", "holds a zero below zero"),
        ('["-0", -0.05, -0.5e1, -10, 0.0, [-0.7], {"-0": -0.01}]', ""),
    ],
)
def test_why_jsonb_does_not_keep_it(text: str, why: str, size: int) -> None:
    told = why_no_json(cut(text, size), binary=True)
    assert told.startswith(why)
    assert bool(told) == bool(why)


FORMS = {
    "rows": lambda: json.dumps(
        [{"id": i, "name": f"n{i}", "tags": ["a", "b"], "at": None} for i in range(40_000)]
    ),
    "numbers": lambda: json.dumps(list(range(300_000))),
    "one object": lambda: json.dumps({f"k{i}": i for i in range(120_000)}),
    "a chain": lambda: '{"a": ' * 800 + json.dumps([[i, [i] * 9] for i in range(60_000)]) + "}" * 800,
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_held_whole_is_not_read_token_by_token(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, taken = f"[{FORMS[form]()}]", 0
    take = _Reader._take

    def counted(reader: _Reader) -> str:
        nonlocal taken
        taken += 1
        return take(reader)

    monkeypatch.setattr(_Reader, "_take", counted)
    assert is_json(cut(text, 1 << 18))
    marks = sum(map(text.count, ",:[]{}"))
    assert taken < marks / 10
    if form != "one object":
        # each of its names has to be seen
        assert not why_no_json(cut(text, 1 << 18), binary=True)
        assert taken < marks / 5
