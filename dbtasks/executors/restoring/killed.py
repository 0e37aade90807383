"""Restores that were killed or failed: what became of the database, and what they left that nobody will need."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...clock import utc_now
from ...engines import Engine
from ...engines.routes import open_engine
from ...errors import Busy, CannotReach, DbTasksError, OperationFailed, QueryFailed
from ...events import OnEvent, Phase, ignore
from ...journal import write_restore
from ...lock import orphans, run_lock, signed_by_a_living_run
from ...models import EngineName, Identity, PostgresTarget, Target
from ...plans import LoadStrategy, Standing
from ...settings import Settings
from .history import (
    ADDED,
    DONE,
    TABLES,
    WITHOUT_EFFECT,
    PastRestore,
    added_since,
    in_question,
    passed_over,
    past_restores,
    restored_elsewhere,
)
from .last_restore import named, took_effect

__all__ = ["Remains", "find_remains", "remove_remains", "told_of_killed"]

SWEPT = "swept_at"
"""Key of a record whose remains were removed, or looked for in vain."""


@dataclass(frozen=True)
class Remains:
    """What killed restores left beside a database."""

    names: tuple[str, ...] = ()
    """Databases half loaded; for SQLite private folders beside the file."""
    left_by: Mapping[str, str] = field(default_factory=dict)
    """By each of these names, which restore left it, in words."""
    in_use: Mapping[str, str] = field(default_factory=dict)
    """Others that stay for now, as somebody is connected to them, with that in words."""
    without_effect: frozenset[str] = frozenset()
    """Ids of those that were killed before they changed anything."""
    with_effect: frozenset[str] = frozenset()
    """Ids of those that were killed after they had exchanged the names."""
    not_kept: frozenset[str] = frozenset()
    """Names that records call kept, and that no database bears: not yet, not any more, or it is the live one again."""
    why_unknown: str = ""
    """Why nobody could look, where a restore was killed."""
    elsewhere: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Those of `names` that restores into other databases of the server left, by the database."""


def find_remains(settings: Settings, past: Sequence[PastRestore]) -> Remains:
    """Look for what killed restores left, those into other databases of the server too; nothing is asked where none was killed."""
    found = _find_own(settings, past)
    for target in _elsewhere(settings):
        other = _find_elsewhere(settings, target)
        found = replace(
            found,
            names=(*found.names, *other.names),
            left_by={**found.left_by, **other.left_by},
            in_use={**found.in_use, **other.in_use},
            elsewhere={**found.elsewhere, target.name: other.names},
            why_unknown=found.why_unknown or other.why_unknown,
        )
    return found


def _elsewhere(settings: Settings) -> list[PostgresTarget]:
    """Return the other databases into which restores went that may have left something; SQLite's lie beside their own files."""
    target = settings.require_target()
    if not isinstance(target, PostgresTarget):
        return []
    others = restored_elsewhere(settings.backup_dir, target.identity)
    return [replace(target, database=other.name) for other in others if _lying_in(settings, other)]


def _lying_in(settings: Settings, identity: Identity) -> list[PastRestore]:
    root = settings.backup_dir
    return [*_killed(past_restores(root, identity)), *_killed(passed_over(root, identity))]


def _find_elsewhere(settings: Settings, target: PostgresTarget) -> Remains:
    lying = _lying_in(settings, target.identity)
    ids = [restore.id for restore in lying]
    try:
        with open_engine(settings, target, on_event=ignore) as engine:
            left = engine.left_over(ids)
            left_by = {name: f"{_left_by(name, lying)} into {target.name}" for name in left}
            return Remains(left, left_by, engine.left_in_use(ids))
    except (CannotReach, Busy, QueryFailed) as exc:
        return Remains(why_unknown=exc.message)


def _find_own(settings: Settings, past: Sequence[PastRestore]) -> Remains:
    killed = _killed(past)
    lying = [*killed, *_passed_over(settings)]
    if not lying:
        return Remains()
    try:
        with open_engine(settings, on_event=ignore) as engine:
            ids = [restore.id for restore in lying]
            left, in_use = engine.left_over(ids), engine.left_in_use(ids)
            now = engine.standing(None)
            exchanged = _exchanged(past, now.live_oid)
            # one that exchanges no names is judged by what is there now, whatever came after it
            effects = {r.id: exchanged[r.id] if r.exchanges else took_effect(r, now) for r in killed}
            without_effect = frozenset(id_ for id_, effect in effects.items() if effect is False)
            with_effect = frozenset(r.id for r in killed if exchanged.get(r.id))
            olds = {r.old for r in killed if r.exchanges and r.old}
            not_kept = {name for name in olds if engine.standing(name).kept_oid is None}
            not_kept |= {r.took for r in killed if r.id in with_effect and r.took}
            left_by = {name: _left_by(name, lying) for name in left}
            return Remains(left, left_by, in_use, without_effect, with_effect, frozenset(not_kept))
    except (CannotReach, Busy, QueryFailed) as exc:
        return Remains(why_unknown=exc.message)


