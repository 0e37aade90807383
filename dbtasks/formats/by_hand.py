"""The commands that bring a backup back without dbtasks: printed on every backup's page."""

from __future__ import annotations

import json
import re
import shlex

from ..models import Backup, Compression, Format, Manifest, Route

__all__ = ["by_hand", "by_hand_inside"]

INSIDE = 'docker exec -i -e PGUSER "$CONTAINER"'
AS_ROOT = INSIDE.replace("-i", "-i -u 0")
TIMESCALE = "timescaledb"
PREPARE = "SELECT timescaledb_pre_restore()"
FINISH = "SELECT timescaledb_post_restore()"
HARMLESS = "# roles that are there already are errors, and harmless"
UNPACK = {Compression.NONE: "cat", Compression.GZIP: "gzip -dc", Compression.ZSTD: "zstd -dc"}


def by_hand(backup: Backup) -> tuple[str, ...]:
    """Return shell lines for a person with standard tools; they never touch the live database."""
    manifest = backup.manifest
    path = shlex.quote(str(backup.path))
    # the line sha256sum itself writes: hash, two spaces, path
    line = shlex.quote(f"{manifest.sha256}  {backup.path}")
    check = f"echo {line} | sha256sum -c"
    if manifest.format is Format.ROWS:
        return (check, *_rows_out(manifest, path))
    if manifest.format is Format.SQLITE:
        target = shlex.quote(f"{_suggested(manifest.database.name)}.restored")
        unpack = f"{UNPACK[manifest.compression]} {path} > {target}"
        return (check, unpack, f"sqlite3 {target} 'PRAGMA integrity_check'")
    new = shlex.quote(f"{_suggested(manifest.database.name)}_restored")
    loader = "psql" if manifest.format is Format.SQL else "pg_restore"
    version = (
        _one_line(manifest.tool_version).removeprefix("pg_dump ") or "as new as the pg_dump that made it"
    )
    newer = f"# PGHOST, PGPORT and PGUSER lead the tools; {loader} must be {version} or newer"
    roles = tuple(f"psql -X -d postgres -f {path}  {HARMLESS}" for path in _globals(backup))
    before, after = _around(backup, f"psql -X -v ON_ERROR_STOP=1 -d {new}")
    return (check, newer, *roles, _create(backup, new), *before, *_load(backup, path, new), *after)


def _rows_out(manifest: Manifest, path: str) -> tuple[str, ...]:
    """Return how the rows of one table are taken out; there is no command that restores all of it."""
    unpack = f"gzip -dc {path} | jq"
    name = next((table.name for table in manifest.tables if table.data), "TABLE")
    rows = shlex.quote(f".tables[{json.dumps(name, ensure_ascii=False)}].data[] | @csv")
    return (
        "# jq holds the document in memory; other JSON readers do as well",
        f"{unpack} -c '.tables | map_values({{columns, row_count}})'",
        # one of rows alone has no schema, and an outline in its place
        f"{unpack} '.metadata | .schema // .outline'  # what the tables were made of; of rows alone their columns and types",
        f"{unpack} -r {rows} > rows.csv  # one table, as psql's \\copy TABLE (COLUMNS) FROM rows.csv CSV reads it",
    )


def by_hand_inside(backup: Backup, *, container: str = "", user: str = "") -> tuple[str, ...]:
    """Return the same for the tools inside a container; empty where the backup was not made through one.

    The manifest holds neither its name nor the role: what is not given has to be put in.
    """
    manifest = backup.manifest
    if manifest.route is not Route.CONTAINER:
        return ()
    path = shlex.quote(str(backup.path))
    new = shlex.quote(f"{_suggested(manifest.database.name)}_restored")
    names = f"export CONTAINER={shlex.quote(container or 'NAME')} PGUSER={shlex.quote(user or 'ROLE')}"
    where = f"{names}  # the container, as docker ps shows it, and its POSTGRES_USER"
    roles = tuple(f"{INSIDE} psql -X -d postgres < {path}  {HARMLESS}" for path in _globals(backup))
    create = f"{INSIDE} {_create(backup, new)}"
    before, after = _around(backup, f"{INSIDE} psql -X -v ON_ERROR_STOP=1 -d {new}")
    return (where, *roles, create, *before, *_load_inside(backup, path, new), *after)


