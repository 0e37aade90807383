"""Files that are not ours: never loaded by a login that could act on the server's machine through them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.engines.postgres.holes import HOLES, MENDED, holes_of, known_holes
from dbtasks.engines.postgres.loading.load import plan_load
from dbtasks.errors import Refused, RightMissing, VersionMismatch
from dbtasks.models import Archive, Format
from dbtasks.plans import LoadRequest
from dbtasks.runners import ToolVersion
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import engine_on, restore
from tests.postgres.rich import archive_of, count

ORDINARY = "LOGIN CREATEDB"


def foreign(database: PgDatabase, folder: Path, format_: Format = Format.CUSTOM) -> Archive:
    return replace(archive_of(database, folder, format_), manifest=None)


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
@pytest.mark.parametrize("role", [None, "pg_monitor"])
def test_a_superuser_loads_no_file_without_a_manifest_not_even_by_another_role(
    pg_db: PgDatabase, format_: Format, role: str | None, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    archive = foreign(pg_db, tmp_path, format_)
    with engine_on(pg_db) as engine:
        for in_place in (False, True):
            with pytest.raises(Refused, match="no manifest") as refused:
                plan_load(engine, archive, LoadRequest(unverified=True, role=role, in_place=in_place))
            assert "ordinary role" in refused.value.hint
            assert "--role is no protection" in refused.value.hint
            assert refused.value.state == "nothing was touched"


@pytest.mark.parametrize("power", ["pg_execute_server_program", "pg_write_server_files", "postgres"])
def test_a_role_that_can_become_a_powerful_one_is_refused_too(
    pg: PgServer, power: str, tmp_path: Path
) -> None:
    role = pg.create_role(ORDINARY + " NOINHERIT")
    with pg.fresh(f"OWNER {role.user}") as database:
        mine = database.seen_by(role)
        mine.run("CREATE TABLE t (a int)")
        archive = foreign(database, tmp_path)
        with engine_on(mine) as engine:
            plan_load(engine, archive, LoadRequest(unverified=True, no_owner=True))
            pg.run("postgres", f'GRANT {power} TO "{role.user}"')
            with pytest.raises(Refused, match="no manifest"):
                plan_load(engine, archive, LoadRequest(unverified=True, no_owner=True))


def test_an_ordinary_role_loads_it_and_hears_of_the_holes_of_its_tools(pg: PgServer, tmp_path: Path) -> None:
    role = pg.create_role(ORDINARY)
    with pg.fresh(f"OWNER {role.user}") as database:
        mine = database.seen_by(role)
        mine.run("CREATE TABLE t (a int); INSERT INTO t VALUES (1)")
        archive = foreign(mine, tmp_path)
        mine.run("DELETE FROM t")
        with engine_on(mine) as engine:
            plan, _, _ = restore(engine, archive, LoadRequest(unverified=True))
            version = engine.runner.version("pg_restore")
        assert count(mine) == {"public.t": 1}
    assert any(
        f"has no manifest of dbtasks: it is loaded as {role.user}, a role that can neither" in w
        for w in plan.warnings
    )
    assert [text for text in plan.warnings if "security holes" in text] == [
        f"pg_restore {hole}" for hole in known_holes(version)
    ]


def test_a_backup_of_ours_is_loaded_by_a_superuser_without_a_word_of_holes(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int)")
    with engine_on(pg_db) as engine:
        plan, _, _ = restore(engine, archive_of(pg_db, tmp_path, Format.CUSTOM))
    assert plan.warnings == ()


@pytest.mark.parametrize("major", MENDED)
def test_each_major_release_of_the_tools_has_one_that_mends_it(major: int) -> None:
    minor = MENDED[major]
    assert known_holes(ToolVersion(major, minor)) == known_holes(ToolVersion(major, minor + 1)) == ()
    (said,) = known_holes(ToolVersion(major, minor - 1))
    assert said == f"{major}.{minor - 1} has known security holes, which {major}.{minor} mends"


def test_releases_without_support_are_named_and_unknown_ones_are_not_blamed() -> None:
    assert "no more releases" in known_holes(ToolVersion(13, 23))[0]
    assert known_holes(ToolVersion(19, 0)) == ()


# -- which holes, and of which tool ------------------------------------------------


@pytest.mark.parametrize(
    ("tool", "version", "expected"),
    [
        ("pg_dump", (16, 14), []),
        ("psql", (16, 14), ["CVE-2026-18408"]),
        ("pg_restore", (16, 14), ["CVE-2026-116314"]),
        ("pg_dump", (16, 13), ["CVE-2026-6477"]),
        ("pg_dump", (17, 0), ["CVE-2025-8714", "CVE-2025-8715", "CVE-2026-6477"]),
        ("pg_dump", (18, 0), ["CVE-2026-6477"]),
        ("pg_restore", (18, 7), []),
        ("pg_dump", (13, 23), ["CVE-2024-7348", "CVE-2025-8714", "CVE-2025-8715", "CVE-2026-6477"]),
        ("pg_dump", (19, 0), []),
        ("initdb", (16, 0), []),
    ],
)
def test_each_tool_has_its_own_holes(tool: str, version: tuple[int, int], expected: list[str]) -> None:
    assert [hole.cve for hole in holes_of(tool, ToolVersion(*version))] == expected


def test_a_backup_warns_in_one_line_of_a_pg_dump_with_holes_and_of_no_other_tool(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int)")

    def tools(version: str) -> Path:
        """The server's own tools, which say that they are older than they are."""
        folder = tmp_path / version
        folder.mkdir()
        for name in ("pg_dump", "pg_restore", "psql"):
            script = folder / name
            script.write_text(
                f'#!/bin/sh\n[ "$1" = --version ] && echo "{name} (PostgreSQL) {version}" && exit 0\n'
                f'exec "{pg_db.server.bin}/{name}" "$@"\n'
            )
            script.chmod(0o755)
        return folder

    def made(version: str) -> dbtasks.Backup:
        settings = dbtasks.load_settings(
            tmp_path, environ={}, url=pg_db.url, via="host", pg_bin=str(tools(version))
        )
        return dbtasks.backup(settings)

    assert made("18.4").manifest.warnings == ()
    (said,) = made("18.3").manifest.warnings
    assert said == "pg_dump 18.3 has known security holes, which 18.7 mends (CVE-2026-6477)"


