"""db.migrate: a SQLite database into PostgreSQL in one transaction, with proof; the target as it was after any failure."""

from __future__ import annotations

import json
import re
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg2
import pytest

import dbtasks
from dbtasks.errors import LoadFailed, LoginRefused, Refused, RightMissing, UsageError
from dbtasks.events import Event, Phase, RowsSoFar
from dbtasks.journal import read_log
from dbtasks.plans import TargetState
from tests.conftest import Project
from tests.fix_postgres import PASSWORD
from tests.postgres.leaving import Move, content, made, move
from tests.terminal import at_terminal
from tests.test_json_documents import PAGE, documented, fields

__all__ = ["move"]


# -- into a database that is missing or empty ------------------------------------------------------


def test_a_missing_database_is_created_filled_and_proved(move: Move) -> None:
    before = content(move.path)
    report = move.migrate()
    assert report.made_database
    assert [(t.name, t.proof.source_rows, t.proof.target_rows) for t in report.tables] == [
        ("customer", 2, 2),
        ("orders", 3, 3),
    ]
    assert [(one.column, one.value, one.proved) for t in report.tables for one in t.proof.next_values] == [
        ("id", 8, "insert"),
        ("id", 13, "insert"),
    ]
    assert move.databases() == [move.name]
    rows = move.database.run("SELECT id, customer_id, paid_at::text, note, photo FROM orders ORDER BY id")
    assert [(*row[:4], None if row[4] is None else bytes(row[4])) for row in rows] == [
        (10, 1, "2026-02-24 15:03:20", "line\nbreak", b"\0\xff"),
        (11, 2, None, None, None),
        (12, 2, "2026-02-25 00:00:00", "", b""),
    ]
    totals = move.database.run("SELECT total::text FROM orders ORDER BY id")
    assert totals == [("12.50",), ("3.00",), ("0.07",)]
    assert move.database.run("SELECT name, active FROM customer ORDER BY id") == [
        ("Ada", True),
        ('Gr€ce "H"\\', False),
    ]
    # the number that was given to a row that is gone is not given again
    assert move.database.run("INSERT INTO customer (name) VALUES ('new') RETURNING id, active") == [(8, True)]
    assert content(move.path) == before


def test_keys_references_and_indexes_come_and_views_and_triggers_are_told(move: Move) -> None:
    report = move.migrate()
    constraints = move.database.run(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace"
        " AND contype <> 'n' ORDER BY 1"
    )
    assert [text for (text,) in constraints] == [
        "FOREIGN KEY (customer_id) REFERENCES customer(id) ON DELETE CASCADE",
        "PRIMARY KEY (id)",
        "PRIMARY KEY (id)",
        "UNIQUE (customer_id, paid_at)",
    ]
    assert move.database.run("SELECT 1 FROM pg_indexes WHERE indexname = 'orders_note'") == [(1,)]
    told = "\n".join(report.losses)
    assert "the view paid is not carried" in told
    assert "the trigger told is not carried" in told


def test_an_empty_database_that_is_there_is_filled(move: Move) -> None:
    move.server.create_database(move.name)
    plan = move.plan()
    assert (plan.state, plan.makes_database, plan.makes_tables) == (TargetState.EMPTY, False, True)
    assert dbtasks.migrate(move.settings(), plan).rows == 5
    assert move.database.run("SELECT count(*) FROM orders") == [(3,)]


def test_a_database_with_other_tables_gets_these_beside_them(move: Move) -> None:
    move.server.create_database(move.name).run("CREATE TABLE others (id int); INSERT INTO others VALUES (1)")
    assert move.migrate().rows == 5
    assert move.database.run("SELECT count(*) FROM others") == [(1,)]


def test_a_reference_to_a_table_that_is_left_out_is_told(move: Move) -> None:
    plan = move.plan(tables=("orders",))
    assert (
        "the foreign key of orders (customer_id) to customer refers to what does not come along"
        in plan.losses
    )


def test_only_the_tables_that_are_named_go(move: Move) -> None:
    report = move.migrate(exclude_tables=("ORDERS",))
    assert [table.name for table in report.tables] == ["customer"]
    assert report.left_out == ("orders",)
    assert move.database.run("SELECT count(*) FROM customer") == [(2,)]
    with pytest.raises(UsageError, match="--table=nosuch: there is no such table"):
        move.plan(tables=("nosuch",))


