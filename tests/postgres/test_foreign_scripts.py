r"""Scripts that others wrote, against real servers and psqls: what is hostile is not run and nothing is committed, what is a dump loads.

Each attack is first shown to work on the psql of its version, so that no test
proves what could not have happened.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dbtasks.engines.postgres.archive.contents import script_of
from dbtasks.engines.postgres.loading.load import plan_load
from dbtasks.engines.postgres.script.feed import transaction
from dbtasks.engines.postgres.script.gate import Gate
from dbtasks.errors import ArchiveDamaged, DbTasksError, LoadFailed, Refused
from dbtasks.models import Archive, Compression, Format
from dbtasks.plans import LoadRequest
from dbtasks.streams import BLOCK_BYTES
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import databases, engine_on
from tests.postgres.rich import write_script
from tests.postgres.test_gate import Blocks

BEGIN = b"--\n-- PostgreSQL database dump\n--\n\nCREATE TABLE public.witness (a text);\n"
END = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"
UNVERIFIED = LoadRequest(unverified=True)


def turning(how: str) -> bytes:
    r"""Turn standard_conforming_strings off by SQL, then hide a command from whoever still reads with it on.

    Read with on, the string is one backslash and the command is a row; read with off, the string
    ends two lines later.
    """
    rest = (
        "COMMENT ON TABLE public.witness IS '\\'; COPY public.witness FROM stdin;\n'\n\\! touch {mark}\n\\.\n"
    )
    return (how + "\n" + rest).encode()


def _to_the_end_of_a_block(before: bytes, last: bytes) -> bytes:
    """Put blanks between the two, so that the gate's first block ends with the last."""
    return before + b" " * (BLOCK_BYTES - len(BEGIN) - len(before) - len(last)) + last


TURN = "pg_catalog.set_config('standard_conforming_strings', 'off', false)"
FUNCTION = (
    "CREATE FUNCTION public.turn() RETURNS boolean LANGUAGE plpgsql AS"
    f" 'BEGIN PERFORM {TURN.replace(chr(39), chr(39) * 2)}; RETURN true; END';\n"
)
TRIGGER = (
    "CREATE FUNCTION public.turned() RETURNS trigger LANGUAGE plpgsql AS"
    f" 'BEGIN PERFORM {TURN.replace(chr(39), chr(39) * 2)}; RETURN NEW; END';\n"
    "CREATE TABLE public.t (a text);\n"
    "CREATE TRIGGER t BEFORE INSERT ON public.t FOR EACH ROW EXECUTE FUNCTION public.turned();\n"
)
ROWS = "COPY public.witness FROM stdin;\n\\! touch {mark}\n\\.\n"

