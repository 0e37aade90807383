"""The tasks as people and scripts use them: real `invoke` processes, exit codes, JSON, prompts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from tests.conftest import REPOSITORY, Project
from tests.sqlite.databases import archives, count, holder, leftovers, make, run
from tests.terminal import at_terminal, tree_of

URL = {"DATABASE_URL": "sqlite:///shop.db"}
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="signals, modes and terminals of POSIX")
Ran = subprocess.CompletedProcess[str]


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with the README's tasks.py, a .env and a SQLite database of 100 rows."""
    project.mount()
    project.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    make(project.root / "shop.db", 100)
    return project


def ids(shop: Project, *flags: str) -> list[str]:
    return [b["id"] for b in document(shop.invoke("db.list", "--json", *flags))["backups"]]


def document(ran: Ran) -> dict[str, Any]:
    """Parse stdout, which must be exactly one JSON document."""
    parsed = json.loads(ran.stdout)
    assert isinstance(parsed, dict)
    assert parsed["exit_code"] == ran.returncode
    assert parsed["ok"] == (ran.returncode == 0)
    assert parsed["task"] in [
        "adopt",
        "backup",
        "restore",
        "undo",
        "diff",
        "list",
        "show",
        "info",
        "verify",
        "cleanup",
        "log",
    ]
    return parsed


def backed_up(shop: Project) -> str:
    """What the task makes, without a process: for what is tried on a backup that is there."""
    return dbtasks.backup(dbtasks.load_settings(shop.root, environ={})).id


def backed_up_by_task(shop: Project, *flags: str) -> str:
    ran = shop.invoke("db.backup", "--json", *flags)
    assert ran.returncode == 0, ran.stderr
    return str(document(ran)["backup"]["id"])


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


# -- the main job -----------------------------------------------------------------


def test_a_backup_a_loss_and_a_restore_as_the_readme_has_them(shop: Project) -> None:
    made = shop.invoke("db.backup")
    assert made.returncode == 0, made.stderr
    assert re.search(r"^✓ [a-z0-9]{6}  .*shop_\d{8}T\d{6}Z_[a-z0-9]{6}\.sqlite3", made.stdout)
    hint = re.search(r"restore: invoke (db\.restore --file=[a-z0-9]{6})", made.stdout)
    assert hint, "the backup says how it is restored"
    run(shop.root / "shop.db", "DELETE FROM item")
    back = shop.invoke(*hint[1].split(), "--yes")
    assert back.returncode == 0, back.stderr
    assert "equal to the manifest" in back.stdout
    assert count(shop.root / "shop.db") == 100
    assert "  back again: invoke db.undo\n" in back.stdout, "the restore says how it is undone"
    assert shop.invoke("db.undo", "--yes").returncode == 0
    assert count(shop.root / "shop.db") == 0


def test_results_go_to_stdout_and_everything_else_to_stderr(shop: Project) -> None:
    made = shop.invoke("db.backup")
    assert "dump     shop.db" in made.stderr
    assert "dump     shop.db" not in made.stdout
    assert shop.invoke("db.list").stderr == ""


# -- exit codes -------------------------------------------------------------------


def _locked(shop: Project) -> Ran:
    with holder(shop.root / "shop.db", "BEGIN EXCLUSIVE"):
        return shop.invoke("db.backup", DBTASKS_LOCK_TIMEOUT="0.2")


def _without_dotenv(shop: Project) -> Ran:
    (shop.root / ".env").unlink()
    return shop.invoke("db.backup")


def _damaged(shop: Project) -> Ran:
    made = backed_up(shop)
    damage(archives(shop.root)[0])
    return shop.invoke("db.restore", f"--file={made}", "--yes")


def _text_file(shop: Project) -> Ran:
    (shop.root / "notes.txt").write_text("notes")
    return shop.invoke("db.restore", "--file=notes.txt", "--unverified", "--yes")


def _file_for_folder(shop: Project) -> Ran:
    (shop.root / "backups").write_text("in the way")
    return shop.invoke("db.backup")


