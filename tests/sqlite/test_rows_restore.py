"""Restores of rows backups into SQLite files that have the tables: one transaction of the live file, all or nothing."""

from __future__ import annotations

import gzip
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dbtasks
from dbtasks.engines.sqlite.rows import fill as rows_fill
from dbtasks.errors import ArchiveDamaged, Busy, CountsDiffer, DbTasksError, LoadFailed, Refused, UsageError
from dbtasks.models import Backup, Format
from dbtasks.plans import LoadRequest, LoadStrategy
from dbtasks.settings import Settings
from tests.conftest import REPOSITORY
from tests.postgres.rows_file import without_outline
from tests.sqlite.test_rows import HOSTILE, VALUES, made_of

SCHEMA = """
CREATE TABLE person (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, boss REFERENCES person (id), odd);
CREATE TABLE pet (id INTEGER PRIMARY KEY, owner INTEGER REFERENCES person (id), shout AS (upper(name)), name TEXT);
CREATE TABLE flat (a TEXT, b BLOB, PRIMARY KEY (a, b)) WITHOUT ROWID;
CREATE TABLE heard (what TEXT);
CREATE TRIGGER born AFTER INSERT ON pet BEGIN INSERT INTO heard VALUES ('insert'); END;
CREATE TRIGGER gone AFTER DELETE ON pet BEGIN INSERT INTO heard VALUES ('delete'); END;
CREATE INDEX by_name ON pet (name);
CREATE VIEW pets AS SELECT * FROM pet;
INSERT INTO person (id, name, boss) VALUES (2, 'Ada', 1), (1, 'Bo', 2), (9, 'Cy', NULL);
DELETE FROM person WHERE id = 9;
INSERT INTO pet (id, owner, name) VALUES (1, 1, 'rex'), (2, 2, NULL);
INSERT INTO flat VALUES ('a', x'00ff');
DELETE FROM heard;
"""


