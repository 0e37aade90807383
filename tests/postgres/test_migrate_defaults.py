"""What a row gets without a value of its own, after a migration: what SQLite gave it."""

from __future__ import annotations

from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

FLAGS = """
    CREATE TABLE t (id INTEGER PRIMARY KEY, off BOOLEAN NOT NULL DEFAULT '0', "on" BOOLEAN NOT NULL DEFAULT '1',
                    n INTEGER DEFAULT '5', name TEXT DEFAULT '7');
    INSERT INTO t (id) VALUES (1);
"""


def test_a_boolean_whose_default_is_a_digit_in_quotes_keeps_it(move: Move) -> None:
    move.path.unlink()
    made(move.path, FLAGS)
    plan = move.plan()
    assert plan.losses == ()
    move.migrate()
    move.database.run("INSERT INTO t (id) VALUES (2)")
    assert move.database.run('SELECT off, "on", n, name FROM t ORDER BY id') == [(False, True, 5, "7")] * 2
