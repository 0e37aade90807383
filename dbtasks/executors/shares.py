"""A share of all backups for each night: told by their ids, so that each belongs to exactly one and stays in it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError
from ..models import Backup

__all__ = ["Share", "parse_share"]

SPELT = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True)
class Share:
    """The number-th of so many shares, counted from one."""

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise UsageError(
                f"share {self} does not exist", hint="write N/M, N from 1 to M: --subset=1/7 to --subset=7/7"
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, id_: str) -> bool:
        """Whether the backup of this id belongs to the share, whatever else there is."""
        digest = hashlib.sha256(id_.encode()).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def of_these(self, backups: Sequence[Backup]) -> tuple[Backup, ...]:
        """Return the backups of the share, in their order."""
        return tuple(backup for backup in backups if self.holds(backup.id))


def parse_share(text: str) -> Share:
    """Read `2/7`.

    Raises:
        UsageError: it is no such fraction.
    """
    found = SPELT.fullmatch(text)
    if found is None:
        raise UsageError(f"--subset={text}: allowed is N/M, such as 1/7")
    return Share(int(found[1]), int(found[2]))
