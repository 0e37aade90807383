"""What a statement of pg_dump is taken for, whatever names and strings are in it."""

from __future__ import annotations

import re

import pytest

from dbtasks.engines.postgres.part.gate import PartGate
from dbtasks.engines.postgres.part.renaming import Renaming
from dbtasks.engines.postgres.script.statements import OTHER, Statement, read, tokens_of
from dbtasks.errors import ArchiveDamaged, Refused

T = ("public", "t")
ODD = ("s.x", 'a "b"')

CASES = [
    ("CREATE TABLE public.t (\n    a integer\n);", Statement("table", T)),
    ("CREATE UNLOGGED TABLE public.t (a integer);", Statement("table", T)),
    ("CREATE FOREIGN TABLE public.t (a integer) SERVER x;", Statement("foreign table", T)),
    ("CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;", Statement("extension", label="timescaledb")),
    ('CREATE EXTENSION "uuid-ossp";', Statement("extension", label="uuid-ossp")),
    ('CREATE TABLE "s.x"."a ""b""" ();', Statement("table", ODD)),
    ("CREATE UNIQUE INDEX i ON ONLY public.t USING btree (a) WHERE (b = ' ON public.x '::text);", Statement("index", T, label="i")),
    ('CREATE TRIGGER " ON public.x" AFTER UPDATE OF "ON", b ON public.t FOR EACH ROW EXECUTE FUNCTION public.f();', Statement("trigger", T, label=" ON public.x")),
    ("CREATE RULE r AS\n    ON DELETE TO public.t DO NOTHING;", Statement("rule", T, label="r")),
    ("CREATE POLICY p ON public.t FOR SELECT TO x USING (true);", Statement("policy", T, label="p")),
    ("CREATE STATISTICS public.st (ndistinct) ON a, (EXTRACT(year FROM b)) FROM public.t;", Statement("statistics", T, ("public", "st"))),
    ("ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);", Statement("key", T, label="t_pkey")),
    ("ALTER TABLE ONLY public.t\n    ADD CONSTRAINT fk FOREIGN KEY (a) REFERENCES public.u(id) ON DELETE CASCADE;", Statement("foreign key", T, ("public", "u"), "fk")),
    ("ALTER TABLE public.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;", Statement("constraint", T, label="c")),
    ("ALTER TABLE ONLY public.p ATTACH PARTITION public.t FOR VALUES IN (1);", Statement("attach", T, ("public", "p"))),
    ("ALTER TABLE public.t ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (\n    SEQUENCE NAME public.q\n    START WITH 1\n);", Statement("identity", T, ("public", "q"), "id")),
    ("ALTER SEQUENCE public.q OWNED BY public.t.id;", Statement("owned", ("public", "q"), T, "id")),
    ("ALTER INDEX public.pi ATTACH PARTITION public.ti;", Statement("index attach", ("public", "pi"), ("public", "ti"))),
    ("ALTER PUBLICATION news ADD TABLE ONLY public.t;", Statement("published", T, label="news")),
    ("COMMENT ON COLUMN public.t.a IS 'ON TABLE public.x';", Statement("of table", T)),
    ("COMMENT ON CONSTRAINT c ON public.t IS '';", Statement("of constraint", T, label="c")),
    ('GRANT SELECT("ON TABLE x"),INSERT ON TABLE public.t TO PUBLIC;', Statement("of table", T)),
    ("COPY public.t (a, b) FROM stdin;", Statement("rows", T)),
    ("COPY public.t  FROM stdin;", Statement("rows", T)),
    ("INSERT INTO public.t VALUES (1);", Statement("rows", T)),
    ('SELECT pg_catalog.setval(\'"s.x"."a ""b"""\', 7, true);', Statement("value", ODD)),
    ("SET default_tablespace = '';", Statement("setting")),
    # of no table, or not to be done again
    ("SET SESSION AUTHORIZATION 'x';", OTHER),
    ("ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT c;", OTHER),
    ("ALTER TABLE public.t ALTER COLUMN id DROP DEFAULT;", OTHER),
    ("DROP TABLE IF EXISTS public.t;", OTHER),
    ("CREATE FUNCTION public.t() RETURNS int LANGUAGE sql AS $$SELECT 1$$;", OTHER),
    ("SELECT pg_catalog.lo_unlink('1');", OTHER),
    ("TRUNCATE TABLE public.t;", OTHER),
    ("", OTHER),
]  # fmt: skip