def _differing_counts(shop: Project) -> Ran:
    made = backed_up(shop)
    manifest = archives(shop.root)[0].with_name(f"{archives(shop.root)[0].name}.manifest.json")
    manifest.write_text(manifest.read_text().replace('"rows": 100', '"rows": 99'))
    return shop.invoke("db.restore", f"--file={made}", "--yes")


CODES: dict[str, tuple[int, Callable[[Project], Ran], str]] = {
    "mistyped flag": (1, lambda s: s.invoke("db.backup", "--nope"), "nope"),
    "unknown key": (2, lambda s: s.invoke("db.list", DBTASKS_KEP="3"), "did you mean DBTASKS_KEEP?"),
    "bad value": (2, lambda s: s.invoke("db.list", DBTASKS_KEEP="0"), "a whole number from 1 up"),
    "no database": (2, _without_dotenv, "set DATABASE_URL"),
    "bad type": (2, lambda s: s.invoke("db.backup", "--type=hourly"), "manual, daily, weekly, monthly"),
    "safety type": (2, lambda s: s.invoke("db.backup", "--type=safety"), "manual, daily"),
    "bad last": (2, lambda s: s.invoke("db.list", "--last=0"), "a whole number from 1 up"),
    "bad format": (2, lambda s: s.invoke("db.backup", "--format=tar"), "format"),
    "other engine's format": (2, lambda s: s.invoke("db.backup", "--format=custom"), "PostgreSQL"),
    "other engine's flag": (2, lambda s: s.invoke("db.backup", "--table=item"), "--table"),
    "unreadable remainder": (2, lambda s: s.invoke("db.backup", "--", "it's"), "after --"),
    "all and file": (2, lambda s: s.invoke("db.verify", "--all", "--file=1"), "exclude"),
    "unusable folder": (2, _file_for_folder, "backups"),
    "missing output folder": (2, lambda s: s.invoke("db.backup", "--output=no/x.db"), "no"),
    "database missing": (3, lambda s: s.invoke("db.backup", DATABASE_URL="sqlite:///no.db"), "no.db"),
    "no such number": (4, lambda s: s.invoke("db.restore", "--file=7", "--yes"), "number 7"),
    "no such id": (4, lambda s: s.invoke("db.show", "--file=zzzzzz"), "zzzzzz"),
    "nothing to verify": (4, lambda s: s.invoke("db.verify"), "no complete backup"),
    "damaged": (5, _damaged, "checksum"),
    "counts differ": (5, _differing_counts, "item: 100 instead of 99"),
    "wrong file": (6, _text_file, "notes.txt"),
    "database locked": (7, _locked, "locked"),
}


@pytest.mark.parametrize("case", CODES)
def test_an_exit_code_and_one_clear_message_for(shop: Project, case: str) -> None:
    code, act, words = CODES[case]
    before = (shop.root / "shop.db").read_bytes()
    ran = act(shop)
    assert ran.returncode == code, ran.stderr
    assert words in ran.stderr
    assert "Traceback" not in ran.stderr
    assert (shop.root / "shop.db").read_bytes() == before


JSON_CASES = [
    (0, ("db.backup",), {}),
    (0, ("db.list",), {}),
    (0, ("db.list", "--all"), {}),
    (0, ("db.info",), {}),
    (0, ("db.log",), {}),
    (0, ("db.show",), {}),
    (0, ("db.verify", "--all"), {}),
    (0, ("db.cleanup", "--dry-run"), {}),
    (0, ("db.cleanup", "--keep=1", "--yes"), {}),
    (0, ("db.restore", "--file=latest", "--dry-run"), {}),
    (0, ("db.restore", "--file=latest", "--yes"), {}),
    (2, ("db.list",), {"DBTASKS_KEP": "3"}),
    (2, ("db.backup",), {"DATABASE_URL": "nonsense"}),
    (2, ("db.list", "--last=x"), {}),
    (3, ("db.backup",), {"DATABASE_URL": "sqlite:///no.db"}),
    (4, ("db.show", "--file=99"), {}),
    (6, ("db.restore",), {}),
    (6, ("db.restore", "--file=latest"), {}),
    (6, ("db.restore", "--file=latest", "--confirm=other"), {}),
    (10, ("db.info", "--check"), {"DATABASE_URL": "sqlite:///no.db"}),
]


