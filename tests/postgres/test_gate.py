"""The gate in front of psql: what it passes, leaves out and refuses. Its counterpart is psql's own scanner."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dbtasks.engines.postgres.script.gate import Gate
from dbtasks.errors import ArchiveDamaged, Refused
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.rich import count, fill, tool

END = b"\n--\n-- PostgreSQL database dump complete\n--\n"
MODE = b"\nSET standard_conforming_strings = on; SET client_encoding = 'UTF8';\n"


class Blocks:
    """A source that gives its bytes in pieces of chosen sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self._stream = io.BytesIO(data)
        self._sizes = sizes
        self._turn = 0

    def read(self, size: int = -1) -> bytes:
        wanted = self._sizes[self._turn % len(self._sizes)]
        self._turn += 1
        return self._stream.read(wanted)


def passed(script: bytes, sizes: list[int] | None = None, *, without: frozenset[str] = frozenset()) -> bytes:
    """What psql gets to see, without the settings the gate adds."""
    return b"".join(Gate(Blocks(script, sizes or [1 << 20]), without=without)).replace(MODE, b"")


INNOCENT = {
    "rows with backslashes": b"COPY t (a) FROM stdin;\n\\N\n\\\\.\n\\!\n\\.x\n\\.\nSELECT 1;",
    "rows with carriage returns at their end": b"COPY t FROM stdin;\r\na\r\n\\.\r\nSELECT 1;",
    "a table without rows": b"COPY t FROM stdin;\n\\.\n\n",
    "a table named over two lines": b'COPY "a\n;b" ("\\!") FROM stdin;\n1\n\\.\n',
    "a comment between COPY and its rows' end": b"COPY t /* ; */ FROM stdin;\n\\.\n",
    "a backslash at the end of a string": b"SELECT 'C:\\'; SELECT '\\! x';",
    "an escape string": b"SELECT E'\\'; \\! x ''\\', ' , e'\\\\';",
    "a dollar quote": b"DO $$ \\! x ' $$; DO $a$ $$ \\! $b$a$; SELECT $1;",
    "a quoted name": b'SELECT "\\! x "" \\!";',
    "a line comment": b"-- \\! x 'quote\nSELECT 1; --\\! \n",
    "nested comments": b"/* \\! /* ' */ \\! */ SELECT 1 /*/**/*/;",
    "a function with semicolons": b"CREATE FUNCTION f() BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 1; END;\nSELECT 1;",
    "a rule with semicolons": b"CREATE RULE r AS ON DELETE TO t DO (SELECT 1; SELECT 2);",
    "quotes with a prefix": b"SELECT b'1', x'ff', N'\\', 'a'::text, a::int, c[1:2];",
    "rows as inserts": (
        b"INSERT INTO public.t VALUES (1, 'it''s', -2.5, '--', '/*', '; COPY', NULL);\n" * 3
        + b"INSERT INTO \"T; x\" (a, b) VALUES (E'a', '$$\n');\nINSERT INTO t VALUES (1 --)'\n);\nSELECT 1;\n"
    ),
    "bits as inserts": (
        b"INSERT INTO t VALUES (1, B'0101', X'1F', B'', 'b');\n" * 3
        + b"INSERT INTO t VALUES\n\t(B'1', 'it''s'),\n\t(B'1''', X'a''\\', B'--');\nSELECT 1;\n"
    ),
    "arithmetic": b"SELECT 1-1, 2/1, 3 - -1, 1e10;",
    "a name glued to a number": b"SELECT 1 AS a, 2, 3, 4, 1e10, 0x1F;",
}

