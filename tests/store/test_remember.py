from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import polars as pl
import pytest
from blake3 import blake3

from vldata.errors import SourceError, StoreError
from vldata.store import remember
from vldata.store.remember import file_digest, load_facts, save_facts
from vldata.store.store import open_store


def age(path: Path, seconds: float = 60) -> None:
    then = time.time() - seconds
    os.utime(path, (then, then))


def count_reads(monkeypatch) -> list[str]:
    read: list[str] = []
    plain = remember._hashed
    monkeypatch.setattr(remember, "_hashed", lambda path, size: (read.append(path), plain(path, size))[1])
    return read


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
def test_a_digest_is_half_a_blake3_of_the_bytes(size, store, tmp_path):
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    assert file_digest(store, tmp_path / "file") == blake3(data).hexdigest()[:32]


def test_a_file_is_read_once(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"data")
    age(tmp_path / "file")
    read = count_reads(monkeypatch)
    first = file_digest(store, tmp_path / "file")
    assert file_digest(open_store(store.root), tmp_path / "file") == first
    monkeypatch.chdir(tmp_path)
    assert file_digest(store, "file") == first
    assert len(read) == 1


def test_a_changed_file_is_read_again(store, tmp_path, monkeypatch):
    read = count_reads(monkeypatch)
    digests = set()
    for seconds, data in ((60, b"one"), (50, b"two"), (50, b"longer")):
        (tmp_path / "file").write_bytes(data)
        age(tmp_path / "file", seconds)
        digests.add(file_digest(store, tmp_path / "file"))
    assert len(digests) == len(read) == 3


def test_another_file_of_the_same_size_and_time_is_read_again(store, tmp_path):
    (tmp_path / "file").write_bytes(b"one")
    age(tmp_path / "file")
    first = file_digest(store, tmp_path / "file")
    times = (tmp_path / "file").stat().st_mtime_ns
    (tmp_path / "other").write_bytes(b"two")
    os.utime(tmp_path / "other", ns=(times, times))
    (tmp_path / "other").replace(tmp_path / "file")
    assert file_digest(store, tmp_path / "file") != first


def test_a_file_written_a_moment_ago_is_not_remembered(store, tmp_path):
    (tmp_path / "file").write_bytes(b"one")
    times = (tmp_path / "file").stat().st_mtime_ns
    first = file_digest(store, tmp_path / "file")
    (tmp_path / "file").write_bytes(b"two")
    os.utime(tmp_path / "file", ns=(times, times))
    assert file_digest(store, tmp_path / "file") != first


def test_a_digest_that_a_power_cut_left_empty_is_made_again(store, tmp_path):
    (tmp_path / "file").write_bytes(b"data")
    age(tmp_path / "file")
    first = file_digest(store, tmp_path / "file")
    (kept,) = [path for path in (store.root / "digests").rglob("*") if path.is_file()]
    for damage in (b"", bytes(32)):
        kept.chmod(0o644)
        kept.write_bytes(damage)
        assert file_digest(store, tmp_path / "file") == first
        assert kept.read_bytes() == first.encode()


def test_a_file_that_changes_while_it_is_read_is_refused(store, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"data")
    plain = remember._hashed

    def meddled(path: str, size: int) -> str:
        digest = plain(path, size)
        Path(path).write_bytes(b"more data")
        return digest

    monkeypatch.setattr(remember, "_hashed", meddled)
    with pytest.raises(SourceError, match="changes while it is read"):
        file_digest(store, tmp_path / "file")


def test_files_that_are_not_there_or_no_files_are_the_sources_fault(store, tmp_path):
    with pytest.raises(SourceError, match="No such file"):
        file_digest(store, tmp_path / "gone")
    with pytest.raises(SourceError, match="is not a file"):
        file_digest(store, tmp_path)


def rows(*pairs: tuple[str, int]) -> pl.DataFrame:
    return pl.DataFrame(list(pairs), schema={"ref": pl.String, "width": pl.Int32}, orient="row")


def test_facts_are_found_again_by_the_absolute_root(store, tmp_path, monkeypatch):
    assert load_facts(store, tmp_path) is None
    save_facts(store, tmp_path, rows(("a.jpg", 1)))
    monkeypatch.chdir(tmp_path)
    assert load_facts(store, None).equals(rows(("a.jpg", 1)))
    assert load_facts(store, ".").equals(rows(("a.jpg", 1)))
    assert load_facts(store, tmp_path / "below") is None


def test_new_facts_replace_those_of_the_same_image_and_leave_the_rest(store, tmp_path):
    save_facts(store, tmp_path, rows(("a.jpg", 1), ("b.jpg", 2)))
    save_facts(store, tmp_path, rows(("b.jpg", 3), ("c.jpg", 4)))
    assert load_facts(store, tmp_path).sort("ref").rows() == [("a.jpg", 1), ("b.jpg", 3), ("c.jpg", 4)]


def test_saving_what_is_known_writes_nothing(store, tmp_path, monkeypatch):
    save_facts(store, tmp_path, rows(("a.jpg", 1), ("b.jpg", 2)))
    monkeypatch.setattr(type(store), "write", lambda *_, **__: pytest.fail("written"))
    save_facts(store, tmp_path, rows(("b.jpg", 2)))
    save_facts(store, tmp_path, rows())


def test_facts_of_another_version_are_replaced_as_a_whole(store, tmp_path):
    save_facts(store, tmp_path, pl.DataFrame({"ref": ["old.jpg"], "size": [1]}))
    save_facts(store, tmp_path, rows(("a.jpg", 1)))
    assert load_facts(store, tmp_path).equals(rows(("a.jpg", 1)))


def test_builds_that_save_at_once_lose_nothing(store, tmp_path):
    threads = [
        threading.Thread(target=save_facts, args=(store, tmp_path, rows((f"{k}.jpg", k), ("shared.jpg", 0))))
        for k in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert load_facts(store, tmp_path).height == 9


def test_a_damaged_table_says_how_to_go_on(store, tmp_path):
    save_facts(store, tmp_path, rows(("a.jpg", 1)))
    (kept,) = list((store.root / "facts").rglob("*.parquet"))
    kept.chmod(0o644)
    kept.write_bytes(b"PAR1 rubbish")
    with pytest.raises(StoreError, match=r"is damaged.*\n.*rm -f"):
        load_facts(store, tmp_path)
