"""What a restore proves again right before it acts: the target, the rows, the keys and the file are as planned."""

from __future__ import annotations

from collections.abc import Mapping

from ...engines import Engine, Loaded, Scratch
from ...errors import CountsDiffer, LoadFailed, Refused
from ...models import Archive, DatabaseFacts
from ...nouns import many
from ...plans import TargetState, not_as_planned
from ..reading import hash_file

__all__ = [
    "expected_counts",
    "prove_counts",
    "prove_problems",
    "prove_same_database",
    "prove_same_file",
    "prove_still_as_planned",
]


def expected_counts(archive: Archive) -> Mapping[str, int] | None:
    """Return the rows per table the manifest promises; None where it counted none."""
    manifest = archive.manifest
    return None if manifest is None or manifest.not_counted else manifest.counts


def prove_still_as_planned(engine: Engine, planned: TargetState) -> None:
    """Look again where the plan found nothing worth a safety backup: somebody may have filled it since.

    A damaged file is read whole for it.

    Raises:
        Refused: somebody did.
    """
    if planned is TargetState.PRESENT:
        return
    state = engine.state()
    if state is not planned:
        raise not_as_planned(engine.target.name, planned, state)


def prove_same_database(engine: Engine, planned: DatabaseFacts) -> None:
    """Look whether the name still stands for the database that was planned with: a swap puts another in its place.

    Raises:
        Refused: it does not.
    """
    now = engine.facts()
    if (now.oid, now.system_identifier) != (planned.oid, planned.system_identifier):
        raise Refused(
            f"{engine.target.name} is not the database any more that this was planned with: another restore took its place",
            state=f"{engine.target.name} was not touched",
            hint="look at it, then restore again",
        )


def prove_counts(archive: Archive, counts: Mapping[str, int], names: Mapping[str, str] | None = None) -> None:
    """Compare what was loaded with the manifest, table by table; `names` says which table is which where they are others.

    Raises:
        CountsDiffer: they do not agree.
    """
    expected: dict[str, int] = {}
    for name, rows in (expected_counts(archive) or {}).items():
        here = (names or {}).get(name) or _borne(name, counts)
        expected[here] = expected.get(here, 0) + rows
    # a table may have been left out of the dump's rows; it must then be there, with none
    wrong = [
        f"{name}: {counts.get(name)} instead of {rows}"
        for name, rows in expected.items()
        if counts.get(name) != rows
    ]
    if wrong:
        raise CountsDiffer(
            f"{many(len(wrong), 'table')} did not come back with the rows of the manifest",
            details="\n".join(wrong[:10]),
        )


def _borne(name: str, counts: Mapping[str, int]) -> str:
    """Return the table that a name means: in an older tool's file it may stand without its schema, or in another case."""
    if name in counts:
        return name
    found = [other for other in counts if other.endswith((f".{name}", f'."{name}"'))]
    found = found or [other for other in counts if other.lower() == name.lower()]
    return found[0] if len(found) == 1 else name


def prove_problems(archive: Archive, loaded: Loaded | Scratch, *, unverified: bool) -> tuple[str, ...]:
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
    expected = archive.expected_sha256
    if expected and hash_file(archive.path)[0] != expected:
        raise Refused(f"{archive.path.name} was replaced while it was being restored")
