"""Which commands run side by side in each group of `cases`; the first of each is its yardstick."""

from __future__ import annotations

import shutil
import sqlite3
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from .figures import BIG, TENTH, WIDE
from .measure import Job, Ran, run
from .peers import DjangoProject
from .project import Project, clean_environment
from .rounds import Contender
from .servers import Server, Unavailable
from .site import Site

__all__ = ["CONTENDERS", "Missing", "More", "contenders"]

Missing = dict[str, str]
"""Contenders that cannot run here, with the reason."""
More = Callable[[Site, Missing], list[Contender]]
PIPE = 'set -o pipefail; "$1" | "$2" >"$3"'


def contenders(group: str, site: Site) -> tuple[list[Contender], Missing]:
    """Build what a group needs and return its contenders.

    Raises:
        Unavailable: nothing of it can run here.
    """
    missing: Missing = {}
    return CONTENDERS[group](site, missing), missing


# -- parts of contenders -----------------------------------------------------------


def _task(name: str, project: Project, *flags: str) -> Contender:
    """A whole db.backup, in a store that is empty before and after."""
    job = project.task("backup", *flags)
    return Contender(name, job, size=project.newest_bytes, before=project.forget, after=project.forget)


def _itself(name: str, project: Project, *flags: str) -> Contender:
    """The dump alone, by the seconds it says itself."""

    def parts(ran: Ran) -> Mapping[str, float]:
        return {"itself": project.seconds_said(), "whole": ran.wall_s}

    return Contender(name, project.itself(*flags), parts, before=project.forget, after=project.forget)


def _both(name: str, project: Project, *flags: str) -> list[Contender]:
    return [_itself(f"{name} itself", project, *flags), _task(name, project, *flags)]


def _tool(name: str, server: Server, database: str, tools: Path, *arguments: str) -> Contender:
    """One of PostgreSQL's own tools, its output thrown away."""
    environment = {**clean_environment(), **server.environment(database)}
    return Contender(name, Job([str(tools / arguments[0]), *arguments[1:]], environment))


def _into_file(contender: Contender, path: Path) -> Contender:
    job = Job(contender.job.argv, contender.job.env, stdout=path)
    gone = _remover(path)
    return Contender(contender.name, job, size=lambda: path.stat().st_size, before=gone, after=gone)


def _remover(path: Path) -> Callable[[], None]:
    return lambda: path.unlink(missing_ok=True)


def _piped(site: Site, database: str, packer: str, missing: Missing) -> list[Contender]:
    """`pg_dump | gzip`, as scripts have it."""
    name = f"pg_dump | {packer}"
    if shutil.which(packer) is None or shutil.which("bash") is None:
        missing[name] = f"{packer} is not installed here"
        return []
    target = site.folder / f"piped.{packer}"
    argv = ["bash", "-c", PIPE, "bash", str(site.server.bin / "pg_dump"), packer, str(target)]
    environment = {**clean_environment(), **site.server.environment(database)}
    gone = _remover(target)
    return [
        Contender(name, Job(argv, environment), size=lambda: target.stat().st_size, before=gone, after=gone)
    ]


# -- groups --------------------------------------------------------------------------


def _dump(site: Site, missing: Missing) -> list[Contender]:
    server, shop = site.server, site.database("shop")
    project = site.project(server.url(shop), server.bin, DBTASKS_VIA="host")
    return [
        _tool("pg_dump, plain, to null", server, shop, server.bin, "pg_dump"),
        *_both(".sql.gz", project, "--format=sql"),
        *_both(".dump with zstd", project, "--format=custom"),
        *_both(".dir.tar, two jobs", project, "--format=directory", "--jobs=2"),
        *_piped(site, shop, "gzip", missing),
        *_piped(site, shop, "pigz", missing),
    ]


