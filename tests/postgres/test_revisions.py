"""Migration tools are told apart by table name and columns."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from dbtasks.models import Revision
from dbtasks.revisions import find_revision, revision_summary


def found(tables: dict[str, list[dict[str, Any]]], table: str | None = None) -> Revision | None:
    """Look at tables given as rows of dictionaries, deliberately in the wrong order."""
    columns = {name: list(rows[0]) for name, rows in tables.items()}
    return find_revision(
        columns,
        lambda name, wanted: [tuple(row[column] for column in wanted) for row in reversed(tables[name])],
        table,
    )


@pytest.mark.parametrize(
    ("tables", "tool", "revisions"),
    [
        ({"public.alembic_version": [{"version_num": "b"}, {"version_num": "a"}]}, "alembic", ("a", "b")),
        (
            {
                "django_migrations": [
                    {"id": 9, "app": "shop", "name": "0001_initial", "applied": "x"},
                    {"id": 10, "app": "auth", "name": "0001_initial", "applied": "x"},
                ]
            },
            "django",
            ("shop.0001_initial", "auth.0001_initial"),
        ),
        (
            {
                "flyway_schema_history": [
                    {"installed_rank": 1, "version": "1", "success": True},
                    {"installed_rank": 2, "version": "2.1", "success": True},
                    {"installed_rank": 3, "version": None, "success": True},
                    {"installed_rank": 4, "version": "3", "success": False},
                ]
            },
            "flyway",
            ("1", "2.1"),
        ),
        (
            {"DATABASECHANGELOG": [{"ID": "first", "ORDEREXECUTED": 1}, {"ID": "then", "ORDEREXECUTED": 2}]},
            "liquibase",
            ("first", "then"),
        ),
        (
            {"schema_migrations": [{"version": "9"}, {"version": "20260101"}]},
            "schema_migrations",
            ("9", "20260101"),
        ),
        ({"schema_migrations": [{"version": 7, "dirty": True}]}, "golang-migrate", ("7 (dirty)",)),
        ({"schema_migrations": [{"version": 7, "inserted_at": "2026"}]}, "ecto", ("7",)),
        (
            {
                "_prisma_migrations": [
                    {"migration_name": "1_a", "started_at": 1, "finished_at": 2, "rolled_back_at": None},
                    {"migration_name": "2_b", "started_at": 3, "finished_at": None, "rolled_back_at": None},
                    {"migration_name": "3_c", "started_at": 4, "finished_at": 5, "rolled_back_at": 6},
                ]
            },
            "prisma",
            ("1_a",),
        ),
        (
            {
                "knex_migrations": [
                    {"id": 1, "name": "a.js", "batch": 1},
                    {"id": 2, "name": "b.js", "batch": 1},
                ]
            },
            "knex",
            ("a.js", "b.js"),
        ),
        (
            {"_sqlx_migrations": [{"version": 2, "success": True}, {"version": 3, "success": False}]},
            "sqlx",
            ("2",),
        ),
        (
            {
                "goose_db_version": [
                    {"id": 1, "version_id": 0, "is_applied": True},
                    {"id": 2, "version_id": 1, "is_applied": True},
                    {"id": 3, "version_id": 2, "is_applied": True},
                    {"id": 4, "version_id": 2, "is_applied": False},
                ]
            },
            "goose",
            ("1",),
        ),
        ({"__EFMigrationsHistory": [{"MigrationId": "2026_Init"}]}, "ef", ("2026_Init",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_tool_is_read_in_the_order_its_migrations_were_applied(
    tables: dict[str, list[dict[str, Any]]], tool: str, revisions: tuple[str, ...]
) -> None:
    assert found(tables) == Revision(tool, revisions)


def test_a_table_with_the_right_name_and_other_columns_is_not_taken() -> None:
    assert found({"alembic_version": [{"number": 1}], "schema_migrations": [{"id": 1}]}) is None


def test_a_renamed_table_is_recognised_by_its_columns() -> None:
    tables = {"audit.my_revisions": [{"version_num": "abc"}], "alembic_version": [{"version_num": "other"}]}
    assert found(tables, "my_revisions") == Revision("alembic", ("abc",))
    assert found(tables, "audit.my_revisions") == Revision("alembic", ("abc",))


def test_the_public_schema_goes_before_others() -> None:
    tables = {"a.alembic_version": [{"version_num": "x"}], "public.alembic_version": [{"version_num": "y"}]}
    assert found(tables) == Revision("alembic", ("y",))


def test_it_reads_a_real_sqlite_database() -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript(
            "CREATE TABLE alembic_version(version_num); INSERT INTO alembic_version VALUES ('r1')"
        )
        revision = find_revision(
            {"alembic_version": ["version_num"]},
            lambda table, wanted: connection.execute(f"SELECT {', '.join(wanted)} FROM {table}").fetchall(),
        )
    assert revision == Revision("alembic", ("r1",))


def test_a_long_set_is_shown_by_its_newest_and_its_size() -> None:
    many = Revision("django", tuple(f"app.{n:04}" for n in range(200)))
    assert revision_summary(many) == "django app.0199 (200 applied)"
    assert revision_summary(Revision("alembic", ("a", "b"))) == "alembic a, b"
    assert revision_summary(Revision("flyway", ())) == "flyway: none"
    assert revision_summary(None) == ""
