"""A parallel load sends what locks several tables one after another: two jobs that wait for each other end one of them.

Whether they meet is chance, so the server's log is read: which of its sessions did what.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import dbtasks
from dbtasks.models import Format
from tests.fix_postgres import PgServer, server_of_its_own
from tests.postgres.projects import configured, made_with
from tests.postgres.rich import ROWS, fill

MANY = {
    "attached": re.compile(r"ALTER INDEX \S+ ATTACH PARTITION"),
    "foreign key": re.compile(r"ALTER TABLE [^;]* FOREIGN KEY"),
    "trigger": re.compile(r"CREATE TRIGGER"),
}
LARGE = 300_000
ONE = re.compile(r"CREATE (?:UNIQUE )?INDEX|ALTER TABLE ONLY [^;]* PRIMARY KEY")
LINE = re.compile(r"^\S+ \S+ \S+ \[(?P<pid>\d+)\] (?P<text>.*)$")


@pytest.fixture(scope="module")
def logged() -> Iterator[PgServer]:
    with server_of_its_own(16, log_statement="ddl") as server:
        yield server


def log_of(server: PgServer) -> Path:
    return server.socket_dir.parent / "log"


def sessions_of(log: str) -> dict[str, set[str]]:
    """Say which sessions sent what, by kind; a statement may go on for several lines."""
    said: dict[str, list[str]] = {}
    entries: list[list[str]] = []
    for line in log.splitlines():
        if found := LINE.match(line):
            entries.append([found["pid"], found["text"]])
        elif entries:
            entries[-1][1] += f"\n{line}"
    kinds: dict[str, set[str]] = defaultdict(set)
    for pid, text in entries:
        said.setdefault(pid, []).append(text)
        for kind, pattern in {**MANY, "one": ONE}.items():
            if pattern.search(text):
                kinds[kind].add(pid)
    return kinds


@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY])
def test_what_locks_several_tables_is_sent_by_one_session_and_indexes_are_built_by_several(
    logged: PgServer, format_: Format, tmp_path: Path
) -> None:
    with logged.fresh() as database:
        fill(database)
        # while one session is at this index, another one has to take the next
        database.run(
            f"CREATE TABLE large AS SELECT generate_series(1, {LARGE}) AS a; CREATE INDEX ON large (a)"
        )
        config = configured(tmp_path, database, jobs=4)
        made = made_with(config, format=format_)
        before = log_of(logged).stat().st_size
        (done,) = dbtasks.verify(config, [made], restore=True, where="server")
        assert done.ok, done.how
        assert done.restored is not None
        assert done.restored.rows == sum(ROWS.values()) + LARGE
    kinds = sessions_of(log_of(logged).read_bytes()[before:].decode())
    assert set(kinds) == {*MANY, "one"}
    assert len({pid for kind in MANY for pid in kinds[kind]}) == 1, kinds
    assert len(kinds["one"]) > 1, kinds


def test_a_database_without_partitions_is_loaded_by_pg_restore_in_one_go(
    logged: PgServer, tmp_path: Path
) -> None:
    with logged.fresh() as database:
        database.run("CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int REFERENCES a)")
        config = configured(tmp_path, database, jobs=2)
        made = made_with(config)
        commands: list[str] = []
        dbtasks.verify(
            config,
            [made],
            restore=True,
            where="server",
            on_event=lambda event: commands.append(getattr(event, "command", "")),
        )
    loads = [command for command in commands if "--dbname" in command]
    assert len(loads) == 1
    assert "--jobs=2" in loads[0]
    assert "--use-list" not in loads[0]
