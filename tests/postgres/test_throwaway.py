"""A backup proven on a server of our own: started for it, loaded by a plain role, stopped and removed in every case."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines.postgres.scratch.throwaway import find_binaries
from dbtasks.errors import CannotReach, RightMissing, RouteUnavailable, StoreFull, ToolMissing
from dbtasks.events import Event, Phase, Warned
from dbtasks.models import Backup, Format
from dbtasks.runners.private import PREFIX
from tests.disks import CAN_MOUNT, small_disk
from tests.fix_postgres import PgDatabase, PgServer
from tests.moments import at_phase
from tests.ordinary_user import a_folder, as_ordinary_user, forked
from tests.postgres.projects import configured, made_with
from tests.postgres.restoring import databases
from tests.postgres.rich import ROWS, fill

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Unix sockets")


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder that an ordinary user owns, and where temporary files lie."""
    with a_folder() as folder:
        monkeypatch.setattr(tempfile, "tempdir", str(folder))
        yield folder


def proven(
    config: dbtasks.Settings, *backups: Backup, where: str = "throwaway", **options: Any
) -> dbtasks.Verified:
    return dbtasks.verify(config, backups, restore=True, where=where, **options)[0]


def drafts(config: dbtasks.Settings) -> list[Path]:
    return list((config.backup_dir / ".proofs").iterdir())


def servers(config: dbtasks.Settings) -> list[int]:
    """The postmasters that work below the store."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            at_home = folder.name.isdigit() and (folder / "cwd").resolve().is_relative_to(config.backup_dir)
        except OSError:
            continue
        if at_home:
            found.append(int(folder.name))
    return found


def assert_nothing_left(config: dbtasks.Settings) -> None:
    assert drafts(config) == []
    if sys.platform == "linux":
        assert servers(config) == []
    assert list(Path(tempfile.gettempdir()).glob(f"{PREFIX}*")) == []


@pytest.mark.long
@pytest.mark.parametrize("format_", [Format.CUSTOM, Format.DIRECTORY, Format.SQL])
def test_a_rich_database_is_proven_without_its_server(
    any_db: PgDatabase, home: Path, format_: Format
) -> None:
    fill(any_db)
    auditor = any_db.server.create_role("NOLOGIN").user
    any_db.run(f"CREATE POLICY for_auditors ON public.parent TO {auditor} USING (true)")

    def act() -> None:
        config = configured(home, any_db)
        made = made_with(config, format=format_)
        done = proven(config, made)
        assert done.ok, done.how
        assert done.restored is not None
        assert (done.restored.tables, done.restored.rows) == (len(ROWS), sum(ROWS.values()))
        version = any_db.server.version
        assert f"a throwaway server on this machine (PostgreSQL {version})" in done.restored.how
        assert done.restored.how.endswith("rows as in the manifest")
        assert dbtasks.find(config, "latest").manifest.restored_how == done.restored.how
        assert_nothing_left(config)

    as_ordinary_user(act)
    assert databases(any_db) == [any_db.name]


def test_d19_auto_goes_there_when_the_role_may_not_create_databases_and_says_why(
    pg: PgServer, home: Path
) -> None:
    owner = pg.create_role("LOGIN")
    with pg.fresh(f"OWNER {owner.user}") as database:
        mine = database.seen_by(owner)
        mine.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1), (2)")

        def act() -> None:
            config = configured(home, mine)
            events: list[Event] = []
            done = proven(config, made_with(config), where="auto", on_event=events.append)
            assert done.ok, done.how
            assert done.restored is not None
            assert "throwaway" in done.restored.how
            (said,) = [e.text for e in events if isinstance(e, Warned) and "throwaway" in e.text]
            assert "may not create databases" in said
            assert_nothing_left(config)

        as_ordinary_user(act)
        assert databases(database) == [database.name]


@pytest.mark.long
def test_auto_goes_there_when_the_server_is_away_and_starts_one_server_for_all(
    pg_db: PgDatabase, home: Path
) -> None:
    pg_db.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)")

    def act() -> None:
        config = configured(home, pg_db)
        made = [made_with(config) for _ in range(2)]
        # another spelling of the same server, where nobody answers
        target = replace(config.require_target(), host=str(home / "nowhere"))
        away = replace(config, target=target)
        events: list[Event] = []
        done = dbtasks.verify(away, made, restore=True, on_event=events.append)
        assert [r.ok for r in done] == [True, True], [r.how for r in done]
        said = {e.text for e in events if isinstance(e, Warned)}
        assert any("cannot be reached" in text for text in said), said
        assert [e.name for e in events if isinstance(e, Phase)].count("start") == 1
        assert_nothing_left(config)

    as_ordinary_user(act)


def test_a_backup_is_proven_where_no_database_is_configured(pg_db: PgDatabase, home: Path) -> None:
    pg_db.run("CREATE TABLE item (id int); INSERT INTO item VALUES (1)")

    def act() -> None:
        config = configured(home, pg_db)
        made = made_with(config)
        done = proven(replace(config, target=None), made, where="auto")
        assert done.ok, done.how
        assert done.restored is not None
        assert "throwaway" in done.restored.how

    as_ordinary_user(act)


RUNS_A_PROGRAM = """
    CREATE FUNCTION public.run() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
        IF pg_catalog.current_database() LIKE '%\\_\\_new\\_%' THEN
            COPY (SELECT 1) TO PROGRAM 'touch {}';
        END IF;
        RETURN true; END $$;
    CREATE TABLE trap (a int CHECK (public.run()));
    INSERT INTO trap VALUES (1);
