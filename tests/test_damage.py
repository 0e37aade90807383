"""Stored files that changed (C01 to C08), for every kind of archive there is: seen by the list or by verify, refused by restore."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import DbTasksError
from dbtasks.manifest import SUFFIX
from dbtasks.models import Backup, Compression, Format
from dbtasks.plans import DumpRequest
from tests.fix_postgres import PgDatabase, PgServer
from tests.sqlite.databases import make, run, settings

KINDS = {
    "sqlite": DumpRequest(),
    "sqlite.gz": DumpRequest(compression=Compression.GZIP),
    "sqlite.zst": DumpRequest(compression=Compression.ZSTD),
    "custom": DumpRequest(format=Format.CUSTOM),
    "custom, uncompressed": DumpRequest(format=Format.CUSTOM, compression=Compression.NONE),
    "sql": DumpRequest(format=Format.SQL, compression=Compression.NONE),
    "sql.gz": DumpRequest(format=Format.SQL, compression=Compression.GZIP),
    "sql.zst": DumpRequest(format=Format.SQL, compression=Compression.ZSTD),
    "dir.tar": DumpRequest(format=Format.DIRECTORY, jobs=1),
}


@pytest.fixture(scope="module")
def filled(pg17: PgServer) -> Iterator[PgDatabase]:
    """One database for all of them: nothing here may change it."""
    with pg17.fresh() as database:
        database.run(
            "CREATE TABLE item AS SELECT i AS id, md5(i::text) AS body FROM generate_series(1, 300) i"
        )
        yield database


Stored = tuple[dbtasks.Settings, Backup, Callable[[], object]]


@pytest.fixture(params=KINDS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Stored:
    """A project with one backup of this kind, and how to ask what is live."""
    kind = KINDS[request.param]
    if request.param.startswith("sqlite"):
        path = make(tmp_path / "app.db", 300)
        config = settings(tmp_path)
        return config, _backup(config, kind), lambda: run(path, "SELECT * FROM item ORDER BY id")
    filled = request.getfixturevalue("filled")
    config = dbtasks.load_settings(
        tmp_path, environ={}, url=filled.url, pg_bin=str(filled.server.bin), via="host"
    )
    return (
        config,
        _backup(config, kind),
        lambda: filled.run("SELECT oid FROM pg_database WHERE datname = current_database()"),
    )


def _backup(config: dbtasks.Settings, request: DumpRequest) -> Backup:
    return dbtasks.backup(config, dbtasks.BackupJob(request=request))


def refusal(config: dbtasks.Settings, selector: str) -> DbTasksError:
    with pytest.raises(DbTasksError) as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(selector, dry_run=True))
    return caught.value


def flipped(data: bytes, place: float) -> bytes:
    at = int(len(data) * place)
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def test_c01_c02_c03_c04_c05_an_archive_of_any_kind_that_changed_is_found_and_refused(stored: Stored) -> None:
    config, made, live = stored
    good, before = made.path.read_bytes(), live()
    damages = {
        "a bit at the beginning": flipped(good, 0.01),
        "a bit in the middle": flipped(good, 0.5),
        "a bit at the end": flipped(good, 0.999),
        "cut by one byte": good[:-1],
        "cut in the middle": good[: len(good) // 2],
        "one zero more": good + b"\0",
        "itself twice": good + good,
        "empty": b"",
    }
    for what, data in damages.items():
        made.path.write_bytes(data)
        if len(data) != len(good):
            (listed,) = dbtasks.list_backups(config).backups
            assert listed.manifest.damage, what
        assert refusal(config, made.id).exit_code == 5, what
        assert live() == before
    # what cannot be seen from outside is found by reading, and marked for good
    made.path.write_bytes(damages["a bit in the middle"])
    (verified,) = dbtasks.verify(config, dbtasks.list_backups(config).backups)
    assert not verified.ok
    assert refusal(config, "latest").exit_code == 4
    made.path.write_bytes(good)
    (verified,) = dbtasks.verify(config, dbtasks.list_backups(config).backups)
    assert verified.ok


def test_c06_an_archive_of_any_kind_without_its_own_manifest_is_foreign(stored: Stored) -> None:
    config, made, live = stored
    before = live()
    manifest = made.path.with_name(made.path.name + SUFFIX)
    whole = manifest.read_bytes()
    for data in (
        None,
        b"",
        b"{",
        whole[: len(whole) // 2],
        whole.replace(made.path.name.encode(), b"another.dump"),
    ):
        if data is None:
            manifest.unlink()
        else:
            manifest.write_bytes(data)
        listed = dbtasks.list_backups(config)
        assert listed.backups == ()
        assert made.path in [file.path for file in listed.foreign]
        error = refusal(config, str(made.path))
        assert (error.exit_code, "--unverified" in error.hint) == (6, True)
    assert live() == before


def test_c07_an_archive_of_any_kind_replaced_after_the_plan_is_not_loaded(
    stored: Stored, tmp_path: Path
) -> None:
    config, made, live = stored
    before = live()
    plan = dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id, skip_safety_backup=True))
    other = tmp_path / "other"
    shutil.copyfile(made.path, other)
    other.write_bytes(flipped(other.read_bytes(), 0.7))
    other.replace(made.path)
    with pytest.raises(DbTasksError) as caught:
        dbtasks.restore(config, plan)
    assert caught.value.exit_code in (5, 6, 9)
    assert live() == before
    assert "as it was" in caught.value.state or "not touched" in caught.value.state


def test_c08_a_script_that_ends_before_its_end_is_refused_whatever_its_manifest_says(
    filled: PgDatabase, tmp_path: Path
) -> None:
    """The files that a killed `pg_dump | gzip` leaves: valid gzip, half a script."""
    import gzip
    import hashlib
    from dataclasses import replace

    from dbtasks.manifest import dump_manifest

    config = dbtasks.load_settings(
        tmp_path, environ={}, url=filled.url, pg_bin=str(filled.server.bin), via="host"
    )
    made = _backup(config, KINDS["sql.gz"])
    script = gzip.decompress(made.path.read_bytes())
    end = script.index(b"--\n-- PostgreSQL database dump complete")
    for what, cut in {
        "no last lines": script[:end],
        "in a row": script[: end // 2],
        "other keys": script.replace(b"\\unrestrict ", b"\\unrestrict x"),
    }.items():
        data = gzip.compress(cut)
        made.path.write_bytes(data)
        forged = replace(made.manifest, size_bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        made.path.with_name(made.path.name + SUFFIX).write_bytes(dump_manifest(forged))
        assert refusal(config, made.id).exit_code == 5, what
