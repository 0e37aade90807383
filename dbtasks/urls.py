"""Database URLs: every spelling in use, understood or refused by name.

Only libpq's own parser gets every PostgreSQL form right (several hosts,
encoded sockets, IPv6), so the scheme is normalised here and the rest is left
to it. No error text of this module holds any part of a URL but its scheme.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlencode

from .errors import SettingsError
from .models import PostgresTarget, SqliteTarget, Target
from .secrets import Secret

__all__ = ["parse_url", "postgres_target", "postgres_url", "sqlite_file", "sqlite_target"]

POSTGRES_SCHEMES = frozenset({"postgres", "postgresql", "pgsql", "postgis", "timescale", "timescaledb"})
SQLITE_SCHEMES = frozenset({"sqlite", "sqlite3", "spatialite"})
PARTS = ("host", "port", "dbname", "user", "password")
HOST = re.compile(r"[\w.-]*|[0-9A-Fa-f:.]+(%\w+)?")
"""A name, IPv4 or IPv6; underscores are common among compose services."""
# libpq reads these from a URL too, but each of them sends the connection somewhere
# else than the host and port that were shown to the user.
REDIRECTING = ("hostaddr", "service", "servicefile", "passfile", "options")


def parse_url(url: str, *, root: Path, source: str) -> Target:
    """Turn a URL into a target.

    Relative SQLite paths (three slashes) are relative to `root`, absolute
    ones have four.

    Raises:
        SettingsError: the scheme is not ours, or the rest cannot be read; the
            message names `source`, never the URL.
    """
    scheme, _, rest = url.strip().partition("://")
    if not _has_scheme(url.strip()):
        raise SettingsError(
            f"{source}: not a database URL: it has no scheme",
            hint="write sqlite:///path/to/file.db or postgresql://user:password@host:5432/name",
        )
    name = scheme.lower().partition("+")[0]
    if name in SQLITE_SCHEMES:
        if "sqlcipher" in scheme.lower():
            raise SettingsError(f"{source}: encrypted SQLite (SQLCipher) is not supported")
        return _sqlite(rest, root=root, source=source)
    if name in POSTGRES_SCHEMES:
        return _postgres(rest, source=source)
    raise SettingsError(
        f"{source}: {name}:// databases are not supported",
        hint="dbtasks backs up sqlite:// and postgresql:// databases",
    )


def postgres_url(target: PostgresTarget, password: str, *, without: Collection[str] = ()) -> str:
    """Write the URL that leads to a database, with a password as it is or as it may be seen; `without` some options."""
    login = quote(target.user, safe="") + (f":{quote(password, safe='*')}" if password else "")
    options = {name: value for name, value in target.options.items() if name not in without}
    if not target.host or target.host.startswith("/"):
        # a socket's folder is no host of a URL's, and there is no port without one
        options |= {"host": target.host} if target.host else {}
        options["port"], place = str(target.port), ""
    else:
        host = f"[{target.host}]" if ":" in target.host else quote(target.host, safe="")
        place = f"{host}:{target.port}"
    query = f"?{urlencode(options)}" if options else ""
    at = f"{login}@" if login else ""
    return f"postgresql://{at}{place}/{quote(target.database, safe='')}{query}"


def sqlite_file(text: str, *, root: Path, source: str) -> SqliteTarget:
    """Read the path of a SQLite file as people write it: relative to `root`, or with a `~`.

    Raises:
        SettingsError: it is no file.
    """
    if text in ("", ":memory:"):
        raise SettingsError(f"{source}: an in-memory SQLite database cannot be backed up", hint="name a file")
    if "\0" in text:
        raise SettingsError(f"{source}: the path holds a NUL character")
    try:
        path = Path(text).expanduser()
    except RuntimeError as exc:
        raise SettingsError(f"{source}: no home folder for {_printable(text.partition('/')[0])}") from exc
    if path.name in ("", ".."):
        raise SettingsError(f"{source}: the path names no file", hint="for instance sqlite:///app.db")
    return sqlite_target(path, root=root)


def sqlite_target(path: Path, *, root: Path) -> SqliteTarget:
    """Describe a SQLite file; its folder is kept relative to the project where it lies inside."""
    absolute = path if path.is_absolute() else root / path
    # normalise ".." without following symlinks: the name the user gave is the database's name
    absolute = Path(*absolute.parts[:1], *_without_dots(absolute.parts[1:]))
    try:
        server = absolute.parent.relative_to(root).as_posix()
    except ValueError:
        server = absolute.parent.as_posix()
    return SqliteTarget(absolute, server="" if server == "." else server)


def _without_dots(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept = kept[:-1]
        elif part != ".":
            kept.append(part)
    return kept


def _sqlite(rest: str, *, root: Path, source: str) -> SqliteTarget:
    text, _, query = rest.partition("?")
    authority, slash, path = text.partition("/")
    if authority or not slash:
        raise SettingsError(
            f"{source}: a SQLite URL has three slashes before a relative path and four before an absolute one",
            hint="for instance sqlite:///app.db or sqlite:////srv/app/app.db",
        )
    if parse_qs(query).get("mode") == ["memory"]:
        path = ""
    return sqlite_file(unquote(path).removeprefix("file:"), root=root, source=source)


def _postgres(rest: str, *, source: str) -> PostgresTarget:
    from psycopg2 import ProgrammingError
    from psycopg2.extensions import parse_dsn

    try:
        parts: dict[str, str] = parse_dsn(f"postgresql://{rest}")
    except (ProgrammingError, UnicodeError):
        # libpq's message quotes the whole URL, password included
        raise SettingsError(
            f"{source}: the PostgreSQL URL cannot be read",
            hint="percent-encode @ : / # % ? and spaces in user, password and database name; "
            "behind the ? only libpq's own parameters are known",
        ) from None
    redirecting = [key for key in REDIRECTING if key in parts]
    if redirecting:
        raise SettingsError(
            f"{source}: {redirecting[0]} in the URL is not supported: it would lead elsewhere than host and port say",
            hint="give host, port, user and database in the URL itself",
        )
    if "," in parts.get("host", "") or "," in parts.get("port", ""):
        raise SettingsError(
            f"{source}: a URL with several hosts does not say which server is meant",
            hint="name the one server to back up or restore",
        )
    return postgres_target(parts, source=source)


def postgres_target(parts: dict[str, str], *, source: str) -> PostgresTarget:
    """Build a target from libpq keywords; the database defaults to the user, as in libpq."""
    port = parts.get("port") or "5432"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise SettingsError(
            f"{source}: port must be a number from 1 to 65535",
            hint="in a URL, percent-encode @ : / in the password",
        )
    host = parts.get("host", "")
    if not (Path(host).is_absolute() or HOST.fullmatch(host)):
        # it may well be a password in the wrong place: it is not shown
        raise SettingsError(
            f"{source}: the host holds characters that no host name has",
            hint="the form is postgresql://user:password@host:port/name; percent-encode @ : / in the password",
        )
    database = parts.get("dbname") or parts.get("user") or ""
    if not database:
        raise SettingsError(f"{source}: no database name", hint="add /name to the URL")
    password = parts.get("password")
    return PostgresTarget(
        database=database,
        host=host,
        port=int(port),
        user=parts.get("user", ""),
        password=Secret(password) if password else None,
        options={key: value for key, value in parts.items() if key not in PARTS},
    )


def _has_scheme(url: str) -> bool:
    # anything else before :// may be a login, and is not shown
    return bool(re.match(r"[A-Za-z][A-Za-z0-9.-]{0,20}(\+\w{1,20})?://", url, re.ASCII))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:20])
