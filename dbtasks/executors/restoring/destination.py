"""Where a restore goes, and whether this backup is meant for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, urlencode

from ...engines.rows.archive import engine_of_rows
from ...engines.sqlite.files import has_header
from ...errors import Refused, UsageError, WrongEngine
from ...models import Archive, EngineName, Format, Manifest, PostgresTarget, SqliteTarget, Target
from ...plans import LoadPlan, TargetState
from ...settings import Settings
from ...stores.local import translated
from ...urls import parse_url, sqlite_file

__all__ = [
    "bares_password",
    "destination",
    "doubts_about",
    "elsewhere",
    "engine_of_archive",
    "environment_of",
    "is_database",
    "is_whole",
    "prove_same_engine",
    "reaching",
    "shown",
]

BY_SETTING = "@"


def destination(settings: Settings, into: str | None) -> Target:
    """Return where a restore goes: the configured database, or what --into names.

    That is another database of the same server, another SQLite file, the url of any database,
    or `@`: the url that the setting into_url holds.

    Raises:
        UsageError: it names nothing. Refused: it is in the backup folder, or no database.
        SettingsError: its url cannot be read; says nothing of what is in it.
    """
    if into is None:
        return settings.require_target()
    other = _named(settings, into)
    if isinstance(other, SqliteTarget) and other != settings.target:
        _refuse_no_database(settings, other.path)
    return other


def _named(settings: Settings, into: str) -> Target:
    if not into.strip():
        raise UsageError(
            f"--into={into} names no database",
            hint="leave it out for the configured one, or name another: --into=NAME",
        )
    if into == BY_SETTING:
        if settings.into is None:
            raise UsageError(
                "--into=@ means the database of the setting into_url, and that is not set",
                hint=f"set {settings.env_prefix}INTO_URL in the environment or in .env",
            )
        return settings.into
    if "://" in into:
        return parse_url(into, root=settings.root, source="--into")
    target = settings.require_target()
    if isinstance(target, PostgresTarget):
        return replace(target, database=into)
    return sqlite_file(into, root=settings.root, source="--into")


def is_whole(into: str | None) -> bool:
    """Whether --into says by itself which database is meant, whatever is configured."""
    return into is not None and (into == BY_SETTING or "://" in into)


def shown(into: str | None, target: Target) -> str | None:
    """Return --into as it may be printed and typed again: a url comes without its password."""
    if into is None or "://" not in into:
        return into
    if isinstance(target, SqliteTarget):
        return str(target.path)
    public = {name: value for name, value in target.options.items() if name != "sslpassword"}
    user = f"{quote(target.user, safe='')}@" if target.user else ""
    host = quote(target.host, safe=":") if ":" not in target.host else f"[{target.host}]"
    query = f"?{urlencode(public)}" if public else ""
    return f"postgresql://{user}{host}:{target.port}/{quote(target.database, safe='')}{query}"


def bares_password(into: str | None) -> bool:
    """Whether a password stands in --into, where everybody on this machine may read it in the list of processes."""
    if into is None or "://" not in into:
        return False
    login = into.partition("://")[2].rpartition("@")[0]
    return ":" in login or "password=" in into.partition("?")[2]


def reaching(settings: Settings, target: Target) -> Settings:
    """Return the settings by which a target is reached.

    On another server what the settings say of the configured one leads nowhere: its container,
    its maintenance database, its environment.
    """
    own = settings.target
    if isinstance(target, SqliteTarget) or (own and own.identity.server == target.identity.server):
        return settings
    either = {"auto", "host"} & set(settings.via)
    return replace(
        settings,
        target=target,
        via=settings.via if either else ("auto",),
        container=None,
        service=None,
        compose_project=None,
        found_in="",
        maintenance_db=None,
        environment=None,
    )


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
    if is_there and not is_database(path):
        raise Refused(
            f"--into: {path} exists and is not a SQLite database",
            hint="choose another name",
            state="it was not touched",
        )


def is_database(path: Path) -> bool:
    """Whether a file has the header of one, or is empty, which SQLite takes for one.

    Raises:
        OperationFailed: it may not be read.
    """
    if not path.is_file():
        return False
    with translated(f"cannot read {path}"):
        return has_header(path)


def doubts_about(settings: Settings, archive: Archive, target: Target, load: LoadPlan) -> tuple[str, ...]:
    """Say why this may be the wrong backup for the configured database: each is a reason to have its name typed."""
    manifest = archive.manifest
    if manifest is None:
        return ()
    doubts = list(_other_database(manifest, target))
    if settings.environment and (manifest.environment or load.state is TargetState.PRESENT):
        # what nobody has named may be anybody's copy of production; what is empty may be filled from before the label
        doubts += _other_environment(manifest, settings.environment)
    if load.state is TargetState.PRESENT:
        # into an empty database anything may go
        doubts += _other_server(manifest, target, load)
        doubts += [f"this backup holds {manifest.anomaly}"] if manifest.anomalous else []
    return tuple(doubts)


def elsewhere(settings: Settings, archive: Archive, target: Target, load: LoadPlan) -> tuple[str, ...]:
    """Say in words how this backup goes somewhere else than it came from, wherever that is, and was asked for."""
    manifest = archive.manifest
    if manifest is None:
        return ()
    words = list(_other_database(manifest, target))
    words += _other_environment(manifest, environment_of(settings, target), target.name)
    words += _other_server(manifest, target, load)
    words += [f"this backup holds {manifest.anomaly}"] if manifest.anomalous else []
    return tuple(words)


def environment_of(settings: Settings, target: Target) -> str | None:
    """Return the label of where a restore goes: the project's, for any database of its own server."""
    own = settings.target
    same = isinstance(target, SqliteTarget) or (own and own.identity.server == target.identity.server)
    return settings.environment if same else None