HOSTILE = {
    "G01 a shell command": b"\\! touch x\n",
    "G01 a shell command after a space": b"SELECT 1; \\! touch x\n",
    "G01 a shell command in the middle of a statement": b"SELECT 1\n\\! touch x\n;",
    "G01 a query piped to a command": b"SELECT 1 \\g |touch x\n",
    "G01 a copy to a program": b"\\copy t to program 'touch x'\n",
    "G01 an output command": b"\\o |touch x\n",
    "G01 back-quotes": b"\\set x `touch x`\n",
    "G02 an unrestrict with back-quotes": b"\\restrict abc\n\\unrestrict `touch x`\n",
    "G02 an unrestrict that was never restricted": b"\\unrestrict abc\n",
    "G02 an unrestrict with another key": b"\\restrict abc\n\\unrestrict abd\n",
    "a restrict inside a statement": b"SELECT\n\\restrict abc\n1;",
    "a connection to another database": b"\\connect other\n",
    "a meta-command behind an escape string": b"SELECT E'\\\\'; \\! x\n",
    "a meta-command behind a string that ends with a backslash": b"SELECT '\\'; \\! x\n';\n",
    "a meta-command behind nested comments": b"/* /* */ */ \\! x\n",
    "a meta-command behind a comment ended by a carriage return": b"-- x\r\\! x\n",
    "a meta-command behind a dollar quote": b"DO $a$ $b$ $a$ \\! x\n",
    "a meta-command behind a COPY in a string": b"SELECT 'COPY t FROM stdin;\n'\n\\! x\n\\.\n",
    "a meta-command behind a COPY inside a function": (
        b"CREATE FUNCTION f() BEGIN ATOMIC ; COPY t FROM stdin;\n\\! x\n\\.\n"
    ),
    "a meta-command behind a COPY inside parentheses": b"( ;COPY t FROM stdin;\n\\! x\n\\.\n",
    "a meta-command behind a COPY with more on its line": b"COPY t FROM stdin; SELECT 1\n\\.\n",
    "a meta-command behind rows that ended": b"COPY t FROM stdin;\n\\.\r\n\\! x\n\\.\n",
    "rows in the oldest format": b"COPY BINARY t FROM stdin;\n\\! x\n\\.\n",
    "a string that goes on behind a carriage return": b"SELECT E'a'\r'b\\' '; \\! touch x\n';",
    "a carriage return alone": b"SELECT 1\r;",
    "rows in another format": b"COPY t FROM stdin WITH (FORMAT csv);\n\\! x\n\\.\n",
    "a COPY from a program": b"COPY t FROM PROGRAM 'x';",
    "a COPY to a file": b"COPY t TO '/tmp/x';",
    "a word psql reads in two ways": b"CREATE 1a FUNCTION f() BEGIN ; COPY t FROM stdin;\n\\! x\n\\.\n",
    "a variable in the head of a statement": b"CREATE :x FUNCTION f() BEGIN ; COPY t FROM stdin;\n\\! x\n\\.\n",
    "a variable with braces": b"SELECT :{?x};",
    "a unicode name": b'CREATE U&"x" FUNCTION f() BEGIN ; COPY t FROM stdin;\n\\! x\n\\.\n',
    "a quote glued to a number": b"SELECT 1E'\\'; \\! x '",
    "a dollar quote glued to a number": b"SELECT 1$a$ \\! $a$;",
    "strings declared to be read otherwise": b"SET standard_conforming_strings TO off;",
    "an encoding that hides quotes": b"SET client_encoding = 'SJIS';\n",
    "an encoding set by its other name": b"SET NAMES 'SJIS';",
    "settings reset": b"RESET ALL;",
    "a commit": b"COMMIT;\n",
    "a meta-command behind rows as inserts": b"INSERT INTO t VALUES (1, ''''');\nINSERT INTO t VALUES ('a');\n\\! x\n",
    "a meta-command between rows as inserts": b"INSERT INTO t VALUES ('a' \\! x\n);\n",
    "a commit behind a comment": b"/* */ commit ;",
    "a rollback": b"ROLLBACK;\n",
    "an end": b"SELECT 1; END;\n",
    "a prepared transaction": b"PREPARE TRANSACTION 'x';",
    "a second begin": b"BEGIN;\nBEGIN;\n",
    "a transaction begun with a level": b"BEGIN ISOLATION LEVEL SERIALIZABLE;\n",
    "a meta-command between bits as inserts": b"INSERT INTO t VALUES (B'1' \\! x\n);\n",
    "a meta-command behind a quote behind bits": (
        b"INSERT INTO t VALUES (B'1'');\nINSERT INTO t VALUES (');\n\\! x\n');\n"
    ),
    "a meta-command behind bits glued to a number": b"INSERT INTO t VALUES (1B'1');\n\\! x\n",
    "a meta-command behind a quote behind bits, as strings were read once": (
        b"SET standard_conforming_strings = off;\nSELECT B'1''\\'' ; \\! x ';\n"
    ),
    "a NUL byte": b"SELECT '\0';",
}

CUT = {
    "nothing at all": b"",
    "C08 no trailer": b"SELECT 1;\n",
    "D02 inside rows": b"COPY t FROM stdin;\n1\n2\n",
    "D03 inside a row": b"COPY t FROM stdin;\n1\n2",
    "D02 right after the header of rows": b"COPY t FROM stdin;",
    "inside a string": b"SELECT 'abc",
    "inside an escape": b"SELECT E'abc\\",
    "inside a statement": b"SELECT 1" + END,
    "inside a comment": b"/* abc",
    "inside a dollar quote": b"DO $a$ abc $a",
    "the trailer only in a string": b"SELECT '" + END + b"';\n",
    "a statement behind the trailer": END + b"SELECT 1;\n",
    "C08 a restrict never lifted": b"\\restrict abc\n" + END,
    "inside large objects": b"BEGIN;\nSELECT 1;\n" + END,
}


