"""The commands that bring a backup back without dbtasks: printed on every backup's page."""

from __future__ import annotations

import shlex

from ..models import Backup, Compression, Format, Route

__all__ = ["by_hand", "by_hand_inside"]

INSIDE = 'docker exec -i -e PGUSER "$CONTAINER"'
AS_ROOT = INSIDE.replace("-i", "-i -u 0")
HARMLESS = "# roles that are there already are errors, and harmless"
UNPACK = {Compression.NONE: "cat", Compression.GZIP: "gzip -dc", Compression.ZSTD: "zstd -dc"}


def by_hand(backup: Backup) -> tuple[str, ...]:
    """Return shell lines for a person with standard tools; they never touch the live database."""
    manifest = backup.manifest
    path = shlex.quote(str(backup.path))
    # the line sha256sum itself writes: hash, two spaces, path
    line = shlex.quote(f"{manifest.sha256}  {backup.path}")
    check = f"echo {line} | sha256sum -c"
    if manifest.format is Format.SQLITE:
        target = shlex.quote(f"{manifest.database.name}.restored")
        unpack = f"{UNPACK[manifest.compression]} {path} > {target}"
        return (check, unpack, f"sqlite3 {target} 'PRAGMA integrity_check'")
    new = shlex.quote(f"{manifest.database.name}_restored")
    loader = "psql" if manifest.format is Format.SQL else "pg_restore"
    version = manifest.tool_version.removeprefix("pg_dump ")
    newer = f"# PGHOST, PGPORT and PGUSER lead the tools; {loader} must be {version} or newer"
    roles = tuple(f"psql -X -d postgres -f {path}  {HARMLESS}" for path in _globals(backup))
    return (check, newer, *roles, _create(backup, new), *_load(backup, path, new))


def by_hand_inside(backup: Backup, *, container: str = "", user: str = "") -> tuple[str, ...]:
    """Return the same for the tools inside a container; empty where the backup was not made through one.

    The manifest holds neither its name nor the role: what is not given has to be put in.
    """
    manifest = backup.manifest
    if manifest.route is not Route.CONTAINER:
        return ()
    path = shlex.quote(str(backup.path))
    new = shlex.quote(f"{manifest.database.name}_restored")
    names = f"export CONTAINER={shlex.quote(container or 'NAME')} PGUSER={shlex.quote(user or 'ROLE')}"
    where = f"{names}  # the container, as docker ps shows it, and its POSTGRES_USER"
    roles = tuple(f"{INSIDE} psql -X -d postgres < {path}  {HARMLESS}" for path in _globals(backup))
    create = f"{INSIDE} {_create(backup, new)}"
    return (where, *roles, create, *_load_inside(backup, path, new))


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
        f"{AS_ROOT} pg_restore --exit-on-error --jobs=2 -d {new} {there}",
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
    restore = f"pg_restore --exit-on-error --jobs=2 -d {new}"
    if manifest.format is Format.CUSTOM:
        return (f"{restore} {path}",)
    folder = shlex.quote(backup.path.name.removesuffix(".tar"))
    return (f"mkdir {folder} && tar -xf {path} -C {folder}", f"{restore} {folder}")


def _encoding(encoding: str) -> str:
    return f"-E {shlex.quote(encoding)} " if encoding else ""
