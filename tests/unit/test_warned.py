"""pg_dump's stderr as warnings: one text each, and what is said of TimescaleDB's catalog every time left out."""

from __future__ import annotations

import pytest

from dbtasks.engines.postgres.dumping.warned import warnings_of

CATALOG = frozenset({"hypertable", "chunk", "continuous_agg"})
NEW = """\
pg_dump: warning: there are circular foreign-key constraints on this table:
pg_dump: detail: {}
pg_dump: hint: You might not be able to restore the dump without using --disable-triggers or temporarily dropping the constraints.
pg_dump: hint: Consider using a full dump instead of a --data-only dump to avoid this problem.
"""
OLD = """\
pg_dump: warning: there are circular foreign-key constraints on this table:
pg_dump:   {}
pg_dump: You might not be able to restore the dump without using --disable-triggers or temporarily dropping the constraints.
pg_dump: Consider using a full dump instead of a --data-only dump to avoid this problem.
"""
CHUNKS = """\
pg_dump: NOTICE:  hypertable data are in the chunks, no data will be copied
DETAIL:  Data for hypertables are stored in the chunks of a hypertable so COPY TO of a hypertable will not copy any data.
HINT:  Use "COPY (SELECT * FROM <hypertable>) TO ..." to copy all data in hypertable, or copy each chunk individually.
"""


@pytest.mark.parametrize("form", [NEW, OLD], ids=["15 and later", "14"])
def test_e20_a_circle_in_the_catalog_is_left_out_and_one_of_the_users_is_told_as_one_warning(
    form: str,
) -> None:
    said = form.format("hypertable") + form.format("chunk") + form.format("employee") + CHUNKS
    (warning,) = warnings_of(said, catalog=CATALOG)
    assert warning.startswith("there are circular foreign-key constraints on this table:")
    assert "employee" in warning
    assert "--disable-triggers" in warning


@pytest.mark.parametrize("form", [NEW, OLD], ids=["15 and later", "14"])
def test_e20_without_timescaledb_every_circle_is_told(form: str) -> None:
    said = form.format("hypertable")
    assert len(warnings_of(said)) == 1
    both = said.replace("hypertable", "chunk\npg_dump: detail: order") if form is NEW else said
    assert len(warnings_of(both, catalog=CATALOG)) == (1 if form is NEW else 0)


def test_details_and_hints_belong_to_their_warning() -> None:
    said = "pg_dump: warning: a\npg_dump: detail: b\npg_dump: hint: c\npg_dump: warning: d\n\npg_dumpall: e\n"
    assert warnings_of(said) == ("a (detail: b) (hint: c)", "d", "e")
