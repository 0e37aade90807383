"""Projects that mount the collection, each a real `invoke` process in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, TASKS_PY, Project
from tests.sqlite.databases import count, make, run

TWO_MOUNTS = """\
from invoke import Collection
import dbtasks

ns = Collection()
ns.add_collection(dbtasks, name="db")
ns.add_collection(Collection.from_module(dbtasks, name="analytics", config={"dbtasks": {"env_prefix": "ANALYTICS_"}}))
"""
TWO = {"DATABASE_URL": "sqlite:///shop.db", "ANALYTICS_URL": "sqlite:///stats.db"}
HELP = Path(__file__).parent / "data" / "help"
TASKS = (
    "adopt",
    "backup",
    "cleanup",
    "diff",
    "info",
    "list",
    "log",
    "migrate",
    "restore",
    "show",
    "undo",
    "verify",
)


@pytest.fixture
def host(project: Project) -> Project:
    """Two databases, shop.db of 100 rows and stats.db of 7; no tasks.py yet."""
    make(project.root / "shop.db", 100)
    make(project.root / "stats.db", 7)
    return project


def ok(ran: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert ran.returncode == 0, ran.stderr
    return ran


def info(host: Project, task: str = "db.info", *core: str, **environ: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(ok(host.invoke(*core, task, "--json", **environ)).stdout)
    return parsed


def setting(document: dict[str, Any], name: str) -> tuple[str, str]:
    (found,) = [s for s in document["settings"] if s["name"] == name]
    return found["value"], found["source"]


def names(folder: Path) -> list[str]:
    """Return which databases have a backup in a folder, sorted."""
    return sorted(p.name.split("_")[0] for p in folder.rglob("*.sqlite3"))


# -- two mounts ---------------------------------------------------------------------


def test_two_mounts_on_one_command_line_both_run_each_on_its_own_database(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    ran = ok(host.invoke("db.backup", "analytics.backup", **TWO))
    assert names(host.root) == ["shop", "stats"]
    assert "invoke db.restore --file=" in ran.stdout
    assert "invoke analytics.restore --file=" in ran.stdout


def test_the_same_task_twice_of_one_mount_runs_twice(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    ok(host.invoke("db.backup", "--type=daily", "db.backup", "--type=weekly", **TWO))
    assert names(host.root) == ["shop", "shop"]


def test_a_list_shows_its_mounts_backups_only(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    ok(host.invoke("db.backup", "analytics.backup", **TWO))
    for task, name in (("db.list", "shop.db"), ("analytics.list", "stats.db")):
        (only,) = json.loads(host.invoke(task, "--json", **TWO).stdout)["backups"]
        assert only["database"]["name"] == name


def test_mounts_of_other_names_and_depths_run_on_their_own_databases(host: Project) -> None:
    host.mount("""\
from invoke import Collection
import dbtasks

def second(name):
    return Collection.from_module(dbtasks, name=name, config={"dbtasks": {"env_prefix": "ANALYTICS_"}})

