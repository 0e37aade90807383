"""Pages that come from the code are current, and what they show is accepted by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dbtasks
from dbtasks.settings import KEYS, Levels, read_dotenv, resolve_settings
from tests.conftest import REPOSITORY

DOCS = REPOSITORY / "docs"


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text("utf-8")


def test_generated_pages_are_current():
    done = subprocess.run(
        [sys.executable, str(DOCS / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        cwd=REPOSITORY,
    )
    assert done.returncode == 0, done.stderr


def test_a_stale_page_is_named_and_fails_the_check(tmp_path):
    for folder in ("docs", "dbtasks"):
        (tmp_path / folder).symlink_to(REPOSITORY / folder)
    (tmp_path / "docs").unlink()
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "generate.py").write_text(text_of("docs/generate.py"))
    (tmp_path / "docs" / "faults.toml").write_text(text_of("docs/faults.toml"))
    command = [sys.executable, str(tmp_path / "docs" / "generate.py")]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    assert (tmp_path / "docs" / "settings.md").read_text("utf-8") == text_of("docs/settings.md")
    (tmp_path / ".env.example").write_text("old")
    done = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == ".env.example is stale: run `invoke docs`\n"
    assert (tmp_path / ".env.example").read_text() == "old"


def test_every_line_of_the_example_is_a_setting_that_is_accepted(tmp_path):
    lines = [line[1:] for line in text_of(".env.example").splitlines() if re.match(r"#[A-Z_]+=", line)]
    path = tmp_path / ".env"
    path.write_text("\n".join(lines))
    settings = resolve_settings(Levels(root=tmp_path, dotenv=read_dotenv(path)))
    assert (settings.require_target().name, settings.keep) == ("app.db", 3)
    named = {line.partition("=")[0].removeprefix("DBTASKS_").lower() for line in lines}
    assert {key.name for key in KEYS if not key.planned} - {"url", "env_prefix"} <= named


def test_the_page_of_settings_names_every_key_of_this_version_and_no_other():
    named = set(re.findall(r"^\| `(\w+)` \|", text_of("docs/settings.md"), re.MULTILINE))
    assert named == {key.name for key in KEYS if not key.planned}


def test_the_page_of_tasks_shows_every_task_and_flag():
    page = text_of("docs/tasks.md")
    for name, task in dbtasks.ns.tasks.items():
        section = page.partition(f"\n## db.{name}\n")[2].partition("\n## ")[0]
        for argument in task.get_arguments():
            assert f"--{argument.names[0]}" in section


def test_every_link_between_the_pages_leads_somewhere():
    for page in (*DOCS.glob("*.md"), *REPOSITORY.glob("*.md")):
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def chapters(page: Path, level: str = "#+") -> list[str]:
    """The anchors of a page's headings, as GitHub makes them; what looks like one in a block of code is none."""
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(rf"^{level} (.*)", prose, re.MULTILINE)
    return [re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings]


def test_every_link_to_a_chapter_leads_to_its_heading():
    for page in (*DOCS.glob("*.md"), *REPOSITORY.glob("*.md")):
        links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text("utf-8"))
        for target, anchor in links:
            there = page.parent / target if target else page
            assert anchor in chapters(there), f"{page.name} links to {target}#{anchor}"


def test_every_module_that_a_page_names_is_there():
    there = [f"/{path.relative_to(REPOSITORY).as_posix()}" for path in REPOSITORY.glob("**/*.py")]
    for page in (DOCS / "architecture.md", REPOSITORY / "CONTRIBUTING.md"):
        named = re.findall(r"`([\w/]+\.py)`", page.read_text("utf-8"))
        assert named
        assert [name for name in named if not any(path.endswith(f"/{name}") for path in there)] == []


def test_every_room_of_the_house_is_on_the_page():
    page = text_of("docs/architecture.md")
    rooms = [path.parent.name for path in REPOSITORY.glob("dbtasks/*/**/__init__.py")]
    assert "loading" in rooms
    assert [name for name in rooms if f"{name}/`" not in page] == []


