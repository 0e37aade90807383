"""Unique keys that hold less apart than SQLite's: what they will turn down is counted before, or said to be the load's to find."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from psycopg2.errors import LockNotAvailable

import dbtasks
from dbtasks.errors import LoadFailed, Refused
from tests.postgres.leaving import Move, made, move
from tests.postgres.test_migrate_counted import told

__all__ = ["move"]

WORDS = "it is over some rows, or over more than columns"


def counted(plan: dbtasks.MigrationPlan) -> dict[str, tuple[str, ...]]:
    return {one.place: one.examples for one in plan.clashes}


def there(move: Move, made_there: str, source: str) -> None:
    """Tables that an application's migrations made, without a row, and a SQLite file that goes into them."""
    move.server.create_database(move.name).run(made_there)
    made(move.path, source)


def as_planned(move: Move, **job: Any) -> dbtasks.MigrationPlan:
    """See that what is left out is what the plan says, and that without a word none of it goes."""
    with pytest.raises(Refused, match="a key that is there already"):
        move.migrate(**job)
    plan = move.plan(on_error="skip", **job)
    assert plan.rejects == told(dbtasks.migrate(move.settings(), plan))
    return plan


# -- tables that are made: a collation, and values that look alike -----------------------------------

ALIKE = {
    "of a column": ("v COLLATE NOCASE UNIQUE", "", {"t.v": ("2: as row 1",), "t.v, in the unique index t_v_folded": ("5: as row 4",)}),
    "of an index": ("v", "CREATE UNIQUE INDEX one ON t (v COLLATE NOCASE)", {"t.v, in the unique index one": ("2: as row 1", "5: as row 4")}),
    "of some rows": (
        "v",
        "CREATE UNIQUE INDEX one ON t (v COLLATE NOCASE DESC) WHERE id < 5",
        {"t.v, in the unique index one": ("2: as row 1",)},
    ),
    "of some rows, plain": ("v", "CREATE UNIQUE INDEX one ON t (v) WHERE id >= 0", {"t.v, in the unique index one": ("2: as row 1",)}),
    "without blanks": (
        "v COLLATE RTRIM",
        "CREATE UNIQUE INDEX one ON t (v)",
        {"t.v": ("2: as row 1",), "t.v, in the unique index t_v_folded": ("7: as row 6",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("column", "index", "clashes"), ALIKE.values(), ids=ALIKE)
def test_a_key_by_a_collation_over_numbers_and_texts_that_look_alike_is_counted_before(
    move: Move, column: str, index: str, clashes: dict[str, tuple[str, ...]]
) -> None:
    made(
        move.path,
        f"CREATE TABLE t (id INTEGER PRIMARY KEY, {column}); {index};"
        "INSERT INTO t VALUES (1, 1), (2, '1'), (3, 'a'), (4, 1e20), (5, '1E+20'), (6, 7), (7, '7 '), (8, NULL), (9, NULL)",
    )
    assert counted(as_planned(move)) == clashes


def test_a_key_by_a_collation_whose_values_stay_apart_is_not_spoken_of(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE t (v TEXT COLLATE NOCASE UNIQUE, w TEXT); CREATE UNIQUE INDEX one ON t (w COLLATE NOCASE) WHERE length(w) > 1;"
        "INSERT INTO t VALUES ('a', 'xy'), ('b', 'XZ'), ('é', 'É')",
    )
    plan = move.plan()
    assert (plan.clashes, plan.warnings) == ((), ())
    move.migrate()


# -- tables that are there: conditions ---------------------------------------------------------------

PERSON = """
    CREATE TYPE mood AS ENUM ('fine', 'low');
    CREATE TABLE person (id bigint PRIMARY KEY, email text, deleted_at timestamptz, active boolean, status varchar(9), kind char(4),
                         n integer, price numeric(8,2), mood mood);
"""
PEOPLE = """
    CREATE TABLE person (id INTEGER PRIMARY KEY, email TEXT, deleted_at DATETIME, active BOOLEAN, status TEXT, kind TEXT,
                         n INTEGER, price NUMERIC, mood TEXT);
    INSERT INTO person VALUES (1, 'a', NULL, 1, 'x', 'k', 1, 1.5, 'fine'), (2, 'a', '2024-01-01 10:00:00', 'true', 'y', 'l', 2, 2, 'low'),
                              (3, 'a', NULL, 0, 'it''s', 'k', 3, 1.50, 'fine'), (4, 'a', NULL, NULL, NULL, NULL, NULL, NULL, NULL),
                              (5, 'b', NULL, 1, 'x', 'k', 1, 1.5, 'fine'), (6, NULL, NULL, 1, 'x', 'k', 1, 1.5, 'fine');
"""
# the rows of one address that each is over
CONDITIONS = {
    "deleted_at IS NULL": [1, 3, 4],
    "deleted_at IS NOT NULL": [2],
    "active": [1, 2],
    "active = true AND n > 0": [1, 2],
    "NOT active": [3],
    "active IS NOT TRUE": [3, 4],
    "active IS FALSE OR active IS NULL": [3, 4],
    "status = 'x'": [1],
    "status <> 'x'": [2, 3],
    "'it''s' = status OR status = 'x'": [1, 3],
    "status IN ('x', 'y')": [1, 2],
    "status NOT IN ('x', 'y')": [3],
    "kind = 'k'": [1, 3],
    "n > 1": [2, 3],
    "n BETWEEN 1 AND 2": [1, 2],
    "1 >= n": [1],
    "n IN (-1, 1, 3)": [1, 3],
    "price = 1.5": [1, 3],
    "price < 2::bigint": [1, 3],
    "mood = 'fine'": [1, 3],
    "status::text = 'x'::text": [1],
    "(status = 'x') IS NULL": [4],
    "NOT (n > 1 AND active)": [1, 3],
    "id > 0 AND (deleted_at IS NULL OR status = 'y')": [1, 2, 3, 4],
}


def test_a_unique_index_over_some_rows_that_sqlite_has_not_is_counted_under_its_condition(move: Move) -> None:
    # one table for each: what one of them turns down is in no other's way
    names = {f"p{number}": condition for number, condition in enumerate(CONDITIONS)}
    kind, table = PERSON.split(";", 1)
    script = "".join(
        f"{table.replace('person', name)} CREATE UNIQUE INDEX live_{name} ON {name} (email) WHERE {condition};"
        for name, condition in names.items()
    )
    there(move, f"{kind};{script}", "".join(PEOPLE.replace("person", name) for name in names))
    tables = tuple(names)
    plan = as_planned(move, tables=tables)
    assert plan.warnings == ()
    wanted = {
        f"{name}.email, in the unique index live_{name}": tuple(
            f"{row}: as row {rows[0]}" for row in rows[1:]
        )
        for name, rows in zip(names, CONDITIONS.values(), strict=True)
        if len(rows) > 1
    }
    assert counted(plan) == wanted
    assert plan.rejects == {
        name: len(rows) - 1 for name, rows in zip(names, CONDITIONS.values(), strict=True) if len(rows) > 1
    }


@pytest.mark.parametrize(
    "condition",
    ["length(email) = 1", "deleted_at < '2030-01-01'", "lower(status) = 'x'", "n = id", "status < 'z'", "status ~ 'x'"],
)  # fmt: skip
def test_a_condition_that_only_the_server_reads_is_named_as_the_loads_to_find(
    move: Move, condition: str
) -> None:
    there(move, f"{PERSON} CREATE UNIQUE INDEX live ON person (email) WHERE {condition}", PEOPLE)
    plan = move.plan(tables=("person",))
    assert (plan.clashes, plan.warnings) == (
        (),
        (f"not counted before: person: rows that the unique index live turns down: {WORDS}; the load finds them",),
    )  # fmt: skip


def test_an_index_whose_condition_is_another_than_sqlites_is_no_promise(move: Move) -> None:
    there(
        move,
        "CREATE TABLE t (id bigint PRIMARY KEY, email text, active boolean, gone boolean);"
        "CREATE UNIQUE INDEX one ON t (email) WHERE NOT gone",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, email TEXT, active BOOLEAN, gone BOOLEAN);"
        "CREATE UNIQUE INDEX one ON t (email) WHERE active;"
        "INSERT INTO t VALUES (1, 'a', 1, 0), (2, 'a', 0, 0), (3, 'a', 0, 1)",
    )
    assert counted(as_planned(move, tables=("t",))) == {"t.email, in the unique index one": ("2: as row 1",)}


def test_an_index_over_more_than_columns_is_named_though_sqlite_has_one_of_its_name(move: Move) -> None:
    there(
        move,
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE UNIQUE INDEX one ON t (upper(v))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); CREATE UNIQUE INDEX one ON t (upper(v));"
        "INSERT INTO t VALUES (1, 'é'), (2, 'É')",
    )
    plan = move.plan(tables=("t",))
    assert plan.warnings == (
        f"not counted before: t: rows that the unique index one turns down: {WORDS}; the load finds them",
    )
    with pytest.raises(LoadFailed, match='duplicate key value violates unique constraint "one"'):
        dbtasks.migrate(move.settings(), plan)


# -- tables that are there: other keys ---------------------------------------------------------------


def test_an_index_that_folds_letters_of_ascii_or_takes_columns_along_is_counted(move: Move) -> None:
    there(
        move,
        """CREATE TABLE a (id bigint PRIMARY KEY, v varchar(9), w text);
        CREATE UNIQUE INDEX low ON a (lower(v COLLATE "C") DESC NULLS LAST);
        CREATE TABLE b (id bigint PRIMARY KEY, v text, w text);
        CREATE UNIQUE INDEX more ON b (v text_pattern_ops) INCLUDE (w);
        CREATE TABLE c (id bigint PRIMARY KEY, v text, w text);
        CREATE UNIQUE INDEX nulls ON c (v) NULLS NOT DISTINCT WHERE w IS NULL""",
        "".join(
            f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, v TEXT, w TEXT);"
            f"INSERT INTO {name} VALUES (1, 'x', NULL), (2, 'X', NULL), (3, 'é', 'w'), (4, 'É', ''), (5, 'x', 'w'), (6, NULL, NULL), (7, NULL, NULL);"
            for name in "abc"
        ),
    )
    plan = as_planned(move, tables=("a", "b", "c"))
    assert counted(plan) == {
        "a.v, in the unique index low": ("2: as row 1", "5: as row 1"),
        "b.v": ("5: as row 1",),
        "c.v, in the unique index nulls": ("7: as row 6",),
    }
    assert plan.warnings == ()


