"""The rows file as a sink and as a source: what was written comes back, wherever the bytes are cut."""

from __future__ import annotations

import io
import json
import random
import threading
from collections.abc import Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.errors import ArchiveDamaged, CountsDiffer, DumpFailed
from dbtasks.rows import Batch
from dbtasks.rows import file as file_module
from dbtasks.rows.copy import copy_tables
from dbtasks.rows.file import FileSink, FileSource
from dbtasks.rows.lines import from_csv, from_values, string_part
from dbtasks.rows.postgres.pulled import pulled
from dbtasks.rows.schema import (
    Check,
    Column,
    ForeignKey,
    Index,
    Key,
    PortableSchema,
    Sequence,
    Spelling,
    Table,
    UserType,
    document_of,
    schema_from,
)

VALUES = st.none() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=("Cs",)))
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=8)


class Given:
    """A source of rows in batches of some size."""

    schema = PortableSchema()

    def __init__(self, rows: dict[str, list[tuple[Any, ...]]], batch: int = 3) -> None:
        self._rows = rows
        self._batch = batch

    def rows(self, table: Table) -> Generator[Batch]:
        held = self._rows[table.name]
        for start in range(0, len(held), self._batch):
            yield from_values(held[start : start + self._batch])


class Cut(io.RawIOBase):
    """Bytes that come in pieces of any size."""

    def __init__(self, data: bytes, sizes: random.Random) -> None:
        self._stream = io.BytesIO(data)
        self._sizes = sizes

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(min(size, self._sizes.choice((1, 2, 3, 7, 50))) if size > 0 else 1)


def table(name: str) -> Table:
    return Table(name, (Column("a", "int"), Column("b", "text"), Column("c", "int", generated="a + 1")))


def written(rows: dict[str, list[tuple[Any, ...]]], batch: int = 3, **metadata: Any) -> bytes:
    buffer = io.BytesIO()
    sink = FileSink(buffer, metadata)
    counts = copy_tables(Given(rows, batch), sink, [table(name) for name in rows])
    assert counts == {name: len(held) for name, held in rows.items()}
    sink.finish()
    assert sink.size_bytes == len(buffer.getvalue())
    return buffer.getvalue()


@given(held=st.lists(ROWS, max_size=4), seed=st.integers(0, 2**32))
def test_b04_what_was_written_is_one_json_document_and_comes_back(
    held: list[list[tuple[Any, ...]]], seed: int
) -> None:
    rows = {f'ta"ble\n{number}': given_ for number, given_ in enumerate(held)}
    data = written(rows)
    read = json.loads(data)
    assert {name: one["data"] for name, one in read["tables"].items()} == {
        name: [list(row) for row in held] for name, held in rows.items()
    }
    assert all(one["columns"] == ["a", "b"] for one in read["tables"].values())
    sizes = random.Random(seed)
    source = FileSource(Cut(data, sizes), "x")
    back = {}
    for header in source.headers():
        assert header.columns == ("a", "b")
        if sizes.random() < 0.3:
            # passed over, and counted all the same
            del rows[header.name]
            continue
        batches = list(source.rows(table(header.name)))
        back[header.name] = [tuple(row) for batch in batches for row in batch.values()]
        assert [len(batch.values()) for batch in batches] == [batch.count for batch in batches]
        assert source.row_count == len(back[header.name])
    assert back == rows
    assert source.size_bytes == len(data)


@given(held=ROWS, seed=st.integers(0, 2**32))
def test_b04_a_file_copied_into_a_file_is_the_same_file(held: list[tuple[Any, ...]], seed: int) -> None:
    data = written({"a": held, "b": [], "c": held})
    buffer = io.BytesIO()
    sink = FileSink(buffer, {})
    source = FileSource(Cut(data, random.Random(seed)), "x")
    copy_tables(source, sink, [table(name) for name in "abc"])
    sink.finish()
    assert buffer.getvalue() == data


def test_definitions_longer_than_a_reader_takes_are_told_when_they_are_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(file_module, "LINE_BYTES", 1 << 20)
    written({"a": []})
    with pytest.raises(DumpFailed, match="the definitions take 1 MB"):
        FileSink(io.BytesIO(), {"schema": "x" * (1 << 20)})