def named(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def content(path: Path) -> list[Any]:
    """Everything in a file: values with their storage class and bytes, definitions, AUTOINCREMENT numbers."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT type, name, sql FROM sqlite_master ORDER BY type, name"
        held: list[Any] = connection.execute(query).fetchall()
        for kind, name, _ in list(held):
            if kind != "table":
                continue
            columns = [named(row[1]) for row in connection.execute(f"PRAGMA table_xinfo({named(name)})")]
            told = ", ".join(
                f"typeof({c}), CASE typeof({c}) WHEN 'text' THEN CAST({c} AS BLOB) ELSE {c} END"
                for c in columns
            )
            # repr tells every float from every other
            held.append((name, sorted(map(repr, connection.execute(f"SELECT {told} FROM {named(name)}")))))
        return held


def settings_of(path: Path, **flags: Any) -> Settings:
    return dbtasks.load_settings(path.parent, environ={}, url=f"sqlite:///{path}", **flags)


def backed_up(config: Settings, **request: Any) -> Backup:
    return dbtasks.backup(
        config, dbtasks.BackupJob(request=dbtasks.DumpRequest(format=Format.ROWS, **request))
    )


def planned(config: Settings, file: str, **request: Any) -> dbtasks.RestorePlan:
    skip = request.pop("skip_safety_backup", False)
    job = dbtasks.RestoreJob(file, request=LoadRequest(**request), skip_safety_backup=skip)
    return dbtasks.plan_restore(config, job)


def restored(config: Settings, file: str, on_event: Any = None, **request: Any) -> dbtasks.RestoreResult:
    plan = planned(config, file, **request)
    return dbtasks.restore(config, plan, **({"on_event": on_event} if on_event else {}))


def run(path: Path, *statements: str) -> list[Any]:
    with closing(sqlite3.connect(path, timeout=5)) as connection, connection:
        for statement in statements:
            found = connection.execute(statement).fetchall()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return made_of(tmp_path / "app.db", SCHEMA)


def fails(
    path: Path, made: Backup | Path, kind: type[DbTasksError], match: str, **request: Any
) -> DbTasksError:
    before = content(path)
    with pytest.raises(kind, match=match) as caught:
        file = str(made) if isinstance(made, Path) else made.id
        restored(settings_of(path), file, skip_safety_backup=True, **request)
    assert content(path) == before
    return caught.value


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_b06_e09_e11_e13_e14_every_row_comes_back_and_all_else_stays(path: Path, journal: str) -> None:
    run(path, f"PRAGMA journal_mode={journal}")
    config, before = settings_of(path), content(path)
    made = backed_up(config)
    run(
        path,
        "DELETE FROM pet",
        "DELETE FROM person",
        "INSERT INTO person (name) VALUES ('new')",
        "DELETE FROM flat",
        "DELETE FROM heard",
    )
    changed = content(path)
    run(path, "CREATE TABLE later (x)", "INSERT INTO later VALUES (1)")
    plan = planned(config, made.id)
    assert plan.load.strategy is LoadStrategy.ROWS
    assert plan.load.fills == ("flat", "heard", "person", "pet")
    assert plan.load.stays[:2] == ("table later", "1 view (pets)")
    result = dbtasks.restore(config, plan)
    assert (result.tables, result.rows, result.way_back) == (4, 5, "db.undo")
    assert run(path, "SELECT x FROM later") == [(1,)]
    run(path, "DROP TABLE later")
    assert content(path) == before
    run(path, "INSERT INTO person (name) VALUES ('next')")
    assert run(path, "SELECT max(id) FROM person") == [(10,)]
    dbtasks.undo(config, dbtasks.plan_undo(config))
    run(path, "DROP TABLE later")
    assert content(path) == changed
    assert run(path, "PRAGMA integrity_check") == [("ok",)]
    assert run(path, "PRAGMA journal_mode") == [(journal,)]


def test_the_plan_says_what_is_there_and_stays_and_not_what_the_backup_saw(tmp_path: Path) -> None:
    script = (
        "CREATE TABLE plain (a); CREATE TABLE own (id INTEGER PRIMARY KEY, b); CREATE TABLE words (k TEXT PRIMARY KEY);"
        "CREATE TABLE none (k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO plain (rowid, a) VALUES (5, 'x');"
        "CREATE VIEW gone AS SELECT 1; CREATE TRIGGER fires AFTER INSERT ON plain BEGIN SELECT 1; END"
    )
    path = made_of(tmp_path / "app.db", script)
    config = settings_of(path)
    made = backed_up(config)
    run(path, "DROP VIEW gone", "DROP TRIGGER fires", "CREATE VIEW came AS SELECT 2")
    plan = planned(config, made.id)
    assert plan.load.stays == (
        "1 view (came)",
        "PRAGMA settings of the file but user_version and application_id",
    )
    assert "the rows of plain, words get new rowids" in plan.load.steps[0]
    dbtasks.restore(config, plan)
    assert run(path, "SELECT rowid FROM plain") == [(1,)], "which the plan says"


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_b04_b05_b07_every_storage_class_comes_back_to_the_last_bit(tmp_path: Path, encoding: str) -> None:
    quoted = named(HOSTILE)
    path = made_of(
        tmp_path / "app.db", f"PRAGMA encoding='{encoding}'; CREATE TABLE {quoted} ({quoted}, t TEXT, i INT)"
    )
    with closing(sqlite3.connect(path)) as connection, connection:
        for value in VALUES:
            if isinstance(value, str):
                data = value.encode("utf-8", "surrogateescape")
                if encoding != "UTF-8":
                    try:
                        data = data.decode("utf-8", "surrogatepass").encode(encoding, "surrogatepass")
                    except UnicodeDecodeError:
                        continue
                statement = f"INSERT INTO {quoted} VALUES (CAST(? AS TEXT), CAST(? AS TEXT), CAST(? AS TEXT))"
                connection.execute(statement, (data, data, data))
            else:
                connection.execute(f"INSERT INTO {quoted} VALUES (?, ?, ?)", (value, value, value))
    before, config = content(path), settings_of(path)
    made = backed_up(config)
    run(path, f"DELETE FROM {quoted}")
    restored(config, made.id)
    assert content(path) == before


ANY = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=("Cs",))),
    st.binary(),
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(ANY, ANY, ANY, ANY), max_size=20))
def test_b04_any_values_come_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[Any, ...]]
) -> None:
    path = made_of(tmp_path_factory.mktemp("any") / "app.db", "CREATE TABLE t (a, b TEXT, c INTEGER, d REAL)")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", rows)
    before, config = content(path), settings_of(path)
    made = backed_up(config)
    run(path, "DELETE FROM t")
    restored(config, made.id)
    assert content(path) == before


# -- what does not fit ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("ALTER TABLE person DROP COLUMN odd", r"person\.odd is not there"),
        ("DROP TABLE flat", "lacks tables of .*: flat"),
        ("ALTER TABLE pet RENAME TO pets2", "lacks tables of .*: pet"),
    ],
)
def test_e18_what_differs_is_refused_before_anything_is_touched(path: Path, change: str, said: str) -> None:
    made = backed_up(settings_of(path))
    run(path, "DROP VIEW pets", change)
    assert fails(path, made, Refused, said).state == "nothing was touched"


def test_e18_a_column_of_another_kind_is_refused_and_another_spelling_of_the_same_is_not(
    tmp_path: Path,
) -> None:
    path = made_of(tmp_path / "app.db", "CREATE TABLE t (a INT, b VARCHAR(9)); INSERT INTO t VALUES (1, '1')")
    made = backed_up(settings_of(path))
    run(path, "DROP TABLE t", "CREATE TABLE t (a BIGINT, b TEXT, c DEFAULT 7)")
    plan = planned(settings_of(path), made.id)
    assert plan.warnings == ("t.c is not in the backup: every row gets its default there",)
    dbtasks.restore(settings_of(path), plan)
    assert run(path, "SELECT * FROM t") == [(1, "1", 7)]
    run(path, "DROP TABLE t", "CREATE TABLE t (a INT, b INT)")
    fails(path, made, Refused, r"t\.b is INT here, and VARCHAR\(9\) in the backup")


def test_e10_a_table_outside_that_refers_into_it_is_refused_by_name(path: Path) -> None:
    made = backed_up(settings_of(path))
    run(path, "CREATE TABLE vet (pet REFERENCES PET (id))")
    fails(path, made, Refused, "vet is not in the backup and refers to pet")


def test_e10_a_table_whose_rows_alone_are_left_out_is_told_when_backed_up_and_refused_as_that(
    path: Path,
) -> None:
    run(path, "CREATE TABLE vet (pet REFERENCES PET (id))")
    made = backed_up(settings_of(path), exclude_data=("vet",))
    said = (
        "the rows of vet are not in it and refer to pet: it cannot go back into tables where that key stands"
    )
    assert said in made.manifest.warnings
    fails(
        path, made, Refused, r"the rows of vet were left out of the backup and refer to pet \(a foreign key\)"
    )


def test_f14_rows_that_break_a_key_are_refused_unless_the_backup_said_so(path: Path) -> None:
    config = settings_of(path)
    part = backed_up(config, tables=("pet",))
    run(path, "DELETE FROM pet", "DELETE FROM person")
    fails(path, part, LoadFailed, "pet: 2 times a row breaks a foreign key")
    run(path, "INSERT INTO pet (id, owner) VALUES (5, 77)")
    broken = backed_up(config)
    assert broken.manifest.warnings == ("pet: once a row breaks a foreign key",)
    run(path, "DELETE FROM pet")
    restored(config, broken.id)
    assert run(path, "SELECT id, owner FROM pet") == [(5, 77)]


def test_f15_a_virtual_table_stays_and_is_told(tmp_path: Path) -> None:
    path = made_of(
        tmp_path / "app.db",
        "CREATE TABLE t (a); INSERT INTO t VALUES ('x'); CREATE VIRTUAL TABLE search USING fts5(a); INSERT INTO search VALUES ('x')",
    )
    made = backed_up(settings_of(path))
    run(path, "DELETE FROM t")
    plan = planned(settings_of(path), made.id)
    assert plan.load.fills == ("t",)
    assert plan.warnings == (
        "search is a virtual table: where it is an index of rows that change, build it anew afterwards",
    )
    dbtasks.restore(settings_of(path), plan)
    assert run(path, "SELECT count(*) FROM t") == run(path, "SELECT count(*) FROM search") == [(1,)]


@pytest.mark.parametrize("what", ["missing", "empty", "damaged"])
def test_what_lacks_the_tables_is_refused_by_name(path: Path, what: str) -> None:
    made = backed_up(settings_of(path), data_only=True)
    path.unlink()
    if what == "empty":
        path.touch()
    if what == "damaged":
        path.write_bytes(b"SQLite format 3\0" + b"no" * 4000)
    with pytest.raises(
        Refused, match="is damaged" if what == "damaged" else "lacks tables of .*: flat, heard"
    ):
        planned(settings_of(path), made.id)


def test_flags_that_mean_nothing_are_refused(path: Path) -> None:
    made = backed_up(settings_of(path))
    with pytest.raises(UsageError, match="--role means nothing for SQLite"):
        planned(settings_of(path), made.id, role="x")


def test_e18_rows_alone_go_into_no_column_of_another_affinity(tmp_path: Path) -> None:
    path = made_of(
        tmp_path / "app.db", "CREATE TABLE t (a TEXT, b REAL, c); INSERT INTO t VALUES ('007', 0.5, '08')"
    )
    made = backed_up(settings_of(path), data_only=True)
    run(path, "DROP TABLE t", "CREATE TABLE t (a VARCHAR, b TEXT, c NUMERIC)")
    before = content(path)
    with pytest.raises(Refused, match=r"t\.b is TEXT here, and REAL in the backup") as caught:
        planned(settings_of(path), made.id)
    assert caught.value.details == "t.c is NUMERIC here, and without a type in the backup"
    assert content(path) == before
    bare = without_outline(made.path, tmp_path)
    plan = planned(settings_of(path), str(bare), unverified=True)
    assert any(
        "does not tell the types of its columns" in text and text.endswith(": t") for text in plan.warnings
    )
    run(path, "DROP TABLE t", "CREATE TABLE t (a TEXT, b REAL, c)")
    restored(settings_of(path), made.id)
    assert run(path, "SELECT * FROM t") == [("007", 0.5, "08")]


def test_e18_rows_alone_tell_any_of_a_strict_table_from_another(tmp_path: Path) -> None:
    path = made_of(tmp_path / "app.db", "CREATE TABLE t (a ANY) STRICT; INSERT INTO t (a) VALUES ('007')")
    made = backed_up(settings_of(path), data_only=True)
    run(path, "DELETE FROM t")
    restored(settings_of(path), made.id)
    assert run(path, "SELECT * FROM t") == [("007",)]
    run(path, "DROP TABLE t", "CREATE TABLE t (a ANY)")
    with pytest.raises(Refused, match=r"t\.a is ANY here, and ANY in a STRICT table in the backup"):
        planned(settings_of(path), made.id)


# -- crafted files, breaking off ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "kind", "said"),
    [
        ('"heard"', '"sqlite_master"', Refused, "lacks tables of .*: sqlite_master"),
        ('"heard": {"columns"', '"sqlite_master": {"columns"', ArchiveDamaged, "schema does not know"),
        ('"heard": {"columns": ["what"]', '"heard": {"columns": ["what) SELECT 1 --"]', ArchiveDamaged, "its schema says"),
        ('["a",{"blob":"00ff"}]', '["a"]', ArchiveDamaged, "a row of flat cannot be read"),
        ('["a",{"blob":"00ff"}]', '["a",[1]]', LoadFailed, "rows of flat do not go in"),
        ('["a",{"blob":"00ff"}]', '["a",{"integer":"99999999999999999999"}]', LoadFailed, "rows of flat do not go in"),
        ('["a",{"blob":"00ff"}]', '["a",{"blob":"zz"}]', ArchiveDamaged, "a row of flat cannot be read"),
    ],
)  # fmt: skip
def test_g21_a_crafted_file_touches_nothing_it_is_not_allowed_to(
    path: Path, old: str, new: str, kind: type[DbTasksError], said: str
) -> None:
    made = backed_up(settings_of(path))
    text = gzip.decompress(made.path.read_bytes()).decode()
    assert old in text
    crafted = path.parent / "crafted.json.gz"
    crafted.write_bytes(gzip.compress(text.replace(old, new).encode()))
    fails(path, crafted, kind, said, unverified=True)


def test_e19_other_counts_than_the_documents_are_never_committed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = backed_up(settings_of(path))
    monkeypatch.setattr(rows_fill._Insert, "take", lambda *_: 0)
    fails(path, made, CountsDiffer, "0 rows came into")


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
import dbtasks
from tests.moments import at_progress
from tests.sqlite.test_rows_restore import settings_of
config = settings_of(Path(sys.argv[1]))
plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(sys.argv[2], skip_safety_backup=True))
number = getattr(signal, sys.argv[4])
dbtasks.restore(config, plan, on_event=at_progress(lambda: os.kill(os.getpid(), number)))
"""


@pytest.mark.fault
@pytest.mark.parametrize("number", ["SIGKILL", "SIGINT"])
def test_a10_a_kill_in_the_middle_leaves_the_live_rows(path: Path, number: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO pet (owner, name) VALUES (1, ?)", [(str(i),) for i in range(50_000)]
        )
    made = backed_up(settings_of(path))
    run(path, "DELETE FROM pet WHERE id > 10")
    before = content(path)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), made.id, str(REPOSITORY), number],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )
    assert done.returncode != 0
    assert ("Interrupted" in done.stderr) == (number == "SIGINT"), done.stderr
    assert content(path) == before
    assert restored(settings_of(path), made.id).tables == 4
    assert run(path, "SELECT count(*) FROM pet") == [(50_002,)]


