"""A server that trusts nobody, not even inside its container: the password goes in as a private file and out again."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote

import pytest

from dbtasks.engines.routes import open_engine
from dbtasks.settings import load_settings
from tests.conftest import Project
from tests.docker.test_container_route import FILL, labels, left_inside, run
from tests.fix_docker import PASSWORD, Box

pytestmark = pytest.mark.long

CANARY = "canary: \\ 'in' a/pässword@%41"
"""Of a role of its own: that of the image's variables is in every process' environment inside."""
PIECES = ("ssword@%41", quote("ssword@%41", safe=""))
"""The end of it, as it stands in a text whatever was done to quotes, backslashes and letters with dots."""
SCRAM = "local all postgres trust\nlocal all all scram-sha-256\nhost all all all scram-sha-256\n"
PEER = "local all postgres trust\nlocal all all peer\nhost all all 127.0.0.1/32 scram-sha-256\n"
SPY = (
    "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline; echo; ls -lnd /tmp/dbtasks-*; ls -ln /tmp/dbtasks-*; true"
)


def holds_it(text: str) -> bool:
    return any(piece in text for piece in PIECES)


def rule(box: Box, hba: str) -> None:
    """Give the server other rules for logins."""
    write = f"cat > /var/lib/postgresql/data/pg_hba.conf <<'END'\n{hba}END"
    assert box.container.exec_run(["sh", "-c", write]).exit_code == 0
    box.sql("SELECT pg_reload_conf()")
    asked = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method IN ('scram-sha-256', 'peer')"
    while int(box.sql(asked)) < 2:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def guarded(start_box: Callable[..., Box]) -> Box:
    """A container that wants a password by its local socket, too."""
    box = start_box(publish=False, name=None, database="postgres")
    quoted = CANARY.replace("'", "''")
    box.sql(f"CREATE ROLE app LOGIN CREATEDB PASSWORD '{quoted}'")
    box.sql("CREATE DATABASE shop OWNER app")
    box.sql(f"SET ROLE app; {FILL}", "shop")
    rule(box, SCRAM)
    return box


@pytest.fixture
def asking(guarded: Box, project: Project) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """Run a task on it; whatever happens, nothing of the password is told or left."""
    project.mount()

    def ask(*arguments: str, password: str = CANARY, **environ: str) -> subprocess.CompletedProcess[str]:
        login = f"app:{quote(password, safe='')}" if password else "app"
        url = f"postgresql://{login}@{guarded.name}/shop"
        ran = run(project, *arguments, DATABASE_URL=url, **environ)
        assert not holds_it(ran.stdout + ran.stderr)
        return ran

    yield ask
    assert left_inside(guarded) == []


@pytest.mark.parametrize("format_", ["custom", "sql", "directory"])
def test_backup_and_restore_work_with_a_password_inside(asking: Any, guarded: Box, format_: str):
    made = asking("db.backup", f"--format={format_}", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["warnings"] == []
    guarded.sql("DELETE FROM public.item WHERE id > 10", "shop")
    restored = asking("db.restore", "--file=latest", "--yes", "--json")
    assert restored.returncode == 0, restored.stderr
    assert guarded.sql("SELECT count(*) FROM public.item", "shop") == "1000"


def test_in_place_works_with_a_password_inside(asking: Any, guarded: Box):
    assert asking("db.backup").returncode == 0
    guarded.sql("DELETE FROM public.item WHERE id > 10", "shop")
    ran = asking("db.restore", "--file=latest", "--in-place", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert guarded.sql("SELECT count(*) FROM public.item", "shop") == "1000"


def test_a_wrong_password_is_exit_3_with_the_servers_words(asking: Any):
    ran = asking("db.backup", password="not this one")
    assert ran.returncode == 3
    assert "refused the login of app" in ran.stderr
    assert 'password authentication failed for user "app"' in ran.stderr
    assert "an older volume keeps the old password" in ran.stderr


def test_no_password_at_all_is_exit_3_and_says_where_it_belongs(asking: Any, guarded: Box):
    ran = asking("db.backup", password="")
    assert ran.returncode == 3
    assert f"the server in container {guarded.name} asks for a password even there" in ran.stderr
    assert f"give the url its password: postgresql://app:PASSWORD@{guarded.name}/shop" in ran.stderr


def test_a_container_found_by_its_labels_that_asks_for_a_password_takes_that_of_the_projects_dotenv(
    start_box: Callable[..., Box], project: Project
):
    project.mount()
    box = start_box(publish=False, labels=labels(project), user="app")
    box.sql("CREATE TABLE item (id int)")
    hba = "local all all scram-sha-256\nhost all all all scram-sha-256\n"
    write = f"cat > /var/lib/postgresql/data/pg_hba.conf <<'END'\n{hba}END"
    assert box.container.exec_run(["sh", "-c", write]).exit_code == 0
    box.sql("SELECT pg_reload_conf()")
    assert eventually(
        lambda: box.container.exec_run(["psql", "-XwU", "app", "-c", "", "shop"]).exit_code != 0
    )
    without = run(project, "db.backup")
    assert without.returncode == 3
    assert (
        "set POSTGRES_PASSWORD (or POSTGRES_PASSWORD_FILE) in .env, or DATABASE_URL=postgresql://app:PASSWORD@db/shop"
        in without.stderr
    )
    project.dotenv(f"POSTGRES_PASSWORD='{PASSWORD}'\n")
    made = run(project, "db.backup", "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(run(project, "db.info", "--json").stdout)
    shown = [(s["value"], s["source"]) for s in told["settings"] if s["name"] == "password"]
    assert shown == [("***", "POSTGRES_PASSWORD in .env")]
    assert left_inside(box) == []


def test_a_server_that_takes_nobody_by_its_socket_is_asked_by_its_loopback(asking: Any, guarded: Box):
    rule(guarded, PEER)
    try:
        made = asking("db.backup")
        assert made.returncode == 0, made.stderr
    finally:
        rule(guarded, SCRAM)


def test_g04_g10_the_password_is_a_0600_file_and_in_no_argv_environment_or_inspection(
    guarded: Box, project: Project
):
    url = f"postgresql://app:{quote(CANARY, safe='')}@{guarded.name}/shop"
    settings = load_settings(project.root, environ={}, url=url)
    api = guarded.container.client.api
    with open_engine(settings) as engine, engine.session() as session:  # type: ignore[attr-defined]
        assert session.rows("SELECT current_user") == [("app",)]
        guarded.container.reload()
        execs = guarded.container.attrs["ExecIDs"]
        assert execs
        told = json.dumps([guarded.container.attrs, *(api.exec_inspect(id_) for id_ in execs)])
        seen = guarded.container.exec_run(["sh", "-c", SPY]).output.decode(errors="replace")
        assert not holds_it(told + seen)
        assert "PGPASSFILE=/tmp/dbtasks-" in seen
        (folder,) = [line for line in seen.splitlines() if line.startswith("drwx")]
        (file,) = [line for line in seen.splitlines() if line.endswith(" passfile")]
        assert (folder[:10], file[:10]) == ("drwx------", "-rw-------")
    assert left_inside(guarded) == []


class Spied:
    """What can be seen of everything that runs in a container while the block runs."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work) for work in (self._watch, self._ask, self._listen)]
        self.argvs: set[str] = set()
        """Of processes, by looking at them as fast as Docker lets us."""
        self.environs: set[str] = set()
        self.execs: set[str] = set()
        """What Docker tells of an exec that goes on."""
        self.created: list[str] = []
        """What Docker announces of each exec, none left out."""

    def __enter__(self) -> Spied:
        self._events = self._box.container.client.events(
            decode=True, filters={"container": self._box.container.id, "event": "exec_create"}
        )
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._events.close()
        for thread in self._threads:
            thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self.argvs.update(self._box.processes())

    def _ask(self) -> None:
        from docker.errors import NotFound

        api = self._box.container.client.api
        while not self._over.is_set():
            for id_ in api.inspect_container(self._box.container.id)["ExecIDs"] or ():
                with suppress(NotFound):
                    self.execs.add(json.dumps(api.exec_inspect(id_)["ProcessConfig"], ensure_ascii=False))
            seen = self._box.container.exec_run(["sh", "-c", SPY]).output.decode(errors="replace")
            self.environs.update(seen.split("\0"))

    def _listen(self) -> None:
        self.created += (event["Action"] for event in self._events)


