"""Which restore is the last one, whether the database is still the one it made, and what it left to go back to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...engines import Engine
from ...errors import NotFound, Refused
from ...models import EngineName, Target
from ...plans import LoadStrategy, Standing, TargetState
from .history import DONE, PastRestore, in_question

__all__ = [
    "OLDER",
    "LastRestore",
    "find_last",
    "named",
    "prove_reversible",
    "prove_same_hands",
    "took_effect",
    "without_backup",
]

UNTOUCHED = "nothing was touched"
NOTHING = (TargetState.MISSING, TargetState.EMPTY)
OLDER = "db.restore brings back an older backup (db.list)"


@dataclass(frozen=True)
class LastRestore:
    """The restore an undo is about."""

    restore: PastRestore
    certain: bool
    """False: it was killed, and nobody can tell whether it took effect."""
    now: Standing
    without_effect: tuple[PastRestore, ...]
    """Newer ones that were killed before they changed anything."""


def find_last(engine: Engine, target: Target, past: Iterable[PastRestore]) -> LastRestore:
    """Return the newest restore that took effect, judged by what the server shows where a kill cut it short.

    Raises:
        NotFound: there is none.
    """
    without_effect: list[PastRestore] = []
    for last in in_question(past):
        now = engine.standing(last.old if last.exchanges else None)
        effect = took_effect(last, now)
        if effect is not False:
            return LastRestore(last, bool(effect), now, tuple(without_effect))
        without_effect.append(last)
    raise NotFound(
        f"no restore of {target.name} that took effect is recorded in this backup folder: there is nothing to undo",
        hint="db.restore brings back a backup (db.list)",
        state=UNTOUCHED,
    )


def took_effect(last: PastRestore, now: Standing) -> bool | None:
    """Judge a restore that was killed by what the server shows; None: nobody can tell."""
    if last.state == DONE:
        return True
    if last.state == "loading":
        return False  # that it is about to take effect is written down before
    if last.engine == EngineName.POSTGRESQL and last.strategy == LoadStrategy.CREATE:
        return False if now.live_oid is None else None
    if not last.exchanges:
        return None
    if last.kept_oid is not None:
        return now.live_oid != last.kept_oid
    return True if now.kept_oid is not None else None


def prove_same_hands(target: Target, found: LastRestore) -> tuple[str, ...]:
    """See that this is the database the restore made; returns why that is not certain.

    Raises:
        Refused: it is not.
    """
    last, now = found.restore, found.now
    doubts = () if found.certain else (f"{named(last)} was killed, and may not have taken effect",)
    if last.engine != EngineName.POSTGRESQL:
        return doubts
    if last.system_identifier and now.system_identifier not in ("", last.system_identifier):
        raise _changed_hands(target, last, "another server answers at its address than then")
    if last.before in NOTHING and not (last.old or last.safety_backup):
        return doubts  # there is nothing to go back to, whoever came
    if last.live_oid is not None and now.live_oid is None:
        raise _changed_hands(target, last, f"there is no {target.name} any more")
    if last.live_oid is not None and now.live_oid != last.live_oid:
        raise _changed_hands(target, last, "it was restored or made anew by somebody else since")
    if None not in (last.kept_oid, now.kept_oid) and now.kept_oid != last.kept_oid:
        raise _changed_hands(target, last, f"{last.old} is not the database that was replaced then")
    if last.live_oid is None or not (last.system_identifier and now.system_identifier):
        return (*doubts, f"the record of {named(last)} does not prove that this is the database it made")
    return doubts


def _changed_hands(target: Target, last: PastRestore, how: str) -> Refused:
    safety = last.safety_backup
    return Refused(
        f"{target.name} has changed hands since {named(last)}: {how}",
        hint=f"db.restore --file={safety} overwrites it with the state before that restore"
        if safety
        else OLDER,
        state=UNTOUCHED,
    )


def prove_reversible(target: Target, last: PastRestore) -> None:
    """See that there is something to go back to.

    Raises:
        NotFound: there was nothing before, or nothing was kept. Refused: it was damaged.
    """
    if last.before == TargetState.DAMAGED:
        raise Refused(
            f"what {named(last)} replaced was damaged, and is not made live again",
            hint=f"it is kept as {last.old}; {OLDER}" if last.old else OLDER,
            state=UNTOUCHED,
        )
    if last.old or last.safety_backup:
        return
    if last.before in NOTHING:
        was = "did not exist" if last.before == TargetState.MISSING else "was empty"
        raise NotFound(
            f"there is nothing to go back to: {target.name} {was} before {named(last)}",
            hint=without_backup(last),
            state=UNTOUCHED,
        )
    why = last.why_no_safety or "the database it replaced was dropped"
    raise NotFound(
        f"no way back was kept from {named(last)} ({why})", hint=without_backup(last), state=UNTOUCHED
    )


def without_backup(last: PastRestore) -> str:
    """Return what can be done where no backup goes back."""
    return f"what it made is taken away by: {last.takes_away}" if last.takes_away else OLDER


def named(last: PastRestore) -> str:
    """Return how messages call it."""
    return f"the {last.kind} {last.id}"
