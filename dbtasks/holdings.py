"""What a database, or a backup of one, holds, as far as the two can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .models import Revision
from .schemas import Schema

__all__ = ["NOT_TOLD", "Holdings"]

NOT_TOLD = "nobody counted the rows of this file: it has no manifest of dbtasks"


@dataclass(frozen=True)
class Holdings:
    """One side of a comparison, read in one snapshot; frozen, without I/O."""

    tables: tuple[str, ...] = ()
    """As manifests name them; also those whose rows are not counted or not in the backup."""
    rows: Mapping[str, int] = field(default_factory=dict)
    not_counted: str = ""
    """Why rows were not counted; empty where they were."""
    schema: Schema | None = None
    """None: there is none in it, see `no_schema`."""
    no_schema: str = ""
    revision: Revision | None = None
    extensions: Mapping[str, str] | None = None
    """Name to version, in the database itself; an empty one is not known. None: nobody wrote them down."""
    roles: frozenset[str] = frozenset()
    """A backup's: those it names. A database's: all of its server."""
    offered: Mapping[str, str] = field(default_factory=dict)
    """Extensions that the server could install, with the version it would."""
    sessions: tuple[str, ...] = ()
    """Who else is connected, described."""
    server_version: str = ""
    warnings: tuple[str, ...] = ()
    all_tables: bool | None = None
    """Whether a table that is not in it was not there; None: a manifest says what was left out."""