def test_g04_g10_while_a_backup_and_a_restore_run_nothing_in_there_tells_the_password(
    asking: Any, guarded: Box
):
    with Spied(guarded) as spied:
        for arguments in (("db.backup",), ("db.restore", "--file=latest", "--yes", "--drop-old")):
            ran = asking(*arguments)
            assert ran.returncode == 0, ran.stderr
    # the looks fell where tools were at work and the password lay in its file, and no tool was left out
    assert any("psql" in line for line in spied.argvs)
    assert any("psql" in line for line in spied.execs)
    assert any(variable.startswith("PGPASSFILE=/tmp/dbtasks-") for variable in spied.environs)
    assert {"pg_dump", "pg_restore", "psql"} <= {word for line in spied.created for word in line.split()}
    told = [*spied.argvs, *spied.environs, *spied.execs, *spied.created]
    assert [line for line in told if holds_it(line)] == []


def test_no_password_enters_a_container_that_trusts_its_socket(box: Box, project: Project):
    settings = load_settings(project.root, environ={}, url=box.url())
    with open_engine(settings) as engine, engine.session() as session:  # type: ignore[attr-defined]
        assert session.rows("SELECT 1") == [(1,)]
        assert left_inside(box) == []


KILLED = """
import sys, time
from dbtasks.engines.routes import open_engine
from dbtasks.settings import load_settings
with open_engine(load_settings(sys.argv[1], environ={}, url=sys.argv[2])) as engine, engine.session() as session:
    print("up", flush=True)
    session.rows("SELECT pg_catalog.pg_sleep(600)")
"""