def test_f03_a_locked_file_is_waited_for_and_then_said(path: Path) -> None:
    made = backed_up(settings_of(path))
    config = settings_of(path, lock_timeout="0.2")
    plan = planned(config, made.id, skip_safety_backup=True)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Busy, match="is locked by another process") as caught:
            dbtasks.restore(config, plan)
    assert caught.value.state == "app.db is as it was"


def test_after_load_runs_in_the_same_transaction(path: Path) -> None:
    made, script = backed_up(settings_of(path)), path.parent / "names.sql"
    script.write_text("UPDATE person SET name = 'x'; SELECT 1; -- done\n")
    restored(settings_of(path), made.id, after_load=(script,))
    assert run(path, "SELECT DISTINCT name FROM person") == [("x",)]
    for text, kind, said in (
        ("DELETE FROM flat; SELECT nothing;", LoadFailed, "failed at line 1"),
        ("DELETE FROM person;", LoadFailed, "does not hold together: pet: 2 times"),
        ("COMMIT;", Refused, "the restore's to say"),
    ):
        script.write_text(text)
        fails(path, made, kind, said, after_load=(script,))


@pytest.mark.parametrize(
    ("there", "here", "refused"),
    [
        ("(a ANY) STRICT", "(a ANY)", "t.a is ANY here, and ANY in a STRICT table in the backup"),
        ("(a ANY)", "(a ANY) STRICT", "t.a is ANY in a STRICT table here, and ANY in the backup"),
        ("(a any, b INT) WITHOUT ROWID, STRICT", "(a)", ""),
        ("(a ANY, strict INT)", "(a NUMERIC, strict INT)", ""),
    ],
)
def test_e18_any_of_a_strict_table_leaves_values_as_they_are_and_of_another_does_not(
    tmp_path: Path, there: str, here: str, refused: str
) -> None:
    if "WITHOUT" in there:
        there, here = "(a ANY PRIMARY KEY) STRICT, WITHOUT ROWID", "(a PRIMARY KEY)"
    path = made_of(tmp_path / "app.db", f"CREATE TABLE t {there}; INSERT INTO t (a) VALUES ('007'), ('1e3')")
    made = backed_up(settings_of(path))
    before = run(path, "SELECT typeof(a), a FROM t")
    run(path, "DROP TABLE t", f"CREATE TABLE t {here}")
    if refused:
        fails(path, made, Refused, refused)
        return
    restored(settings_of(path), made.id)
    assert run(path, "SELECT typeof(a), a FROM t") == before


