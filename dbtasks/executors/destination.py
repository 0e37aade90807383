"""Where a restore goes, and whether this backup is meant for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import Refused, UsageError, WrongEngine
from ..models import Archive, EngineName, Format, Manifest, PostgresTarget, Target
from ..plans import LoadPlan, TargetState
from ..settings import Settings
from ..stores.local import translated
from ..urls import sqlite_file

__all__ = ["destination", "doubts_about", "prove_same_engine"]


def destination(settings: Settings, into: str | None) -> Target:
    """Return where a restore goes: the configured database, or what --into names.

    Raises:
        UsageError: it names nothing. Refused: it is in the backup folder, or no database.
    """
    target = settings.require_target()
    if into is None:
        return target
    if "://" in into:
        raise UsageError(
            "--into takes the name of a database of the same server, or the path of a SQLite file"
        )
    if isinstance(target, PostgresTarget):
        return replace(target, database=into)
    other = sqlite_file(into, root=settings.root, source="--into")
    if other != target:
        _refuse_no_database(settings, other.path)
    return other


def _refuse_no_database(settings: Settings, path: Path) -> None:
    """Refuse to write over what only --into names and what is no database: only a damaged *database* is moved aside."""
    if path.resolve().is_relative_to(settings.backup_dir.resolve()):
        raise Refused(
            f"--into: {path} lies in the backup folder",
            hint="choose a place outside it",
            state="nothing was touched",
        )
    with translated(f"cannot look for {path}"):
        is_there = path.exists()
    if is_there and not _is_database(path):
        raise Refused(
            f"--into: {path} exists and is not a SQLite database",
            hint="choose another name",
            state="it was not touched",
        )


def _is_database(path: Path) -> bool:
    """Whether a file has the header of one, or is empty, which SQLite takes for one."""
    if not path.is_file():
        return False
    with translated(f"cannot read {path}"), path.open("rb") as stream:
        return stream.read(16) in (b"", b"SQLite format 3\0")


def doubts_about(settings: Settings, archive: Archive, target: Target, load: LoadPlan) -> tuple[str, ...]:
    """Say why this may be the wrong backup for the configured database."""
    manifest, doubts = archive.manifest, []
    if manifest and manifest.database != target.identity:
        doubts.append(f"this backup is of {manifest.database} and goes into {target.identity}")
    environments = (manifest.environment if manifest else None, settings.environment)
    if all(environments) and len(set(environments)) > 1:
        doubts.append(f"this backup was made in {environments[0]} and goes into {environments[1]}")
    if manifest and _is_another_server(manifest, load):
        doubts.append(
            f"this backup was made on another server than the one that answers as {target.address} now:"
            " another project's, or its data were made anew or upgraded since"
        )
    return tuple(doubts)


def _is_another_server(manifest: Manifest, load: LoadPlan) -> bool:
    """Whether rows would be replaced that this backup's server never had; into an empty database anything may go."""
    live = load.facts.system_identifier if load.facts else ""
    known = bool(manifest.system_identifier and live)
    return load.state is TargetState.PRESENT and known and manifest.system_identifier != live


def prove_same_engine(archive: Archive, target: Target) -> None:
    """Compare the kinds of database.

    Raises:
        WrongEngine: the archive was made from the other kind.
    """
    made_for = EngineName.SQLITE if archive.format is Format.SQLITE else EngineName.POSTGRESQL
    if made_for is not target.engine:
        raise WrongEngine(
            f"{archive.path.name} holds a {made_for} database, and {target.name} is {target.engine}",
            state="nothing was touched",
        )