def _load_inside(backup: Backup, path: str, new: str) -> tuple[str, ...]:
    manifest = backup.manifest
    if manifest.format is Format.SQL:
        unpack = UNPACK[manifest.compression]
        return (f"{unpack} {path} | {INSIDE} psql -X -v ON_ERROR_STOP=1 -d {new}",)
    if manifest.format is Format.CUSTOM:
        # what is read from a pipe cannot be loaded by several jobs
        return (f"{INSIDE} pg_restore --exit-on-error -d {new} < {path}",)
    name = backup.path.name.removesuffix(".tar")
    here, there = shlex.quote(f"./{name}"), shlex.quote(f"/tmp/{name}")  # noqa: S108 - inside the container
    return (
        f"mkdir {here} && tar -xf {path} -C {here}",
        f'docker cp {here} "$CONTAINER":{there}',
        # the files keep the owner they have here: whoever the image works as may not read them
        f"{AS_ROOT} pg_restore --exit-on-error {_jobs(backup)}-d {new} {there}",
        f"{AS_ROOT} rm -r {there}",
    )


def _globals(backup: Backup) -> tuple[str, ...]:
    """Return the path of the roles dumped beside it, if they were."""
    name = backup.manifest.globals
    return (shlex.quote(str(backup.path.with_name(name))),) if name else ()


def _create(backup: Backup, new: str) -> str:
    return f"createdb -T template0 {_encoding(backup.manifest.encoding)}{new}"


def _load(backup: Backup, path: str, new: str) -> tuple[str, ...]:
    manifest = backup.manifest
    if manifest.format is Format.SQL:
        return (f"{UNPACK[manifest.compression]} {path} | psql -X -v ON_ERROR_STOP=1 -d {new}",)
    # --no-owner where the roles of the source are not there
    restore = f"pg_restore --exit-on-error {_jobs(backup)}-d {new}"
    if manifest.format is Format.CUSTOM:
        return (f"{restore} {path}",)
    folder = shlex.quote(backup.path.name.removesuffix(".tar"))
    return (f"mkdir {folder} && tar -xf {path} -C {folder}", f"{restore} {folder}")


def _suggested(name: str) -> str:
    """Return a database's name as the tools take it for a name: not for an option, a path or where to connect to."""
    return re.sub(r"[\x00-\x1f\x7f/\\=:]|^-+", "_", name)


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "_" for c in text)


def _around(backup: Backup, psql: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what TimescaleDB wants done before and after the load; the latter also when that failed."""
    if not _has_timescale(backup):
        return (), ()
    version = re.sub(r"[^\w.+-]", "_", backup.manifest.extensions[TIMESCALE])
    create = shlex.quote(f"CREATE EXTENSION {TIMESCALE} VERSION '{version}'")
    return (f"{psql} -c {create} -c {shlex.quote(PREPARE)}",), (
        f"{psql} -c {shlex.quote(FINISH)}  # after a failed load too",
    )


def _jobs(backup: Backup) -> str:
    """Return how many jobs load it: several would fill TimescaleDB's catalog in an order it does not allow."""
    return "" if _has_timescale(backup) else "--jobs=2 "


def _has_timescale(backup: Backup) -> bool:
    """Whether the extension is in the archive: pg_dump leaves it out where single tables were asked for."""
    manifest = backup.manifest
    chosen = any(part.startswith("all other tables") for part in manifest.not_included)
    return bool(manifest.extensions.get(TIMESCALE)) and not chosen


def _encoding(encoding: str) -> str:
    return f"-E {shlex.quote(encoding)} " if encoding else ""
