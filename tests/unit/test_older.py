"""The reader of older rows files: any layout, a row at a time, and nothing that is cut or twice."""

from __future__ import annotations

import io
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import ArchiveDamaged, CountsDiffer, DbTasksError, Refused
from dbtasks.formats import sniff
from dbtasks.models import Compression, Format
from dbtasks.rows.older import file as older
from dbtasks.rows.older.file import OlderSource, is_older
from dbtasks.rows.older.values import DECODER, Members, json_of
from tests.older_files import METADATA, packed, table, text_of

TABLES = {
    "customer": table(["id", "name"], [1, 'Ada "the first" ], [2\n'], [2, None], [3, "Zoë 😀"]),
    "empty": table(["a"]),
    "odd": table(["a", "b"], [[1, [2]], {"k": [1.50, True]}], ["]", "}"]),
}
LAYOUTS: dict[str, dict[str, Any]] = {
    "one line": {},
    "indented": {"indent": 4},
    "sorted keys": {"sort_keys": True},
    "as tight as it goes": {"separators": (",", ":")},
    "raw characters": {"ensure_ascii": False},
}


class Drops:
    """A stream that gives a few bytes at a time."""

    def __init__(self, data: bytes, size: int) -> None:
        self._stream = io.BytesIO(data)
        self._size = size

    def read(self, size: int = -1) -> bytes:
        del size
        return self._stream.read(self._size)


def read(text: str | bytes, size: int = 1 << 20) -> dict[str, list[list[Any]]]:
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    source = OlderSource(Drops(data, size), "x")
    found: dict[str, list[list[Any]]] = {}
    for header in source.headers():
        found[header.name] = [row for batch in source.rows() for row in batch.rows]
        assert len(found[header.name]) == source.row_count
    assert dict(source.metadata.document) == METADATA
    return found


def plain(value: Any) -> Any:
    """What json itself makes of it."""
    return json.loads(json_of(value))


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_c09_every_layout_gives_the_same_rows_however_the_stream_is_cut(layout: str, size: int) -> None:
    found = read(text_of(TABLES, **LAYOUTS[layout]), size)
    assert {name: plain(rows) for name, rows in found.items()} == {n: t["data"] for n, t in TABLES.items()}


def test_c09_tables_may_stand_before_the_metadata_and_the_count_before_the_rows() -> None:
    text = json.dumps(
        {"tables": {"a": {"row_count": 1, "columns": ["x"], "data": [[7]]}}, "metadata": METADATA}
    )
    assert read(text) == {"a": [["7"]]}


def test_b04_a_number_stays_what_it_was_written_as() -> None:
    digits = "1" * 5000 + "." + "0" * 20
    text = text_of({"a": table(["x"], ["HERE"])}).replace('"HERE"', digits)
    assert read(text) == {"a": [[digits]]}


def test_c03_a_cut_file_is_never_whole() -> None:
    data = text_of(TABLES).encode()
    for cut in range(len(data)):
        with pytest.raises(DbTasksError):
            read(data[:cut])


