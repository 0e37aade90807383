"""Names of SQLite's that PostgreSQL gives to something else."""

from __future__ import annotations

from dbtasks.rows.postgres_named import names_of_keys
from dbtasks.rows.schema import Key, Table
from tests.postgres.leaving import Move, made, move

__all__ = ["move"]

LONG = "a_table_whose_name_alone_is_nearly_as_long_as_names_may_be_ever"
FIELD = "and_a_column_as_long_as_that_ü"


def test_an_index_called_as_a_key_will_be_gets_another_name_and_is_told(move: Move) -> None:
    made(
        move.path,
        f"""CREATE TABLE same (id INTEGER PRIMARY KEY, a TEXT, b TEXT, UNIQUE (a, b), UNIQUE (b));
        CREATE INDEX same_pkey ON same (a); CREATE INDEX same_a_b_key ON same (b); CREATE INDEX same_id_seq ON same (b);
        CREATE TABLE {LONG} (id INTEGER PRIMARY KEY, {FIELD} TEXT UNIQUE);
        CREATE INDEX {LONG[:58]}_pkey ON {LONG} ({FIELD});
        INSERT INTO same VALUES (1, 'x', 'y');""",
    )
    report = move.migrate()
    assert "the index same_pkey is called same_pkey_2 there: its name is taken" in report.losses
    names = {str(name) for (name,) in move.database.run("SELECT relname FROM pg_class WHERE relkind = 'i'")}
    assert {"same_pkey", "same_pkey_2", "same_a_b_key", "same_a_b_key_2", "same_id_seq"} <= names
    assert [text for text in report.losses if "is called" in text and "same_id_seq" in text] == []
    assert move.database.run("INSERT INTO same (a) VALUES ('z') RETURNING id") == [(2,)]


def test_names_of_keys_are_those_that_the_server_gives(move: Move) -> None:
    database = move.server.create_database(move.name)
    for table in ("t", LONG, "ü" * 31):
        for key in (("a",), ("a", "b"), (FIELD, "b")):
            columns = sorted({"a", "b", FIELD})
            listed = ", ".join(f"{name} text" for name in columns)
            database.run(f"CREATE TABLE {table} (id int PRIMARY KEY, {listed}, UNIQUE ({', '.join(key)}));")
            there = database.run(
                "SELECT conname FROM pg_constraint WHERE contype IN ('p', 'u') AND conrelid = %s::regclass",
                (table,),
            )
            wanted = Table(table, primary_key=Key(("id",)), unique=(Key(key),))
            assert sorted(names_of_keys(wanted)) == sorted(str(name) for (name,) in there)
            database.run(f"DROP TABLE {table}")