HOSTILE = (
    "select",
    "Üpper lower",
    'quo"te',
    "semi;colon--",
    "per%cent %s",
    "dot.ted",
    "back\\slash",
    "'; DROP x",
)


def test_b07_hostile_names_of_tables_and_columns_arrive_as_they_are(move: Move) -> None:
    quoted = [name.replace('"', '""') for name in HOSTILE]
    made(
        move.path,
        "".join(
            f'CREATE TABLE "{name}" ("{name}" INTEGER PRIMARY KEY, "a {name}" TEXT UNIQUE);'
            f"""INSERT INTO "{name}" VALUES (7, 'it''s %s \\. \\N');"""
            for name in quoted
        ),
    )
    report = move.migrate()
    assert {table.name for table in report.tables} == {*HOSTILE, "customer", "orders"}
    for name in quoted:
        found = move.database.run(f'SELECT * FROM "{name}"'.replace("%", "%%"), ())
        assert found == [(7, "it's %s \\. \\N")]
    assert report.page is not None
    assert "quo&quot;te" in report.page.read_text("utf-8")


@pytest.mark.long
def test_two_hundred_tables_that_refer_to_one_another_in_a_circle_arrive(move: Move) -> None:
    made(
        move.path,
        "".join(
            f"CREATE TABLE t{i} (id INTEGER PRIMARY KEY, next INTEGER REFERENCES t{(i + 1) % 200} (id));"
            f"INSERT INTO t{i} VALUES (1, 1), (2, NULL);"
            for i in range(200)
        ),
    )
    plan = move.plan()
    assert [len(cycle) for cycle in plan.choices.cycles] == [200]
    report = dbtasks.migrate(move.settings(), plan)
    assert (len(report.tables), report.rows) == (202, 405)
    assert move.database.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(201,)]


# -- what is said --------------------------------------------------------------------------------


def test_the_preflight_shows_each_column_and_touches_nothing(move: Move) -> None:
    ran = move.invoke("--dry-run")
    assert f"To       {move.name}" in ran.stdout
    assert "Table    orders → public.orders, 3 rows" in ran.stdout
    assert any(line.split()[:4] == ["active", "BOOLEAN", "→", "boolean"] for line in ran.stdout.splitlines())
    assert "Stays    the view paid is not carried" in ran.stdout
    assert "Nothing was touched (dry run)." in ran.stdout
    assert move.databases() == []
    assert not move.store.exists()
    plan = move.document("--dry-run")["plan"]
    assert [table["table"] for table in plan["tables"]] == ["customer", "orders"]


@pytest.mark.parametrize("flag", ["--dry-run", "--yes"])
@pytest.mark.parametrize("others", [True, False], ids=["others may write", "a file in its place"])
def test_a_backup_folder_that_cannot_be_written_ends_the_dry_run_as_it_ends_the_run(
    move: Move, others: bool, flag: str
) -> None:
    if others:
        move.store.mkdir()
        move.store.chmod(0o777)
    else:
        move.store.write_text("in the way")
    ran = move.invoke(flag, code=2)
    assert ("others may write to the backup folder" if others else "is not a folder") in ran.stderr
    assert "state: nothing was touched" in ran.stderr
    assert move.databases() == []


def test_g06_the_reports_are_private_and_hold_no_password(move: Move) -> None:
    ran = move.invoke("--yes")
    assert "  way back: app.db was not changed and is backed up as" in ran.stdout
    # a line of its own, to be pasted
    assert f'            DROP DATABASE "{move.name}";' in ran.stdout.splitlines()
    assert "            removes what was made, said from another database of that server:" in ran.stdout
    assert "DATABASE_URL=sqlite:///app.db" in ran.stdout
    assert f":***@127.0.0.1:{move.server.port}/{move.name}" in ran.stdout
    files = sorted((move.store / "reports").iterdir())
    assert [path.suffix for path in files] == [".html", ".json"]
    assert stat.S_IMODE((move.store / "reports").stat().st_mode) == 0o700
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert str(path) in ran.stdout
        text = path.read_text("utf-8")
        assert PASSWORD not in text
        assert quote(PASSWORD, safe="") not in text
    told = json.loads(files[1].read_text())
    assert [(t["table"], t["source_rows"], t["target_rows"]) for t in told["tables"]] == [
        ("customer", 2, 2),
        ("orders", 3, 3),
    ]
    assert all(table["checksum"] in files[0].read_text("utf-8") for table in told["tables"])
    assert PASSWORD not in ran.stdout + ran.stderr


