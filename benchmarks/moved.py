"""Groups of rows on the move: backed up, restored, compared, migrated; the first command of each is its yardstick."""

from __future__ import annotations

import csv
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

from .cases import FLOOR, IN_ONE, PGLOADER, SAME_ROWS, TWICE
from .contenders import Missing, both, into_file, tool
from .measure import Job, Ran, run
from .project import Project, clean_environment
from .rounds import Contender
from .servers import Server
from .site import Site

__all__ = ["backup", "diff", "loaded", "migrate", "restore"]

ARRIVED = "arrived"
"""The database that rows of SQLite come into."""
BOTH = 'set -e; "$@" >/dev/null; "$@" >/dev/null'


def backup(site: Site, missing: Missing) -> list[Contender]:
    """Psycopg2 alone, beside the tool it does without."""
    del missing
    server, shop, tools = site.server, site.database("shop"), site.plain_tools
    project = site.project(server.url(shop), DBTASKS_VIA="python")
    yardstick = tool(SAME_ROWS, server, shop, tools, "pg_dump", "-Fc", "-Z1")
    return [
        into_file(yardstick, site.folder / "yardstick.dump"),
        *both("rows backup", project, "--format=rows"),
    ]


def restore(site: Site, missing: Missing) -> list[Contender]:
    """Rows into the tables that are there, in one transaction, beside pg_restore into a new database in one."""
    del missing
    server, shop = site.server, site.database("shop")
    project = site.project(server.url(shop), DBTASKS_VIA="python")
    run(project.task("backup", "--format=rows"))
    archive = site.folder / "in-one.dump"
    run(into_file(tool(IN_ONE, server, shop, server.bin, "pg_dump", "-Fc", "-Z1"), archive).job)

    def fresh() -> None:
        server.drop("yardstick")
        server.create("yardstick")

    yardstick = tool(IN_ONE, server, shop, server.bin, "pg_restore", "-1", "--dbname=yardstick", str(archive))
    flags = ("--file=latest", "--yes", "--skip-safety-backup", "--skip-analyze")
    ours = project.task("restore", *flags)

    def tidy() -> None:
        server.run("VACUUM ANALYZE", shop)
        server.run("CHECKPOINT")

    return [
        Contender(IN_ONE, yardstick.job, before=fresh, after=lambda: server.drop("yardstick")),
        Contender("restore of rows", ours, _load_of_rows, after=tidy),
    ]


def _load_of_rows(ran: Ran) -> Mapping[str, float]:
    """As `_load_and_whole`; the load begins when the tables are locked."""
    starts = {text.split()[0]: second for second, text in reversed(ran.said) if text.split()}
    return {"itself": starts["check"] - starts["load"], "whole": ran.wall_s}


def loaded(name: str, project: Project, server: Server, database: str) -> Contender:
    """The restore of a rows backup into the tables it was made of."""
    flags = ("--file=latest", "--yes", "--skip-safety-backup", "--skip-analyze")

    def tidy() -> None:
        project.forget()
        server.run("VACUUM ANALYZE", database)

    return Contender(name, project.task("restore", *flags), before=lambda: _backed_up(project), after=tidy)


def _backed_up(project: Project) -> None:
    project.forget()
    run(project.task("backup", "--format=rows"))


def diff(site: Site, missing: Missing) -> list[Contender]:
    """Every row of both sides read, beside pg_dump, which reads one side, run twice."""
    del missing
    server, shop = site.server, site.database("shop")
    project = site.project(server.url(shop), DBTASKS_VIA="python")
    dump = tool(TWICE, server, shop, server.bin, "pg_dump")
    twice = Job(["sh", "-c", BOTH, "sh", *dump.job.argv], dump.job.env)
    ours = project.task("diff", "--rows", "--exit-code")
    return [
        Contender(TWICE, twice),
        Contender("comparison row by row", ours, before=lambda: _backed_up(project), after=project.forget),
    ]


def migrate(site: Site, missing: Missing) -> list[Contender]:
    """A SQLite file into an empty database: by pgloader, by COPY of the same rows alone, and by db.migrate."""
    server, source = site.server, site.file("shop")
    project = site.project(f"sqlite:///{source}", DBTASKS_INTO_URL=server.url(ARRIVED))
    ours = project.task("migrate", f"--from={source}", "--to=@", "--yes")

    def fresh() -> None:
        server.drop(ARRIVED)
        server.create(ARRIVED)

    def gone() -> None:
        server.drop(ARRIVED)
        project.forget()

    racing = [(FLOOR, _bare_copy(site, source), _whole), ("db.migrate", ours, _load_of_migration)]
    if loader := shutil.which("pgloader"):
        site.versions["pgloader"] = _version_of(loader)
        # of its default, 100,000 rows that wait, its heap is exhausted by our documents; it is no faster with more
        waiting = ("--with", "prefetch rows = 1000")
        argv = [loader, "--quiet", *waiting, f"sqlite://{source}", server.url(ARRIVED)]
        racing.insert(0, (PGLOADER, Job(argv, clean_environment()), _whole))
    else:
        missing[PGLOADER] = "pgloader is not installed here"
    return [Contender(name, job, parts, before=fresh, after=gone) for name, job, parts in racing]


def _whole(ran: Ran) -> Mapping[str, float]:
    return {"whole": ran.wall_s}


def _load_of_migration(ran: Ran) -> Mapping[str, float]:
    """Tell the load, keys included, from what comes before it and from the proof, by the phases it says."""
    words = [(second, text.split()[0]) for second, text in ran.said if text.split()]
    (started, *_) = [second for second, word in words if word == "create"]
    (ended, *_) = [second for second, word in words if word == "check" and second >= started]
    return {"itself": ended - started, "whole": ran.wall_s}


def _version_of(loader: str) -> str:
    said = subprocess.run([loader, "--version"], check=True, capture_output=True, text=True)
    return said.stdout.split('"')[1]


def _bare_copy(site: Site, source: Path) -> Job:
    """Return psql with tables of text and a COPY of each from a file: nothing is converted, no key made."""
    folder = site.folder / "bare"
    folder.mkdir(exist_ok=True)
    script = ["BEGIN;"]
    with closing(sqlite3.connect(source)) as connection:
        query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!'"
        for (name,) in connection.execute(query).fetchall():
            rows = connection.execute(f'SELECT * FROM "{name}"')
            columns = ", ".join(f'"{column[0]}" text' for column in rows.description)
            with (folder / f"{name}.csv").open("w", newline="") as stream:
                csv.writer(stream).writerows(map(_fields, rows))
            script += [f'CREATE TABLE "{name}" ({columns});']
            script += [f"\\copy \"{name}\" FROM '{folder / name}.csv' (FORMAT csv)"]
    (folder / "load.sql").write_text("\n".join((*script, "COMMIT;")))
    arguments = ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(folder / "load.sql"))
    return tool(FLOOR, site.server, ARRIVED, site.server.bin, *arguments).job


def _fields(row: tuple[object, ...]) -> Iterator[object]:
    for value in row:
        yield f"\\x{value.hex()}" if isinstance(value, bytes) else value
