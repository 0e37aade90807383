"""Where backups are restored only to be looked at: a folder of the store for drafts that are never published."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import StoreFull, StoreUnusable
from .drafts import claim_draft, dead_drafts, discard_draft, open_draft
from .files import create_new, translated, unusable
from .local import LocalStore

__all__ = [
    "PROOFS",
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
ID = re.compile(r"[0-9a-f]{6}")


@dataclass(frozen=True)
class ProofMark:
    """Which database a proof makes on a server: written before it is made, in a folder that is held as long as the proof lives."""

    server: str
    database: str
    """That it is made for; none is ever called so."""
    id: str
    """The end of its name."""
    folder: Path = Path()


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
def marking_proof(root: Path, server: str, database: str, id_: str) -> Iterator[None]:
    """Tell what a proof makes on a server for as long as the block runs; a run that is killed leaves it told.

    A folder that may not be entered or is full is no reason against a proof that needs no room in it.
    """
    with ExitStack() as stack:
        try:
            draft = stack.enter_context(open_draft(proofs_folder(root)))
            text = json.dumps({"server": server, "database": database, "id": id_})
            file = draft.folder / MARK
            with translated(f"cannot write {file}"), os.fdopen(create_new(file), "wb") as stream:
                stream.write(text.encode())
        except (StoreUnusable, StoreFull):
            stack.close()
        yield


def left_marks(root: Path) -> tuple[ProofMark, ...]:
    """Return what killed proofs told of what they made; what cannot be read tells nothing."""
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
        server, database, id_ = (told[key] for key in ("server", "database", "id"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not all(isinstance(text, str) for text in (server, database, id_)) or not ID.fullmatch(id_):
        return None
    return ProofMark(server, database, id_, folder)