def test_the_document_is_the_report(move: Move) -> None:
    document = move.document("--yes")
    assert json.loads(Path(document["migration"]["document"]).read_text()) == document["migration"]
    assert document["exit_code"] == 0


def test_the_document_and_the_plan_have_documented_fields_only(move: Move) -> None:
    plan = move.document("--dry-run")["plan"]
    (line,) = re.findall(r"^Plans: (.*)", PAGE, re.MULTILINE | re.DOTALL)
    assert names_in(plan) <= set(re.findall(r"`([a-z_]+)`", line)) | {"engine", "server", "name"}
    assert names_in(move.document("--yes")["migration"]) <= documented("migrate")


def names_in(document: dict[str, Any]) -> set[str]:
    return {part for path in fields(document) for part in re.split(r"[.\[\]]+", path) if part}


def test_the_source_is_backed_up_first_and_the_log_says_what_ran(move: Move) -> None:
    report = move.migrate()
    source = dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}")
    (found,) = dbtasks.list_backups(source).backups
    assert found.id == report.source_backup.id
    assert found.manifest.counts == {"customer": 2, "orders": 3}
    log = read_log(move.store)
    assert [(run.task, run.ok) for run in log] == [("migrate", True), ("backup", True)]
    assert (log[0].database, log[0].backup) == (str(report.target.identity), found.id)


@pytest.mark.parametrize("configured", ["source", "target"])
def test_the_log_of_the_source_tells_of_its_backup_and_where_it_went(move: Move, configured: str) -> None:
    own = dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}")
    settings, to = (own, move.server.url(move.name)) if configured == "source" else (move.settings(), None)
    plan = dbtasks.plan_migration(settings, dbtasks.MigrationJob(str(move.path), to))
    report = dbtasks.migrate(settings, plan)
    for log in (dbtasks.list_runs(own), dbtasks.list_runs(move.settings())[:1]):
        assert (log[0].task, log[0].source, log[0].database) == (
            "migrate",
            str(report.source.identity),
            str(report.target.identity),
        )
    assert [(run.task, run.backup) for run in dbtasks.list_runs(own)[1:]] == [
        ("backup", report.source_backup.id)
    ]
    environ = {"DATABASE_URL": f"sqlite:///{move.path}"}
    shown = move.project.invoke("db.log", **environ).stdout.splitlines()
    assert any(line.rstrip().endswith(f"app.db into {report.target.identity}") for line in shown)
    (first, _) = json.loads(move.project.invoke("db.log", "--json", **environ).stdout)["runs"]
    assert (first["task"], first["source"]) == ("migrate", "app.db")


def test_a_migration_that_is_refused_in_its_plan_is_in_the_log_of_the_source_too(move: Move) -> None:
    own = dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}")
    dbtasks.backup(own)
    move.server.create_database(move.name).run("CREATE TABLE orders AS SELECT 1 AS id")
    job = dbtasks.MigrationJob(target=move.server.url(move.name), tables=("orders",))
    with pytest.raises(Refused):
        dbtasks.plan_migration(own, job)
    assert [(run.task, run.exit_code) for run in dbtasks.list_runs(own)] == [("migrate", 6), ("backup", 0)]


def test_an_undo_of_the_source_takes_no_migration_for_a_restore(move: Move) -> None:
    own = dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}")
    dbtasks.backup(own)
    dbtasks.restore(own, dbtasks.plan_restore(own))
    dbtasks.migrate(own, dbtasks.plan_migration(own, dbtasks.MigrationJob(target=move.server.url(move.name))))
    assert [text for text in dbtasks.plan_undo(own).warnings if "went into" in text] == []


