"""pg_dump's own arguments after `--`: a manifest tells the truth whatever they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from dbtasks.engines.postgres.dumping.extra import (
    METADATA,
    OURS,
    incomplete_by,
    metadata_left_out,
    read_extra,
)
from dbtasks.errors import UsageError
from dbtasks.executors.backup import BackupJob, backup
from dbtasks.executors.restore import RestoreJob, plan_restore, restore
from dbtasks.models import Compression, Format
from dbtasks.plans import DumpRequest
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.dumping import dumped, engine_of, settings_for

CHOOSING = [
    ["--schema=a"],
    ["-n", "a"],
    ["--exclude-schema", "a"],
    ["-Na"],
    ["-t", "x"],
    ["--tab=x"],
    ["-T", "x"],
    ["--table-and-children=x"],
    ["--exclude-table-and-children=x"],
    ["--exclude-table-data=x"],
    ["--exclude-table-data-and-children=x"],
    ["--section=data"],
    ["--sec=pre-data"],
    ["--no-data"],
    ["--no-schema"],
    ["-s"],
    ["-a"],
    ["--data"],
    ["--statistics-only"],
    ["-e", "plpgsql"],
    ["--extension=plpgsql"],
    ["--exclude-extension=plpgsql"],
    ["--filter=file"],
    ["--no-unlogged-table-data"],
    ["--no-unl"],
]
OTHERS = [
    ["-Fc"],
    ["-F", "c"],
    ["--format=c"],
    ["--form", "c"],
    ["-xFc"],
    ["-f", "out"],
    ["--fil=out"],
    ["-j2"],
    ["-Z9"],
    ["--compress=9"],
    ["-d", "postgres"],
    ["--dbname=x"],
    ["postgres"],
    ["-h", "elsewhere"],
    ["-U", "x"],
    ["-W"],
    ["-w"],
    ["--snapshot=1"],
    ["--serializable-deferrable"],
    ["--binary-upgrade"],
    ["--no-sync"],
    ["-O"],
    ["-c"],
    ["-C"],
    ["--version"],
    ["-V"],
    ["--"],
    ["--role=x", "more"],
    ["--role", "x", "more"],
    ["--encod", "x", "more"],
    ["-Ex", "more"],
]
WHOLE = [["--inserts"], ["--column-inserts", "--rows-per-insert", "2"], ["--quote-all-identifiers"], ["-b"]]


@pytest.mark.parametrize("extra", [*CHOOSING, *OTHERS], ids=" ".join)
def test_what_is_ours_to_decide_is_refused_in_every_spelling(extra: list[str]) -> None:
    with pytest.raises(UsageError, match="after --: "):
        read_extra(extra)


@pytest.mark.parametrize("extra", CHOOSING, ids=" ".join)
def test_an_argument_that_chooses_what_is_dumped_stops_the_plan(
    pg_db: PgDatabase, extra: list[str], tmp_path: Path
) -> None:
    with engine_of(pg_db, tmp_path) as engine, pytest.raises(UsageError, match="after --: "):
        engine.plan_dump(DumpRequest(extra=tuple(extra)))


@pytest.mark.long
@pytest.mark.parametrize("extra", [*WHOLE, ["-x"], ["--no-comments"]], ids=" ".join)
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.SQL])
def test_a_backup_whose_arguments_leave_nothing_out_is_complete_and_comes_back(
    pg_db: PgDatabase, format_: Format, extra: list[str], tmp_path: Path
) -> None:
    pg_db.run(
        "CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, a text UNIQUE);"
        " COMMENT ON TABLE s.t IS 'said'; INSERT INTO s.t (a) SELECT 'it''s; ' || g FROM generate_series(1, 30) g"
    )
    settings = settings_for(pg_db.server, tmp_path, target=pg_db.target)
    made = backup(settings, BackupJob(via="host", request=DumpRequest(format=format_, extra=tuple(extra))))
    assert made.manifest.complete
    into = f"{pg_db.name}_into"
    done = restore(settings, plan_restore(settings, RestoreJob(into=into, via="host")))
    assert (done.rows, done.checked_against_manifest) == (30, True)
    rows = "SELECT * FROM s.t ORDER BY id"
    assert pg_db.server.run(into, rows) == pg_db.run(rows)


def test_metadata_that_is_left_out_is_said_and_leaves_the_backup_complete(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int); COMMENT ON TABLE t IS 'said'")
    request = DumpRequest(
        format=Format.SQL, compression=Compression.NONE, extra=("--no-comm", "-x", "--no-acl")
    )
    with dumped(pg_db, tmp_path, request) as made:
        assert "'said'" not in made.archive.path.read_text()
        assert made.plan.complete
        assert made.plan.not_included == (
            "comments (--no-comments)",
            "privileges (--no-privileges)",
            "privileges (--no-acl)",
        )


def test_rows_that_row_security_may_hide_and_what_is_not_known_make_a_backup_partial(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run("CREATE TABLE t (a int); SELECT lo_from_bytea(0, 'x')")
    extra = ("--inserts", "--enable-row-sec", "-xB")
    with dumped(pg_db, tmp_path, DumpRequest(extra=extra)) as made:
        assert not made.plan.complete
        assert made.plan.not_included == (
            "what pg_dump's own arguments leave out: --enable-row-sec -xB",
            "privileges (--no-privileges)",
        )
    assert incomplete_by(["--some-day", "-y", "--extra-float-digits", "0"]) == (
        "--some-day",
        "-y",
        "--extra-float-digits 0",
    )
    assert metadata_left_out(["--some-day"]) == ()


def test_row_security_is_asked_for_by_any_beginning_of_its_name(pg_db: PgDatabase, tmp_path: Path) -> None:
    role = pg_db.server.create_role()
    pg_db.run(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (1), (2); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        f" CREATE POLICY p ON t USING (a = 1); GRANT SELECT ON t TO {role.user}"
    )
    request = DumpRequest(extra=("--enable-row",))
    with dumped(pg_db.seen_by(role), tmp_path, request) as made:
        assert [table.rows for table in made.dumped.tables] == [1]


def test_every_option_of_pg_dump_was_judged(pg: PgServer) -> None:
    """A new one makes a backup partial until somebody has looked at it; this says that it is there."""
    said = subprocess.run([pg.bin / "pg_dump", "--help"], capture_output=True, text=True, check=True).stdout
    options = {
        word.rstrip(",").split("=")[0].split("[")[0]
        for line in said.splitlines()
        for word in line.split()[:2]
        if line.startswith("  -") and word.startswith("--")
    }
    assert len(options) > 60
    known = OURS.keys() | METADATA.keys()
    silent = {name for name in options - known if incomplete_by([name])}
    assert (
        silent
        == {
            "--enable-row-security",
            "--encoding",
            "--extra-float-digits",
            "--no-large-objects",
            "--no-blobs",
            "--no-policies",
            "--statistics",
            "--superuser",
            "--use-set-session-authorization",
        }
        & options
    )