WRONG = {
    "a table twice": ('"empty": ', '"customer": ', "twice"),
    "another number of rows": ('"row_count": 3', '"row_count": 4', "says that it has 4"),
    "no number of rows": ('"row_count": 3', '"row_count": "3"', "how many rows"),
    "no number at all": (', "row_count": 3', "", "how many rows"),
    "a row that is too short": ("[2, null]", "[2]", "row 2 of customer"),
    "a row that is an object": ("[2, null]", '{"id": 2}', "row 2 of customer"),
    "a column twice": ('["id", "name"]', '["id", "id"]', "a column twice"),
    "a column without a name": ('["id", "name"]', '["id", 2]', "no names"),
    "a fourth part": ('"row_count": 3', '"row_count": 3, "schema": {}', "three parts"),
    "rows before columns": ('"columns": ["a"], "data": []', '"data": [], "columns": ["a"]', "before its columns"),
    "more metadata": ('"database_host"', '"layout": 1, "database_host"', "layout"),
    "less metadata": ('"timestamp"', '"timestump"', "timestamp"),
    "metadata twice": ('{"metadata"', '{"metadata": {}, "metadata"', "metadata"),
    "something behind it": ("}}}", "}}} {}", "something stands behind"),
    "no comma": ("[2, null], ", "[2, null] ", "',' is missing"),
    "no JSON": ("[2, null]", "[2, nil]", "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_g21_what_is_not_of_this_shape_is_damaged_and_named(what: str) -> None:
    old, new, said = WRONG[what]
    tables = {**TABLES, "odd": table(["a", "b"])}
    text = text_of(tables)
    assert old in text
    changed = text[::-1].replace(old[::-1], new[::-1], 1)[::-1] if old == "}}}" else text.replace(old, new, 1)
    says_more = what in ("a fourth part", "more metadata")
    with pytest.raises(Refused if says_more else (ArchiveDamaged, CountsDiffer), match=said):
        read(changed)


def test_g21_nesting_without_end_is_refused_and_nothing_overflows() -> None:
    deep = "[" * 200_000
    with pytest.raises(ArchiveDamaged, match=r"nested|ends before"):
        read(text_of({"a": table(["x"], ["HERE"])}).replace('"HERE"', deep))


def test_g21_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(ArchiveDamaged, match="UTF-8"):
        read(text_of(TABLES).encode().replace(b"Ada", b"\xff\xfe"))


def test_g21_a_value_without_end_is_refused_before_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(older, "VALUE_CHARACTERS", 1 << 16)
    with pytest.raises(ArchiveDamaged, match="more than"):
        read(text_of({"a": table(["x"], ["y" * (1 << 20)])}), 1 << 12)


def test_c09_a_file_of_ours_is_told_apart() -> None:
    assert is_older(text_of(TABLES).encode())
    assert is_older(b'{"tables": {"a": ')
    assert not is_older(b'{"metadata": {"timestamp": "x", "layout": 1},')
    assert not is_older(b'{"metadata": {"timestamp": "x", "engine": "sqlite", "schema": {"tables": [')


@pytest.mark.parametrize("layout", LAYOUTS)
def test_c09_every_layout_is_known_by_its_first_bytes(tmp_path: Path, layout: str) -> None:
    text = text_of(TABLES, **LAYOUTS[layout])
    assert sniff(packed(tmp_path, text)) == (Format.ROWS, Compression.GZIP)
    behind = json.dumps({"tables": TABLES, "metadata": METADATA}, **{**LAYOUTS[layout], "sort_keys": False})
    assert sniff(packed(tmp_path, behind)) == (Format.ROWS, Compression.GZIP)


def test_memory_does_not_grow_with_the_rows() -> None:
    row = b'[1, "' + b"y" * 1000 + b'"]'
    head = (
        b'{"metadata": %s, "tables": {"a": {"columns": ["x", "z"], "data": [' % json.dumps(METADATA).encode()
    )
    rows = 30_000

    class Endless:
        """A document of 30 MB that is nowhere whole."""

        def __init__(self) -> None:
            self._parts = iter([head, row, *[b", " + row] * (rows - 1), b'], "row_count": %d}}}' % rows])
            self._held = b""

        def read(self, size: int = -1) -> bytes:
            while len(self._held) < size and (part := next(self._parts, b"")):
                self._held += part
            block, self._held = self._held[:size], self._held[size:]
            return block

    source = OlderSource(Endless(), "x")
    tracemalloc.start()
    try:
        counted = [sum(len(batch.rows) for batch in source.rows()) for _ in source.headers()]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert counted == [rows]
    assert peak < 12 << 20


def test_json_is_written_as_it_was_read() -> None:
    text = '{"a": 1.10, "a": [1e400, null, true, "\\u0000ä"], "b": {}}'
    value = DECODER.decode(text)
    assert isinstance(value, Members)
    assert json_of(value) == text
