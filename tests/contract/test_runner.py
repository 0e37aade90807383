"""What every runner promises, proved with real child processes."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dbtasks.errors import CommandFailed, OperationFailed, ToolMissing, UsageError
from dbtasks.events import CommandStarted, Event
from dbtasks.models import PostgresTarget
from dbtasks.runners import Command, ToolVersion
from dbtasks.runners.host import HostRunner, login_environment
from dbtasks.runners.private import private_folder
from dbtasks.secrets import Secret
from tests.fix_postgres import PASSWORD, PgServer

posix = pytest.mark.skipif(os.name != "posix", reason="signals and descriptors as POSIX has them")
MakeTool = Callable[[str], HostRunner]


@pytest.fixture
def make_tool(tmp_path: Path) -> MakeTool:
    """Write a program called `tool` and return a runner that knows only its folder."""

    def make(program: str) -> HostRunner:
        path = tmp_path / "tool"
        path.write_text(f"#!{sys.executable}\nimport os, sys, time, signal\n{program}\n")
        path.chmod(0o755)
        return HostRunner(pg_bin=tmp_path)

    return make


@pytest.fixture
def living(tmp_path: Path) -> Iterator[Callable[[], list[int]]]:
    """List the processes whose command line names this test's folder."""

    def look() -> list[int]:
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if os.fsencode(tmp_path) in entry.read_bytes():
                    found.append(int(entry.parent.name))
            except OSError:
                continue
        return found

    yield look


def test_the_output_of_a_tool_is_read_to_its_end(make_tool: MakeTool) -> None:
    runner = make_tool("sys.stdout.buffer.write(bytes(range(256)) * 20_000)")
    with runner.reading(Command("tool")) as source:
        read = source.read()
    assert read == bytes(range(256)) * 20_000


def test_a02_a_tool_that_ends_badly_after_all_its_output_raises_on_leaving(make_tool: MakeTool) -> None:
    runner = make_tool("print('all there'); print('but: broken', file=sys.stderr); sys.exit(3)")
    with (
        pytest.raises(CommandFailed, match=r"tool exited 3 \(host\)") as caught,
        runner.reading(Command("tool")) as source,
    ):
        assert source.read() == b"all there\n"
    assert caught.value.details == "but: broken"
    assert caught.value.returncode == 3


@posix
def test_a02_a_tool_killed_midway_is_a_failure(make_tool: MakeTool) -> None:
    runner = make_tool("print('half', flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    with (
        pytest.raises(CommandFailed, match="killed by signal 9"),
        runner.reading(Command("tool")) as source,
    ):
        assert source.read() == b"half\n"


def test_three_megabytes_of_messages_do_not_block_the_tool(make_tool: MakeTool) -> None:
    runner = make_tool("sys.stderr.write('x' * 3_000_000 + 'the end'); sys.stderr.flush(); print('data')")
    with runner.reading(Command("tool")) as source:
        assert source.read() == b"data\n"
    assert source.said.endswith("the end")
    assert len(source.said) <= 16 << 10


def test_warnings_of_a_tool_that_ended_well_are_kept(make_tool: MakeTool) -> None:
    with make_tool("print('note: odd', file=sys.stderr)").reading(Command("tool")) as source:
        assert source.read() == b""
    assert source.said == "note: odd"


@posix
def test_leaving_by_an_exception_leaves_no_child_not_even_a_stubborn_one(
    make_tool: MakeTool, living: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dbtasks.runners.host.PATIENCE_SECONDS", 0.3)
    runner = make_tool(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); os.fork(); print('up', flush=True); time.sleep(600)"
    )
    with pytest.raises(ZeroDivisionError), runner.reading(Command("tool")) as source:
        assert source.read(3) == b"up\n"
        assert living()
        raise ZeroDivisionError
    assert living() == []


@posix
def test_leaving_early_ends_a_tool_that_would_write_for_ever(
    make_tool: MakeTool, living: Callable[[], list[int]]
) -> None:
    runner = make_tool("while True: sys.stdout.buffer.write(b'x' * 65536)")
    with pytest.raises(CommandFailed), runner.reading(Command("tool")) as source:
        source.read(10)
    assert living() == []


def test_input_reaches_the_tool_and_is_closed_on_a_clean_exit(make_tool: MakeTool, tmp_path: Path) -> None:
    runner = make_tool("open(sys.argv[1], 'wb').write(sys.stdin.buffer.read())")
    with runner.writing(Command("tool", (str(tmp_path / "copy"),))) as sink:
        sink.write(b"a" * 200_000)
        sink.write(b"\0b")
    assert (tmp_path / "copy").read_bytes() == b"a" * 200_000 + b"\0b"