def test_a_key_with_a_column_that_sqlite_has_not_is_counted_where_every_row_gets_the_same(move: Move) -> None:
    there(
        move,
        """CREATE FUNCTION given() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
        CREATE TABLE same (a int, tenant int NOT NULL DEFAULT 1, live boolean DEFAULT true, UNIQUE (tenant, a));
        CREATE TABLE none (a int, tenant int, UNIQUE (tenant, a));
        CREATE TABLE one_none (a int, tenant int, UNIQUE NULLS NOT DISTINCT (tenant, a));
        CREATE TABLE apart (a int, id bigint GENERATED ALWAYS AS IDENTITY, u uuid DEFAULT gen_random_uuid(), UNIQUE (id, a), UNIQUE (u, a));
        CREATE TABLE asked (a int, tenant int DEFAULT given(), UNIQUE (tenant, a));
        CREATE TABLE live (a int, deleted_at timestamptz, live boolean DEFAULT true);
        CREATE UNIQUE INDEX some_live ON live (a) WHERE deleted_at IS NULL AND live;
        CREATE TABLE few (a int, deleted_at timestamptz DEFAULT now());
        CREATE UNIQUE INDEX few_live ON few (a) WHERE deleted_at IS NULL""",
        "".join(
            f"CREATE TABLE {name} (a INTEGER); INSERT INTO {name} VALUES (1), (2), (1);"
            for name in ("same", "none", "one_none", "apart", "asked", "live", "few")
        ),
    )
    plan = move.plan(exclude_tables=("orders", "customer"))
    assert counted(plan) == {
        "same.a": ("3: as row 1",),
        "one_none.a": ("3: as row 1",),
        "live.a, in the unique index some_live": ("3: as row 1",),
    }
    assert [text for text in plan.warnings if text.startswith("not counted")] == [
        "not counted before: asked: rows that a unique key over a turns down: tenant is not in SQLite, and only the server gives it a value;"
        " the load finds them"
    ]
    others = ("same", "none", "one_none", "apart", "live", "few")
    as_planned(move, tables=others)


