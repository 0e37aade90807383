"""Conditions over dates and times: SQLite compares their texts, and what PostgreSQL makes of them has to say the same."""

from __future__ import annotations

from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

SPELLED_SO = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, d DATETIME CHECK (d > '2020-01-01'));
    CREATE UNIQUE INDEX old ON t (a) WHERE d <= '2020-01-01';
    INSERT INTO t VALUES (1, 'x', '2020-01-01 00:00:00'), (2, 'x', '2020-01-01 00:00:00');
"""
ALIKE = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT, d DATETIME CHECK (d > '2020-01-01 00:00:00'), until DATETIME, CHECK (until >= d));
    CREATE UNIQUE INDEX late ON t (a) WHERE d > '2021-01-01 00:00:00';
    INSERT INTO t VALUES (1, 'x', '2020-01-01 00:00:01', '2020-01-01 00:00:01'), (2, 'x', '2022-01-01 00:00:00', NULL);
"""
CHECKS = "SELECT count(*) FROM pg_constraint WHERE conrelid = 't'::regclass AND contype = 'c'"
INDEXES = "SELECT count(*) FROM pg_indexes WHERE tablename = 't' AND indexname <> 't_pkey'"


def anew(move: Move, script: str) -> Move:
    move.path.unlink()
    made(move.path, script)
    return move


def test_a_condition_that_compares_moments_as_texts_of_two_spellings_loses_no_row_and_is_told(
    move: Move,
) -> None:
    plan = anew(move, SPELLED_SO).plan()
    assert [text.partition(" is ")[0] for text in plan.losses] == [
        "the CHECK of t (d > '2020-01-01')",
        "the index old",
    ]
    report = move.migrate(on_error="skip")
    assert (report.rows, report.rejected) == (2, 0)
    assert (move.database.run(CHECKS), move.database.run(INDEXES)) == ([(0,)], [(0,)])


def test_a_condition_over_moments_that_are_spelled_alike_is_carried(move: Move) -> None:
    assert anew(move, ALIKE).migrate().losses == ()
    assert (move.database.run(CHECKS), move.database.run(INDEXES)) == ([(2,)], [(1,)])
