from __future__ import annotations

import os
import tarfile
import threading
import time
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from blake3 import blake3

from vldata.errors import SourceError
from vldata.images import facts as facts_module
from vldata.images.facts import FACTS, facts


def age(folder: Path, seconds: float = 60) -> None:
    """Make files old enough for their times to be relied on."""
    then = time.time() - seconds
    for path in folder.rglob("*"):
        os.utime(path, (then, then))


def refuse_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise AssertionError("an image was read")

    monkeypatch.setattr(facts_module, "read_sized", fail)
    monkeypatch.setattr(facts_module.ImageReader, "read_at", fail)


@pytest.fixture
def folder(tmp_path, encode):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "good.jpg").write_bytes(encode("JPEG", (40, 24), orientation=6))
    (tmp_path / "png.jpg").write_bytes(encode("PNG", (8, 9)))
    (tmp_path / "cut.jpg").write_bytes(encode("JPEG", (64, 48))[:1500])
    (tmp_path / "page.jpg").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "folder.jpg").mkdir()
    age(tmp_path)
    return tmp_path


REFS = ["a/good.jpg", "png.jpg", "cut.jpg", "page.jpg", "empty.jpg", "folder.jpg", "gone.jpg", "../out.jpg", "png.jpg"]


def test_every_image_gets_one_row_in_order_of_first_appearance(folder):
    table = facts(REFS, folder)
    assert dict(table.schema) == FACTS
    assert table.select("ref", "width", "height", "format", "problem").rows() == [
        ("a/good.jpg", 24, 40, "JPEG", None),
        ("png.jpg", 8, 9, "PNG", None),
        ("cut.jpg", None, None, None, "image_truncated"),
        ("page.jpg", None, None, None, "image_unreadable"),
        ("empty.jpg", None, None, None, "image_unreadable"),
        ("folder.jpg", None, None, None, "image_unreadable"),
        ("gone.jpg", None, None, None, "image_missing"),
        ("../out.jpg", None, None, None, "image_outside_root"),
    ]
    assert (table["detail"].is_null() == table["problem"].is_null()).all()


def test_the_hash_is_half_a_blake3_of_the_bytes(folder):
    row = facts(["a/good.jpg"], folder).row(0, named=True)
    data = (folder / "a" / "good.jpg").read_bytes()
    assert row["hash"] == blake3(data).hexdigest()[:32]
    assert row["size_bytes"] == len(data)
    status = (folder / "a" / "good.jpg").stat()
    assert (row["mtime_ns"], row["inode"]) == (status.st_mtime_ns, status.st_ino)


def test_a_bad_image_that_could_be_read_has_a_hash_all_the_same(folder):
    assert facts(["page.jpg"], folder)["hash"][0] == blake3(b"<html>404</html>").hexdigest(length=16)


def test_the_number_of_threads_does_not_matter(folder, encode):
    for k in range(200):
        (folder / f"{k}.jpg").write_bytes(encode("JPEG", (8 + k % 5, 8)))
    age(folder)
    refs = [*REFS, *(f"{k}.jpg" for k in range(200))]
    assert facts(refs, folder, workers=1).equals(facts(refs, folder, workers=7))


def test_a_second_look_reads_nothing(folder, monkeypatch):
    first = facts(REFS, folder)
    refuse_to_read(monkeypatch)
    assert facts(["a/good.jpg", "png.jpg", "cut.jpg", "page.jpg"], folder, remembered=first).equals(first.head(4))


def test_a_problem_that_a_later_stage_found_is_remembered(folder):
    marked = facts(["png.jpg"], folder).with_columns(
        problem=pl.lit("image_undecodable"), detail=pl.lit("PNG: broken data stream")
    )
    assert facts(["png.jpg"], folder, remembered=marked)["problem"][0] == "image_undecodable"


def test_a_changed_image_is_looked_at_again(folder, encode):
    first = facts(REFS, folder)
    (folder / "png.jpg").write_bytes(encode("PNG", (18, 19)))
    again = facts(REFS, folder, remembered=first)
    assert again.filter(ref="png.jpg")["width"][0] == 18
    assert again.filter(pl.col("ref") != "png.jpg").equals(first.filter(pl.col("ref") != "png.jpg"))


def test_an_image_of_the_same_size_and_time_in_another_file_is_looked_at_again(folder, encode):
    first = facts(["png.jpg"], folder)
    status = (folder / "png.jpg").stat()
    data = bytearray((folder / "png.jpg").read_bytes())
    data[-1] ^= 1
    (folder / "new").write_bytes(data)
    os.utime(folder / "new", ns=(status.st_mtime_ns, status.st_mtime_ns))
    (folder / "new").replace(folder / "png.jpg")
    assert facts(["png.jpg"], folder, remembered=first)["hash"][0] != first["hash"][0]


def test_an_image_that_came_back_is_found(folder, encode):
    first = facts(["gone.jpg"], folder)
    (folder / "gone.jpg").write_bytes(encode("PNG"))
    assert facts(["gone.jpg"], folder, remembered=first)["problem"][0] is None