def _gzip(site: Site, missing: Missing) -> list[Contender]:
    del missing
    server, shop, tools = site.server, site.database("shop"), site.plain_tools
    project = site.project(server.url(shop), tools, DBTASKS_VIA="host")
    yardstick = _tool("pg_dump -Fc -Z1", server, shop, tools, "pg_dump", "-Fc", "-Z1")
    return [
        _into_file(yardstick, site.folder / "yardstick.dump"),
        *_both(".dump without zstd", project, "--format=custom"),
    ]


def _container(site: Site, missing: Missing) -> list[Contender]:
    del missing
    server, name = site.boxed("shop")
    project = site.project(server.url("shop"), server.bin, DBTASKS_CONTAINER=name)
    via = ("--via=container", "--format=custom")
    return [
        _tool("pg_dump outside, plain, to null", server, "shop", server.bin, "pg_dump"),
        *_both("container, compressed inside", project, *via),
        *_both("container, uncompressed", project, *via, "--compression=none"),
        _itself("exec call", project, "--via=container", "--exec-call"),
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
        _task("db.backup", project),
    ]


def _restore(site: Site, missing: Missing) -> list[Contender]:
    del missing
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

    yardstick = _tool(
        "pg_restore -1", server, shop, server.bin, "pg_restore", "-1", "--dbname=yardstick", str(archive)
    )
    flags = ("--file=latest", "--yes", "--skip-safety-backup", "--skip-analyze")
    ours = project.task("restore", *flags)
    return [
        Contender(yardstick.name, yardstick.job, before=fresh, after=lambda: server.drop("yardstick")),
        Contender("restore of a .dump", ours, _load_and_whole, after=tidy),
    ]


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
    gone = _remover(copy)
    racing = [("cp", [*CP, str(source), str(copy)])]
    if shutil.which("sqlite3"):
        racing.append(("sqlite3 .backup", ["sqlite3", str(source), f".backup '{copy}'"]))
    else:
        missing["sqlite3 .backup"] = "sqlite3 is not installed here"
    return [
        Contender(name, Job(argv, clean_environment()), before=gone, after=gone) for name, argv in racing
    ] + _both("SQLite backup", project)


def _small(site: Site, missing: Missing) -> list[Contender]:
    del missing
    return _beside_tool(site, "small", "small")


def _many(site: Site, missing: Missing) -> list[Contender]:
    del missing
    return _beside_tool(site, "many", "2,000 tables")


def _beside_tool(site: Site, database: str, label: str) -> list[Contender]:
    server, name = site.server, site.database(database)
    project = site.project(server.url(name), server.bin)
    yardstick = _tool(f"pg_dump -Fc, {label}", server, name, server.bin, "pg_dump", "-Fc")
    return [_into_file(yardstick, site.folder / "yardstick.dump"), _task(f"db.backup, {label}", project)]


def _memory(site: Site, missing: Missing) -> list[Contender]:
    server, found = site.server, []
    for label, name in ((BIG, "shop"), (TENTH, "tenth"), (WIDE, "wide")):
        database = site.database(name)
        project = site.project(server.url(database), server.bin, DBTASKS_VIA="host")
        for route, flags in (
            (".sql.gz", ("--format=sql",)),
            (".dump", ("--format=custom",)),
            (".dir.tar", ("--format=directory", "--jobs=2")),
        ):
            found.append(_task(f"{route}, {label}", project, *flags))
        try:
            boxed, container = site.boxed(name)
        except Unavailable as exc:
            missing[f"container, {label}"] = str(exc)
        else:
            project = site.project(boxed.url(name), boxed.bin, DBTASKS_CONTAINER=container)
            found.append(_task(f"container, {label}", project, "--via=container"))
        found.append(_task(f"SQLite, {label}", site.project(f"sqlite:///{site.file(name)}")))
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
    "container": _container,
    "peer": _peer,
    "sqlite": _sqlite,
    "small": _small,
    "many": _many,
    "memory": _memory,
    "list": _list,
    "restore": _restore,
}
