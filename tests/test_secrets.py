"""A password nobody else uses must not come out anywhere, whatever is done and whatever fails (G04 to G10)."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

import dbtasks
from tests.conftest import TASKS_PY, Project
from tests.fix_postgres import PgDatabase, PgServer
from tests.sqlite.databases import make

CANARY = "zk7Qx:vV93n\\Jw4t8 hB6yp@/%41Lc2dm#?'\"="
"""Every character some layer gets wrong, and pieces that no honest text holds."""
PIECES = ("zk7Qx", "vV93n", "Jw4t8", "hB6yp", "Lc2dm")
QUOTED = quote(CANARY, safe="")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="servers of the tests run on POSIX")


def assert_silent(text: str) -> None:
    found = [piece for piece in PIECES if piece in text]
    assert not found, f"{found} in {text}"


def assert_no_trace(root: Path, *given: str) -> None:
    """No file below the project holds it, but those the host wrote it into."""
    for path in root.rglob("*"):
        if path.is_file() and path.name not in given and "__pycache__" not in path.parts:
            assert_silent(path.read_bytes().decode("latin-1"))


@pytest.fixture
def shop(pg: PgServer, pg_db: PgDatabase) -> PgDatabase:
    """A database of a role whose password is the canary."""
    role = pg.create_role("LOGIN SUPERUSER", password=CANARY)
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item SELECT generate_series(1, 50)")
    return pg_db.seen_by(role)


def parts(shop: PgDatabase) -> dict[str, str]:
    server = shop.server
    return {"HOST": server.host, "PORT": str(server.port), "USER": server.user, "NAME": shop.name}


def url(shop: PgDatabase, password: str = QUOTED, scheme: str = "postgresql") -> str:
    p = parts(shop)
    return f"{scheme}://{p['USER']}:{password}@{p['HOST']}:{p['PORT']}/{p['NAME']}"


def _environment(shop: PgDatabase, way: str, project: Project) -> dict[str, str]:
    p = parts(shop)
    secret = project.root / "secret"
    if way.endswith("_FILE"):
        secret.write_text(CANARY + "\n" if "PASSWORD" in way else url(shop) + "\n")
        secret.chmod(0o600)
    prefixed = {f"DB_{key}": value for key, value in p.items()}
    image = {f"POSTGRES_{key.replace('NAME', 'DB')}": value for key, value in p.items()}
    libpq = {f"PG{key.replace('NAME', 'DATABASE')}": value for key, value in p.items()}
    return {
        "DATABASE_URL": {"DATABASE_URL": url(shop)},
        "DATABASE_URL_plus": {"DATABASE_URL": url(shop, scheme="postgres")},
        "DATABASE_URL_driver": {"DATABASE_URL": url(shop, scheme="postgresql+psycopg2")},
        "DATABASE_URL_query": {
            "DATABASE_URL": f"postgresql://{p['HOST']}:{p['PORT']}/{p['NAME']}?user={p['USER']}&password={QUOTED}"
        },
        "DBTASKS_URL": {"DBTASKS_URL": url(shop)},
        "INVOKE_DBTASKS_URL": {"INVOKE_DBTASKS_URL": url(shop)},
        "DATABASE_URL_FILE": {"DATABASE_URL_FILE": str(secret)},
        "DB_PASSWORD": {**prefixed, "DB_PASSWORD": CANARY},
        "DB_PASSWORD_FILE": {**prefixed, "DB_PASSWORD_FILE": str(secret)},
        "POSTGRES_PASSWORD": {**image, "POSTGRES_PASSWORD": CANARY},
        "PGPASSWORD": {**libpq, "PGPASSWORD": CANARY},
    }[way]


WAYS = (
    "DATABASE_URL",
    "DATABASE_URL_plus",
    "DATABASE_URL_driver",
    "DATABASE_URL_query",
    "DBTASKS_URL",
    "INVOKE_DBTASKS_URL",
    "DATABASE_URL_FILE",
    "DB_PASSWORD",
    "DB_PASSWORD_FILE",
    "POSTGRES_PASSWORD",
    "PGPASSWORD",
)
SHORTLY = ("DATABASE_URL", "DATABASE_URL_FILE", "DB_PASSWORD")
"""One in a url, one in a file, one apart: the others are tried where there is time for it."""


TOOLS = ("pg_dump", "pg_dumpall", "pg_restore", "psql")


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()}


def _told_of(number: str, what: str) -> str:
    return Path(f"/proc/{number}/{what}").read_bytes().replace(b"\0", b" ").decode(errors="replace")


@contextmanager
def watched_processes() -> Iterator[list[str]]:
    """Collect every command line of the machine, and the environment of every client tool, while the block runs."""
    seen: set[str] = set()
    stop = threading.Event()
    # most of what a machine runs: reading its lines each time would leave gaps for what is short
    before = _processes()

    def look(numbers: set[str]) -> None:
        for number in numbers:
            try:
                line = _told_of(number, "cmdline")
                seen.add(line)
                # what a tool is given beside its arguments: a file's name may stand there, never what is in it
                if line.partition(" ")[0].rpartition("/")[2] in TOOLS:
                    seen.add(_told_of(number, "environ"))
            except OSError:
                continue

    def watch() -> None:
        while not stop.wait(0.002):
            look(_processes() - before)
        look(before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    found: list[str] = []
    try:
        yield found
    finally:
        stop.set()
        watcher.join()
        found.extend(sorted(seen))


@pytest.mark.long
@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if way in SHORTLY else pytest.mark.long) for way in WAYS]
)
def test_g04_g06_a_password_given_in_any_way_stays_out_of_everything_a_backup_and_a_restore_show(
    project: Project, shop: PgDatabase, way: str
) -> None:
    project.mount()
    environ = {**_environment(shop, way, project), "DBTASKS_PG_BIN": str(shop.server.bin)}
    for arguments in (
        ("--echo", "db.backup", "--json"),
        ("db.info",),
        ("-e", "-R", "db.restore", "--file=latest", "--yes", "--json"),
        ("-e", "db.restore", "--file=latest", "--yes", "--json"),
    ):
        ran = project.invoke(*arguments, **environ)
        assert ran.returncode == 0, ran.stderr
        assert_silent(ran.stdout + ran.stderr)
    assert_no_trace(project.root, "secret")


GIVEN = "given.sql.gz"
"""A file without a manifest of ours."""
EVERY_TASK = (
    ("db.backup",),
    ("db.backup", "--format=sql"),
    ("db.backup", "--format=directory", "--jobs=2"),
    ("db.backup", "--globals"),
    ("db.list",),
    ("db.show", "--file=latest"),
    ("db.info",),
    ("db.log",),
    ("db.diff",),
    ("db.adopt", f"--file={GIVEN}"),
    ("db.verify", "--all"),
    ("db.verify", "--all", "--restore"),
    ("db.backup", "--output=theirs.dump"),
    ("db.adopt", "--file=theirs.dump"),
    ("db.restore", "--file=latest", "--yes"),
    ("db.undo", "--yes"),
    ("db.restore", "--file=latest", "--in-place", "--yes"),
    ("db.restore", "--file=latest", "--table=item", "--yes"),
    ("db.restore", "--file=latest", "--table=item", "--as=beside"),
    ("db.migrate", "--from=leaving.db", "--to=moved", "--yes"),
    ("db.cleanup", "--keep=1", "--yes"),
)


STORE_KEYS = {
    "AWS_ACCESS_KEY_ID": f"AKIA{PIECES[0]}",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "AWS_SESSION_TOKEN": CANARY,
}
"""No task needs them yet; they lie in the environment or in .env for something else."""


@pytest.mark.long
def test_g04_g05_g20_no_command_line_and_no_tools_environment_holds_a_password_or_a_key_during_any_task(
    project: Project, shop: PgDatabase
) -> None:
    assert {arguments[0] for arguments in EVERY_TASK} == {f"db.{name}" for name in dbtasks.ns.task_names}
    project.mount()
    project.dotenv("".join(f"S3_{name}={PIECES[1]}\n" for name in ("ACCESS_KEY", "SECRET_KEY")))
    environ = {**STORE_KEYS, "DATABASE_URL": url(shop), "DBTASKS_PG_BIN": str(shop.server.bin)}
    make(project.root / "leaving.db")
    with watched_processes() as seen:
        for arguments in EVERY_TASK:
            if arguments[0] == "db.adopt":
                shutil.copy(*project.root.glob("backups/manual/*.sql.gz"), project.root / GIVEN)
            ran = project.invoke(*arguments, **environ)
            assert ran.returncode == 0, (arguments, ran.stderr)
            assert_silent(ran.stdout + ran.stderr)
    shop.server.drop_database("moved")
    commands = "\n".join(seen)
    for arguments in EVERY_TASK:
        assert f"invoke {' '.join(arguments)}" in commands
    assert "pg_dump" in commands
    assert "pg_restore" in commands
    assert "PGPASSFILE=" in commands
    assert_silent(commands)
    assert_no_trace(project.root, ".env")


@pytest.mark.long
@pytest.mark.parametrize("where", ["dotenv", "invoke.yaml", "configure", "mount"])
def test_g20_a_password_in_a_projects_files_stays_in_them(
    project: Project, shop: PgDatabase, where: str
) -> None:
    configured = f"{{'dbtasks': {{'url': {url(shop)!r}}}}}"
    project.mount(TASKS_PY + (f"ns.configure({configured})\n" if where == "configure" else ""))
    if where == "mount":
        made = f"Collection.from_module(dbtasks, name='db', config={configured})"
        project.mount(f"from invoke import Collection\nimport dbtasks\nns = Collection({made})\n")
    if where == "dotenv":
        project.dotenv(f"DATABASE_URL={url(shop)}\n")
    if where == "invoke.yaml":
        (project.root / "invoke.yaml").write_text(f"dbtasks:\n  url: {url(shop)}\n")
    for arguments in (("db.backup",), ("db.info", "--json"), ("db.show",)):
        ran = project.invoke(*arguments, DBTASKS_PG_BIN=str(shop.server.bin))
        assert ran.returncode == 0, ran.stderr
        assert_silent(ran.stdout + ran.stderr)
    assert_no_trace(project.root, ".env", "invoke.yaml", "tasks.py")


def _failing(shop: PgDatabase, old: PgServer) -> dict[str, dict[str, str]]:
    p = parts(shop)
    good = url(shop)
    return {
        "closed port": {"DATABASE_URL": good.replace(f":{p['PORT']}/", ":1/")},
        "no such host": {"DATABASE_URL": good.replace(p["HOST"], "no-such-host.invalid")},
        "no such database": {"DATABASE_URL": good.replace(p["NAME"], "no_such_database")},
        "no such role": {"DATABASE_URL": good.replace(p["USER"], "nobody_knows")},
        "wrong password": {"DATABASE_URL": url(shop, QUOTED + "x")},
        "unquoted": {"DATABASE_URL": url(shop, CANARY)},
        "half quoted": {"DATABASE_URL": url(shop, CANARY.replace("%", "%25").replace("@", "%40"))},
        "plus quoted": {"DATABASE_URL": url(shop, quote_plus(CANARY) + "y")},
        "as a host": {"DATABASE_URL": f"postgresql://{QUOTED}/{p['NAME']}"},
        "as a port": {"DATABASE_URL": f"postgresql://{p['HOST']}:{QUOTED}/{p['NAME']}"},
        "as a scheme": {"DATABASE_URL": f"mysql://u:{QUOTED}@h/db"},
        "in an unknown option": {"DATABASE_URL": f"{good}?nonsense={QUOTED}"},
        "in a bad option": {"DATABASE_URL": f"{good}?sslmode=maybe&sslpassword={QUOTED}"},
        "in two places": {
            "DATABASE_URL": good,
            "DATABASE_URL_FILE": "/dev/null",
        },
        "in an unknown key": {"DATABASE_URL": good, "DBTASKS_PASSWRD": CANARY},
        "in DB_PORT": {**{f"DB_{k}": v for k, v in p.items()}, "DB_PORT": CANARY},
        "with another bad key": {"DATABASE_URL": good, "DBTASKS_KEEP": "0"},
        "of a newline": {**{f"DB_{k}": v for k, v in p.items()}, "DB_PASSWORD": CANARY + "\nsecond"},
        "of a file that is not there": {"DATABASE_URL_FILE": "/nonexistent/secret"},
        "tools missing": {"DATABASE_URL": good, "DBTASKS_PG_BIN": "/nonexistent"},
        "tools too old": {"DATABASE_URL": good, "DBTASKS_PG_BIN": str(old.bin)},
    }


FAILING = (
    "closed port,no such host,no such database,no such role,wrong password,unquoted,half quoted,plus quoted,"
    "as a host,as a port,as a scheme,in an unknown option,in a bad option,in two places,in an unknown key,"
    "in DB_PORT,with another bad key,of a newline,of a file that is not there,tools missing,tools too old"
)


@pytest.mark.long
@pytest.mark.parametrize("case", FAILING.split(","))
def test_g07_g08_a_password_stays_out_of_every_refusal_traceback_and_log(
    project: Project, shop: PgDatabase, pg16: PgServer, case: str
) -> None:
    project.mount()
    failing = _failing(shop, pg16)
    assert list(failing) == FAILING.split(",")
    environ = {"DBTASKS_PG_BIN": str(shop.server.bin), "DBTASKS_CONNECT_TIMEOUT": "3", **failing[case]}
    for arguments in (("-e", "--debug", "db.backup", "--json"), ("db.info",)):
        ran = project.invoke(*arguments, **environ)
        if arguments != ("db.info",) and case != "unquoted":
            assert ran.returncode != 0, case
            assert "Traceback (most recent call last)" in ran.stderr
        assert_silent(ran.stdout + ran.stderr)
    assert_no_trace(project.root)


def test_a_backup_that_is_whole_is_the_proof_that_the_canary_was_used(
    project: Project, shop: PgDatabase
) -> None:
    project.mount()
    wrong = {"DATABASE_URL": url(shop, QUOTED + "x"), "DBTASKS_PG_BIN": str(shop.server.bin)}
    ran = project.invoke("db.backup", **wrong)
    assert ran.returncode == 3
    assert "password" in ran.stderr
    assert not list((project.root / "backups").rglob("*.dump"))


def test_g05_no_passfile_is_left_behind(project: Project, shop: PgDatabase, tmp_path: Path) -> None:
    project.mount()
    temp = tmp_path / "temp"
    temp.mkdir()
    environ = {"DATABASE_URL": url(shop), "DBTASKS_PG_BIN": str(shop.server.bin), "TMPDIR": str(temp)}
    assert project.invoke("db.backup", **environ).returncode == 0
    assert project.invoke("db.restore", "--file=latest", "--yes", **environ).returncode == 0
    assert project.invoke("db.backup", **{**environ, "DATABASE_URL": url(shop, QUOTED + "x")}).returncode == 3
    assert list(temp.iterdir()) == []
