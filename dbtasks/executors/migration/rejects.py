"""The rows that did not arrive: one line of JSON each, in a private file that has its name once the rest is live."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ...errors import StoreFull
from ...rows.migration.arriving import IS_TWICE, LEADS_NOWHERE, Reject
from ...stores.drafts import open_draft, sweep_drafts
from ...stores.files import create_new
from ...stores.local import translated

__all__ = ["Rejects", "collected_rejects"]


class Rejects:
    """The file while it is written."""

    def __init__(self, path: Path, stream: BinaryIO, final: Path) -> None:
        self.count = 0
        self.causes = Counter[str]()
        """How many for each cause."""
        self._path = path
        self._stream = stream
        self._final = final

    def take(self, reject: Reject) -> None:
        """Add one row, with its values and the reason.

        Raises:
            StoreFull, OperationFailed: it cannot be written.
        """
        line = json.dumps(reject.document, ensure_ascii=False, default=str)
        with self._writing():
            self._stream.write(line.encode("utf-8", "backslashreplace") + b"\n")
        self.count += 1
        self.causes[_cause(reject)] += 1

    def settle(self) -> None:
        """See that all of them are on disk: behind the COMMIT nobody could say any more which rows they were.

        Raises:
            StoreFull, OperationFailed: they are not.
        """
        with self._writing():
            self._stream.flush()
            os.fsync(self._stream.fileno())

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with translated(f"cannot write {self._final}"):
                yield
        except StoreFull as exc:
            # it is no backup that broke off: the migration knows what became of the target
            exc.state = ""
            raise

    def publish(self) -> Path | None:
        """Give the file its name; None: there were none, and there is no file.

        Raises:
            OperationFailed: it cannot have it.
        """
        with translated(f"cannot write {self._final}"):
            self._stream.close()
            if not self.count:
                return None
            self._path.replace(self._final)
        return self._final


def _cause(reject: Reject) -> str:
    """Return why a row was left out, without what only one row has."""
    why = reject.reason.partition(": ")[2]
    if why.startswith(LEADS_NOWHERE):
        return f"{reject.table}: a reference to a row that is not there, or was left out too"
    if why == IS_TWICE:
        return f"{reject.table}: a key that is there already"
    return f"{reject.table}: a value that does not fit, or that the server turned down"


@contextmanager
def collected_rejects(folder: Path, name: str) -> Iterator[Rejects]:
    """Open the file, 0600; what is not published goes with the block.

    Raises:
        StoreUnusable, StoreFull: it cannot be made.
    """
    sweep_drafts(folder)
    with open_draft(folder) as draft:
        with translated(f"cannot write into {folder}"):
            stream = os.fdopen(create_new(draft.path), "wb")
        try:
            yield Rejects(draft.path, stream, folder / name)
        finally:
            # what waits in it goes with the draft, and a full disk was told already
            with suppress(OSError):
                stream.close()
