"""`db.backup` and `db.cleanup` killed 200 times at random moments: what is listed is good, and nothing else is listed.

The seed is in the report and in what a failure says; DBTASKS_TEST_SEED=N
draws the same moments again, DBTASKS_TEST_KILLS=N changes how many they are.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from contextlib import closing

import pytest

from tests.conftest import Project
from tests.fix_docker import Box
from tests.fix_postgres import PgDatabase

from .bank import changing
from .conftest import KILLS
from .keeper import KEEP, Keeper, Run
from .killing import STEPS, kill_some_time, pace_of
from .places import ContainerPlace, HostPlace, Place, SqlitePlace

pytestmark = [
    pytest.mark.loop,
    pytest.mark.skipif(sys.platform != "linux", reason="finds orphans in /proc"),
]

ENOUGH = 200
"""So many kills meet every kind of leavings in each place, but for one time in ten thousand."""
FULL_LOOK = 20
"""Kills between two full reads of everything."""
CLEANUP = ("--yes",)
TYPES = ("manual", "manual", "daily", "weekly", "monthly")


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a08_h12_killed_at_random_moments_on_sqlite_only_whole_backups_are_listed(
    shop: Project, journal: str, seed: int, report: Callable[[str], None]
) -> None:
    with closing(SqlitePlace(shop, journal)) as place:
        loop(place, f"SQLite, {journal}", KILLS // 5, seed, report)


def test_a08_a09_h06_h07_h12_killed_at_random_moments_on_the_host_only_whole_backups_are_listed(
    shop: Project, pg_db: PgDatabase, seed: int, report: Callable[[str], None]
) -> None:
    loop(HostPlace(shop, pg_db), "PostgreSQL, host", KILLS * 3 // 10, seed, report)


def test_a08_a12_h12_killed_at_random_moments_by_a_container_only_whole_backups_are_listed(
    shop: Project,
    docker_client: object,
    start_box: Callable[..., Box],
    seed: int,
    report: Callable[[str], None],
) -> None:
    loop(ContainerPlace(shop, start_box()), "PostgreSQL, container", KILLS * 3 // 10, seed, report)


def loop(place: Place, name: str, kills: int, seed: int, report: Callable[[str], None]) -> None:
    """Kill runs until that many are dead, look after each, read everything now and then and at the end."""
    dice = random.Random(f"{seed} {name}")
    tmpdir = place.project.root.parent / "tmp"
    tmpdir.mkdir()
    keeper = Keeper(place, tmpdir)
    try:
        with changing(place.transaction, seed):
            dead = _kill(place, keeper, kills, dice)
        keeper.look_at_everything(quiet=True)
        assert KILLS < ENOUGH or not keeper.missed(), f"no blow fell where it matters: {keeper.tally()}"
    except BaseException as exc:
        exc.add_note(f"{name}: DBTASKS_TEST_SEED={seed}; {keeper.history}")
        raise
    report(f"{name}: {dead} runs killed; {keeper.tally()}; seed {seed}")


def _kill(place: Place, keeper: Keeper, kills: int, dice: random.Random) -> int:
    """Measure each kind of run in peace, then kill runs of all kinds, as many as asked for."""
    paces = {}
    for flags in place.variants:
        paces[flags] = pace_of(place.project, ("db.backup", *flags), keeper.environ)
        keeper.accept()
    keeper.pile_up()
    paces[CLEANUP] = pace_of(place.project, ("db.cleanup", "--keep=1", *CLEANUP), keeper.environ)
    keeper.accept()
    phases = {phase for pace in paces.values() for phase, _ in pace.phases}
    assert phases >= STEPS.keys(), "what runs say as they go has changed: the blows would miss"
    dead = 0
    while dead < kills:
        kind = CLEANUP if dice.random() < 0.4 else dice.choice(place.variants)
        run = _cleanup(keeper, dice) if kind is CLEANUP else _backup(kind, dice)
        with keeper.watching(run) as seen:
            seen.ended = kill_some_time(place.project, run.arguments, keeper.environ, paces[kind], dice)
        dead += seen.ended.killed
        if seen.ended.killed and dead % FULL_LOOK == 0:
            keeper.look_at_everything()
    return dead


def _cleanup(keeper: Keeper, dice: random.Random) -> Run:
    keeper.pile_up()
    keep = dice.randint(1, 3)
    return Run(("db.cleanup", f"--keep={keep}", *CLEANUP), keep, makes=False)


def _backup(flags: tuple[str, ...], dice: random.Random) -> Run:
    arguments = ("db.backup", f"--type={dice.choice(TYPES)}", *flags)
    if dice.random() < 0.5:
        return Run((*arguments, "--skip-cleanup"), 0, makes=True)
    return Run(arguments, KEEP, makes=True)
