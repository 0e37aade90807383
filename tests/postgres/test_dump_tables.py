"""--table and its kin mean exactly the tables they name."""

from __future__ import annotations

from pathlib import Path

import pytest

from dbtasks.engines.postgres.tables import split_name
from dbtasks.errors import UsageError
from dbtasks.models import Compression, Format
from dbtasks.plans import DumpRequest
from tests.fix_postgres import PgDatabase
from tests.postgres.dumping import Made, contents, dumped, engine_of, restored, rows_of

HOSTILE = [
    "Case",
    "ta.ble",
    "st*r",
    "p$?",
    "-Fp",
    "new\nline",
    'qu"ote',
    "$(id)",
    "ünïcode",
    "a b",
    "|",
    "100%",
]


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def script(made: Made) -> str:
    return made.archive.path.read_text()


@pytest.mark.long
def test_a21_a_name_means_the_table_of_that_name_and_no_other(any_db: PgDatabase, tmp_path: Path) -> None:
    for table in (*HOSTILE, "case", "table", "star", "stxr"):
        any_db.run(f"CREATE TABLE {quoted(table)}(a int)")
    for name in HOSTILE:
        with dumped(any_db, tmp_path, DumpRequest(tables=(name,))) as made:
            assert len(made.dumped.tables) == 1
            assert made.plan.not_included[0].startswith("all other tables than public.")
            listed = contents(made, any_db, tmp_path)
        # pg_restore itself shows a line break as a space
        assert f" TABLE public {name.replace(chr(10), ' ')} postgres" in listed
        assert listed.count(" TABLE public ") == 1


def test_a21_every_hostile_name_comes_back_under_its_name(pg_db: PgDatabase, tmp_path: Path) -> None:
    for table in (*HOSTILE, "case"):
        pg_db.run(f"CREATE TABLE {quoted(table)}(a int)")
    names = tuple(f'"public".{quoted(name)}' for name in HOSTILE)
    found = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    with dumped(pg_db, tmp_path, DumpRequest(tables=names)) as made, pg_db.server.fresh() as copy:
        restored(made, pg_db.server, copy)
        assert sorted(name for (name,) in copy.run(found)) == sorted(HOSTILE)


