"""Where backups are restored only to be looked at: a folder of the store for drafts that are never published."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import StoreFull, StoreUnusable
from .drafts import LocalDraft, claim_draft, dead_drafts, discard_draft, open_draft
from .files import create_new, translated, unusable
from .local import LocalStore

__all__ = [
    "MIGRATION",
    "PROOF",
    "PROOFS",
    "Marking",
    "ProofMark",
    "forget_mark",
    "is_marked",
    "left_folders",
    "left_marks",
    "marking_proof",
    "proofs_folder",
    "prove_room",
]

PROOFS = ".proofs"
MARK = "proof"
MARK_BYTES = 4096
ID = re.compile(r"[0-9a-z]{6}")
PROOF = "proof"
MIGRATION = "migration"
KINDS = (PROOF, MIGRATION)


@dataclass(frozen=True)
class ProofMark:
    """Which database a proof or a migration makes on a server: written before it is made, in a folder held as long as that lives."""

    server: str
    database: str
    """That it is made for; none is ever called so that a proof makes one for."""
    id: str
    """The end of its name."""
    kind: str = PROOF
    """`proof` or `migration`: which names it may have."""
    system_identifier: str = ""
    """Of the server, where that is known: another one may have its address by now."""
    folder: Path = Path()


class Marking:
    """What is told as long as a block runs."""

    def __init__(self, draft: LocalDraft | None) -> None:
        self._draft = draft

    def stays(self) -> None:
        """Let it be told behind the block as well: what was made could not be removed."""
        if self._draft is not None:
            self._draft.stays = True


def proofs_folder(root: Path) -> Path:
    """Return the folder such drafts are made in, on the store's own disk, private.

    Raises:
        StoreUnusable: it cannot be made.
    """
    LocalStore(root).prepare()
    folder = root / PROOFS
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise unusable(folder, exc) from exc
    return folder


def prove_room(root: Path, needed_bytes: int, what: str) -> None:
    """See that the store's disk has room for something; nothing is written.

    Raises:
        StoreFull: it has not; says how much it has.
    """
    with translated(f"cannot look for {root}"):
        folder = next(place for place in (root, *root.parents) if place.is_dir())
        free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise StoreFull(
            f"{what} needs about {needed_bytes:,} bytes in {root}, and {free:,} are free",
            hint="free some space",
        )


@contextmanager
def marking_proof(root: Path, mark: ProofMark) -> Iterator[Marking]:
    """Tell what a proof or a migration makes on a server for as long as the block runs; a run that is killed leaves it told.

    A folder that may not be entered or is full is no reason against a proof that needs no room in it.
    """
    with ExitStack() as stack:
        draft: LocalDraft | None = None
        try:
            draft = stack.enter_context(open_draft(proofs_folder(root)))
            text = json.dumps({name: value for name, value in asdict(mark).items() if name != "folder"})
            file = draft.folder / MARK
            with translated(f"cannot write {file}"), os.fdopen(create_new(file), "wb") as stream:
                stream.write(text.encode())
        except (StoreUnusable, StoreFull):
            stack.close()
            draft = None
        yield Marking(draft)


def left_marks(root: Path) -> tuple[ProofMark, ...]:
    """Return what killed proofs and migrations told of what they made; what cannot be read tells nothing."""
    marks = (_read(folder) for folder in _left(root))
    return tuple(mark for mark in marks if mark)


def left_folders(root: Path) -> tuple[Path, ...]:
    """Return what else killed proofs and comparisons left in a store: files they worked in, servers of their own."""
    return tuple(folder for folder in _left(root) if _read(folder) is None)


def _left(root: Path) -> list[Path]:
    try:
        return dead_drafts(root / PROOFS)
    except OSError:
        # a folder this user may not enter is told as such where it is in the way
        return []


def is_marked(folder: Path) -> bool:
    """Whether a draft tells what was made on a server, which has to go first."""
    return _read(folder) is not None


def forget_mark(mark: ProofMark) -> None:
    """Remove what told of a database that is gone."""
    lock = claim_draft(mark.folder)
    if lock is not None:
        discard_draft(mark.folder, lock)


def _read(folder: Path) -> ProofMark | None:
    try:
        with (folder / MARK).open("rb") as stream:
            told = json.loads(stream.read(MARK_BYTES))
        texts = [told[key] for key in ("server", "database", "id")]
        texts += [told.get("kind", PROOF), told.get("system_identifier", "")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not all(isinstance(text, str) for text in texts):
        return None
    server, database, id_, kind, identifier = texts
    mark = ProofMark(server, database, id_, kind, identifier, folder)
    return mark if ID.fullmatch(mark.id) and mark.kind in KINDS else None
