"""A stand-in for TimescaleDB: an extension of its name in plain SQL, with the shape of the real one's catalog.

Schemas, tables, columns, functions and settings are named as the real one documents
them; the catalog is dumped as extension configuration and has the foreign keys
in a circle that make pg_dump speak. Chunks are tables that inherit. Nothing of
what the real one computes is in it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["HYPERTABLES", "OLDER", "VERSION", "files", "install"]

OLDER, VERSION = "2.20.0", "2.21.0"

CONTROL = f"""\
comment = 'stands in for TimescaleDB'
default_version = '{VERSION}'
relocatable = false
trusted = true
"""

SQL = """\
CREATE SCHEMA _timescaledb_catalog;
CREATE SCHEMA _timescaledb_functions;
CREATE SCHEMA _timescaledb_internal;
CREATE SCHEMA timescaledb_information;

CREATE SEQUENCE _timescaledb_catalog.hypertable_id_seq MINVALUE 1;
CREATE TABLE _timescaledb_catalog.hypertable (
    id integer PRIMARY KEY DEFAULT nextval('_timescaledb_catalog.hypertable_id_seq'),
    schema_name name NOT NULL, table_name name NOT NULL, associated_schema_name name NOT NULL,
    associated_table_prefix name NOT NULL, num_dimensions smallint NOT NULL,
    compressed_hypertable_id integer REFERENCES _timescaledb_catalog.hypertable (id),
    UNIQUE (table_name, schema_name));
ALTER SEQUENCE _timescaledb_catalog.hypertable_id_seq OWNED BY _timescaledb_catalog.hypertable.id;
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.hypertable_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.hypertable', 'WHERE id >= 1');

CREATE TABLE _timescaledb_catalog.dimension (
    id serial PRIMARY KEY, hypertable_id integer NOT NULL REFERENCES _timescaledb_catalog.hypertable (id),
    column_name name NOT NULL, column_type regtype NOT NULL, interval_length bigint);
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.dimension', '');
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.dimension_id_seq', '');

CREATE TABLE _timescaledb_catalog.chunk (
    id serial PRIMARY KEY, hypertable_id integer NOT NULL REFERENCES _timescaledb_catalog.hypertable (id),
    schema_name name NOT NULL, table_name name NOT NULL,
    compressed_chunk_id integer REFERENCES _timescaledb_catalog.chunk (id));
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.chunk', '');
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.chunk_id_seq', '');

-- the real one's hooks stand in the way of a load outside of restoring mode: so does this
CREATE FUNCTION _timescaledb_functions.only_restoring() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    IF coalesce(pg_catalog.current_setting('timescaledb.restoring', true), '') <> 'on' THEN
        RAISE EXCEPTION 'the stub takes no chunks outside of restoring mode';
    END IF;
    RETURN NEW;
END $body$;
CREATE TRIGGER only_restoring BEFORE INSERT ON _timescaledb_catalog.chunk
    FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.only_restoring();

CREATE TABLE _timescaledb_catalog.continuous_agg (
    mat_hypertable_id integer PRIMARY KEY REFERENCES _timescaledb_catalog.hypertable (id),
    parent_mat_hypertable_id integer REFERENCES _timescaledb_catalog.continuous_agg (mat_hypertable_id),
    user_view_schema name NOT NULL, user_view_name name NOT NULL);
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.continuous_agg', '');

CREATE TABLE _timescaledb_catalog.metadata (key name PRIMARY KEY, value text NOT NULL);
SELECT pg_catalog.pg_extension_config_dump('_timescaledb_catalog.metadata', $$WHERE key <> 'uuid'$$);
-- a new database has these rows before a load brings them
CREATE FUNCTION _timescaledb_functions.metadata_insert_trigger() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    UPDATE _timescaledb_catalog.metadata SET value = NEW.value WHERE key = NEW.key;
    RETURN CASE WHEN FOUND THEN NULL ELSE NEW END;
END $body$;
CREATE TRIGGER metadata_insert_trigger BEFORE INSERT ON _timescaledb_catalog.metadata
    FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.metadata_insert_trigger();
INSERT INTO _timescaledb_catalog.metadata VALUES ('uuid', gen_random_uuid()), ('timescaledb_version', '{version}');

CREATE VIEW timescaledb_information.hypertables AS
    SELECT h.schema_name AS hypertable_schema, h.table_name AS hypertable_name, t.tableowner AS owner, h.num_dimensions,
           (SELECT count(1) FROM _timescaledb_catalog.chunk c WHERE c.hypertable_id = h.id) AS num_chunks
    FROM _timescaledb_catalog.hypertable h
    JOIN pg_tables t ON t.schemaname = h.schema_name AND t.tablename = h.table_name;

CREATE FUNCTION _timescaledb_functions.stop_background_workers() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'must be superuser to stop background workers' USING ERRCODE = '42501';
    END IF;
    RAISE LOG 'stub: workers of % stopped', current_database();
    RETURN true;
