"""What of a schema cannot be made somewhere: found before anything is touched, and told whole."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..errors import Refused
from ..nouns import some

__all__ = [
    "CHANGE_FIRST",
    "KEY_BROKEN",
    "MAKE_ELSEWHERE",
    "MAKE_FIRST",
    "OR_MIGRATE",
    "UNTOUCHED",
    "Loss",
    "prove_losses",
    "refuse_taken",
]

UNTOUCHED = "nothing was touched"
MAKE_FIRST = "make what is missing there first: a rows backup holds no functions, operators and extensions"
MAKE_ELSEWHERE = (
    "functions and collations of SQLite are the application's own, in its own connections: restore a backup of SQLite's"
    " own format, or take the rows out by hand (db.show prints how)"
)
CHANGE_FIRST = (
    "change it where the backup was made and back up again, or leave the table out: db.backup --format=rows"
    " --exclude-table=NAME"
)
"""On the way to another engine, where nothing could be made that would take it."""
OR_MIGRATE = f"{CHANGE_FIRST}; or bring the SQLite file itself by db.migrate, which makes such a column text, or what --cast says"
KEY_BROKEN = "a row breaks a foreign key"
"""How a backup of SQLite warns of rows that refer to none."""


@dataclass(frozen=True)
class Loss:
    """Something that would be missing, and why."""

    what: str
    why: str
    holds_up: bool = False
    """Without it no rows can be loaded."""
    mend: str = ""
    """The statement that mends it where it comes from, where one does."""

    def __str__(self) -> str:
        return f"{self.what} {self.why}"


def prove_losses(losses: Iterable[Loss], *, accepted: bool = False, hint: str = MAKE_FIRST) -> None:
    """See that nothing is lost, or only what was accepted and holds nothing up.

    Raises:
        Refused: something is; lists all of it.
    """
    stops = [loss for loss in losses if loss.holds_up or not accepted]
    if stops:
        raise Refused(
            f"the schema cannot be made here as it was: {stops[0]}",
            details="\n".join(map(str, stops)),
            state=UNTOUCHED,
            hint=hint,
        )


def refuse_taken(names: Sequence[str]) -> None:
    """Refuse to make a schema where things of its names are.

    Raises:
        Refused: there are some.
    """
    if names:
        raise Refused(
            f"the database already has {some(names)}: tables are made in one that is empty", state=UNTOUCHED
        )