@pytest.mark.parametrize("script", INNOCENT.values(), ids=INNOCENT)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_what_a_dump_may_hold_passes_unchanged(script: bytes, size: int) -> None:
    assert passed(script + END, [size]) == script + END


@pytest.mark.parametrize("script", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_g01_g02_what_a_dump_never_holds_is_refused(script: bytes, size: int) -> None:
    with pytest.raises(Refused, match=r"line \d"):
        passed(script + END, [size])


@pytest.mark.parametrize("script", CUT.values(), ids=CUT)
@pytest.mark.parametrize("size", [1, 1 << 20])
def test_a_script_without_its_end_is_damaged(script: bytes, size: int) -> None:
    with pytest.raises(ArchiveDamaged):
        passed(script, [size])


@pytest.mark.parametrize("size", [1, 5, 1 << 20])
def test_g01_the_refused_line_is_named_and_never_sent(size: int) -> None:
    sent = []
    gate = Gate(Blocks(b"SELECT 1;\nCOPY t FROM stdin;\n\\N\n\\.\n\n\\! touch x\n" + END, [size]))
    with pytest.raises(Refused, match=r"touch x.*line 6"):
        sent.extend(gate)
    assert b"!" not in b"".join(sent)


@pytest.mark.parametrize("size", [1, 4, 1 << 20])
def test_what_pg_dump_adds_for_psql_is_left_out(size: int) -> None:
    script = b"\\restrict aB3\n\nBEGIN;\n\nSELECT lo_open(1);\n\nCOMMIT;\n\nSET transaction_timeout = 0;\n"
    assert passed(
        script + END + b"\n\\unrestrict aB3\n\n", [size], without=frozenset({"transaction_timeout"})
    ) == (b"\n\nSELECT lo_open(1);\n\n\n" + END + b"\n\n")
    assert b"transaction_timeout" in passed(script + b"\\unrestrict aB3\n" + END, [size])


def test_the_reading_is_set_again_before_each_statement_that_depends_on_it() -> None:
    script = b"SELECT f();\nSELECT '\\';\nSELECT '\xc3\xbc';\nSELECT 1;\n"
    sent = b"".join(Gate(io.BytesIO(script + END)))
    assert sent == (
        MODE + b"SELECT f();" + MODE + b"\nSELECT '\\';" + MODE + b"\nSELECT '\xc3\xbc';\nSELECT 1;\n" + END
    )


def test_g01_the_reading_is_set_again_before_a_comment_in_front_of_plain_rows() -> None:
    # read as SJIS the comment would go on into the string, and what follows there be run
    script = b"SELECT f();\n/* \x81*/ INSERT INTO t VALUES ('*/ COMMIT; --');\n"
    sent = b"".join(Gate(io.BytesIO(script + END)))
    assert sent.endswith(MODE + b"\n/* \x81*/ INSERT INTO t VALUES ('*/ COMMIT; --');\n" + END)


def test_a_dump_that_declares_the_old_reading_of_strings_is_read_that_way() -> None:
    script = b"SET standard_conforming_strings = off;\nSELECT '\\'; \\! x ';\n" + END
    assert passed(script).count(b"\\!") == 1
    with pytest.raises(Refused):
        passed(b"SET standard_conforming_strings = off;\nSELECT 'a'; \\! x ';\n" + END)


@pytest.mark.parametrize("size", [1, 7, 1 << 20])
def test_statements_are_shown_whole_and_can_be_left_out(size: int) -> None:
    script = (
        b'-- Owner: b\xc3\xb6b\nALTER TABLE t OWNER TO "b\xc3\xb6b";\nCOPY t FROM stdin;\nALTER x;\n\\.\n'
        b"/* a */ GRANT ALL ON t TO \"a;b\";\nSELECT 'GRANT x;';\nCREATE FUNCTION f() BEGIN ATOMIC ; END;\n"
    )
    shown = []

    def grants(statement: bytes) -> bool:
        shown.append(statement)
        return statement.startswith(b"GRANT")

    left = b"".join(Gate(Blocks(script + END, [size]), leave_out=grants)).replace(MODE, b"")
    assert left == (script + END).replace(b'GRANT ALL ON t TO "a;b";', b"")
    assert shown == [
        b'ALTER TABLE t OWNER TO "b\xc3\xb6b";',
        b'GRANT ALL ON t TO "a;b";',
        b"SELECT 'GRANT x;';",
        b"CREATE FUNCTION f() BEGIN ATOMIC ; END;",
    ]


PIECES = [
    *INNOCENT.values(),
    *HOSTILE.values(),
    *CUT.values(),
    END,
    b"\n",
    b";",
    b"'",
    b"\\",
    b"$$",
    b"$a$",
    b"-",
    b"*/",
    b"E",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=5), st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_where_blocks_begin_decides_nothing(pieces: list[bytes], sizes: list[int]) -> None:
    script = b"".join(pieces)

    def outcome(sizes: list[int]) -> object:
        try:
            return b"".join(Gate(Blocks(script, sizes), leave_out=lambda statement: False)).replace(MODE, b"")
        except (Refused, ArchiveDamaged) as exc:
            return type(exc)

    assert outcome(sizes) == outcome([1 << 20])


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize("start", [b"$$$$", b"$a$x$a$ ", b"'' ", b'"" '])
def test_g01_a_statement_that_begins_with_no_word_is_refused(start: bytes, size: int) -> None:
    script = start + b"SET standard_conforming_strings = off;\n" + END
    with pytest.raises(Refused, match="does not begin with a word"):
        list(Gate(Blocks(script, [size])))


def test_a_value_of_many_megabytes_passes_in_pieces() -> None:
    script = (
        b"SELECT '" + b"x" * (5 << 20) + b"';\nCOPY t FROM stdin;\n" + b"y" * (5 << 20) + b"\n\\.\n" + END
    )
    pieces = list(Gate(Blocks(script, [1 << 20])))
    assert b"".join(pieces).replace(MODE, b"") == script
    assert max(map(len, pieces)) < 3 << 20


@pytest.mark.parametrize(
    "way",
    [(), ("--inserts",), ("--column-inserts", "--rows-per-insert=10")],
    ids=["copy", "inserts", "columns"],
)
def test_a_real_dump_of_everything_goes_through_and_loads(
    any_pg: PgServer, way: tuple[str, ...], tmp_path: Path
) -> None:
    with any_pg.fresh() as source, any_pg.fresh() as copy:
        fill(source)
        script = tool(any_pg, "pg_dump", "-Fp", *way, source.name)
        for size in (1 << 20, 611):
            safe = b"".join(Gate(Blocks(script, [size])))
        assert b"\\restrict" not in safe
        assert b"\nBEGIN;" not in safe
        tool(
            any_pg,
            "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            copy.name,
            input=b"BEGIN;" + safe + b"COMMIT;",
        )
        assert count(copy) == count(source)
    assert not Path("/tmp/dbtasks-was-here").exists()


def test_g03_names_with_a_meta_command_load_under_their_name(pg16: PgServer) -> None:
    with pg16.fresh() as source, pg16.fresh() as copy:
        source.run('CREATE TABLE "x\n\\! touch /tmp/dbtasks-was-here\n" (a int)')
        safe = b"".join(Gate(io.BytesIO(tool(pg16, "pg_dump", "-Fp", source.name))))
        tool(pg16, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", copy.name, input=safe)
        assert copy.run("SELECT relname FROM pg_class WHERE relname LIKE 'x%'") == [
            ("x\n\\! touch /tmp/dbtasks-was-here\n",)
        ]
    assert not Path("/tmp/dbtasks-was-here").exists()


CHANGING = r"""
CREATE FUNCTION public.turn(name text, value text) RETURNS boolean LANGUAGE plpgsql AS
    'BEGIN PERFORM set_config(name, value, false); RETURN true; END';
CREATE TABLE public.t (a int CHECK (public.turn('standard_conforming_strings', 'off')));
COPY public.t FROM stdin;
1
\.
"""


def test_a_check_function_cannot_change_how_psql_reads_the_rest(pg16: PgServer, tmp_path: Path) -> None:
    """Read with backslash escapes, the first string ends elsewhere and the rest of it is a command."""
    proof = tmp_path / "ran"
    rest = f"COMMENT ON TABLE public.t IS '\\'; COPY public.t FROM stdin;\n'\n\\! touch {proof}\n\\.\n"
    script = CHANGING.encode() + rest.encode() + END
    with pg16.fresh() as copy:
        assert_runs(pg16, copy, script)
        assert proof.exists(), "the attack no longer works by itself; the test proves nothing"
        proof.unlink()
    with pg16.fresh() as copy:
        assert_runs(pg16, copy, b"".join(Gate(io.BytesIO(script))))
        assert not proof.exists()


def assert_runs(server: PgServer, database: PgDatabase, script: bytes) -> None:
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": server.password}
    login = ["-h", server.host, "-p", str(server.port), "-U", server.user, "-d", database.name]
    subprocess.run(
        [str(server.bin / "psql"), "-X", "-q", *login], env=environment, input=script, capture_output=True
    )
