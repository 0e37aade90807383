"""The keeper of a live database: after every kill of a restore or an undo it is one of two whole states, by rules of its own.

What is expected is reckoned here from what was seen, and not asked of the
product: before each run it is known which state the database is in, and which
one the run would make of it. Each look ends with a row of our own, so that no
two states are alike.
"""

from __future__ import annotations

import hashlib
import json
import random
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dbtasks

from .killing import Ended, Pace, kill_in_a_phase, kill_some_time, kill_when, pace_of, processes_of
from .live import COLOURS, Live, State

__all__ = ["FINISHED", "LOADING", "SWAPPING", "TwoStates"]

LOADING, SWAPPING, FINISHED = "while it loaded", "around the exchange", "behind the exchange"
IN_PLACE = "--in-place"
PATIENCE_SECONDS = 30


@dataclass(frozen=True)
class Run:
    """A command line, and what it would make of the live database."""

    arguments: tuple[str, ...]
    becomes: State
    kind: str
    """What its pace is measured by."""
    exchanges: bool
    """Whether it gives two databases each other's names."""
    incoming: str = ""
    """The kept database that would get the live name."""


@dataclass(frozen=True)
class Effect:
    """A restore or undo that counts: the next undo is about it."""

    id: str
    before: State


class TwoStates:
    """Looks after one live database."""

    def __init__(self, live: Live, tmpdir: Path, dice: random.Random) -> None:
        self.live = live
        self.dice = dice
        self.history: list[str] = []
        self._tmpdir = tmpdir
        self._environ = {"TMPDIR": str(tmpdir)}
        self._settings = dbtasks.load_settings(live.project.root, environ={})
        self._folder = self._settings.backup_dir
        self._backups: dict[str, tuple[str, State]] = {}
        self._effects: list[Effect] = []
        self._paces: dict[str, Pace] = {}
        self._marks = 0
        self._hit: Counter[str] = Counter()
        self._turns: Counter[str] = Counter()
        self._now = live.state()

    # -- what was hit ------------------------------------------------------------------

    def tally(self) -> str:
        """Say where the kills fell."""
        return ", ".join(f"{count} {what}" for what, count in sorted(self._hit.items()))

    def missed(self, *whats: str) -> list[str]:
        """Return what none of the kills has met; without its task's name it may have been either's."""
        return [what for what in whats if not any(hit.endswith(what) for hit in +self._hit)]

    # -- to begin with -------------------------------------------------------------------

    def begin(self) -> None:
        """Back two states up, and measure every kind of run in peace."""
        for colour in COLOURS:
            self.live.paint(colour)
            made = self._invoke("db.backup", "--skip-cleanup", "--json")
            self._backups[colour] = (made["backup"]["id"], self.live.state())
        self._now = self.live.state()
        for flags in dict.fromkeys(self.live.restores):
            self._measure(self._restore(flags))
            self._measure(self._undo())
            self._measure(self._undo())

    def _measure(self, run: Run) -> None:
        known = self._records()
        self._paces[run.kind] = pace_of(self.live.project, run.arguments, self._environ)
        self._after(run, known, killed=False)

    # -- the runs ----------------------------------------------------------------------------

    def _restore(self, flags: tuple[str, ...]) -> Run:
        id_, state = self._backups[self.dice.choice(COLOURS)]
        in_place = IN_PLACE in flags
        return Run(
            ("db.restore", f"--file={id_}", "--yes", *flags),
            State(state.contents, self._now.settings),
            " ".join(("restore", *flags)),
            exchanges=self._is_postgres and not in_place,
        )

    def _undo(self) -> Run:
        effect = self._effects[-1]
        record = self._records()[effect.id]
        kept = str(record.get("old") or "")
        arguments = ("db.undo", "--yes", f"--confirm={self.live.name}")
        swaps = self._is_postgres and record["strategy"] == "swap"
        if swaps and kept in self.live.beside():
            return Run(arguments, effect.before, "undo by name", exchanges=True, incoming=kept)
        # what a backup does not hold is carried over from the live database
        becomes = State(effect.before.contents, self._now.settings)
        return Run(arguments, becomes, "undo" if swaps else "undo in place", exchanges=swaps)

    @property
    def _is_postgres(self) -> bool:
        return bool(self._now.settings)

    # -- the kills ---------------------------------------------------------------------------

    def kill_one(self) -> bool:
        """Start a run, kill it, look; returns whether the blow fell before its end."""
        undoing = self.dice.random() < 0.5
        run = self._undo() if undoing else self._restore(self.dice.choice(self.live.restores))
        known = self._records()
        ended = self._kill(run)
        self.history.append(f"{' '.join(run.arguments)} ({ended.how}, {ended.when}: {ended.returncode})")
        del self.history[:-5]
        assert ended.killed or ended.returncode == 0, f"{ended.returncode}: {ended.said}"
        # at once: whatever the dead run has left to end, the live name leads to a whole database
        assert self.live.state() in (self._now, run.becomes), "neither the one state nor the other"
        self._settle()
        self._after(run, known, killed=ended.killed)
        return ended.killed

    def _kill(self, run: Run) -> Ended:
        project, environ, dice = self.live.project, self._environ, self.dice
        pace = self._paces[run.kind]
        aim = dice.choices(("any moment", "phase", "moment"), (1, 2, 4))[0]
        if aim == "moment" and (run.exchanges or not self._is_postgres):
            # in turn: each is met often enough
            self._turns[run.kind] += 1
            moment = self.live.moments[self._turns[run.kind] % len(self.live.moments)]
            with self.live.at(moment, run.incoming) as seen:
                return kill_when(project, run.arguments, environ, moment, seen, dice)
        if aim == "any moment":
            return kill_some_time(project, run.arguments, environ, pace, dice)
        phases = tuple(
            {phase for phase, _ in pace.phases} & {"create", "drop", "load", "check", "swap", "commit"}
        )
        return kill_in_a_phase(project, run.arguments, environ, pace, phases, dice)

    def _settle(self) -> None:
        """Wait until nothing of the run is left that could still do something."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while left := [*processes_of(self._tmpdir), *self.live.left()]:
            assert time.monotonic() < deadline, f"traces of dead runs: {left}"
            time.sleep(0.05)

    # -- the looks ---------------------------------------------------------------------------

    def _after(self, run: Run, known: dict[str, dict[str, Any]], *, killed: bool) -> None:
        """Compare what is live with what was and what was to be, and reckon what the next undo is about."""
        was, now = self._now, self.live.state()
        assert now in ((was, run.becomes) if killed else (run.becomes,)), "neither one state nor the other"
        took_effect = now == run.becomes
        records = self._records()
        made = records.keys() - known.keys()
        assert len(made) <= 1
        assert made or not took_effect
        for id_ in made:
            # where it cannot be told afterwards whether it took effect, it counts; before that moment it did not
            if took_effect or not (run.exchanges or records[id_]["state"] == "loading"):
                self._effects.append(Effect(id_, was))
            if killed:
                self._note(run, records[id_], took_effect)
            self._look_at_safety(records[id_])
        if killed and not made:
            self._hit["before anything"] += 1
        self._marks += 1
        self.live.mark(self._marks)
        self._now = self.live.state()
        assert self._now != now

    def _note(self, run: Run, record: dict[str, Any], took_effect: bool) -> None:
        when = FINISHED if took_effect else SWAPPING if record["state"] == "swapping" else LOADING
        task = "undo" if run.kind.startswith("undo") else "restore"
        self._hit[f"{task} {when}"] += 1
        if record["state"] == "done":
            self._hit["with all done"] += 1

    def _look_at_safety(self, record: dict[str, Any]) -> None:
        """What was saved before is listed and whole."""
        listed = {backup.id: backup for backup in self._listed()}
        if (id_ := record.get("safety_backup")) is not None:
            assert id_ in listed

    def _listed(self) -> tuple[dbtasks.Backup, ...]:
        catalog = dbtasks.list_backups(self._settings)
        assert (catalog.foreign, catalog.others) == ((), ())
        for backup in catalog.backups:
            data, manifest = backup.path.read_bytes(), backup.manifest
            assert (len(data), hashlib.sha256(data).hexdigest()) == (manifest.size_bytes, manifest.sha256)
            assert manifest.complete
            assert manifest.damage == ""
        return catalog.backups

    def look_at_everything(self) -> None:
        """What killed runs left is offered and goes; what is listed is whole; an undo and a restore work as ever."""
        beside = self.live.beside()
        unfinished = {name for name in beside if "__new_" in name or name.endswith(".draft")}
        plan = self._invoke("db.cleanup", "--dry-run", "--json")
        assert set(plan["left_over"]) == unfinished, (
            plan["left_over"],
            plan["why_left_over_unknown"],
            beside,
        )
        told = self._invoke("db.info", "--json")["notes"]
        assert all(any(name in text for text in told) for name in unfinished), told
        done = self._invoke("db.cleanup", "--yes", "--json")
        assert set(done.get("swept", ())) == unfinished
        staying = {one["database"] for one in plan["staying"]}
        assert self.live.beside() == staying
        shown = {*plan["replaced"], *staying, *unfinished}
        assert shown == beside, f"shown is not what there is: {shown ^ beside} of {plan}, {beside}"
        self._hit["left over and removed"] += len(unfinished)
        for run in (self._undo, lambda: self._restore(self.dice.choice(self.live.restores))):
            self._undisturbed(run())
        assert list(self._tmpdir.iterdir()) == []
        assert not list(self._folder.rglob(".*.draft"))

    def _undisturbed(self, run: Run) -> None:
        known = self._records()
        self._invoke(*run.arguments, "--json")
        self._after(run, known, killed=False)

    def _records(self) -> dict[str, dict[str, Any]]:
        paths = (self._folder / "restores").glob("*.json")
        return {path.stem: json.loads(path.read_text()) for path in paths}

    def _invoke(self, *arguments: str) -> dict[str, Any]:
        ran = self.live.project.invoke(*arguments, **self._environ)
        assert ran.returncode == 0, f"{arguments}: {ran.stdout}{ran.stderr}"
        document: dict[str, Any] = json.loads(ran.stdout) if "--json" in arguments else {}
        return document
