"""Names, numbers and selectors: how one backup is meant among many."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.catalog import Catalog, archive_name, new_id, read_catalog
from dbtasks.errors import NotFound, UsageError
from dbtasks.models import Backup, EngineName, ForeignFile, Format, Identity, Type
from tests.samples import MOMENT, SHOP, a_backup

OTHER = Identity(EngineName.POSTGRESQL, "localhost:5432", "shop_test")
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}_\d{8}T\d{6}Z_[a-z0-9]{6}\.dump")


def at(hours: float, id_: str, **changes: object) -> Backup:
    archive = f"shop_{id_}.dump"
    return a_backup(id=id_, archive=archive, started_at=MOMENT + timedelta(hours=hours), **changes)


def catalog(*entries: Backup | ForeignFile) -> Catalog:
    return read_catalog(entries, SHOP)


def test_no_id_looks_like_a_number_or_holds_a_letter_that_is_misread() -> None:
    ids = {new_id() for _ in range(3000)}
    assert len(ids) == 3000
    for id_ in ids:
        assert len(id_) == 6
        assert not id_.isdecimal()
        assert not set(id_) & set("ilo01")


@given(st.text(max_size=200))
def test_g14_whatever_the_database_is_called_its_archives_name_is_plain(name: str) -> None:
    for engine in EngineName:
        made = archive_name(Identity(engine, "x", name), "k3f9a1", MOMENT, ".dump")
        assert NAME.fullmatch(made), made
        assert not made.startswith("-")


def test_h09_names_are_utc_whatever_zone_the_clock_shows() -> None:
    moment = datetime(2026, 10, 25, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    assert "_20261025T003000Z_" in archive_name(SHOP, "k3f9a1", moment, ".dump")


def test_the_newest_comes_first_by_manifest_time_and_is_number_one() -> None:
    listed = catalog(at(1, "bbbbbb"), at(3, "dddddd"), at(2, "cccccc"))
    assert [(b.number, b.id) for b in listed.backups] == [(1, "dddddd"), (2, "cccccc"), (3, "bbbbbb")]
    assert listed.latest is not None
    assert listed.latest.id == "dddddd"


def test_h13_another_database_is_never_mixed_in_however_alike_its_name() -> None:
    listed = catalog(at(1, "bbbbbb"), at(2, "cccccc", database=OTHER))
    assert [b.id for b in listed.backups] == ["bbbbbb"]
    assert [b.id for b in listed.others] == ["cccccc"]
    assert listed.find("latest").id == "bbbbbb"
    assert listed.others[0].number is None


@pytest.mark.parametrize(
    "unfit", [{"type": Type.SAFETY}, {"damage": "checksum"}, {"complete": False}], ids=lambda u: next(iter(u))
)
def test_latest_passes_over_what_is_no_sound_whole_backup(unfit: dict[str, object]) -> None:
    listed = catalog(at(1, "bbbbbb"), at(2, "cccccc", **unfit))
    assert listed.find("latest").id == "bbbbbb"
    assert listed.find("1").id == "cccccc"
    assert [b.id for b in listed.backups if b.latest] == ["bbbbbb"]


def test_latest_of_nothing_is_not_found() -> None:
    for selector in ("latest", "latest:daily", "latest:safety"):
        with pytest.raises(NotFound):
            catalog().find(selector)
    with pytest.raises(UsageError, match="no such type"):
        catalog().find("latest:hourly")


def test_whole_safety_backups_are_told_of_and_named_before_parts_where_nothing_is_latest() -> None:
    part = {"format": Format.ROWS, "complete": False}
    parts = [at(hours, id_, **part) for hours, id_ in ((5, "eeeeee"), (4, "dddddd"), (3, "cccccc"))]
    safety = at(1, "bbbbbb", type=Type.SAFETY)
    with pytest.raises(NotFound, match="no complete backup of this database but safety backups") as caught:
        catalog(*parts, safety).find("latest")
    assert caught.value.hint.startswith("choose another: --file=bbbbbb (safety) or --file=eeeeee")
    # of an adopted file nobody says that it holds all tables, and somebody brought it all the same
    brought = at(9, "ffffff", foreign=True, **part)
    with pytest.raises(NotFound) as caught:
        catalog(*parts, safety, brought, at(2, "aaaaaa", type=Type.SAFETY)).find("latest")
    assert caught.value.hint.startswith("choose another: --file=ffffff (adopted, never latest) or --file=")
    rows = at(2, "abcdef", **part, all_tables=True)
    assert catalog(*parts, safety, rows).about_latest.startswith(
        "there is no complete backup of this database but safety backups: latest is abcdef"
    )


@pytest.mark.parametrize("selector", ["0", "4", "00", "99999999999999999999", "٣٣"])
def test_digits_are_a_number_even_where_an_id_or_file_would_fit(selector: str) -> None:
    listed = catalog(at(1, "99999a"), at(2, "44444b"))
    with pytest.raises(NotFound, match="number"):
        listed.find(selector)


def test_a_unique_beginning_is_enough_and_a_shared_one_is_refused() -> None:
    listed = catalog(at(1, "abc234"), at(2, "abd234"), at(3, "x23456", database=OTHER))
    assert listed.find("abc").id == "abc234"
    assert listed.find("x23456").id == "x23456"
    with pytest.raises(NotFound):
        listed.find("x2")
    with pytest.raises(UsageError, match=r"abd234, abc234"):
        listed.find("ab")


@pytest.mark.parametrize(
    "selector", ["", " ", "zzz", "../../etc/passwd", "a\0b", "x" * 5000, "LATEST", "latest "]
)
def test_g13_a_selector_that_means_nothing_is_not_found(selector: str) -> None:
    with pytest.raises(NotFound):
        catalog(at(1, "bbbbbb")).find(selector)


def test_a_file_name_and_a_path_mean_the_backup_they_name() -> None:
    made = at(1, "bbbbbb")
    for selector in (
        made.path.name,
        str(made.path),
        str(made.path.parent / ".." / made.path.parent.name / made.path.name),
    ):
        assert catalog(made).find(selector).id == "bbbbbb"


def test_foreign_files_are_kept_apart_newest_first() -> None:
    files = [
        ForeignFile(Path(f"/x/{n}"), 1, datetime(2026, 1, n, tzinfo=UTC), "no manifest") for n in (1, 3, 2)
    ]
    assert [f.path.name for f in catalog(*files).foreign] == ["3", "2", "1"]
    assert catalog(*files).backups == ()
