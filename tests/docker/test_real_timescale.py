"""A round trip with a real TimescaleDB, for machines that have its image: `-m timescale`, see docs/timescaledb.md.

Nothing of it runs otherwise. An image that is named and not there is a failure, not a skip.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Project
from tests.docker.test_container_route import left_inside, run
from tests.fix_docker import PASSWORD, Box

pytestmark = [pytest.mark.timescale, pytest.mark.slow]

IMAGE = "DBTASKS_TEST_TIMESCALE_IMAGE"
DATABASE = "metrics"
PATIENCE_SECONDS = 120.0

ROWS = 14 * 24 * 2
"""Two devices, an hour apart, for two weeks: two chunks of seven days, counted from a Thursday as TimescaleDB does."""
FILL = (
    "CREATE EXTENSION IF NOT EXISTS timescaledb",
    "CREATE TABLE public.device (id int PRIMARY KEY, name text)",
    "INSERT INTO public.device VALUES (1, 'one'), (2, 'two')",
    "CREATE TABLE public.metric (at timestamptz NOT NULL, device int NOT NULL, value float8)",
    "SELECT create_hypertable('public.metric', 'at', chunk_time_interval => interval '7 days')",
    "INSERT INTO public.metric SELECT at, device, extract(hour FROM at) + device"
    " FROM generate_series('2026-01-01Z'::timestamptz, '2026-01-14 23:00Z', '1 hour') at, generate_series(1, 2) device",
    "CREATE MATERIALIZED VIEW public.daily WITH (timescaledb.continuous) AS SELECT time_bucket('1 day', at) AS day,"
    " device, avg(value) AS mean, count(*) AS number FROM public.metric GROUP BY 1, 2 WITH NO DATA",
    "CALL refresh_continuous_aggregate('public.daily', NULL, NULL)",
    "SELECT add_continuous_aggregate_policy('public.daily', start_offset => interval '10 years',"
    " end_offset => interval '1 hour', schedule_interval => interval '1 hour')",
    "ALTER TABLE public.metric SET (timescaledb.compress, timescaledb.compress_segmentby = 'device')",
    "SELECT compress_chunk(c) FROM show_chunks('public.metric', older_than => '2026-01-08Z'::timestamptz) c",
)
CHUNKS = "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_name = 'metric'"
COMPRESSED = f"{CHUNKS} AND is_compressed"
AGGREGATES = "SELECT count(*), round(sum(mean)::numeric, 6), sum(number) FROM public.daily"
POLICIES = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name = 'policy_refresh_continuous_aggregate'"
SCHEDULERS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND (backend_type ILIKE '%scheduler%' OR application_name ILIKE '%scheduler%')"
)
RESTORING = (
    "SELECT count(*) FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) line"
    " WHERE d.datname = current_database() AND line LIKE 'timescaledb.restoring=%'"
)


@dataclass(frozen=True)
class Metrics:
    """The database inside, and the project that backs it up."""

    box: Box
    project: Project

    @property
    def url(self) -> str:
        return f"postgresql://postgres@{self.box.name}/{DATABASE}"

    def run(self, *arguments: str) -> dict[str, Any]:
        """Run a task that must succeed, and return its document."""
        ran = run(self.project, *arguments, "--json", DATABASE_URL=self.url)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        document: dict[str, Any] = json.loads(ran.stdout)
        return document

    def sql(self, statement: str, database: str = DATABASE) -> str:
        return self.box.sql(statement, database)

    def works(self, database: str = DATABASE, *, extra: int = 0) -> None:
        """See that all of it is there, as TimescaleDB itself tells, and that it is no longer in restoring mode."""
        assert self.sql("SELECT count(*) FROM public.metric", database) == str(ROWS + extra)
        assert self.sql(RESTORING, database) == "0"
        assert int(self.sql(CHUNKS, database)) >= 2
        assert int(self.sql(COMPRESSED, database)) >= 1
        assert self.sql(POLICIES, database) == "1"


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


@pytest.fixture(scope="module")
def box(docker_client: Any) -> Iterator[Box]:
    """Start the image that the environment names."""
    from docker.errors import ImageNotFound

    image = os.environ.get(IMAGE, "")
    if not image:
        pytest.fail(f"-m timescale needs an image: {IMAGE}=timescale/timescaledb:latest-pg17")
    try:
        docker_client.images.get(image)
    except ImageNotFound:
        pytest.fail(f"{IMAGE}={image}: there is no such image here (docker pull {image})")
    name = f"dbtasks-test-timescale-{secrets.token_hex(4)}"
    container = docker_client.containers.run(
        image, name=name, detach=True, environment={"POSTGRES_PASSWORD": PASSWORD}
    )
    try:
        # by TCP: the server that only fills the volume at first start does not listen there
        ready = ["pg_isready", "-q", "-h", "127.0.0.1", "-U", "postgres"]
        assert eventually(lambda: container.exec_run(ready)[0] == 0), container.logs().decode()[-2000:]
        yield Box(container, name, None, "postgres", PASSWORD, "postgres")
    finally:
        container.remove(force=True, v=True)


@pytest.fixture
def metrics(box: Box, project: Project) -> Metrics:
    """Fill a new database."""
    project.mount()
    box.sql(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
    box.sql(f"CREATE DATABASE {DATABASE}")
    for statement in FILL:
        # each by itself: some of them take no transaction around them
        box.sql(statement, DATABASE)
    return Metrics(box, project)


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_a_real_hypertable_survives_backup_restore_and_undo(metrics: Metrics, format_: str) -> None:
    aggregates = metrics.sql(AGGREGATES)
    made = metrics.run("db.backup", f"--format={format_}")
    manifest = made["backup"]
    assert made["warnings"] == []
    assert {t["name"]: (t["rows"], t.get("hypertable", False)) for t in manifest["tables"]} == {
        "public.device": (2, False),
        "public.metric": (ROWS, True),
    }
    # beside: another database, while the live one is in use
    beside = f"{DATABASE}_{format_}"
    metrics.run("db.restore", "--file=latest", f"--into={beside}", "--yes")
    metrics.works(beside)
    assert metrics.sql(AGGREGATES, beside) == aggregates
    # over the live one
    metrics.sql("DELETE FROM public.metric WHERE at >= '2026-01-08Z'")
    metrics.run("db.restore", "--file=latest", "--yes")
    metrics.works()
    assert metrics.sql(AGGREGATES) == aggregates
    # it is a hypertable: a row of another week makes a chunk, and the aggregate takes it up
    before = int(metrics.sql(CHUNKS))
    metrics.sql("INSERT INTO public.metric VALUES ('2026-02-05 12:00Z', 1, 42)")
    assert int(metrics.sql(CHUNKS)) == before + 1
    metrics.works(extra=1)
    metrics.sql("CALL refresh_continuous_aggregate('public.daily', '2026-02-01Z', '2026-02-10Z')")
    assert metrics.sql("SELECT mean FROM public.daily WHERE day = '2026-02-05Z'") == "42"
    # its workers run again
    assert eventually(lambda: int(metrics.sql(SCHEDULERS)) > 0)
    undone = metrics.run("db.undo", "--yes")["undo"]
    assert undone["way"] == "rename"
    assert int(metrics.sql("SELECT count(*) FROM public.metric")) < ROWS
    assert eventually(lambda: int(metrics.sql(SCHEDULERS)) > 0)
    assert left_inside(metrics.box) == []


def test_a_real_backup_is_proven_compared_and_refused_where_it_must_be(metrics: Metrics) -> None:
    metrics.run("db.backup")
    (entry,) = metrics.run("db.verify", "--restore")["verified"]
    assert (entry["restored"]["tables"], entry["restored"]["rows"]) == (2, ROWS + 2)
    assert run(metrics.project, "db.diff", "--exit-code", DATABASE_URL=metrics.url).returncode == 0
    for arguments in (
        ("db.backup", "--table=metric"),
        ("db.restore", "--file=latest", "--table=metric", "--yes"),
        ("db.restore", "--file=latest", "--in-place", "--yes"),
    ):
        assert run(metrics.project, *arguments, DATABASE_URL=metrics.url).returncode == 6
    metrics.works()


def test_a_real_backup_whose_load_fails_leaves_the_live_database_at_work(metrics: Metrics) -> None:
    metrics.sql(
        "CREATE FUNCTION public.no() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN"
        f" IF current_database() <> '{DATABASE}' THEN RAISE EXCEPTION 'not here'; END IF; RETURN true; END $$;"
        " CREATE TABLE public.z_last (id int CHECK (public.no())); INSERT INTO public.z_last VALUES (1)"
    )
    metrics.run("db.backup")
    failed = run(metrics.project, "db.restore", "--file=latest", "--yes", DATABASE_URL=metrics.url)
    assert failed.returncode == 9, failed.stderr
    metrics.works()
    assert metrics.sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%\\_\\_new\\_%'") == "0"
    assert eventually(lambda: int(metrics.sql(SCHEDULERS)) > 0)