def _left_by(name: str, lying: Sequence[PastRestore]) -> str:
    """Say which restore left something half done, and how it ended: what it makes on a server is named by its id."""
    found = next((restore for restore in lying if name.endswith(f"_{restore.id}")), None)
    if found is None:
        return "an earlier restore"
    failed = found.failed and found.state != WITHOUT_EFFECT
    return f"the {'failed' if failed else 'killed'} {found.kind} {found.id}"


def _exchanged(past: Sequence[PastRestore], live_oid: int | None) -> dict[str, bool | None]:
    """Say of each that was to exchange names whether it did; None where the numbers do not tell.

    Newest first: what was live before one is what it kept, and an older one is judged by that.
    """
    exchanged: dict[str, bool | None] = {}
    for restore in past:
        if not restore.exchanges:
            continue
        effect = took_effect(restore, Standing(live_oid=live_oid)) if live_oid is not None else None
        if restore.state == DONE:
            effect = True
        exchanged[restore.id] = effect
        if effect is not False:
            live_oid = restore.kept_oid if effect else None
    return exchanged


def remove_remains(
    settings: Settings, remains: Remains, past: Sequence[PastRestore], on_event: OnEvent
) -> tuple[list[str], list[str]]:
    """Remove what is still left over of these; returns what went, and what could not go with the reason.

    The caller holds the run lock; other machines' restores are kept away here.
    """
    if remains.why_unknown:
        return [], []
    others = {name for names in remains.elsewhere.values() for name in names}
    own = [name for name in remains.names if name not in others]
    killed = [*_killed(past), *_passed_over(settings)]
    gone, failed = _remove_of(settings, settings.require_target(), killed, own, on_event)
    if not (failed or remains.in_use):
        _settle(settings, killed, remains)
    for target in _elsewhere(settings):
        more, stay = _remove_elsewhere(settings, target, remains, on_event)
        gone += more
        failed += stay
    return gone, failed


def _remove_elsewhere(
    settings: Settings, target: PostgresTarget, remains: Remains, on_event: OnEvent
) -> tuple[list[str], list[str]]:
    killed, names = _lying_in(settings, target.identity), remains.elsewhere.get(target.name, ())
    try:
        # the caller's is the configured database's
        with run_lock(settings.backup_dir, target.identity, "cleanup"):
            gone, failed = _remove_of(settings, target, killed, names, on_event)
    except Busy as exc:
        return [], [f"{name}: {exc.message}" for name in names]
    if not (failed or remains.in_use):
        # whether it exchanged names is asked when that database is the configured one
        _settle(settings, [restore for restore in killed if not restore.exchanges], remains)
    return gone, failed


def _remove_of(
    settings: Settings,
    target: Target,
    killed: Sequence[PastRestore],
    names: Sequence[str],
    on_event: OnEvent,
) -> tuple[list[str], list[str]]:
    """Remove those of these names that are still left over of one database's restores."""
    ids, gone, failed = [restore.id for restore in killed], list[str](), list[str]()
    try:
        if names:
            with open_engine(settings, target, on_event=on_event) as engine, engine.claimed():
                for name in (found for found in engine.left_over(ids) if found in names):
                    _remove(engine, name, gone, failed, on_event)
                failed += (why for name, why in engine.left_in_use(ids).items() if name in names)
    except (CannotReach, Busy, QueryFailed) as exc:
        failed += [f"{name}: {exc.message}" for name in names if name not in gone]
    return gone, failed


def _remove(engine: Engine, name: str, gone: list[str], failed: list[str], on_event: OnEvent) -> None:
    on_event(Phase("drop", name))
    try:
        engine.drop_left_over(name)
    except DbTasksError as exc:
        failed.append(f"{name}: {exc.message}")
        return
    gone.append(name)


def _settle(settings: Settings, killed: Sequence[PastRestore], remains: Remains) -> None:
    """Write down that nothing of them lies about any more; and what came of it, where that was seen."""
    for restore in killed:
        record = {**restore.document, SWEPT: utc_now().isoformat()}
        if restore.id in remains.without_effect:
            record |= {"state": WITHOUT_EFFECT, "old": None}
        elif restore.id in remains.with_effect:
            # killed behind its own drop it says still what it meant to keep
            record |= {"state": DONE, "old": None if restore.old in remains.not_kept else restore.old}
        write_restore(settings.backup_dir, restore.id, record)