@pytest.mark.parametrize(("code", "arguments", "environ"), JSON_CASES)
def test_json_is_exactly_one_document_whatever_happens(
    shop: Project, code: int, arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    backed_up(shop)
    ran = shop.invoke(*arguments, "--json", **environ)
    assert ran.returncode == code, ran.stderr
    parsed = document(ran)
    assert parsed["warnings"] == [] or all(isinstance(text, str) for text in parsed["warnings"])
    if code not in (0, 10):
        assert set(parsed["error"]) == {"code", "message", "details", "state", "hint"}
        assert parsed["error"]["message"] in ran.stderr.replace("\n  - ", "\n  - ")


@POSIX
@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a10_an_interrupted_backup_ends_with_130_one_document_and_nothing_left(
    shop: Project, number: int
) -> None:
    with _slow(shop, "db.backup", "--json", DBTASKS_LOCK_TIMEOUT="60") as (process, unlock):
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
        del unlock
    assert process.returncode == 130, err
    parsed = json.loads(out)
    assert parsed["exit_code"] == 130
    assert parsed["error"]["code"] == "interrupted"
    assert leftovers(shop.root) == []
    assert archives(shop.root) == []
    assert shop.invoke("db.backup").returncode == 0  # no lock is left
    assert [r["exit_code"] for r in document(shop.invoke("db.log", "--json"))["runs"]] == [0, 130]


def _until_it_waits(pid: int) -> None:
    """Wait until a process uses no processor any more.

    Interrupted while it imports, CPython 3.11 notes an interrupt in the text that a dataclass is made of as one that nobody
    handled, and ends by the signal instead of the code: a shell shows 130 for both.
    """
    stat, before = Path(f"/proc/{pid}/stat"), ""
    time.sleep(0.3 if stat.exists() else 1.5)
    while stat.exists() and (used := " ".join(stat.read_text().rpartition(")")[2].split()[11:13])) != before:
        before = used
        time.sleep(0.3)


class _slow:  # noqa: N801 - reads as a word
    """A task that waits for a lock inside the database until it is told to go on."""

    def __init__(self, shop: Project, *arguments: str, **environ: str) -> None:
        self._holder = holder(shop.root / "shop.db", "BEGIN EXCLUSIVE")
        self._command = [sys.executable, "-m", "invoke", *arguments]
        self._shop, self._environ = shop, environ

    def __enter__(self) -> tuple[subprocess.Popen[str], Any]:
        held = self._holder.__enter__()
        self.process = subprocess.Popen(
            self._command,
            cwd=self._shop.root,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), **self._environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        locks = self._shop.root / "backups" / ".locks"
        deadline = time.monotonic() + 20
        while not any(p.stat().st_size for p in locks.glob("*.lock")):
            assert time.monotonic() < deadline and self.process.poll() is None
            time.sleep(0.02)
        _until_it_waits(self.process.pid)
        return self.process, held

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()
        self._holder.__exit__(*error)


def test_h05_a_second_run_is_refused_and_told_who_holds_the_lock_since_when(shop: Project) -> None:
    backed_up(shop)
    (log,) = (shop.root / "backups").glob(".locks/*.lock")
    log.write_text("")  # the holder of the last run would be taken for the present one
    with _slow(shop, "db.backup", DBTASKS_LOCK_TIMEOUT="60") as (process, _):
        for arguments in (("db.backup",), ("db.cleanup", "--keep=1", "--yes")):
            ran = shop.invoke(*arguments)
            if arguments[0] == "db.cleanup" and ran.returncode == 0:
                continue  # one backup: nothing to remove, no lock needed
            assert ran.returncode == 7, ran.stderr
            assert f"process {process.pid}" in ran.stderr
            assert re.search(r"db\.backup runs since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", ran.stderr)


# -- dry runs ---------------------------------------------------------------------


def test_a_dry_backup_makes_no_backup_folder(shop: Project) -> None:
    assert shop.invoke("db.backup", "--dry-run").returncode == 0
    assert not (shop.root / "backups").exists()


def test_looking_makes_no_backup_folder(shop: Project) -> None:
    for task in ("db.list", "db.info", "db.log"):
        assert shop.invoke(task).returncode == 0
    assert not (shop.root / "backups").exists()


# -- consent ----------------------------------------------------------------------


def test_without_a_terminal_the_refusal_names_the_flag_to_add(shop: Project) -> None:
    backed_up(shop)
    before = (shop.root / "shop.db").read_bytes()
    which = shop.invoke("db.restore")
    assert which.returncode == 6
    assert "--file=latest" in which.stderr
    assert shop.invoke("db.restore", "--yes").returncode == 6
    sure = shop.invoke("db.restore", "--file=latest")
    assert sure.returncode == 6
    assert "add --yes" in sure.stderr
    guarded = shop.invoke("db.restore", "--file=latest", "--yes", DBTASKS_PROTECT="shop")
    assert guarded.returncode == 6
    assert "--confirm=shop.db" in guarded.stderr
    cleanup = shop.invoke("db.cleanup", "--keep=1")
    assert cleanup.returncode == 0  # nothing to remove, nothing to ask
    backed_up(shop)
    cleanup = shop.invoke("db.cleanup", "--keep=1")
    assert cleanup.returncode == 6
    assert "add --yes" in cleanup.stderr
    assert len(ids(shop)) == 2
    assert (shop.root / "shop.db").read_bytes() == before


@pytest.mark.long
@pytest.mark.parametrize("protect", ["", "shop.db", "SHOP", "other,shop"])
@pytest.mark.parametrize("name", ["shop.db", "shop"])
def test_a_right_confirm_is_enough_even_for_a_protected_target(
    shop: Project, name: str, protect: str
) -> None:
    backed_up(shop)
    run(shop.root / "shop.db", "DELETE FROM item")
    ran = shop.invoke("db.restore", "--file=latest", f"--confirm={name}", DBTASKS_PROTECT=protect)
    assert ran.returncode == 0, ran.stderr
    assert count(shop.root / "shop.db") == 100


@pytest.mark.long
@pytest.mark.parametrize("name", ["Shop.db", "sho", "shop.d", "", " ", "yes"])
def test_a_wrong_confirm_is_refused_even_with_yes(shop: Project, name: str) -> None:
    backed_up(shop)
    run(shop.root / "shop.db", "DELETE FROM item")
    ran = shop.invoke("db.restore", "--file=latest", f"--confirm={name}", "--yes")
    assert ran.returncode == 6, ran.stderr
    assert count(shop.root / "shop.db") == 0


def test_g19_a_protected_copy_elsewhere_needs_its_own_name(shop: Project) -> None:
    backed_up(shop)
    flags = ("db.restore", "--file=latest", "--into=copy.db", "--yes")
    assert shop.invoke(*flags, DBTASKS_PROTECT="shop").returncode == 0
    assert shop.invoke(*flags, DBTASKS_PROTECT="copy").returncode == 6
    assert shop.invoke(*flags, "--confirm=copy", DBTASKS_PROTECT="copy").returncode == 0


# -- which backup -----------------------------------------------------------------


def test_digits_are_always_a_number_of_the_list(shop: Project) -> None:
    first, second = backed_up(shop), backed_up(shop)
    assert ids(shop) == [second, first]
    shown = [document(shop.invoke("db.show", f"--file={n}", "--json"))["backup"]["id"] for n in (1, 2)]
    assert shown == [second, first]
    (shop.root / "3").write_bytes(b"a file of that name")
    assert shop.invoke("db.show", "--file=3").returncode == 4
    assert shop.invoke("db.show", "--file=0").returncode == 4
    assert shop.invoke("db.restore", "--file=3", "--unverified", "--yes").returncode == 4


@pytest.mark.long
def test_latest_can_be_of_a_type_and_is_never_a_safety_backup(shop: Project) -> None:
    daily = backed_up_by_task(shop, "--type=daily")
    manual = backed_up(shop)
    assert shop.invoke("db.restore", "--file=latest", "--yes").returncode == 0
    assert document(shop.invoke("db.show", "--json"))["backup"]["id"] == manual
    assert document(shop.invoke("db.show", "--file=latest:daily", "--json"))["backup"]["id"] == daily
    assert document(shop.invoke("db.show", "--file=latest:safety", "--json"))["backup"]["type"] == "safety"
    assert shop.invoke("db.show", "--file=latest:weekly").returncode == 4
    assert shop.invoke("db.show", "--file=latest:hourly").returncode == 2
    assert ids(shop, "--type=daily") == [daily]


def test_names_paths_and_beginnings_of_ids_mean_the_backup(shop: Project) -> None:
    made = backed_up(shop)
    path = archives(shop.root)[0]
    (shop.root / "sub").mkdir()
    for selector in (made, made[:5], path.name, str(path), "backups/manual/" + path.name):
        ran = shop.invoke("db.show", f"--file={selector}", "--json", cwd=shop.root / "sub")
        assert document(ran)["backup"]["id"] == made, selector


def test_a_beginning_that_several_ids_have_is_refused_with_their_list(shop: Project) -> None:
    first, second = backed_up(shop), backed_up(shop)
    for made, id_ in ((first, "aab234"), (second, "aac234")):
        old = next(p for p in archives(shop.root) if made in p.name)
        manifest = old.with_name(f"{old.name}.manifest.json")
        new = old.with_name(old.name.replace(made, id_))
        manifest.write_text(manifest.read_text().replace(made, id_))
        manifest.rename(new.with_name(f"{new.name}.manifest.json"))
        old.rename(new)
    ran = shop.invoke("db.show", "--file=aa")
    assert ran.returncode == 2
    assert "aab234" in ran.stderr
    assert "aac234" in ran.stderr
    assert document(shop.invoke("db.show", "--file=aab", "--json"))["backup"]["id"] == "aab234"


# -- at a terminal ----------------------------------------------------------------


@pytest.mark.long
@POSIX
@pytest.mark.parametrize("pick", ["number", "id", "enter"])
def test_at_a_terminal_a_backup_is_picked_and_the_name_typed(shop: Project, pick: str) -> None:
    old = backed_up(shop)
    run(shop.root / "shop.db", "DELETE FROM item WHERE id >= 60")
    backed_up(shop)
    run(shop.root / "shop.db", "DELETE FROM item")
    answer, rows = {"number": ("2\r", 100), "id": (f"{old}\r", 100), "enter": ("\r", 60)}[pick]
    name = {"number": "shop.db\r", "id": "shop\r", "enter": "shop.db\r"}[pick]
    seen = at_terminal(shop, "db.restore", dialog=[("Number or id", answer), (r"Type .*\(shop\.db\)", name)])
    assert seen.returncode == 0, seen.text
    assert count(shop.root / "shop.db") == rows
    assert (
        f"item  {rows:>6,}       0  +{rows}" in re.sub(r" {2,}", "  ", seen.text) or f"+{rows}" in seen.text
    )


@pytest.mark.long
@POSIX
@pytest.mark.parametrize(
    "dialog",
    [
        [("Number or id", "q\r")],
        [("Number or id", "\x04")],
        [("Number or id", "\r"), ("Type the", "shop.sqlite\r")],
        [("Number or id", "\r"), ("Type the", "\r")],
        [("Number or id", "\r"), ("Type the", "yes\r")],
        [("Number or id", "\r"), ("Type the", "\x04")],
    ],
    ids=["q", "end", "wrong", "enter", "yes", "end_at_name"],
)
def test_at_a_terminal_whatever_is_not_the_name_leaves_everything(
    shop: Project, dialog: list[tuple[str, str]]
) -> None:
    backed_up(shop)
    run(shop.root / "shop.db", "DELETE FROM item")
    before = tree_of(shop.root)
    seen = at_terminal(shop, "db.restore", dialog=dialog)
    assert seen.returncode == 6, seen.text
    assert tree_of(shop.root) == before


@POSIX
def test_the_end_of_input_is_no_consent_even_where_nothing_would_be_overwritten(shop: Project) -> None:
    backed_up(shop)
    (shop.root / "shop.db").unlink()
    seen = at_terminal(shop, "db.restore", dialog=[("Number or id", "\x04")])
    assert seen.returncode == 6, seen.text
    assert not (shop.root / "shop.db").exists()


@POSIX
def test_ctrl_c_at_a_question_ends_with_130_and_touches_nothing(shop: Project) -> None:
    backed_up(shop)
    before = tree_of(shop.root)
    seen = at_terminal(shop, "db.restore", dialog=[("Number or id", "\r"), ("Type the", "\x03")])
    assert seen.returncode == 130, seen.text
    assert "interrupted" in seen.text
    assert tree_of(shop.root) == before


@POSIX
def test_a_wrong_number_at_the_prompt_is_not_found(shop: Project) -> None:
    backed_up(shop)
    assert at_terminal(shop, "db.restore", dialog=[("Number or id", "9\r")]).returncode == 4


@pytest.mark.long
@POSIX
@pytest.mark.parametrize(("answer", "left"), [("yes\r", 1), ("y\r", 1), ("no\r", 3), ("\r", 3), ("\x04", 3)])
def test_at_a_terminal_cleanup_asks(shop: Project, answer: str, left: int) -> None:
    for _ in range(3):
        backed_up(shop)
    seen = at_terminal(shop, "db.cleanup", "--keep=1", dialog=[(r"Remove 2 backups\? \(yes/no\)", answer)])
    assert seen.returncode == (0 if left == 1 else 6), seen.text
    assert len(ids(shop)) == left


@POSIX
def test_the_list_fits_into_forty_columns(shop: Project) -> None:
    backed_up(shop)
    seen = at_terminal(shop, "db.list", columns=40)
    assert seen.returncode == 0
    assert max(map(len, seen.lines)) <= 40, seen.text
    wide = at_terminal(shop, "db.list", columns=200)
    assert "verified" in wide.text
    assert "verified" not in seen.text


@POSIX
@pytest.mark.parametrize("environ", [{"TERM": "dumb"}, {"CI": "true"}])
def test_no_escape_sequence_reaches_a_dumb_terminal_or_ci(shop: Project, environ: dict[str, str]) -> None:
    for task in ("db.backup", "db.list", "db.info"):
        seen = at_terminal(shop, task, **environ)
        assert seen.returncode == 0
        assert "\x1b" not in seen.text


@POSIX
def test_no_colour_is_ever_sent(shop: Project) -> None:
    make(shop.root / "large.db", 30_000, width=900)
    for environ in ({}, {"NO_COLOR": "1"}):
        seen = at_terminal(
            shop, "db.backup", "--compression=gzip", DATABASE_URL="sqlite:///large.db", **environ
        )
        assert seen.returncode == 0, seen.text
        assert not re.search(r"\x1b\[[0-9;]*m", seen.text)


@POSIX
def test_a_bar_on_an_ascii_terminal_is_ascii(shop: Project) -> None:
    make(shop.root / "large.db", 30_000, width=900)
    seen = at_terminal(
        shop,
        "db.backup",
        "--compression=gzip",
        DATABASE_URL="sqlite:///large.db",
        PYTHONIOENCODING="ascii",
    )
    assert seen.returncode == 0, seen.text
    assert seen.text.isascii()
    assert "\\x0d" not in seen.text


# -- poor surroundings ------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "environ", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}]
)
def test_output_survives_every_encoding(shop: Project, environ: dict[str, str]) -> None:
    make(shop.root / "läden.db")
    for arguments in (("db.backup", "--note=größer"), ("db.list",), ("db.show",), ("db.info",), ("db.log",)):
        ran = shop.invoke(*arguments, DATABASE_URL="sqlite:///läden.db", **environ)
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout
    ran = shop.invoke("db.show", "--file=99", **environ)
    assert ran.returncode == 4
    if environ.get("PYTHONIOENCODING"):
        assert ran.stderr.startswith("x there is no backup number 99")


