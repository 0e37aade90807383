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
    check = f"echo {shlex.quote(manifest.sha256)}'  '{path} | sha256sum -c"
    new = shlex.quote(f"{manifest.database.name}_restored")
    if manifest.format is Format.SQLITE:
        target = shlex.quote(f"{manifest.database.name}.restored")
        return (
            check,
            f"{UNPACK[manifest.compression]} {path} > {target}",
            f"sqlite3 {target} 'PRAGMA integrity_check'",
        )
    create = f"createdb -T template0 {_encoding(manifest.encoding)}{new}"
    if manifest.format is Format.SQL:
        load = f"{UNPACK[manifest.compression]} {path} | psql -X -v ON_ERROR_STOP=1 -d {new}"
        return (check, create, load)
    if manifest.format is Format.DIRECTORY:
        folder = shlex.quote(backup.path.name.removesuffix(".tar"))
        unpack = f"mkdir {folder} && tar -xf {path} -C {folder}"
        return (check, unpack, create, f"pg_restore --exit-on-error --jobs=2 -d {new} {folder}")
    return (check, create, f"pg_restore --exit-on-error --jobs=2 -d {new} {path}")


def _encoding(encoding: str) -> str:
    return f"-E {shlex.quote(encoding)} " if encoding else ""
