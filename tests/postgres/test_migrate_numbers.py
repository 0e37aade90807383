"""Numbers that AUTOINCREMENT gave are given to no other row, whoever made the tables."""

from __future__ import annotations

import pytest

from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

GONE = """
    CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT);
    INSERT INTO t VALUES (1, 'x'), (100, 'y');
    DELETE FROM t WHERE id = 100;
"""
THERE = {
    "nothing": "",
    "serial": "CREATE TABLE t (id bigserial PRIMARY KEY, a text)",
    "identity": "CREATE TABLE t (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a text)",
    "by another name": 'CREATE TABLE t ("ID" bigserial PRIMARY KEY, a text)',
    "in steps": "CREATE SEQUENCE s INCREMENT 10 START 5; CREATE TABLE t (id bigint DEFAULT nextval('s') PRIMARY KEY, a text);"
    " ALTER SEQUENCE s OWNED BY t.id",
    "farther on": "CREATE TABLE t (id bigserial PRIMARY KEY, a text); SELECT setval('t_id_seq', 500)",
}


@pytest.mark.parametrize("there", THERE)
@pytest.mark.parametrize("is_empty", [False, True], ids=["rows", "no rows"])
def test_b10_the_number_of_a_row_that_is_gone_is_not_given_again(
    move: Move, there: str, is_empty: bool
) -> None:
    move.path.unlink()
    made(move.path, GONE + ("DELETE FROM t;" if is_empty else ""))
    if there != "nothing":
        move.server.create_database(move.name).run(THERE[there])
    wanted = {"in steps": 105, "farther on": 501}.get(there, 101)
    report = move.migrate()
    ((proof,),) = (table.proof.next_values for table in report.tables)
    assert proof.value == wanted
    number, _ = move.database.run("INSERT INTO t (a) VALUES ('new') RETURNING *")[0]
    assert number == wanted