def _piped(shop: Project, command: str) -> Ran:
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"],
        cwd=shop.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "INV": f"{sys.executable} -m invoke"},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.long
@POSIX
@pytest.mark.parametrize("task", ["db.list", "db.info", "db.show", "db.info --json", "db.log"])
def test_a_reader_that_leaves_early_is_no_error(shop: Project, task: str) -> None:
    backed_up(shop)
    ran = _piped(shop, f"$INV {task} | head -1")
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == ""
    assert ran.stdout


@POSIX
def test_a_reader_of_the_progress_that_leaves_does_not_stop_the_work(shop: Project) -> None:
    ran = _piped(shop, "$INV db.backup 2>&1 | true")
    assert ran.returncode == 0
    assert len(ids(shop)) == 1
    run(shop.root / "shop.db", "DELETE FROM item")
    ran = _piped(shop, "$INV db.restore --file=latest --yes 2>&1 | true")
    assert ran.returncode == 0
    assert count(shop.root / "shop.db") == 100


@POSIX
def test_a_failure_keeps_its_exit_code_when_nobody_reads(shop: Project) -> None:
    assert _piped(shop, "$INV db.show --file=99 2>&1 | true").returncode == 4
    backed_up(shop)
    damage(archives(shop.root)[0])
    assert _piped(shop, "$INV db.verify --all | true").returncode == 5


