"""The context of the `docker` command decides which engine is asked, as DOCKER_HOST does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dbtasks.errors import RouteUnavailable
from dbtasks.runners.docker_door import docker_client as opened
from dbtasks.runners.docker_door import engine_host
from tests.conftest import Project
from tests.docker.test_container_route import run
from tests.docker.test_right_container import Tunnel
from tests.fix_docker import Box


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration of the `docker` command of one's own, with no DOCKER_HOST in the way."""
    folder = tmp_path / "docker"
    folder.mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(folder))
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    return folder


@pytest.fixture
def tunnel(docker_client: Any) -> Iterator[Tunnel]:
    made = Tunnel(docker_client.api.get_adapter(docker_client.api.base_url).socket_path)
    yield made
    made.cut()


def add(config: Path, name: str, host: str) -> None:
    """Do what `docker context create` does."""
    folder = config / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    folder.mkdir(parents=True)
    endpoint = {"Host": host, "SkipTLSVerify": False}
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    (folder / "meta.json").write_text(json.dumps(meta))


def use(config: Path, name: str) -> None:
    """Do what `docker context use` does."""
    (config / "config.json").write_text(json.dumps({"currentContext": name}))


def test_the_context_in_use_says_on_which_machine_the_engine_is(config: Path) -> None:
    add(config, "prod", "tcp://192.0.2.1:2375")
    assert engine_host() == ""
    use(config, "prod")
    assert engine_host() == "192.0.2.1"


def test_docker_context_is_above_the_one_in_use_and_docker_host_above_both(config: Path) -> None:
    add(config, "prod", "ssh://me@192.0.2.1")
    add(config, "staging", "tcp://192.0.2.2:2375")
    use(config, "prod")
    assert engine_host({"DOCKER_CONTEXT": "staging"}) == "192.0.2.2"
    assert engine_host({"DOCKER_CONTEXT": "default"}) == ""
    assert engine_host({"DOCKER_CONTEXT": "staging", "DOCKER_HOST": "tcp://192.0.2.3:1"}) == "192.0.2.3"


@pytest.mark.parametrize("broken", [None, "{", '{"Name": "prod", "Metadata": {}, "Endpoints": {}}'])
def test_a_context_that_is_not_there_is_named_and_no_other_engine_is_asked(
    config: Path, broken: str | None
) -> None:
    use(config, "prod")
    if broken:
        add(config, "prod", "")
        next(config.rglob("meta.json")).write_text(broken)
    with pytest.raises(RouteUnavailable, match="context prod") as caught, opened():
        pass
    assert "docker context use default" in caught.value.hint


def test_an_engine_nobody_answers_at_is_told_with_its_context(config: Path) -> None:
    add(config, "prod", "tcp://me:secret@127.0.0.1:1")
    use(config, "prod")
    with pytest.raises(RouteUnavailable) as caught, opened():
        pass
    assert "tcp://***@127.0.0.1:1 (Docker context prod)" in caught.value.message
    assert "docker context use default" in caught.value.hint


@pytest.mark.long
def test_a_url_for_this_machine_leads_to_no_container_of_a_context_elsewhere(
    config: Path, tunnel: Tunnel, start_box: Callable[..., Box], project: Project
) -> None:
    project.mount()
    box = start_box()
    # the loopback, in a spelling that names another machine to who does not resolve it
    add(config, "elsewhere", tunnel.url.replace("127.0.0.1", "127.1"))
    add(config, "here", tunnel.url)
    asked = {"DATABASE_URL": box.url(), "DOCKER_HOST": "", "DOCKER_CONFIG": str(config)}
    asked["DBTASKS_CONTAINER"] = str(box.container.name)
    command = ("db.backup", "--via=container", "--json")
    use(config, "elsewhere")
    refused = run(project, *command, **asked)
    assert refused.returncode == 3, refused.stdout
    assert "does not lead to container" in refused.stdout
    assert "on 127.1" in refused.stdout
    use(config, "here")
    taken = run(project, *command, **asked)
    assert taken.returncode == 0, taken.stderr
    assert json.loads(taken.stdout)["backup"]["route"] == "container"
