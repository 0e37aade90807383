"""Values of a rows file are of the kinds of JSON that their columns say, wherever its blocks are cut."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import ArchiveDamaged
from dbtasks.rows.file import Header
from dbtasks.rows.kinds import kinds_of, kinds_proved
from dbtasks.rows.schema import Column, Spelling, Table

TEXT, NUMBER, BOOLEAN, ANY = Spelling.TEXT, Spelling.NUMBER, Spelling.BOOLEAN, Spelling.ANY
HEADER = Header("public.t", ("a", "b", "c"))
KINDS = (TEXT, NUMBER, BOOLEAN)
ROWS = st.lists(
    st.tuples(
        st.none() | st.text() | st.text('\\"],[\n'),
        st.none() | st.integers(-(2**31), 2**32 - 1),
        st.none() | st.booleans(),
    ),
    max_size=8,
)


def lines(rows: Any) -> bytes:
    texts = (json.dumps(list(row), ensure_ascii=False, separators=(",", ":")) for row in rows)
    return ",\n".join(texts).encode()


def cut(text: bytes, size: int) -> Iterator[bytes]:
    return (text[at : at + size] for at in range(0, len(text), size))


def proved(text: bytes, size: int, kinds: tuple[Spelling, ...] = KINDS, header: Header = HEADER) -> bytes:
    return b"".join(kinds_proved(cut(text, size), header, kinds, "shop.json.gz"))


@given(ROWS, st.integers(1, 40))
def test_rows_as_they_are_written_come_through_unchanged(rows: list[Any], size: int) -> None:
    assert proved(lines(rows), size) == lines(rows)


def test_a_value_of_any_length_and_many_rows() -> None:
    rows = [("x" * 3_000_000, 1, True), *(("y", number, None) for number in range(5_000))]
    for size in (1 << 18, 999):
        assert len(proved(lines(rows), size)) > 3_000_000


WRONG = {
    "a bare word": (b"[word,1,true]", "a"),
    "a number for a text": (b"[1,1,true]", "a"),
    "an object": (b'[{"blob":"00"},1,true]', "a"),
    "a list": (b'[["x"],1,true]', "a"),
    "a word behind a string": (b'["x"y,1,true]', "a"),
    "a blank before it": (b'[ "x",1,true]', "a"),
    "two single quotes": (b"['x',1,true]", "a"),
    "a text for a number": (b'["x","1",true]', "b"),
    "a fraction": (b'["x",1.5,true]', "b"),
    "a number with a zero in front": (b'["x",01,true]', "b"),
    "nan": (b'["x",NaN,true]', "b"),
    "nothing": (b'["x",,true]', "b"),
    "a text for a boolean": (b'["x",1,"t"]', "c"),
    "PostgreSQL's own spelling": (b'["x",1,t]', "c"),
    "upper case": (b'["x",1,NULL]', "c"),
    "a value too few": (b'["x",1]', "b"),
    "a value too many": (b'["x",1,true,2]', "c"),
    "no bracket": (b'"x",1,true', "a"),
    "a row that has no end": (b'["x",1,true', "c"),
    "a string that has no end": (b'["x', "a"),
}


@pytest.mark.parametrize("size", [1, 7, 1 << 18])
@pytest.mark.parametrize("what", WRONG)
def test_g21_what_is_not_of_its_columns_kind_is_named(what: str, size: int) -> None:
    row, column = WRONG[what]
    fine = b'["x",1,true]'
    for text, number in (
        (row, 1),
        (fine + b",\n" + row, 2),
        *(((row + b",\n" + fine), 1),) * ("no end" not in what),
    ):
        with pytest.raises(ArchiveDamaged) as caught:
            proved(text, size)
        assert f"public.t.{column} is " in caught.value.message
        assert caught.value.message.endswith(f"in row {number}")


def test_of_a_column_that_nobody_describes_any_value_is_taken_and_still_no_bare_word() -> None:
    header = Header("public.t", ("a",))
    for value in (b'"x"', b"12", b"true", b"null"):
        assert proved(b"[%b]" % value, 3, (ANY,), header)
    with pytest.raises(ArchiveDamaged, match="is a value of JSON or null"):
        proved(b"[word]", 3, (ANY,), header)
    assert kinds_of(None, header) == (ANY,)
    table = Table("public.t", (Column("a", "integer", NUMBER),))
    assert kinds_of(table, header) == (NUMBER,)