def test_a_long_page_begins_with_its_contents():
    for page in DOCS.glob("*.md"):
        text = page.read_text("utf-8")
        if text.count("\n") > 95:
            contents = text.partition("\n## ")[0]
            assert [anchor for anchor in chapters(page, "##") if f"](#{anchor})" not in contents] == [], (
                page.name
            )


def faults() -> dict[str, dict[str, object]]:
    return tomllib.loads(text_of("docs/faults.toml"))


def tried() -> set[str]:
    """Every id that stands in a test's name."""
    names = (
        re.findall(r"def test_(\w+)", path.read_text("utf-8"))
        for path in (REPOSITORY / "tests").rglob("test_*.py")
    )
    found = (re.findall(r"(?<![a-z0-9])[a-h][0-9]{2}(?![0-9])", name) for listed in names for name in listed)
    return {id_.upper() for ids in found for id_ in ids}


def untried() -> set[str]:
    """Every id that has a reason, ranges taken apart."""
    found = set()
    for chosen in faults()["untried"]:
        first, _, last = chosen.partition("-")
        found |= {f"{first[0]}{n:02}" for n in range(int(first[1:]), int((last or first)[1:]) + 1)}
    return found


DEMANDED = {
    "A": (1, 26),
    "B": (1, 11),
    "C": (1, 9),
    "D": (1, 24),
    "E": (1, 20),
    "F": (1, 15),
    "G": (1, 21),
    "H": (1, 14),
}


def test_every_fault_that_has_to_be_tried_is_or_says_why_not():
    demanded = {f"{letter}{n:02}" for letter, (low, high) in DEMANDED.items() for n in range(low, high + 1)}
    assert demanded <= set(faults()["faults"])
    assert demanded - tried() <= untried()


def test_no_fault_is_called_untried_that_is_tried_and_none_is_tried_that_is_unknown():
    assert not tried() & untried()
    assert tried() <= set(faults()["faults"])


def test_a_reader_gets_from_every_promise_of_the_readme_to_its_faults_and_on_to_their_tests():
    readme = text_of("README.md")
    assert "(docs/reliability.md)" in readme.partition("## What it promises")[2].partition("\n## ")[0]
    page = text_of("docs/reliability.md")
    numbers = re.findall(
        r"^(\d+)\. ", readme.partition("## What it promises")[2].partition("\n## ")[0], re.MULTILINE
    )
    assert numbers == list(faults()["promises"]) == re.findall(r"^\| (\d+)\. ", page, re.MULTILINE)
    assert "no reason is known" not in page
    headings = {
        re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-")
        for line in re.findall(r"^#+ (.*)", page, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= headings
    for modules in faults()["promised_by_tests"].values():
        assert isinstance(modules, list)
        assert all((REPOSITORY / name).is_file() for name in modules)


SKIPS = """
import pytest

def test_skipped_inside():
    pytest.skip("no server")

@pytest.mark.skip(reason="never")
def test_skipped_by_mark():
    pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected():
    assert False
"""


@pytest.mark.parametrize(
    ("require", "outcome"), [("", "2 skipped, 1 xfailed"), ("pg", "1 failed, 1 xfailed, 1 error")]
)
def test_in_ci_a_skip_is_a_failure(tmp_path, require, outcome):
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n"
    )
    (tmp_path / "test_skips.py").write_text(SKIPS)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(tmp_path),
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "DBTASKS_REQUIRE": require, "PYTEST_ADDOPTS": ""},
    )
    assert outcome in done.stdout
    assert ("allows no skip" in done.stdout) == bool(require)


def test_a_module_that_skips_itself_is_a_failure_in_ci_too(tmp_path):
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_make_collect_report\n")
    (tmp_path / "test_module.py").write_text(
        "import pytest\npytest.skip('no server', allow_module_level=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "DBTASKS_REQUIRE": "pg", "PYTEST_ADDOPTS": ""},
    )
    assert done.returncode != 0
    assert "allows no skip: " in done.stdout


def test_ci_runs_the_test_command_of_the_readme():
    script = Path(REPOSITORY / ".ci" / "run").read_text("utf-8")
    command = re.search(r"\.venv/bin/(python -m pytest|invoke test)\b", text_of("README.md"))
    assert command
    assert f"\n{command[1]} 2>&1" in script
