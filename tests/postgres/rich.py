"""A database that holds one of everything a restore can get wrong, and archives of it made by the tools themselves."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

from dbtasks.models import Archive, Compression, Format, Identity, TableCount
from dbtasks.streams import compressing, pump
from tests.fix_postgres import PgDatabase, PgServer
from tests.samples import a_manifest

HOSTILE = "ta\"ble\n\\! touch /tmp/dbtasks-was-here; %s $$ 'x' --"
"""A name with a quote, a newline and a meta-command."""

SCHEMA = r"""
CREATE SCHEMA "App Data";
CREATE TYPE public.mood AS ENUM ('sad', 'it''s ok', 'happy\n');
CREATE DOMAIN public.positive AS integer CHECK (VALUE > 0);
CREATE TYPE public.point3 AS (x int, y int, z int);
CREATE SEQUENCE public.ticket START 1000;
CREATE TABLE public.customer (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL DEFAULT 'C:\',
    feeling public.mood DEFAULT 'happy\n',
    size public.positive DEFAULT 1,
    place public.point3
);
CREATE TABLE public.orders (
    id serial,
    customer_id integer NOT NULL REFERENCES public.customer (id),
    day date NOT NULL,
    note text,
    total numeric(12,2) DEFAULT 0,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
CREATE TABLE public.orders_2025 PARTITION OF public.orders FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE public.orders_2026 PARTITION OF public.orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
    PARTITION BY LIST (id);
CREATE TABLE public.orders_2026_rest PARTITION OF public.orders_2026 DEFAULT;
CREATE TABLE public.parent (id int PRIMARY KEY, v text);
CREATE TABLE public.child (extra text) INHERITS (public.parent);
CREATE TABLE "App Data"."Upper Case" (id int PRIMARY KEY, "Sel ect" text, doubled int GENERATED ALWAYS AS (id * 2) STORED);
CREATE TABLE public.nothing ();
CREATE TABLE public.files (id int PRIMARY KEY, content oid, raw bytea);
CREATE INDEX orders_note ON public.orders (lower(note));
CREATE FUNCTION public.shout(t text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $body$
BEGIN
    -- \! not a command; 'quote
    RETURN upper(t) || E'\\' || '\';
END
$body$;
CREATE FUNCTION public.add_one(n int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN n > 0 THEN n + 1 ELSE 1 END; SELECT n + 1; END;
CREATE PROCEDURE public.nop() LANGUAGE sql AS 'SELECT 1; -- ; COPY x FROM stdin;';
CREATE VIEW public.loud AS SELECT id, public.shout(name) AS name FROM public.customer;
CREATE VIEW public.loudest AS SELECT * FROM public.loud WHERE id > 0;
CREATE MATERIALIZED VIEW public.totals AS SELECT customer_id, sum(total) AS total FROM public.orders GROUP BY 1;
CREATE UNIQUE INDEX ON public.totals (customer_id);
CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.note := coalesce(NEW.note, 'none'); RETURN NEW; END$$;
CREATE TRIGGER stamped BEFORE INSERT ON public.orders FOR EACH ROW EXECUTE FUNCTION public.stamp();
CREATE RULE ignore_nothing AS ON DELETE TO public.parent DO ALSO (SELECT 1; SELECT 2);
COMMENT ON TABLE public.orders IS 'a comment; with \! and ''quotes''
and a newline; COPY x FROM stdin;
\! touch /tmp/dbtasks-was-here';
ALTER TABLE public.parent ENABLE ROW LEVEL SECURITY;
CREATE POLICY all_of_it ON public.parent USING (true);
GRANT SELECT ON public.customer TO PUBLIC;
CREATE STATISTICS public.both_of_them ON customer_id, day FROM public.orders;
INSERT INTO public.customer (name, feeling, place) SELECT 'n' || i || E'\t\n\\.\n\\! ü', 'sad'::public.mood, ROW(i, 2, 3)::public.point3 FROM generate_series(1, 50) i;
INSERT INTO public.orders (customer_id, day, note, total) SELECT 1 + i % 50, date '2025-06-01' + i, E'\\.', i FROM generate_series(1, 500) i;
INSERT INTO public.parent VALUES (1, 'p');
INSERT INTO public.child VALUES (2, 'c', E'\\.');
INSERT INTO "App Data"."Upper Case" (id, "Sel ect") VALUES (7, 'x');
INSERT INTO public.files SELECT i, lo_from_bytea(0, convert_to('large object ' || i, 'UTF8')), '\x00ff'::bytea FROM generate_series(1, 3) i;
SELECT nextval('public.ticket');
REFRESH MATERIALIZED VIEW public.totals;
"""

ROWS = {
    "public.customer": 50,
    "public.orders_2025": 213,
    "public.orders_2026_rest": 287,
    "public.parent": 1,
    "public.child": 1,
    "App Data.Upper Case": 1,
    "public.nothing": 0,
    "public.files": 3,
    f"public.{HOSTILE}": 2,
}


def fill(database: PgDatabase) -> None:
    """Make the rich schema."""
    database.run(SCHEMA)
    quoted = '"' + HOSTILE.replace('"', '""') + '"'
    database.run(
        f'CREATE TABLE {quoted} ({quoted} text, "select" int); INSERT INTO {quoted} VALUES ($q$\\.$q$, 1), (NULL, 2)'
    )


def tool(server: PgServer, name: str, *arguments: str, tools: Path | None = None, **options: Any) -> bytes:
    """Run a client tool against a server and return its stdout; fails the test when it fails."""
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": server.password, "LC_ALL": "C"}
    login = ["-h", server.host, "-p", str(server.port), "-U", server.user]
    done = subprocess.run(
        [str((tools or server.bin) / name), *login, *arguments],
        env=environment,
        capture_output=True,
        **options,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def archive_of(
    database: PgDatabase,
    folder: Path,
    format_: Format,
    *extra: str,
    tools: Path | None = None,
    **manifest: Any,
) -> Archive:
    """Dump with the server's own pg_dump and give it the manifest a backup of ours would have."""
    server = database.server
    compression = manifest.pop("compression", Compression.GZIP if format_ is Format.SQL else Compression.NONE)
    suffix = {Format.SQL: ".sql.gz", Format.CUSTOM: ".dump", Format.DIRECTORY: ".dir.tar"}[format_]
    path = folder / f"archive{len(list(folder.iterdir()))}{suffix}"
    if format_ is Format.SQL:
        script = tool(server, "pg_dump", "-Fp", *extra, database.name, tools=tools)
        write_script(path, script, compression)
    elif format_ is Format.CUSTOM:
        tool(server, "pg_dump", "-Fc", "-f", str(path), *extra, database.name, tools=tools)
    else:
        laid = folder / f"laid{path.name}"
        tool(server, "pg_dump", "-Fd", "-f", str(laid), *extra, database.name, tools=tools)
        with tarfile.open(path, "w") as tar:
            for file in sorted(laid.iterdir()):
                tar.add(file, file.name)
    return described(path, database, format_, compression, **manifest)


def write_script(path: Path, script: bytes, compression: Compression) -> None:
    with path.open("wb") as sink, compressing(sink, compression) as plain:
        plain.write(script)


def described(
    path: Path, database: PgDatabase, format_: Format, compression: Compression, **changes: Any
) -> Archive:
    """Wrap a file as an archive with a manifest that fits it."""
    data = path.read_bytes()
    counts = changes.pop("counts", None)
    if counts is None:
        counts = count(database)
    facts = {
        "database": Identity(database.target.engine, database.target.identity.server, database.name),
        "format": format_,
        "compression": compression,
        "archive": path.name,
        "size_bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "server_version": _version(database),
        "tool_version": str(database.server.version),
        "tables": tuple(TableCount(name, rows) for name, rows in counts.items()),
        "extensions": {"plpgsql": "1.0"},
    }
    return Archive(path, format_, compression, a_manifest(**{**facts, **changes}))


def count(database: PgDatabase) -> dict[str, int]:
    """Count every leaf table, by other means than the code under test."""
    tables = database.run(
        "SELECT n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)"
        " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')"
    )
    return {
        f"{schema}.{name}": database.run(f"SELECT count(*) FROM ONLY {quoted}")[0][0]
        for schema, name, quoted in tables
    }


def fingerprint(database: PgDatabase) -> str:
    """The whole database as pg_dump shows it: equal before and after means untouched or the same."""
    text = tool(database.server, "pg_dump", "-Fp", database.name).decode()
    noise = ("\\restrict", "\\unrestrict", "-- Dumped", "-- Data for Name: ", "-- Data Pos")
    return "\n".join(line for line in text.splitlines() if not line.startswith(noise))


def _version(database: PgDatabase) -> str:
    return str(database.run("SHOW server_version")[0][0])


__all__ = [
    "HOSTILE",
    "ROWS",
    "SCHEMA",
    "archive_of",
    "count",
    "described",
    "fill",
    "fingerprint",
    "pump",
    "tool",
    "write_script",
]
