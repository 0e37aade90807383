"""Which object each statement of pg_dump makes, for one of nearly every kind there is."""

from __future__ import annotations

import io

from dbtasks.engines.postgres.archive.contents import read_statements
from dbtasks.schemas import Schema
from tests.fix_postgres import PgServer
from tests.postgres.rich import tool

SQL = r"""
CREATE EXTENSION hstore;
CREATE SCHEMA s;
CREATE TABLE s.t (id int, a text, b text);
CREATE FUNCTION s.f(a int DEFAULT 1, b text DEFAULT 'x,y)') RETURNS int LANGUAGE sql AS 'select 1';
CREATE FUNCTION s.trg() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NEW; END$$;
CREATE TRIGGER "odd ON name" AFTER UPDATE OF a, b ON s.t FOR EACH ROW WHEN (old.a IS DISTINCT FROM new.a) EXECUTE FUNCTION s.trg();
CREATE CONSTRAINT TRIGGER ct AFTER INSERT ON s.t DEFERRABLE FOR EACH ROW EXECUTE FUNCTION s.trg();
CREATE FUNCTION s.et() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN END$$;
CREATE EVENT TRIGGER evt ON ddl_command_start EXECUTE FUNCTION s.et();
ALTER EVENT TRIGGER evt DISABLE;
CREATE PUBLICATION pub FOR TABLE s.t;
CREATE SUBSCRIPTION sub CONNECTION 'host=h password=canary' PUBLICATION p WITH (connect=false);
CREATE EXTENSION postgres_fdw;
CREATE SERVER srv FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'h');
CREATE USER MAPPING FOR postgres SERVER srv OPTIONS (user 'u', password 'canary');
CREATE FOREIGN TABLE s.ft (a int) SERVER srv OPTIONS (table_name 'canary');
CREATE FOREIGN DATA WRAPPER fdw OPTIONS (pw 'canary');
CREATE POLICY p ON s.t FOR SELECT TO postgres USING (true);
CREATE RULE r AS ON INSERT TO s.t DO ALSO SELECT 1;
CREATE OPERATOR s.=== (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq);
CREATE CAST (s.t AS text) WITH INOUT;
CREATE AGGREGATE s.agg(int) (SFUNC = int4pl, STYPE = int);
CREATE COLLATION s.c (locale = 'C');
CREATE TEXT SEARCH CONFIGURATION s.tsc (COPY = simple);
CREATE STATISTICS s.st ON a, b FROM s.t;
CREATE TYPE s.rng AS RANGE (subtype = int);
CREATE VIEW s.v1 AS SELECT 1 AS x;
CREATE VIEW s.v2 AS SELECT x FROM s.v1;
CREATE OR REPLACE VIEW s.v1 AS SELECT x FROM (SELECT 1 AS x) q;
CREATE TABLE s.k (id int PRIMARY KEY, up int REFERENCES s.k (id), CHECK (id > 0) , EXCLUDE USING btree (up WITH =));
ALTER TABLE s.k CLUSTER ON k_pkey; ALTER TABLE s.k REPLICA IDENTITY FULL;
CREATE UNLOGGED TABLE s.u (a int) WITH (fillfactor=50);
ALTER TABLE s.t ALTER COLUMN a SET STATISTICS 100, ALTER COLUMN b SET STORAGE EXTERNAL;
ALTER DEFAULT PRIVILEGES IN SCHEMA s GRANT SELECT ON TABLES TO PUBLIC;
GRANT SELECT (a) ON s.t TO PUBLIC;
SELECT lo_create(4711);
COMMENT ON LARGE OBJECT 4711 IS 'x';
CREATE LANGUAGE plx HANDLER plpgsql_call_handler;
CREATE PROCEDURE s.p(INOUT a int) LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;
CREATE MATERIALIZED VIEW s.mv AS SELECT 1 AS a WITH NO DATA; CREATE INDEX ON s.mv (a);
CREATE TYPE s.base;
CREATE TABLE s.part (id int PRIMARY KEY) PARTITION BY RANGE (id);
CREATE TABLE s.part1 PARTITION OF s.part FOR VALUES FROM (0) TO (10);
"""

KINDS = {
    "aggregate s.agg(integer)",
    "cast (s.t AS text) WITH INOUT",
    "collation s.c",
    "constraint s.k k_pkey",
    "constraint s.k k_up_excl",
    "constraint s.part part_pkey",
    "constraint s.part1 part1_pkey",
    "event trigger evt",
    "extension hstore",
    "extension postgres_fdw",
    "foreign data wrapper fdw",
    "foreign key s.k k_up_fkey",
    "foreign table s.ft",
    "function s.et()",
    "function s.f(a integer, b text)",
    "function s.trg()",
    "index s.mv_a_idx",
    "index s.part1_pkey",
    "materialized view s.mv",
    "operator s.===",
    "policy s.t p",
    "procedural language plx",
    "procedure s.p(INOUT a integer)",
    "publication pub",
    "rule s.t r",
    "schema s",
    "server srv",
    "statistics s.st",
    "subscription sub",
    "table s.k",
    "table s.part",
    "table s.part1",
    "table s.t",
    "table s.u",
    "text search configuration s.tsc",
    'trigger s.t "odd ON name"',
    "trigger s.t ct",
    "type s.base",
    "type s.rng",
    "user mapping FOR postgres SERVER srv",
    "view s.v1",
    "view s.v2",
}


def read(script: bytes) -> Schema:
    return read_statements(io.BytesIO(script)).schema


def test_every_kind_of_object_is_known_by_type_and_name_and_no_login_is_in_them(pg17: PgServer) -> None:
    with pg17.fresh() as database:
        for statement in SQL.strip().split(";\n"):
            database.run(statement)
        whole = read(tool(pg17, "pg_dump", "-Fp", database.name))
        schema = read(tool(pg17, "pg_dump", "-Fp", "--schema-only", database.name))
        database.run("ALTER SUBSCRIPTION sub SET (slot_name = NONE); DROP SUBSCRIPTION sub")
    assert whole == schema
    assert schema.spelling == "PostgreSQL 17 and pg_dump 17"
    assert {f"{type_} {name}" for type_, name in schema.objects} == KINDS
    assert "canary" not in repr([*schema.objects, schema.owners, schema.privileges])
    further = {name: made.further for (_, name), made in schema.objects.items() if made.further}
    assert set(further) == {"evt", "pub", "s.k", "s.part1", "s.t", "s.tsc"}
    assert {made.table for made in schema.objects.values() if made.type in ("index", "trigger", "rule")} == {
        "",
        "s.mv",
        "s.t",
    }
    owners = {"s.t", "s.v1", "s.mv", "schema s", "function s.f(a integer, b text)", "publication pub"}
    assert owners <= set(schema.owners)
    assert {text.split(" ")[0] for text in schema.privileges} == {"GRANT", "ALTER"}
