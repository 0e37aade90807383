"""Rows backups of SQLite: each value by its own storage class, to the last bit, whatever its column was declared as."""

from __future__ import annotations

import gzip
import json
import math
import sqlite3
import struct
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbtasks
from dbtasks.errors import UsageError
from dbtasks.events import Event, OnEvent, Progress, ignore
from dbtasks.executors.backup import BackupJob
from dbtasks.models import Backup, Compression, Format, Route
from dbtasks.plans import DumpRequest
from dbtasks.rows.copy import copy_tables
from dbtasks.rows.file import FileSink
from dbtasks.rows.sqlite import source as source_module
from dbtasks.rows.sqlite.source import SqliteSource
from tests.conftest import Project
from tests.sqlite.databases import make

HOSTILE = "ta\"ble\nwith 'all' of; it -- %s"


def made_of(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.executescript(statement)
    return path


def backed_up(path: Path, root: Path, on_event: OnEvent = ignore, **request: Any) -> Backup:
    config = dbtasks.load_settings(root, environ={}, url=f"sqlite:///{path}")
    job = BackupJob(request=DumpRequest(format=Format.ROWS, **request))
    return dbtasks.backup(config, job, on_event=on_event)


def document(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rb") as stream:
        read: dict[str, Any] = json.load(stream)
    return read


def value_of(held: Any) -> Any:
    """Read one value as docs/rows.md says; text comes as its bytes, so that what is no text is told apart too."""
    if isinstance(held, str):
        return ("text", held.encode())
    if isinstance(held, dict):
        ((kind, text),) = held.items()
        read = {
            "integer": int,
            "real": float,
            "blob": bytes.fromhex,
            "text": lambda text: ("text", bytes.fromhex(text)),
        }
        return read[kind](text)
    return held


def raw(value: bytes | float | str | None) -> Any:
    return ("text", value.encode("utf-8", "surrogateescape")) if isinstance(value, str) else value


def same(held: Any, value: Any) -> bool:
    if isinstance(value, float):
        return isinstance(held, float) and struct.pack("d", held) == struct.pack("d", value)
    return type(held) is type(value) and bool(held == value)


def prove(rows: Iterable[Iterable[Any]], values: Iterable[Iterable[Any]]) -> None:
    pairs = zip(rows, values, strict=True)
    for row, expected in pairs:
        for held, value in zip(row, expected, strict=True):
            assert same(value_of(held), raw(value)), (held, value)


VALUES = (
    None,
    0,
    -1,
    2**53 - 1,
    2**53,
    -(2**53),
    2**63 - 1,
    -(2**63),
    0.0,
    -0.0,
    1.0,
    0.1 + 0.2,
    5e-324,
    1.7976931348623157e308,
    math.inf,
    -math.inf,
    "",
    "a\0b",
    "\x01\x1f\x7f\u2028\ufeff🙂",
    '"],\n["',
    "],\n[",
    "\\u0041",
    b"",
    b"\0\xff",
    b"text",
    "not utf-8: \udcff",
    "half: \udced\udca0\udc80",
)


def test_b04_b05_every_storage_class_keeps_every_bit(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE v (i INTEGER PRIMARY KEY, x)")
        for number, value in enumerate(VALUES):
            text = isinstance(value, str)
            held = value.encode("utf-8", "surrogateescape") if text else value
            connection.execute(
                f"INSERT INTO v VALUES (?, {'CAST(? AS TEXT)' if text else '?'})", (number, held)
            )
    made = backed_up(path, tmp_path)
    rows = document(made.path)["tables"]["v"]["data"]
    prove(rows, enumerate(VALUES))
    # what any reader holds exactly stands as it is, and the rest says what it is
    assert [row[1] for row in rows[3:8]] == [
        2**53 - 1,
        {"integer": str(2**53)},
        {"integer": str(-(2**53))},
        {"integer": str(2**63 - 1)},
        {"integer": str(-(2**63))},
    ]
    assert (rows[14][1], rows[23][1]) == ({"real": "inf"}, {"blob": "00ff"})


ANY = st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text() | st.binary()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(ANY, ANY, ANY), min_size=1, max_size=20), block=st.sampled_from([1, 400, 1 << 18])
)
def test_b04_any_values_in_any_column_come_back(
    rows: list[tuple[Any, ...]], block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "BATCH_BYTES", block)
    rows = [row for row in rows if not any(isinstance(v, str) and _is_lone(v) for v in row)]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE TABLE v (a, b, c)")
        connection.executemany("INSERT INTO v VALUES (?, ?, ?)", rows)
        held = _written(connection, "v")
    prove(held["data"], rows)
    assert held["row_count"] == len(rows)


def _is_lone(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _written(connection: sqlite3.Connection, table: str) -> Any:
    chunks: list[bytes] = []

    class Sink:
        def write(self, data: bytes) -> None:
            chunks.append(data)

    source = SqliteSource(connection, [table])
    sink = FileSink(Sink(), {})
    copy_tables(source, sink, source.tables)
    sink.finish()
    return json.loads(b"".join(chunks))["tables"][table]


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_b09_values_too_long_to_be_held_are_streamed(monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    monkeypatch.setattr(source_module, "LONG_BYTES", 5000)
    monkeypatch.setattr(source_module, "SLICE_BYTES", 999)
    texts = ['é🙂"\\\n' * 2000, "x" * 5001]
    rows = [
        (1, "short", None),
        (2, texts[0], b"\xff" * 9000),
        (3, "short", 1.5),
        (4, None, texts[1]),
        (9, b"\0" * 5001, 2**60),
    ]
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA encoding = '{encoding}'")
        connection.execute("CREATE TABLE v (oid INTEGER, a, b)")
        connection.executemany("INSERT INTO v VALUES (?, ?, ?)", rows)
        if encoding == "UTF-8":
            connection.execute("INSERT INTO v VALUES (10, 1, CAST(? AS TEXT))", (b"\xff" * 6000,))
            rows.append((10, 1, "\udcff" * 6000))
        connection.execute("CREATE TABLE w (a PRIMARY KEY, b) WITHOUT ROWID")
        connection.execute("INSERT INTO w VALUES (1, ?)", (texts[0],))
        prove(_written(connection, "v")["data"], rows)
        # without a rowid there is no way to it but whole
        prove(_written(connection, "w")["data"], [(1, texts[0])])


def test_b06_b07_b10_what_it_holds_and_what_it_does_not(tmp_path: Path) -> None:
    name = '"' + HOSTILE.replace('"', '""') + '"'
    path = made_of(
        tmp_path / "app.db",
        "CREATE TABLE alembic_version (version_num TEXT); INSERT INTO alembic_version VALUES ('ab12');"
        "CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE DEFAULT 'x',"
        " twice INT GENERATED ALWAYS AS (id * 2) VIRTUAL, thrice INT AS (id * 3) STORED);"
        "INSERT INTO parent (id, name) VALUES (7, 'a'); DELETE FROM parent; INSERT INTO parent (name) VALUES ('b');"
        f'CREATE TABLE {name} ({name} TEXT, "select" REFERENCES parent (id) ON DELETE CASCADE, PRIMARY KEY ("select", {name}));'
        f"INSERT INTO {name} VALUES ('v', 8);"
        f'CREATE INDEX look ON {name} ("select") WHERE "select" > 3;'
        "CREATE VIEW seen AS SELECT 1; CREATE TRIGGER fires AFTER INSERT ON parent BEGIN SELECT 1; END;"
        "CREATE VIRTUAL TABLE words USING fts5(body); INSERT INTO words VALUES ('hello')",
    )
    made = backed_up(path, tmp_path)
    assert (made.manifest.route, made.manifest.compression, made.manifest.complete) == (
        Route.FILE,
        Compression.GZIP,
        False,
    )
    assert made.manifest.all_tables
    assert made.manifest.not_included == (
        "1 view (seen)",
        "1 trigger (fires)",
        "1 virtual table (words)",
        "rowids that are no column, PRAGMA settings of the file but user_version and application_id",
    )
    assert made.manifest.counts == {"alembic_version": 1, "parent": 1, HOSTILE: 1}
    assert made.manifest.sequences == ("parent=8",)
    read = document(made.path)
    assert read["metadata"]["migration_version"] == "ab12"
    assert read["tables"]["parent"] == {"columns": ["id", "name"], "data": [[8, "b"]], "row_count": 1}
    tables = {table["name"]: table for table in read["metadata"]["schema"]["tables"]}
    assert [c.get("virtual", False) for c in tables["parent"]["columns"]] == [False, False, True, False]
    assert tables["parent"]["unique"] == [{"columns": ["name"]}]
    assert tables["parent"]["definition"].startswith("CREATE TABLE parent (")
    assert tables[HOSTILE]["primary_key"]["columns"] == ["select", HOSTILE]
    assert tables[HOSTILE]["foreign_keys"] == [
        {
            "columns": ["select"],
            "references": "parent",
            "referenced": ["id"],
            "definition": "ON DELETE CASCADE",
        }
    ]
    assert tables[HOSTILE]["indexes"][0]["name"] == "look"
    assert read["metadata"]["schema"]["sequences"] == [{"name": "parent", "last_value": 8, "table": "parent"}]


def test_b01_what_is_committed_meanwhile_is_in_no_table(tmp_path: Path) -> None:
    path = made_of(
        tmp_path / "app.db",
        "PRAGMA journal_mode = WAL; CREATE TABLE a (x); CREATE TABLE z (x);"
        "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 20000) INSERT INTO a SELECT 1 FROM n;"
        "INSERT INTO z SELECT * FROM a",
    )
    changed: list[bool] = []

    def change(event: Event) -> None:
        if isinstance(event, Progress) and not changed:
            changed.append(True)
            made_of(path, "UPDATE a SET x = 2; UPDATE z SET x = 2; INSERT INTO z VALUES (2)")

    read = document(backed_up(path, tmp_path, change).path)
    assert changed
    assert {name: sum(row[0] for row in held["data"]) for name, held in read["tables"].items()} == {
        "a": 20000,
        "z": 20000,
    }


@pytest.mark.parametrize(
    ("request_", "rows", "part"),
    [
        ({"tables": ("a",)}, {"a": 1}, "all other tables than a (it holds only a)"),
        ({"exclude_tables": ("a",)}, {"b": 0}, "table a"),
        ({"exclude_data": ("a",)}, {"b": 0}, "rows of a"),
        ({"schema_only": True}, {}, "all rows (--schema-only)"),
        ({"data_only": True}, {"a": 1, "b": 0}, "all definitions (--data-only)"),
    ],
)
def test_a_part_is_what_was_asked_for_and_says_so(
    tmp_path: Path, request_: dict[str, Any], rows: dict[str, int], part: str
) -> None:
    path = made_of(tmp_path / "app.db", "CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE TABLE b (x)")
    made = backed_up(path, tmp_path, **request_)
    read = document(made.path)
    assert {name: held["row_count"] for name, held in read["tables"].items()} == rows == made.manifest.counts
    assert made.manifest.not_included[0] == part
    assert not made.manifest.all_tables
    assert ("schema" in read["metadata"]) is not request_.get("data_only", False)


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        ({"tables": ("A",)}, "--table=A: there is no such table"),
        ({"schema_only": True, "data_only": True}, "leave nothing to back up"),
        ({"no_owner": True}, "--no-owner"),
        ({"extra": ("-x",)}, "arguments after --"),
        ({"compression": Compression.NONE}, "a rows backup is gzip"),
    ],
)
def test_what_means_nothing_is_refused_by_name(tmp_path: Path, request_: dict[str, Any], named: str) -> None:
    path = made_of(tmp_path / "app.db", "CREATE TABLE a (x)")
    with pytest.raises(UsageError, match=named):
        backed_up(path, tmp_path, **request_)


def test_it_is_verified_and_compared_and_changed_by_neither(tmp_path: Path) -> None:
    path = make(tmp_path / "app.db")
    made = backed_up(path, tmp_path)
    config = dbtasks.load_settings(tmp_path, environ={}, url=f"sqlite:///{path}")
    before = path.read_bytes()
    assert dbtasks.verify(config, [dbtasks.find(config, "latest")])[0].ok
    assert not dbtasks.diff(config, made.id).differs
    assert path.read_bytes() == before


def test_the_tasks_back_it_up_list_it_and_say_what_it_is(project: Project) -> None:
    made_of(
        project.root / "app.db", "CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE VIEW v AS SELECT 1"
    )
    project.mount()
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    done = project.invoke("db.backup", "--format=rows", **environ)
    assert done.returncode == 0, done.stderr
    assert "partial; not in it: 1 view (v)" in done.stdout
    assert "restore: invoke db.restore --file=" in done.stdout
    listed = project.invoke("db.list", **environ)
    assert "There is no complete backup of this database: latest is " in listed.stdout
    shown = project.invoke("db.show", **environ)
    assert "rows, compression gzip" in shown.stdout
    made_of(project.root / "app.db", "DELETE FROM a")
    planned = project.invoke("db.restore", "--file=latest", "--dry-run", "--json", **environ)
    assert json.loads(planned.stdout)["plan"]["fills"] == ["a"]
    assert "1 view (v)" in json.loads(planned.stdout)["plan"]["stays"]
    restored = project.invoke("db.restore", "--file=latest", "--yes", "--json", **environ)
    assert json.loads(restored.stdout)["restore"]["rows"] == 1, restored.stdout
    assert project.invoke("db.undo", "--yes", **environ).returncode == 0
