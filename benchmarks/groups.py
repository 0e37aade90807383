"""Which commands run side by side in each group of `cases`; the first of each is its yardstick."""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from . import moved
from .cases import SCRIPTS
from .contenders import Missing, More, both, into_file, itself, remover, task, tool
from .figures import BIG, TENTH, WIDE
from .measure import Job, Ran, run
from .peers import DjangoProject
from .project import REPOSITORY, clean_environment
from .rounds import Contender
from .servers import Unavailable
from .site import Site

__all__ = ["CONTENDERS", "Missing", "More", "contenders"]

PIPE = 'set -o pipefail; "$1" | "$2" >"$3"'


def contenders(group: str, site: Site) -> tuple[list[Contender], Missing]:
    """Build what a group needs and return its contenders.

    Raises:
        Unavailable: nothing of it can run here.
    """
    missing: Missing = {}
    return CONTENDERS[group](site, missing), missing


# -- groups --------------------------------------------------------------------------


def _piped(site: Site, database: str, packer: str, missing: Missing) -> list[Contender]:
    """`pg_dump | gzip`, as scripts have it."""
    name = f"pg_dump | {packer}"
    if shutil.which(packer) is None or shutil.which("bash") is None:
        missing[name] = f"{packer} is not installed here"
        return []
    target = site.folder / f"piped.{packer}"
    argv = ["bash", "-c", PIPE, "bash", str(site.server.bin / "pg_dump"), packer, str(target)]
    environment = {**clean_environment(), **site.server.environment(database)}
    gone = remover(target)
    return [
        Contender(name, Job(argv, environment), size=lambda: target.stat().st_size, before=gone, after=gone)
    ]


def _dump(site: Site, missing: Missing) -> list[Contender]:
    server, shop = site.server, site.database("shop")
    project = site.project(server.url(shop), server.bin, DBTASKS_VIA="host")
    return [
        tool("pg_dump, plain, to null", server, shop, server.bin, "pg_dump"),
        *both(".sql.gz", project, "--format=sql"),
        *both(".dump with zstd", project, "--format=custom"),
        *both(".dir.tar, two jobs", project, "--format=directory", "--jobs=2"),
        *_piped(site, shop, "gzip", missing),
        *_piped(site, shop, "pigz", missing),
    ]


def _gzip(site: Site, missing: Missing) -> list[Contender]:
    del missing
    server, shop, tools = site.server, site.database("shop"), site.plain_tools
    project = site.project(server.url(shop), tools, DBTASKS_VIA="host")
    yardstick = tool("pg_dump -Fc -Z1", server, shop, tools, "pg_dump", "-Fc", "-Z1")
    return [
        into_file(yardstick, site.folder / "yardstick.dump"),
        *both(".dump without zstd", project, "--format=custom"),
    ]


def _container(site: Site, missing: Missing) -> list[Contender]:
    del missing
    server, name = site.boxed("shop")
    project = site.project(server.url("shop"), server.bin, DBTASKS_CONTAINER=name)
    via = ("--via=container", "--format=custom")
    return [
        tool("pg_dump outside, plain, to null", server, "shop", server.bin, "pg_dump"),
        *both("container, compressed inside", project, *via),
        *both("container, uncompressed", project, *via, "--compression=none"),
        itself("exec call", project, "--via=container", "--exec-call"),
    ]


def _peer(site: Site, missing: Missing) -> list[Contender]:
    del missing
    server, shop = site.server, site.database("shop")
    django = DjangoProject(site.folder / "django-project", site.django_python, server, shop)
    project = site.project(server.url(shop), server.bin)
    return [
        Contender(
            "django-dbbackup, default settings",
            django.job(),
            size=django.archive_bytes,
            before=django.forget,
            after=django.forget,
        ),
        task("db.backup", project),
    ]


def _restore(site: Site, missing: Missing) -> list[Contender]:
    server, shop = site.server, site.database("shop")
    project = site.project(server.url(shop), server.bin, DBTASKS_VIA="host")
    run(project.task("backup"))
    (archive,) = project.folder.glob("backups/manual/*.dump")

    def fresh() -> None:
        server.drop("yardstick")
        server.create("yardstick")

    def tidy() -> None:
        for (name,) in server.run(f"SELECT datname FROM pg_database WHERE datname LIKE '{shop}\\_\\_%'"):
            server.run(f'DROP DATABASE "{name}" WITH (FORCE)')
        # what was loaded has never been read: whoever comes first would pay for it
        server.run("VACUUM ANALYZE", shop)
        server.run("CHECKPOINT")

    yardstick = tool(
        "pg_restore -1", server, shop, server.bin, "pg_restore", "-1", "--dbname=yardstick", str(archive)
    )
    latest = ("--file=latest", "--yes")
    ours = project.task("restore", *latest, "--skip-safety-backup", "--skip-analyze")
    return [
        Contender(yardstick.name, yardstick.job, before=fresh, after=lambda: server.drop("yardstick")),
        Contender("restore of a .dump", ours, _load_and_whole, after=tidy),
        *_dbrestore(site, missing, shop, tidy),
        Contender("db.restore, default settings", project.task("restore", *latest), after=tidy),
    ]


def _dbrestore(
    site: Site, missing: Missing, database: str, tidy: Callable[[], object]
) -> Iterator[Contender]:
    """The peer's restore, over the same database, of the backup it makes of it by default."""
    name = "django-dbbackup's dbrestore, default settings"
    try:
        python = site.django_python
    except Unavailable as exc:
        missing[name] = str(exc)
        return
    django = DjangoProject(site.folder / "django-restores", python, site.server, database)
    run(django.job())
    yield Contender(name, django.job("dbrestore"), after=tidy)


