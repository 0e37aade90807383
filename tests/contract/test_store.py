"""What every store keeps. A new store joins by one more entry in STORES."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from dbtasks.errors import AlreadyExists, ArchiveDamaged, NotFound
from dbtasks.lock import try_lock
from dbtasks.manifest import dump_manifest
from dbtasks.models import Backup, ForeignFile, Manifest, Type
from dbtasks.stores import Store
from dbtasks.stores.drafts import LOCK, claim_draft, discard_draft
from dbtasks.stores.local import LocalStore, OutputFolder
from tests.conftest import REPOSITORY
from tests.disks import CAN_MOUNT, small_disk
from tests.samples import a_manifest, a_proof

STORES: dict[str, Callable[[Path], Store]] = {"local": lambda tmp_path: LocalStore(tmp_path / "backups")}

HOLD_A_DRAFT = """
import sys
from pathlib import Path
from dbtasks.models import Type
from dbtasks.stores.local import LocalStore

with LocalStore(Path(sys.argv[1])).draft(Type.DAILY) as draft:
    draft.path.write_bytes(b"half")
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture(params=STORES, name="store")
def a_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind."""
    return STORES[request.param](tmp_path)


def described(data: bytes, id_: str = "k3f9a1", **changes: object) -> Manifest:
    """The manifest of an archive with these bytes."""
    return a_manifest(
        id=id_,
        archive=f"shop_20260224T150320Z_{id_}.dump",
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        **changes,
    )


def stored(store: Store, data: bytes = b"archive", id_: str = "k3f9a1", **changes: object) -> Backup:
    """Publish a backup the way an executor does."""
    manifest = described(data, id_, **changes)
    with store.draft(manifest.type) as draft:
        with draft.create() as stream:
            stream.write(data)
        if manifest.globals:
            draft.globals_path.write_text("CREATE ROLE jo;\n")
        return store.publish(draft, manifest, a_proof(data))


def backups(store: Store) -> list[Backup]:
    return [entry for entry in store.entries() if isinstance(entry, Backup)]


def foreign(store: Store) -> list[ForeignFile]:
    return [entry for entry in store.entries() if isinstance(entry, ForeignFile)]


def content(store: Store, backup: Backup) -> bytes:
    with store.open(backup) as stream:
        return stream.read()


class TestStoreContract:
    def test_an_empty_store_lists_nothing_and_need_not_exist(self, store):
        assert list(store.entries()) == []
        assert store.sweep() == []

    def test_a_published_backup_is_listed_with_its_manifest_and_can_be_read(self, store):
        made = stored(store, b"some bytes", note="before the move")
        (listed,) = backups(store)
        assert listed == made
        assert listed.manifest.note == "before the move"
        assert content(store, listed) == b"some bytes"
        assert foreign(store) == []

    def test_each_type_is_listed(self, store):
        for number, type_ in enumerate(Type):
            stored(store, id_=f"aaaaa{number}", type=type_)
        assert {backup.manifest.type for backup in backups(store)} == set(Type)

    def test_roles_dumped_beside_belong_to_the_backup(self, store):
        made = stored(store, globals="shop_20260224T150320Z_k3f9a1.globals.sql")
        assert foreign(store) == []
        store.remove(made)
        assert list(store.entries()) == []

    def test_a_draft_is_invisible(self, store):
        with store.draft(Type.DAILY) as draft, draft.create() as stream:
            stream.write(b"half")
            stream.flush()
            assert list(store.entries()) == []

    def test_a_draft_that_was_not_published_is_gone(self, store):
        with store.draft(Type.DAILY) as draft:
            (draft.folder / "dump.dir").mkdir()
            (draft.folder / "dump.dir" / "toc.dat").write_bytes(b"x")
            draft.path.write_bytes(b"half")
        assert not draft.folder.exists()
        assert list(store.entries()) == []

    def test_a01_after_a_failure_the_store_looks_as_before(self, store):
        stored(store)
        before = list(store.entries())
        with pytest.raises(KeyError), store.draft(Type.DAILY) as draft:
            draft.path.write_bytes(b"half")
            raise KeyError
        assert not draft.folder.exists()
        assert list(store.entries()) == before

    def test_a_draft_is_written_once(self, store):
        with store.draft(Type.DAILY) as draft:
            with draft.create() as stream:
                stream.write(b"first")
            with pytest.raises(Exception, match="cannot write"), draft.create():
                pass
            assert draft.path.read_bytes() == b"first"

    def test_h01_publishing_never_overwrites(self, store):
        stored(store, b"first")
        with pytest.raises(AlreadyExists, match="exists already"):
            stored(store, b"second")
        (listed,) = backups(store)
        assert content(store, listed) == b"first"

    @pytest.mark.parametrize("other", [b"short", b"a much longer archive"])
    def test_c07_a_draft_that_changed_after_its_proof_is_refused(self, store, other):
        manifest = described(b"archive")
        with store.draft(Type.DAILY) as draft:
            draft.path.write_bytes(other)
            with pytest.raises(ArchiveDamaged, match="nothing was published"):
                store.publish(draft, manifest, a_proof(b"archive"))
        assert list(store.entries()) == []

    def test_a_manifest_that_describes_something_else_is_refused(self, store):
        with store.draft(Type.DAILY) as draft:
            draft.path.write_bytes(b"archive")
            with pytest.raises(ArchiveDamaged, match="does not describe"):
                store.publish(draft, described(b"ARCHIVE"), a_proof(b"archive"))
        assert list(store.entries()) == []

    def test_a_draft_without_an_archive_is_refused(self, store):
        with store.draft(Type.DAILY) as draft, pytest.raises(Exception, match="cannot publish"):
            store.publish(draft, described(b"archive"), a_proof(b"archive"))
        assert list(store.entries()) == []

    def test_when_the_roles_cannot_be_published_the_archive_is_taken_back(self, store):
        manifest = described(b"archive", globals="roles.sql")
        with store.draft(Type.DAILY) as draft:
            draft.path.write_bytes(b"archive")
            with pytest.raises(Exception, match="cannot publish"):
                store.publish(draft, manifest, a_proof(b"archive"))
        assert list(store.entries()) == []

    def test_a_manifest_is_replaced_and_the_archive_untouched(self, store):
        made = stored(store)
        changed = store.replace_manifest(made, replace(made.manifest, pinned=True))
        assert changed.manifest.pinned
        assert backups(store) == [changed]
        assert content(store, changed) == b"archive"

    def test_the_manifest_of_a_removed_backup_is_not_brought_back(self, store):
        made = stored(store)
        store.remove(made)
        with pytest.raises(NotFound):
            store.replace_manifest(made, replace(made.manifest, pinned=True))
        assert list(store.entries()) == []

    def test_a_removed_backup_is_gone_and_the_others_are_not(self, store):
        stored(store, id_="aaaaaa")
        made = stored(store, id_="bbbbbb")
        store.remove(made)
        assert [backup.id for backup in backups(store)] == ["aaaaaa"]
        with pytest.raises(NotFound):
            store.open(made)

    def test_an_archive_removed_behind_our_back_is_no_backup_any_more(self, store):
        made = stored(store)
        made.path.unlink()
        assert backups(store) == []
        assert "missing" in foreign(store)[0].why

    def test_sweeping_a_healthy_store_changes_nothing(self, store):
        stored(store, id_="aaaaaa")
        stored(store, id_="bbbbbb", globals="roles.sql")
        before = list(store.entries())
        assert store.sweep() == []
        assert list(store.entries()) == before

    def test_h02_a_sweep_leaves_the_drafts_of_living_runs_alone(self, store):
        with store.draft(Type.DAILY) as draft:
            draft.path.write_bytes(b"archive")
            assert store.sweep() == []
            assert draft.path.exists()
            store.publish(draft, described(b"archive"), a_proof(b"archive"))
        assert len(backups(store)) == 1


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """A local store in an empty folder."""
    return LocalStore(tmp_path / "backups")


def tree(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


class TestLocalFiles:
    def test_the_folder_is_made_private_and_ignored_by_git(self, local):
        stored(local)
        assert (local.root / ".gitignore").read_text() == "*\n"
        assert tree(local.root) == {
            ".gitignore",
            "daily",
            "daily/shop_20260224T150320Z_k3f9a1.dump",
            "daily/shop_20260224T150320Z_k3f9a1.dump.manifest.json",
        }

    def test_a08_a_gitignore_that_a_killed_run_left_empty_is_filled_by_the_next(self, local):
        local.root.mkdir(mode=0o700)
        (local.root / ".gitignore").touch()
        local.prepare()
        assert (local.root / ".gitignore").read_text() == "*\n"

    def test_a_gitignore_of_the_users_is_kept(self, local):
        local.root.mkdir(mode=0o700)
        (local.root / ".gitignore").write_text("!keep\n")
        stored(local)
        assert (local.root / ".gitignore").read_text() == "!keep\n"

    @pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
    def test_g11_files_are_0600_and_folders_0700_under_any_umask(self, local, mask):
        before = os.umask(mask)
        try:
            with local.draft(Type.DAILY) as draft:
                modes = {path.stat().st_mode & 0o077 for path in (draft.folder, draft.folder.parent)}
                # a tool of somebody else's writes by path, with the mode the umask leaves it
                draft.path.write_bytes(b"archive")
                draft.globals_path.write_bytes(b"roles")
                manifest = described(b"archive", globals="roles.sql")
                local.publish(draft, manifest, a_proof(b"archive"))
        finally:
            os.umask(before)
        assert modes == {0}
        for path in (local.root, *local.root.rglob("*")):
            assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path

    def test_g11_an_archive_is_private_from_its_first_byte(self, local):
        before = os.umask(0)
        try:
            with local.draft(Type.DAILY) as draft, draft.create():
                assert draft.path.stat().st_mode & 0o777 == 0o600
        finally:
            os.umask(before)

    def test_a_folder_others_may_write_to_is_refused(self, local):
        local.root.mkdir()
        local.root.chmod(0o777)
        with pytest.raises(Exception, match="others may write") as caught, local.draft(Type.DAILY):
            pass
        assert "chmod go-w" in caught.value.hint

    def test_h10_what_others_put_there_is_shown_and_never_touched(self, local, tmp_path):
        made = stored(local)
        outside = tmp_path / "outside.dump"
        outside.write_bytes(b"precious")
        daily = local.root / "daily"
        (daily / "db_20260224_150320.sql.gz").write_bytes(b"old")
        (daily / "link.dump").symlink_to(outside)
        (daily / "mine").mkdir()
        (daily / "mine" / "inner.dump").write_bytes(b"deep")
        (local.root / "copy.sqlite3").write_bytes(b"copy")
        before = tree(local.root)
        shown = {entry.path.name: entry for entry in foreign(local)}
        assert set(shown) == {"db_20260224_150320.sql.gz", "link.dump", "copy.sqlite3"}
        assert shown["db_20260224_150320.sql.gz"].size_bytes == 3
        assert "symbolic link" in shown["link.dump"].why
        assert local.sweep() == []
        assert tree(local.root) == before
        local.remove(made)
        assert tree(local.root) == before - {
            f"daily/{made.path.name}",
            f"daily/{made.path.name}.manifest.json",
        }
        assert outside.read_bytes() == b"precious"

    def test_our_own_log_and_records_are_not_foreign(self, local):
        stored(local)
        (local.root / "log.jsonl").write_text("{}\n")
        (local.root / "restores").mkdir()
        (local.root / ".locks").mkdir()
        assert foreign(local) == []

    def test_c06_manifests_swapped_between_two_backups_make_both_foreign(self, local):
        first, second = stored(local, b"one", "aaaaaa"), stored(local, b"two", "bbbbbb")
        texts = [manifest_path(backup).read_bytes() for backup in (first, second)]
        manifest_path(first).write_bytes(texts[1])
        manifest_path(second).write_bytes(texts[0])
        assert backups(local) == []
        assert all("belongs to" in entry.why for entry in foreign(local) if "manifest" in entry.path.name)

    def test_c06_a_manifest_in_another_types_folder_is_foreign(self, local):
        made = stored(local)
        stored(local, id_="bbbbbb", type=Type.WEEKLY)
        for path in (made.path, manifest_path(made)):
            path.rename(local.root / "weekly" / path.name)
        assert [backup.id for backup in backups(local)] == ["bbbbbb"]

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"id": 3}', b"\xff" * 50])
    def test_c06_an_unparsable_manifest_makes_its_archive_foreign(self, local, data):
        made = stored(local)
        manifest_path(made).write_bytes(data)
        assert backups(local) == []
        assert {entry.why for entry in foreign(local)} == {"its manifest cannot be read"}
        assert [entry.path for entry in foreign(local) if entry.unreadable] == [made.path]

    def test_c06_a_manifest_that_points_out_of_its_folder_is_foreign(self, local, tmp_path):
        made = stored(local)
        (tmp_path / "victim").write_bytes(b"precious")
        text = dump_manifest(made.manifest).replace(made.manifest.archive.encode(), b"../../victim")
        manifest_path(made).write_bytes(text)
        assert backups(local) == []

    def test_c04_an_archive_whose_size_changed_is_listed_as_damaged(self, local):
        made = stored(local)
        with made.path.open("ab") as stream:
            stream.write(b"more")
        (listed,) = backups(local)
        assert "its manifest says" in listed.manifest.damage
        assert foreign(local) == []

    def test_g12_a_link_in_an_archives_place_is_not_followed(self, local, tmp_path):
        made = stored(local)
        secret = tmp_path / "secret"
        secret.write_bytes(b"archive")
        made.path.unlink()
        made.path.symlink_to(secret)
        with pytest.raises(ArchiveDamaged, match="symbolic link"):
            local.open(made)
        assert backups(local) == []

    def test_g12_a_link_planted_under_the_final_name_is_not_written_through(self, local, tmp_path):
        victim = tmp_path / "victim"
        victim.write_bytes(b"precious")
        (local.root / "daily").mkdir(parents=True, mode=0o700)
        local.root.chmod(0o700)
        (local.root / "daily" / described(b"archive").archive).symlink_to(victim)
        with pytest.raises(AlreadyExists):
            stored(local)
        assert victim.read_bytes() == b"precious"
        assert victim.stat().st_nlink == 1

    def test_g12_a_folder_of_a_type_that_is_a_link_is_refused_and_not_listed(self, local, tmp_path):
        elsewhere = LocalStore(tmp_path / "elsewhere")
        stored(elsewhere)
        local.prepare()
        (local.root / "daily").symlink_to(elsewhere.root / "daily")
        with pytest.raises(Exception, match="symbolic link"):
            stored(local, id_="bbbbbb")
        assert backups(local) == []
        assert [entry.why for entry in foreign(local)] == ["a symbolic link, not followed"]
        assert len(backups(elsewhere)) == 1

    def test_g12_a_draft_that_is_a_link_is_not_swept(self, local, tmp_path):
        stored(local)
        victim = tmp_path / "victim"
        victim.mkdir()
        (victim / "lock").touch()
        (victim / "precious").touch()
        (local.root / "daily" / ".feed.draft").symlink_to(victim)
        assert local.sweep() == []
        assert tree(victim) == {"lock", "precious"}

    def test_a_named_pipe_does_not_hold_the_listing(self, local):
        stored(local)
        os.mkfifo(local.root / "daily" / "x.dump.manifest.json")
        assert len(backups(local)) == 1
        assert foreign(local)[0].why.endswith("is not a plain file")

    def test_the_store_itself_may_be_a_link_to_a_larger_disk(self, tmp_path):
        (tmp_path / "disk").mkdir(mode=0o700)
        (tmp_path / "backups").symlink_to(tmp_path / "disk")
        store = LocalStore(tmp_path / "backups")
        stored(store)
        assert len(backups(store)) == 1

    @pytest.mark.parametrize("in_the_way", ["backups", "backups/daily", "."])
    def test_a26_a_file_in_the_way_is_named(self, tmp_path, in_the_way):
        store = LocalStore(tmp_path / "folder" / "backups")
        path = tmp_path / "folder" / in_the_way
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.parent.chmod(0o700)
        path.write_text("in the way")
        with pytest.raises(Exception, match=r"the backup folder .* is a file, or lies in one") as caught:
            stored(store)
        assert caught.value.exit_code == 2
        assert "backup_dir" in caught.value.hint

    def test_a26_a_folder_that_cannot_be_made_is_named(self):
        # not even root makes folders there
        with pytest.raises(Exception, match=r"the backup folder /proc/.* cannot be made") as caught:
            stored(LocalStore(Path("/proc/dbtasks/backups")))
        assert caught.value.exit_code == 2

    if CAN_MOUNT:

        def test_a26_a_read_only_disk_is_named(self, tmp_path):
            with small_disk(tmp_path / "disk") as disk:
                store = LocalStore(disk / "backups")
                stored(store)
                subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
                with pytest.raises(Exception, match="Read-only file system") as caught:
                    stored(store, id_="bbbbbb")
                assert len(backups(store)) == 1
            assert caught.value.exit_code == 2

        def test_a26_a_folder_on_a_disk_of_its_own_takes_drafts_and_backups(self, tmp_path, monkeypatch):
            """Were a draft made where temporary files go, publishing would have to cross disks."""
            (tmp_path / "temporary").mkdir()
            monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
            with small_disk(tmp_path / "disk") as disk:
                store = LocalStore(disk / "backups")
                with store.draft(Type.DAILY) as draft:
                    assert draft.folder.stat().st_dev == store.root.stat().st_dev != tmp_path.stat().st_dev
                stored(store)
                assert len(backups(store)) == 1

    if os.geteuid() != 0:

        def test_a26_a_read_only_folder_is_named(self, local):
            stored(local)
            local.root.joinpath("daily").chmod(0o500)
            try:
                with pytest.raises(Exception, match="Permission denied") as caught:
                    stored(local, id_="bbbbbb")
            finally:
                local.root.joinpath("daily").chmod(0o700)
            assert caught.value.exit_code == 2


def manifest_path(backup: Backup) -> Path:
    return backup.path.with_name(f"{backup.path.name}.manifest.json")


@pytest.mark.fault
class TestLocalFaults:
    def test_h02_the_draft_of_another_process_is_swept_only_when_that_is_dead(self, local):
        with subprocess.Popen(
            [sys.executable, "-c", HOLD_A_DRAFT, str(local.root)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            (draft,) = (local.root / "daily").iterdir()
            assert local.sweep() == []
            assert (draft / "archive").read_bytes() == b"half"
            process.kill()
            process.wait()
            assert local.sweep() == [draft]
        assert not draft.exists()

    def test_a08_what_a_killed_run_left_beside_its_output_is_taken_by_the_next_that_writes_there(
        self, tmp_path
    ):
        (tmp_path / ".notes.draft").mkdir()
        (tmp_path / "file").write_text("the user's")
        holding = HOLD_A_DRAFT.replace("LocalStore", "OutputFolder")
        with subprocess.Popen(
            [sys.executable, "-c", holding, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            with OutputFolder(tmp_path).draft(Type.MANUAL):
                assert len(list(tmp_path.glob(".*.draft"))) == 3, "a living run's stays"
            process.kill()
            process.wait()
            with OutputFolder(tmp_path).draft(Type.MANUAL):
                assert len(list(tmp_path.glob(".*.draft"))) == 2
        assert tree(tmp_path) == {".notes.draft", "file"}

    def test_h02_sweeping_all_the_time_never_takes_a_living_draft(self, local):
        stored(local, id_="aaaaaa")
        with child("sweep", local.root) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "sweeping\n"
            for number in range(60):
                stored(local, id_=f"b{number:05}")
            process.kill()
        assert_swept_clean(local, backups(local))
        assert len(backups(local)) == 61

    def test_h02_who_locks_a_draft_that_is_being_swept_does_not_take_it_for_its_own(self, local, monkeypatch):
        stored(local, id_="aaaaaa")
        folder = backups(local)[0].path.parent / f".{'0' * 16}.draft"
        folder.mkdir(mode=0o700)
        theirs = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        close = os.close
        taken = []

        def closing(lock: int) -> None:
            close(lock)
            if not taken:
                # the very moment at which the sweeper's lock is free again
                taken.append(try_lock(theirs) and (folder / LOCK).exists())

        with monkeypatch.context() as patched:
            patched.setattr(os, "close", closing)
            discard_draft(folder, claim_draft(folder))
        assert taken == [False]
        os.close(theirs)

    def test_a08_a_run_killed_at_any_step_of_publishing_leaves_nothing_that_looks_like_a_backup(
        self, tmp_path
    ):
        stores = killed_at_every_step("publish", tmp_path)
        for store in stores:
            listed = backups(store)
            assert [backup.id for backup in listed] == ["aaaaaa", "bbbbbb"][: len(listed)]
            assert listed
            assert foreign(store) == []
            for backup in listed:
                assert hashlib.sha256(content(store, backup)).hexdigest() == backup.manifest.sha256
            assert_swept_clean(store, listed)
        assert len(backups(stores[0])) == 1
        assert len(backups(stores[-1])) == 2

    def test_h12_a_run_killed_at_any_step_of_removing_is_finished_by_the_next_sweep(self, tmp_path):
        stores = killed_at_every_step("remove", tmp_path)
        for store in stores:
            assert foreign(store) == [], "half removed is not somebody else's"
            assert_swept_clean(store, backups(store))
        assert len(backups(stores[0])) == 1
        assert tree(stores[-1].root) == {".gitignore", "daily"}

    def test_every_byte_is_on_disk_before_it_gets_its_name_and_every_name_before_the_next(
        self, local, monkeypatch
    ):
        """What a power loss may keep of a publication: the order of its calls, as they are made."""
        calls: list[tuple[str, object]] = []
        real_sync, real_link = os.fsync, os.link

        def fsync(descriptor: int) -> None:
            real_sync(descriptor)
            calls.append(("synced", os.fstat(descriptor).st_ino))

        def link(source: Path, final: Path, **options: bool) -> None:
            real_link(source, final, **options)
            calls.append((final.name, os.stat(final).st_ino))

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(os, "link", link)
        made = stored(local)
        archive, manifest = made.path.stat().st_ino, manifest_path(made).stat().st_ino
        folder = ("synced", made.path.parent.stat().st_ino)
        published = [(made.path.name, archive), folder, (manifest_path(made).name, manifest), folder]
        assert calls[-4:] == published
        before = calls[:-4]
        assert {("synced", archive), ("synced", manifest)} <= set(before)
        calls.clear()
        local.remove(made)
        # the manifest's going is on disk before its archive's: a removal cut short leaves no manifest behind
        assert calls[0] == folder

    def test_a_run_killed_at_any_step_of_rewriting_a_manifest_leaves_the_old_or_the_new_one(self, tmp_path):
        stores = killed_at_every_step("rewrite", tmp_path)
        notes = []
        for store in stores:
            (backup,) = backups(store)
            notes.append(backup.manifest.note)
            assert_swept_clean(store, [backup])
        assert notes[0] == ""
        assert notes[-1] == "new"

    def test_a04_no_room_for_the_archive_or_the_manifest_is_said_and_leaves_no_trace(self, tmp_path):
        assert_full_disk_is_said(LocalStore(tmp_path / "backups"), "limited")

    if CAN_MOUNT:

        def test_a04_a_disk_that_is_really_full_is_said_and_leaves_no_trace(self, tmp_path):
            with small_disk(tmp_path / "disk"):
                assert_full_disk_is_said(LocalStore(tmp_path / "disk" / "backups"), "small")


def assert_full_disk_is_said(store: LocalStore, how: str) -> None:
    with child(how, store.root) as process:
        printed, _ = process.communicate()
    assert printed.splitlines() == ["StoreFull 9 True", "StoreFull 9 True", "aaaaaa"]
    assert len(tree(store.root)) == 5, "only the first backup's three files, their folder and .gitignore"


def assert_swept_clean(store: LocalStore, listed: list[Backup]) -> None:
    """What is listed stays listed, and a sweep leaves nothing else."""
    store.sweep()
    assert backups(store) == listed
    assert foreign(store) == []
    assert not [path for path in tree(store.root) if "/." in path]
    assert store.sweep() == []


@contextmanager
def child(what: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "tests.contract.dying", what, str(folder)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            # one that sweeps for ever outlives a test that failed
            process.kill()


def killed_at_every_step(what: str, folder: Path) -> list[LocalStore]:
    """One store per step at which a process was killed; in the last one it was not."""
    with child(what, folder) as process:
        printed, _ = process.communicate()
    assert process.returncode == 0
    stores = [LocalStore(Path(line)) for line in printed.splitlines()]
    assert len(stores) > 8
    return stores