def test_d05_an_exception_kills_the_tool_before_it_sees_an_end_of_input(
    make_tool: MakeTool, tmp_path: Path
) -> None:
    runner = make_tool("sys.stdin.buffer.read(); open(sys.argv[1], 'w').write('took the end for a commit')")
    with pytest.raises(ZeroDivisionError), runner.writing(Command("tool", (str(tmp_path / "mark"),))) as sink:
        sink.write(b"half")
        raise ZeroDivisionError
    assert not (tmp_path / "mark").exists()


@posix
def test_writing_to_a_tool_that_has_ended_says_why_it_ended(make_tool: MakeTool) -> None:
    runner = make_tool("print('cannot go on', file=sys.stderr); sys.exit(4)")
    with pytest.raises(CommandFailed, match="exited 4") as caught, runner.writing(Command("tool")) as sink:
        while True:
            sink.write(b"x" * 65536)
    assert caught.value.details == "cannot go on"


def test_a_conversation_is_possible_where_the_output_is_asked_for(make_tool: MakeTool) -> None:
    runner = make_tool("for line in sys.stdin: print(line.strip()[::-1], flush=True)")
    with runner.writing(Command("tool"), output=True) as both:
        for word, answer in ((b"abc\n", b"cba\n"), (b"xyz\n", b"zyx\n")):
            both.write(word)
            both.flush()
            assert both.read_line() == answer


@posix
def test_a_tool_can_be_ended_from_another_thread(make_tool: MakeTool) -> None:
    runner = make_tool("time.sleep(600)")
    with pytest.raises(CommandFailed, match="killed by signal 9"), runner.reading(Command("tool")) as source:
        threading.Timer(0.1, source.kill).start()
        assert source.read() == b""


@posix
def test_h07_a_lock_is_inherited_and_nothing_else_is(make_tool: MakeTool, tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT, 0o600)
    os.set_inheritable(other, True)
    program = "print(*[n for n in map(int, sys.argv[1:]) if os.path.exists(f'/dev/fd/{n}')])"
    try:
        said = make_tool(program).run(Command("tool", (str(lock), str(other)), inherit=(lock,)))
    finally:
        os.close(lock)
        os.close(other)
    assert said == f"{lock}\n"


@posix
def test_a10_the_tool_leads_a_session_of_its_own_so_that_ctrl_c_reaches_us_first(make_tool: MakeTool) -> None:
    said = make_tool("print(os.getsid(0) == os.getpid())").run(Command("tool"))
    assert said == "True\n"


def test_g18_nothing_of_our_pg_environment_reaches_the_tool(
    make_tool: MakeTool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "PGHOST",
        "PGHOSTADDR",
        "PGSERVICE",
        "PGOPTIONS",
        "PGPASSWORD",
        "PGPORT",
        "PSQLRC",
        "SECRET_KEY",
    ):
        monkeypatch.setenv(name, "stray")
    said = make_tool("print(sorted(n for n, v in os.environ.items() if v == 'stray'))").run(Command("tool"))
    assert said == "[]\n"


