"""Conventional names: the family is chosen first, then read whole.

DATABASE_URL > DATABASE_PATH > DB_* > POSTGRES_* > PG*. Host, port and
database never come from two families: half of one and half of another is how
a backup of the wrong database is made. A host that is not given stays not
given: it is this project's container then, or libpq's own default.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import SettingsError
from ..models import Target
from ..urls import parse_url, postgres_target, sqlite_file

__all__ = ["Found", "Names", "read_family"]

SQLITE_TYPES = frozenset({"sqlite", "sqlite3", "spatialite"})
POSTGRES_TYPES = frozenset(
    {"postgres", "postgresql", "postgresql_psycopg2", "pgsql", "postgis", "timescale", "timescaledb"}
)

INSIDE = "5432"
"""Where every server listens in its container: says nothing of what is published."""


@dataclass(frozen=True)
class Found:
    """A text and where it came from."""

    text: str
    source: str


class Names:
    """Environment and `.env` seen as one: the environment first, `NAME_FILE` for every name."""

    def __init__(self, environ: Mapping[str, str], dotenv: Mapping[str, str], *, prefix: str = "") -> None:
        self._levels = ((environ, "in the environment"), (dotenv, "in .env"))
        self._prefix = prefix
        self.read_from: dict[str, Path] = {}
        """The files that were read, by the name they stand in for."""

    def get(self, *names: str) -> Found | None:
        """Return the first of the names that is set and not empty.

        Raises:
            SettingsError: NAME and NAME_FILE are both set, or the file cannot be read.
        """
        for level, where in self._levels:
            for name in names:
                found = self._at(level, where, self._prefix + name)
                if found:
                    return found
        return None

    def _at(self, level: Mapping[str, str], where: str, name: str) -> Found | None:
        text, file = level.get(name), level.get(f"{name}_FILE")
        if text and file:
            raise SettingsError(f"{name} and {name}_FILE are both set {where}", hint="keep one of them")
        if file:
            self.read_from[name] = Path(file)
            return Found(_read(Path(file), f"{name}_FILE {where}"), f"{name}_FILE {where}")
        return Found(text, f"{name} {where}") if text else None


def _read(path: Path, source: str) -> str:
    try:
        return path.read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8 text"
        raise SettingsError(f"{source}: {path}: {reason}") from exc


def read_family(
    names: Names, *, root: Path, libpq: bool = True
) -> Iterator[tuple[Target, Mapping[str, str]]]:
    """Yield the target of the first family that is present, with the source of each part.

    Yields nothing where no family is. `libpq=False` leaves PG* out: they
    belong to the process, not to a mount with a prefix of its own.

    Raises:
        SettingsError: the family is present and cannot be understood.
    """
    readers: list[Callable[[Names, Path], tuple[Target, Mapping[str, str]] | None]] = [
        _url,
        _path,
        _db,
        _postgres,
    ]
    if libpq:
        readers.append(_libpq)
    for reader in readers:
        found = reader(names, root)
        if found:
            yield found
            return


def _url(names: Names, root: Path) -> tuple[Target, Mapping[str, str]] | None:
    url = names.get("DATABASE_URL")
    return (parse_url(url.text, root=root, source=url.source), {"url": url.source}) if url else None


def _path(names: Names, root: Path) -> tuple[Target, Mapping[str, str]] | None:
    path = names.get("DATABASE_PATH")
    return (sqlite_file(path.text, root=root, source=path.source), {"path": path.source}) if path else None


def _db(names: Names, root: Path) -> tuple[Target, Mapping[str, str]] | None:
    kind = names.get("DB_TYPE", "DB_ENGINE")
    name = (
        names.get("DB_NAME", "DB_DATABASE", "DB_PATH")
        if _is_sqlite(kind)
        else names.get("DB_NAME", "DB_DATABASE")
    )
    host = names.get("DB_HOST")
    if not (kind or name or host):
        return None
    if _is_sqlite(kind):
        if not name:
            raise SettingsError(
                "DB_NAME is not set: a SQLite database needs its file", hint="set DB_NAME=path/to/file.db"
            )
        return sqlite_file(name.text, root=root, source=name.source), {"path": name.source}
    if kind and _kind(kind) not in POSTGRES_TYPES:
        raise SettingsError(f"{kind.source}: {kind.text!r} is not supported", hint="use sqlite or postgresql")
    return _parts(
        "DB_NAME",
        host=host,
        port=names.get("DB_PORT"),
        dbname=name,
        user=names.get("DB_USER", "DB_USERNAME"),
        password=names.get("DB_PASSWORD", "DB_PASS"),
    )


def _is_sqlite(kind: Found | None) -> bool:
    return kind is not None and _kind(kind) in SQLITE_TYPES


def _kind(kind: Found) -> str:
    """Reduce `django.db.backends.postgresql` and `postgresql+psycopg2` to their last telling word."""
    return kind.text.lower().partition("+")[0].rpartition(".")[2]


def _postgres(names: Names, root: Path) -> tuple[Target, Mapping[str, str]] | None:
    del root
    host, name = names.get("POSTGRES_HOST", "POSTGRES_SERVER"), names.get("POSTGRES_DB")
    user, port = names.get("POSTGRES_USER"), names.get("POSTGRES_PORT")
    if not (host or name or user):
        return None
    if host is None and port is not None and port.text.strip() != INSIDE:
        # a compose file gives a port a name in order to publish it on this machine
        host = Found("localhost", f"{port.source}, a published port")
    return _parts(
        "POSTGRES_DB",
        host=host,
        port=port,
        dbname=name or user or Found("postgres", "default of the image"),
        user=user or Found("postgres", "default of the image"),
        password=names.get("POSTGRES_PASSWORD"),
    )


def _libpq(names: Names, root: Path) -> tuple[Target, Mapping[str, str]] | None:
    del root
    host, name = names.get("PGHOST"), names.get("PGDATABASE")
    if not (host or name):
        return None
    user = names.get("PGUSER")
    return _parts(
        "PGDATABASE",
        host=host,
        port=names.get("PGPORT"),
        dbname=name or user,
        user=user,
        password=names.get("PGPASSWORD"),
    )


def _parts(wanted: str, **parts: Found | None) -> tuple[Target, Mapping[str, str]]:
    given = {key: found for key, found in parts.items() if found}
    if "dbname" not in given:
        raise SettingsError(f"{wanted} is not set: which database is meant?", hint=f"set {wanted}")
    source = given["port"].source if "port" in given else wanted
    target = postgres_target({key: found.text for key, found in given.items()}, source=source)
    return target, {key: found.source for key, found in given.items()}
