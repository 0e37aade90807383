"""What a server says is read: where it is ours to choose, it says it in English."""

from __future__ import annotations

import sys

import pytest

from dbtasks.engines.postgres.access import HostAccess
from dbtasks.engines.postgres.script.feed import transaction
from dbtasks.psql import connect_psql
from dbtasks.sessions import PREPARE
from tests.fix_postgres import PgDatabase, PgServer
from tests.postgres.restoring import engine_on

LANGUAGE = "SELECT pg_catalog.current_setting('lc_messages') AS language"
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="another name for the plain locale")


@pytest.mark.parametrize(("options", "spoken"), [("LOGIN SUPERUSER", "C"), ("LOGIN", "POSIX")])
@pytest.mark.parametrize("by_psql", [False, True])
def test_a_superusers_sessions_speak_english_and_nobody_elses_is_refused_for_it(
    any_pg: PgServer, monkeypatch: pytest.MonkeyPatch, options: str, spoken: str, by_psql: bool
) -> None:
    """Only a superuser may choose; POSIX stands for a language of the server's."""
    if by_psql:

        def session(self: HostAccess, name: str) -> object:
            prepare = (PREPARE, {"lock": "30000ms"})
            return connect_psql(self.runner, name, user=self._target.user, env={}, prepare=prepare)

        monkeypatch.setattr(HostAccess, "session", session)
    role = any_pg.create_role(options)
    any_pg.run("postgres", f"ALTER ROLE {role.user} SET lc_messages = 'POSIX'")
    with any_pg.fresh(f"OWNER {role.user}") as database, engine_on(PgDatabase(role, database.name)) as engine:
        with engine.session() as opened:
            assert opened.rows(LANGUAGE) == [(spoken,)]
        with transaction(engine, database.name) as feed:
            assert feed.session.rows(LANGUAGE) == [(spoken,)]
    any_pg.run("postgres", f"DROP ROLE {role.user}")
