"""A row that is read value by value is the row that is read whole, wherever its pieces are cut."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.rows import cells, file
from dbtasks.rows.cells import LongBytes, LongText, cells_of
from dbtasks.rows.file import FileSink, FileSource
from dbtasks.rows.lines import Lines, read_values
from dbtasks.rows.schema import Column, Table

TEXTS = st.text(st.sampled_from('a"\\\n\t\x01é😀,]}'), max_size=80)
BYTES = st.binary(max_size=80)
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    BYTES.map(lambda value: {"blob": value.hex()}),
    BYTES.map(lambda value: {"text": value.hex()}),
    st.sampled_from([{"integer": "9223372036854775807"}, {"real": "-inf"}]),
)


def cut(line: bytes, sizes: list[int]) -> list[bytes]:
    pieces, at, number = [], 0, 0
    while at < len(line):
        size = sizes[number % len(sizes)]
        pieces.append(line[at : at + size])
        at, number = at + size, number + 1
    return pieces


def whole(cell: Any) -> Any:
    if isinstance(cell, LongText):
        return "".join(cell.parts)
    return b"".join(cell.parts) if isinstance(cell, LongBytes) else cell


@pytest.fixture(scope="module", autouse=True)
def short_values() -> Any:
    """What is long, and what is wide, begins here at a few characters."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cells, "LONG_CHARS", 32)
        patch.setattr(file, "WIDE_BYTES", 48)
        yield


@given(
    row=st.lists(VALUES, max_size=5),
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    ascii_=st.booleans(),
    spaced=st.booleans(),
)
def test_values_are_the_same_in_parts(row: list[Any], sizes: list[int], ascii_: bool, spaced: bool) -> None:
    separators = (", ", ": ") if spaced else (",", ":")
    line = json.dumps(row, ensure_ascii=ascii_, separators=separators).encode()
    assert [whole(cell) for cell in cells_of(cut(line, sizes))] == read_values(line)


@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_what_is_not_read_of_a_long_value_is_skipped(sizes: list[int]) -> None:
    line = json.dumps(["é" * 90, {"blob": "00ff" * 40}, 7], ensure_ascii=False).encode()
    kinds = [type(cell) for cell in cells_of(cut(line, sizes))]
    assert kinds == [LongText, LongBytes, int]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[",
        b"[1",
        b"[1]2",
        b"1",
        b'["' + b"a" * 99,
        b'["' + b"a" * 99 + b"\\",
        b'["' + b"a" * 99 + b'\\u12"]',
        b'["' + b"a" * 99 + b'\n"]',
        b'["' + b"\xff" * 99 + b'"]',
        b'[{"blob":"' + b"0" * 99 + b'"}]',
        b'[{"blob":"' + b"x" * 98 + b'"}]',
        b'[{"blob":"' + b"0" * 98 + b'"]',
        b'[{"integer":"' + b"0" * 500 + b'"}]',
        b'[{"other":"00"}]',
        b"[[1]]",
        b"[1,]",
        b"[" + b"1" * 500,
    ],
)
def test_what_is_no_row_is_an_error_and_no_value(line: bytes) -> None:
    for size in (1, 7, 200):
        with pytest.raises(ValueError):
            [whole(cell) for cell in cells_of(cut(line, [size]))]


class InPieces(io.RawIOBase):
    """A file that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._source, self._size = io.BytesIO(data), size

    def read(self, size: int = -1) -> bytes:
        return self._source.read(self._size)


@given(
    lengths=st.lists(st.integers(0, 150), max_size=8),
    size=st.integers(1, 300),
    reads=st.sampled_from(["whole", "nothing", "some"]),
)
def test_wide_rows_of_a_document_come_alone_and_none_is_lost(
    lengths: list[int], size: int, reads: str
) -> None:
    table = Table("t", (Column("a", "int"), Column("b", "text")))
    rows = [[number, "x" * length] for number, length in enumerate(lengths)]
    buffer = io.BytesIO()
    sink = FileSink(buffer, {})
    lines = [json.dumps(row, separators=(",", ":")).encode() for row in rows]
    for _ in range(2):
        sink.take(table, iter([Lines(1, line) for line in lines]))
    sink.finish()
    source = FileSource(InPieces(buffer.getvalue(), size), "document")
    for _ in range(2):
        found = []
        next(source.headers())
        for batch in source.rows(table):
            held = batch.cells()
            if held is None:
                assert len(b"".join(batch.lines())) <= 48 + 300 * 2
                found += batch.values()
            elif reads == "whole":
                found.append([whole(cell) for cell in held])
            else:
                if reads == "some":
                    next(held)
                found.append(rows[len(found)])
        assert found == rows
        assert source.row_count == len(rows)
    assert next(source.headers(), None) is None
