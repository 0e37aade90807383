"""Names of SQLite's that PostgreSQL gives to something else."""

from __future__ import annotations

import pytest

from dbtasks.errors import Refused
from dbtasks.rows.postgres.named import names_of_keys
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


def test_tables_and_columns_that_would_be_cut_are_refused_by_their_whole_names(move: Move) -> None:
    first, second = (f"{LONG}_{end}" for end in ("one", "two"))
    made(
        move.path,
        f"CREATE TABLE {first} (id INTEGER PRIMARY KEY); CREATE TABLE {second} (id INTEGER PRIMARY KEY);"
        f"CREATE TABLE wide (id INTEGER PRIMARY KEY, {first} TEXT, {second} TEXT);",
    )
    with pytest.raises(Refused) as caught:
        move.plan()
    why = f"has a name of {len(first)} bytes, and PostgreSQL cuts names after 63"
    told = caught.value.details.splitlines()
    for name in (first, second):
        assert f"the table {name} {why}" in told
        assert f"the column of wide {name} {why}" in told
    assert "--exclude-table" in caught.value.hint
    ran = move.invoke("--yes", code=6)
    assert "state: nothing was touched" in ran.stderr
    assert move.databases() == []
    assert not (move.store / "manual").exists()
    assert move.migrate(exclude_tables=(first, second, "wide")).rows == 5


def test_the_refusal_of_names_says_the_statements_that_give_others_and_then_it_goes(move: Move) -> None:
    long, taken = f"{LONG}_and more", LONG[:40]
    made(
        move.path,
        f"""CREATE TABLE "{long}" (id INTEGER PRIMARY KEY, "{LONG}{LONG}1" TEXT, "{LONG}{LONG}2" TEXT, {LONG} TEXT);
        CREATE TABLE "{long} ""too"" x" (id INTEGER REFERENCES "{long}", "" TEXT, xmin TEXT, "XMIN_2" TEXT);
        CREATE TABLE "{LONG.upper()}" (a TEXT); CREATE INDEX "{LONG[:61]}_2" ON "{LONG.upper()}" (a);
        CREATE VIEW {taken} AS SELECT xmin FROM "{long} ""too"" x";
        INSERT INTO "{long}" VALUES (1, 'a', 'b', 'c'); INSERT INTO "{long} ""too"" x" VALUES (1, 'd', 'e', 'f');""",
    )
    ran = move.invoke("--dry-run", code=6)
    assert "state: nothing was touched" in ran.stderr
    with pytest.raises(Refused) as caught:
        move.plan()
    assert len(caught.value.details.splitlines()) == 6
    script, _, rest = caught.value.hint.removeprefix("in SQLite, in this order: ").rpartition("; (")
    assert (
        rest == "the application has to use the new names too); or leave the table out: --exclude-table=NAME"
    )
    assert script.split("; ALTER")[0] == f'ALTER TABLE "{long}" RENAME TO "{LONG[:61]}_3"'
    made(move.path, f"{script};")
    report = move.migrate()
    assert report.rows == 7
    assert move.database.run(f'SELECT * FROM "{LONG[:61]}_3"') == [(1, "a", "b", "c")]
    assert move.database.run(f'SELECT unnamed, xmin_3, "XMIN_2" FROM "{LONG[:61]}_4"') == [("d", "e", "f")]


@pytest.mark.parametrize(
    ("other", "excluded"),
    [
        ("CREATE VIEW {} AS SELECT 1", ()),
        ("CREATE TABLE {} (a)", ("{}",)),
        ("CREATE TABLE other (a); CREATE INDEX {} ON other (a)", ("other",)),
        ("CREATE VIRTUAL TABLE {} USING fts5 (a)", ()),
    ],
)
def test_the_new_name_is_none_that_anything_of_sqlites_has_also_what_does_not_go(
    move: Move, other: str, excluded: tuple[str, ...]
) -> None:
    long, cut = f"{LONG}_and more", f"{LONG}_and more"[:63]
    made(move.path, f'CREATE TABLE "{long}" (id INTEGER PRIMARY KEY); ' + other.format(f'"{cut.upper()}"'))
    without = tuple(name.format(cut.upper()) for name in excluded)
    with pytest.raises(Refused) as caught:
        move.plan(exclude_tables=without)
    script = caught.value.hint.removeprefix("in SQLite, in this order: ").rpartition("; (")[0]
    assert script == f'ALTER TABLE "{long}" RENAME TO "{cut[:61]}_2"'
    made(move.path, f"{script};")
    move.plan(exclude_tables=without)


def test_what_no_statement_mends_is_told_beside_those_that_do(move: Move) -> None:
    move.server.create_database(move.name).run("CREATE TABLE orders (id bigint, must text NOT NULL)")
    with pytest.raises(Refused) as caught:
        move.plan()
    assert caught.value.hint == "mend that; or leave the table out: --exclude-table=NAME"


def test_indexes_that_would_be_cut_to_the_same_name_get_others_and_are_told(move: Move) -> None:
    smile = "\N{SLIGHTLY SMILING FACE}" * 20
    names = (f"{LONG}_one", f"{LONG}_two", f"{smile}a", f"{smile}b")
    made(move.path, "".join(f'CREATE INDEX "{name}" ON orders (note);' for name in names))
    plan = move.plan()
    called = [f"{LONG[:61]}_{number}" for number in (2, 3)] + [f"{smile[:15]}_{number}" for number in (2, 3)]
    for name, new in zip(names, called, strict=True):
        assert f"the index {name} is called {new} there: PostgreSQL would cut its name" in plan.losses
    move.migrate()
    there = {str(name) for (name,) in move.database.run("SELECT indexname FROM pg_indexes")}
    assert set(called) <= there


def test_an_index_called_as_the_cut_name_of_a_key_of_two_tables_gets_another_one(move: Move) -> None:
    tables, taken = (f"{LONG[:61]}_a", f"{LONG[:61]}_b"), (f"{LONG[:57]}_pkey1", f"{LONG[:58]}_pkey")
    made(move.path, "".join(f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, a TEXT);" for table in tables))
    made(move.path, "".join(f"CREATE INDEX {name} ON {tables[0]} (a);" for name in taken))
    report = move.migrate()
    assert sorted(text for text in report.losses if "is taken" in text) == sorted(
        f"the index {name} is called {name[:61]}_2 there: its name is taken" for name in taken
    )
    there = {str(name) for (name,) in move.database.run("SELECT indexname FROM pg_indexes")}
    assert {*taken, *(f"{name[:61]}_2" for name in taken)} <= there
