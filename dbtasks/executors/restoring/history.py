"""The restores of one database, as their records tell them: what the next undo takes back, and what it needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from itertools import takewhile
from pathlib import Path
from typing import Any

from ...journal import read_restores
from ...models import EngineName, Identity
from ...plans import LoadStrategy, Made

__all__ = [
    "ADDED",
    "DONE",
    "TABLES",
    "WITHOUT_CHANGE",
    "WITHOUT_EFFECT",
    "PastRestore",
    "added_since",
    "in_question",
    "passed_over",
    "past_restores",
    "restored_elsewhere",
]

DONE = "done"
TABLES = "tables"
"""The strategy of a restore of single tables that replaced rows."""
ADDED = "tables added"
"""The same of one that replaced nothing: there is nothing to go back to, and what was restored before is still the last."""
WITHOUT_CHANGE = "failed; it changed nothing"
WITHOUT_EFFECT = "failed; it was killed before it took effect"


@dataclass(frozen=True)
class PastRestore:
    """One restore, or the undo of one."""

    id: str
    kind: str
    """`restore` or `undo`."""
    started_at: datetime | None
    state: str
    """`done`; or `loading`, `swapping`: it was killed then, or is at work."""
    engine: str
    strategy: str
    before: str
    """The `TargetState` of the database it replaced."""
    backup: str | None = None
    """Id of the backup it brought, where that has one."""
    archive: str = ""
    brings: bool = True
    """Whether anything of that backup was loaded: not so where only tables were taken away."""
    safety_backup: str | None = None
    why_no_safety: str = ""
    old: str | None = None
    """Where what it replaced is kept now."""
    took: str | None = None
    """An undo by rename: the name its database had while it was kept."""
    system_identifier: str = ""
    kept_oid: int | None = None
    live_oid: int | None = None
    rows: Mapping[str, int] | None = None
    """Per table right after it."""
    made: Made | None = None
    """What it made in a database that had no tables."""
    takes_away: str = ""
    """The statements that take that away."""
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """The whole record, for whoever writes it anew."""

    @property
    def failed(self) -> bool:
        """Whether it is known to have changed nothing."""
        return self.state.startswith("failed")

    @property
    def exchanges(self) -> bool:
        """Whether it gave two databases each other's names, and left the former one under another."""
        return self.strategy == LoadStrategy.SWAP and self.engine == EngineName.POSTGRESQL


def past_restores(root: Path, identity: Identity) -> tuple[PastRestore, ...]:
    """Return what was restored into this very database, newest first; what failed or only added is left out."""
    return tuple(past for past in _own(root, identity) if not past.failed and past.strategy != ADDED)


def passed_over(root: Path, identity: Identity) -> tuple[PastRestore, ...]:
    """Return those of this very database that no undo is about, and that may have left something beside it all the same.

    They only added; or they failed, and what they made could not be removed; or they were killed, and an undo
    since has found them to have changed nothing.
    """
    return tuple(past for past in _own(root, identity) if past.failed or past.strategy == ADDED)


def restored_elsewhere(root: Path, identity: Identity) -> tuple[Identity, ...]:
    """Return the other databases of the same server into which a restore was begun and not ended, or failed."""
    names = {
        str(record.get("name") or "")
        for record in read_restores(root)
        if record.get("state") != DONE
        and (record.get("engine"), record.get("server")) == (identity.engine, identity.server)
    }
    return tuple(replace(identity, name=name) for name in sorted(names - {identity.name, ""}))


def added_since(root: Path, identity: Identity) -> Iterator[PastRestore]:
    """Yield those that only added and that a kill cut short since the last restore of any kind that ended."""
    unended = takewhile(lambda past: past.state != DONE, _own(root, identity))
    return (past for past in unended if past.strategy == ADDED and not past.failed)


def _own(root: Path, identity: Identity) -> Iterator[PastRestore]:
    records = (r for r in read_restores(root) if r.get("database") == str(identity))
    return (_past(r) for r in records if r.get("name") == identity.name)


def in_question(past: Iterable[PastRestore]) -> Iterator[PastRestore]:
    """Yield those the next undo may be about: the newest, and behind one that a kill cut short the one before too."""
    for restore in past:
        yield restore
        if restore.state == DONE:
            return


def _past(record: Mapping[str, Any]) -> PastRestore:
    return PastRestore(
        id=str(record.get("id") or ""),
        kind=str(record.get("kind") or "restore"),
        started_at=_moment(record.get("started_at")),
        state=str(record.get("state") or ""),
        engine=str(record.get("engine") or ""),
        strategy=str(record.get("strategy") or ""),
        before=str(record.get("before") or ""),
        backup=_text(record.get("backup")),
        archive=str(record.get("archive") or ""),
        brings=record.get("brings") is not False,
        safety_backup=_text(record.get("safety_backup")),
        why_no_safety=str(record.get("why_no_safety_backup") or ""),
        old=_text(record.get("old")),
        took=_text(record.get("took")),
        system_identifier=str(record.get("system_identifier") or ""),
        kept_oid=_number(record.get("kept_oid")),
        live_oid=_number(record.get("live_oid")),
        rows=_rows(record.get("rows")),
        made=_made(record.get("made")),
        takes_away=str(record.get("takes_away") or ""),
        document=record,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _rows(value: object) -> dict[str, int] | None:
    if not isinstance(value, dict):
        return None
    return {str(table): rows for table, rows in value.items() if _number(rows) is not None}


def _made(value: object) -> Made | None:
    if not isinstance(value, dict):
        return None
    names = {field.name: value.get(field.name) for field in fields(Made)}
    return Made(**{key: tuple(map(str, held)) for key, held in names.items() if isinstance(held, list)})


def _moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return moment if moment.tzinfo else None
