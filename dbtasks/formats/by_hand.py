"""The commands that bring a backup back without dbtasks: printed on every backup's page."""

from __future__ import annotations

import shlex

from ..models import Backup, Compression, Format

__all__ = ["by_hand"]

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
    newer = f"# PGHOST, PGPORT and PGUSER lead the tools; they must be {manifest.tool_version} or newer"
    roles: tuple[str, ...] = ()
    if manifest.globals:
        globals_path = shlex.quote(str(backup.path.with_name(manifest.globals)))
        roles = (
            f"psql -X -d postgres -f {globals_path}  # roles that are there already are errors, and harmless",
        )
    create = f"createdb -T template0 {_encoding(manifest.encoding)}{new}"
    return (check, newer, *roles, create, *_load(backup, path, new))


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
