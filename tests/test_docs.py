"""Pages that come from the code are current, and what they show is accepted by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
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