@pytest.mark.parametrize(
    "columns", ["name TEXT, [autoincrement] INTEGER", "name TEXT /* no AUTOINCREMENT */"]
)
@pytest.mark.parametrize("format_", [Format.ROWS, Format.SQLITE])
def test_the_word_autoincrement_counts_nothing_where_it_is_a_name_or_a_comment(
    tmp_path: Path, columns: str, format_: Format
) -> None:
    path = made_of(tmp_path / "app.db", f"CREATE TABLE t ({columns}); INSERT INTO t (name) VALUES ('x')")
    config = settings_of(path)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(format=format_)))
    run(path, "DELETE FROM t")
    restored(config, made.id)
    run(path, "DELETE FROM t")
    job = dbtasks.TablesJob(("t",), file=made.id)
    dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    assert run(path, "SELECT name FROM t") == [("x",)]


@pytest.mark.parametrize("format_", [Format.ROWS, Format.SQLITE])
def test_one_table_is_not_brought_from_any_of_a_strict_table_into_another_any(
    tmp_path: Path, format_: Format
) -> None:
    path = made_of(tmp_path / "app.db", "CREATE TABLE t (a ANY) STRICT; INSERT INTO t (a) VALUES ('007')")
    config = settings_of(path)
    made = dbtasks.backup(config, dbtasks.BackupJob(request=dbtasks.DumpRequest(format=format_)))
    job = dbtasks.TablesJob(("t",), file=made.id)
    dbtasks.restore_tables(config, dbtasks.plan_restore_tables(config, job))
    run(path, "DROP TABLE t", "CREATE TABLE t (a ANY)")
    with pytest.raises(Refused, match="a was ANY in a STRICT table and is ANY"):
        dbtasks.plan_restore_tables(config, job)