"""


def test_g01_what_a_backup_runs_while_it_is_loaded_has_no_power_over_this_machine(
    pg_db: PgDatabase, home: Path
) -> None:
    """Whoever may define functions in the source database chooses what runs here."""
    sign = home / "was-here"
    pg_db.run(RUNS_A_PROGRAM.format(sign))

    def act() -> None:
        config = configured(home, pg_db)
        made = made_with(config)
        with pytest.raises(RightMissing) as caught:
            proven(config, made)
        assert "permission denied" in caught.value.details
        assert not dbtasks.find(config, "latest").manifest.damage
        assert_nothing_left(config)

    as_ordinary_user(act)
    assert not sign.exists()


@pytest.mark.long
def test_a10_an_interrupted_proof_stops_its_server_and_removes_it(pg_db: PgDatabase, home: Path) -> None:
    pg_db.run("CREATE TABLE item (id int)")

    def stop() -> None:
        raise KeyboardInterrupt

    def act() -> None:
        config = configured(home, pg_db)
        made = made_with(config)
        for phase in ("start", "create", "load", "check"):
            with pytest.raises(KeyboardInterrupt):
                proven(config, made, on_event=at_phase(phase, stop))
            assert_nothing_left(config)

    as_ordinary_user(act)


def test_nobody_else_can_reach_it_and_nothing_listens_on_the_network(pg_db: PgDatabase, home: Path) -> None:
    pg_db.run("CREATE TABLE item (id int)")

    def act() -> None:
        config = configured(home, pg_db)
        made = made_with(config)
        seen: list[tuple[int, list[str]]] = []

        def look() -> None:
            (draft,) = drafts(config)
            lines = (draft / "data" / "postmaster.pid").read_text().split("\n")
            mode = Path(lines[4]).stat().st_mode & 0o777
            seen.append((mode, [lines[5]]))
            assert draft.stat().st_mode & 0o777 == 0o700

        assert proven(config, made, on_event=at_phase("check", look)).ok
        # the sixth line is the address that TCP listens on
        assert seen == [(0o700, [""])]

    as_ordinary_user(act)


@pytest.mark.fault
@pytest.mark.skipif(
    sys.platform != "linux", reason="where /proc is, it is ended at once; elsewhere within a minute"
)
def test_a08_the_server_of_a_killed_proof_is_ended_and_removed_by_the_next_one(
    pg_db: PgDatabase, home: Path
) -> None:
    pg_db.run("CREATE TABLE item (id int)")

    def killed() -> None:
        config = configured(home, pg_db)
        proven(
            config,
            made_with(config),
            on_event=at_phase("check", lambda: os.kill(os.getpid(), signal.SIGKILL)),
        )

    _, status = os.waitpid(forked(killed), 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    config = configured(home, pg_db)
    assert len(drafts(config)) == 1
    assert servers(config) != [], "it runs on"

    def act() -> None:
        # a proof on the server of the database: whatever is proven next
        assert proven(config, dbtasks.find(config, "latest"), where="server").ok
        assert_nothing_left(config)

    as_ordinary_user(act)


@pytest.mark.long
def test_a08_the_server_of_a_killed_proof_is_told_and_a_comparison_or_a_cleanup_ends_it(
    pg_db: PgDatabase, home: Path
) -> None:
    pg_db.run("CREATE TABLE item (id int PRIMARY KEY)")

    def killed() -> None:
        config = configured(home, pg_db)
        made = made_with(config)
        kill = at_phase("check", lambda: os.kill(os.getpid(), signal.SIGKILL))
        proven(config, made, on_event=kill)

    config = configured(home, pg_db)
    for remove in (
        lambda: dbtasks.diff_rows(config, "latest"),
        lambda: dbtasks.cleanup(config, dbtasks.plan_cleanup(config)),
    ):
        _, status = os.waitpid(forked(killed), 0)
        assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
        assert servers(config) != [], "it runs on"

        def act(remove: Callable[[], object] = remove) -> None:
            (folder,) = drafts(config)
            assert any(
                text.startswith(f"{folder} was left over") for text in dbtasks.inspect(config).warnings
            )
            remove()
            assert_nothing_left(config)

        as_ordinary_user(act)


def test_a_server_too_old_or_none_at_all_is_said_with_what_was_found(
    pg_db: PgDatabase, pg16: PgServer, home: Path
) -> None:
    def act() -> None:
        with pytest.raises(ToolMissing, match=r"version 17 or later .* only 16$"):
            find_binaries(configured(home, pg_db, pg_bin=str(pg16.bin)), 17)
        assert find_binaries(configured(home, pg_db, pg_bin=str(pg16.bin)), 14).major == 16
        clients = home / "clients"
        clients.mkdir()
        for name in ("pg_dump", "pg_restore", "psql"):
            (clients / name).symlink_to(pg_db.server.bin / name)
        with pytest.raises(ToolMissing, match="was found in pg_bin"):
            find_binaries(configured(home, pg_db, pg_bin=str(clients)), 14)

    as_ordinary_user(act)


def test_binaries_on_the_path_and_those_beside_pg_dump_are_found(
    pg_db: PgDatabase, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = home / "links"
    links.mkdir()
    (links / "pg_dump").symlink_to(pg_db.server.bin / "pg_dump")
    version = pg_db.server.version

    def act() -> None:
        for path in (str(pg_db.server.bin), str(links)):
            os.environ["PATH"] = path
            config = dbtasks.load_settings(home, environ={}, url=pg_db.url)
            assert find_binaries(config, version).major >= version

    monkeypatch.setenv("PATH", os.environ["PATH"])
    as_ordinary_user(act)


def test_a_server_that_cannot_be_made_is_told_in_its_own_words(pg_db: PgDatabase, home: Path) -> None:
    tools = home / "tools"
    tools.mkdir()
    for name in ("pg_dump", "pg_restore", "psql", "postgres"):
        (tools / name).symlink_to(pg_db.server.bin / name)
    version = pg_db.server.version
    failing = f"#!/bin/sh\n[ $1 = --version ] && echo 'initdb (PostgreSQL) {version}.0' && exit\necho 'who are you?' >&2\nexit 1\n"
    (tools / "initdb").write_text(failing)
    (tools / "initdb").chmod(0o755)

    def act() -> None:
        config = configured(home, pg_db, pg_bin=str(tools))
        made = made_with(config)
        with pytest.raises(RouteUnavailable, match="could not be started") as caught:
            proven(config, made)
        assert caught.value.details == "who are you?"
        target = replace(config.require_target(), host=str(home / "nowhere"))
        with pytest.raises(CannotReach, match=r"cannot be reached; and .* could not be started"):
            proven(replace(config, target=target), made, where="auto")
        assert_nothing_left(config)

    as_ordinary_user(act)


if hasattr(os, "geteuid") and os.geteuid() == 0:

    def test_root_is_told_that_no_server_runs_as_root(pg_db: PgDatabase, tmp_path: Path) -> None:
        config = configured(tmp_path, pg_db)
        made = made_with(config)
        with pytest.raises(RouteUnavailable, match="does not run as root"):
            proven(config, made)
        assert not dbtasks.find(config, "latest").manifest.damage


if CAN_MOUNT:

    @pytest.mark.fault
    def test_d24_a_disk_without_room_for_a_server_is_told_before_one_is_made(
        pg_db: PgDatabase, home: Path
    ) -> None:
        pg_db.run("CREATE TABLE item (id int)")
        with small_disk(home / "disk", "20m", "777") as disk:

            def act() -> None:
                config = configured(home, pg_db, backup_dir=str(disk / "backups"))
                with pytest.raises(StoreFull, match="a throwaway server needs about"):
                    proven(config, made_with(config))
                assert not (config.backup_dir / ".proofs").exists() or drafts(config) == []

            as_ordinary_user(act)