def _said(path: Path) -> Callable[[Ran], Mapping[str, float]]:
    """Take the seconds a command tells of its own work."""
    return lambda ran: {"itself": json.loads(path.read_text())["seconds"], "whole": ran.wall_s}


def _gate(site: Site, missing: Missing) -> list[Contender]:
    """The reading of a script beside all that psql itself does to load it, the server's work not counted.

    Scripts of INSERTs are small ones: psql and the server take a minute over what COPY does in a second, and
    both sides of the ratio grow with the script alike.
    """
    del missing
    server, racing = site.server, []
    for what, database, flags in zip(
        SCRIPTS, ("shop", "fiftieth", "letters"), ((), ("--inserts",), ("--inserts",)), strict=True
    ):
        script = site.folder / f"{database}.sql"
        site.script(script, database, *flags)

        def fresh() -> None:
            server.drop("yardstick")
            server.create("yardstick")

        arguments = ("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script))
        job = tool(f"psql, {what}", server, "yardstick", server.bin, *arguments).job
        said = site.folder / f"{database}.said.json"
        argv = [sys.executable, "-m", "benchmarks.scan", str(script)]
        ours = Job(argv, clean_environment(), REPOSITORY, stdout=said)
        racing += [
            Contender(f"psql, {what}", job, before=fresh, after=lambda: server.drop("yardstick")),
            Contender(f"gate, {what}", ours, _said(said)),
        ]
    return racing


def _load_and_whole(ran: Ran) -> Mapping[str, float]:
    """Tell the load from the reading before and the checks and the swap after it, by the phases it says."""
    starts = {text.split()[0]: second for second, text in reversed(ran.said) if text.split()}
    return {"itself": starts["check"] - starts["create"], "whole": ran.wall_s}


CP = ("cp", "--reflink=never") if sys.platform == "linux" else ("cp",)
"""A clone of the blocks is no copy."""


def _sqlite(site: Site, missing: Missing) -> list[Contender]:
    source, copy = site.file("shop"), site.folder / "copy.db"
    project = site.project(f"sqlite:///{source}")
    site.versions["SQLite"] = sqlite3.sqlite_version
    gone = remover(copy)
    racing = [("cp", [*CP, str(source), str(copy)])]
    if shutil.which("sqlite3"):
        racing.append(("sqlite3 .backup", ["sqlite3", str(source), f".backup '{copy}'"]))
    else:
        missing["sqlite3 .backup"] = "sqlite3 is not installed here"
    return [
        Contender(name, Job(argv, clean_environment()), before=gone, after=gone) for name, argv in racing
    ] + both("SQLite backup", project)


def _small(site: Site, missing: Missing) -> list[Contender]:
    del missing
    return _beside_tool(site, "small", "small")


def _many(site: Site, missing: Missing) -> list[Contender]:
    del missing
    return _beside_tool(site, "many", "2,000 tables")


def _beside_tool(site: Site, database: str, label: str) -> list[Contender]:
    server, name = site.server, site.database(database)
    project = site.project(server.url(name), server.bin)
    yardstick = tool(f"pg_dump -Fc, {label}", server, name, server.bin, "pg_dump", "-Fc")
    return [into_file(yardstick, site.folder / "yardstick.dump"), task(f"db.backup, {label}", project)]


def _memory(site: Site, missing: Missing) -> list[Contender]:
    server, found = site.server, []
    for label, name in ((BIG, "shop"), (TENTH, "tenth"), (WIDE, "wide")):
        database = site.database(name)
        project = site.project(server.url(database), server.bin, DBTASKS_VIA="host")
        for route, flags in (
            (".sql.gz", ("--format=sql",)),
            (".dump", ("--format=custom",)),
            (".dir.tar", ("--format=directory", "--jobs=2")),
            ("rows backup", ("--format=rows", "--via=python")),
        ):
            found.append(task(f"{route}, {label}", project, *flags))
        python = site.project(server.url(database), DBTASKS_VIA="python")
        found.append(moved.loaded(f"restore of rows, {label}", python, server, database))
        try:
            boxed, container = site.boxed(name)
        except Unavailable as exc:
            missing[f"container, {label}"] = str(exc)
        else:
            project = site.project(boxed.url(name), boxed.bin, DBTASKS_CONTAINER=container)
            found.append(task(f"container, {label}", project, "--via=container"))
        found.append(task(f"SQLite, {label}", site.project(f"sqlite:///{site.file(name)}")))
    return found


def _list(site: Site, missing: Missing) -> list[Contender]:
    del missing
    empty = "from invoke import Collection, task\n\n@task\ndef nothing(c):\n    pass\n\nns = Collection(nothing)\n"
    mounted = f"{empty}\nimport dbtasks\n\nns.add_collection(dbtasks, name='db')\n"
    found = []
    for label, text in (("empty", empty), ("mounted", mounted)):
        folder = site.folder / f"list-{label}"
        folder.mkdir()
        (folder / "tasks.py").write_text(text)
        argv = [sys.executable, "-m", "invoke", "--list"]
        found.append(Contender(f"invoke --list, {label}", Job(argv, clean_environment(), folder)))
    return found


CONTENDERS: Mapping[str, More] = {
    "dump": _dump,
    "gzip": _gzip,
    "rows": moved.backup,
    "rows-restore": moved.restore,
    "rows-diff": moved.diff,
    "migrate": moved.migrate,
    "container": _container,
    "peer": _peer,
    "sqlite": _sqlite,
    "small": _small,
    "many": _many,
    "memory": _memory,
    "list": _list,
    "restore": _restore,
    "gate": _gate,
}