ns = Collection()
ns.add_collection(dbtasks, name="database")
ops = Collection("ops")
deep = Collection("deep")
deep.add_collection(second("numbers"))
ops.add_collection(deep)
ns.add_collection(ops)
""")
    ran = ok(host.invoke("database.backup", "ops.deep.numbers.backup", **TWO))
    assert names(host.root) == ["shop", "stats"]
    assert "invoke database.restore" in ran.stdout
    assert "invoke ops.deep.numbers.restore" in ran.stdout


def test_the_collection_as_the_projects_own_root_works(host: Project) -> None:
    host.mount("from dbtasks import ns\n")
    ran = ok(host.invoke("backup", **TWO))
    assert "invoke restore --file=" in ran.stdout
    assert names(host.root) == ["shop"]


@pytest.mark.long
@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("value", ["", "'url': 'sqlite:///shop.db', ", "'backup_dir': 'elsewhere', "])
def test_a_configure_at_the_root_never_moves_the_second_mounts_database(
    host: Project, value: str, order: str
) -> None:
    configure = f"ns.configure({{'dbtasks': {{{value}'keep': 5}}}})\n"
    mounts = TWO_MOUNTS.replace(
        "ns = Collection()\n", "ns = Collection()\n" + configure * (order == "before")
    )
    host.mount(mounts + configure * (order == "after"))
    environ = {"ANALYTICS_URL": "sqlite:///stats.db"}
    if "url" not in value:
        environ["DATABASE_URL"] = "sqlite:///shop.db"
    assert info(host, "analytics.info", **environ)["target"]["name"] == "stats.db"
    document = info(host, "db.info", **environ)
    assert document["target"]["name"] == "shop.db"
    assert setting(document, "keep") == ("5", "configure() of the host")
    ok(host.invoke("db.backup", "analytics.backup", **environ))
    assert names(host.root) == ["shop", "stats"]


def test_a_configure_of_one_key_keeps_every_other_default(host: Project) -> None:
    host.mount(TASKS_PY + "ns.configure({'dbtasks': {'keep': 9}})\n")
    document = info(host, **TWO)
    assert setting(document, "keep")[0] == "9"
    assert setting(document, "min_keep") == ("1", "default")
    assert setting(document, "lock_timeout") == ("30", "default")
    assert setting(document, "safety_backup") == ("on", "default")


def test_a_mount_with_a_prefix_reads_neither_bare_names_nor_dbtasks_names(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    everything = {
        **TWO,
        "DBTASKS_URL": "sqlite:///shop.db",
        "INVOKE_DBTASKS_URL": "sqlite:///shop.db",
        "DBTASKS_KEEP": "8",
        "INVOKE_DBTASKS_MIN_KEEP": "4",
        "ANALYTICS_KEEP": "6",
    }
    document = info(host, "analytics.info", **everything)
    assert document["target"]["name"] == "stats.db"
    assert setting(document, "keep") == ("6", "ANALYTICS_KEEP in the environment")
    assert setting(document, "min_keep") == ("1", "default")
    bare = {k: v for k, v in everything.items() if k != "ANALYTICS_URL"}
    refused = host.invoke("analytics.backup", **bare)
    assert refused.returncode == 2
    assert "ANALYTICS_URL" in refused.stderr
    assert names(host.root) == []


def test_a_mount_with_a_prefix_takes_the_conventional_names_with_its_prefix(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    for name in ("ANALYTICS_URL", "ANALYTICS_DATABASE_URL"):
        assert info(host, "analytics.info", **{name: "sqlite:///stats.db"})["target"]["name"] == "stats.db"


BOUND = TASKS_PY + (
    "ns.add_collection(Collection.from_module(dbtasks, name='archive',"
    " config={'dbtasks': {'url': 'sqlite:///stats.db'}}))\n"
)


@pytest.mark.parametrize("name", ["DBTASKS_URL", "INVOKE_DBTASKS_URL"])
def test_a_url_bound_in_code_is_not_moved_by_a_process_wide_source(host: Project, name: str) -> None:
    host.mount(BOUND)
    ran = host.invoke("archive.backup", **{name: "sqlite:///shop.db"})
    assert ran.returncode == 2
    assert "shop.db" in ran.stderr
    assert "stats.db" in ran.stderr
    assert names(host.root) == []
    assert info(host, "archive.info", **{name: "sqlite:///stats.db"})["target"]["name"] == "stats.db"


def test_a_url_bound_in_code_wins_over_database_url_and_that_is_said(host: Project) -> None:
    host.mount(BOUND)
    ran = ok(host.invoke("archive.backup", DATABASE_URL="sqlite:///shop.db"))
    assert names(host.root) == ["stats"]
    assert "DATABASE_URL" in ran.stderr
    assert "the latter is used" in ran.stderr


# -- where settings come from -------------------------------------------------------


def test_invoke_yaml_env_and_a_file_given_with_f_reach_the_mount(host: Project) -> None:
    host.mount()
    (host.root / "invoke.yaml").write_text("dbtasks:\n  url: sqlite:///shop.db\n  keep: 4\n  min_keep: 2\n")
    document = info(host)
    assert document["target"]["name"] == "shop.db"
    assert setting(document, "keep") == ("4", "the project's invoke.yaml")
    (host.root / "ci.yaml").write_text("dbtasks:\n  keep: 6\n")
    document = info(host, "db.info", "-f", "ci.yaml")
    assert setting(document, "keep") == ("6", "the file given with -f")
    assert setting(document, "min_keep") == ("2", "the project's invoke.yaml")
    document = info(host, "db.info", "-f", "ci.yaml", INVOKE_DBTASKS_KEEP="7")
    assert setting(document, "keep") == ("7", "INVOKE_DBTASKS_*")
    document = info(host, DBTASKS_KEEP="8", INVOKE_DBTASKS_KEEP="7")
    assert setting(document, "keep") == ("8", "DBTASKS_KEEP in the environment")


@pytest.mark.long
@pytest.mark.parametrize("value", ["false", "0", "off", "no"])
def test_a_switch_in_invokes_environment_is_read_as_it_is_written(host: Project, value: str) -> None:
    host.mount()
    assert setting(info(host, **TWO, INVOKE_DBTASKS_SAFETY_BACKUP=value), "safety_backup")[0] == value
    ok(host.invoke("db.backup", **TWO))
    environ = {**TWO, "INVOKE_DBTASKS_SAFETY_BACKUP": value}
    document = json.loads(ok(host.invoke("db.restore", "--file=1", "--yes", "--json", **environ)).stdout)
    assert document["restore"]["safety_backup"] is None


def test_a_dotenv_alone_is_enough_and_reaches_no_host_task(host: Project) -> None:
    host.mount(
        TASKS_PY
        + """