def test_g04_a_secret_is_neither_in_the_arguments_nor_in_the_event_nor_in_the_failure(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text(
        f"#!{sys.executable}\nimport os, sys\n"
        "print(open(f'/proc/{os.getpid()}/cmdline').read())\n"
        "sys.stderr.write('login with ' + os.environ['PGX'] + ' failed')\nsys.exit(1)\n"
    )
    tool.chmod(0o755)
    seen: list[Event] = []
    runner = HostRunner(pg_bin=tmp_path, secrets=[Secret("canary-1")], on_event=seen.append)
    command = Command("tool", ("--note=canary-1",), env={"PGX": Secret("canary-2")})
    with pytest.raises(CommandFailed) as caught, runner.reading(command) as source:
        assert b"canary-2" not in source.read()
    assert seen == [CommandStarted("tool '--note=***'", "host")] or seen == [
        CommandStarted("tool --note=***", "host")
    ]
    assert caught.value.details == "login with *** failed"


def test_only_pg_bin_is_searched_when_it_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 12.1'\n")
    (elsewhere / "pg_dump").chmod(0o755)
    monkeypatch.setenv("PATH", f"{elsewhere}{os.pathsep}{os.environ['PATH']}")
    assert HostRunner().version("pg_dump") == ToolVersion(12, 1)
    with pytest.raises(ToolMissing, match=r"not found in pg_bin") as caught:
        HostRunner(pg_bin=tmp_path).version("pg_dump")
    assert "pg_bin" in caught.value.hint


def test_a_program_that_is_not_postgresqls_is_not_taken_for_it(make_tool: MakeTool) -> None:
    with pytest.raises(ToolMissing, match="is not PostgreSQL's tool"):
        make_tool("print('tool 1.0')").version("tool")


@posix
def test_a_file_that_cannot_be_run_is_named(tmp_path: Path) -> None:
    (tmp_path / "tool").write_bytes(b"\x7fELF nonsense")
    (tmp_path / "tool").chmod(0o755)
    with pytest.raises(OperationFailed, match="could not be started"):
        HostRunner(pg_bin=tmp_path).run(Command("tool"))


def test_a_nul_in_an_argument_is_a_usage_error(make_tool: MakeTool) -> None:
    with pytest.raises(UsageError, match="NUL"):
        make_tool("").run(Command("tool", ("a\0b",)))


@posix
def test_g09_the_password_file_is_private_and_gone_afterwards(pg: PgServer) -> None:
    target = pg.target()
    with login_environment(target, libpq={}, connect_timeout=10) as variables:
        path = Path(variables["PGPASSFILE"])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert PASSWORD not in str(variables)
        runner = HostRunner(pg_bin=pg.bin, environment=variables)
        command = Command("psql", ("-X", "-w", "-qAtc", "SELECT 1"), env={"PGDATABASE": "postgres"})
        assert runner.run(command) == "1\n"
    assert not path.parent.exists()


def test_g09_a_password_with_a_line_break_is_refused_without_showing_it() -> None:
    target = PostgresTarget("db", host="h", user="u", password=Secret("two\nlines"))
    with (
        pytest.raises(UsageError, match="line break") as caught,
        login_environment(target, libpq={}, connect_timeout=10),
    ):
        pass
    assert "lines" not in caught.value.message.replace("line break", "")


@pytest.mark.fault
@posix
def test_g09_the_password_file_of_a_killed_run_is_removed_by_the_next_and_a_living_ones_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = (
        "import os, signal, sys, tempfile; tempfile.tempdir = sys.argv[1]\n"
        "from dbtasks.runners.private import private_folder, write_private\n"
        "with private_folder() as folder:\n"
        "    write_private(folder / 'passfile', 'x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    (dead,) = tmp_path.iterdir()
    assert (dead / "passfile").exists()
    with private_folder() as living, private_folder() as second:
        assert sorted(tmp_path.iterdir()) == sorted((living, second))
    assert list(tmp_path.iterdir()) == []


def test_keywords_of_the_url_reach_the_tools_even_those_without_a_variable(pg: PgServer) -> None:
    target = PostgresTarget(
        "postgres",
        host=pg.host,
        port=pg.port,
        user=pg.user,
        password=Secret(pg.password),
        options={"sslmode": "disable", "keepalives_idle": "77", "application_name": "from the url"},
    )
    with login_environment(target, libpq={}, connect_timeout=10) as variables:
        assert variables["PGSSLMODE"] == "disable"
        command = Command(
            "psql", ("-X", "-w", "-qAtc", "SHOW application_name"), env={"PGDATABASE": "postgres"}
        )
        assert HostRunner(pg_bin=pg.bin, environment=variables).run(command) == "from the url\n"
        assert "keepalives_idle=77" in Path(variables["PGSERVICEFILE"]).read_text()


@pytest.mark.fault
@posix
def test_a09_when_we_are_killed_a_tool_that_writes_to_us_ends_by_itself(
    make_tool: MakeTool, tmp_path: Path, living: Callable[[], list[int]]
) -> None:
    make_tool("while True: sys.stdout.buffer.write(b'x' * 65536)")
    parent = (
        "import sys, pathlib; from dbtasks.runners import Command; from dbtasks.runners.host import HostRunner\n"
        "with HostRunner(pg_bin=pathlib.Path(sys.argv[1])).reading(Command('tool')) as source:\n"
        "    print(len(source.read(1 << 20)), flush=True)\n"
        "    while True: source.read(1 << 20)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", parent, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout
    with process:
        process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    for _ in range(100):
        if not living():
            break
        time.sleep(0.05)
    assert living() == []
