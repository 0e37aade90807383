"""A backup whose manifest somebody broke: it counts for nothing, and wherever it is missed it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import NotFound, Refused
from tests.sqlite.databases import make, settings


@pytest.fixture
def broken(tmp_path: Path) -> tuple[dbtasks.Settings, dbtasks.Backup]:
    """The only backup of a file, and its manifest is no JSON any more."""
    make(tmp_path / "app.db")
    config = settings(tmp_path)
    made = dbtasks.backup(config)
    made.path.with_name(f"{made.path.name}.manifest.json").write_text("{broken")
    return config, made


def test_c06_where_nothing_is_latest_the_file_whose_manifest_cannot_be_read_is_named(
    broken: tuple[dbtasks.Settings, dbtasks.Backup],
) -> None:
    config, made = broken
    with pytest.raises(NotFound, match=f"the manifest of .*{made.path.name} cannot be read") as caught:
        dbtasks.plan_restore(config)
    assert caught.value.hint.startswith(f"--file={made.path} --unverified takes it")
    dbtasks.plan_restore(
        config, dbtasks.RestoreJob(str(made.path), request=dbtasks.LoadRequest(unverified=True))
    )


def test_c06_by_its_path_it_is_not_said_to_have_no_manifest(
    broken: tuple[dbtasks.Settings, dbtasks.Backup],
) -> None:
    config, made = broken
    with pytest.raises(Refused, match="has a manifest that cannot be read"):
        dbtasks.plan_restore(config, dbtasks.RestoreJob(str(made.path)))


def test_c06_info_warns_of_it_and_the_list_says_it_without_a_parsers_words(
    broken: tuple[dbtasks.Settings, dbtasks.Backup],
) -> None:
    config, made = broken
    assert any(
        "manifests that cannot be read" in w and str(made.path) in w for w in dbtasks.inspect(config).warnings
    )
    assert {file.why for file in dbtasks.list_backups(config).foreign} == {"its manifest cannot be read"}


@pytest.mark.parametrize(
    ("selector", "hint"),
    [
        ("latest", "db.backup makes one"),
        ("latest:daily", "db.backup --type=daily makes one"),
        ("latest:safety", "a restore takes one before it begins"),
    ],
)
def test_where_there_is_none_the_hint_makes_just_that_one(tmp_path: Path, selector: str, hint: str) -> None:
    make(tmp_path / "app.db")
    with pytest.raises(NotFound) as caught:
        dbtasks.find(settings(tmp_path), selector)
    assert caught.value.hint == hint


def test_a_url_without_a_name_is_not_mended_by_another_variable(tmp_path: Path) -> None:
    with pytest.raises(dbtasks.DbTasksError, match="no database name") as caught:
        dbtasks.load_settings(tmp_path, environ={}, url="postgresql://localhost:5432")
    assert caught.value.hint == "add /name to the URL"
