"""Older rows files into PostgreSQL: each value by its column's type, what could be two things refused, all or nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, CountsDiffer, DbTasksError, LoadFailed, Refused
from dbtasks.models import Format, Type
from dbtasks.plans import LoadRequest, LoadStrategy
from dbtasks.settings import Settings
from tests.fix_postgres import PgDatabase
from tests.older_files import METADATA, NAME, older, packed, table, text_of
from tests.postgres.test_rows_restore import settings_of, state_of

DIGITS = "12345678901234567890.123456789012345678901234567890"
EVERY = {
    "boolean": [(True, "true"), (False, "false"), (0, "false"), (1, "true")],
    "smallint": [(-32768, "-32768")],
    "bigint": [(9223372036854775807, "9223372036854775807"), ("-5", "-5")],
    "numeric": [
        (f"RAW:{DIGITS}", DIGITS),
        ("0.10", "0.10"), (float("nan"), "NaN"), (float("-inf"), "-Infinity"), ("RAW:1e3", "1000"),
    ],
    "numeric(5,2)": [("RAW:1.0500", "1.05"), (12, "12.00"), ("RAW:1e2", "100.00"), ("0", "0.00")],
    "numeric(2,-2)": [(1200, "1200")],
    "double precision": [
        ("RAW:0.1", "0.1"), (float("inf"), "Infinity"), (1e300, "1e+300"), ("RAW:1.50", "1.5"), (5e-324, "5e-324"),
        (9007199254740994, "9.007199254740994e+15"), (0.1 + 0.2, "0.30000000000000004"), (0, "0"),
    ],
    "real": [(0.1, "0.1"), (0.10000000149011612, "0.1"), (16777216, "1.6777216e+07"), (-2.5, "-2.5"), (3.4028235e38, "3.4028235e+38")],
    "timestamp(3) without time zone": [("2024-01-02T03:04:05.120000", "2024-01-02 03:04:05.12")],
    "interval day to second(1)": [("1 day, 0:00:00.500000", "1 day 00:00:00.5")],
    "name": [("é" * 31 + "x", "é" * 31 + "x")],
    '"char"': [("x", "x"), ("\\351", "\\351")],
    "character(4)": [("ab", "ab")],
    "text": [("", ""), ("nul? \\N \t\n\"'", "nul? \\N \t\n\"'"), ("[1, 2]", "[1, 2]"), ("Zoë 😀", "Zoë 😀")],
    "character varying(5)": [("12345", "12345")],
    "date": [("2024-02-29", "2024-02-29")],
    "time without time zone": [("23:59:59.999999", "23:59:59.999999")],
    "time with time zone": [("12:00:00+02:00", "12:00:00+02")],
    "timestamp without time zone": [("2024-01-02T03:04:05.000006", "2024-01-02 03:04:05.000006")],
    "timestamp with time zone": [
        ("2024-01-02T03:04:05+02:00", "2024-01-02 01:04:05+00"), ("2024-01-02 03:04:05Z", "2024-01-02 03:04:05+00"),
    ],
    "interval": [("1 day, 2:03:04.500000", "1 day 02:03:04.5"), ("-1 day, 23:00:00", "-1 days +23:00:00"), ("P1Y2DT3H", "1 year 2 days 03:00:00")],
    "uuid": [("00112233445566778899aabbccddeeff", "00112233-4455-6677-8899-aabbccddeeff")],
    "bytea": [("\\x00ff", "\\x00ff"), ("b\"\\x00a'\"", "\\x006127"), ("", "\\x")],
    "json": [({"a": [1.10, None]}, '{"a": [1.1, null]}'), ("no json", '"no json"'), ([1, 2], "[1, 2]"), (5, "5"), (False, "false")],
    "jsonb": [({"b": 1, "a": 1e2}, '{"a": 100.0, "b": 1}')],
    "integer[]": [([[1, None], [3, 4]], "{{1,NULL},{3,4}}"), ([], "{}")],
    "text[]": [(['a"b', "c,d\\", "NULL", ""], '{"a\\"b","c,d\\\\","NULL",""}')],
    "timestamp with time zone[]": [(["2024-01-02T03:04:05+00:00"], '{"2024-01-02 03:04:05+00"}')],
    "mood": [("sad", "sad")],
    "mood[]": [(["sad", "ok"], "{sad,ok}")],
    "positive": [(3, "3")],
    "inet": [("10.0.0.1/8", "10.0.0.1/8")],
    "int4range": [("[1, 10)", "[1,10)")],
}  # fmt: skip
TYPES = "CREATE TYPE mood AS ENUM ('sad', 'ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);"
REFUSED = [
    ("timestamp with time zone", "2024-01-02T03:04:05", "without a zone"),
    ("timestamp without time zone", "2024-01-02T03:04:05Z", "with a zone"),
    ("timestamp without time zone", "2024-01-02", "no ISO 8601"),
    ("timestamp without time zone", 1704164645, "a number"),
    ("date", "2024-01-02T00:00:00", "no ISO 8601 date"),
    ("date", "now", "no ISO 8601 date"),
    ("timestamp with time zone", "infinity", "no ISO 8601"),
    ("bytea", "00ff", "base64"),
    ("bytea", "AP8=", "base64"),
    ("bytea", "plain words", "characters"),
    ("bytea", "b'\\x61'", "characters"),
    ("bytea", "b'' + b'x'", "no Python"),
    ("bytea", "<memory at 0x7f>", "characters"),
    ("bytea", [0, 255], "a list"),
    ("integer", 1.0, "a fraction"),
    ("integer", True, "true or false"),
    ("integer", float("nan"), "NaN"),
    ("boolean", "true", "a text"),
    ("boolean", 2, "a number"),
    ("text", 5, "a number"),
    ("text", {"a": 1}, "an object"),
    ("text", "a\0b", "no database takes"),
    ("text", "\ud800", "no database takes"),
    ("numeric", "1,5", "a text"),
    ("json", '{"a": 1}', "JSON itself"),
    ("jsonb", "5", "JSON itself"),
    ("jsonb", {"a": float("nan")}, "NaN"),
    ("json[]", [[1]], "a list in a list"),
    ("integer[]", "{1,2}", "a text"),
    ("interval", 3600, "a number"),
    ("interval", "1:2", "duration"),
    ("mood", "happy", "none of the values"),
    ("pair", "(1,2)", "nobody said"),
    ("tstzrange", "[2024-01-01,2024-02-01)", "nobody said"),
    ("money", "1", "nobody said"),
    ("uuid", "zz", "no UUID"),
    ("numeric(5,2)", "1.005", "finer digits than the 2"),
    ("numeric(5,2)[]", ["1.20", 1.005], "finer digits than the 2"),
    ("cents", 1.005, "finer digits than the 2"),
    ("numeric(5)", 1.5, "finer digits than the 0"),
    ("timestamp(0) without time zone", "2024-01-01T00:00:00.6", "behind the second than the 0"),
    ("timestamp(3) with time zone", "2024-01-01T00:00:00.0001Z", "behind the second than the 3"),
    ("time(0) without time zone", "00:00:00.6", "behind the second than the 0"),
    ("interval(1)", "PT0.25S", "behind the second than the 1"),
    ("interval day to hour", "P1DT2H", "what is finer"),
    ("time without time zone", "23:59:60", "no ISO 8601 time"),
    ("character varying(3)", "abc  ", "more than the 3 characters"),
    ("character(3)", "abc  ", "more than the 3 characters"),
    ("name", "é" * 32, "63 bytes"),
    ('"char"', "xyz", "one byte"),
    ("real", 16777217, "more digits"),
    ("real", 1.23456789, "more digits"),
    ("double precision", 9007199254740993, "more digits"),
    ("double precision", "0.1234567890123456789", "more digits"),
    ("oid", -1, "below zero"),
    ("jsonb", {"a": {"TWICE": 1, "twice": 2}}, "a key twice"),
    ("jsonb", {"a": [-0.0]}, "a zero below zero"),
    ("jsonb[]", [{"TWICE": 1, "twice": 2}], "a key twice"),
]  # fmt: skip
SHOP = """
CREATE TABLE customer (id serial PRIMARY KEY, name text NOT NULL, at timestamptz, shout text GENERATED ALWAYS AS (upper(name)) STORED);
CREATE TABLE item (id int PRIMARY KEY, customer_id int REFERENCES customer (id), picture bytea, price numeric(20, 10));
CREATE TABLE other (id int);
INSERT INTO customer (id, name) VALUES (1, 'before');
INSERT INTO item VALUES (1, 1, NULL, 1);
INSERT INTO other VALUES (7);
"""
ROWS = {
    "item": table(
        ["id", "customer_id", "picture", "price"], [10, 40, "\\x00ff", "9999999999.0123456789"], [11, None, None, None]
    ),
    "customer": table(
        ["id", "name", "at", "shout"],
        [40, "Ada", "2024-01-02T03:04:05.000006+01:00", "ADA"],
        [41, "Bo", None, "BO"],
    ),
}  # fmt: skip


@pytest.fixture
def shop(pg_db: PgDatabase) -> PgDatabase:
    pg_db.run(SHOP)
    return pg_db


@pytest.fixture
def owner(pg_db: PgDatabase) -> Iterator[PgDatabase]:
    role = pg_db.server.create_role("LOGIN NOSUPERUSER NOCREATEDB NOBYPASSRLS")
    pg_db.run(f'GRANT ALL ON SCHEMA public TO "{role.user}"')
    yield pg_db.seen_by(role)
    pg_db.run(f'REASSIGN OWNED BY "{role.user}" TO postgres; DROP OWNED BY "{role.user}"')


def planned(config: Settings, file: Path | str, *, unverified: bool = True) -> dbtasks.RestorePlan:
    request = LoadRequest(unverified=unverified)
    return dbtasks.plan_restore(
        config, dbtasks.RestoreJob(str(file), request=request, skip_safety_backup=True)
    )


def restored(config: Settings, file: Path | str, *, unverified: bool = True) -> dbtasks.RestoreResult:
    return dbtasks.restore(config, planned(config, file, unverified=unverified))


def fails(
    database: PgDatabase, config: Settings, file: Path, kind: type[DbTasksError], match: str
) -> DbTasksError:
    before = state_of(database)
    with pytest.raises(kind, match=match) as caught:
        restored(config, file)
    assert state_of(database) == before
    return caught.value


def test_c09_an_older_file_comes_back_into_the_tables_that_are_there_as_an_ordinary_owner(
    owner: PgDatabase, tmp_path: Path
) -> None:
    owner.run(SHOP)
    config = settings_of(owner, tmp_path)
    plan = planned(config, older(tmp_path, ROWS))
    assert plan.load.strategy is LoadStrategy.ROWS
    assert set(plan.load.fills) == {"public.customer", "public.item"}
    assert "table public.other" in plan.load.stays
    assert any("shout is computed here" in text for text in plan.warnings)
    assert not any("may run programs" in text for text in plan.warnings)
    # it knows of its columns but their names
    assert not any("NULL" in text for text in plan.warnings)
    result = dbtasks.restore(config, plan)
    assert (result.tables, result.rows) == (2, 4)
    assert owner.run("SELECT id, name, at::text, shout FROM customer ORDER BY 1") == [
        (40, "Ada", "2024-01-02 02:04:05.000006+00", "ADA"),
        (41, "Bo", None, "BO"),
    ]
    assert owner.run("SELECT id, customer_id, picture::text, price::text FROM item ORDER BY 1") == [
        (10, 40, "\\x00ff", "9999999999.0123456789"),
        (11, None, None, None),
    ]
    # the next number is behind the rows, and what is not in the file stays
    assert owner.run("INSERT INTO customer (name) VALUES ('next') RETURNING id") == [(42,)]
    assert owner.run("TABLE other") == [(7,)]


def test_b04_b05_b06_every_value_means_what_its_column_says(any_db: PgDatabase, tmp_path: Path) -> None:
    any_db.run(TYPES)
    tables: dict[str, Any] = {}
    for number, (type_, values) in enumerate(EVERY.items()):
        any_db.run(f"CREATE TABLE t{number} (n int PRIMARY KEY, v {type_}, gone {type_})")
        rows = [(n, value, None) for n, (value, _) in enumerate(values)]
        tables[f"t{number}"] = table(["n", "v", "gone"], *rows)
    text = text_of(tables, indent=1)
    for values in EVERY.values():
        for value, _ in values:
            if isinstance(value, str) and value.startswith("RAW:"):
                text = text.replace(json.dumps(value), value.removeprefix("RAW:"))
    restored(settings_of(any_db, tmp_path), packed(tmp_path, text))
    any_db.run(f"ALTER DATABASE \"{any_db.name}\" SET TimeZone = 'UTC'")
    for number, (type_, values) in enumerate(EVERY.items()):
        found = any_db.run(f"SELECT v::text, gone FROM t{number} ORDER BY n")
        assert found == [(meant, None) for _, meant in values], type_


@pytest.mark.long
def test_b04_b06_what_could_be_two_things_is_refused_by_column_row_and_reason(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(TYPES + "CREATE TYPE pair AS (a int, b int); CREATE DOMAIN cents AS numeric(9,2)")
    config = settings_of(pg_db, tmp_path)
    for number, (type_, value, said) in enumerate(REFUSED):
        pg_db.run(f"CREATE TABLE t{number} (v {type_}); INSERT INTO t{number} VALUES (NULL)")
        text = text_of({f"t{number}": table(["v"], [None], [value], [None], [value])})
        file = packed(tmp_path, text.replace("TWICE", "twice"))
        with pytest.raises(Refused, match=rf"public.t{number}.v: .*{said}.*\(row 2 and 1 more\)") as caught:
            planned(config, file)
        assert caught.value.state == "nothing was touched"
        assert pg_db.run(f"SELECT count(*) FROM t{number}") == [(1,)]


def test_values_never_stand_in_what_is_said(shop: PgDatabase, tmp_path: Path) -> None:
    wrong = table(["id", "name", "at"], [1, "x", "my secret"])
    file = older(tmp_path, {"customer": wrong, "item": ROWS["item"]})
    error = fails(shop, settings_of(shop, tmp_path), file, Refused, "no ISO 8601")
    assert "secret" not in f"{error.message}{error.details}{error.hint}"


@pytest.mark.parametrize(
    ("tables", "kind", "match"),
    [
        ({"nowhere": table(["a"])}, Refused, "lacks tables .*nowhere"),
        ({"customer": table(["id", "name", "age"])}, Refused, "age is not there"),
        ({"customer": table(["id"], [1]), "item": ROWS["item"]}, Refused, "name is not in the backup"),
        ({"customer": ROWS["customer"]}, Refused, "public.item is not in the backup and refers to"),
        ({"item": table(["id", "customer_id"], [1, 999])}, LoadFailed, "item_customer_id_fkey"),
        ({"item": table(["id"], [1], [1])}, LoadFailed, "item_pkey"),
        ({"item": table(["id"], [1], count=2)}, CountsDiffer, "says that it has 2"),
        ({"item": table(["id"], [1, 2])}, ArchiveDamaged, "row 1 of item"),
        ({"item": table(["id"], [99999999999])}, LoadFailed, "do not go in"),
        ({"item": ROWS["item"], "public.item": ROWS["item"]}, Refused, "two tables of"),
    ],
)  # fmt: skip
def test_e18_g21_what_does_not_fit_or_is_damaged_leaves_everything_as_it_was(
    shop: PgDatabase, tmp_path: Path, tables: dict[str, Any], kind: type[DbTasksError], match: str
) -> None:
    fails(shop, settings_of(shop, tmp_path), older(tmp_path, tables), kind, match)


def test_c03_a_cut_file_is_damaged_and_nothing_is_touched(shop: PgDatabase, tmp_path: Path) -> None:
    file = older(tmp_path, ROWS)
    file.write_bytes(file.read_bytes()[:-20])
    fails(shop, settings_of(shop, tmp_path), file, ArchiveDamaged, "ends early or is damaged")


def test_a_name_that_could_be_two_tables_is_refused_and_one_with_its_schema_is_not(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (v int); CREATE SCHEMA s; CREATE TABLE s.t (v int); CREATE TABLE s.own (v int)")
    config = settings_of(pg_db, tmp_path)
    fails(pg_db, config, older(tmp_path, {"t": table(["v"])}), Refused, "could be public.t or s.t")
    restored(config, older(tmp_path, {"s.t": table(["v"], [3]), "own": table(["v"], [4])}))
    found = pg_db.run("SELECT v FROM s.t UNION ALL SELECT v FROM s.own UNION ALL SELECT v FROM t")
    assert found == [(3,), (4,)]


def test_d09_a_superuser_is_told_as_whom_somebodys_values_go_in(shop: PgDatabase, tmp_path: Path) -> None:
    plan = planned(settings_of(shop, tmp_path), older(tmp_path, ROWS))
    assert any("an ordinary role will do" in text for text in plan.warnings)


def test_it_needs_to_be_asked_for(shop: PgDatabase, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no manifest of dbtasks"):
        planned(settings_of(shop, tmp_path), older(tmp_path, ROWS), unverified=False)


def test_the_migration_it_was_made_at_is_told_where_it_is_another(shop: PgDatabase, tmp_path: Path) -> None:
    shop.run(
        "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);"
        " INSERT INTO alembic_version VALUES ('aaa')"
    )
    plan = planned(settings_of(shop, tmp_path), older(tmp_path, ROWS))
    assert any(str(METADATA["migration_version"]) in text and "aaa" in text for text in plan.warnings)


def test_c09_in_the_list_it_is_somebodys_until_it_is_adopted_and_then_it_restores_like_any(
    shop: PgDatabase, tmp_path: Path
) -> None:
    config = settings_of(shop, tmp_path, backup_dir="backups")
    (tmp_path / "backups" / "manual").mkdir(parents=True)
    older(tmp_path / "backups" / "manual", ROWS)
    assert [file.path.name for file in dbtasks.list_backups(config).foreign] == [NAME]
    made = dbtasks.adopt(config, dbtasks.plan_adopt(config, dbtasks.AdoptJob(NAME, type=Type.MANUAL)))
    assert made.manifest.format is Format.ROWS
    assert made.manifest.counts == {"customer": 2, "item": 2}
    assert not made.manifest.complete
    result = restored(config, made.id, unverified=False)
    assert result.checked_against_manifest
    assert shop.run("SELECT count(*) FROM customer") == [(2,)]


def test_c09_adopting_a_damaged_one_publishes_nothing(shop: PgDatabase, tmp_path: Path) -> None:
    config = settings_of(shop, tmp_path)
    file = older(tmp_path, {"item": table(["id"], [1], count=5)})
    with pytest.raises(CountsDiffer):
        dbtasks.plan_adopt(config, dbtasks.AdoptJob(str(file)))
    assert not dbtasks.list_backups(config).backups


def test_where_no_tables_are_it_is_refused_with_what_would_make_them(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="does not say what they are") as caught:
        planned(settings_of(pg_db, tmp_path), older(tmp_path, ROWS))
    assert "schema_command" in caught.value.hint


@pytest.mark.long
def test_b09_one_value_of_fifty_megabytes_goes_in(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE TABLE big (v text)")
    file = older(tmp_path, {"big": table(["v"], ["y" * 50_000_000], ["z"])})
    restored(settings_of(pg_db, tmp_path), file)
    assert pg_db.run("SELECT length(v) FROM big ORDER BY 1") == [(1,), (50_000_000,)]
