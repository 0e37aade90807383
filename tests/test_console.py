"""What is shown, and that showing it never gets in the way."""

from __future__ import annotations

import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dbtasks.console import Console
from dbtasks.console.console import error_lines
from dbtasks.console.text import age_text, count_text, duration_text, printable, size_text, table_lines
from dbtasks.errors import CommandFailed, DbTasksError, Declined, SettingsError
from dbtasks.events import CommandStarted, Note, Phase, Progress, RowsSoFar, Warned
from tests.samples import MOMENT


class Stream(io.StringIO):
    """A stream that may be a terminal, and of any encoding."""

    def __init__(self, text: str = "", *, terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(text)
        self.terminal = terminal
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self.terminal


def console(**given: object) -> tuple[Console, Stream, Stream]:
    out, err = Stream(), Stream()
    return Console(stdin=Stream(), stdout=out, stderr=err, **given), out, err  # type: ignore[arg-type]


def test_a_result_is_the_only_thing_on_stdout() -> None:
    shown, out, err = console()
    for event in (Phase("dump", "shop"), Note("by the way"), Warned("careful"), Progress(1, 2)):
        shown(event)
    shown.say(["a plan"])
    assert out.getvalue() == ""
    shown.show("backup", ["✓ done"], {}, 0)
    assert out.getvalue() == "✓ done\n"
    assert "careful" in err.getvalue()


def test_json_is_one_document_with_every_warning_once() -> None:
    shown, out, err = console(as_json=True)
    shown(Warned("careful"))
    shown.warn("careful")
    shown.show("backup", ["not shown"], {"x": 1}, 8)
    document = json.loads(out.getvalue())
    assert document == {"ok": False, "task": "backup", "exit_code": 8, "x": 1, "warnings": ["careful"]}
    assert err.getvalue().count("careful") == 1


def test_a_failure_shows_all_its_parts_and_in_json_too() -> None:
    error = CommandFailed("pg_dump", "host", 3, "line one\nline two")
    error.state, error.hint = "nothing was published", "db.list shows the rest"
    assert error_lines(error) == [
        "✗ pg_dump exited 3 (host)",
        "  line one",
        "  line two",
        "  state: nothing was published",
        "  hint: db.list shows the rest",
    ]
    shown, out, _ = console(as_json=True)
    shown.spell = lambda text: text.replace("db.list", "invoke analytics.list")
    shown.fail("backup", error)
    parsed = json.loads(out.getvalue())
    assert parsed["error"]["code"] == "command_failed"
    assert parsed["error"]["hint"] == "invoke analytics.list shows the rest"
    assert parsed["exit_code"] == 9


def test_wrong_settings_are_shown_line_by_line() -> None:
    lines = error_lines(SettingsError("2 settings are wrong:\n  - keep\n  - format"))
    assert lines == ["✗ 2 settings are wrong:", "  - keep", "  - format"]


def test_commands_are_shown_with_echo_only() -> None:
    for echo in (False, True):
        shown, _, err = console(echo=echo)
        shown(CommandStarted("pg_dump -Fc", "host"))
        assert ("pg_dump" in err.getvalue()) is echo


def test_away_from_a_terminal_progress_is_silent_for_ten_seconds_then_one_line() -> None:
    shown, _, err = console()
    shown(Phase("dump"))
    for done in range(1000):
        shown(Progress(done, 1000))
    assert err.getvalue() == "  dump\n"
    shown._last -= 11
    shown(Progress(500 << 20, 1000 << 20))
    shown(Progress(501 << 20, 1000 << 20))
    assert err.getvalue() == "  dump\n  dump: 500 MiB (50%)\n"


def test_on_a_terminal_progress_is_a_bar_that_the_next_line_takes_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("CI", raising=False)
    err = Stream(terminal=True)
    shown = Console(stdin=Stream(), stdout=Stream(), stderr=err)
    shown(Phase("dump"))
    shown._last -= 1
    shown(Progress(50, 100))
    assert "\r  dump     ████████████             50 B\x1b[K" in err.getvalue()
    shown(Note("next"))
    assert err.getvalue().endswith("\r\x1b[K  next\n")


def test_questions_go_to_stderr_and_their_answer_is_stripped() -> None:
    out, err = Stream(), Stream(terminal=True)
    shown = Console(stdin=Stream("  shop \n", terminal=True), stdout=out, stderr=err)
    assert shown.may_ask
    assert shown.ask("Name?") == "shop"
    assert (out.getvalue(), err.getvalue()) == ("", "Name? ")
    with pytest.raises(Declined):
        shown.ask("Again?")


@pytest.mark.skipif(os.name != "posix", reason="a terminal of our own")
def test_ctrl_c_right_before_an_answer_is_read_is_heeded_at_once() -> None:
    typed, terminal = os.openpty()

    def interrupt() -> None:
        time.sleep(0.3)
        # like one between the question and the read, this one does not break off what the main thread waits in
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    late = threading.Timer(10, os.write, (typed, b"too late\n"))
    late.start()
    threading.Thread(target=interrupt).start()
    try:
        with os.fdopen(terminal) as stdin, pytest.raises(KeyboardInterrupt):
            Console(stdin=stdin, stdout=Stream(), stderr=Stream()).ask("Name?")
        assert late.is_alive()  # nobody had to type for it
    finally:
        late.cancel()
        late.join()
        os.close(typed)


@pytest.mark.parametrize("as_json", [False, True])
def test_nobody_is_asked_without_a_terminal_or_with_json(as_json: bool) -> None:
    assert not Console(stdin=Stream(terminal=as_json), as_json=as_json).may_ask


def test_a_reader_that_went_away_is_not_told_and_does_not_stop_the_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        shown = Console(stdin=Stream(), stdout=pipe, stderr=pipe)
        for _ in range(3):
            shown(Phase("dump", "x" * 9000))
        shown.show("backup", ["done"], {}, 0)
        shown.fail("backup", DbTasksError("failed"))


@given(st.text(), st.sampled_from(["utf-8", "ascii", "latin-1", "cp1252", "no-such", None]))
def test_whatever_a_text_holds_what_is_sent_is_one_line_the_stream_can_take(
    text: str, encoding: str | None
) -> None:
    safe = printable(text, encoding)
    assert all(c.isprintable() for c in safe)
    if encoding != "no-such":
        safe.encode(encoding or "ascii")


def test_signs_have_plain_counterparts() -> None:
    assert printable("✓ a → b … – █", "ascii") == "+ a -> b ... - #"
    assert printable("grün\x1b[31m\n", "ascii") == "gr\\xfcn\\x1b[31m\\x0a"


@given(
    st.lists(
        st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), min_size=1, max_size=5
    ),
    st.integers(40, 120),
)
def test_a_table_has_one_line_per_row(rows: list[tuple[str, str, str]], width: int) -> None:
    lines = table_lines(("a", "b", "c"), rows, right=(1,), drop=(2, 1), width=width)
    assert len(lines) == len(rows) + 1
    assert all(c.isprintable() for line in lines for c in line)


