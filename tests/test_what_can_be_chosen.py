"""Where the latest backup is missing or damaged, the message names what can be taken instead."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import ArchiveDamaged, NotFound
from dbtasks.models import Backup
from tests.conftest import Project
from tests.sqlite.databases import make, settings


def restored_once(root: Path) -> tuple[dbtasks.Settings, Backup, Backup]:
    """A database with one manual backup and the safety backup of its restore."""
    make(root / "app.db")
    config = settings(root)
    made = dbtasks.backup(config)
    safety = dbtasks.restore(config, dbtasks.plan_restore(config)).safety_backup
    assert safety is not None
    return config, made, safety


def test_c01_where_the_only_backup_was_found_damaged_it_is_named_and_so_is_the_safety_backup(
    tmp_path: Path,
) -> None:
    config, made, safety = restored_once(tmp_path)
    damage(made)
    dbtasks.verify(config, [made])
    for selector in ("latest", "latest:manual"):
        with pytest.raises(NotFound, match=f"{made.id} was found damaged") as caught:
            dbtasks.find(config, selector)
        assert f"--file={safety.id} (safety)" in caught.value.hint
        assert made.id not in caught.value.hint
        assert made.id in caught.value.details
    assert dbtasks.plan_restore(config, dbtasks.RestoreJob(safety.id)).archive.path == safety.path


@pytest.mark.parametrize("known", [False, True])
def test_c01_a_damaged_backup_is_refused_with_the_ones_that_are_not(tmp_path: Path, known: bool) -> None:
    config, made, safety = restored_once(tmp_path)
    damage(made)
    if known:
        dbtasks.verify(config, [made])
    with pytest.raises(ArchiveDamaged) as caught:
        dbtasks.plan_restore(config, dbtasks.RestoreJob(made.id))
    assert f"--file={safety.id} (safety)" in caught.value.hint
    assert made.id not in caught.value.hint
    with pytest.raises(ArchiveDamaged) as caught:
        dbtasks.plan_restore_tables(config, dbtasks.TablesJob(("item",), file=made.id))
    assert f"--file={safety.id} (safety)" in caught.value.hint


def test_what_is_adopted_or_partial_is_named_as_what_it_is(tmp_path: Path) -> None:
    make(tmp_path / "app.db")
    make(tmp_path / "theirs.db", rows=3)
    config = settings(tmp_path)
    job = dbtasks.AdoptJob("theirs.db")
    adopted = dbtasks.adopt(config, dbtasks.plan_adopt(config, job))
    with pytest.raises(NotFound) as caught:
        dbtasks.find(config, "latest")
    assert f"--file={adopted.id} (adopted, never latest)" in caught.value.hint


def test_an_empty_store_is_not_found_whatever_flags_are_given(project: Project) -> None:
    project.mount()
    make(project.root / "app.db")
    for flags in ((), ("--yes",), ("--dry-run",), ("--json",), ("--file=latest", "--yes")):
        ran = project.invoke("db.restore", *flags, DATABASE_URL="sqlite:///app.db")
        assert ran.returncode == 4, (flags, ran.stderr)


def test_what_is_to_be_added_is_something_that_can_be_restored(project: Project) -> None:
    project.mount()
    config, made, safety = restored_once(project.root)
    environ = {"DATABASE_URL": "sqlite:///app.db"}
    asked = project.invoke("db.restore", "--yes", **environ)
    assert asked.returncode == 6
    assert "add --file=latest" in asked.stderr
    damage(made)
    dbtasks.verify(config, [made])
    asked = project.invoke("db.restore", "--yes", **environ)
    assert asked.returncode == 6
    assert f"add --file={safety.id} (safety)" in asked.stderr
    assert project.invoke("db.restore", f"--file={safety.id}", "--yes", **environ).returncode == 0


def damage(backup: Backup) -> None:
    with backup.path.open("r+b") as stream:
        stream.write(b"\0" * 100)