RUNS = {
    "on a line of its own": rb"\! touch {mark}",
    "behind a statement": rb"SELECT 1; \! touch {mark}",
    "in the middle of a statement": b"SELECT 1\n\\! touch {mark}\n;",
    "behind a carriage return and a line feed": b"SELECT 1;\r\n\\! touch {mark} #\r\n",
    "behind a comment that a carriage return ends": b"-- x\r\\! touch {mark}\n",
    "behind nested comments": rb"/* /* */ */ \! touch {mark}",
    "behind a dollar quote": rb"SELECT $a$ $b$ $a$; \! touch {mark}",
    "behind a dollar quote with a tag of letters beyond ASCII": "SELECT $é$ $ $é$; \\! touch {mark}".encode(),
    "behind an escape string": rb"SELECT E'\\'; \! touch {mark}",
    "behind an escape string that goes on behind a carriage return": b"SELECT E'a'\r'b\\' '; \\! touch {mark}\n';",
    "the same with blanks around it": b"SELECT e'a' \t\r  'b\\' '; \\! touch {mark}\n';",
    "behind a string that ends with a backslash": b"SELECT '\\'; \\! touch {mark}\n';",
    "behind a unicode string": b"SELECT U&'\\0041' UESCAPE '!'; \\! touch {mark}\n",
    "behind a name with a quote in it": b'SELECT 1 AS "a""\'"; \\! touch {mark}\n',
    "behind the rows of a table": b"COPY public.witness FROM stdin;\n1\n\\.\n\\! touch {mark}\n",
    "behind rows with carriage returns": b"COPY public.witness FROM stdin;\r\n1\r\n\\.\r\n\\! touch {mark} #\r\n",
    "behind rows in another format": b"COPY public.witness FROM stdin CSV;\n1\n\\.\n\\! touch {mark}\n",
    "behind a COPY inside parentheses": b"SELECT (1;\n" + ROWS.encode(),
    "behind a COPY in a string": b"SELECT 'COPY public.witness FROM stdin;\n'\n\\! touch {mark}\n\\.\n",
    "behind a COPY in a function": (
        b"CREATE FUNCTION public.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1;\n" + ROWS.encode()
    ),
    "behind a very long line": b"SELECT length('" + b"x" * (3 << 20) + b"'); \\! touch {mark}\n",
    "behind rows as INSERTs": "INSERT INTO public.witness VALUES ('é');\n\\! touch {mark}\n".encode(),
    "on the line of an INSERT": rb"INSERT INTO public.witness VALUES ('\'); \! touch {mark}",
    "a result into a pipe": rb"SELECT 1 \g |touch {mark}",
    "all results into a pipe": b"\\o |touch {mark}\nSELECT 1;\n\\o\n",
    "the statement into a pipe": b"SELECT 1\n\\w |touch {mark}\n;",
    "rows into a pipe": rb"\copy (SELECT 1) TO PROGRAM 'touch {mark}'",
    "rows from a pipe": rb"\copy public.witness FROM PROGRAM 'touch {mark}'",
    "back-quotes in a variable": rb"\set x `touch {mark}`",
    "back-quotes in a condition": b"\\if `touch {mark}`\n\\endif\n",
    "back-quotes in an echo": rb"\echo `touch {mark}`",
    "back-quotes where the psql leaves its restricted mode": b"\\restrict abc\n\\unrestrict `touch {mark}`\n",
    "another file": rb"\i {included}",
    "rows to a program of the server": rb"COPY (SELECT 1) TO PROGRAM 'touch {mark}';",
    "rows from a program of the server": rb"COPY public.witness FROM PROGRAM 'touch {mark}';",
    "a backslash that an encoding hides": (
        b"SET client_encoding = 'SJIS';\nSELECT E'\x83\\'; \\! touch {mark}\n'"
    ),
    "the same by the encoding's other name": b"SET NAMES 'SJIS';\nSELECT E'\x83\\'; \\! touch {mark}\n'",
    "the same in GBK": b"SET client_encoding TO 'GBK';\nSELECT E'\x81\\'; \\! touch {mark}\n'",
    "the same in GB18030": b"SET client_encoding = 'GB18030';\nSELECT E'\x81\\'; \\! touch {mark}\n'",
    "the same in BIG5": b"SET client_encoding = 'BIG5';\nSELECT E'\xa5\\'; \\! touch {mark}\n'",
    "strings declared to be read otherwise": turning("SET standard_conforming_strings TO off;"),
}
"""Refused, each with its line."""

TURNED = {
    "a quoted name": turning('SET "standard_conforming_strings" = off;'),
    "a function": turning(f"SELECT {TURN};"),
    "an anonymous block": turning(f"DO $$BEGIN PERFORM {TURN}; END$$;"),
    "the view of settings": turning(
        "UPDATE pg_catalog.pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings';"
    ),
    "a CHECK": turning(
        FUNCTION + "CREATE TABLE public.t (a int CHECK (public.turn()));\nINSERT INTO public.t VALUES (1);"
    ),
    "a default": turning(
        FUNCTION
        + "CREATE TABLE public.t (a int, b boolean DEFAULT public.turn());\nINSERT INTO public.t (a) VALUES (1);"
    ),
    "a domain": turning(
        FUNCTION + "CREATE DOMAIN public.d AS int CHECK (public.turn());\nSELECT 1::public.d;"
    ),
    "a trigger": turning(TRIGGER + "INSERT INTO public.t VALUES ('é');"),
    "a trigger, between rows as INSERTs": (
        TRIGGER + "INSERT INTO public.t VALUES ('é');\nINSERT INTO public.t VALUES ('\\');"
        " COPY public.witness FROM stdin;\n'\n\\! touch {mark}\n\\.\n"
    ).encode(),
    "a trigger, inside rows as INSERTs": (
        TRIGGER + "INSERT INTO public.t VALUES ('é');\nINSERT INTO public.t VALUES ('\\');\n"
        "INSERT INTO public.t VALUES ('; \\! touch {mark}\n');\n"
    ).encode(),
    "an encoding, in front of a comment that ends where a block does": (
        _to_the_end_of_a_block(
            b"SELECT pg_catalog.set_config('client_encoding', 'SJIS', false);\n", b"/* \x83*/"
        )
        + b" SELECT '*/ SELECT 1; \\! touch {mark}\n';\n"
    ),
    "an encoding, by a function": (
        b"SELECT pg_catalog.set_config('client_encoding', 'SJIS', false);\n"
        b"SELECT E'\x83\\'; \\! touch {mark}\n';\n"
    ),
    "an encoding, by a setting of the role": (
        b"UPDATE pg_catalog.pg_settings SET setting = 'SJIS' WHERE name = 'client_encoding';\n"
        b"SELECT E'\x83\\'; \\! touch {mark}\n';\n"
    ),
}
"""Not to be seen in the script: what it does is undone before it matters."""

