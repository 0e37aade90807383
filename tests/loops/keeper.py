"""The keeper of a backup folder: what must hold in it after every kill, by rules of its own.

The short look follows each kill: what is listed is whole, nothing else is
listed, nothing went that was not allowed to go. The full look reads
everything, restores the newest, and after one run that nobody disturbs there
is no trace of the dead ones, in the folder or anywhere else.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import dbtasks
from dbtasks.catalog import archive_name, new_id
from dbtasks.journal import read_log
from dbtasks.lock import try_lock
from dbtasks.models import Backup, Proof, Type
from dbtasks.stores.local import LocalStore

from .bank import BALANCED, BOOKS, TABLES
from .killing import Ended, processes_of
from .places import Place

__all__ = ["AIMS", "KEEP", "Keeper", "Run", "Watched"]

MANIFEST = ".manifest.json"
KEEP = 3
"""What the retention keeps of a type where nothing is said."""
PILE = 2
"""How many more than that there are before a cleanup."""
DRAFT, TOMBSTONE, HALF = "with a draft", "with a tombstone", "half published or half removed"
AIMS = (DRAFT, HALF)
"""What a loop that is long enough has met: else it has shown little."""
BUSY = 7
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Run:
    """A command line, and what it may change."""

    arguments: tuple[str, ...]
    keep: int
    """What its retention keeps of a type; 0: it has none."""
    makes: bool
    """Whether it makes a backup; its retention applies once that is made."""


@dataclass
class Watched:
    """A run that is being watched; its end is filled in by who ends it."""

    ended: Ended | None = None


class Keeper:
    """Looks after one folder of backups."""

    def __init__(self, place: Place, tmpdir: Path) -> None:
        self.place = place
        self.tmpdir = tmpdir
        self.environ = {"TMPDIR": str(tmpdir)}
        self.settings = dbtasks.load_settings(place.project.root, environ={})
        self.folder = self.settings.backup_dir
        self.history: list[str] = []
        self._known: dict[str, Backup] = {}
        self._left: Counter[str] = Counter()

    def tally(self) -> str:
        """Say what lay in the folder after the kills."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self._left.items()))

    def missed(self) -> list[str]:
        """Return what none of the kills has met."""
        return [what for what in AIMS if not self._left[what]]

    # -- before a run ------------------------------------------------------------

    def accept(self) -> None:
        """Take what is there for what must be there."""
        self._known = {backup.id: backup for backup in self._listed()}

    def pile_up(self) -> None:
        """Put copies of sound backups beside them, dated back, so that a cleanup has work."""
        store = LocalStore(self.folder)
        for type_ in (Type.MANUAL, Type.DAILY):
            own = [backup for backup in self._known.values() if backup.manifest.type is type_]
            for number in range(KEEP + PILE - len(own) if own else 0):
                self._copy(store, min(own, key=_age), number + 1)
        self.accept()

    def _copy(self, store: LocalStore, backup: Backup, hours: int) -> None:
        id_, old = new_id(), backup.manifest
        started_at = old.started_at - timedelta(hours=hours)
        suffix = old.archive.removeprefix(old.archive.partition(".")[0])
        name = archive_name(old.database, id_, started_at, suffix)
        changes = {
            "id": id_,
            "archive": name,
            "started_at": started_at,
            "globals": None,
            "globals_sha256": None,
        }
        with store.draft(old.type) as draft:
            shutil.copyfile(backup.path, draft.path)
            proof = Proof(old.size_bytes, old.sha256, old.verified_how, old.verified_at)
            store.publish(draft, replace(old, **changes), proof)

    # -- after a run ---------------------------------------------------------------

    @contextmanager
    def watching(self, run: Run) -> Iterator[Watched]:
        """Look at the folder when the run in the block has ended."""
        orphans = processes_of(self.tmpdir)
        seen = Watched()
        yield seen
        ended = seen.ended
        assert ended is not None
        self.history.append(f"{' '.join(run.arguments)} ({ended.how}, {ended.when}: {ended.returncode})")
        del self.history[:-5]
        if ended.returncode == BUSY and orphans:
            self._left["refused beside an orphan"] += 1
            self._look(run, ended)
            self._await(lambda: processes_of(self.tmpdir), "processes of dead runs")
            return
        assert ended.killed or ended.returncode == 0, f"{ended.returncode}: {ended.said}"
        if ended.killed:
            self._note_left()
        self._look(run, ended)

    def _look(self, run: Run, ended: Ended) -> None:
        before, now = self._known, {backup.id: backup for backup in self._listed()}
        made, gone = now.keys() - before.keys(), before.keys() - now.keys()
        assert len(made) <= run.makes, f"listed out of nothing: {made}"
        applies = run.keep and (made or not run.makes)
        may_go = _may_go({**before, **now}, run.keep) if applies else set()
        assert gone <= may_go, f"gone without leave: {gone - may_go}"
        if ended.returncode == 0:
            assert gone == may_go
            assert len(made) == run.makes
        assert max(before.values(), key=_age).id in now, "the last verified complete backup is gone"
        self._known = now

    def _listed(self) -> tuple[Backup, ...]:
        """Return what is listed, which is whole, and all there is to be seen."""
        catalog = dbtasks.list_backups(self.settings)
        assert catalog.foreign == (), f"listed and no backup: {[str(f.path) for f in catalog.foreign]}"
        assert catalog.others == ()
        for backup in catalog.backups:
            manifest = backup.manifest
            assert manifest.complete
            assert manifest.damage == ""
            assert manifest.verified_at
            data = backup.path.read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (manifest.size_bytes, manifest.sha256)
            for path in _files_of(backup):
                assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        return catalog.backups

    def _note_left(self) -> None:
        """Count what kinds of leavings the kills meet, so that the report can tell where they fell."""
        hidden = [path.name for path in self.folder.glob("*/.*")]
        found = {DRAFT: any(name.endswith(".draft") for name in hidden)}
        found[TOMBSTONE] = any(name.endswith(".removing") for name in hidden)
        names = {path.name for type_ in Type for path in (self.folder / type_).glob("[!.]*")}
        archives = {name for name in names if not name.endswith((MANIFEST, ".globals.sql"))}
        found[HALF] = any(f"{name}{MANIFEST}" not in names for name in archives)
        self._left.update(what for what, there in found.items() if there)
        self._left.update(["leaving nothing"] if not any(found.values()) else [])

    # -- now and then ----------------------------------------------------------------

    def look_at_everything(self, *, quiet: bool = False) -> None:
        """Read it all, restore the newest, and find no trace once a run was left in peace.

        `quiet`: nobody changes the database now, so that a new backup holds the live books.
        """
        results = dbtasks.verify(self.settings, list(self._known.values()))
        assert all(result.ok for result in results), [r.how for r in results if not r.ok]
        self.accept()
        self._prove(max(self._known.values(), key=_age))
        self._await(lambda: processes_of(self.tmpdir), "processes of dead runs")
        ran = self.place.project.invoke("db.backup", "--json", **self.environ)
        assert ran.returncode == 0, ran.stderr
        self.accept()
        made = max(self._known.values(), key=_age)
        assert made.id == json.loads(ran.stdout)["backup"]["id"]
        self._no_trace()
        if quiet:
            self._prove(made, live=True)
            self._no_trace()

    def _prove(self, backup: Backup, *, live: bool = False) -> None:
        """Restore a backup beside the live database: its books agree, with its manifest too, and with the live ones."""
        counts = {table.name.rpartition(".")[2]: table.rows for table in backup.manifest.tables}
        ran = self.place.project.invoke(
            "db.restore", f"--file={backup.id}", f"--into={self.place.into}", "--yes", **self.environ
        )
        assert ran.returncode == 0, ran.stderr
        place = self.place
        assert place.ask(BOOKS, copy=True) == [BALANCED], f"{backup.id} is of no one moment"
        for table in TABLES:
            everything = f"SELECT * FROM {table} ORDER BY 1"
            rows = place.ask(everything, copy=True)
            assert len(rows) == counts[table]
            assert not live or rows == place.ask(everything)
        place.drop_copy()

    def _no_trace(self) -> None:
        """Only what is listed, the log and the locks; nothing runs, nothing is held, nothing lies elsewhere."""
        ours = {path for backup in self._listed() for path in _files_of(backup)}
        ours |= {self.folder / ".gitignore", self.folder / "log.jsonl"}
        ours |= set((self.folder / ".locks").glob("*.lock"))
        ours |= set((self.folder / "restores").glob("*.json"))
        there = {path for path in self.folder.rglob("*") if not path.is_dir()}
        assert there == ours
        assert not [path for path in self.folder.rglob(".*") if path.is_dir() and path.name != ".locks"]
        self._await(lambda: [*processes_of(self.tmpdir), *self.place.left()], "traces of dead runs")
        assert list(self.tmpdir.iterdir()) == []
        for path in (self.folder / ".locks").iterdir():
            descriptor = os.open(path, os.O_RDWR)
            try:
                assert try_lock(descriptor), f"{path} is held"
            finally:
                os.close(descriptor)
        assert len(read_log(self.folder)) == len(self._lines())

    def _await(self, what: Callable[[], list[str]], name: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while found := what():
            assert time.monotonic() < deadline, f"{name}: {found}"
            time.sleep(0.1)

    def _lines(self) -> list[str]:
        """Return the lines of the log, each a whole document."""
        try:
            text = (self.folder / "log.jsonl").read_text()
        except FileNotFoundError:
            return []
        assert text.endswith("\n")
        lines = text.splitlines()
        assert all(isinstance(json.loads(line), dict) for line in lines)
        return lines


def _files_of(backup: Backup) -> list[Path]:
    names = (backup.manifest.archive, f"{backup.manifest.archive}{MANIFEST}", backup.manifest.globals)
    return [backup.path.with_name(name) for name in names if name]


def _age(backup: Backup) -> tuple[object, str]:
    return backup.manifest.started_at, backup.id


def _may_go(backups: dict[str, Backup], keep: int) -> set[str]:
    """The policy in other words: per type all but the newest, and never the newest of all."""
    going: set[str] = set()
    for type_ in Type:
        own = sorted((b for b in backups.values() if b.manifest.type is type_), key=_age, reverse=True)
        going |= {backup.id for backup in own[keep:]}
    return going - {max(backups.values(), key=_age).id}
