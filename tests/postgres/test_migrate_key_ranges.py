"""The lowest and the highest key of a migrated table, on both sides: in the form in which the rows are compared."""

from __future__ import annotations

import pytest

import dbtasks
from dbtasks.engines.postgres.migration.reading import ArrivedRows
from dbtasks.errors import CountsDiffer
from dbtasks.rows.migration.tally import Tally
from tests.postgres.leaving import Move, move
from tests.postgres.leaving import made as sqlite

__all__ = ["move"]

# the type of the key there, its values in SQLite, and whether a range of them is told
KEYS = [
    ("char(10)", "('usd'), ('euro')", True),
    ("double precision", "(0.1), (4.71316385632163e16), (-1e-7)", True),
    ("real", "(0.5), (0.1), (1e6)", True),
    ("numeric", "(1.50), (-3)", True),
    ("uuid", "('6F9619FF-8B86-D011-B42D-00CF4FC964FF'), ('{6f9619ff8b86d011b42d00cf4fc964fe}')", True),
    ("timestamp", "('2024-01-01T10:00'), ('2023-12-31 23:59:59.500')", True),
    ("bytea", "(x'00'), (x'ff')", True),
    ("jsonb", """('{"b":1,"a":[1.50]}'), ('[1,2]')""", False),
    ("inet", "('10.0.0.1/32'), ('::1')", False),
    ("text[]", "('{a, b}'), ('{c}')", False),
    ("interval", "('90 minutes'), ('1 day')", False),
]


@pytest.mark.parametrize(("type_", "values", "has_range"), KEYS, ids=[type_ for type_, _, _ in KEYS])
def test_a_key_that_the_server_spells_in_its_own_way_is_proved(
    move: Move, type_: str, values: str, has_range: bool
) -> None:
    move.path.unlink()
    # without a type SQLite keeps each value as it is
    sqlite(move.path, f"CREATE TABLE t (k PRIMARY KEY, a TEXT); INSERT INTO t (k) VALUES {values}")
    move.server.create_database(move.name).run(f"CREATE TABLE t (k {type_} PRIMARY KEY, a text)")
    (table,) = move.migrate().tables
    assert table.proof.target_rows == values.count("(")
    assert (bool(table.proof.key_low), bool(table.proof.key_high)) == (has_range, has_range)


def test_a_key_of_a_domain_over_padded_texts_is_proved(move: Move) -> None:
    move.path.unlink()
    sqlite(
        move.path,
        "CREATE TABLE t (k TEXT, l TEXT, PRIMARY KEY (k, l)); INSERT INTO t VALUES ('usd', 'a'), ('euro', 'b')",
    )
    move.server.create_database(move.name).run(
        "CREATE DOMAIN code AS char(10); CREATE TABLE t (k code, l char(3), PRIMARY KEY (k, l))"
    )
    (table,) = move.migrate().tables
    assert (table.proof.key_low, table.proof.key_high) == (("euro", "a"), ("usd", "b"))


def test_what_differs_is_logged_without_a_value_of_a_row(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    move.path.unlink()
    sqlite(
        move.path, "CREATE TABLE t (mail TEXT PRIMARY KEY, a TEXT); INSERT INTO t VALUES ('jo@x.org', 'x')"
    )
    move.server.create_database(move.name).run("CREATE TABLE t (mail text PRIMARY KEY, a text)")
    tally = ArrivedRows.tally

    def elsewhere(reading: ArrivedRows, *, strict: bool = True) -> Tally:
        found = tally(reading, strict=strict)
        found.edges = [(b"jim@x.org", b"jim@x.org")]
        return found

    monkeypatch.setattr(ArrivedRows, "tally", elsewhere)
    plan = move.plan()
    with pytest.raises(
        CountsDiffer, match=r"^the key of public\.t does not reach as far as that of t"
    ) as caught:
        dbtasks.migrate(move.settings(), plan)
    told = "".join(path.read_text() for path in move.store.rglob("log*.jsonl"))
    assert "does not reach" in told
    assert "@x.org" not in told + str(caught.value) + caught.value.details + caught.value.hint
