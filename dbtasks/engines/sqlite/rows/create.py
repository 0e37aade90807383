"""Whether a rows backup makes the tables it is restored into, and whether SQLite can make them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from ....plans import TargetState
from ....rows.losses import MAKE_ELSEWHERE, prove_losses
from ....rows.sqlite.create import plan_creation
from ...rows.archive import Head

__all__ = ["makes_tables", "prove_creation"]


def makes_tables(head: Head, state: TargetState) -> bool:
    """Whether the tables come from the backup: nothing is there, and the backup says what they are."""
    nothing = state in (TargetState.MISSING, TargetState.EMPTY)
    return bool(head.typed and head.schema.tables) and nothing


def prove_creation(head: Head) -> None:
    """Prove that SQLite can make the tables.

    Raises:
        Refused: words of it are none that SQLite keeps, or need what it does not have; names all of it.
    """
    with closing(sqlite3.connect(":memory:")) as nothing:
        prove_losses(plan_creation(nothing, head.schema).losses, hint=MAKE_ELSEWHERE)