# by name the one over some rows, or of a column that only the server fills, is read in front of the plain one
BEHIND = {
    "some rows": (
        "CREATE UNIQUE INDEX a ON t (v) WHERE gone IS NULL; CREATE UNIQUE INDEX b ON t (v)",
        {"t.v": ("2: as row 1",)},
    ),
    "a key that is not counted": (
        "ALTER TABLE t ADD tenant int DEFAULT given(); ALTER TABLE t ADD UNIQUE (tenant, v); CREATE UNIQUE INDEX b ON t (v)",
        {"t.v": ("2: as row 1",)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("keys", "clashes"), BEHIND.values(), ids=BEHIND)
def test_a_plain_key_behind_one_that_says_less_over_the_same_columns_is_counted(
    move: Move, keys: str, clashes: dict[str, tuple[str, ...]]
) -> None:
    there(
        move,
        f"""CREATE FUNCTION given() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
        CREATE TABLE t (id bigint PRIMARY KEY, v text, gone timestamptz); {keys}""",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT, gone DATETIME);"
        "INSERT INTO t VALUES (1, 'a', NULL), (2, 'a', '2024-01-01 00:00:00'), (3, 'b', NULL)",
    )
    assert counted(as_planned(move, tables=("t",))) == clashes


def test_a_plain_index_behind_one_over_some_rows_is_counted_where_both_are_made(move: Move) -> None:
    made(
        move.path,
        """CREATE TABLE t (id INTEGER PRIMARY KEY, v, live INTEGER);
        CREATE UNIQUE INDEX a ON t (v) WHERE live > 0; CREATE UNIQUE INDEX b ON t (v);
        INSERT INTO t VALUES (1, 1, 1), (2, '1', 0), (3, 'x', 0), (4, 2, 0), (5, '2', 0)""",
    )
    assert counted(as_planned(move, tables=("t",))) == {"t.v": ("2: as row 1", "5: as row 4")}


def test_a_unique_index_of_one_partition_alone_is_named(move: Move) -> None:
    there(
        move,
        """CREATE TABLE t (id bigint, v text) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
        CREATE UNIQUE INDEX t2_v ON t2 (v)""",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'a'), (11, 'a')",
    )
    plan = move.plan(tables=("t",))
    assert plan.warnings == (
        "not counted before: t: rows that the unique index t2_v turns down: it is the partition's public.t2 alone; the load finds them",
    )


