"""What the other tasks make of an adopted backup: it stays somebody else's for all of them."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

import dbtasks
from dbtasks.anomaly import find_anomaly, suspensions
from dbtasks.clock import utc_now
from dbtasks.console.diff import diff_lines
from dbtasks.console.diff_rows import rows_diff_lines
from dbtasks.console.documents import restore_plan_document
from dbtasks.console.screens import restore_plan_lines
from dbtasks.errors import Refused, VersionMismatch
from dbtasks.events import Event, Warned
from dbtasks.models import Backup, TableCount, Type
from tests.fix_postgres import PgDatabase, PgServer
from tests.ordinary_user import a_folder, as_ordinary_user
from tests.postgres.rich import tool
from tests.postgres.test_foreign_scripts import ordinary
from tests.samples import MOMENT, a_backup
from tests.sqlite.databases import make, run, settings
from tests.test_adopt import adopted, configured

ITEMS = (
    "CREATE TABLE public.item (id int PRIMARY KEY); INSERT INTO public.item SELECT generate_series(1, 10);"
)


# -- SQLite --------------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "elsewhere").mkdir()
    return make(tmp_path / "elsewhere" / "theirs.db", 900)


def test_an_adopted_file_is_no_measure_of_what_has_shrunk(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 30)
    config = settings(tmp_path)
    adopted(config, theirs)
    assert dbtasks.backup(config).manifest.anomaly == ""


def test_an_adopted_file_lifts_no_suspension_and_is_held_by_it(tmp_path: Path, theirs: Path) -> None:
    live = make(tmp_path / "app.db", 900)
    config = settings(tmp_path, keep="1")
    dbtasks.backup(config)
    run(live, "DELETE FROM item")
    assert dbtasks.backup(config).manifest.anomaly
    made = [adopted(config, theirs)]
    run(theirs, "DELETE FROM note")
    made.append(adopted(config, theirs))
    plan = dbtasks.plan_cleanup(config)
    assert "cleanup is suspended" in plan.suspended
    assert plan.retention.removed == ()
    kept = {backup.id for backup in plan.retention.kept}
    assert {backup.id for backup in made} <= kept


def stamped(days: int, rows: int, *, foreign: bool) -> Backup:
    made = a_backup(
        id=f"day{days}", started_at=MOMENT + timedelta(days=days), tables=(TableCount("orders", rows),)
    )
    return replace(made, manifest=replace(made.manifest, foreign=foreign))


def test_an_adopted_file_is_neither_judged_nor_does_it_suspend_anything() -> None:
    full, wreck = stamped(0, 5000, foreign=False), stamped(1, 0, foreign=True)
    assert find_anomaly(wreck.manifest, [full], 0.5) == ""
    assert find_anomaly(replace(wreck.manifest, foreign=False), [full], 0.5)
    marked = replace(wreck, manifest=replace(wreck.manifest, anomaly="less"))
    assert suspensions([full, marked]) == {}


def test_an_adopted_file_is_compared_and_what_is_unknown_of_it_is_said(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 900)
    config = settings(tmp_path)
    made = adopted(config, theirs)
    summary = dbtasks.diff(config, made.id)
    assert not summary.differs
    assert any("made by others and adopted; unknown: of which database it is" in n for n in summary.notes)
    run(tmp_path / "app.db", "DELETE FROM item WHERE id < 100")
    assert [(t.name, t.backup_rows, t.against_rows) for t in dbtasks.diff(config, made.id).tables] == [
        ("item", 900, 800)
    ]


def test_an_adopted_file_is_proven_and_the_last_one_proven_so_stays(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 30)
    config = settings(tmp_path, keep="1")
    own = dbtasks.backup(config)
    dbtasks.verify(config, [own], restore=True)
    first = adopted(config, theirs)
    (done,) = dbtasks.verify(config, [first], restore=True)
    assert done.restored
    assert "as in the manifest" in done.restored.how
    run(theirs, "DELETE FROM note")
    adopted(config, theirs, type=Type.MANUAL)
    reasons = {d.backup.id: d.reasons for d in dbtasks.plan_cleanup(config).retention.decisions}
    # each for itself: no adopted file takes the place of the one of ours that was proven
    for backup in (own, first):
        assert "the last backup proven by a restore" in reasons[backup.id]


def test_a_plan_does_not_claim_to_know_whose_an_adopted_file_is(tmp_path: Path, theirs: Path) -> None:
    make(tmp_path / "app.db", 30)
    config = settings(tmp_path, environment="staging")
    made = adopted(config, theirs)
    assert dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id)).elsewhere == ()
    into = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, into="other.db"))
    assert len(into.elsewhere) == 1
    assert "this backup was adopted for" in into.elsewhere[0]
    assert "made by others, adopted for app.db" in restore_plan_lines(into, utc_now())[0]
    assert restore_plan_document(into)["plan"]["from"] is None
    assert "made by others, adopted for app.db" in diff_lines(dbtasks.diff(config, made.id), utc_now())[0]
    rows = dbtasks.diff_rows(config, made.id)
    assert "made by others, adopted for app.db" in rows_diff_lines(rows, utc_now())[0]


# -- PostgreSQL ----------------------------------------------------------------------------


def test_an_adopted_dump_does_not_differ_from_the_database_it_was_made_of(
    pg17: PgServer, tmp_path: Path
) -> None:
    with pg17.fresh() as database:
        mine = ordinary(pg17, database)
        mine.run(
            ITEMS + "CREATE EXTENSION hstore; CREATE SEQUENCE public.s; CREATE TABLE public.c (v hstore)"
        )
        config = configured(mine, tmp_path)
        ways: tuple[tuple[str, ...], ...] = (
            ("-Fc",),
            ("-Fp",),
            ("-Fp", "--clean", "--if-exists"),
            ("-Fp", "--clean"),
        )
        for number, way in enumerate(ways):
            path = tmp_path / f"theirs{number}"
            tool(pg17, "pg_dump", *way, "--file", str(path), mine.name)
            summary = dbtasks.diff(config, adopted(config, path).id)
            assert not summary.differs, summary
            assert summary.equal_tables == 2
            assert any("unknown: of which server and database it is" in note for note in summary.notes)


def test_c09_an_adopted_dump_is_proven_by_an_ordinary_role_and_by_no_superuser(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run(ITEMS)
        path = tmp_path / "theirs.dump"
        tool(pg, "pg_dump", "-Fc", "--file", str(path), mine.name)
        config = configured(mine, tmp_path)
        made = adopted(config, path)
        seen: list[Event] = []
        (done,) = dbtasks.verify(config, [made], restore=True, where="server", on_event=seen.append)
        assert done.restored
        assert done.restored.how.endswith("1 table, 10 rows as in the manifest")
        assert any(isinstance(e, Warned) and "made by somebody else and adopted" in str(e) for e in seen)
        for where in ("server", "auto"):
            with pytest.raises(Refused, match="made by somebody else and adopted") as refused:
                dbtasks.verify(configured(database, tmp_path), [made], restore=True, where=where)
            assert "ordinary role" in refused.value.hint
        assert not dbtasks.find(config, made.id).manifest.damage


def test_c09_where_the_login_is_a_superuser_an_adopted_dump_is_proven_on_a_throwaway_server(
    pg_db: PgDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    pg_db.run(ITEMS)
    with a_folder() as home:
        monkeypatch.setattr(tempfile, "tempdir", str(home))

        def act() -> None:
            config = configured(pg_db, home)
            path = home / "theirs.sql"
            tool(pg_db.server, "pg_dump", "--file", str(path), pg_db.name)
            made = adopted(config, path)
            said: list[Event] = []
            (done,) = dbtasks.verify(config, [made], restore=True, on_event=said.append)
            assert done.restored
            assert "a throwaway server on this machine" in done.restored.how
            assert any(isinstance(e, Warned) and "could run programs" in str(e) for e in said)

        as_ordinary_user(act)


@pytest.mark.parametrize("way", ["--load-via-partition-root", "--inserts"])
def test_c09_rows_that_were_not_counted_table_by_table_make_no_sound_dump_look_damaged(
    pg: PgServer, tmp_path: Path, way: str
) -> None:
    with pg.fresh() as source, pg.fresh() as database:
        source.run(
            "CREATE TABLE public.p (a int) PARTITION BY HASH (a);"
            "CREATE TABLE public.p0 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "INSERT INTO public.p SELECT generate_series(1, 10)"
        )
        config = configured(ordinary(pg, database), tmp_path)
        path = tmp_path / "theirs.sql"
        tool(pg, "pg_dump", way, "--no-owner", "--file", str(path), source.name)
        made = adopted(config, path)
        (done,) = dbtasks.verify(config, [made], restore=True, where="server")
        assert done.ok, done.how
        assert done.restored
        assert (done.restored.rows, "not compared" in done.restored.how) == (10, True)


def test_an_adopted_dump_in_another_encoding_makes_a_database_of_the_servers_own(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as source, pg.fresh() as database:
        source.run("CREATE TABLE public.t (v text); INSERT INTO public.t VALUES ('Grüße')")
        mine = ordinary(pg, database)
        config = configured(mine, tmp_path)
        path = tmp_path / "theirs.dump"
        tool(pg, "pg_dump", "-Fc", "--encoding=LATIN1", "--no-owner", "--file", str(path), source.name)
        made = adopted(config, path)
        assert made.manifest.encoding == "LATIN1"
        new = f"{mine.name}_new"
        try:
            job = dbtasks.RestoreJob(made.id, into=new, request=dbtasks.LoadRequest(no_owner=True))
            dbtasks.restore(config, dbtasks.plan_restore(config, job))
            there = replace(mine, name=new)
            assert there.run("SELECT v FROM public.t") == [("Grüße",)]
            assert there.run("SHOW server_encoding") == [("UTF8",)]
        finally:
            pg.run("postgres", f'DROP DATABASE IF EXISTS "{new}"')


def test_a_part_that_can_be_seen_to_be_missing_is_no_difference_of_its_definitions(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run(ITEMS + "CREATE TABLE public.audit AS SELECT 1 AS a")
        config = configured(mine, tmp_path)
        path = tmp_path / "theirs.dump"
        tool(pg, "pg_dump", "-Fc", "--exclude-table-data=public.audit", "--file", str(path), mine.name)
        made = adopted(config, path)
        mine.run("CREATE TABLE public.later (a int)")
        summary = dbtasks.diff(config, made.id)
        # all definitions are in it, so what is not there is told
        assert summary.schema
        assert [change.name for change in summary.schema.only_against] == ["public.later"]


# -- one table -----------------------------------------------------------------------------


WAYS: dict[str, tuple[str, ...]] = {
    "custom": ("-Fc",),
    "plain": ("-Fp",),
    "plain, clearing first": ("-Fp", "--clean", "--if-exists"),
    "plain, rows as INSERTs": ("-Fp", "--inserts"),
    "plain, in another encoding": ("-Fp", "--encoding=LATIN1"),
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("is_adopted", [True, False], ids=["adopted", "unverified"])
def test_c09_one_table_comes_out_of_somebody_elses_dump(
    pg: PgServer, tmp_path: Path, way: tuple[str, ...], is_adopted: bool
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run(ITEMS + "CREATE TABLE public.name (id serial PRIMARY KEY, v text); CREATE TABLE public.other (a int);"
                 "INSERT INTO public.name (v) VALUES ('Grüße'), (E'a\\\\b');")  # fmt: skip
        path = tmp_path / "theirs"
        tool(pg, "pg_dump", *way, "--file", str(path), mine.name)
        mine.run("DELETE FROM public.name; DROP TABLE public.item; INSERT INTO public.other VALUES (1)")
        config = configured(mine, tmp_path)
        file = adopted(config, path).id if is_adopted else str(path)
        job = dbtasks.TablesJob(("name", "item"), file=file, unverified=not is_adopted)
        plan = dbtasks.plan_restore_tables(config, job)
        assert any("role that can neither run programs" in text for text in plan.warnings)
        assert plan.elsewhere == ()
        dbtasks.restore_tables(config, plan)
        assert mine.run("SELECT v FROM public.name ORDER BY id") == [("Grüße",), ("a\\b",)]
        assert mine.run("SELECT count(*), max(id) FROM public.item") == [(10, 10)]
        assert mine.run("SELECT * FROM public.other") == [(1,)]
        with pytest.raises(Refused, match="could run programs"):
            dbtasks.plan_restore_tables(configured(database, tmp_path), job)


def test_e03_a_table_of_a_newer_servers_script_is_refused(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run(ITEMS)
        path = tmp_path / "theirs.sql"
        tool(pg, "pg_dump", "--file", str(path), mine.name)
        script = path.read_text("utf-8").replace("from database version ", "from database version 1")
        path.write_text(script, "utf-8")
        job = dbtasks.TablesJob(("item",), file=str(path), unverified=True)
        with pytest.raises(VersionMismatch, match="what is new since may not exist here"):
            dbtasks.plan_restore_tables(configured(mine, tmp_path), job)
