"""What servers and tools say, without the values in it: table, line, constraint and column stay."""

from __future__ import annotations

import pytest

from dbtasks.row_values import first_error, without_rows

SAID = [
    (
        'psql:<stdin>:31: ERROR:  new row for relation "t" violates check constraint "k"\n'
        "DETAIL:  Failing row contains (1, secret, a) b\nsecret\n(secret).\n"
        'CONTEXT:  COPY t, line 7: "1\tsecret"',
        'psql:<stdin>:31: ERROR:  new row for relation "t" violates check constraint "k"\n'
        "DETAIL:  Failing row contains (…)\nCONTEXT:  COPY t, line 7: …",
    ),
    (
        'ERROR:  duplicate key value violates unique constraint "u"\nDETAIL:  Key (a, b)=(secret), 1) already exists.',
        'ERROR:  duplicate key value violates unique constraint "u"\nDETAIL:  Key (a, b)=(…) already exists.',
    ),
    (
        "FEHLER:  doppelter Schlüsselwert\nDETAIL:  Schlüssel »(a)=(secret)« ist nicht in Tabelle »p« vorhanden.",
        "FEHLER:  doppelter Schlüsselwert\nDETAIL:  Schlüssel »(a)=(…)« ist nicht in Tabelle »p« vorhanden.",
    ),
    (
        'DETAIL:  Key (a)=(7) is not present in table "p".',
        'DETAIL:  Key (a)=(…) is not present in table "p".',
    ),
    (
        'ERROR:  invalid input syntax for type integer: "secret\nsecret"\n'
        'CONTEXT:  COPY t, line 2, column a: "secret\nsecret"',
        'ERROR:  invalid input syntax for type integer: "…"\nCONTEXT:  COPY t, line 2, column a: …',
    ),
    (
        'ERROR:  value "77" is out of range for type smallint',
        'ERROR:  value "…" is out of range for type smallint',
    ),
    (
        'ERROR:  invalid input syntax for type json\nDETAIL:  Token "secret" is invalid.\n'
        'CONTEXT:  JSON data, line 1: secret\nCOPY t, line 1, column j: "secret"',
        'ERROR:  invalid input syntax for type json\nDETAIL:  Token "…" is invalid.\n'
        "CONTEXT:  JSON data, line 1: …\nCOPY t, line 1, column j: …",
    ),
    (
        "CONTEXT:  SQL statement \"INSERT INTO t VALUES ('secret')\"\nPL/pgSQL function f(integer) line 3 at SQL statement",
        "CONTEXT:  SQL statement: …\nPL/pgSQL function f(integer) line 3 at SQL statement",
    ),
    ("ERROR:  no\nLINE 1: ...secret', 'se...\n                ^", "ERROR:  no\nLINE 1: …"),
    (
        "pg_restore: error: could not execute query: ERROR:  no\n"
        "Command was: INSERT INTO public.t VALUES (1, 'secret\nsecret');\n\n\npg_restore: warning: errors ignored: 1",
        "pg_restore: error: could not execute query: ERROR:  no\n"
        "Command was: INSERT INTO public.t VALUES (…, …);\npg_restore: warning: errors ignored: 1",
    ),
    (
        "Command was: SELECT pg_catalog.lowrite(0, '\\x736563');",
        "Command was: SELECT pg_catalog.lowrite(…, … …",
    ),
]
KEPT = [
    'pg_restore: error: COPY failed for table "t": ERROR:  no',
    'ERROR:  relation "public.t" does not exist',
    "pg_restore: error: could not execute query: ERROR:  no\n"
    "Command was: ALTER TABLE ONLY public.t\n    ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES public.p(a);",
    'connection to server at "127.0.0.1", port 5432 failed: FATAL:  role "x" does not exist',
    "pg_dump: warning: there are circular foreign-key constraints on this table:\npg_dump: detail: t",
    "ERROR:  cannot drop table t because other objects depend on it\n"
    "DETAIL:  view v depends on table t\nview w depends on view v\nHINT:  Use DROP ... CASCADE to drop them too.",
    'NOTICE:  a\nDETAIL:  table "t" is empty',
]


@pytest.mark.parametrize(("said", "shown"), SAID)
def test_values_of_rows_are_left_out(said: str, shown: str) -> None:
    assert without_rows(said) == shown


@pytest.mark.parametrize("said", KEPT)
def test_what_holds_no_values_stays_as_it_is(said: str) -> None:
    assert without_rows(said) == said


def test_where_the_beginning_was_cut_off_it_is_left_out() -> None:
    assert without_rows("secret\nsecret\npg_restore: error: no", is_cut=True) == "…\npg_restore: error: no"