def _other_database(manifest: Manifest, target: Target) -> Iterator[str]:
    if manifest.database != target.identity:
        whose = "was adopted for" if manifest.foreign else "is of"
        yield f"this backup {whose} {manifest.database} and goes into {target.identity}"


def _other_environment(manifest: Manifest, here: str | None, name: str = "") -> tuple[str, ...]:
    # where an adopted file was made nobody knows
    if manifest.environment == here or manifest.foreign:
        return ()
    into = here or f"{name}, of which no environment is known"
    made = f"in {manifest.environment}" if manifest.environment else "where no environment was set"
    return (f"this backup was made {made} and goes into {into}",)


def _other_server(manifest: Manifest, target: Target, load: LoadPlan) -> Iterator[str]:
    """Compare system identifiers, where both are known: the address alone does not tell one server from the next."""
    live = load.facts.system_identifier if load.facts else ""
    if manifest.system_identifier and live and manifest.system_identifier != live:
        yield (
            f"this backup was made on another server than the one that answers as {target.address} now:"
            " another project's, or its data were made anew or upgraded since"
        )


def engine_of_archive(archive: Archive) -> EngineName | None:
    """Return from which kind of database an archive is; None for an older tool's rows, which are of neither.

    Raises:
        ArchiveDamaged: it does not say.
    """
    if archive.format is Format.ROWS:
        return engine_of_rows(archive)
    return EngineName.SQLITE if archive.format is Format.SQLITE else EngineName.POSTGRESQL


def _way_across(target: Target) -> str:
    ways = [
        "a rows backup of it (db.backup --format=rows) is restored and compared across engines (db.diff --rows)"
    ]
    if target.engine is EngineName.POSTGRESQL:
        ways.insert(0, "db.migrate brings a SQLite file into PostgreSQL, with proof")
    return "; ".join(ways)


def prove_same_engine(archive: Archive, target: Target) -> None:
    """Compare the kinds of database.

    Raises:
        WrongEngine: the archive was made from the other kind. ArchiveDamaged: it does not say.
    """
    made_for = engine_of_archive(archive)
    # an older tool's rows are of neither kind: the tables they go into say what they are
    if made_for not in (target.engine, None):
        raise WrongEngine(
            f"{archive.path.name} holds a {made_for} database, and {target.name} is {target.engine}",
            hint=_way_across(target),
            state="nothing was touched",
        )