def test_a_table_that_does_not_fit_loses_its_least_important_columns_first() -> None:
    rows = [("1" * 20, "2" * 20, "3" * 20)]
    header = ("one", "two", "three")
    assert table_lines(header, rows, drop=(2, 1), width=80)[0].split() == ["one", "two", "three"]
    assert table_lines(header, rows, drop=(2, 1), width=50)[0].split() == ["one", "two"]
    assert table_lines(header, rows, drop=(2, 1), width=41)[0].split() == ["one"]
    assert table_lines(header, rows, drop=(2, 1), width=None)[0].split() == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("render", "value", "text"),
    [
        (size_text, 0, "0 B"),
        (size_text, 1023, "1023 B"),
        (size_text, 1536, "1.5 KiB"),
        (size_text, 438 << 20, "438 MiB"),
        (size_text, 3 << 40, "3.0 TiB"),
        (count_text, 9412880, "9,412,880"),
        (count_text, None, "–"),
        (duration_text, 0.44, "0.4 s"),
        (duration_text, 200, "3 min 20 s"),
        (duration_text, 7300, "2 h 1 min"),
        (duration_text, timedelta(seconds=14), "14 s"),
    ],
)
def test_numbers_are_shown_for_people(render: Callable[[object], str], value: object, text: str) -> None:
    assert render(value) == text


@pytest.mark.parametrize(
    ("ago", "text"),
    [
        (timedelta(0), "0 s ago"),
        (timedelta(minutes=-5), "in the future"),
        (timedelta(seconds=59), "59 s ago"),
        (timedelta(minutes=2), "2 min ago"),
        (timedelta(hours=47), "47 h ago"),
        (timedelta(days=3), "3 d ago"),
        (timedelta(days=30), "4 wk ago"),
        (timedelta(days=400), "13 mo ago"),
    ],
)
def test_ages_are_shown_in_one_unit(ago: timedelta, text: str) -> None:
    assert age_text(MOMENT - ago, MOMENT) == text


def test_rows_that_were_read_are_counted_in_rows() -> None:
    shown, _, err = console()
    shown(Phase("read"))
    shown._last -= 11
    shown(RowsSoFar(500_000, 1_000_000))
    shown._last -= 11
    shown(RowsSoFar(1))
    assert err.getvalue() == "  read\n  read: 500,000 rows (50%)\n  read: 1 row\n"