import os
from invoke import task

@task
def show_environment(c):
    print("url:", os.environ.get("DATABASE_URL"))

ns.add_task(show_environment)
"""
    )
    host.dotenv("DATABASE_URL=sqlite:///shop.db\nDBTASKS_KEEP=2\n")
    ran = ok(host.invoke("db.backup", "show-environment"))
    assert "url: None" in ran.stdout
    assert names(host.root) == ["shop"]
    document = info(host)
    assert setting(document, "keep") == ("2", "DBTASKS_KEEP in .env")


@pytest.mark.parametrize(
    ("where", "environ"),
    [
        ("yaml", {}),
        ("configure", {}),
        ("mount", {}),
        ("environment", {"DBTASKS_KEP": "4"}),
        ("invoke", {"INVOKE_DBTASKS_KEP": "4"}),
        ("dotenv", {}),
    ],
)
def test_an_unknown_key_is_refused_wherever_it_stands(
    host: Project, where: str, environ: dict[str, str]
) -> None:
    text = {
        "configure": TASKS_PY + "ns.configure({'dbtasks': {'kep': 4}})\n",
        "mount": TASKS_PY.replace(
            'ns.add_collection(dbtasks, name="db")',
            "ns.add_collection(Collection.from_module(dbtasks, name='db', config={'dbtasks': {'kep': 4}}))",
        ),
    }
    host.mount(text.get(where, TASKS_PY))
    if where == "yaml":
        (host.root / "invoke.yaml").write_text("dbtasks: {kep: 4}\n")
    if where == "dotenv":
        host.dotenv("DBTASKS_KEP=4\n")
    ran = host.invoke("db.list", **TWO, **environ)
    assert ran.returncode == 2, ran.stderr
    assert re.search(r"did you mean ([A-Z_]+_)?keep\?", ran.stderr, re.IGNORECASE)


def test_a_dbtasks_tree_that_is_no_mapping_is_refused(host: Project) -> None:
    host.mount()
    (host.root / "invoke.yaml").write_text("dbtasks: nonsense\n")
    ran = host.invoke("db.list", **TWO)
    assert ran.returncode == 2, ran.stderr
    assert "Traceback" not in ran.stderr


# -- where it is started ------------------------------------------------------------


def test_started_in_a_subfolder_backups_land_in_the_project(host: Project) -> None:
    host.mount()
    deep = host.root / "src" / "shop"
    deep.mkdir(parents=True)
    ok(host.invoke("db.backup", cwd=deep, **TWO))
    assert names(host.root / "backups") == ["shop"]
    assert not (deep / "backups").exists()
    ok(host.invoke("db.restore", "--file=latest", "--into=copy.db", "--yes", cwd=deep, **TWO))
    assert count(host.root / "copy.db") == 100
    host.dotenv("DATABASE_URL=sqlite:///stats.db\n")
    ok(host.invoke("db.backup", cwd=deep))
    assert names(host.root / "backups") == ["shop", "stats"]


def test_a_project_without_git_or_dotenv_has_its_root_beside_its_tasks_py(host: Project) -> None:
    (host.root / ".git").rmdir()
    host.mount()
    (host.root / "sub").mkdir()
    ok(host.invoke("db.backup", cwd=host.root / "sub", **TWO))
    assert names(host.root / "backups") == ["shop"]


# -- called from host code ----------------------------------------------------------


CALLING = (
    TASKS_PY
    + """