def test_the_way_of_progress_is_told_row_by_row(move: Move) -> None:
    seen: list[Event] = []
    plan = dbtasks.plan_migration(move.settings(), dbtasks.MigrationJob(str(move.path)), on_event=seen.append)
    assert [event for event in seen if isinstance(event, RowsSoFar)][-1] == RowsSoFar(5)
    seen.clear()
    dbtasks.migrate(move.settings(), plan, on_event=seen.append)
    assert [event for event in seen if isinstance(event, RowsSoFar)][-1] == RowsSoFar(5, 5)
    phases = list(dict.fromkeys(event.name for event in seen if isinstance(event, Phase)))
    assert phases == ["backup", "dump", "verify", "publish", "create", "load", "check", "commit"]


# -- which way, and who says so -----------------------------------------------------------------------


def test_which_way_is_meant_has_to_be_said(move: Move, project: Project) -> None:
    own = dbtasks.load_settings(project.root, environ={}, url=f"sqlite:///{move.path}")
    with pytest.raises(UsageError, match="where is it to go"):
        dbtasks.plan_migration(own)
    with pytest.raises(UsageError, match="the configured one is not SQLite"):
        dbtasks.plan_migration(move.settings())
    with pytest.raises(UsageError, match="--to names a SQLite database"):
        dbtasks.plan_migration(own, dbtasks.MigrationJob(target="sqlite:///other.db"))
    # the configured file goes where --to says
    plan = dbtasks.plan_migration(own, dbtasks.MigrationJob(target=move.server.url(move.name)))
    assert (plan.source.path, plan.target.name) == (move.path, move.name)
    assert dbtasks.migrate(own, plan).rows == 5


def test_both_sides_may_be_urls_and_the_target_stand_in_a_setting(move: Move) -> None:
    flags = ("db.migrate", f"--from=sqlite:///{move.path}", "--to=@", "--yes")
    ran = move.project.invoke(*flags, DBTASKS_INTO_URL=move.server.url(move.name))
    assert ran.returncode == 0, ran.stderr
    assert move.database.run("SELECT count(*) FROM orders") == [(3,)]


def test_g04_a_password_in_a_flag_is_warned_of_and_shown_nowhere(move: Move) -> None:
    ran = move.project.invoke(
        "db.migrate", "--from=app.db", f"--to={move.server.url(move.name)}", "--dry-run"
    )
    assert ran.returncode == 0, ran.stderr
    assert "a password stands in --to" in ran.stderr
    assert PASSWORD not in ran.stdout + ran.stderr
    assert quote(PASSWORD, safe="") not in ran.stdout + ran.stderr


def test_h03_nobody_to_ask_is_a_refusal_that_names_the_flag(move: Move) -> None:
    ran = move.invoke(code=6)
    assert f"this fills {move.name}" in ran.stderr
    assert "add --yes" in ran.stderr
    assert move.databases() == []


def test_what_a_person_types_at_the_question_decides(move: Move) -> None:
    flags = ("db.migrate", "--from=app.db")
    environ = {"DATABASE_URL": move.server.url(move.name)}
    question = "Type the database's name"
    declined = at_terminal(move.project, *flags, dialog=[(question, "yes\n")], **environ)
    assert declined.returncode == 6
    assert f"state: {move.name} was not touched" in declined.text
    assert move.databases() == []
    done = at_terminal(move.project, *flags, dialog=[(question, f"{move.name}\n")], **environ)
    assert done.returncode == 0, done.text
    assert move.database.run("SELECT count(*) FROM orders") == [(3,)]


def test_a_protected_target_needs_its_name(move: Move) -> None:
    environ = {"DBTASKS_PROTECT": move.name}
    assert f"--confirm={move.name}" in move.invoke("--yes", code=6, **environ).stderr
    move.invoke("--confirm=nosuch", code=6, **environ)
    assert move.databases() == []
    move.invoke(f"--confirm={move.name}", **environ)
    assert move.databases() == [move.name]


# -- what is refused -------------------------------------------------------------------------------


def test_a_role_that_may_not_create_databases_gets_the_sql(move: Move) -> None:
    role = move.server.create_role(password="app:pass")
    with pytest.raises(RightMissing, match="may not create databases") as caught:
        move.plan(role)
    assert f'CREATE ROLE "{role.user}" LOGIN' in caught.value.details
    create = next(line for line in caught.value.details.splitlines() if line.startswith("CREATE DATABASE"))
    assert "app:pass" not in caught.value.details
    ran = move.invoke("--yes", code=3, DATABASE_URL=role.url(move.name))
    assert create in ran.stderr
    # a superuser says it, and it goes
    move.server.run("postgres", create)
    assert move.migrate(role).rows == 5


