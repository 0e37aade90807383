"""Who has to say yes before something is overwritten: pure rules, asked by the task layer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from .errors import Declined, NeedsConfirmation
from .models import PostgresTarget, Target

__all__ = ["Consent", "consent_needed", "matches_name", "nobody_to_ask", "settle"]

LOOPBACK = ("", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Consent:
    """What a destructive task needs before it acts."""

    name: str
    """What has to be typed: the database's name."""
    protected: bool
    """Only the typed name, or --confirm, will do."""
    reason: str = ""
    """Why only that will do; empty where nothing is protected."""


def consent_needed(target: Target, protect: tuple[str, ...], doubts: tuple[str, ...] = ()) -> Consent:
    """Say what must be confirmed for this target.

    `protect` holds names and hosts; a loopback address means every spelling of
    this machine. `doubts` are reasons to think that another target is meant.
    """
    names = {target.name.lower(), PurePath(target.name).stem.lower()}
    if isinstance(target, PostgresTarget):
        names = {target.name.lower(), _host(target.host)}
    reasons = ["it is protected"] if any({entry.lower(), _host(entry)} & names for entry in protect) else []
    reasons += doubts
    return Consent(target.name, protected=bool(reasons), reason="; ".join(reasons))


def _host(text: str) -> str:
    """Return one spelling per host; no host at all, or a socket's folder, is this machine."""
    host = text.lower().strip("[]")
    return "localhost" if host in LOOPBACK or host.startswith("/") else host


def matches_name(target: Target, typed: str) -> bool:
    """Whether a typed text names the target; a SQLite file's stem does as well."""
    if isinstance(target, PostgresTarget):
        return typed == target.name
    return typed in (target.name, PurePath(target.name).stem)


def settle(target: Target, consent: Consent, *, yes: bool, confirm: str | None) -> bool:
    """Decide from the flags alone: True when they suffice, False when somebody must be asked.

    Raises:
        Declined: --confirm names something else; never taken for a yes.
    """
    if confirm is not None:
        if not matches_name(target, confirm):
            raise Declined(
                f"--confirm={confirm} does not name the target, {consent.name}",
                hint=f"--confirm={consent.name}, if that is the database you mean",
                state="nothing was touched",
            )
        return True
    return yes and not consent.protected


def nobody_to_ask(
    target: Target,
    consent: Consent,
    *,
    does: str = "overwrites",
    instead: str = "or restore beside it with --into=NAME",
) -> NeedsConfirmation:
    """Build the refusal for a run without a terminal: it names the flag to add, and what may be done instead.

    `does` says what would be done to the target; `instead` is empty where there is no other way.
    """
    flag = f"--confirm={consent.name}" if consent.protected else "--yes"
    why = f" ({consent.reason or 'it is protected'})" if consent.protected else ""
    return NeedsConfirmation(
        f"this {does} {target.name} at {target.address}{why}, and there is no terminal to ask",
        hint=f"add {flag}{', ' if instead else ''}{instead}",
        state="nothing was touched",
    )