from invoke import task

@task
def nightly(c):
    made = dbtasks.ns["backup"](c, type_="daily")
    print("made", made.manifest.type)

@task(pre=[dbtasks.ns["backup"]])
def deploy(c):
    print("deployed")

@task
def careful(c):
    dbtasks.ns["restore"](c, file="latest", yes=True)
    print("never reached")

ns.add_task(nightly)
ns.add_task(deploy)
ns.add_task(careful)
"""
)


def test_a_task_of_ours_called_from_a_hosts_own_task_works_and_returns_its_result(host: Project) -> None:
    host.mount(CALLING)
    ran = ok(host.invoke("nightly", **TWO))
    assert "made daily" in ran.stdout
    assert names(host.root / "backups" / "daily") == ["shop"]


def test_a_task_of_ours_as_pre_task_runs_first(host: Project) -> None:
    host.mount(CALLING)
    ran = ok(host.invoke("deploy", **TWO))
    assert ran.stdout.index("✓") < ran.stdout.index("deployed")
    assert names(host.root) == ["shop"]
    failing = host.invoke("deploy", DATABASE_URL="sqlite:///no.db")
    assert failing.returncode == 3
    assert "deployed" not in failing.stdout


def test_a_failure_inside_a_hosts_task_ends_it_with_the_tasks_code(host: Project) -> None:
    host.mount(CALLING)
    ran = host.invoke("careful", **TWO)
    assert ran.returncode == 4
    assert "never reached" not in ran.stdout
    assert "Traceback" not in ran.stderr


def test_a_hosts_configure_reaches_a_task_called_from_its_code(host: Project) -> None:
    host.mount(CALLING + "ns.configure({'dbtasks': {'backup_dir': 'kept'}})\n")
    ok(host.invoke("nightly", **TWO))
    assert names(host.root / "kept") == ["shop"]


# -- without a tasks.py -------------------------------------------------------------


def script(host: Project, *arguments: str, cwd: Path | None = None, **environ: str) -> Any:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "DBTASKS_"))}
    return subprocess.run(
        [sys.executable, "-m", "dbtasks", *arguments],
        cwd=cwd or host.root,
        env={**inherited, "PYTHONPATH": str(REPOSITORY), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_console_script_needs_no_tasks_py(host: Project) -> None:
    made = ok(script(host, "backup", **TWO))
    assert "dbtasks restore --file=" in made.stdout
    assert names(host.root / "backups") == ["shop"]
    assert "manual" in ok(script(host, "list", **TWO)).stdout
    run(host.root / "shop.db", "DELETE FROM item")
    ok(script(host, "restore", "--file=latest", "--yes", **TWO))
    assert count(host.root / "shop.db") == 100
    assert script(host, "show", "--file=99", **TWO).returncode == 4


def test_the_console_scripts_help_shows_its_own_commands(host: Project) -> None:
    for arguments in (("backup", "--help"), ("--help", "backup")):
        told = ok(script(host, *arguments)).stdout
        assert "dbtasks backup --type=daily" in told
        assert "invoke db." not in told


def test_the_console_script_finds_a_project_by_its_tasks_py_from_a_subfolder(host: Project) -> None:
    deep = host.root / "app" / "sub"
    deep.mkdir(parents=True)
    host.mount(CALLING)
    ok(script(host, "backup", cwd=deep, **TWO))
    assert names(host.root / "backups") == ["shop"]
    assert not (deep / "backups").exists()
    # a package's own, such as Celery's, is not taken for the project's where that says more clearly where it is
    (deep.parent / "tasks.py").touch()
    (host.root / ".env").touch()
    ok(script(host, "backup", cwd=deep, **TWO))
    assert names(host.root / "backups") == ["shop", "shop"]


def test_the_console_script_reads_the_projects_invoke_yaml_and_dotenv_from_a_subfolder(
    host: Project,
) -> None:
    (host.root / "invoke.yaml").write_text("dbtasks:\n  keep: 4\n")
    host.dotenv("DATABASE_URL=sqlite:///shop.db\n")
    (host.root / "sub").mkdir()
    document = json.loads(ok(script(host, "info", "--json", cwd=host.root / "sub")).stdout)
    assert document["root"] == str(host.root)
    assert document["target"]["name"] == "shop.db"
    assert setting(document, "keep") == ("4", "the project's invoke.yaml")
    ok(script(host, "backup", cwd=host.root / "sub"))
    assert names(host.root / "backups") == ["shop"]


def test_the_console_script_is_no_slave_of_a_tasks_py_beside_it(host: Project) -> None:
    host.mount("raise SystemExit('a tasks.py that must not be loaded')\n")
    ok(script(host, "backup", **TWO))
    assert names(host.root) == ["shop"]


# -- what it costs a host -----------------------------------------------------------


LIST = """
import sys
before = set(sys.modules)
sys.argv = ["invoke", "--list"]
from invoke.main import program
try:
    program.run()