def test_the_page_of_db_info_names_every_hole_its_tools_and_the_releases_that_mend_it() -> None:
    page = (REPOSITORY / "docs" / "info.md").read_text("utf-8")
    for hole in HOLES:
        (row,) = [line for line in page.splitlines() if line.startswith(f"| {hole.cve}")]
        _, _, tools, releases, _ = (cell.strip() for cell in row.split("|"))
        assert tuple(tools.split(", ")) == hole.tools
        assert releases == ", ".join(f"{major}.{minor}" for major, minor in hole.mended.items())


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY, Format.SQL])
def test_e02_extensions_that_a_file_without_a_manifest_creates_are_named_before_anything_is_touched(
    pg17: PgServer, pg18: PgServer, format_: Format, tmp_path: Path
) -> None:
    """The server of 18 comes without the contrib packages."""
    with pg17.fresh() as source:
        source.run('CREATE SCHEMA "Ext"; CREATE EXTENSION hstore SCHEMA "Ext"; CREATE EXTENSION dblink')
        source.run(
            "CREATE TABLE t (a \"Ext\".hstore, b text); INSERT INTO t (b) VALUES ('CREATE EXTENSION nosuch;')"
        )
        archive = foreign(source, tmp_path, format_)
    here, there = pg18.create_role(ORDINARY), pg17.create_role(ORDINARY)
    request = LoadRequest(unverified=True, no_owner=True)
    with pg18.fresh(f"OWNER {here.user}") as database, engine_on(database.seen_by(here)) as engine:
        with pytest.raises(VersionMismatch, match="not installed on this server: dblink, hstore") as refused:
            plan_load(engine, archive, request)
        assert "nosuch" not in refused.value.message
        assert refused.value.state == "nothing was touched"
    with (
        pg17.fresh(f"OWNER {there.user}") as database,
        engine_on(database.seen_by(there)) as engine,
        pytest.raises(RightMissing, match="only a superuser may create the extensions dblink,"),
    ):
        plan_load(engine, archive, request)
