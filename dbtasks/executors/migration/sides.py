"""Which database a migration leaves, and which it goes to."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import quote

from ...errors import OperationFailed, SettingsError, UsageError
from ...models import PostgresTarget, SqliteTarget, Target
from ...settings import Settings
from ...settings.keys import PREFIX
from ...urls import parse_url, postgres_url, sqlite_file
from ..restoring.destination import is_database

__all__ = ["BY_SETTING", "migration_source", "migration_target", "prove_database", "url_line"]

BY_SETTING = "@"
UNTOUCHED = "nothing was touched"
EXAMPLE = "db.migrate --from=app.db --to=postgresql://app@localhost/shop"


def migration_source(settings: Settings, named: str | None) -> SqliteTarget:
    """Return the SQLite file that is left: what --from names, else the configured database.

    Raises:
        UsageError: it is none, or none is named. SettingsError: its url cannot be read.
    """
    source: Target | None = settings.target
    if named is not None:
        source = (
            parse_url(named, root=settings.root, source="--from")
            if "://" in named
            else sqlite_file(named, root=settings.root, source="--from")
        )
    if isinstance(source, SqliteTarget):
        return source
    if named is not None:
        raise UsageError(
            "--from names a PostgreSQL database: db.migrate goes from SQLite to PostgreSQL",
            hint=f"for instance {EXAMPLE}; db.backup --format=rows and db.restore go the other way",
            state=UNTOUCHED,
        )
    raise UsageError(
        "which SQLite database is to be migrated? the configured one is not SQLite",
        hint="add --from=PATH",
        state=UNTOUCHED,
    )


def prove_database(source: SqliteTarget, *, named: bool) -> None:
    """See that what is there is a SQLite database; that it is there and may be read is for who opens it. `named`: by --from.

    Raises:
        UsageError: it is another file.
    """
    try:
        is_another = source.path.is_file() and not is_database(source.path)
    except (OSError, OperationFailed):
        return
    if is_another:
        raise UsageError(
            f"{'--from' if named else 'the configured database'}: {source.path} is not a SQLite database",
            hint=f"name the database's file, for instance {EXAMPLE}",
            state=UNTOUCHED,
        )


def migration_target(settings: Settings, named: str | None) -> PostgresTarget:
    """Return the PostgreSQL database that is filled: what --to names, else the configured one.

    --to takes a url, `@` for the one in the setting into_url, and the name of another database of the configured server.

    Raises:
        UsageError: it is none, or none is named. SettingsError: its url cannot be read; says nothing of what is in it.
    """
    target: Target | None = settings.target
    if named is not None:
        target = _named(settings, named)
    elif target is None:
        raise settings.why_no_target()
    if isinstance(target, PostgresTarget):
        return target
    if named is not None:
        raise UsageError(
            "--to names a SQLite database: db.migrate goes from SQLite to PostgreSQL",
            hint=f"for instance {EXAMPLE}",
            state=UNTOUCHED,
        )
    raise UsageError(
        "where is it to go? the configured database is SQLite",
        hint=f"add --to=postgresql://USER@HOST/NAME, or set {settings.env_prefix}INTO_URL and add --to=@",
        state=UNTOUCHED,
    )


def _named(settings: Settings, named: str) -> Target:
    if named == BY_SETTING:
        if settings.into is None:
            raise UsageError(
                "--to=@ means the database of the setting into_url, and that is not set",
                hint=f"set {settings.env_prefix}INTO_URL in the environment or in .env",
                state=UNTOUCHED,
            )
        return settings.into
    if "://" in named:
        return parse_url(named, root=settings.root, source="--to")
    if not named.strip():
        raise SettingsError("--to names no database", hint=f"for instance {EXAMPLE}")
    own = settings.target
    if isinstance(own, PostgresTarget):
        return replace(own, database=named)
    raise UsageError(
        f"--to={named} is no url, and there is no configured server that has databases by name",
        hint="write it as postgresql://USER@HOST/NAME",
        state=UNTOUCHED,
    )


def url_line(settings: Settings, target: Target) -> str:
    """Return the line for `.env` that makes a database the configured one; a password is `***`."""
    name = "DATABASE_URL" if settings.env_prefix == PREFIX else f"{settings.env_prefix}URL"
    return f"{name}={_masked(settings, target)}"


def _masked(settings: Settings, target: Target) -> str:
    if isinstance(target, SqliteTarget):
        inside = target.path.is_relative_to(settings.root)
        path = target.path.relative_to(settings.root) if inside else target.path
        return f"sqlite:///{quote(path.as_posix())}"
    password = "***" if target.password else ""
    return postgres_url(target, password, without=("sslpassword",))
