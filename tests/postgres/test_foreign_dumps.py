"""Dumps by other people's pg_dump: every way of writing a script loads as an ordinary role, or is refused with the way left."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.loading.load import plan_load
from dbtasks.errors import ArchiveDamaged, DbTasksError, Refused, RightMissing, VersionMismatch
from dbtasks.models import Compression
from dbtasks.plans import LoadRequest, LoadStrategy
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on, restore
from tests.postgres.rich import count, fill, tool
from tests.postgres.test_foreign_scripts import foreign, ordinary

UNVERIFIED = LoadRequest(unverified=True)
AS_MINE = LoadRequest(unverified=True, no_owner=True)
SOME = """
CREATE TABLE public.t (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text DEFAULT 'C:\\', n numeric);
CREATE TABLE public.u (t int REFERENCES public.t (id), w text);
INSERT INTO public.t (v, n) SELECT 'größer ' || i || E' \\\\ '' \\n; é', -i FROM generate_series(1, 300) i;
INSERT INTO public.t (v) VALUES (NULL), (''), ('日本語'), ('a' || chr(9));
INSERT INTO public.u SELECT id, v FROM public.t;
CREATE VIEW public.w AS SELECT * FROM public.t;
"""
CONTENT = "SELECT md5(string_agg(t::text, '|' ORDER BY id)), (SELECT count(*) FROM public.u) FROM public.t t"
WAYS = {
    "rows by COPY": (),
    "rows as INSERTs": ("--inserts",),
    "rows as INSERTs with columns": ("--column-inserts",),
    "rows as INSERTs of ten": ("--rows-per-insert=10", "--on-conflict-do-nothing"),
    "clearing first": ("--clean",),
    "clearing first what exists": ("--clean", "--if-exists"),
    "one schema": ("--schema=public",),
    "without owners and privileges": ("--no-owner", "--no-acl"),
    "in another order": ("--quote-all-identifiers",),
    "in EUC_JP": ("--encoding=EUC_JP", "--table=public.v"),
    "in LATIN1": ("--encoding=LATIN1", "--inserts", "--table=public.l"),
}


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_c09_a_script_of_any_making_is_loaded_by_an_ordinary_role(
    any_pg: PgServer, tmp_path: Path, way: tuple[str, ...]
) -> None:
    assert_loads(any_pg, tmp_path, way, in_place=False)


@pytest.mark.parametrize(
    "way", [(), ("--clean",), ("--clean", "--if-exists"), ("--schema=public",)], ids=" ".join
)
def test_c09_a_script_is_loaded_in_place_too(pg: PgServer, tmp_path: Path, way: tuple[str, ...]) -> None:
    assert_loads(pg, tmp_path, way, in_place=True)


def assert_loads(any_pg: PgServer, tmp_path: Path, way: tuple[str, ...], *, in_place: bool) -> None:
    with any_pg.fresh() as source, any_pg.fresh() as database:
        source.run(SOME)
        source.run(
            "CREATE TABLE public.v AS SELECT '日本語 \\' AS a; CREATE TABLE public.l AS SELECT 'größer' AS a"
        )
        mine = ordinary(any_pg, database)
        mine.run("CREATE TABLE public.t (id text); CREATE TABLE public.newer (a int)")
        archive = foreign(tmp_path, tool(any_pg, "pg_dump", *way, source.name), Compression.GZIP)
        request = LoadRequest(unverified=True, no_owner=True, in_place=in_place)
        with engine_on(mine) as engine:
            plan, _, counts = restore(engine, archive, request)
        assert plan.strategy is (LoadStrategy.IN_PLACE if in_place else LoadStrategy.SWAP)
        assert "public.newer" not in counts
        if encoded := next((name for name in ("v", "l") if f"--table=public.{name}" in way), None):
            query = f"SELECT a FROM public.{encoded}"
            assert mine.run(query) == source.run(query)
            return
        assert mine.run(CONTENT) == source.run(CONTENT)
        said = [text for text in plan.warnings if "--clean" in text]
        assert len(said) == ("--clean" in way)


@pytest.mark.long
@pytest.mark.parametrize("way", [(), ("--inserts",), ("--clean",), ("--clean", "--if-exists")], ids=" ".join)
def test_c09_d07_everything_a_database_can_hold_comes_out_of_somebody_elses_script(
    any_pg: PgServer, tmp_path: Path, way: tuple[str, ...]
) -> None:
    with any_pg.fresh() as source, any_pg.fresh() as database:
        fill(source)
        mine = ordinary(any_pg, database)
        archive = foreign(tmp_path, tool(any_pg, "pg_dump", *way, source.name))
        with engine_on(mine) as engine:
            restore(engine, archive, AS_MINE)
        assert count(mine) == count(source)
        assert mine.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]
    assert not Path("/tmp/dbtasks-was-here").exists()


def _crlf(script: bytes) -> bytes:
    return script.replace(b"\n", b"\r\n")


def _marked(script: bytes) -> bytes:
    return b"\xef\xbb\xbf" + script


def _of_an_old_release(script: bytes) -> bytes:
    return re.sub(rb"\\(un)?restrict \w+\n", b"", script)


def _without_blank_lines_behind(script: bytes) -> bytes:
    return script.rstrip() + b"\n"


@pytest.mark.long
@pytest.mark.parametrize("changed", [_crlf, _marked, _of_an_old_release, _without_blank_lines_behind])
@pytest.mark.parametrize("compression", list(Compression))
def test_c09_what_editors_and_older_releases_make_of_a_script_does_not_matter(
    pg: PgServer, tmp_path: Path, changed, compression: Compression
) -> None:
    with pg.fresh() as source, pg.fresh() as database:
        source.run("CREATE TABLE public.t AS SELECT i, 'é' AS v FROM generate_series(1, 9) i")
        mine = ordinary(pg, database)
        script = changed(tool(pg, "pg_dump", "--no-owner", source.name))
        with engine_on(mine) as engine:
            restore(engine, foreign(tmp_path, script, compression), UNVERIFIED)
        assert mine.run("SELECT count(*), min(v) FROM public.t") == [(9, "é")]


def test_g01_a_script_that_makes_its_own_database_is_refused_and_told_how_to_do_without(
    any_pg: PgServer, tmp_path: Path
) -> None:
    with any_pg.fresh() as database:
        mine = ordinary(any_pg, database)
        for way in (("--create",), ("--create", "--clean")):
            archive = foreign(tmp_path, tool(any_pg, "pg_dump", *way, database.name))
            with engine_on(mine) as engine, pytest.raises(Refused, match=r"DATABASE.*line \d+") as refused:
                plan_load(engine, archive, UNVERIFIED)
            assert "--create" in refused.value.hint
            assert "--into" in refused.value.hint
            archive.path.unlink()


def test_a_script_in_an_encoding_that_hides_quotes_is_refused_and_told_which_to_take(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        archive = foreign(tmp_path, tool(pg, "pg_dump", "--encoding=SJIS", database.name))
        with engine_on(mine) as engine, pytest.raises(Refused, match="the encoding SJIS") as refused:
            plan_load(engine, archive, UNVERIFIED)
    assert "--encoding=UTF8" in refused.value.hint


def test_e03_a_script_of_a_newer_server_says_so_itself_and_is_refused(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        script = tool(pg, "pg_dump", database.name)
        newer = re.sub(rb"(Dumped from database version) \S+", rb"\1 99.1", script)
        with engine_on(mine) as engine, pytest.raises(VersionMismatch, match=r"PostgreSQL 99\.1"):
            plan_load(engine, foreign(tmp_path, newer), UNVERIFIED)


def test_e01_roles_that_a_foreign_script_names_and_the_server_lacks_are_listed(
    pg: PgServer, tmp_path: Path
) -> None:
    role = pg.create_role("NOLOGIN")
    with pg.fresh() as source, pg.fresh() as database:
        source.run(
            f'CREATE TABLE public.t (a int); ALTER TABLE public.t OWNER TO "{role.user}";'
            f'GRANT SELECT ON public.t TO "{role.user}"'
        )
        script = tool(pg, "pg_dump", source.name).replace(role.user.encode(), b'"somebody else"')
        mine = ordinary(pg, database)
        archive = foreign(tmp_path, script)
        with engine_on(mine) as engine:
            with pytest.raises(RightMissing, match="somebody else") as missing:
                plan_load(engine, archive, UNVERIFIED)
            assert 'CREATE ROLE "somebody else"' in missing.value.hint
            assert "--no-owner" in missing.value.hint
            restore(engine, archive, AS_MINE)
        assert mine.run("SELECT count(*) FROM public.t") == [(0,)]


def test_d04_a_cut_gzip_of_somebody_elses_script_is_damaged_before_anything_is_touched(
    pg: PgServer, tmp_path: Path
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run("CREATE TABLE public.t AS SELECT generate_series(1, 5000) a")
        config = dbtasks.load_settings(tmp_path, environ={}, url=mine.url, pg_bin=str(pg.bin), via="host")
        path = foreign(tmp_path, tool(pg, "pg_dump", mine.name), Compression.GZIP).path
        whole = path.read_bytes()
        for end in (len(whole) // 2, len(whole) - 9, len(whole) - 1):
            path.write_bytes(whole[:end])
            with pytest.raises(ArchiveDamaged):
                dbtasks.plan_restore(config, dbtasks.RestoreJob(str(path), request=AS_MINE))
        assert mine.run("SELECT count(*) FROM public.t") == [(5000,)]
        assert databases(mine) == [mine.name]


@pytest.mark.long
@pytest.mark.parametrize("format_", ["p", "c", "t"])
@pytest.mark.parametrize("in_place", [False, True], ids=["beside", "in place"])
def test_c07_a_foreign_file_that_is_exchanged_after_the_plan_is_not_committed(
    pg: PgServer, tmp_path: Path, format_: str, in_place: bool
) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run("CREATE TABLE public.t AS SELECT 1 AS a")
        config = dbtasks.load_settings(tmp_path, environ={}, url=mine.url, pg_bin=str(pg.bin), via="host")
        path, other = tmp_path / "theirs", tmp_path / "other"
        tool(pg, "pg_dump", f"-F{format_}", "--file", str(path), mine.name)
        mine.run("INSERT INTO public.t VALUES (2)")
        tool(pg, "pg_dump", f"-F{format_}", "--file", str(other), mine.name)
        mine.run("INSERT INTO public.t VALUES (3)")
        request = LoadRequest(unverified=True, in_place=in_place)
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(str(path), request=request))
        other.replace(path)
        with pytest.raises(DbTasksError) as refused:
            dbtasks.restore(config, plan)
        assert refused.value.exit_code in (5, 6)
        assert mine.run("SELECT count(*) FROM public.t") == [(3,)]
        assert databases(mine) == [mine.name]


def test_a_foreign_script_is_restored_and_taken_back_like_any_backup(pg: PgServer, tmp_path: Path) -> None:
    with pg.fresh() as database:
        mine = ordinary(pg, database)
        mine.run(SOME)
        config = dbtasks.load_settings(tmp_path, environ={}, url=mine.url, pg_bin=str(pg.bin), via="host")
        path = foreign(tmp_path, tool(pg, "pg_dump", "--inserts", mine.name), Compression.GZIP).path
        before = mine.run(CONTENT)
        mine.run("DELETE FROM public.u")
        with pytest.raises(Refused, match="no manifest") as refused:
            dbtasks.plan_restore(config, dbtasks.RestoreJob(str(path)))
        assert "--unverified" in refused.value.hint
        plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(str(path), request=UNVERIFIED))
        result = dbtasks.restore(config, plan)
        assert result.safety_backup
        assert not result.checked_against_manifest
        assert mine.run(CONTENT) == before
        dbtasks.undo(config, dbtasks.plan_undo(config))
        assert mine.run("SELECT count(*) FROM public.u") == [(0,)]


def test_a_superuser_is_refused_whatever_the_database(pg_db: PgDatabase, tmp_path: Path) -> None:
    archive = foreign(tmp_path, tool(pg_db.server, "pg_dump", pg_db.name))
    with engine_on(pg_db) as engine:
        for request in (UNVERIFIED, LoadRequest(unverified=True, role="pg_monitor", in_place=True)):
            with pytest.raises(Refused, match="no manifest") as refused:
                plan_load(engine, archive, request)
            assert "ordinary role" in refused.value.hint