@pytest.fixture
def trusting(move: Move) -> Iterator[str]:
    """The name of a role that is missing, and that the server would let in without a password: then it says so."""
    ((path,),) = move.server.run("postgres", "SHOW hba_file")
    file = Path(path)
    before = file.read_bytes()
    try:
        file.write_bytes(b"host all nobody_yet 127.0.0.1/32 trust\n" + before)
        move.server.run("postgres", "SELECT pg_reload_conf()")
        _until_refused(move, "nobody_yet", "does not exist")
        yield "nobody_yet"
    finally:
        file.write_bytes(before)
        move.server.run("postgres", "SELECT pg_reload_conf()")
        _until_refused(move, "nobody_yet", "password authentication failed")


def _until_refused(move: Move, role: str, words: str) -> None:
    for _ in range(200):
        with pytest.raises(psycopg2.OperationalError) as caught:
            replace(move.server, user=role).connect()
        if words in str(caught.value):
            return
        time.sleep(0.05)
    pytest.fail(f"the server never said: {words}")


def test_a_role_that_is_not_there_gets_the_sql_for_it_too(move: Move, trusting: str) -> None:
    with pytest.raises(LoginRefused, match="it has no such role") as caught:
        move.plan(replace(move.server, user=trusting))
    assert 'CREATE ROLE "nobody_yet" LOGIN' in caught.value.details
    assert f'CREATE DATABASE "{move.name}" OWNER "nobody_yet"' in caught.value.details
    assert "let a superuser say the SQL above" in caught.value.hint


@pytest.mark.parametrize("there", [True, False], ids=["a database that is there", "one that is missing"])
def test_a_wrong_password_gets_no_sql_for_a_role_that_may_be_there(move: Move, there: bool) -> None:
    if there:
        move.server.create_database(move.name)
    wrong = replace(move.server, password="wrong")
    with pytest.raises(LoginRefused) as caught:
        move.plan(wrong)
    assert "CREATE ROLE" not in caught.value.details
    assert caught.value.state == "nothing was touched"
    ran = move.invoke("--yes", code=3, DATABASE_URL=wrong.url(move.name))
    assert "password authentication failed" in ran.stderr
    assert "CREATE " not in ran.stderr
    assert "check user and password" in ran.stderr
    assert "state: nothing was touched" in ran.stderr


@pytest.mark.parametrize("others", ["", "CREATE TABLE others (id int)"], ids=["empty", "with other tables"])
def test_a_role_that_may_not_make_tables_gets_the_grant(move: Move, others: str) -> None:
    role = move.server.create_role()
    move.server.create_database(move.name).run(f"REVOKE CREATE ON SCHEMA public FROM PUBLIC; {others}")
    with pytest.raises(RightMissing, match="may not create tables in the schema public") as caught:
        move.plan(role)
    assert f'GRANT CREATE ON SCHEMA public TO "{role.user}";' in caught.value.hint


ODD = """
    CREATE TABLE odd (id INTEGER PRIMARY KEY, note TEXT);
    INSERT INTO odd VALUES (1, 'a'), (2, x'00ff'), (3, 'c'), (4, x'01');
"""


def test_bytes_in_a_text_column_are_told_by_row_and_refused(move: Move) -> None:
    made(move.path, ODD)
    shown = move.invoke("--dry-run", code=10).stdout
    (line,) = [line for line in shown.splitlines() if line.startswith("Misfit")]
    assert line.startswith("Misfit   odd.note: 2 values will not fit text: row 2: ")
    refused = move.invoke("--yes", code=6)
    assert "odd.note, 2 into text: row 2: " in refused.stderr
    assert "--on-error=skip" in refused.stderr
    assert "state: nothing was touched" in refused.stderr
    assert move.databases() == []
    with pytest.raises(Refused, match="2 values will not fit"):
        dbtasks.migrate(move.settings(), move.plan())
    assert not (move.store / "manual").exists()