COMMITS = {
    "COMMIT": b"COMMIT;",
    "COMMIT behind a comment": b"/* */commit\n;",
    "COMMIT AND CHAIN": b"COMMIT AND CHAIN;",
    "END": b"END;",
    "ROLLBACK, then more": b"ROLLBACK;\nCREATE TABLE public.witness (a text);",
    "ABORT, then more": b"ABORT;\nCREATE TABLE public.witness (a text);",
    "a begin of its own and its end": b"BEGIN TRANSACTION;\nCOMMIT;",
    "a second end behind large objects": b"BEGIN;\nCOMMIT;\nCOMMIT;",
    "a prepared one": b"PREPARE TRANSACTION 'x';",
    "one in a query of two": rb"SELECT 1\; COMMIT;",
    "one that a query says": b"SELECT 'COMMIT' \\gexec\n",
    "one in an anonymous block": b"DO $$BEGIN COMMIT; END$$;",
    "one in a procedure": (
        b"CREATE PROCEDURE public.p() LANGUAGE plpgsql AS $$BEGIN COMMIT; END$$;\nCALL public.p();"
    ),
    "a new connection": b"\\connect\n",
    "a database of its own": b"CREATE DATABASE another;",
}
"""An error behind them must leave nothing."""


@dataclass(frozen=True)
class Attack:
    """A script with a command in it, and where it would show that it ran."""

    script: bytes
    mark: Path

    @property
    def ran(self) -> bool:
        return self.mark.exists()


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that servers may write to as well, with a short name."""
    with tempfile.TemporaryDirectory(prefix="dbt-", dir="/tmp") as name:
        path = Path(name)
        path.chmod(0o777)
        yield path


@dataclass(frozen=True)
class Arena:
    """One database where attacks are shown to work, and one that the gate stands in front of."""

    raw: PgDatabase
    mine: PgDatabase


@pytest.fixture(scope="module")
def arena_of(any_pg: PgServer) -> Iterator[Arena]:
    with any_pg.fresh() as raw, any_pg.fresh() as database:
        yield Arena(raw, ordinary(any_pg, database))


@pytest.fixture
def arena(arena_of: Arena) -> Arena:
    """Both are empty."""
    for database in (arena_of.raw, arena_of.mine):
        database.run("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    return arena_of


def attack(folder: Path, text: bytes) -> Attack:
    mark, included = folder / "ran", folder / "included.sql"
    included.write_text(f"\\! touch {mark}\n")
    filled = text.replace(b"{mark}", str(mark).encode()).replace(b"{included}", str(included).encode())
    return Attack(BEGIN + filled + b"\n" + END, mark)


def foreign(folder: Path, script: bytes, compression: Compression = Compression.NONE) -> Archive:
    path = folder / "theirs.sql"
    write_script(path, script, compression)
    return Archive(path, Format.SQL, compression, None)


def ordinary(server: PgServer, database: PgDatabase) -> PgDatabase:
    """The database, owned by a role that may create databases and nothing more."""
    role = server.create_role("LOGIN CREATEDB")
    server.run("postgres", f'ALTER DATABASE "{database.name}" OWNER TO "{role.user}"')
    return database.seen_by(role)


def psql(database: PgDatabase, script: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
    """The psql of that version, as a script would call it: no gate, no transaction, no stop."""
    server = database.server
    login = ["-h", server.host, "-p", str(server.port), "-U", server.user, "-d", database.name]
    return subprocess.run(
        [str(server.bin / "psql"), "-X", "-q", *login, *more],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": server.password, "PGCLIENTENCODING": "UTF8"},
        input=script,
        capture_output=True,
        timeout=60,
    )


def proved(raw: PgDatabase, attacked: Attack) -> Attack:
    """See that the attack works on the psql of that version; nothing of it stays."""
    psql(raw, attacked.script)
    assert attacked.ran, "psql does not run it: this test proves nothing"
    attacked.mark.unlink()
    return attacked


def let_through(script: bytes) -> bytes:
    """What the gate gives away, up to what it refuses."""
    sent = []
    try:
        sent.extend(Gate(io.BytesIO(script)))
    except (Refused, ArchiveDamaged):
        pass
    return b"".join(sent)


def load(database: PgDatabase, archive: Archive) -> None:
    """Load without the plan, as if the file had been exchanged after it."""
    with (
        engine_on(database) as engine,
        transaction(engine, database.name) as feed,
        script_of(engine, archive) as script,
    ):
        feed.play(script, UNVERIFIED)
        feed.commit()


def tables(database: PgDatabase) -> list[str]:
    rows = database.run(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    return [name for (name,) in rows]


@pytest.mark.parametrize("text", RUNS.values(), ids=RUNS)
def test_g01_g02_c09_a_command_in_somebody_elses_script_is_refused_by_its_line_and_never_run(
    arena: Arena, folder: Path, text: bytes
) -> None:
    attacked = proved(arena.raw, attack(folder, text))
    archive = foreign(folder, attacked.script)
    with engine_on(arena.mine) as engine, pytest.raises(Refused, match=r"line \d+") as refused:
        plan_load(engine, archive, UNVERIFIED)
    assert refused.value.exit_code == 6
    psql(arena.raw, let_through(attacked.script))
    assert not attacked.ran
    with pytest.raises(Refused):
        load(arena.mine, archive)
    assert not attacked.ran
    assert tables(arena.mine) == []
    assert databases(arena.mine) == [arena.mine.name]


@pytest.mark.parametrize("size", [7, 1 << 20])
@pytest.mark.parametrize("text", RUNS.values(), ids=RUNS)
def test_g01_the_line_that_is_named_is_the_one_where_it_stands_and_the_reason_is_beside_it(
    folder: Path, text: bytes, size: int
) -> None:
    script = attack(folder, text).script
    with pytest.raises(Refused) as refused:
        for _ in Gate(Blocks(script, [size])):
            pass
    said = re.fullmatch(r"the SQL script holds (.+) \(line (\d+)\)", refused.value.message)
    assert said, refused.value.message
    line = script.split(b"\n")[int(said[2]) - 1]
    if command := re.match(r"the meta-command ['\"]\\(\S+)", said[1]):
        assert b"\\" + command[1].rstrip("'").encode() in line
        assert "psql would run on this machine" in said[1]
    else:
        reasons = {
            "COPY": b"COPY",
            "encoding": b"SET",
            "strings are read": b"SET",
            "U&": b"U&",
            "carriage return": b"\r",
        }
        assert any(mark in line for reason, mark in reasons.items() if reason in said[1]), said[1]


@pytest.mark.parametrize("text", TURNED.values(), ids=TURNED)
def test_g01_what_sql_does_to_the_reading_of_the_rest_is_undone_before_it_is_read(
    arena: Arena, folder: Path, text: bytes
) -> None:
    attacked = proved(arena.raw, attack(folder, text))
    # the second bolt, psql's restricted mode, is left out: older releases have none
    psql(arena.raw, let_through(attacked.script))
    assert not attacked.ran
    try:
        load(arena.mine, foreign(folder, attacked.script))
    except DbTasksError:
        assert tables(arena.mine) == []
    assert not attacked.ran


@pytest.mark.parametrize("text", COMMITS.values(), ids=COMMITS)
def test_d01_d07_no_end_of_a_transaction_in_a_script_leaves_half_of_it_behind(
    arena: Arena, folder: Path, text: bytes
) -> None:
    script = BEGIN + text + b"\nSELECT 1/0;\n" + END
    with pytest.raises((Refused, LoadFailed)):
        load(arena.mine, foreign(folder, script))
    assert tables(arena.mine) == []


def test_g01_a_databases_name_does_not_become_a_command_through_a_variable(
    any_pg: PgServer, folder: Path
) -> None:
    attacked = attack(folder, b"SELECT :DBNAME\n;")
    raw = any_pg.create_database(f"\\! touch {attacked.mark}")
    try:
        proved(raw, attacked)
        with pytest.raises(Refused, match=r"psql variable.*line 6"):
            load(raw, foreign(folder, attacked.script))
        assert not attacked.ran
    finally:
        any_pg.drop_database(raw.name)


@pytest.mark.parametrize("name", ["DBNAME", "HOST", "SERVER_VERSION_NAME"])
@pytest.mark.parametrize("before", ["SELECT ", "SELECT a[1", "SELECT 1::", "CREATE TABLE t (a int, b int) "])
def test_variables_that_psql_knows_are_refused_in_every_place(name: str, before: str) -> None:
    for size in (1, 1 << 20):
        script = BEGIN + f"{before}:{name};\n".encode() + END
        with pytest.raises(Refused, match=r"psql variable.*line 6"):
            for _ in Gate(Blocks(script, [size])):
                pass


def test_every_variable_a_psql_has_is_known_to_the_gate(any_pg: PgServer) -> None:
    from dbtasks.engines.postgres.script.scanner import VARIABLES

    database = PgDatabase(any_pg, "postgres")
    said = psql(database, b"SELECT 1/0;\n\\set\n").stdout.decode()
    names = {line.partition(" =")[0] for line in said.splitlines() if " = " in line}
    assert {"DBNAME", "LAST_ERROR_MESSAGE"} <= names <= set(VARIABLES)


PIECES = [
    *(
        b"SELECT set_config('client_encoding', 'SJIS', false);\n",
        b"/* \x83*/",
        b"E'a'\r'b\\' '",
        b"\x83",
        b"'*/ ",
    ),
    *(
        b"SELECT 1",
        b";",
        b"\n",
        b"'",
        b'"',
        b"\\",
        b"$$",
        b"$a$",
        b"(",
        b")",
        b"--",
        b"/*",
        b"*/",
        b"E'",
        b" ",
    ),
    *(b"\\.\n", b"COPY public.witness FROM stdin;\n", b"x", b"'a'", b"\r", b"\xc3\xa9", b"U&'", b":", b"-"),
    *(
        b"BEGIN",
        b"END",
        b"CASE",
        b"CREATE FUNCTION f() BEGIN ATOMIC ",
        b"INSERT INTO public.witness VALUES (",
    ),
    *(b");\n", b"\nSET standard_conforming_strings = off;\n", b"'\\'", b"1", b"::", b"[1:2]", b"b'"),
    *(b"SELECT '\\';\n", b"SELECT E'\\'';\n", b"SELECT $a$ $$ $a$;\n", b"/* ' */", b"-- '\n", b'"a""b"'),
]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    print_blob=True,
)
@given(
    before=st.lists(st.sampled_from(PIECES), max_size=8),
    after=st.lists(st.sampled_from(PIECES), max_size=6),
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=4),
)
def test_g01_whatever_a_script_is_put_together_from_psql_runs_no_command_of_what_the_gate_lets_through(
    arena: Arena, folder: Path, before: list[bytes], after: list[bytes], sizes: list[int]
) -> None:
    mark = folder / "ran"
    script = BEGIN + b"".join(before) + b"\n\\! touch " + str(mark).encode() + b"\n" + b"".join(after) + END
    try:
        safe = b"".join(Gate(Blocks(script, sizes)))
    except (Refused, ArchiveDamaged):
        return
    psql(arena.raw, safe)
    assert not mark.exists()