@POSIX
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_streams_stop_nothing(shop: Project, closed: str) -> None:
    ran = _piped(shop, f"$INV db.backup {closed}")
    assert "Traceback" not in ran.stderr
    assert "bug" not in ran.stderr
    assert ran.returncode == 0, ran.stderr
    assert len(ids(shop)) == 1


@pytest.mark.long
@POSIX
def test_g14_hostile_names_never_reach_the_terminal_raw(shop: Project) -> None:
    path = make(shop.root / "evil\x1b[31m\nname\x07.db")
    name = "ta\x1b]0;title\x07b\nle\x9b\u202e"
    run(path, f'CREATE TABLE "{name}" (a)')
    run(path, f'CREATE TABLE "{name}2" (a REFERENCES item (id))')
    run(path, f'INSERT INTO "{name}2" VALUES (4711)')
    project = {"DATABASE_URL": "sqlite:///evil%1B[31m%0Aname%07.db"}
    assert shop.invoke("db.info", **project).returncode == 0, shop.invoke("db.info", **project).stderr
    note = "--note=a\x1b[2Jb\nc"
    for arguments in (
        ("db.backup", note),
        ("db.backup", "--dry-run"),
        ("db.list",),
        ("db.list", "--all"),
        ("db.show",),
        ("db.info",),
        ("db.restore", "--file=latest", "--dry-run"),
        ("db.restore", "--file=latest"),
        ("db.restore", "--file=latest", "--yes"),
        ("db.cleanup", "--dry-run"),
        ("db.verify",),
        ("db.log",),
        ("db.show", "--file=a\x1b[31m\nb"),
        ("db.list", "--type=a\x1b[31m\nb"),
    ):
        ran = shop.invoke(*arguments, **project)
        assert ran.returncode in (0, 2, 4, 6), (arguments, ran.stderr)
        shown = ran.stdout + ran.stderr
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", shown), arguments
        assert not re.search(r"^(name|le|c|b)\b", shown, re.MULTILINE), (arguments, shown)


