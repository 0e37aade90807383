"""Parts of a PostgreSQL database in rows backups whose tables refer to others that were left out."""

from __future__ import annotations

from pathlib import Path

import pytest

import dbtasks
from dbtasks.errors import Refused
from tests.fix_postgres import PgDatabase
from tests.postgres.portable import texts_of
from tests.postgres.test_rows_creation import planned
from tests.postgres.test_rows_restore import backed_up, settings_of
from tests.postgres.test_verify_restore import proven

PETS = """
    CREATE TABLE person (id int PRIMARY KEY);
    CREATE TABLE pet (id int PRIMARY KEY, owner int REFERENCES person);
    INSERT INTO person VALUES (1); INSERT INTO pet VALUES (10, 1), (11, NULL);
"""
SAID = (
    "public.pet refers to public.person, whose rows are not in the backup:"
    " restored where no tables are, its rows lack them"
)


def test_rows_that_refer_to_left_out_rows_are_told_by_the_backup_and_refused_as_that(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(PETS)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, exclude_data=("person",))
    assert SAID in made.manifest.warnings
    left_out = "rows of public.pet refer to rows of public.person, which were left out"
    with pg_db.server.fresh() as copy:
        plan = planned(config, made, copy.name)
        assert SAID in plan.warnings
        with pytest.raises(Refused, match=left_out) as caught:
            dbtasks.restore(config, plan)
        assert "restore a backup that holds the rows of public.person too" in caught.value.hint
        assert texts_of(copy) == {}
        with pytest.raises(Refused, match=left_out):
            proven(config, made)
        # where no row does it is a whole backup
        pg_db.run("UPDATE pet SET owner = NULL")
        dbtasks.restore(config, planned(config, backed_up(config, exclude_data=("person",)), copy.name))
        assert texts_of(copy)["public.pet"] == [("10", None), ("11", None)]


def test_a_key_to_a_table_that_was_left_out_is_refused_with_what_helps(
    pg_db: PgDatabase, tmp_path: Path
) -> None:
    pg_db.run(PETS)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config, tables=("pet",))
    with pg_db.server.fresh() as copy:
        with pytest.raises(Refused, match=r"needs relation public\.person, which is not there") as caught:
            planned(config, made, copy.name)
        assert "public.person is not in this one: a backup that holds it too makes it" in caught.value.hint


def test_a_partitioned_table_is_held_by_its_partitions(pg_db: PgDatabase, tmp_path: Path) -> None:
    pg_db.run("""
        CREATE TABLE m (id int PRIMARY KEY) PARTITION BY LIST (id); CREATE TABLE m1 PARTITION OF m FOR VALUES IN (1);
        CREATE TABLE pet (id int REFERENCES m); INSERT INTO m VALUES (1); INSERT INTO pet VALUES (1);
    """)
    config = settings_of(pg_db, tmp_path)
    made = backed_up(config)
    assert not [text for text in made.manifest.warnings if "whose rows are not in" in text]
    with pg_db.server.fresh() as copy:
        plan = planned(config, made, copy.name)
        assert not [text for text in plan.warnings if "whose rows are not in" in text]
        dbtasks.restore(config, plan)
