"""Planning a load with TimescaleDB: what it asks of server, login and request, proved before anything is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....errors import Refused, RightMissing, VersionMismatch
from ....models import Archive, Format
from ....nouns import some
from ....plans import LoadRequest, LoadStrategy, Timescale
from ..archive.contents import Contents
from ..server import Server, anywhere
from ..timescale import EXTENSION, offered_versions

if TYPE_CHECKING:
    from .. import PostgresEngine

__all__ = ["prove_beside", "prove_timescale", "timescale_words"]

UNTOUCHED = "nothing was touched"


def prove_timescale(
    engine: PostgresEngine, archive: Archive, contents: Contents, request: LoadRequest, server: Server
) -> Timescale | None:
    """Prove that an archive's TimescaleDB can be had here in its own version; None where it holds none.

    Raises:
        VersionMismatch: the server cannot install that version. RightMissing: the login is no superuser.
        Refused: the file is not ours, or is to be loaded as another role.
    """
    if EXTENSION not in contents.extensions:
        return None
    name = archive.path.name
    if not archive.is_ours or archive.manifest is None:
        raise Refused(
            f"{name} is not ours and holds TimescaleDB, which nobody but a superuser can load;"
            " such a file is never loaded as one",
            state=UNTOUCHED,
            hint="load it by hand into a server that nothing depends on, then db.backup there",
        )
    version = archive.manifest.extensions.get(EXTENSION, "")
    _prove_version(engine, name, version)
    if not server.superuser:
        raise RightMissing(
            f"{name} holds TimescaleDB, whose background workers only a superuser may stop for a load,"
            f" and {server.role} is none",
            state=UNTOUCHED,
            hint="use a superuser's login",
        )
    if request.role:
        raise Refused(
            f"--role={request.role}: {name} holds TimescaleDB, whose catalog no other role than its owner can fill",
            state=UNTOUCHED,
            hint="leave --role out; afterwards REASSIGN OWNED gives the tables away",
        )
    return Timescale(version, contents.extensions[EXTENSION] or "public")


def _prove_version(engine: PostgresEngine, name: str, version: str) -> None:
    with anywhere(engine) as session:
        offered = offered_versions(session)
    if version in offered:
        return
    image = f"timescale/timescaledb:{version}-pg{engine.server_version() // 10_000}"
    if not offered:
        raise VersionMismatch(
            f"{name} was made with TimescaleDB {version}, and this server has no TimescaleDB",
            state=UNTOUCHED,
            hint=f"restore into a server that has this version, such as the image {image}",
        )
    raise VersionMismatch(
        f"{name} was made with TimescaleDB {version}, and this server has {some(offered)}:"
        " a backup loads into its own version only",
        state=UNTOUCHED,
        hint=f"restore into a server that has it, such as the image {image};"
        " or ALTER EXTENSION timescaledb UPDATE in the database it was made from, and db.backup again",
    )


def prove_beside(
    engine: PostgresEngine, request: LoadRequest, strategy: LoadStrategy, why: str, wanted: Timescale | None
) -> None:
    """Refuse a load in place where TimescaleDB is on either side.

    Raises:
        Refused: in place was asked for. RightMissing: nothing else is possible.
    """
    if strategy is not LoadStrategy.IN_PLACE:
        return
    if wanted is None and EXTENSION not in engine.facts().extensions:
        return
    what = "the backup holds" if wanted else f"{engine.target.database} has"
    message = f"{what} TimescaleDB, which is loaded into a new database only, and never in place"
    if request.in_place:
        raise Refused(message, state=UNTOUCHED, hint="leave --in-place out, or restore beside: --into=NAME")
    raise RightMissing(
        f"{message}; {why}",
        state=UNTOUCHED,
        hint="use a login that may create databases, and set maintenance_db to a database it may connect to",
    )


def timescale_words(engine: PostgresEngine, archive: Archive, request: LoadRequest) -> list[str]:
    """Say that jobs asked for do not count."""
    if archive.format is Format.SQL or (request.jobs or engine.settings.jobs or 1) == 1:
        return []
    return ["it is loaded by one job: several do not restore TimescaleDB's catalog correctly"]