# -- what is written --------------------------------------------------------------


def test_output_hands_out_one_archive_and_keeps_it_out_of_the_list(shop: Project) -> None:
    (shop.root / "out").mkdir()
    assert shop.invoke("db.backup", "--output=out").returncode == 0
    assert shop.invoke("db.backup", "--output=out/mine.sqlite3").returncode == 0
    again = shop.invoke("db.backup", "--output=out/mine.sqlite3")
    assert again.returncode == 2
    assert "exists already" in again.stderr
    assert ids(shop) == []
    assert count(shop.root / "out" / "mine.sqlite3") == 100
    assert len(list((shop.root / "out").glob("*.sqlite3"))) == 2


def test_h03_retention_runs_after_a_backup_and_only_after_a_success(shop: Project) -> None:
    made = [backed_up_by_task(shop) for _ in range(4)]
    assert ids(shop) == made[:0:-1]
    daily = backed_up_by_task(shop, "--type=daily")
    assert len(ids(shop)) == 4  # types are counted apart
    assert shop.invoke("db.backup", DATABASE_URL="sqlite:///no.db").returncode == 3
    assert len(ids(shop)) == 4
    kept = backed_up_by_task(shop, "--skip-cleanup")
    assert ids(shop)[:2] == [kept, daily]
    assert len(ids(shop)) == 5


