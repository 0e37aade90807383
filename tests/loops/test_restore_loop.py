"""`db.restore` and `db.undo` killed 200 times at random moments: the live database is always one of the two whole states.

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

from .conftest import KILLS
from .live import ContainerLive, HostLive, Live, SqliteLive
from .two_states import FINISHED, LOADING, SWAPPING, TwoStates

pytestmark = [
    pytest.mark.loop,
    pytest.mark.skipif(sys.platform != "linux", reason="finds orphans in /proc"),
]

FULL_LOOK = 15
"""Kills between two looks at everything."""
ENOUGH = 200
"""So many kills meet every moment of each place, but for one time in a thousand."""
ONE_FILE = (LOADING, SWAPPING)
TWO_NAMES = (
    *(f"{task} {when}" for task in ("restore", "undo") for when in (LOADING, SWAPPING, FINISHED)),
    "left over and removed",
)
EITHER_TASK = (LOADING, SWAPPING, FINISHED)
"""What a quarter of the kills is enough for."""


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_f13_a_restore_or_undo_killed_at_a_random_moment_leaves_a_sqlite_file_in_one_of_two_states(
    shop: Project, journal: str, seed: int, report: Callable[[str], None]
) -> None:
    with closing(SqliteLive(shop, journal)) as live:
        loop(live, f"restores, SQLite, {journal}", KILLS * 3 // 20, seed, report, aims=ONE_FILE)


def test_d08_d16_a_restore_or_undo_killed_at_a_random_moment_on_the_host_leaves_one_of_two_whole_databases(
    shop: Project, pg_db: PgDatabase, seed: int, report: Callable[[str], None]
) -> None:
    live = HostLive(shop, pg_db)
    loop(live, "restores, PostgreSQL, host", KILLS * 9 // 20, seed, report, aims=TWO_NAMES)


def test_a12_d08_d16_a_restore_or_undo_killed_at_a_random_moment_by_a_container_leaves_one_of_two_whole_databases(
    shop: Project,
    docker_client: object,
    start_box: Callable[..., Box],
    seed: int,
    report: Callable[[str], None],
) -> None:
    live = ContainerLive(shop, start_box())
    loop(live, "restores, PostgreSQL, container", KILLS // 4, seed, report, aims=EITHER_TASK)


def loop(
    live: Live,
    name: str,
    kills: int,
    seed: int,
    report: Callable[[str], None],
    *,
    aims: tuple[str, ...],
) -> None:
    """Kill runs until that many are dead, look after each, and at everything now and then and at the end."""
    tmpdir = live.project.root.parent / "tmp"
    tmpdir.mkdir()
    keeper = TwoStates(live, tmpdir, random.Random(f"{seed} {name}"))
    dead = 0
    try:
        keeper.begin()
        while dead < kills:
            killed = keeper.kill_one()
            dead += killed
            if killed and dead % FULL_LOOK == 0:
                keeper.look_at_everything()
        keeper.look_at_everything()
        assert KILLS < ENOUGH or not keeper.missed(*aims), f"no blow fell where it matters: {keeper.tally()}"
    except BaseException as exc:
        exc.add_note(f"{name}: DBTASKS_TEST_SEED={seed}; {keeper.tally()}; {keeper.history}")
        raise
    report(f"{name}: {dead} runs killed; {keeper.tally()}; seed {seed}")