def test_a_run_that_is_refused_for_what_will_not_fit_has_its_line_in_the_log(move: Move) -> None:
    made(move.path, ODD)
    dbtasks.backup(dbtasks.load_settings(move.project.root, environ={}, url=f"sqlite:///{move.path}"))
    move.invoke("--dry-run", code=10)
    assert [run.task for run in read_log(move.store)] == ["backup"], "a dry run has none"
    move.invoke("--yes", code=6)
    with pytest.raises(Refused):
        dbtasks.migrate(move.settings(), move.plan())
    log = read_log(move.store)
    assert [(run.task, run.exit_code, run.source) for run in log[:2]] == [("migrate", 6, "app.db")] * 2
    assert log[0].message.startswith("2 values will not fit")
    assert [run.task for run in log[2:]] == ["backup"]


def test_a_cast_chooses_the_type(move: Move) -> None:
    made(
        move.path, "CREATE TABLE odd (id INTEGER PRIMARY KEY, note TEXT); INSERT INTO odd VALUES (2, x'00ff')"
    )
    assert "names no column" in move.invoke("--cast=odd.nosuch:bytea", code=2).stderr
    assert "no type that a migration has a way into" in move.invoke("--cast=odd.note:blob", code=2).stderr
    move.invoke("--yes", "--cast=odd.note:bytea")
    assert [bytes(note) for (note,) in move.database.run("SELECT note FROM odd")] == [b"\0\xff"]


def test_flags_that_mean_nothing_are_refused(move: Move) -> None:
    assert "stop or skip is meant" in move.invoke("--on-error=ignore", code=2).stderr
    assert "a number of rows is meant" in move.invoke("--batch-size=many", code=2).stderr
    with pytest.raises(UsageError, match="at least one row"):
        move.plan(batch_size=0)
    assert move.plan(on_error="skip").job.on_error is dbtasks.OnError.SKIP


def test_a_source_that_changed_since_the_plan_and_would_go_another_way_is_refused(move: Move) -> None:
    plan = move.plan()
    made(move.path, "CREATE TABLE more (a)")
    with pytest.raises(Refused, match=r"app\.db was changed"):
        dbtasks.migrate(move.settings(), plan)
    assert move.databases() == []
    plan = move.plan()
    made(move.path, "INSERT INTO customer (name) VALUES ('late')")
    assert dbtasks.migrate(move.settings(), plan).rows == 6


def test_a_target_that_changed_since_the_plan_is_refused(move: Move) -> None:
    plan = move.plan()
    move.server.create_database(move.name)
    with pytest.raises(Refused, match="was changed since this was planned"):
        dbtasks.migrate(move.settings(), plan)
    assert not move.database.run("SELECT 1 FROM pg_tables WHERE schemaname = 'public'")


# -- rows that do not go in --------------------------------------------------------------------------


def test_a_failure_drops_the_database_that_was_created(move: Move) -> None:
    made(
        move.path,
        "CREATE TABLE tag (id INTEGER PRIMARY KEY, t TEXT UNIQUE); INSERT INTO tag VALUES (12, '10.0.0.1'), (13, 'soon')",
    )
    # what an address is only the server knows
    ran = move.invoke("--yes", "--cast=tag.t:inet", code=9)
    assert "row 13" in ran.stderr
    assert f"state: {move.name} does not exist, as before" in ran.stderr
    assert move.databases() == []
    assert [(run.task, run.exit_code) for run in read_log(move.store)] == [("migrate", 9), ("backup", 0)]


def test_each_attempt_leaves_a_backup_that_a_cleanup_of_the_source_takes_by_its_retention(move: Move) -> None:
    made(move.path, "CREATE TABLE tag (t TEXT); INSERT INTO tag VALUES ('soon')")
    for _ in range(3):
        with pytest.raises(LoadFailed):
            move.migrate(casts=("tag.t:inet",))
    by_path = {"DATABASE_URL": f"sqlite:///{move.path.name}", "DBTASKS_KEEP": "1"}
    source = dbtasks.load_settings(move.project.root, environ=by_path)
    left = dbtasks.list_backups(source).backups
    assert [(one.manifest.type, one.manifest.note) for one in left] == [
        ("manual", f"before migrating it into {move.settings().require_target().identity}")
    ] * 3
    # the target's own cleanup has nothing to do with them
    assert dbtasks.plan_cleanup(move.settings(keep="1")).removals.backups == 0
    assert move.project.invoke("db.cleanup", "--yes", **by_path).returncode == 0
    assert [one.id for one in dbtasks.list_backups(source).backups] == [left[0].id]