@pytest.mark.parametrize(("text", "meant"), CASES)
def test_a_statement_is_taken_for_what_it_is(text: str, meant: Statement) -> None:
    assert read(text) == meant


def test_tokens_are_the_whole_text_but_blanks_and_comments() -> None:
    text = "a'b'';' \"c\"\"d\" $x$ $y$ ; $x$ -- e\n/* f */ E'\\'g' 1.5e3 <>"
    shown = [token.text for token in tokens_of(text)]
    assert shown == ["a", "'b'';'", '"c""d"', "$x$ $y$ ; $x$", "E'\\'g'", "1.5e3", "<", ">"]


RENAMED = Renaming(
    {T: ("other", "new name"), ("public", "q"): ("other", "new_q")}, {"t_pkey": "new_pkey"}, flat=True
)


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("CREATE TABLE public.t (\n    a integer DEFAULT public.t('public.t')\n)\nPARTITION BY RANGE (a);",
         'CREATE TABLE "other"."new name" (\n    a integer DEFAULT public.t(\'"other"."new name"\')\n)\n;'),
        ("ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);",
         'ALTER TABLE ONLY "other"."new name" ADD CONSTRAINT "new_pkey" PRIMARY KEY (a);'),
        ("ALTER SEQUENCE public.q OWNED BY public.t.a;", 'ALTER SEQUENCE "other"."new_q" OWNED BY "other"."new name".a;'),
        ("INSERT INTO public.t (a) VALUES ('public.t', 'public.q');",
         'INSERT INTO "other"."new name" (a) VALUES (\'public.t\', \'public.q\');'),
        ("SELECT pg_catalog.setval('public.q', 3, true);", "SELECT pg_catalog.setval('\"other\".\"new_q\"', 3, true);"),
        ("ALTER TABLE ONLY public.t ALTER COLUMN a SET DEFAULT nextval('public.q'::regclass);",
         'ALTER TABLE ONLY "other"."new name" ALTER COLUMN a SET DEFAULT nextval(\'"other"."new_q"\'::regclass);'),
    ],
)  # fmt: skip
def test_a_copys_statements_name_the_copy_and_what_is_its_own(text: str, spelt: str) -> None:
    assert RENAMED.spell(read(text), text) == spelt


ROWS = (
    b"INSERT INTO public.t VALUES (1, 'a;\n', B'01');\nINSERT INTO public.t VALUES ('public.t', '\xc3\xbc\\');\n"
    b"INSERT INTO public.t (a, b) VALUES (3, 'INSERT INTO public.t VALUES (');\n"
    b"INSERT INTO public.t (a, b) VALUES\n\t(4, 'c'),\n\t(5, 'd');\n"
)
NOT_THERE = (
    b"-- \xc3\xbc\nINSERT INTO public.u VALUES ('public.t');\nINSERT INTO public.u VALUES ('\\', X'0f');\n"
)


TRAILER = b"\n--\n-- PostgreSQL database dump complete\n--\n\n"
SCRIPT = (
    b"SET client_encoding = 'UTF8';\nCOPY public.u (a) FROM stdin;\n1\n\\\\.\n;\n\\.\n\n"
    b"COPY public.t (a) FROM stdin;\n2\n;\n\\.\n\nINSERT INTO public.u VALUES ('x;\n');\nCREATE TABLE public.t ();\n"
    + TRAILER
)