END $body$;
CREATE FUNCTION _timescaledb_functions.start_background_workers() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
        RAISE EXCEPTION 'must be superuser to start background workers' USING ERRCODE = '42501';
    END IF;
    RAISE LOG 'stub: workers of % started', current_database();
    RETURN true;
END $body$;

CREATE FUNCTION @extschema@.timescaledb_pre_restore() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET timescaledb.restoring = ''on''', current_database());
    SET SESSION timescaledb.restoring = 'on';
    RAISE LOG 'stub: pre_restore in %', current_database();
    PERFORM _timescaledb_functions.stop_background_workers();
    RETURN true;
END $body$ SET search_path TO pg_catalog, pg_temp;

CREATE FUNCTION @extschema@.timescaledb_post_restore() RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    RAISE LOG 'stub: post_restore in %', current_database();
    IF EXISTS (SELECT FROM _timescaledb_catalog.metadata m, pg_extension x
               WHERE m.key = 'timescaledb_version' AND x.extname = 'timescaledb' AND m.value <> x.extversion) THEN
        RAISE EXCEPTION 'catalog version mismatch';
    END IF;
    EXECUTE format('ALTER DATABASE %I RESET timescaledb.restoring', current_database());
    SET timescaledb.restoring TO off;
    RAISE LOG 'stub: workers of % started', current_database();
    RETURN true;
END $body$ SET search_path TO pg_catalog, pg_temp;

GRANT USAGE ON SCHEMA _timescaledb_catalog, _timescaledb_functions, _timescaledb_internal, timescaledb_information TO PUBLIC;
GRANT SELECT ON ALL TABLES IN SCHEMA _timescaledb_catalog, timescaledb_information TO PUBLIC;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA _timescaledb_catalog TO PUBLIC;
"""

HYPERTABLES = """
    SET timescaledb.restoring = 'on';
    CREATE TABLE public.device (id int PRIMARY KEY, name text);
    INSERT INTO public.device SELECT i, 'd' || i FROM generate_series(1, 3) i;
    CREATE TABLE public.metric (at timestamptz NOT NULL, device int, value float8);
    CREATE INDEX metric_at ON public.metric (at);
    CREATE TABLE _timescaledb_internal._hyper_1_1_chunk (
        CHECK (at >= '2026-01-01Z' AND at < '2026-01-08Z')) INHERITS (public.metric);
    CREATE TABLE _timescaledb_internal._hyper_1_2_chunk (
        CHECK (at >= '2026-01-08Z' AND at < '2026-01-15Z')) INHERITS (public.metric);
    INSERT INTO _timescaledb_internal._hyper_1_1_chunk SELECT '2026-01-02Z', i, i FROM generate_series(1, 40) i;
    INSERT INTO _timescaledb_internal._hyper_1_2_chunk SELECT '2026-01-09Z', i, i FROM generate_series(1, 60) i;
    CREATE TABLE _timescaledb_internal._materialized_hypertable_2 (day date, mean float8);
    INSERT INTO _timescaledb_internal._materialized_hypertable_2 VALUES ('2026-01-02', 20.5);
    CREATE VIEW public.daily AS SELECT day, mean FROM _timescaledb_internal._materialized_hypertable_2;
    INSERT INTO _timescaledb_catalog.hypertable (schema_name, table_name, associated_schema_name, associated_table_prefix, num_dimensions)
        VALUES ('public', 'metric', '_timescaledb_internal', '_hyper_1', 1),
               ('_timescaledb_internal', '_materialized_hypertable_2', '_timescaledb_internal', '_hyper_2', 1);
    INSERT INTO _timescaledb_catalog.dimension (hypertable_id, column_name, column_type, interval_length)
        VALUES (1, 'at', 'timestamptz', 604800000000);
    INSERT INTO _timescaledb_catalog.chunk (hypertable_id, schema_name, table_name)
        VALUES (1, '_timescaledb_internal', '_hyper_1_1_chunk'), (1, '_timescaledb_internal', '_hyper_1_2_chunk');
    INSERT INTO _timescaledb_catalog.continuous_agg VALUES (2, NULL, 'public', 'daily');
"""
"""A hypertable of a hundred rows in two chunks, a continuous aggregate, and an ordinary table of three rows."""


def files(*versions: str) -> dict[str, str]:
    """Return the extension's files by name."""
    return {
        "timescaledb.control": CONTROL,
        **{f"timescaledb--{version}.sql": SQL.replace("{version}", version) for version in versions},
    }


def install(folder: Path, *versions: str) -> None:
    """Lay the extension down in `folder/extension`, in these versions and no other, readable by everybody."""
    shutil.rmtree(folder / "extension", ignore_errors=True)
    (folder / "extension").mkdir(parents=True)
    for name, text in files(*versions).items():
        (folder / "extension" / name).write_text(text)
    for path in (folder, folder / "extension", *(folder / "extension").iterdir()):
        path.chmod(0o755 if path.is_dir() else 0o644)
