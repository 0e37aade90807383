"""The pieces `invoke bench` is made of, on a small scale; nothing here looks at a clock."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks import __main__ as bench
from benchmarks import postgres_data, sqlite_data
from benchmarks.cases import GROUPS, ROWS, Figure, Row
from benchmarks.figures import BIG, TENTH, WIDE, Result, result_of
from benchmarks.groups import CONTENDERS
from benchmarks.measure import PROC, CommandBroke, Job, run
from benchmarks.picture import Bar, chart
from benchmarks.report import Run, page, picture
from benchmarks.rounds import Contender, Sample, play
from tests.conftest import REPOSITORY
from tests.fix_postgres import PgServer

RESULTS = REPOSITORY / "benchmarks" / "RESULTS.md"
HOLD = "import sys, time; held = bytearray(int(sys.argv[1])); time.sleep(1)"
MB = 1_000_000


def python(script: str, *arguments: str) -> Job:
    return Job([sys.executable, "-c", script, *arguments])


def sample(contender: str, round_: int = 1, **values: Any) -> Sample:
    seconds = values.pop("seconds", {"whole": 1.0})
    return Sample(
        contender, round_, seconds, **{"cpu_s": 0.0, "own_peak_mb": 10, "child_peak_mb": 0, **values}
    )


# -- measuring --------------------------------------------------------------------------


@pytest.mark.long
def test_the_memory_of_a_command_is_told_from_that_of_its_children() -> None:
    parent = (
        "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1], sys.argv[2]], check=True)"
    )
    own = run(python(HOLD, str(150 * MB)))
    # not the same program: a child that is still its parent's copy is passed over
    other = "import os, subprocess, sys; subprocess.run(['dd', 'if=/dev/zero', 'of=/dev/null', 'bs=150M', 'count=100'], check=True)"
    assert own.own_peak_mb > 150
    if PROC.joinpath("self/status").exists():
        below = run(python(other))
        assert below.own_peak_mb < 100 < 150 < below.child_peak_mb
        assert run(python(parent, HOLD, str(150 * MB))).child_peak_mb < 100


def test_cpu_time_of_children_is_counted() -> None:
    child = "print(sum(range(6_000_000)))"
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], check=True)"
    alone = run(python("pass")).cpu_s
    assert run(python(parent, child)).cpu_s > 2 * alone


def test_lines_of_stderr_come_with_their_second() -> None:
    said = run(python("import sys; print('one', file=sys.stderr); print('two', file=sys.stderr)")).said
    assert [text for _, text in said] == ["one", "two"]
    assert [second for second, _ in said] == sorted(second for second, _ in said)


def test_a_command_that_fails_is_an_error_with_its_last_words() -> None:
    with pytest.raises(CommandBroke, match=r"ended with 3\n.*no such day"):
        run(python("import sys; print('no such day', file=sys.stderr); sys.exit(3)"))


def test_output_goes_where_it_is_wanted(tmp_path: Path) -> None:
    run(Job([sys.executable, "-c", "print('here')"], stdout=tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "here\n"


# -- taking turns -------------------------------------------------------------------------


def test_contenders_take_turns_after_one_run_that_does_not_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    write = "import sys; open(sys.argv[1], 'a').write(sys.argv[2])"
    racing = [Contender(name, python(write, str(log), name)) for name in "abc"]
    samples, broken = play(racing, 2, lambda text: None)
    assert log.read_text() == "a" + "abc" * 2
    assert [(found.round, found.contender) for found in samples] == [(n, c) for n in (1, 2) for c in "abc"]
    assert broken == {}


def test_what_broke_is_left_out_of_the_next_rounds_and_the_others_go_on() -> None:
    tidied: list[str] = []
    racing = [
        Contender("good", python("pass")),
        Contender("bad", python("raise SystemExit(5)"), after=lambda: tidied.append("bad")),
    ]
    samples, broken = play(racing, 2, lambda text: None)
    assert [found.contender for found in samples] == ["good", "good"]
    assert list(broken) == ["bad"]
    assert tidied == ["bad"]


# -- figures --------------------------------------------------------------------------------


def test_a_ratio_is_taken_pair_by_pair_and_its_median_shown() -> None:
    row = Row("g", "what", "ours", Figure.RATIO, "theirs", aim=2.0)
    ours, theirs = (10.0, 6.0, 9.0), (10.0, 2.0, 6.0)  # 1, 3, 1.5; the ratio of the medians is another
    samples = [
        sample(name, number, seconds={"whole": value})
        for name, values in (("ours", ours), ("theirs", theirs))
        for number, value in enumerate(values)
    ]
    result = result_of(row, samples, {})
    assert result.value == 1.5
    assert result.spread == (1.0, 3.0)
    assert result.reached is True


def test_a_part_of_ours_is_compared_with_the_whole_of_theirs() -> None:
    row = Row("g", "what", "ours", Figure.MORE_SECONDS, "theirs", part="itself", aim=0.1)
    samples = [
        sample("ours", seconds={"itself": 4.0, "whole": 9.0}),
        sample("theirs", seconds={"whole": 3.0}),
    ]
    result = result_of(row, samples, {})
    assert result.value == 1.0
    assert result.reached is False


def test_flat_memory_is_judged_by_the_one_that_differs_most() -> None:
    row = Row("g", "what", "route", Figure.FLAT, aim=0.1)
    peaks = {BIG: 50.0, TENTH: 48.0, WIDE: 60.0}
    samples = [sample(f"route, {name}", own_peak_mb=peak) for name, peak in peaks.items()]
    assert result_of(row, samples, {}).value == pytest.approx(0.2)


def test_a_row_without_samples_says_why() -> None:
    row = Row("g", "what", "ours", Figure.RATIO, "pigz")
    result = result_of(row, [sample("ours")], {"pigz": "pigz is not installed here"})
    assert (result.value, result.why_not) == (None, "pigz is not installed here")


# -- the page ---------------------------------------------------------------------------------


def rendered(scale: float, load: float = 0.0) -> str:
    results = [Result(row, 0.5) for row in ROWS[:-1]] + [Result(ROWS[-1], None, "not\nhere")]
    samples = [sample("pg_dump | gzip", size_bytes=3 * MB, seconds={"whole": 2.0, "itself": 1.0})]
    return page(Run(scale, 3, {"PostgreSQL": "17.1"}, load), results, samples, "picture.svg")


def test_the_page_names_every_row_and_says_what_is_reached() -> None:
    text = rendered(1.0)
    table = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("|")]
    cells = {row[1].strip().replace("\\|", "|"): row for row in table}
    assert {row.what for row in ROWS} <= set(cells)
    assert all(len(row) == 7 for row in table[: len(ROWS) + 2])
    assert cells[".sql.gz: the whole task"][5].strip() == "yes"
    assert cells[ROWS[-1].what][3].strip() == "– (not)"
    spread = Result(ROWS[0], 1.25, spread=(1.1, 1.456))
    assert "| 1.25 (1.10–1.46) | ≤ 1.20 | **no** |" in page(Run(1.0, 3, {}), [spread], [], "")
    assert "busy" not in text and "not judged" not in text


def test_a_small_scale_and_a_busy_machine_are_said() -> None:
    text = rendered(0.05, load=7.0)
    assert "are not judged here" in text
    assert "load 7.0" in text
    assert "| yes |" not in text and "| **no** |" not in text


def test_a_busy_machine_leaves_time_unjudged_and_memory_not() -> None:
    lines = {
        line.split("|")[1].strip(): line for line in rendered(1.0, load=7.0).splitlines() if "| " in line
    }
    assert lines[".sql.gz: the whole task"].endswith("| – |")
    (peak, *_) = [row.what for row in ROWS if row.figure is Figure.PEAK]
    assert lines[peak].endswith("| yes |")


def test_the_picture_is_well_formed_and_marks_each_aim() -> None:
    drawn = ElementTree.fromstring(chart("a < b", [Bar("one & two", 9.0, 1.0), Bar("three", 0.5)], 4.0))
    texts = ["".join(found.itertext()) for found in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "one & two", "9.00", "three", "0.50"} <= set(texts)
    assert len(list(drawn.iter("{http://www.w3.org/2000/svg}line"))) == 2
    assert picture([Result(ROWS[0], 1.0)]).startswith("<svg")


def test_the_published_page_names_every_case_with_its_aim() -> None:
    published = RESULTS.read_text("utf-8")
    empty = page(Run(1, 3, {}), [Result(row, None) for row in ROWS], [], "")
    for line in empty.splitlines():
        if "– ()" in line:
            what, beside, _, aim, _ = re.split(r"(?<!\\)\|", line)[1:-1]
            assert re.search(
                rf"^\|{re.escape(what)}\|{re.escape(beside)}\|[^|]*\|{re.escape(aim)}\|",
                published,
                re.MULTILINE,
            ), f"{what.strip()} is not in RESULTS.md: run invoke bench"
    assert (RESULTS.parent / "results.svg").is_file()


def test_every_group_of_cases_has_its_contenders() -> None:
    assert set(CONTENDERS) == set(GROUPS)
    assert len({row.what for row in ROWS}) == len(ROWS)


# -- data ---------------------------------------------------------------------------------------


def test_the_sqlite_shop_has_rows_keys_and_wide_values(tmp_path: Path) -> None:
    small, large = tmp_path / "small.db", tmp_path / "large.db"
    assert sqlite_data.build_shop(small, 0.001) < sqlite_data.build_shop(large, 0.003)
    with contextlib.closing(sqlite3.connect(large)) as shop:
        assert shop.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in ("user", "purchase", "purchase_line", "document"):
            assert shop.execute(f"SELECT count(*) FROM {table}").fetchone()[0] > 50
    sqlite_data.build_wide(tmp_path / "wide.db", 100_000)
    with contextlib.closing(sqlite3.connect(tmp_path / "wide.db")) as wide:
        assert wide.execute("SELECT max(length(content)) FROM wide").fetchone() == (100_000,)


def test_the_postgresql_shop_grows_with_its_scale_and_has_every_kind_of_key(pg17: PgServer) -> None:
    sizes = []
    for scale in (0.001, 0.004):
        with pg17.fresh() as database, contextlib.closing(database.connect()) as connection:
            sizes.append(postgres_data.build_shop(connection, scale))
            assert database.run("SELECT count(*) FROM pg_constraint WHERE contype = 'f'") == [(4,)]
            methods = database.run("SELECT DISTINCT amname FROM pg_am JOIN pg_class c ON relam = pg_am.oid")
            assert {("btree",), ("gin",)} <= set(methods)
            for table in (
                "customer",
                "product",
                "purchase",
                "purchase_line",
                "activity",
                "document",
                "reading",
            ):
                assert database.run(f"SELECT count(*) >= 20 FROM {table}") == [(True,)], table
    assert sizes[0] < sizes[1]


def test_many_tables_and_wide_values_are_built(pg17: PgServer) -> None:
    with pg17.fresh() as database, contextlib.closing(database.connect()) as connection:
        postgres_data.build_many(connection, 21)
        assert database.run("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [(21,)]
    with pg17.fresh() as database, contextlib.closing(database.connect()) as connection:
        postgres_data.build_wide(connection, 200_000)
        ((text, content),) = database.run("SELECT min(length(body)), min(length(content)) FROM wide")
        assert 190_000 <= text <= 210_000
        assert 190_000 <= content <= 210_000


# -- all of it together ---------------------------------------------------------------------------


def figures_of(*groups: str) -> dict[str, Result]:
    results, _, _ = bench.measure(groups, 0.002, 1, keep=False)
    return {result.row.what: result for result in results}


@pytest.mark.long
def test_a_partial_run_writes_its_page_and_samples_below_build_and_leaves_the_published_page(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "RAW", tmp_path / "build")
    monkeypatch.setattr(bench, "PUBLISHED", tmp_path / "published")
    assert bench.main(["--only=sqlite", "--scale=0.002", "--rounds=1"]) == 0
    written = (tmp_path / "build" / "RESULTS.md").read_text("utf-8")
    assert capsys.readouterr().out.strip() == written.strip()
    assert not (tmp_path / "published").exists()
    samples = json.loads((tmp_path / "build" / "samples.json").read_text())
    assert {found["contender"] for found in samples} >= {"cp", "SQLite backup", "SQLite backup itself"}
    for row in ROWS:
        if row.group == "sqlite":
            assert re.search(rf"^\| {row.what} \|[^|]+\| \+?[0-9]", written, re.MULTILINE), row.what


def test_the_task_hands_its_flags_on() -> None:
    refused = subprocess.run(
        [sys.executable, "-m", "invoke", "bench", "--only=nothing"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "invalid choice: 'nothing'" in refused.stderr


@pytest.mark.long
@pytest.mark.slow
def test_dumps_and_restores_are_measured_from_data_to_figures() -> None:
    found = figures_of("dump", "gzip", "rows", "rows-restore", "rows-diff", "restore", "gate")
    for name, result in found.items():
        if "pigz" not in name:
            assert result.value is not None, (name, result.why_not)


@pytest.mark.long
@pytest.mark.slow
def test_a_container_is_measured_from_data_to_figures(docker_client: Any) -> None:
    for name, result in figures_of("container").items():
        assert result.value is not None, (name, result.why_not)


@pytest.mark.long
def test_without_pgloader_the_rows_beside_it_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.moved.shutil.which", lambda name: None)
    result = figures_of("migrate")["for comparison: pgloader beside a bare COPY"]
    assert (result.value, result.why_not) == (None, "pgloader is not installed here")


def test_without_docker_the_container_rows_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody.sock")
    for result in figures_of("container").values():
        assert (result.value, result.why_not) == (None, "no Docker engine answers here")