def test_a_file_changed_a_moment_ago_is_not_relied_on(folder, encode, monkeypatch):
    monkeypatch.setattr(facts_module, "RACY_NS", 60_000_000_000)
    (folder / "fresh.jpg").write_bytes(encode("PNG"))
    first = facts(["fresh.jpg"], folder)
    assert first["mtime_ns"][0] is None
    status = (folder / "fresh.jpg").stat()
    (folder / "fresh.jpg").write_bytes(encode("PNG")[:-1] + b"x")
    os.utime(folder / "fresh.jpg", ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert facts(["fresh.jpg"], folder, remembered=first)["hash"][0] != first["hash"][0]


def test_a_table_of_another_version_is_not_used(folder):
    first = facts(["png.jpg"], folder)
    assert facts(["png.jpg"], folder, remembered=first.drop("inode")).equals(first)


def test_rows_remembered_twice_count_once(folder):
    first = facts(["png.jpg"], folder)
    assert facts(["png.jpg"], folder, remembered=pl.concat([first, first])).equals(first)


def test_another_pixel_limit_judges_remembered_images_again(folder):
    strict = facts(["png.jpg"], folder, max_pixels=71)
    assert strict["problem"][0] == "image_bomb"
    loose = facts(["png.jpg"], folder, max_pixels=72, remembered=strict)
    assert loose["problem"][0] is None
    assert facts(["png.jpg"], folder, max_pixels=71, remembered=loose)["problem"][0] == "image_bomb"


def test_no_references_give_an_empty_table(tmp_path):
    assert facts([], tmp_path).schema == pl.DataFrame(schema=FACTS).schema


def test_progress_adds_up_to_the_distinct_references(folder):
    seen: list[int] = []
    first = facts(REFS, folder, progress=seen.append)
    assert sum(seen) == 8
    seen.clear()
    facts(REFS, folder, remembered=first, progress=seen.append)
    assert sum(seen) == 8


def test_a_failing_disk_stops_everything(folder, monkeypatch):
    def fail(*_: object) -> bytes:
        raise SourceError("a/good.jpg", "Stale file handle", "mount it again")

    monkeypatch.setattr(facts_module, "read_sized", fail)
    before = threading.active_count()
    with pytest.raises(SourceError, match="Stale"):
        facts(["a/good.jpg"] + [f"{k}.jpg" for k in range(1000)], folder)
    assert threading.active_count() == before


@pytest.fixture
def containers(tmp_path, encode):
    (tmp_path / "one.png").write_bytes(encode("PNG", (11, 5)))
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "one.png", "deep/one.png")
    table = pa.table({"image": pa.array([encode("JPEG", (20 + k, 10)) for k in range(5)] + [b"rubbish"], pa.binary())})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    age(tmp_path)
    return tmp_path


IN_CONTAINERS = [
    "t.parquet::image/4/0",
    "x.tar::deep/one.png",
    "t.parquet::image/0/0",
    "t.parquet::image/5/0",
    "x.tar::no",
]


def test_members_have_their_own_size_and_the_containers_times(containers):
    table = facts(IN_CONTAINERS, containers)
    assert table.select("ref", "width", "problem").rows() == [
        ("t.parquet::image/4/0", 24, None),
        ("x.tar::deep/one.png", 11, None),
        ("t.parquet::image/0/0", 20, None),
        ("t.parquet::image/5/0", None, "image_unreadable"),
        ("x.tar::no", None, "image_missing"),
    ]
    row = table.row(1, named=True)
    assert row["size_bytes"] == (containers / "one.png").stat().st_size
    assert row["container_bytes"] == (containers / "x.tar").stat().st_size
    assert row["mtime_ns"] == (containers / "x.tar").stat().st_mtime_ns
    plain = facts(["one.png"], containers).row(0, named=True)
    assert (plain["hash"], plain["container_bytes"]) == (row["hash"], None)


def test_an_unchanged_container_is_not_opened_again(containers, monkeypatch):
    first = facts(IN_CONTAINERS, containers)
    refuse_to_read(monkeypatch)
    assert facts(IN_CONTAINERS, containers, remembered=first).equals(first)


def test_a_changed_container_is_looked_through_again(containers, encode):
    first = facts(IN_CONTAINERS, containers)
    (containers / "one.png").write_bytes(encode("PNG", (12, 5)))
    with tarfile.open(containers / "x.tar", "w") as tar:
        tar.add(containers / "one.png", "deep/one.png")
    assert facts(IN_CONTAINERS, containers, remembered=first)["width"].to_list() == [24, 12, 20, None, None]


def test_slow_file_systems_are_read_by_many_threads(folder, monkeypatch):
    monkeypatch.setattr(facts_module, "_SLOW_STAT_S", 0.0)
    refs = [*REFS, *(f"gone{k}.jpg" for k in range(300))]
    table = facts(refs, folder, workers=4)
    assert table["problem"].value_counts().filter(problem="image_missing")["count"][0] == 301


def test_real_photographs_are_looked_at_and_remembered(shared_data, monkeypatch):
    root = shared_data / "coco128"
    refs = sorted(str(path.relative_to(root)) for path in root.rglob("*.jpg"))
    first = facts(refs, root)
    assert first["problem"].null_count() == first["hash"].n_unique() == 100
    refuse_to_read(monkeypatch)
    assert facts(refs, root, remembered=first).equals(first)


def test_files_that_are_shared_out_give_the_same_table(folder, monkeypatch):
    monkeypatch.setattr(facts_module, "_SHARED", 2)
    refs = [*REFS, "nowhere/a.jpg", "a/../png.jpg"]
    chunks: list[list[str]] = []
    done: list[int] = []

    def share(given, root, max_pixels):
        chunks.extend(given)
        for chunk in reversed(given):
            yield facts(chunk, root, max_pixels=max_pixels, workers=1)

    alone = facts(refs, folder)
    assert facts(refs, folder, share=share, progress=done.append).equals(alone)
    assert sum(done) == len(set(refs))
    assert [len(chunk) for chunk in chunks[:-1]] == [2] * (len(chunks) - 1)
    chunks.clear()
    known = alone.filter(pl.col("problem").is_null()).head(1)
    assert facts(refs, folder, share=share, remembered=known).equals(alone)
    assert known["ref"][0] not in {ref for chunk in chunks for ref in chunk}