def words_of(plan: dbtasks.MigrationPlan) -> list[str]:
    """What of the keys is left to the load, without what is said of all."""
    begin, end = "not counted before: t: rows that ", "; the load finds them"
    return [text.removeprefix(begin).removesuffix(end) for text in plan.warnings if text.startswith(begin)]


@pytest.mark.parametrize("over", ["(n::text)", 'lower(n::text COLLATE "C")'])
@pytest.mark.parametrize(("type_", "alike"), [("numeric", "1.50"), ("double precision", "-0")])
def test_the_text_of_a_number_is_not_compared_as_the_number(
    move: Move, over: str, type_: str, alike: str
) -> None:
    there(
        move,
        f"CREATE TABLE t (id bigint PRIMARY KEY, n {type_}); CREATE UNIQUE INDEX a_n ON t (({over}))",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT);"
        f"INSERT INTO t VALUES (1, '1.5'), (2, '{alike}'), (3, '0')",
    )
    plan = move.plan(tables=("t",))
    assert (plan.clashes, words_of(plan)) == ((), [f"the unique index a_n turns down: {WORDS}"])
    assert dbtasks.migrate(move.settings(), plan).rows == 3


def test_the_text_of_a_whole_number_or_a_text_is_compared_as_what_it_is(move: Move) -> None:
    there(
        move,
        """CREATE TABLE t (id bigint PRIMARY KEY, n int, v varchar(9), b boolean);
        CREATE UNIQUE INDEX a_n ON t ((n::text)); CREATE UNIQUE INDEX a_v ON t ((v::text)); CREATE UNIQUE INDEX a_b ON t ((b::text), n)""",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, n TEXT, v TEXT, b BOOLEAN);"
        "INSERT INTO t VALUES (1, '1', 'a', 1), (2, '01', 'b', 0), (3, '2', 'a', 1)",
    )
    plan = as_planned(move, tables=("t",))
    assert plan.warnings == ()
    assert counted(plan) == {"t.n": ("2: as row 1",), "t.v": ("3: as row 1",)}


