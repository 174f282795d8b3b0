from __future__ import annotations

import errno
import os
import pickle
import stat
import threading
from pathlib import Path

import pytest

from vldata.errors import StoreError
from vldata.store import store as store_module
from vldata.store.store import open_store

KEY = "0123456789abcdef0123456789abcdef"


def put(store, data: bytes, **options: bool) -> Path:
    with store.write("blocks", KEY, ".arrow", **options) as path:
        path.write_bytes(data)
    return store.path("blocks", KEY, ".arrow")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_object_lies_under_the_first_two_digits_of_its_key(store):
    assert store.path("blocks", KEY, ".arrow") == store.root / "blocks" / "01" / f"{KEY}.arrow"


def test_an_object_is_there_only_after_its_block_and_is_read_only(store):
    with store.write("blocks", KEY, ".arrow") as path:
        path.write_bytes(b"data")
        assert path.is_relative_to(store.root / "tmp")
        assert not store.has("blocks", KEY, ".arrow")
    assert store.has("blocks", KEY, ".arrow")
    final = store.path("blocks", KEY, ".arrow")
    assert final.read_bytes() == b"data"
    assert stat.S_IMODE(final.stat().st_mode) == 0o444
    assert names(store.root / "tmp") == []


def test_a_block_that_raises_leaves_nothing(store):
    with pytest.raises(RuntimeError, match="stop"), store.write("blocks", KEY, ".arrow") as path:
        path.write_bytes(b"half")
        raise RuntimeError("stop")
    assert not store.has("blocks", KEY, ".arrow")
    assert names(store.root / "tmp") == []


def test_the_first_of_two_writers_wins_unless_replacing_is_asked_for(store):
    put(store, b"first")
    before = store.path("blocks", KEY, ".arrow").stat().st_ino
    put(store, b"second")
    assert store.path("blocks", KEY, ".arrow").read_bytes() == b"first"
    assert store.path("blocks", KEY, ".arrow").stat().st_ino == before
    put(store, b"third", replace=True)
    assert store.path("blocks", KEY, ".arrow").read_bytes() == b"third"


def test_writers_of_one_key_at_once_are_all_fine(store):
    barrier = threading.Barrier(8)

    def write() -> None:
        with store.write("blocks", KEY, ".arrow", durable=False) as path:
            path.write_bytes(b"same")
            barrier.wait()

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.path("blocks", KEY, ".arrow").read_bytes() == b"same"
    assert names(store.root / "tmp") == []


def test_the_bytes_reach_the_disk_before_the_name_and_the_name_before_we_go_on(store, monkeypatch):
    steps: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def watched_fsync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def watched_replace(self: Path, target: Path) -> Path:
        steps.append("rename")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(Path, "replace", watched_replace)
    put(store, b"data")
    assert steps[:2] == ["file", "rename"]
    assert set(steps[2:]) == {"folder"}
    assert len(steps) == 5  # blocks/01, and blocks and the root, whose entries are new
    steps.clear()
    put(store, b"data", durable=False, replace=True)
    assert steps == ["rename"]


def test_removing_takes_an_object_out_and_removing_nothing_is_fine(store):
    put(store, b"data")
    store.remove("blocks", KEY, ".arrow")
    assert not store.has("blocks", KEY, ".arrow")
    store.remove("blocks", KEY, ".arrow")


@pytest.mark.parametrize(
    ("kind", "key", "suffix"),
    [
        ("tmp", KEY, ""),
        ("../up", KEY, ""),
        ("Blocks", KEY, ""),
        ("blocks", "../../etc/passwd", ""),
        ("blocks", "", ""),
        ("blocks", "a.b", ""),
        ("blocks", KEY, "/x"),
        ("blocks", KEY, "arrow"),
    ],
)
def test_a_name_that_could_lead_elsewhere_is_a_bug(kind, key, suffix, store):
    with pytest.raises(ValueError, match="not a name in a store"):
        store.path(kind, key, suffix)


def test_a_full_disk_is_told_with_what_to_do(store):
    with pytest.raises(StoreError) as caught, store.write("blocks", KEY, ".arrow"):
        Path("/dev/full").write_bytes(b"data")  # the kernel's own "no space left"
    assert "no space left" in caught.value.problem
    assert "free" in caught.value.problem
    assert "vldata store gc" in caught.value.fix
    assert caught.value.where == str(store.path("blocks", KEY, ".arrow"))
    assert names(store.root / "tmp") == []


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "no space left"),
        (errno.EDQUOT, "quota"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EIO, "input/output error"),
    ],
)
def test_trouble_while_an_object_gets_its_name_is_reported(number, message, store, monkeypatch):
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(store_module.os, "fsync", fail)
    with pytest.raises(StoreError) as caught:
        put(store, b"data")
    assert message in str(caught.value).lower()
    assert not store.has("blocks", KEY, ".arrow")
    assert names(store.root / "tmp") == []


def test_an_error_about_an_input_stays_what_it_is(store, tmp_path):
    with pytest.raises(FileNotFoundError), store.write("blocks", KEY, ".arrow"):
        (tmp_path / "input").read_bytes()


def test_a_store_opens_again_and_travels_between_processes(store):
    put(store, b"data")
    assert open_store(store.root).has("blocks", KEY, ".arrow")
    assert pickle.loads(pickle.dumps(store)).has("blocks", KEY, ".arrow")


def test_many_threads_may_make_one_store(tmp_path):
    failures: list[BaseException] = []

    def make() -> None:
        try:
            open_store(tmp_path / "new" / "store")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_folder_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(StoreError, match=r"holds 'thesis.tex'"):
        open_store(tmp_path)
    assert names(tmp_path) == ["thesis.tex"]


def test_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="a file"):
        open_store(tmp_path / "file")
    with pytest.raises(StoreError, match="file stands where a folder should"):
        open_store(tmp_path / "file" / "below")


def test_another_version_is_refused_with_the_way_out(store):
    (store.root / "VERSION").write_text("vldata store 2\n")
    with pytest.raises(StoreError, match=r"made by a newer vldata.*\n.*upgrade vldata"):
        open_store(store.root)
    (store.root / "VERSION").write_text("1.4.2\n")
    with pytest.raises(StoreError, match=r"it says '1\.4\.2'"):
        open_store(store.root)


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(StoreError, match="permission denied"):
        open_store(tmp_path / "store")


def test_a_store_that_cannot_be_written_is_refused(store, monkeypatch):
    monkeypatch.setattr(store_module.os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="not writable"):
        open_store(store.root)


def test_cleaning_spares_the_living(store):
    with store.write("blocks", KEY, ".arrow") as path:
        path.write_bytes(b"data")
        os.utime(path, (0, 0))
        assert open_store(store.root).clean() == 0
        assert path.exists()
    assert store.has("blocks", KEY, ".arrow")


def test_what_nobody_holds_is_cleaned(store):
    (store.root / "tmp" / "123-abc.arrow").write_bytes(b"half")
    assert store.clean() == 1
    assert names(store.root / "tmp") == []


def test_without_locks_only_the_old_is_cleaned(store, monkeypatch):
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(store_module.fcntl, "flock", no_locks)
    put(store, b"works all the same")
    (store.root / "tmp" / "young").write_bytes(b"")
    (store.root / "tmp" / "old").write_bytes(b"")
    os.utime(store.root / "tmp" / "old", (0, 0))
    assert store.clean() == 1
    assert names(store.root / "tmp") == ["young"]
