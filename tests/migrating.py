"""The tables of migration tools, made by hand as each tool makes them, in SQL that both engines take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """One tool: its table, two migrations, and what is to be said of them."""

    name: str
    make: str
    first: str
    then: str
    """The second migration's line, as the tool writes it."""
    order: str
    """How a backup after the first stands to a database after the second."""
    command: str
    missing: tuple[str, ...] = ()


RAILS = "CREATE TABLE schema_migrations (version varchar(255) NOT NULL PRIMARY KEY);"

TOOLS = (
    Tool(
        "alembic",
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)",
        "INSERT INTO alembic_version VALUES ('9be03d2a1f00')",
        "UPDATE alembic_version SET version_num = '4f1c2ab90d11'",
        "unknown",
        "alembic upgrade head",
    ),
    Tool(
        "django",
        "CREATE TABLE django_migrations (id integer PRIMARY KEY, app varchar(255) NOT NULL,"
        " name varchar(255) NOT NULL, applied timestamp NOT NULL)",
        "INSERT INTO django_migrations VALUES (1, 'shop', '0001_initial', '2026-01-01 00:00:00')",
        "INSERT INTO django_migrations VALUES (2, 'shop', '0002_price', '2026-02-01 00:00:00')",
        "older",
        "python manage.py migrate",
        ("shop.0002_price",),
    ),
    Tool(
        "flyway",
        "CREATE TABLE flyway_schema_history (installed_rank INT NOT NULL PRIMARY KEY, version VARCHAR(50),"
        " description VARCHAR(200) NOT NULL, type VARCHAR(20) NOT NULL, script VARCHAR(1000) NOT NULL,"
        " checksum INTEGER, success BOOLEAN NOT NULL)",
        "INSERT INTO flyway_schema_history VALUES (1, '1', 'init', 'SQL', 'V1__init.sql', 7, true)",
        "INSERT INTO flyway_schema_history VALUES (2, '1.1', 'price', 'SQL', 'V1_1__price.sql', 8, true)",
        "older",
        "flyway migrate",
        ("1.1",),
    ),
    Tool(
        "liquibase",
        "CREATE TABLE databasechangelog (id VARCHAR(255) NOT NULL, author VARCHAR(255) NOT NULL,"
        " filename VARCHAR(255) NOT NULL, orderexecuted INTEGER NOT NULL, exectype VARCHAR(10) NOT NULL)",
        "INSERT INTO databasechangelog VALUES ('first', 'jo', 'log.xml', 1, 'EXECUTED')",
        "INSERT INTO databasechangelog VALUES ('second', 'jo', 'log.xml', 2, 'EXECUTED')",
        "older",
        "liquibase update",
        ("second",),
    ),
    Tool(
        "rails",
        RAILS
        + " CREATE TABLE ar_internal_metadata (key varchar(255) NOT NULL PRIMARY KEY, value varchar(255))",
        "INSERT INTO schema_migrations VALUES ('20260101000000')",
        "INSERT INTO schema_migrations VALUES ('20260201000000')",
        "older",
        "bin/rails db:migrate",
        ("20260201000000",),
    ),
    Tool(
        "dbmate",
        RAILS,
        "INSERT INTO schema_migrations VALUES ('20260101000000')",
        "INSERT INTO schema_migrations VALUES ('20260201000000')",
        "older",
        "dbmate up",
        ("20260201000000",),
    ),
    Tool(
        "golang-migrate",
        "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)",
        "INSERT INTO schema_migrations VALUES (9, false)",
        "UPDATE schema_migrations SET version = 10",
        "older",
        'migrate -path migrations -database "$DATABASE_URL" up',
    ),
    Tool(
        "ecto",
        "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, inserted_at timestamp)",
        "INSERT INTO schema_migrations VALUES (20260101, '2026-01-01 00:00:00')",
        "INSERT INTO schema_migrations VALUES (20260201, '2026-02-01 00:00:00')",
        "older",
        "mix ecto.migrate",
        ("20260201",),
    ),
    Tool(
        "prisma",
        "CREATE TABLE _prisma_migrations (id VARCHAR(36) PRIMARY KEY NOT NULL, checksum VARCHAR(64) NOT NULL,"
        " finished_at timestamp, migration_name VARCHAR(255) NOT NULL, logs TEXT, rolled_back_at timestamp,"
        " started_at timestamp NOT NULL, applied_steps_count INTEGER NOT NULL DEFAULT 0)",
        "INSERT INTO _prisma_migrations VALUES"
        " ('a', 'c', '2026-01-01 00:00:02', '20260101_init', NULL, NULL, '2026-01-01 00:00:01', 1)",
        "INSERT INTO _prisma_migrations VALUES"
        " ('b', 'c', '2026-02-01 00:00:02', '20260201_price', NULL, NULL, '2026-02-01 00:00:01', 1)",
        "older",
        "npx prisma migrate deploy",
        ("20260201_price",),
    ),
    Tool(
        "knex",
        "CREATE TABLE knex_migrations (id integer PRIMARY KEY, name varchar(255), batch integer, migration_time timestamp)",
        "INSERT INTO knex_migrations VALUES (1, '20260101_init.js', 1, '2026-01-01 00:00:00')",
        "INSERT INTO knex_migrations VALUES (2, '20260201_price.js', 2, '2026-02-01 00:00:00')",
        "older",
        "npx knex migrate:latest",
        ("20260201_price.js",),
    ),
    Tool(
        "sqlx",
        "CREATE TABLE _sqlx_migrations (version BIGINT PRIMARY KEY, description TEXT NOT NULL,"
        " installed_on TIMESTAMP, success BOOLEAN NOT NULL, execution_time BIGINT NOT NULL)",
        "INSERT INTO _sqlx_migrations VALUES (1, 'init', '2026-01-01 00:00:00', true, 5)",
        "INSERT INTO _sqlx_migrations VALUES (2, 'price', '2026-02-01 00:00:00', true, 5)",
        "older",
        "sqlx migrate run",
        ("2",),
    ),
    Tool(
        "goose",
        "CREATE TABLE goose_db_version (id integer PRIMARY KEY, version_id bigint NOT NULL,"
        " is_applied boolean NOT NULL, tstamp timestamp)",
        "INSERT INTO goose_db_version VALUES (1, 0, true, NULL), (2, 1, true, NULL)",
        "INSERT INTO goose_db_version VALUES (3, 2, true, NULL)",
        "older",
        "goose up",
        ("2",),
    ),
    Tool(
        "ef",
        'CREATE TABLE "__EFMigrationsHistory" ("MigrationId" varchar(150) NOT NULL PRIMARY KEY,'
        ' "ProductVersion" varchar(32) NOT NULL)',
        "INSERT INTO \"__EFMigrationsHistory\" VALUES ('20260101_Init', '9.0')",
        "INSERT INTO \"__EFMigrationsHistory\" VALUES ('20260201_Price', '9.0')",
        "older",
        "dotnet ef database update",
        ("20260201_Price",),
    ),
)
