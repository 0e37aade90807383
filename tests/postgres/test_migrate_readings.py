"""No text becomes a value that the server, or SQLite, would read otherwise: whatever Python's own readers make of it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal

import pytest

from tests.postgres.leaving import Move, move

__all__ = ["move"]

UUID = "6f9619ff-8b86-d011-b42d-00cf4fc964ff"
DAY = "2024-01-01"
TEXTS = [
    *("1", "-1", "+1", "0", "-0", "-0.0", "007", "1.5", "1.", "0.1", ".5", "1e3", "1E-3", "0e0", "1.50"),
    *("1e400", "-1e400", "1e-400", "1e39", "1e-50", "1_000", "1_0.5", "1e1_0", "0x1F", "0b11", "0o17", "1e", "e1"),
    *("１２", "٣", "১.৫", "12 ", " 12", "\t12\n", "12\n", "\xa012", "", "-", "--1", "1,000", "1 000", "1.5.5"),
    *("NaN", "nan", "-nan", "inf", "-inf", "Infinity", "infinity", "-Infinity", "+inf"),
    *("9007199254740993", "12345678901234567.89", "0.1000000000000000055511151231257827", "16777217"),
    *("9223372036854775808", "-9223372036854775809", "1" * 45, "9" * 2_500, "0." + "1" * 20_000),
    *("true", "TRUE", "T", "f", "yes", "on", "true ", "ｔｒｕｅ", "1.0"),
    *(DAY, f"{DAY} ", "20240101", "2024-W01-1", "2024-1-1", "2024-001", "2024-02-30", "0000-01-01", "10000-01-01"),
    *("2０24-01-01", "-001-01-01", "now", "today", "epoch", "2024-01", "1/2/2024", f"{DAY}T", f"{DAY} 10"),
    *(f"{DAY}T10:00", f"{DAY} 10:00:00", f"{DAY} 10:00:00Z", f"{DAY} 10:00:00z", f"{DAY}T10:00:00+00:00"),
    *(f"{DAY} 10:00:00+{zone}" for zone in ("05:59", "05:60", "05:99", "0530", "05", "5", "15:59", "16:00", "23:59")),
    *(f"{DAY} 10:00:00-05:00", f"{DAY} 10:00:00 UTC", f"{DAY} 10:00:00 CET", f"{DAY} 00:00:00", f"{DAY} 00:00:00.0"),
    *(f"{DAY} 24:00", f"{DAY} 24:00:00", f"{DAY}T24:00:00", f"{DAY} 23:59:60", f"{DAY} 10:00:00.1234560"),
    *(f"{DAY} 10:00:00.5", f"{DAY} 10:00:00.500000", f"{DAY}  10:00:00", f"{DAY}x10:00:00"),
    *("10:00", "10:00:00", "10:00:00.5", "24:00", "24:00:00", "23:59:60", "10", "1000", "10:00 PM", "10:00Z"),
    *(UUID, UUID.upper(), UUID.replace("-", ""), f"{{{UUID}}}", f"{{{UUID}", f"{UUID}}}", f"urn:uuid:{UUID}"),
    *(UUID.replace("6", "６"), f"{UUID} ", UUID.replace("-", "_"), UUID[:-1]),
    *("[1]", "[NaN]", "[Infinity]", '{"a": -0}', '{"lat": -0.0}', "[-0e5, 1]", "[1_0]", "[0x1]", "[1,]", "\ufeff[1]"),
    *("[٣]", "[01]", "[1.]", "'x'", '"x -0, y"', '{"a": 1, "a": 2}', "[1] [2]", '"\\ud83d"', '"\t"', "[1e5]", "nul"),
]  # fmt: skip
TYPES = (
    *("boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "numeric(40,3)"),
    *(
        "uuid",
        "date",
        "time",
        "time(0)",
        "timestamp",
        "timestamp(3)",
        "timestamptz",
        "json",
        "jsonb",
        "varchar(20)",
    ),
)
NUMBERS = frozenset(("smallint", "integer", "bigint", "real", "double precision", "numeric", "numeric(40,3)"))
TAKEN = {
    "boolean": 4,
    "bigint": 7,
    "double precision": 20,
    "numeric": 25,
    "uuid": 4,
    "date": 3,
    "time": 3,
    "timestamp": 6,
    "timestamptz": 15,
    "json": 40,
    "jsonb": 35,
}
"""So many of them at least are taken as what they are."""
READ_THERE = """
    SELECT t.v::text, r.v, CASE WHEN pg_input_is_valid(r.v, '{0}') THEN t.v::text = (r.v::{0})::text END
    FROM {1} t JOIN texts r USING (id) ORDER BY id
"""


def arrived(move: Move) -> dict[str, list[tuple[str, str, bool | None]]]:
    """Let all of them go into every type; return what came, of what, and whether the server reads it so."""
    move.path.unlink()
    database = move.server.create_database(move.name)
    with closing(sqlite3.connect(move.path)) as connection:
        for number, type_ in enumerate((*TYPES, "text")):
            name = "texts" if type_ == "text" else f"t{number}"
            # without a type SQLite keeps each value as it is
            connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v)")
            connection.executemany(f"INSERT INTO {name} (v) VALUES (?)", [(text,) for text in TEXTS])
            database.run(f"CREATE TABLE {name} (id bigint PRIMARY KEY, v {type_})")
        connection.commit()
    move.migrate(on_error="skip")
    return {
        type_: database.run("SET TIME ZONE 'UTC'; " + READ_THERE.format(type_, f"t{number}"))
        for number, type_ in enumerate(TYPES)
    }


def test_no_text_becomes_a_value_that_the_server_or_sqlite_reads_otherwise(move: Move) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        for type_, rows in arrived(move).items():
            assert [row for row in rows if not row[2]] == [], type_
            assert len(rows) >= TAKEN.get(type_, 1), (type_, [text for _, text, _ in rows])
            for value, text, _ in rows if type_ in NUMBERS else ():
                ((read,),) = connection.execute("SELECT CAST(? AS NUMERIC)", (text,))
                assert float(Decimal(value)) == float(read), (type_, text)
                if type_ != "real":
                    assert Decimal(value) == Decimal(text) or value == repr(float(text)).removesuffix(".0"), (
                        text
                    )


BYTES = [b"1.5", b"1", b"true", DAY.encode(), UUID.encode(), b"[1]", b"\x00" * 8]


@pytest.mark.parametrize("type_", [*TYPES, "text"])
def test_bytes_are_none_of_what_they_spell(move: Move, type_: str) -> None:
    move.path.unlink()
    with closing(sqlite3.connect(move.path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v)")
        connection.executemany("INSERT INTO t (v) VALUES (?)", [(value,) for value in BYTES])
        connection.commit()
    move.server.create_database(move.name).run(f"CREATE TABLE t (id bigint PRIMARY KEY, v {type_})")
    assert move.plan().misfits == len(BYTES)