def _passed_over(settings: Settings) -> list[PastRestore]:
    """Return those that no undo is about and that may have left something all the same."""
    return _killed(passed_over(settings.backup_dir, settings.require_target().identity))


def _killed(past: Sequence[PastRestore]) -> list[PastRestore]:
    """Return those that left something, or may have: in place nothing lies beside, it is one transaction."""
    return [
        restore
        for restore in past
        if restore.state != DONE
        and not restore.document.get(SWEPT)
        and restore.strategy != LoadStrategy.ROWS
        and not (
            restore.engine == EngineName.POSTGRESQL
            and restore.strategy in (LoadStrategy.IN_PLACE, TABLES, ADDED)
        )
    ]


# -- told -------------------------------------------------------------------------------


def told_of_killed(settings: Settings, engine: Engine) -> tuple[str, ...]:
    """Say which restores were killed since the last one that ended, what the database is now, and how to go on.

    Of those into other databases of the server: what they left there.
    """
    return (*_told_of_own(settings, engine), *_told_elsewhere(settings))


def _told_elsewhere(settings: Settings) -> Iterator[str]:
    try:
        targets = _elsewhere(settings)
    except OperationFailed:
        return  # as below
    for target in targets:
        if signed_by_a_living_run(settings.backup_dir, target.identity):
            continue
        found = _find_elsewhere(settings, target)
        yield from (_named_left(name, who) for name, who in found.left_by.items())
        yield from found.in_use.values()


def _named_left(name: str, who: str) -> str:
    return f"{name} was left over by {who}: db.cleanup removes it"


def _told_of_own(settings: Settings, engine: Engine) -> tuple[str, ...]:
    identity = engine.target.identity
    try:
        past = past_restores(settings.backup_dir, identity)
        added = list(added_since(settings.backup_dir, identity))
    except OperationFailed:
        return ()  # a folder nobody may read is told by who looks at the store
    cut_short = [restore for restore in in_question(past) if restore.state != DONE]
    remains = [*_killed(past), *_killed(passed_over(settings.backup_dir, identity))]
    if not (cut_short or remains) or signed_by_a_living_run(settings.backup_dir, identity):
        return ()
    try:
        told = [_told_of_added(engine, restore) for restore in _killed(added)]
        told += _outcomes(engine, cut_short)
        ids = [restore.id for restore in remains]
        left = engine.left_over(ids) if remains else ()
        in_use = engine.left_in_use(ids) if remains else {}
    except DbTasksError:
        return ()  # what stands in the way is told by whatever else is asked
    told += [_named_left(name, _left_by(name, remains)) for name in left]
    told += in_use.values()
    at_work = orphans(settings.backup_dir, identity)
    told += [
        f"{tool}, which a killed run started, still works: until it ends no other run starts"
        for tool in at_work
    ]
    return tuple(told)


def _told_of_added(engine: Engine, restore: PastRestore) -> str:
    name = engine.target.name
    if _effect(engine, restore) is False:
        outcome = f"it added nothing to {name}"
    else:
        outcome = f"{name} is whole, with what it added or without"
    return f"{named(restore)} was killed: {outcome}"


def _outcomes(engine: Engine, cut_short: Sequence[PastRestore]) -> list[str]:
    """Tell them newest first, down to the one the next undo is about."""
    told: list[str] = []
    for restore in cut_short:
        effect = _effect(engine, restore)
        told.append(f"{named(restore)} was killed: {_outcome(engine.target.name, restore, effect)}")
        if effect is not False:
            break
    return told


def _effect(engine: Engine, restore: PastRestore) -> bool | None:
    return took_effect(restore, engine.standing(restore.old if restore.exchanges else None))


def _outcome(name: str, restore: PastRestore, effect: bool | None) -> str:
    if effect is None:
        return f"{name} is whole, as it was or as the {restore.kind} made it; db.undo goes back to what was before"
    if effect:
        return f"{name} is what it made of it; db.undo takes it back"
    return f"{name} is as it was; {_again(restore)} does it again"


def _again(restore: PastRestore) -> str:
    """Spell what was asked, as far as its record tells: a restore of one table must not be repeated as one of all."""
    if restore.kind == "undo":
        return "db.undo"
    file = restore.backup or f"{shlex.quote(restore.archive)} --unverified"
    tables = "".join(f" --table={shlex.quote(table)}" for table in restore.document.get("tables") or ())
    return f"db.restore --file={file}{tables}"