@POSIX
def test_a_cleanup_that_fails_after_a_good_backup_is_a_loss_not_a_failure(shop: Project) -> None:
    for _ in range(3):
        backed_up(shop)
    oldest = next(p for p in archives(shop.root) if ids(shop)[-1] in p.name)
    # a folder in the place of its tombstone: its manifest cannot be moved there
    (oldest.parent / f".{oldest.name}.removing").mkdir()
    ran = shop.invoke("db.backup", "--json")
    assert ran.returncode == 8, ran.stderr
    parsed = document(ran)
    assert parsed["backup"]["id"] in ids(shop)
    assert any(oldest.name in text for text in parsed["warnings"])


def test_the_log_has_one_line_per_run_success_and_failure(shop: Project) -> None:
    made = backed_up_by_task(shop)
    assert shop.invoke("db.restore", "--file=latest", "--yes").returncode == 0
    assert _locked(shop).returncode == 7
    lines = [json.loads(line) for line in (shop.root / "backups/log.jsonl").read_text().splitlines()]
    assert [(r["task"], r["ok"], r["exit_code"]) for r in lines] == [
        ("backup", True, 0),
        ("restore", True, 0),
        ("backup", False, 7),
    ]
    assert lines[0]["backup"] == made
    assert lines[0]["size_bytes"] > 0
    assert lines[2]["error"] == "busy"
    failed = document(shop.invoke("db.log", "--failed", "--json"))["runs"]
    assert [r["exit_code"] for r in failed] == [7]
    assert len(document(shop.invoke("db.log", "--last=2", "--json"))["runs"]) == 2
    with (shop.root / "backups/log.jsonl").open("a") as log:
        log.write('{"cut by a cra')
    assert len(document(shop.invoke("db.log", "--json"))["runs"]) == 3


