"""Sequences and rows backups: of partitioned tables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fix_postgres import PgDatabase
from tests.older_files import older, table
from tests.postgres.test_rows_restore import backed_up, restored, settings_of

PARTED = """
CREATE TABLE m (id bigint GENERATED ALWAYS AS IDENTITY, d int, PRIMARY KEY (id, d)) PARTITION BY LIST (d);
CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
INSERT INTO m (d) VALUES (1), (1), (1);
"""


@pytest.mark.parametrize("file", ["rows alone", "older"])
def test_e14_the_identity_of_a_partitioned_table_goes_on_behind_the_rows_of_its_partitions(
    any_db: PgDatabase, tmp_path: Path, file: str
) -> None:
    any_db.run(PARTED)
    config = settings_of(any_db, tmp_path)
    if file == "older":
        name = str(older(tmp_path, {"m1": table(["id", "d"], [1, 1], [2, 1], [3, 1])}))
    else:
        name = backed_up(config, data_only=True).id
    any_db.run("TRUNCATE m RESTART IDENTITY")
    restored(config, name, unverified=file == "older")
    assert any_db.run("INSERT INTO m (d) VALUES (1) RETURNING id") == [(4,)]