class Slow:
    """Gives a script a few bytes at a time: every token is cut somewhere."""

    def __init__(self, data: bytes, step: int) -> None:
        self.data = data
        self.step = step

    def read(self, size: int = -1, /) -> bytes:
        block, self.data = self.data[: self.step], self.data[self.step :]
        return block


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
def test_the_gate_lets_through_what_is_wanted_with_its_rows_however_the_script_is_cut(step: int) -> None:
    def wanted(text: bytes) -> bytes | None:
        if text.startswith(b"CREATE"):
            return b"CREATE TABLE other ();"
        return text if b"public.u" not in text else None

    sent = b"".join(PartGate(Slow(SCRIPT, step), wanted))
    assert b"COPY public.t (a) FROM stdin;\n2\n;\n\\.\n" in sent
    assert b"public.u" not in sent
    assert b"\n1\n" not in sent
    assert b"CREATE TABLE other ();" in sent
    assert b"CREATE TABLE public.t" not in sent


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (SCRIPT.replace(b"CREATE TABLE", b"\\! touch x\nCREATE TABLE"), Refused),
        (SCRIPT.replace(b"INSERT", b"COMMIT; INSERT"), Refused),
        (SCRIPT.replace(b"INSERT", b"SET standard_conforming_strings = off;\nINSERT"), Refused),
        (SCRIPT.removesuffix(TRAILER), ArchiveDamaged),
        (SCRIPT[: SCRIPT.index(b"\n\\.")], ArchiveDamaged),
    ],
)
def test_g01_d02_what_is_left_out_is_looked_at_like_the_rest(script: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        for _ in PartGate(Slow(script, 64), lambda text: None):
            pass


@pytest.mark.parametrize("step", [1, 3, 7, 64, 10_000])
def test_rows_as_inserts_come_under_the_name_they_are_wanted_under_and_no_others(step: int) -> None:
    def judged(text: bytes) -> bytes | None:
        if b"INTO public.u" in text:
            return None
        return RENAMED.spell(read(text.decode()), text.decode()).encode()

    def plain(text: bytes) -> bytes | None:
        return text if b"INTO public.t" in text else None

    script = NOT_THERE + ROWS + NOT_THERE + ROWS + TRAILER
    kept = b"-- \xc3\xbc\n" + ROWS + b"-- \xc3\xbc\n" + ROWS
    for judge, head in ((plain, b"public.t"), (judged, b'"other"."new name"')):
        sent = _without_what_is_added(b"".join(PartGate(Slow(script, step), judge)))
        expected = re.sub(rb"^INSERT INTO public.t", b"INSERT INTO " + head, kept, flags=re.MULTILINE)
        assert sent == b"".join((expected + TRAILER).split())


def _without_what_is_added(sent: bytes) -> bytes:
    """Leave out settings, blanks, and that statements are sent together."""
    sent = re.sub(rb"SET standard_conforming_strings = on; SET client_encoding = 'UTF8';", b"", sent)
    return b"".join(sent.replace(b"\\;", b";").split())


def test_rows_of_one_table_are_judged_by_the_first() -> None:
    shown: list[bytes] = []

    def judge(text: bytes) -> bytes:
        shown.append(text)
        return text

    rows = b"INSERT INTO public.t VALUES (1, 'a');\n" * 500 + b"INSERT INTO public.u VALUES (B'1');\n" * 500
    assert rows in b"".join(PartGate(Slow(rows + TRAILER, len(rows)), judge))
    assert shown == [b"INSERT INTO public.t VALUES (1, 'a');", b"INSERT INTO public.u VALUES (B'1');"]


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize(
    "between",
    [
        b"\\! touch x\n",
        b"COMMIT;\n",
        b"INSERT INTO public.t VALUES (B'1'');\nINSERT INTO public.t VALUES (');\n\\! x\n');\n",
        b"INSERT INTO public.t VALUES (1) \\g |touch x\n",
        b"INSERT INTO public.t VALUES (1, 'a' \\! touch x\n);\n",
    ],
)
def test_g01_nothing_hides_between_rows_of_one_table(between: bytes, step: int, wanted: bool) -> None:
    row = b"INSERT INTO public.t VALUES (1, 'a');\n"
    with pytest.raises(Refused):
        for _ in PartGate(
            Slow(row * 3 + between + row * 3 + TRAILER, step), lambda text: text if wanted else None
        ):
            pass
