"""The statements that take away what `--table` added, run as they are printed, with foreign keys enforced."""

from __future__ import annotations

import itertools
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import dbtasks

from .databases import content, run, settings

CHAIN = """
    CREATE TABLE "a grand" (id INTEGER PRIMARY KEY);
    CREATE TABLE parent (id INTEGER PRIMARY KEY, up REFERENCES "A Grand" (id) ON DELETE RESTRICT);
    CREATE TABLE child (id INTEGER PRIMARY KEY, up REFERENCES parent (id), me REFERENCES child (id));
    INSERT INTO "a grand" VALUES (1); INSERT INTO parent VALUES (1, 1); INSERT INTO child VALUES (1, 1, NULL), (2, 1, 1);
"""
CIRCLE = """
    CREATE TABLE hen (id INTEGER PRIMARY KEY, egg REFERENCES egg (id));
    CREATE TABLE egg (id INTEGER PRIMARY KEY, hen REFERENCES hen (id));
    INSERT INTO hen VALUES (1, 1); INSERT INTO egg VALUES (1, 1);
"""
ITSELF = """
    CREATE TABLE node (id INTEGER PRIMARY KEY, up REFERENCES node (id) ON DELETE RESTRICT);
    INSERT INTO node VALUES (1, NULL), (2, 1);
"""
STAYS = """
    CREATE TABLE owner (id INTEGER PRIMARY KEY);
    CREATE TABLE pet (id INTEGER PRIMARY KEY, owner REFERENCES owner (id) ON DELETE CASCADE);
    INSERT INTO owner VALUES (1); INSERT INTO pet VALUES (1, 1);
"""
BEYOND_ASCII = """
    CREATE TABLE "Besitzer Ä" (id INTEGER PRIMARY KEY);
    CREATE TABLE pet (id INTEGER PRIMARY KEY, owner REFERENCES "besitzer Ä" (id) ON DELETE CASCADE);
    INSERT INTO "Besitzer Ä" VALUES (1); INSERT INTO pet VALUES (1, 1);
"""
TWO_OF_ONE_LETTER = """
    CREATE TABLE "Ä" (id INTEGER PRIMARY KEY);
    CREATE TABLE "ä" (id INTEGER PRIMARY KEY, up REFERENCES "Ä" (id));
    INSERT INTO "Ä" VALUES (1); INSERT INTO "ä" VALUES (1, 1);
"""


def as_printed(path: Path, statements: str) -> None:
    """Run them one by one where keys are enforced, as many a program and shell has it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=ON")
        for statement in statements.replace("; ", ";\n").splitlines():
            connection.execute(statement)


def added(tmp_path: Path, schema: str, *names: str) -> tuple[Path, list[str], str]:
    """Drop these tables, bring them back; returns the file, what it held without them, and the way back."""
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema)
    config = settings(tmp_path)
    dbtasks.backup(config)
    for name in names:
        run(path, f'DROP TABLE "{name}"')
    before = content(path)
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(names))
    result = dbtasks.restore_tables(config, plan)
    assert content(path) != before
    return path, before, result.way_back


@pytest.mark.parametrize("names", [*itertools.permutations(("a grand", "parent", "child"))])
def test_tables_that_refer_to_each_other_are_dropped_in_an_order_that_keys_allow(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    path, before, back = added(tmp_path, CHAIN, *names)
    assert back == 'DROP TABLE "child"; DROP TABLE "parent"; DROP TABLE "a grand";'
    as_printed(path, back)
    assert content(path) == before


@pytest.mark.parametrize(
    ("schema", "names"),
    [(CIRCLE, ("hen", "egg")), (ITSELF, ("node",)), (STAYS, ("owner",)), (BEYOND_ASCII, ("Besitzer Ä",))],
    ids=["a circle", "itself", "from a table that stays", "from a table that stays, beyond ASCII"],
)
def test_where_no_order_is_allowed_the_keys_are_off_and_no_other_row_goes(
    tmp_path: Path, schema: str, names: tuple[str, ...]
) -> None:
    path, before, back = added(tmp_path, schema, *names)
    assert back.startswith("PRAGMA foreign_keys=OFF; DROP TABLE ")
    as_printed(path, back)
    assert content(path) == before


def test_two_names_that_sqlite_tells_apart_are_two_tables(tmp_path: Path) -> None:
    path, before, back = added(tmp_path, TWO_OF_ONE_LETTER, "Ä", "ä")
    assert back == 'DROP TABLE "ä"; DROP TABLE "Ä";'
    as_printed(path, back)
    assert content(path) == before


def test_e10_a_reference_to_a_table_beyond_ascii_is_looked_at_as_any_other(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(BEYOND_ASCII)
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, 'INSERT INTO "Besitzer Ä" VALUES (2)')
    run(path, "INSERT INTO pet VALUES (2, 2)")
    before = content(path)
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("Besitzer Ä",)))
    with pytest.raises(
        dbtasks.errors.Refused, match="1 row of pet would refer to rows of Besitzer Ä"
    ) as caught:
        dbtasks.restore_tables(config, plan)
    assert "bring back that table too: --table=pet;" in caught.value.hint
    assert content(path) == before


def test_e10_the_table_to_bring_too_is_named_as_the_backup_spells_it(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript("""
            CREATE TABLE "The Owner" (id INTEGER PRIMARY KEY);
            CREATE TABLE "A Pet" (id INTEGER PRIMARY KEY, owner REFERENCES "the owner" (id));
            INSERT INTO "The Owner" VALUES (1); INSERT INTO "A Pet" VALUES (1, 1);
        """)
    config = settings(tmp_path)
    dbtasks.backup(config)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute('DELETE FROM "A Pet"')
        connection.execute('DROP TABLE "The Owner"')
        connection.execute('CREATE TABLE "the owner" (id INTEGER PRIMARY KEY)')
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("A Pet",)))
    with pytest.raises(dbtasks.errors.Refused, match="of A Pet would refer to rows of the owner") as caught:
        dbtasks.restore_tables(config, plan)
    assert "bring back that table too: --table='The Owner'; or beside" in caught.value.hint
    both = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("A Pet", "The Owner")))
    assert dbtasks.restore_tables(config, both).rows == {"A Pet": 1, "the owner": 1}


def test_e10_a_table_that_the_backup_does_not_hold_is_not_offered(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    run(path, "CREATE TABLE owner (id INTEGER PRIMARY KEY)")
    config = settings(tmp_path)
    dbtasks.backup(config)
    run(path, "CREATE TABLE visit (owner REFERENCES owner (id))")
    run(path, "INSERT INTO owner VALUES (1)")
    run(path, "INSERT INTO visit VALUES (1)")
    plan = dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("owner",)))
    with pytest.raises(dbtasks.errors.Refused, match="of visit would refer to rows of owner") as caught:
        dbtasks.restore_tables(config, plan)
    assert caught.value.hint == "the backup holds no visit; bring it in beside, to look and pick: --as=NAME"