def test_verify_marks_what_is_damaged_and_everything_else_follows_from_it(shop: Project) -> None:
    good, bad = backed_up(shop), backed_up(shop)
    damage(next(p for p in archives(shop.root) if bad in p.name))
    ran = shop.invoke("db.verify", "--all", "--json")
    assert ran.returncode == 5
    assert {v["id"]: v["ok"] for v in document(ran)["verified"]} == {good: True, bad: False}
    assert "damaged" in shop.invoke("db.list").stdout
    assert document(shop.invoke("db.show", "--json"))["backup"]["id"] == good
    assert shop.invoke("db.restore", f"--file={bad}", "--yes").returncode == 5
    assert shop.invoke("db.restore", "--file=1", "--yes").returncode == 5
    cleaned = document(shop.invoke("db.cleanup", "--keep=1", "--yes", "--json"))
    assert good not in [b["id"] for b in cleaned.get("removed", [])]
    assert document(shop.invoke("db.show", "--json"))["backup"]["id"] == good


def test_info_check_ends_with_10_only_when_something_is_wrong(shop: Project) -> None:
    assert shop.invoke("db.info", "--check").returncode == 0
    assert shop.invoke("db.info", "--check", DATABASE_URL="sqlite:///no.db").returncode == 10
    assert shop.invoke("db.info", DATABASE_URL="sqlite:///no.db").returncode == 0


def test_a_damaged_live_file_is_told_and_the_restore_says_where_it_went(shop: Project) -> None:
    backed_up(shop)
    (shop.root / "shop.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
    ran = shop.invoke("db.restore", "--file=latest", "--yes")
    assert ran.returncode == 0, ran.stderr
    assert "damaged" in ran.stderr
    (aside,) = shop.root.glob("shop.db__before_*")
    assert str(aside) in ran.stdout
    assert "until the next cleanup" not in ran.stdout


def test_debug_shows_the_traceback_and_nothing_else_does(shop: Project) -> None:
    assert "Traceback" in shop.invoke("--debug", "db.show", "--file=99").stderr
    assert "Traceback" not in shop.invoke("db.show", "--file=99").stderr