def test_a12_when_we_are_killed_the_password_goes_and_the_query_ends(guarded: Box, project: Project):
    url = f"postgresql://app:{quote(CANARY, safe='')}@{guarded.name}/shop"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(project.root), url], stdout=subprocess.PIPE, env=project.environ()
    )
    assert process.stdout is not None
    asleep = (
        "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%sleep(600)%' AND pid <> pg_backend_pid()"
    )
    try:
        assert process.stdout.readline() == b"up\n"
        assert eventually(lambda: guarded.sql(asleep) == "1")
        assert left_inside(guarded)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert eventually(lambda: left_inside(guarded) == [])
    assert eventually(lambda: guarded.sql(asleep) == "0")
    assert eventually(lambda: not [line for line in guarded.processes() if "psql" in line])


def eventually(look: Callable[[], Any]) -> bool:
    for _ in range(150):
        if look():
            return True
        time.sleep(0.1)
    return False


def test_a11_what_a_killed_container_kept_goes_with_the_next_run(
    start_box: Callable[..., Box], project: Project
):
    box = start_box()
    settings = load_settings(project.root, environ={}, url=box.url())
    from dbtasks.runners.inside import kept_folder

    with pytest.raises(ZeroDivisionError), open_engine(settings) as engine:
        runner: Any = engine.runner  # type: ignore[attr-defined]
        with kept_folder(runner):
            box.container.kill()
            raise ZeroDivisionError
    box.container.start()
    (old,) = left_inside(box)
    box.container.exec_run(["sh", "-c", "mkdir /tmp/dbtasks-0123456789ab-01234567-01"])
    box.container.reload()
    port = int(box.container.ports["5432/tcp"][0]["HostPort"])
    settings = load_settings(project.root, environ={}, url=box.url().replace(f":{box.port}/", f":{port}/"))
    with open_engine(settings) as engine, kept_folder(engine.runner) as folder:  # type: ignore[attr-defined]
        names = left_inside(box)
        assert old not in names
        # another container's, on a /tmp they share, is not ours to judge
        assert sorted(names) == sorted(["dbtasks-0123456789ab-01234567-01", folder.path.rpartition("/")[2]])
