"""Parts that contenders are made of: our tasks, PostgreSQL's tools, files that come and go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .measure import Job, Ran
from .project import Project, clean_environment
from .rounds import Contender
from .servers import Server
from .site import Site

__all__ = ["Missing", "More", "both", "into_file", "itself", "remover", "task", "tool"]

Missing = dict[str, str]
"""Contenders that cannot run here, with the reason."""
More = Callable[[Site, Missing], list[Contender]]


def task(name: str, project: Project, *flags: str) -> Contender:
    """A whole db.backup, in a store that is empty before and after."""
    job = project.task("backup", *flags)
    return Contender(name, job, size=project.newest_bytes, before=project.forget, after=project.forget)


def itself(name: str, project: Project, *flags: str) -> Contender:
    """The dump alone, by the seconds it says itself."""

    def parts(ran: Ran) -> Mapping[str, float]:
        return {"itself": project.seconds_said(), "whole": ran.wall_s}

    return Contender(name, project.itself(*flags), parts, before=project.forget, after=project.forget)


def both(name: str, project: Project, *flags: str) -> list[Contender]:
    """The dump alone, and the whole task."""
    return [itself(f"{name} itself", project, *flags), task(name, project, *flags)]


def tool(name: str, server: Server, database: str, tools: Path, *arguments: str) -> Contender:
    """One of PostgreSQL's own tools, its output thrown away."""
    environment = {**clean_environment(), **server.environment(database)}
    return Contender(name, Job([str(tools / arguments[0]), *arguments[1:]], environment))


def into_file(contender: Contender, path: Path) -> Contender:
    """The same with its output in a file, which goes again."""
    job = Job(contender.job.argv, contender.job.env, stdout=path)
    gone = remover(path)
    return Contender(contender.name, job, size=lambda: path.stat().st_size, before=gone, after=gone)


def remover(path: Path) -> Callable[[], None]:
    """Return what removes a file, if it is there."""
    return lambda: path.unlink(missing_ok=True)
