"""The contract every engine keeps, each on a real database: see dbtasks/engines/__init__.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import dbtasks
from dbtasks.engines import Engine
from dbtasks.engines.routes import open_engine
from dbtasks.errors import ArchiveDamaged, Busy, DbTasksError, UsageError, WrongEngine
from dbtasks.executors.browse import archive_of
from dbtasks.models import Archive, Type
from dbtasks.plans import DumpRequest, LoadRequest, PartRequest, TargetState
from dbtasks.settings import Settings, load_settings
from dbtasks.stores.local import LocalStore
from tests.fix_postgres import PgDatabase
from tests.sqlite.databases import content, holder, leftovers, make, run


@dataclass(frozen=True)
class Live:
    """One engine's live database, and what a test may do to it behind the engine's back."""

    settings: Settings
    run: Callable[[str], object]
    content: Callable[[], object]
    """Everything in it, comparable; before and after must be equal where nothing may change."""
    surroundings: Callable[[], object]
    """What lies beside it: other files, other databases."""
    locked: Callable[[], AbstractContextManager[object]]
    """Another session holds a lock that a dump must wait for."""
    remove: Callable[[], None]

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        with open_engine(self.settings) as engine:
            yield engine

    @contextmanager
    def backed_up(self) -> Iterator[tuple[Engine, dbtasks.Backup]]:
        """A backup of the database as it is; then it is changed."""
        made = dbtasks.backup(self.settings)
        self.run("DELETE FROM note")
        self.run("UPDATE item SET body = 'changed'")
        with self.engine() as engine:
            yield engine, made


@pytest.fixture(params=["sqlite", "custom", "sql", "directory"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live:
    if request.param == "sqlite":
        return _sqlite(tmp_path)
    return _postgres(request.getfixturevalue("pg_db"), tmp_path, request.param)


def _sqlite(root: Path) -> Live:
    path = make(root / "app.db", 500)
    settings = load_settings(root, environ={}, url="sqlite:///app.db", lock_timeout="1")
    return Live(
        settings,
        run=lambda sql: run(path, sql),
        content=lambda: content(path),
        surroundings=lambda: (sorted(p.name for p in root.iterdir() if p.name != "backups"), leftovers(root)),
        locked=lambda: holder(path, "BEGIN EXCLUSIVE"),
        remove=path.unlink,
    )


def _postgres(database: PgDatabase, root: Path, format_: str) -> Live:
    database.run("""
        CREATE TABLE item (id int PRIMARY KEY, body text NOT NULL);
        INSERT INTO item SELECT n, 'body ' || n FROM generate_series(1, 500) n;
        CREATE TABLE note (id serial PRIMARY KEY, item int REFERENCES item);
        INSERT INTO note (item) VALUES (1), (2);
        CREATE VIEW items AS SELECT count(*) FROM item;
    """)
    settings = load_settings(
        root,
        environ={},
        url=database.url,
        pg_bin=str(database.server.bin),
        format=format_,
        lock_timeout="1",
        via="host",
    )
    kin = f"SELECT datname FROM pg_database WHERE datname LIKE '{database.name}%' ORDER BY 1"

    @contextmanager
    def locked() -> Iterator[object]:
        connection = database.connect()
        try:
            connection.autocommit = False
            with connection.cursor() as cursor:
                cursor.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
                yield connection
        finally:
            connection.close()

    return Live(
        settings,
        run=database.run,
        content=lambda: (
            database.run("SELECT * FROM item ORDER BY 1"),
            database.run("SELECT * FROM note ORDER BY 1"),
            database.run("SELECT count FROM items"),
            database.run(
                "SELECT relname, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
            ),
        ),
        surroundings=lambda: database.server.run("postgres", kin),
        locked=locked,
        remove=lambda: database.server.drop_database(database.name),
    )


def load_of(engine: Engine, archive: Archive) -> Any:
    return engine.load(engine.plan_load(archive, LoadRequest()), archive)


def test_what_was_dumped_is_loaded_identical(live: Live) -> None:
    before = live.content()
    with live.backed_up() as (engine, made):
        assert live.content() != before
        with load_of(engine, archive_of(made)) as loaded:
            loaded.commit()
    assert live.content() == before


def test_the_counts_of_the_dump_are_those_of_the_live_database(live: Live) -> None:
    with live.engine() as engine:
        counts = engine.row_counts()
    made = dbtasks.backup(live.settings)
    assert made.manifest.counts == counts
    assert sorted(counts.values()) in ([1, 500], [2, 500])


def test_planning_and_asking_only_read(live: Live) -> None:
    with live.backed_up() as (engine, made):
        before = live.content(), live.surroundings()
        engine.state()
        engine.facts()
        engine.row_counts()
        engine.plan_dump(DumpRequest())
        engine.check(archive_of(made))
        engine.plan_load(archive_of(made), LoadRequest())
        assert (live.content(), live.surroundings()) == before


def test_inside_the_load_the_backup_can_be_counted_and_the_live_database_is_as_it_was(live: Live) -> None:
    with live.backed_up() as (engine, made):
        before = live.content()
        with load_of(engine, archive_of(made)) as loaded:
            assert loaded.counts() == made.manifest.counts
            assert loaded.problems() == ()
            assert live.content() == before


@pytest.mark.parametrize("how", ["left", "failed", "interrupted"])
def test_a_load_that_is_not_committed_changes_nothing_and_leaves_nothing(live: Live, how: str) -> None:
    raised = {"left": None, "failed": RuntimeError("a bug"), "interrupted": KeyboardInterrupt()}[how]
    with live.backed_up() as (engine, made):
        before = live.content(), live.surroundings()
        try:
            with load_of(engine, archive_of(made)):
                if raised:
                    raise raised
        except (RuntimeError, KeyboardInterrupt) as exc:
            assert exc is raised
        assert (live.content(), live.surroundings()) == before


def test_a_restore_that_fails_its_check_changes_nothing_and_leaves_nothing(live: Live) -> None:
    made = dbtasks.backup(live.settings)
    live.run("DELETE FROM note")
    before = live.content(), live.surroundings()
    tables = tuple(replace(t, rows=(t.rows or 0) + 1) for t in made.manifest.tables)
    LocalStore(live.settings.backup_dir).replace_manifest(made, replace(made.manifest, tables=tables))
    with pytest.raises(DbTasksError) as caught:
        dbtasks.restore(live.settings, dbtasks.plan_restore(live.settings, dbtasks.RestoreJob(made.id)))
    assert caught.value.exit_code == 5
    assert "as it was" in caught.value.state
    assert (live.content(), live.surroundings()) == before


def test_a_dump_that_cannot_get_its_lock_is_busy_and_publishes_nothing(live: Live) -> None:
    with live.locked(), pytest.raises(Busy) as caught:
        dbtasks.backup(live.settings)
    assert caught.value.exit_code == 7
    _nothing_published(live)


def test_a_dump_that_breaks_off_publishes_nothing(live: Live) -> None:
    def fail(event: object) -> None:
        if getattr(event, "name", "") == "verify":
            raise OSError(28, "made up by the test")

    with pytest.raises(OSError, match="made up"):
        dbtasks.backup(live.settings, on_event=fail)  # type: ignore[arg-type]
    _nothing_published(live)


def _nothing_published(live: Live) -> None:
    catalog = dbtasks.list_backups(live.settings)
    assert (catalog.backups, catalog.foreign) == ((), ())
    assert leftovers(live.settings.root) == []


@pytest.mark.parametrize("part", [0.0, 0.3, 0.6])
def test_a_cut_archive_fails_its_check(live: Live, part: float) -> None:
    made = dbtasks.backup(live.settings)
    data = made.path.read_bytes()
    made.path.write_bytes(data[: int(len(data) * part)])
    with live.engine() as engine, pytest.raises(ArchiveDamaged):
        engine.check(replace(archive_of(made), manifest=None))


def test_another_engines_file_is_refused_even_with_unverified(live: Live, tmp_path: Path) -> None:
    is_sqlite = live.settings.target is not None and live.settings.target.engine == "sqlite"
    if is_sqlite:
        (tmp_path / "foreign").write_bytes(b"PGDMP\1\16" + bytes(3000))
    else:
        make(tmp_path / "foreign")
    before = live.content(), live.surroundings()
    job = dbtasks.RestoreJob("./foreign", request=LoadRequest(unverified=True))
    with pytest.raises(WrongEngine) as caught:
        dbtasks.plan_restore(live.settings, job)
    assert caught.value.exit_code == 6
    assert (live.content(), live.surroundings()) == before


def test_state_says_what_is_there(live: Live) -> None:
    with live.engine() as engine:
        assert engine.state() is TargetState.PRESENT
        live.run("DROP TABLE note")
        if live.settings.target and live.settings.target.engine == "postgresql":
            live.run("DROP VIEW items")
        live.run("DROP TABLE item")
        assert engine.state() is TargetState.EMPTY
    live.remove()
    with live.engine() as engine:
        assert engine.state() is TargetState.MISSING


def test_a_database_that_is_not_there_is_created_by_a_restore(live: Live) -> None:
    before = live.content()
    made = dbtasks.backup(live.settings)
    live.remove()
    result = dbtasks.restore(live.settings, dbtasks.plan_restore(live.settings, dbtasks.RestoreJob(made.id)))
    assert live.content() == before
    assert result.safety_backup is None


def test_a_dump_of_a_database_that_is_not_there_cannot_be_planned(live: Live) -> None:
    live.remove()
    with pytest.raises(DbTasksError) as caught:
        dbtasks.plan_backup(live.settings)
    assert caught.value.exit_code == 3


def test_the_safety_backup_brings_the_replaced_state_back(live: Live) -> None:
    with live.backed_up() as (_, made):
        pass
    changed = live.content()
    result = dbtasks.restore(live.settings, dbtasks.plan_restore(live.settings, dbtasks.RestoreJob(made.id)))
    assert result.safety_backup is not None
    assert result.safety_backup.manifest.type is Type.SAFETY
    assert live.content() != changed
    back = dbtasks.RestoreJob(result.safety_backup.id)
    dbtasks.restore(live.settings, dbtasks.plan_restore(live.settings, back))
    assert live.content() == changed


def test_a_request_that_means_nothing_here_is_a_usage_error(live: Live) -> None:
    nonsense = (
        DumpRequest(tables=("item",))
        if live.settings.target and live.settings.target.engine == "sqlite"
        else DumpRequest(tables=("no_such_table",))
    )
    with live.engine() as engine, pytest.raises(UsageError):
        engine.plan_dump(nonsense)


@pytest.mark.long
@pytest.mark.parametrize("there", [True, False], ids=["live", "removed"])
def test_what_is_loaded_to_be_looked_at_is_gone_afterwards_and_never_live(live: Live, there: bool) -> None:
    with live.backed_up() as (engine, made):
        if not there:
            live.remove()
        before = live.content() if there else None
        surroundings = live.surroundings()
        archive = archive_of(made)
        assert engine.plan_scratch(archive)
        assert live.surroundings() == surroundings, "a plan writes nothing"
        with engine.scratch(archive) as loaded:
            counts = {name.removeprefix("public."): rows for name, rows in loaded.counts().items()}
            assert counts["item"] == 500
            assert loaded.problems() == ()
            assert engine.plan_scratch(archive) == loaded.where
        assert live.surroundings() == surroundings
        with pytest.raises(KeyboardInterrupt), engine.scratch(archive):
            raise KeyboardInterrupt
        assert live.surroundings() == surroundings
        assert not there or live.content() == before


# -- single tables -------------------------------------------------------------------


def test_a_part_is_live_with_its_commit_and_not_before(live: Live) -> None:
    with live.backed_up() as (engine, made):
        before = live.content()
        ((name, rows),) = [(n, rows) for n, rows in made.manifest.counts.items() if n.endswith("note")]
        plan = engine.plan_part(archive_of(made), PartRequest((name,)))
        assert [(table.name, table.backup_rows, table.live_rows) for table in plan.tables] == [
            (name, rows, 0)
        ]
        with engine.load_part(plan, archive_of(made)) as loaded:
            assert loaded.counts() == {name: rows}
        assert live.content() == before
        with engine.load_part(plan, archive_of(made)) as loaded:
            assert loaded.problems() == ()
            assert loaded.commit().old is None
        assert live.content() != before
        assert engine.row_counts()[name] == rows


def test_a_part_that_is_not_there_is_named(live: Live) -> None:
    with live.backed_up() as (engine, made), pytest.raises(UsageError, match="holds no such table"):
        engine.plan_part(archive_of(made), PartRequest(("nosuch",)))
