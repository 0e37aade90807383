"""COMMIT is said when the compressed stream, pg_dump's last lines and the sha256 have all been seen, and not before."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.engines.postgres.archive.contents import script_of
from dbtasks.engines.postgres.script.feed import Feed, transaction
from dbtasks.errors import ArchiveDamaged, DbTasksError, Refused
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import LoadRequest
from tests.fix_postgres import PgDatabase
from tests.postgres.restoring import engine_on
from tests.postgres.rich import described, fill, fingerprint, tool

TRAILER = b"\n--\n-- PostgreSQL database dump complete\n--\n"


def _cut(script: bytes) -> bytes:
    packed = gzip.compress(script)
    return packed[: len(packed) // 2]


def _cut_in_the_checksum(script: bytes) -> bytes:
    return gzip.compress(script)[:-3]


def _another_checksum(script: bytes) -> bytes:
    packed = bytearray(gzip.compress(script))
    packed[-6] ^= 1
    return bytes(packed)


def _more_behind(script: bytes) -> bytes:
    return gzip.compress(script) + b"SELECT 1;\n"


def _a_second_script_behind(script: bytes) -> bytes:
    return gzip.compress(script) + gzip.compress(b"CREATE TABLE public.more (a int);\n")


def _cut_inside_rows(script: bytes) -> bytes:
    start = script.index(b"COPY public.orders_2025 ")
    return gzip.compress(script[: script.index(b"\n", start + 2000) - 5])


def _cut_between_statements(script: bytes) -> bytes:
    return gzip.compress(script[: script.index(b"\n\n--\n-- Name: ", len(script) // 2)])


def _cut_before_the_end(script: bytes) -> bytes:
    return gzip.compress(script[: script.rindex(TRAILER)])


CHANGES = [
    _cut,
    _cut_in_the_checksum,
    _another_checksum,
    _more_behind,
    _a_second_script_behind,
    _cut_inside_rows,
    _cut_between_statements,
    _cut_before_the_end,
]


def load(database: PgDatabase, archive: Archive, commits: list[str]) -> None:
    """Load into the live database without the plan, which has read all of this before."""
    with engine_on(database) as engine, transaction(engine, database.name) as feed:
        _telling(feed, commits)
        with script_of(engine, archive) as script:
            feed.play(script, LoadRequest(no_owner=True))
        feed.commit()


def _telling(feed: Feed, commits: list[str]) -> None:
    commit = feed.commit

    def told() -> None:
        commits.append(feed.database)
        commit()

    feed.commit = told  # type: ignore[method-assign]


@pytest.fixture
def script(pg_db: PgDatabase) -> bytes:
    """A dump of everything, large objects too, and a database that is empty again."""
    with pg_db.server.fresh() as source:
        fill(source)
        return tool(pg_db.server, "pg_dump", "-Fp", source.name)


@pytest.mark.parametrize("changed", CHANGES)
def test_d02_d03_d04_d07_a_script_that_is_not_whole_is_not_committed_although_nobody_looked_before(
    pg_db: PgDatabase, tmp_path: Path, script: bytes, changed: Callable[[bytes], bytes]
) -> None:
    before = fingerprint(pg_db)
    path = tmp_path / "made.sql.gz"
    path.write_bytes(changed(script))
    # the manifest fits the file as it is: it is the file that is not whole
    archive = described(path, pg_db, Format.SQL, Compression.GZIP)
    commits: list[str] = []
    with pytest.raises((ArchiveDamaged, Refused)):
        load(pg_db, archive, commits)
    assert commits == []
    assert fingerprint(pg_db) == before
    assert pg_db.run("SELECT count(*) FROM pg_largeobject_metadata") == [(0,)]


def test_c07_a_whole_script_of_another_sha256_is_loaded_to_its_end_and_not_committed(
    pg_db: PgDatabase, tmp_path: Path, script: bytes
) -> None:
    before = fingerprint(pg_db)
    path = tmp_path / "made.sql.gz"
    path.write_bytes(gzip.compress(script))
    archive = described(path, pg_db, Format.SQL, Compression.GZIP)
    assert archive.manifest
    other = replace(archive.manifest, sha256=hashlib.sha256(b"another").hexdigest())
    commits: list[str] = []
    with pytest.raises(ArchiveDamaged, match="sha256"):
        load(pg_db, replace(archive, manifest=other), commits)
    assert (commits, fingerprint(pg_db)) == ([], before)
    load(pg_db, archive, commits)
    assert commits == [pg_db.name]
    assert pg_db.run("SELECT count(*) FROM pg_largeobject_metadata") == [(3,)]


def test_d05_what_is_sent_without_a_commit_is_gone_when_the_psql_hears_its_end(
    pg_db: PgDatabase, tmp_path: Path, script: bytes
) -> None:
    """A psql -1 would commit here: the end of its input is an end like any other."""
    before = fingerprint(pg_db)
    path = tmp_path / "made.sql"
    path.write_bytes(script)
    archive = described(path, pg_db, Format.SQL, Compression.NONE)
    with engine_on(pg_db) as engine:
        with transaction(engine, pg_db.name) as feed, script_of(engine, archive) as opened:
            feed.play(opened, LoadRequest())
            assert feed.session.rows("SELECT count(*) AS n FROM public.customer") == [(50,)]
        with pytest.raises(DbTasksError), transaction(engine, pg_db.name) as feed:
            feed.session.execute("CREATE TABLE public.t (a int)")
            feed.session.execute("SELECT 1 / 0")
    assert fingerprint(pg_db) == before