except SystemExit:
    pass
print(*sorted(set(sys.modules) - before), file=sys.stderr)
"""


def _modules(host: Project) -> set[str]:
    ran = subprocess.run(
        [sys.executable, "-c", LIST],
        cwd=host.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stderr.split())


def test_listing_tasks_loads_the_task_layer_and_nothing_of_what_it_calls(host: Project) -> None:
    host.mount("from invoke import Collection\nns = Collection()\n")
    bare = _modules(host)
    host.mount()
    ours = _modules(host) - bare
    assert "dbtasks.tasks.backup" in ours
    assert {m for m in ours if m.startswith("dbtasks")} == {
        "dbtasks",
        *(
            f"dbtasks.tasks{m}"
            for m in (
                "",
                ".backup",
                ".boundary",
                ".browse",
                ".consent",
                ".diff",
                ".migrate",
                ".mounts",
                ".restore",
                ".adopt",
                ".restore_tables",
                ".undo",
                ".upkeep",
                ".verify",
            )
        ),
        "dbtasks.errors",
    } & ours
    # some installers' own hooks have loaded __future__ before, others have not
    assert {m.split(".")[0] for m in ours} - {"__future__"} == {"dbtasks"}, (
        "no module of the standard library is loaded for it"
    )


def _help(host: Project, task: str) -> str:
    ran = ok(host.invoke("--help", f"db.{task}", COLUMNS="80"))
    return ran.stdout.rstrip("\n") + "\n"


@pytest.mark.parametrize("task", TASKS)
def test_the_help_of_each_task_is_the_one_that_was_read_and_approved(host: Project, task: str) -> None:
    """Set DBTASKS_TEST_WRITE_HELP=1 to write the pages anew, then read the difference."""
    host.mount()
    text, page = _help(host, task), HELP / f"{task}.txt"
    if os.environ.get("DBTASKS_TEST_WRITE_HELP"):
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    assert text == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("task", TASKS)
def test_each_task_has_examples_exit_codes_help_for_each_flag_and_no_short_flags(
    host: Project, task: str
) -> None:
    host.mount()
    text = _help(host, task)
    docstring, _, options = text.partition("Options:")
    assert "Examples:" in docstring
    assert f"invoke db.{task}" in docstring
    assert "Exit codes:" in docstring
    assert re.search(r"^ +0  ", docstring, re.MULTILINE)
    flags = re.findall(r"^  (-\S+)(.*)$", options, re.MULTILINE)
    assert {"--json", "--dry-run"} <= {flag.partition("=")[0] for flag, _ in flags}
    for flag, rest in flags:
        assert flag.startswith("--")
        assert rest.strip(), f"{flag} has no help"


@pytest.mark.parametrize("task", TASKS)
def test_a_stray_word_is_a_parse_error_not_an_argument(host: Project, task: str) -> None:
    host.mount()
    ran = host.invoke(f"db.{task}", "stray", **TWO)
    assert ran.returncode == 1
    assert "stray" in ran.stderr
    assert names(host.root) == []


def test_the_projects_list_shows_each_task_with_one_line_of_help(host: Project) -> None:
    host.mount(TWO_MOUNTS)
    listed = ok(host.invoke("--list")).stdout
    for mount in ("db", "analytics"):
        for task in TASKS:
            assert re.search(rf"^  {mount}\.{task} +[A-Z]\w+ ", listed, re.MULTILINE)


def test_a_host_without_configuration_is_told_the_shortest_way(host: Project) -> None:
    host.mount()
    ran = host.invoke("db.backup")
    assert ran.returncode == 2
    assert "DATABASE_URL" in ran.stderr
    assert "for instance" in ran.stderr