def test_rows_that_do_not_fit_are_left_out_where_that_is_asked_for_and_written_down(move: Move) -> None:
    made(move.path, ODD)
    ran = move.invoke("--yes", "--on-error=skip", "--batch-size=2", code=8)
    assert move.database.run("SELECT id, note FROM odd ORDER BY id") == [(1, "a"), (3, "c")]
    (rejects,) = (move.store / "reports").glob("*.rejects.jsonl")
    assert stat.S_IMODE(rejects.stat().st_mode) == 0o600
    lines = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [(line["table"], line["row"], line["values"]) for line in lines] == [
        ("odd", 2, {"id": 2, "note": {"blob": "00ff"}}),
        ("odd", 4, {"id": 4, "note": {"blob": "01"}}),
    ]
    assert all(line["reason"] for line in lines)
    assert f"left out: 2 rows, with the reasons in {rejects}" in ran.stdout
    (page,) = (move.store / "reports").glob("*.html")
    assert "2 rows were left out" in page.read_text("utf-8")
    last = read_log(move.store)[0]
    assert (last.task, last.exit_code, last.ok) == ("migrate", 8, False)


def test_orphans_are_left_out_or_end_it(move: Move) -> None:
    made(move.path, "INSERT INTO orders (id, customer_id) VALUES (13, 99)")
    with pytest.raises(Refused, match=r"1 row refers to nothing.*orders\.customer_id") as caught:
        move.migrate()
    assert "row 13" in caught.value.details
    assert move.databases() == []
    report = move.migrate(on_error=dbtasks.OnError.SKIP)
    assert (report.rejected, report.has_losses) == (1, True)
    assert report.rejects is not None
    assert json.loads(report.rejects.read_text())["row"] == 13
    assert move.database.run("SELECT count(*) FROM orders") == [(3,)]


def test_the_plan_counts_the_rows_that_go_with_those_left_out(move: Move) -> None:
    made(move.path, "UPDATE customer SET name = x'00' WHERE id = 2")
    assert move.plan().falls == ()
    plan = move.plan(on_error="skip")
    assert [(one.place, one.rows, one.examples) for one in plan.falls] == [
        ("orders.customer_id", 2, ("11", "12"))
    ]
    assert plan.rejects == {"customer": 1, "orders": 2}
    assert plan.warnings == ()


def test_a_number_that_real_rounds_is_a_misfit(move: Move) -> None:
    plan = move.plan(casts=("orders.total:real",))
    assert (plan.misfits, plan.warnings) == (0, ())
    made(move.path, "UPDATE orders SET total = 16777217 WHERE id = 11")
    with pytest.raises(Refused, match=r"1 value will not fit: the first column is orders\.total") as caught:
        move.migrate(casts=("orders.total:real",))
    assert "row 11: 16777217 has more digits than real keeps" in caught.value.details
    assert move.migrate(casts=("orders.total:real",), on_error="skip").rejected == 1
    assert move.database.run("SELECT total::text FROM orders ORDER BY id") == [("12.5",), ("0.07",)]


def test_no_cast_is_advised_where_tables_are_there(move: Move) -> None:
    made(move.path, "UPDATE customer SET name = x'00' WHERE id = 1")
    with pytest.raises(Refused) as caught:
        move.migrate()
    assert "--cast" in caught.value.hint
    move.server.create_database(move.name).run(
        "CREATE TABLE customer (id int PRIMARY KEY, name text, active bool)"
    )
    with pytest.raises(Refused) as caught:
        move.migrate(tables=("customer",))
    assert "change the column's type there" in caught.value.hint
    assert "--cast" not in caught.value.hint


def test_a_report_that_is_half_written_names_the_half(move: Move, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dbtasks.executors.migrate.report_stem", lambda *_: "stem")
    (move.store / "reports" / "stem.json" / "in the way").mkdir(parents=True)
    (warned,) = move.migrate().warnings
    assert f"{move.store / 'reports' / 'stem.html'} was written" in warned