def test_the_first_error_is_told_without_what_stands_before_it() -> None:
    said = 'psql:<stdin>:3: NOTICE:  a\npsql:<stdin>:31: ERROR:  relation "a" is not there\nERROR:  later'
    assert first_error(said) == 'relation "a" is not there'
    assert first_error("psql: killed") == ""


# what PostgreSQL 15 and its tools, started with LC_ALL=C, said to the same three mistakes under three lc_messages
SAID_ABROAD = {
    "psql, after a warning": (
        "WARNUNG:  keine Transaktion offen\n"
        "FEHLER:  doppelter Schlüsselwert verletzt Unique-Constraint »t_pkey«\n"
        "DETAIL:  Schlüssel »(a)=(1)« existiert bereits.",
        "doppelter Schlüsselwert verletzt Unique-Constraint »t_pkey«",
    ),
    "psql in French": (
        "ATTENTION:  aucune transaction en cours\n"
        "ERREUR:  la valeur d'une clé dupliquée rompt la contrainte unique « t_pkey »\n"
        "DETAIL:  La clé « (a)=(1) » existe déjà.",
        "la valeur d'une clé dupliquée rompt la contrainte unique « t_pkey »",
    ),
    "psql in Spanish": (
        "WARNING:  no hay una transacción en curso\n"
        "ERROR:  llave duplicada viola restricción de unicidad «t_pkey»\n"
        "DETAIL:  Ya existe la llave (a)=(1).",
        "llave duplicada viola restricción de unicidad «t_pkey»",
    ),
    "psql in Russian": (
        "ПРЕДУПРЕЖДЕНИЕ:  нет незавершённой транзакции\n"
        'ОШИБКА:  повторяющееся значение ключа нарушает ограничение уникальности "t_pkey"\n'
        'DETAIL:  Ключ "(a)=(1)" уже существует.',
        'повторяющееся значение ключа нарушает ограничение уникальности "t_pkey"',
    ),
    "psql with a file": (
        "psql:f.sql:1: FEHLER:  Tabelle »nix« existiert nicht",
        "Tabelle »nix« existiert nicht",
    ),
    "psql with a file, in French": (
        "psql:f.sql:1: ERREUR:  la table « nix » n'existe pas",
        "la table « nix » n'existe pas",
    ),
    "pg_restore": (
        'pg_restore: error: COPY failed for table "item": FEHLER:  Relation »item« existiert nicht\n'
        "LINE 1: i < (select count(*) from item)+99\n"
        "                                  ^\n"
        "QUERY:  i < (select count(*) from item)+99\n"
        "CONTEXT:  PL/pgSQL-Funktion public.pos(integer) Zeile 1 bei RETURN\n"
        "COPY item, Zeile 1: »1«",
        "Relation »item« existiert nicht",
    ),
    "pg_restore in French": (
        'pg_restore: error: COPY failed for table "item": ERREUR:  la relation « item » n\'existe pas\n'
        "CONTEXT:  fonction PL/pgSQL public.pos(integer), ligne 1 à RETURN\n"
        "COPY item, ligne 1 : « 1 »",
        "la relation « item » n'existe pas",
    ),
    "pg_restore in Japanese": (
        'pg_restore: error: COPY failed for table "item": ERROR:  リレーション"item"は存在しません\n'
        'CONTEXT:  PL/pgSQL関数public.pos(integer)の1行目 - RETURN\nitemのCOPY、行 1: "1"',
        'リレーション"item"は存在しません',
    ),
    "no way in": (
        'psql: error: connection to server at "127.0.0.1", port 54399 failed:'
        " FATAL:  la base de données « nodb » n'existe pas",
        "la base de données « nodb » n'existe pas",
    ),
    "no way in, in Russian": (
        'psql: error: connection to server at "127.0.0.1", port 54399 failed: ВАЖНО:  база данных "nodb" не существует',
        'база данных "nodb" не существует',
    ),
    "a tool's own": (
        "pg_restore: while INITIALIZING:\npg_restore: error: could not read from input file: end of file",
        "could not read from input file: end of file",
    ),
}


@pytest.mark.parametrize("what", SAID_ABROAD)
def test_the_first_error_is_found_whatever_language_the_server_speaks(what: str) -> None:
    said, first = SAID_ABROAD[what]
    assert first_error(said) == first
    assert first_error(without_rows(said)) == without_rows(f"ERROR:  {first}").removeprefix("ERROR:  ")


def test_no_error_is_none_in_any_language() -> None:
    assert first_error("WARNUNG:  keine Transaktion offen\nDETAIL:  nichts\nHINWEIS:  a") == ""
