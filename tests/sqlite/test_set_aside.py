"""Damaged files that restores moved aside stay until somebody removes them: they are told, with the way to be rid of them."""

from __future__ import annotations

import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import dbtasks
from dbtasks.clock import utc_now
from dbtasks.console.info import info_document, info_lines
from dbtasks.models import Format

from .databases import make, settings


def restored(config: dbtasks.Settings) -> str:
    """Restore over a file that is none; return where that lies now."""
    path = config.root / "app.db"
    path.write_text("oops\n" * 500)
    done = dbtasks.restore(config, dbtasks.plan_restore(config))
    assert done.old
    return done.old


def told(config: dbtasks.Settings) -> list[str]:
    return [line for line in info_lines(dbtasks.inspect(config), utc_now(), None) if line.startswith("Aside")]


def test_db_info_names_what_was_moved_aside_with_its_size_and_the_command_that_removes_it(
    tmp_path: Path,
) -> None:
    root = tmp_path / "a project"
    root.mkdir()
    make(root / "app.db")
    config = settings(root)
    dbtasks.backup(config)
    assert told(config) == []
    olds = [restored(config), restored(config)]
    (root / "app.db__before_me").mkdir()
    (root / "app.db__before_20260101T000000000000Z").write_text("a file of somebody's")
    (line,) = told(config)
    names = " ".join(shlex.quote(old) for old in olds)
    assert line == f"Aside       2 damaged files, 4.9 KiB, which no cleanup removes: rm -r {names}"
    assert info_document(dbtasks.inspect(config))["set_aside"] == [
        {"path": old, "size_bytes": 2500} for old in olds
    ]
    subprocess.run(line.partition("removes: ")[2], shell=True, check=True)
    assert told(config) == []


@pytest.mark.parametrize("format_", [Format.SQLITE, Format.ROWS])
def test_what_drop_old_does_not_do_is_told(tmp_path: Path, format_: Format) -> None:
    path = make(tmp_path / "app.db")
    config = replace(settings(tmp_path), format=format_)
    made = dbtasks.backup(config)
    job = dbtasks.RestoreJob(made.id, request=dbtasks.LoadRequest(drop_old=True))
    nothing = "drop_old means nothing for SQLite: no old database is kept"
    assert nothing in dbtasks.plan_restore(config, job).warnings
    if format_ is Format.SQLITE:
        path.write_text("oops\n" * 500)
        (said,) = dbtasks.plan_restore(config, job).warnings
        assert said.startswith("drop_old does not remove a damaged file")
        path.unlink()
        assert dbtasks.plan_restore(config, job).warnings == ()
