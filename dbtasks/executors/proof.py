"""What a restore proves again right before it acts: the target, the rows, the keys and the file are as planned."""

from __future__ import annotations

from collections.abc import Mapping

from ..engines import Engine, Loaded
from ..errors import CountsDiffer, LoadFailed, Refused
from ..models import Archive
from ..plans import TargetState
from .reading import hash_file

__all__ = ["expected_counts", "prove_counts", "prove_problems", "prove_same_file", "prove_still_as_planned"]


def expected_counts(archive: Archive) -> Mapping[str, int] | None:
    """Return the rows per table the manifest promises; None where it counted none."""
    manifest = archive.manifest
    return None if manifest is None or manifest.not_counted else manifest.counts


def prove_still_as_planned(engine: Engine, planned: TargetState) -> None:
    """Look again where the plan found nothing worth a safety backup: somebody may have filled it since.

    Raises:
        Refused: somebody did.
    """
    if planned not in (TargetState.MISSING, TargetState.EMPTY):
        return
    name, state = engine.target.name, engine.state()
    if state is not planned:
        raise Refused(
            f"{name} was {planned} when the restore was planned, and is {state} now",
            state=f"{name} was not touched",
            hint="look at it, then restore again",
        )


def prove_counts(archive: Archive, counts: Mapping[str, int]) -> None:
    """Compare what was loaded with the manifest, table by table.

    Raises:
        CountsDiffer: they do not agree.
    """
    expected = expected_counts(archive) or {}
    # a table may have been left out of the dump's rows; it must then be there, with none
    wrong = [
        f"{name}: {counts.get(name)} instead of {rows}"
        for name, rows in expected.items()
        if counts.get(name) != rows
    ]
    if wrong:
        raise CountsDiffer(
            f"{len(wrong)} tables did not come back with the rows of the manifest",
            details="\n".join(wrong[:10]),
        )


def prove_problems(archive: Archive, loaded: Loaded, *, unverified: bool) -> tuple[str, ...]:
    """Refuse what the source did not have; each problem the manifest warns of, word for word, came from there.

    Returns what somebody's own file came with, where its user takes it as it is.

    Raises:
        LoadFailed: the loaded database does not hold together.
    """
    manifest = archive.manifest
    known = manifest.warnings if manifest else ()
    problems = tuple(problem for problem in loaded.problems() if problem not in known)
    if manifest is None and unverified:
        return problems
    if problems:
        raise LoadFailed(
            f"the loaded database does not hold together: {problems[0]}", details="\n".join(problems[1:10])
        )
    return ()


def prove_same_file(archive: Archive) -> None:
    """Hash the archive once more: what was loaded must be what was verified.

    Raises:
        Refused: it was replaced meanwhile.
    """
    manifest = archive.manifest
    if manifest and hash_file(archive.path)[0] != manifest.sha256:
        raise Refused(f"{archive.path.name} was replaced while it was being restored")