PARTED = """
    CREATE TABLE t (id bigint, v text) PARTITION BY RANGE (id);
    CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10); CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (20);
"""
PARTS = "CREATE TABLE t (id INTEGER, v TEXT); INSERT INTO t VALUES (1, 'a'), (11, 'b'), (11, 'c')"


@pytest.mark.parametrize(
    "only",
    [
        "CREATE UNIQUE INDEX u ON ONLY t (id)",
        "ALTER TABLE ONLY t ADD CONSTRAINT u UNIQUE (id)",
        "CREATE UNIQUE INDEX u ON ONLY t (id); CREATE UNIQUE INDEX u1 ON t1 (id); ALTER INDEX u ATTACH PARTITION u1",
    ],
)
def test_a_key_that_not_all_partitions_have_is_named_and_the_load_goes(move: Move, only: str) -> None:
    there(move, PARTED + only, PARTS)
    plan = move.plan(tables=("t",))
    what = "a unique key over id" if "CONSTRAINT" in only else "the unique index u"
    assert (plan.clashes, words_of(plan)) == ((), [f"{what} turns down: not all partitions have it"])
    assert dbtasks.migrate(move.settings(), plan).rows == 3


def test_a_key_of_a_partitioned_table_that_all_partitions_have_is_counted(move: Move) -> None:
    attached = "".join(
        f"CREATE UNIQUE INDEX u{part} ON t{part} (id); ALTER INDEX u ATTACH PARTITION u{part};"
        for part in (1, 2)
    )
    there(move, f"{PARTED} CREATE UNIQUE INDEX u ON ONLY t (id); {attached}", PARTS)
    plan = as_planned(move, tables=("t",))
    assert (counted(plan), plan.warnings) == ({"t.id": ("3: as row 2",)}, ())


def test_what_an_index_turns_down_that_was_never_finished_is_counted(move: Move) -> None:
    there(
        move,
        "CREATE TABLE t (id bigint PRIMARY KEY, v text); CREATE TABLE read (a int)",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'a')",
    )
    with closing(move.database.connect()) as reader:
        reader.autocommit = False
        reader.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; SELECT * FROM read")
        # it waits for whoever might look for a row without it, when all others use it already
        with closing(move.database.connect()) as maker, pytest.raises(LockNotAvailable):
            maker.autocommit = True
            cursor = maker.cursor()
            cursor.execute("SET lock_timeout = 200")
            cursor.execute("CREATE UNIQUE INDEX CONCURRENTLY u ON t (v)")
    query = "SELECT indisready, indisvalid FROM pg_index WHERE indexrelid = 'u'::regclass"
    assert move.database.run(query) == [(True, False)]
    assert counted(as_planned(move, tables=("t",))) == {"t.v": ("2: as row 1",)}


@pytest.mark.parametrize("value", ["true", "false"])
def test_an_index_over_a_constant_is_over_no_column_of_that_name(move: Move, value: str) -> None:
    there(
        move,
        f"""CREATE TABLE t (id bigint PRIMARY KEY, "{value}" text, f boolean); CREATE UNIQUE INDEX one ON t (({value})) WHERE f""",
        f"""CREATE TABLE t (id INTEGER PRIMARY KEY, "{value}" TEXT, f BOOLEAN); INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 1)""",
    )
    plan = move.plan(tables=("t",), on_error="skip")
    assert (plan.rejects, words_of(plan)) == ({}, [f"the unique index one turns down: {WORDS}"])
    assert told(dbtasks.migrate(move.settings(), plan)) == {"t": 1}


