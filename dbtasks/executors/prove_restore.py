"""The proof of a backup by a restore: loaded where it is in nobody's way, compared with its manifest, and gone again."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from ..engines.scratch import ScratchPlaces
from ..errors import CountsDiffer
from ..events import OnEvent, Phase, Warned, ignore
from ..models import Archive
from ..nouns import many
from .restoring.proof import expected_counts, prove_counts, prove_problems, prove_same_file

__all__ = ["Proved", "prove_restore"]


@dataclass(frozen=True)
class Proved:
    """What the restore of one backup into a scratch database showed: it can be loaded, and holds what it should."""

    how: str
    """Into what, and what was compared, for people and manifests."""
    seconds: float
    """Loading and checking; about what a restore takes."""
    tables: int
    rows: int
    """Counted in what was loaded."""
    warnings: tuple[str, ...] = ()


def prove_restore(places: ScratchPlaces, archive: Archive, *, on_event: OnEvent = ignore) -> Proved:
    """Restore an archive that was read whole into a scratch database, compare it with its manifest, and drop it.

    Whatever comes of it, no live database is touched and nothing is left behind.

    Raises:
        CountsDiffer: it does not hold the rows of its manifest; names the tables.
        LoadFailed: it cannot be loaded, or does not hold together once it is.
        CannotReach, StoreFull, Refused, Busy: it could not be tried; says nothing about the archive.
    """
    with places.loaded(archive) as loaded:
        on_event(Phase("check", "row counts and constraints"))
        counts = loaded.counts()
        prove_counts(archive, counts)
        _prove_left_out(archive, counts)
        prove_problems(archive, loaded, unverified=False)
        prove_same_file(archive)
        seconds = time.monotonic() - loaded.began
        where, warnings = loaded.where, loaded.warnings
    for text in warnings:
        on_event(Warned(text))
    rows = sum(counts.values())
    return Proved(
        f"restored into {where}; {_compared(archive, len(counts), rows)}",
        seconds,
        len(counts),
        rows,
        warnings,
    )


def _prove_left_out(archive: Archive, counts: Mapping[str, int]) -> None:
    """See that tables whose rows were left out of the backup are there, and empty."""
    tables = archive.manifest.tables if archive.manifest else ()
    wrong = [
        f"{t.name}: {counts.get(t.name)} instead of 0"
        for t in tables
        if not t.data and counts.get(t.name) != 0
    ]
    if wrong:
        raise CountsDiffer(
            f"{many(len(wrong), 'table')} whose rows were left out did not come back empty",
            details="\n".join(wrong[:10]),
        )


def _compared(archive: Archive, tables: int, rows: int) -> str:
    held = f"{many(tables, 'table')}, {many(rows, 'row')}"
    if expected_counts(archive) is None:
        why = archive.manifest.not_counted if archive.manifest else "there is no manifest"
        return f"{held}, not compared: {why}"
    return f"{held} as in the manifest"
