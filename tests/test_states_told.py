"""Every failure of what may overwrite a database says which state things are in, on the screen and in JSON."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

import dbtasks
from dbtasks.lock import run_lock
from tests.conftest import Project
from tests.fix_postgres import PgDatabase, free_port
from tests.postgres.projects import configured
from tests.sqlite.databases import make, run
from tests.terminal import at_terminal

POSIX = pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
UNTOUCHED = ("nothing was touched", "not touched", "was touched", "is as it was", "nothing was published")
"""How a state says that a database is whole."""

FAILURES = {
    "restore, no such backup": (4, "db.restore --file=nosuch --yes"),
    "restore, no such number": (4, "db.restore --file=99 --yes"),
    "restore, no such type yet": (4, "db.restore --file=latest:monthly --yes"),
    "restore, no such type at all": (2, "db.restore --file=latest:hourly --yes"),
    "restore, which one": (6, "db.restore --yes"),
    "restore, nobody to ask": (6, "db.restore --file=latest"),
    "restore, another name": (6, "db.restore --file=latest --confirm=other"),
    "restore, of others": (6, "db.restore --file=theirs.sql.gz --yes"),
    "restore, the other kind's": (6, "db.restore --file=theirs.sql.gz --unverified --yes"),
    "restore, a text": (6, "db.restore --file=notes.txt --unverified --yes"),
    "restore, cut": (5, "db.restore --file=cut.db --unverified --yes"),
    "restore, cut and packed": (5, "db.restore --file=cut.db.gz --unverified --yes"),
    "restore, found damaged": (5, "db.restore --file=DAMAGED --yes"),
    "restore, no way to a file": (2, "db.restore --file=latest --via=host --yes"),
    "restore, no number of seconds": (2, "db.restore --file=latest --wait=soon --yes"),
    "restore, into no name": (2, "db.restore --file=latest --into= --yes"),
    "restore, into no setting": (2, "db.restore --file=latest --into=@ --yes"),
    "restore, into a text": (6, "db.restore --file=latest --into=notes.txt --yes"),
    "restore, in place": (2, "db.restore --file=latest --in-place --yes"),
    "restore, --as alone": (2, "db.restore --file=latest --as=then --yes"),
    "table, not in the backup": (2, "db.restore --file=latest --table=nosuch --yes"),
    "table, a name that is taken": (6, "db.restore --file=latest --table=item --as=note --yes"),
    "table, with --into": (2, "db.restore --file=latest --table=item --into=x.db --yes"),
    "table, no such backup": (4, "db.restore --file=nosuch --table=item --yes"),
    "undo, of nothing": (4, "db.undo --yes"),
    "verify, no such backup": (4, "db.verify --restore --file=nosuch"),
    "verify, nowhere": (2, "db.verify --restore --in=nowhere"),
    "verify, no share": (2, "db.verify --restore --subset=9/7"),
    "verify, no way to a file": (2, "db.verify --restore --via=host"),
    "adopt, which one": (2, "db.adopt"),
    "adopt, no such file": (4, "db.adopt --file=nosuch.db"),
    "adopt, cut": (5, "db.adopt --file=cut.db"),
    "adopt, cut and packed": (5, "db.adopt --file=cut.db.gz"),
    "adopt, the other kind's": (6, "db.adopt --file=theirs.sql.gz"),
    "adopt, a text": (6, "db.adopt --file=notes.txt"),
    "migrate, where to": (2, "db.migrate --yes"),
    "migrate, into a file": (2, "db.migrate --to=sqlite:///other.db --yes"),
    "migrate, into no setting": (2, "db.migrate --to=@ --yes"),
    "migrate, into no name": (2, "db.migrate --to= --yes"),
    "migrate, of no file": (3, "db.migrate --from=nosuch.db --to=postgresql://app@127.0.0.1:1/shop --yes"),
    "migrate, no such table": (2, "db.migrate --to=postgresql://app@127.0.0.1:1/shop --table=nosuch --yes"),
    "migrate, nobody answers": (3, "db.migrate --to=postgresql://app@127.0.0.1:1/shop --yes"),
    "adopt, as a safety backup": (2, "db.adopt --file=whole.db --type=safety"),
}


@pytest.fixture
def shop(project: Project) -> Project:
    """A database, a backup of it, a damaged one, and what others left lying about."""
    project.mount()
    make(project.root / "shop.db", rows=2000)
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    whole = (project.root / "shop.db").read_bytes()
    (project.root / "whole.db").write_bytes(whole)
    (project.root / "cut.db").write_bytes(whole[: len(whole) // 2])
    (project.root / "cut.db.gz").write_bytes(gzip.compress(whole)[:-100])
    (project.root / "theirs.sql.gz").write_bytes(
        gzip.compress(b"--\n-- PostgreSQL database dump\n--\nCREATE TABLE t (a integer);\n")
    )
    (project.root / "notes.txt").write_text("buy milk\n")
    config = dbtasks.load_settings(project.root, environ={})
    damaged = dbtasks.backup(config)
    with damaged.path.open("r+b") as stream:
        stream.write(b"\0" * 100)
    assert not dbtasks.verify(config, [damaged])[0].ok
    (project.root / "damaged").write_text(damaged.id)
    dbtasks.backup(config)
    return project


def told(ran: subprocess.CompletedProcess[str]) -> str:
    """The state that the screen and the document tell alike."""
    error = json.loads(ran.stdout)["error"]
    state = str(error["state"])
    assert f"  state: {state}\n" in ran.stderr, ran.stderr
    return state


@pytest.mark.parametrize("what", FAILURES)
def test_whatever_fails_before_it_acts_says_that_nothing_was_touched(shop: Project, what: str) -> None:
    code, command = FAILURES[what]
    before = (shop.root / "shop.db").read_bytes()
    damaged = (shop.root / "damaged").read_text()
    ran = shop.invoke(*command.replace("DAMAGED", damaged).split(), "--json")
    assert ran.returncode == code, ran.stderr
    assert any(word in told(ran) for word in UNTOUCHED), ran.stderr
    assert (shop.root / "shop.db").read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        "db.restore --file=latest --yes",
        "db.restore --file=latest --table=item --yes",
        "db.undo --yes",
        "db.adopt --file=other.db",
    ],
)
def test_h05_a_database_that_is_busy_is_told_to_be_untouched(shop: Project, command: str) -> None:
    config = dbtasks.load_settings(shop.root, environ={})
    dbtasks.restore(config, dbtasks.plan_restore(config))
    make(shop.root / "other.db", rows=3)
    assert config.target is not None
    before = (shop.root / "shop.db").read_bytes()
    with run_lock(config.backup_dir, config.target.identity, "db.backup"):
        ran = shop.invoke(*command.split(), "--json")
    assert ran.returncode == 7, ran.stderr
    assert any(word in told(ran) for word in UNTOUCHED), ran.stderr
    assert (shop.root / "shop.db").read_bytes() == before


@POSIX
@pytest.mark.parametrize("task", ["db.restore", "db.restore --table=item", "db.undo"])
def test_ctrl_c_at_a_question_says_that_nothing_was_touched(shop: Project, task: str) -> None:
    config = dbtasks.load_settings(shop.root, environ={})
    dbtasks.restore(config, dbtasks.plan_restore(config))
    dialog = [("Type the", "\x03")]
    if task != "db.undo":
        dialog.insert(0, ("Number or id", "\x03"))
        first = at_terminal(shop, *task.split(), dialog=dialog[:1])
        assert first.returncode == 130
        assert "  state: nothing was touched\n" in first.text
        dialog[0] = ("Number or id", "\r")
    seen = at_terminal(shop, *task.split(), dialog=dialog)
    assert seen.returncode == 130, seen.text
    assert "  state: nothing was touched\n" in seen.text


@pytest.mark.parametrize("where", ["find_archive", "read_chosen"])
def test_a_bug_before_anything_begins_says_that_nothing_was_touched(shop: Project, where: str) -> None:
    shop.mount(
        "from invoke import Collection\nimport dbtasks\nimport dbtasks.executors.restore as restore\n"
        f"restore.{where} = None\n"
        "ns = Collection()\nns.add_collection(dbtasks, name='db')\n"
    )
    ran = shop.invoke("db.restore", "--file=latest", "--yes", "--json")
    assert ran.returncode == 1
    error = json.loads(ran.stdout)["error"]
    assert error["state"] == "nothing was touched"
    assert "  state: nothing was touched\n" in ran.stderr


BUGS = {
    "restore": ("db.restore --file=latest --yes", "restore._record"),
    "restore, elsewhere": ("db.restore --file=latest --into=other.db --yes", "restore._record"),
    "restore, before anything is saved": ("db.restore --file=latest --yes", "restore.prove_still_as_planned"),
    "restore, when it is live": ("db.restore --file=latest --yes", "restore.RestoreResult"),
    "table": ("db.restore --file=latest --table=item --yes", "restore_tables._record"),
    "undo": ("db.undo --yes", "restore._record"),
    "adopt": ("db.adopt --file=whole.db", "adopt._named"),
    "verify": ("db.verify --restore", "verify._note"),
}


def backups_in(store: Path) -> set[str]:
    """The ids of all that are there, whatever database they are of."""
    return {str(json.loads(path.read_text())["id"]) for path in store.rglob("*.manifest.json")}


@pytest.mark.long
@pytest.mark.parametrize("what", BUGS)
def test_a_bug_on_the_way_says_where_to_look_and_which_backup_holds_what_was(
    shop: Project, what: str
) -> None:
    command, broken = BUGS[what]
    config = dbtasks.load_settings(shop.root, environ={})
    dbtasks.restore(config, dbtasks.plan_restore(config))
    make(shop.root / "other.db", rows=3)
    run(shop.root / "whole.db", "DELETE FROM item WHERE id = 1")
    module = broken.partition(".")[0]
    shop.mount(
        f"from invoke import Collection\nimport dbtasks\nimport dbtasks.executors.{module} as {module}\n"
        f"{broken} = None\n"
        "ns = Collection()\nns.add_collection(dbtasks, name='db')\n"
    )
    known = backups_in(config.backup_dir)
    ran = shop.invoke(*command.split(), "--json")
    assert (ran.returncode, "met a bug: TypeError" in ran.stderr) == (1, True), ran.stderr
    made = sorted(backups_in(config.backup_dir) - known)
    saved = f"; what it held before is backed up as {made[0]}" if made else ""
    expected = {
        "adopt": "the file is as it was; invoke db.list shows whether its copy was published",
        "verify": "no live database was touched; what was loaded is removed",
        "restore, elsewhere": f"look at other.db before you go on: it may be what it was, or hold the backup{saved}",
    }
    assert told(ran) == expected.get(what, f"invoke db.info says what shop.db is now{saved}")
    assert bool(made) == (what not in ("adopt", "verify", "restore, before anything is saved"))


def test_a_proof_that_failed_says_that_no_live_database_was_touched(shop: Project) -> None:
    damaged = (shop.root / "damaged").read_text()
    ran = shop.invoke("db.verify", "--restore", f"--file={damaged}", "--json")
    assert ran.returncode == 5
    (proof,) = json.loads(ran.stdout)["verified"]
    assert proof["state"] == "marked as damaged; no live database was touched"
    told_to_people = shop.invoke("db.verify", "--restore", f"--file={damaged}").stdout
    assert f"  state: {proof['state']}\n" in told_to_people
    sound = json.loads(shop.invoke("db.verify", "--restore", "--json").stdout)["verified"]
    assert [proof["state"] for proof in sound] == [""]


def test_what_python_calls_says_the_state_as_well(shop: Project) -> None:
    config = dbtasks.load_settings(shop.root, environ={})
    assert config.target is not None
    plan = dbtasks.plan_restore(config)
    with (
        run_lock(config.backup_dir, config.target.identity, "db.backup"),
        pytest.raises(dbtasks.errors.Busy) as caught,
    ):
        dbtasks.restore(config, plan)
    assert caught.value.state == "shop.db was not touched"


SERVER_FAILURES = {
    "into a server that is away": (
        3,
        "db.restore --file=latest --into=postgresql://app@127.0.0.1:PORT/shop --yes",
    ),
    "into another kind": (6, "db.restore --file=latest --into=sqlite:///x.db --yes"),
    "table, not in the backup": (2, "db.restore --file=latest --table=nosuch --yes"),
    "table, no schema of that name": (2, "db.restore --file=latest --table=nosuch.item --yes"),
    "in place, of nothing": (2, "db.restore --file=latest --into=DB_x --in-place --yes"),
    "a name too long": (2, f"db.restore --file=latest --into={'x' * 64} --yes"),
    "into a template": (6, "db.restore --file=latest --into=template1 --yes"),
    "as nobody": (3, "db.restore --file=latest --role=nobody_at_all --yes"),
    "adopt, cut": (5, "db.adopt --file=cut.dump"),
    "adopt, another kind's": (6, "db.adopt --file=theirs.db"),
}


@pytest.mark.long
def test_whatever_fails_at_a_server_says_that_nothing_was_touched(
    project: Project, pg_db: PgDatabase
) -> None:
    project.mount()
    pg_db.run("CREATE TABLE item AS SELECT generate_series(1, 9) AS a")
    made = dbtasks.backup(configured(project.root, pg_db))
    (project.root / "cut.dump").write_bytes(made.path.read_bytes()[:-30])
    make(project.root / "theirs.db")
    environ = {
        "DATABASE_URL": pg_db.url,
        "DBTASKS_VIA": "host",
        "DBTASKS_PG_BIN": str(pg_db.server.bin),
    }
    wrong = {}
    for what, (code, command) in SERVER_FAILURES.items():
        arguments = command.replace("PORT", str(free_port())).replace("DB", pg_db.name).split()
        ran = project.invoke(*arguments, "--json", **environ)
        assert ran.returncode == code, (what, ran.stderr)
        state = told(ran)
        if not any(word in state for word in UNTOUCHED):
            wrong[what] = state
    assert not wrong
    assert run(project.root / "theirs.db", "SELECT count(*) FROM item")
    assert pg_db.run("SELECT count(*) FROM item") == [(9,)]