def test_a21_unknown_tables_are_refused_even_beside_known_ones(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run('CREATE TABLE known(a int); CREATE TABLE "Case"(a int)')
    for flag, request in {
        "--table": DumpRequest(tables=("known", "nosuch")),
        "--exclude-table": DumpRequest(exclude_tables=("nosuch",)),
        "--exclude-data": DumpRequest(exclude_data=("nosuch",)),
    }.items():
        assert f"{flag}=nosuch" in refusal(pg_db, tmp_path, request).message
    assert "did you mean public.Case" in refusal(pg_db, tmp_path, DumpRequest(tables=("case",))).hint
    assert "no such table" in refusal(pg_db, tmp_path, DumpRequest(tables=("k*",))).message


def test_a21_a_name_in_several_schemas_is_refused_with_the_list(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE SCHEMA a; CREATE SCHEMA b; CREATE TABLE a.t(x int); CREATE TABLE b.t(x int)")
    error = refusal(pg_db, tmp_path, DumpRequest(tables=("t",)))
    assert "several schemas" in error.message
    assert "a.t, b.t" in error.hint
    with dumped(pg_db, tmp_path, DumpRequest(tables=("b.t",))) as made:
        assert made.plan.tables == ("b.t",)


def test_a21_a_dot_that_could_mean_two_tables_is_refused(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run('CREATE SCHEMA a; CREATE TABLE a.b(x int); CREATE TABLE "a.b"(x int)')
    assert 'public."a.b"' in refusal(pg_db, tmp_path, DumpRequest(tables=("a.b",))).hint
    with dumped(pg_db, tmp_path, DumpRequest(tables=('"a"."b"',))) as made:
        assert made.plan.tables == ("a.b",)
    with dumped(pg_db, tmp_path, DumpRequest(tables=('"a.b"',))) as made:
        assert made.plan.tables == ('public."a.b"',)


def test_a22_a_partitioned_table_comes_with_all_its_partitions(any_db: PgDatabase, tmp_path: Path) -> None:
    any_db.run(
        """CREATE SCHEMA old; CREATE TABLE parted(a int) PARTITION BY LIST (a); CREATE TABLE other(a int);
        CREATE TABLE p1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (a);
        CREATE TABLE old."P 11" PARTITION OF p1 FOR VALUES IN (1); CREATE TABLE p2 PARTITION OF parted FOR VALUES IN (2);
        INSERT INTO parted SELECT 1 + i % 2 FROM generate_series(1, 100) i"""
    )
    with dumped(any_db, tmp_path, DumpRequest(tables=("parted",))) as made:
        assert rows_of(made) == {"old.P 11": 50, "public.p2": 50}
    with dumped(any_db, tmp_path, DumpRequest(exclude_data=("parted",))) as made:
        assert rows_of(made) == {"old.P 11": None, "public.other": 0, "public.p2": None}
        with any_db.server.fresh() as copy:
            restored(made, any_db.server, copy)
            assert copy.run("SELECT count(*) FROM parted") == [(0,)]
    with dumped(any_db, tmp_path, DumpRequest(exclude_tables=("parted",))) as made:
        assert rows_of(made) == {"public.other": 0}
        with any_db.server.fresh() as copy:
            restored(made, any_db.server, copy)


def test_a23_tables_with_large_objects_bring_them_along_and_say_so(
    any_db: PgDatabase, tmp_path: Path
) -> None:
    any_db.run(
        """CREATE TABLE files(content oid); INSERT INTO files SELECT lo_from_bytea(0, 'a large one');
        CREATE TABLE plain(a int)"""
    )
    with dumped(any_db, tmp_path, DumpRequest(tables=("files",))) as made, any_db.server.fresh() as copy:
        assert "large objects are included" in made.plan.warnings[0]
        restored(made, any_db.server, copy)
        assert copy.run("SELECT convert_from(lo_get(content), 'UTF8') FROM files") == [("a large one",)]
    with dumped(any_db, tmp_path, DumpRequest(tables=("plain",))) as made:
        assert made.plan.warnings == ()
        assert "BLOB" not in contents(made, any_db, tmp_path)


def test_settings_and_flags_add_up_and_a_table_asked_for_by_name_is_not_left_out(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE a(x int); CREATE TABLE b(x int); CREATE TABLE c(x int); CREATE TABLE d(x int)")
    standing = {"exclude_tables": ("a", "gone"), "exclude_data": ("b",)}
    with dumped(pg_db, tmp_path, DumpRequest(exclude_tables=("c",)), **standing) as made:
        assert rows_of(made) == {"public.b": None, "public.d": 0}
        assert made.plan.not_included == ("table public.a, public.c", "rows of public.b")
        assert made.plan.warnings == ("exclude_tables=gone: there is no such table",)
        assert made.plan.tables_without_data == ("public.b",)
    with dumped(pg_db, tmp_path, DumpRequest(tables=("a",)), **standing) as made:
        assert rows_of(made) == {"public.a": 0}
    with pytest.raises(UsageError, match="leave nothing"), engine_of(pg_db, tmp_path) as engine:
        engine.plan_dump(DumpRequest(tables=("a",), exclude_tables=("a",)))


def test_views_and_sequences_can_be_named_too(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("CREATE VIEW v AS SELECT 1 AS x; CREATE SEQUENCE s; CREATE TABLE t(a int)")
    request = DumpRequest(tables=("v", "s"), format=Format.SQL, compression=Compression.NONE)
    with dumped(pg_db, tmp_path, request) as made:
        assert "CREATE VIEW public.v" in script(made)
        assert "CREATE SEQUENCE public.s" in script(made)
        assert "CREATE TABLE" not in script(made)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("t", (None, "t")),
        ("s.t", ("s", "t")),
        ("s.t.u", ("s", "t.u")),
        ('"s.t"', (None, "s.t")),
        ('"s.x"."t"', ("s.x", "t")),
        ('s."t.u"', ("s", "t.u")),
        ('"a""b".c', ('a"b', "c")),
    ],
)
def test_names_are_split_at_the_first_dot_outside_quotes(name: str, parts: tuple[str | None, str]) -> None:
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ['"open', '"a"."b"."c"', '"a"b'])
def test_a_name_with_odd_quotes_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        split_name(name)


def refusal(database: PgDatabase, root: Path, request: DumpRequest) -> UsageError:
    with pytest.raises(UsageError) as caught, engine_of(database, root) as engine:
        engine.plan_dump(request)
    return caught.value