def test_a_table_that_was_passed_does_not_come_again() -> None:
    source = FileSource(io.BytesIO(written({"a": [(1, "x")], "b": [(2, "y")]})), "x")
    assert [list(batch.values()) for batch in source.rows(table("b"))] == [[[2, "y"]]]
    with pytest.raises(ValueError, match="a does not come any more"):
        next(source.rows(table("a")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'{"metadata": {', b'{"other": {', "does not begin as a rows file"),
        (b'"layout": 1', b'"layout": "1"', "its layout is '1'"),
        (
            b'"layout": 1',
            b'"layout": 1, "schema": {"tables": [{"colour": 1}]}',
            "its metadata cannot be read",
        ),
        (b'"tables": {', b'"rows": {', "its tables do not follow"),
        (b'"columns": ["a", "b"]', b'"columns": 7', "what stands before a table's rows cannot be read"),
        (b'"row_count": 2}', b'"rows": 2}', "a line of a is no row"),
        pytest.param(
            b'"row_count": 2}', b'"row_count": ' + b"9" * 5000 + b"}", "a line of a is no row", id="long"
        ),
        (b'],\n[2,"y"]', b']\n[2,"y"]', "a line of a is no row"),
        (b'[1,"x"]', b' [1,"x"]', "a line of a is no row"),
        (b'[2,"y"]', b'[2,"y",', "a line of a is no row"),
        (b"}}\n", b"}}\n\n", "something stands behind its end"),
        (b"}}\n", b"", "ends before its end"),
        (b"\n], ", b"\n] ", "a line of a is no row"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_c03_c04_what_is_not_as_it_was_written_is_damage(
    old: bytes, new: bytes, said: str, seed: int
) -> None:
    data = written({"a": [(1, "x"), (2, "y")]})
    assert data.count(old) == 1
    with pytest.raises(ArchiveDamaged, match=said):
        source = FileSource(Cut(data.replace(old, new), random.Random(seed)), "x")
        for _ in source.headers():
            pass


def test_c09_a_document_of_the_same_shape_by_another_program_is_told_apart() -> None:
    theirs = json.dumps(
        {"metadata": {"timestamp": "x"}, "tables": {"a": {"columns": [], "data": []}}}
    ).encode()
    with pytest.raises(ArchiveDamaged) as caught:
        FileSource(io.BytesIO(theirs), "x")
    assert (
        caught.value.hint == "a rows file is read as it was written: laid out anew by another tool it is not"
    )


def test_c03_it_ends_nowhere_but_at_its_end() -> None:
    data = written({"a": [(1, "x"), (2, "y")], "b": []})
    for cut in range(len(data)):
        with pytest.raises(ArchiveDamaged):
            for _ in FileSource(io.BytesIO(data[:cut]), "x").headers():
                pass


def test_c03_a_row_too_many_or_too_few_is_told() -> None:
    data = written({"a": [(1, "x"), (2, "y")]})
    for wrong in (data.replace(b'"row_count": 2', b'"row_count": 3'), data.replace(b'[1,"x"],\n', b"")):
        with pytest.raises(CountsDiffer, match=r"x: a holds \d rows, and says that it has \d"):
            list(FileSource(io.BytesIO(wrong), "x").headers())


# -- lines --------------------------------------------------------------------------------------

CSV = st.lists(
    st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",))), min_size=1),
    min_size=1,
)


@given(rows=CSV)
def test_b04_lines_are_made_of_csv_whatever_stands_in_it(rows: list[list[str]]) -> None:
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    sent = [(",".join(map(quoted, row)) + "\n").encode() for row in rows]
    lines = from_csv(sent)
    assert lines.count == len(rows)
    assert list(lines.values()) == rows
    assert lines.text.count(b"\n") == len(rows) - 1


@given(text=st.text(st.characters(exclude_categories=("Cs",))), cut=st.integers(0, 50))
def test_b09_a_text_cut_anywhere_is_the_same_text(text: str, cut: int) -> None:
    data = text.encode()
    assert json.loads(b'"%b%b"' % (string_part(data[:cut]), string_part(data[cut:]))) == text


# -- the schema -----------------------------------------------------------------------------------


def test_a_schema_comes_back_from_its_document() -> None:
    columns = (
        Column("id", "integer", Spelling.NUMBER, not_null=True, identity="always"),
        Column("x", "text", default="'a'", collation="public.c"),
        Column("y", "int", generated="id * 2", virtual=True),
    )
    schema = PortableSchema(
        ("App",),
        (
            UserType("mood", "enum", labels=("a", "b")),
            UserType("even", "domain", base="integer", not_null=True, checks=(Check("c", "CHECK (true)"),)),
            UserType("pair", "composite", attributes=(Column("a", "int"),)),
        ),
        (
            Table(
                "t",
                columns,
                Key(("id",), "t_pkey", "PRIMARY KEY (id)"),
                (Key(("x", "id")),),
                (ForeignKey(("id",), "u", ("id",)),),
                (Check("c", "CHECK (id > 0)"),),
                (Index("i", "CREATE INDEX i ON t (x)"),),
                partition_by="LIST (x)",
                inherits=("p",),
                unlogged=True,
            ),
            Table("u"),
        ),
        (Sequence("s", 7, is_called=False, type="bigint", minimum=1, maximum=9, table="t", column="id"),),
    )
    document = json.loads(json.dumps(document_of(schema)))
    assert schema_from(document) == schema
    assert schema.table("u") == Table("u")
    assert [column.name for column in schema.tables[0].data_columns] == ["id", "x"]
    # what is as it mostly is takes no room
    assert document["tables"][1] == {"name": "u"}


# -- pulling what is pushed -----------------------------------------------------------------------


def _numbers(put: Any) -> None:
    for number in range(100):
        put(number)


def test_what_is_pushed_comes_in_order_and_a_failure_comes_behind_it() -> None:
    cancelled: list[bool] = []
    assert list(pulled(_numbers, lambda: cancelled.append(True))) == list(range(100))

    def fails(put: Any) -> None:
        put(1)
        raise OSError("gone")

    got: list[int] = []
    with pytest.raises(OSError, match="gone"):
        for number in pulled(fails, lambda: cancelled.append(True)):
            got.append(number)
    assert got == [1]
    assert cancelled == []


def test_whoever_leaves_early_cancels_and_waits_for_the_thread() -> None:
    cancelled: list[bool] = []
    stream = pulled(_numbers, lambda: cancelled.append(True))
    assert next(stream) == 0
    stream.close()
    assert cancelled == [True]
    assert threading.active_count() == 1
