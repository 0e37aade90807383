"""Overwriting a database: the word that a task needs before, and what it says of it where nobody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .boundary import Call

if TYPE_CHECKING:
    from ..guards import Consent
    from ..models import Target
    from ..settings import Settings

__all__ = ["agree", "now_unknown", "prove_name"]


def prove_name(target: Target, consent: Consent, confirm: str | None) -> None:
    """See that --confirm, where it is given, names the target: a wrong one is a mistake in a dry run too.

    Raises:
        Declined: it names something else.
    """
    from ..guards import settle

    if confirm is not None:
        settle(target, consent, yes=False, confirm=confirm)


def agree(
    call: Call, target: Target, consent: Consent, *, yes: bool, confirm: str | None, **words: str
) -> None:
    """Return where the flags suffice or the name was typed; `words` are what `nobody_to_ask` says to a run nobody attends.

    Raises:
        Declined, NeedsConfirmation: there was no such word.
    """
    from ..errors import Declined
    from ..guards import matches_name, nobody_to_ask, settle

    if settle(target, consent, yes=yes, confirm=confirm):
        return
    if not call.console.may_ask:
        raise nobody_to_ask(target, consent, **words)
    typed = call.console.ask(f"Type the database's name ({consent.name}) to go on:")
    if not matches_name(target, typed):
        raise Declined(
            "that is not its name; nothing was done",
            hint=f"type {consent.name}, or say --confirm={consent.name}",
            state=f"{target.name} was not touched",
        )


def now_unknown(settings: Settings, target: Target) -> str:
    """Return what is said of a target when a bug ends the run: nobody foresaw it, so nobody knows what it left."""
    if target == settings.target:
        return f"db.info says what {target.name} is now"
    return f"look at {target.name} before you go on: it may be what it was, or hold the backup"