@pytest.mark.parametrize(
    "column",
    [
        "k int DEFAULT nextval('s')",
        "k int GENERATED ALWAYS AS IDENTITY (MINVALUE 1 MAXVALUE 2 CYCLE)",
    ],
)
def test_numbers_of_a_sequence_that_begins_again_are_not_taken_for_all_different(
    move: Move, column: str
) -> None:
    there(
        move,
        f"CREATE SEQUENCE s MINVALUE 1 MAXVALUE 2 CYCLE; CREATE TABLE t (v text, {column}, UNIQUE (k, v))",
        "CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('a'), ('a'), ('a')",
    )
    plan = move.plan(tables=("t",), on_error="skip")
    why = "k is not in SQLite, and only the server gives it a value"
    assert (plan.rejects, words_of(plan)) == ({}, [f"a unique key over v turns down: {why}"])
    assert told(dbtasks.migrate(move.settings(), plan)) == {"t": 1}


def test_a_key_over_a_column_that_is_called_as_nulls_are_is_a_key_as_any(move: Move) -> None:
    name = "NULLS NOT DISTINCT"
    there(
        move,
        f'CREATE TABLE t (id bigint PRIMARY KEY, "{name}" text, UNIQUE ("{name}"))',
        f'CREATE TABLE t (id INTEGER PRIMARY KEY, "{name}" TEXT); INSERT INTO t VALUES (1, NULL), (2, NULL)',
    )
    plan = move.plan(tables=("t",))
    assert (plan.clashes, plan.warnings) == ((), ())
    assert dbtasks.migrate(move.settings(), plan).rows == 2


def test_a_key_of_which_sqlite_has_no_column_is_named_by_those_it_is_over(move: Move) -> None:
    there(
        move,
        "CREATE TABLE t (a int, g text GENERATED ALWAYS AS (a % 2) STORED UNIQUE, z int DEFAULT 1, UNIQUE (z))",
        "CREATE TABLE t (a INTEGER); INSERT INTO t VALUES (1), (2)",
    )
    assert words_of(move.plan(tables=("t",))) == [
        "a unique key over g turns down: g is not in SQLite, and only the server gives it a value",
        "a unique key over z turns down: every row has the same in it",
    ]


def test_of_several_keys_that_are_there_each_row_is_held_against_those_that_came_in(move: Move) -> None:
    there(
        move,
        "CREATE TABLE t (id bigint PRIMARY KEY, a int UNIQUE, b int UNIQUE, c int);"
        "CREATE UNIQUE INDEX live ON t (c) WHERE a IS NOT NULL",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, c INTEGER);"
        # 3 would be in the way of nobody but 2, which 1 is in the way of
        "INSERT INTO t VALUES (1, 1, 1, 1), (2, 2, 1, 2), (3, 2, 2, 2), (4, 3, 2, 9), (5, 4, 4, 2), (6, NULL, 5, 2), (7, 1, 1, 1), (8, 8, 8, 8)",
    )
    plan = as_planned(move, tables=("t",))
    assert counted(plan) == {
        "t.a": ("7: as row 1",),
        "t.b": ("2: as row 1", "4: as row 3"),
        "t.c, in the unique index live": ("5: as row 3",),
    }
    assert plan.rejects == {"t": 4}


@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(2, 30))]
)
def test_whatever_keys_that_are_there_turn_down_was_counted(move: Move, seed: int) -> None:
    chance = random.Random(seed)
    rows = [
        (number, *chance.choices([None, 1, 2, 3, "1", "a", "A", "A "], k=3), chance.choice([0, 1, None]))
        for number in range(1, 20)
    ]
    there(
        move,
        """CREATE TABLE t (id bigint PRIMARY KEY, a text, b text UNIQUE, c text, live boolean);
        CREATE UNIQUE INDEX one ON t (a) WHERE live; CREATE UNIQUE INDEX two ON t (lower(c COLLATE "C"), live);
        CREATE UNIQUE INDEX three ON t (a, c) WHERE b <> 'a' OR NOT live""",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a, b, c, live BOOLEAN)",
    )
    with closing(sqlite3.connect(move.path)) as connection, connection:
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", rows)
    assert as_planned(move, tables=("t",)).warnings == ()
