from __future__ import annotations

import gzip
import io
import os
import tarfile
import threading
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.errors import SourceError
from vldata.images import archives, tables
from vldata.images.problem import ImageProblem
from vldata.images.references import ImageLocation, ImageReader

MEMBERS = {"a/one.jpg": b"first", "two.jpg": b"second" * 1000, "a/empty.jpg": b""}


def reason(reader: ImageReader, ref: str) -> str:
    with pytest.raises(ImageProblem) as caught:
        reader.read(ref)
    return caught.value.reason


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def test_a_plain_file_is_read_below_the_root(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b.jpg").write_bytes(b"bytes")
    reader = ImageReader(tmp_path)
    assert reader.read("a/b.jpg") == b"bytes"
    assert reader.path_of("a/b.jpg") == str(tmp_path / "a" / "b.jpg")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_table_may_name_files_below_the_root_by_absolute_paths(suffix, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "b.jpg").write_bytes(b"bytes")
    cells = [{"bytes": None, "path": path} for path in (f"{root}/b.jpg", f"{tmp_path}/b.jpg", f"{root}/../b.jpg")]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    table = pa.table({"image": pa.array(cells, kind)})
    if suffix == "parquet":
        pq.write_table(table, root / "t.parquet")
    else:
        with pa.ipc.new_file(str(root / "t.arrow"), table.schema) as writer:
            writer.write_table(table)
    for reader in (ImageReader(root), ImageReader(root / f"t.{suffix}")):
        member = "image/{}/0" if reader.root != str(root) else f"t.{suffix}::image/{{}}/0"
        assert reader.read(member.format(0)) == b"bytes"
        assert [reason(reader, member.format(k)) for k in (1, 2)] == ["image_outside_root"] * 2


def test_no_root_means_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "b.jpg").write_bytes(b"bytes")
    monkeypatch.chdir(tmp_path)
    assert ImageReader(None).read("b.jpg") == b"bytes"


@pytest.mark.parametrize(
    "ref",
    [
        "../secret",
        "a/../../secret",
        "a/b/../../../secret",
        "/etc/passwd",
        "//server/share",
        "..",
        "C:/secret",
        "c:secret",
        r"..\secret",
        r"a\..\..\secret",
        r"\secret",
        "a\0b",
        "../x.tar::a.jpg",
        "x.tar::../a.jpg",
        "x.tar::/a.jpg",
        "../t.parquet::image/0/0",
    ],
)
def test_a_reference_that_climbs_out_is_refused(ref, tmp_path):
    reader = ImageReader(tmp_path)
    assert reason(reader, ref) == "image_outside_root"
    with pytest.raises(ImageProblem, match="image_outside_root"):
        reader.path_of(ref)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "\\", "x.tar::", "C:", "~"]), max_size=7).map("/".join))
def test_no_reference_is_located_outside_the_root(ref):
    reader = ImageReader("/data/root")
    try:
        place = reader.locate(ref)
    except ImageProblem as problem:
        assert problem.reason == "image_outside_root"
        return
    for path in (place.file, place.file.replace("\\", "/")):
        assert os.path.normpath(path).startswith("/data/root")


def test_dots_that_stay_inside_are_taken_out_before_the_file_is_opened(tmp_path):
    assert ImageReader(tmp_path).path_of("link/../b.jpg") == str(tmp_path / "b.jpg")


def test_a_colon_in_a_name_is_just_a_name(tmp_path):
    assert ImageReader(tmp_path).locate("12:30::45.jpg") == ImageLocation(f"{tmp_path}/12:30::45.jpg", None)


def test_a_file_that_is_not_there_is_missing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    reader = ImageReader(tmp_path)
    assert reason(reader, "gone.jpg") == "image_missing"
    assert reason(reader, "file/below.jpg") == "image_missing"
    assert reason(reader, "n" * 300) == "image_missing"


def test_folders_and_pipes_are_no_images(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    reader = ImageReader(tmp_path)
    assert reason(reader, "folder.jpg") == "image_unreadable"
    assert reason(reader, "pipe.jpg") == "image_unreadable"
    assert reason(reader, "") == "image_unreadable"


def test_a_failing_system_stops_the_build_and_is_not_the_images_fault(tmp_path, monkeypatch):
    def fail(*_: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("vldata.images.files.os.open", fail)
    with pytest.raises(SourceError, match="Too many open files"):
        ImageReader(tmp_path).read("a.jpg")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tgz", "x.zip"])
def test_members_of_archives_are_read(name, tmp_path):
    if name.endswith("zip"):
        write_zip(tmp_path / name, MEMBERS)
    else:
        write_tar(tmp_path / name, MEMBERS, "w" if name.endswith(".tar") else "w:gz")
    below = ImageReader(tmp_path)
    itself = ImageReader(tmp_path / name)
    for member, data in MEMBERS.items():
        assert below.read(f"{name}::{member}") == data
        assert itself.read(member) == data
    assert below.path_of(f"{name}::two.jpg") is None
    assert reason(below, f"{name}::three.jpg") == "image_missing"
    assert reason(below, f"gone-{name}::two.jpg") == "image_missing"


def test_leading_dots_in_a_tar_do_not_matter(tmp_path):
    write_tar(tmp_path / "x.tar", {"./a/one.jpg": b"first"})
    assert ImageReader(tmp_path).read("x.tar::a/one.jpg") == b"first"


def test_names_longer_than_a_tar_header_and_outside_ascii_are_found(tmp_path):
    name = "päth/" + "n" * 180 + ".jpg"
    write_tar(tmp_path / "x.tar", {name: b"first"})
    assert ImageReader(tmp_path).read(f"x.tar::{name}") == b"first"


def test_the_last_of_two_members_with_one_name_counts(tmp_path):
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for data in (b"old", b"newer"):
            info = tarfile.TarInfo("a.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    assert ImageReader(tmp_path).read("x.tar::a.jpg") == b"newer"


def test_a_hard_link_in_a_tar_is_the_member_it_links_to(tmp_path):
    (tmp_path / "one.jpg").write_bytes(b"first")
    os.link(tmp_path / "one.jpg", tmp_path / "two.jpg")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(tmp_path / "one.jpg", "one.jpg")
        tar.add(tmp_path / "two.jpg", "two.jpg")
    assert ImageReader(tmp_path).read("x.tar::two.jpg") == b"first"


def test_a_symbolic_link_in_a_tar_is_not_followed(tmp_path):
    info = tarfile.TarInfo("link.jpg")
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.addfile(info)
        tar.addfile(tarfile.TarInfo("a.jpg"))
    assert reason(ImageReader(tmp_path), "x.tar::link.jpg") == "image_missing"


@pytest.mark.parametrize("packed", [False, True])
def test_of_a_tar_that_ends_too_early_the_whole_members_are_read(packed, tmp_path):
    members = {f"{k}.jpg": os.urandom(5000) for k in range(9)}
    write_tar(tmp_path / "whole.tar", members)
    whole = (tmp_path / "whole.tar").read_bytes()
    name = "cut.tar.gz" if packed else "cut.tar"
    if packed:
        stream = gzip.compress(whole)
        (tmp_path / name).write_bytes(stream[: len(stream) // 2])
    else:
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    reader = ImageReader(tmp_path)
    assert reader.read(f"{name}::0.jpg") == members["0.jpg"]
    assert reason(reader, f"{name}::8.jpg") == "image_missing"
    outcomes = set()
    for k in range(9):
        try:
            assert reader.read(f"{name}::{k}.jpg") == members[f"{k}.jpg"]
        except ImageProblem as problem:
            outcomes.add(problem.reason)
    assert outcomes <= {"image_missing", "image_truncated"}


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.zip", "x.parquet", "x.arrow"])
@pytest.mark.parametrize("data", [b"", b"no archive at all" * 100])
def test_what_is_not_the_archive_it_is_named_is_unreadable(name, data, tmp_path):
    (tmp_path / name).write_bytes(data)
    assert reason(ImageReader(tmp_path), f"{name}::image/0/0") in ("image_unreadable", "image_missing")


def test_stored_and_deflated_members_are_read_and_others_named(tmp_path):
    write_zip(tmp_path / "s.zip", MEMBERS, zipfile.ZIP_STORED)
    write_zip(tmp_path / "b.zip", MEMBERS, zipfile.ZIP_BZIP2)
    reader = ImageReader(tmp_path)
    assert reader.read("s.zip::two.jpg") == MEMBERS["two.jpg"]
    with pytest.raises(ImageProblem, match="packed by method 12"):
        reader.read("b.zip::two.jpg")


def test_a_damaged_zip_member_is_not_handed_out(tmp_path):
    write_zip(tmp_path / "s.zip", {"a.jpg": b"first" * 100}, zipfile.ZIP_STORED)
    data = (tmp_path / "s.zip").read_bytes()
    (tmp_path / "s.zip").write_bytes(data.replace(b"firstfirst", b"firstfirsT", 1))
    assert reason(ImageReader(tmp_path), "s.zip::a.jpg") == "image_unreadable"


def test_a_zip_bomb_is_refused_before_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 1000)
    write_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(100_000), "fine.jpg": bytes(1000)})
    reader = ImageReader(tmp_path)
    assert reason(reader, "x.zip::bomb.jpg") == "image_bomb"
    assert len(reader.read("x.zip::fine.jpg")) == 1000


def test_a_zip_member_that_lies_about_its_size_is_not_unpacked_further(tmp_path):
    write_zip(tmp_path / "x.zip", {"bomb.jpg": bytes(1_000_000)})
    data = bytearray((tmp_path / "x.zip").read_bytes())
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = (10).to_bytes(4, "little")
    (tmp_path / "x.zip").write_bytes(data)
    assert reason(ImageReader(tmp_path), "x.zip::bomb.jpg") == "image_unreadable"


def test_a_gz_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    write_tar(tmp_path / "x.tar.gz", MEMBERS, "w:gz")
    monkeypatch.setattr(archives, "_SPARE_BYTES", 1 << 62)
    with pytest.raises(SourceError, match="no room to unpack"):
        ImageReader(tmp_path).read("x.tar.gz::two.jpg")


def image_table() -> pa.Table:
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = 40
    return pa.table(
        {
            "plain": pa.array([b"plain%d" % k for k in range(rows)], pa.binary()),
            "large": pa.array([b"large%d" % k for k in range(rows)], pa.large_binary()),
            "image": pa.array([{"bytes": b"image%d" % k, "path": None} for k in range(rows)], struct),
            "images": pa.array(
                [[{"bytes": b"list%d-%d" % (k, j), "path": None} for j in range(k % 3)] for k in range(rows)],
                pa.list_(struct),
            ),
            "on/disk": pa.array([{"bytes": None, "path": f"{k}.jpg"} for k in range(rows)], struct),
            "nulls": pa.array([None] * rows, struct),
            "text": pa.array(["no bytes"] * rows),
        }
    )


@pytest.fixture(params=["parquet", "parquet, spooled", "arrow file", "arrow stream"])
def table_reader(request, tmp_path):
    """A reader whose root has ``t.parquet`` or ``t.arrow``; the second value is that name."""
    table = image_table()
    name = "t.parquet" if request.param.startswith("parquet") else "t.arrow"
    path = str(tmp_path / name)
    if name == "t.parquet":
        pq.write_table(table, path, row_group_size=7)
    elif request.param == "arrow file":
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    else:
        with pa.OSFile(path, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=7)
    (tmp_path / "3.jpg").write_bytes(b"a file")
    spool = tmp_path / "spool" if request.param == "parquet, spooled" else None
    return ImageReader(tmp_path, spool), name


def test_cells_of_tables_are_read_in_any_order(table_reader):
    reader, name = table_reader
    for k in (39, 0, 7, 6, 20, 38, 1):
        assert reader.read(f"{name}::plain/{k}/0") == b"plain%d" % k
        assert reader.read(f"{name}::large/{k}/0") == b"large%d" % k
        assert reader.read(f"{name}::image/{k}/0") == b"image%d" % k
    assert reader.read(f"{name}::images/2/1") == b"list2-1"
    assert reader.read(f"{name}::images/38/1") == b"list38-1"


def test_a_cell_may_name_a_file_in_place_of_bytes(table_reader):
    reader, name = table_reader
    assert reader.read(f"{name}::on/disk/3/0") == b"a file"
    assert reason(reader, f"{name}::on/disk/4/0") == "image_missing"


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ("images/0/0", "no image 0: the cell holds 0"),
        ("image/0/1", "the cell holds one image, not a list"),
        ("image/40/0", "no row 40"),
        ("gone/0/0", "no column 'gone'"),
        ("nulls/0/0", "the cell is null"),
        ("image/5", "is not <column>/<row>/<position>"),
        ("image/-1/0", "is not <column>/<row>/<position>"),
    ],
)
def test_a_cell_that_holds_nothing_is_missing(member, told, table_reader):
    reader, name = table_reader
    with pytest.raises(ImageProblem) as caught:
        reader.read(f"{name}::{member}")
    assert caught.value.reason == "image_missing"
    assert told in caught.value.detail


def test_a_column_of_text_is_unreadable(table_reader):
    reader, name = table_reader
    assert reason(reader, f"{name}::text/0/0") == "image_unreadable"


def test_a_path_in_a_cell_cannot_leave_the_root(tmp_path):
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(
        pa.table({"image": pa.array([{"bytes": None, "path": "../../etc/passwd"}], struct)}), tmp_path / "t.parquet"
    )
    assert reason(ImageReader(tmp_path), "t.parquet::image/0/0") == "image_outside_root"


def test_a_table_may_be_the_root(tmp_path):
    pq.write_table(image_table(), tmp_path / "t.parquet")
    assert ImageReader(tmp_path / "t.parquet").read("image/5/0") == b"image5"


def test_parquet_is_decoded_once_when_it_is_read_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "STRETCH_BYTES", 3000)
    pq.write_table(
        pa.table({"image": pa.array([b"%04d" % k * 250 for k in range(60)], pa.binary())}),
        tmp_path / "t.parquet",
        row_group_size=20,
    )
    stretches: list[int] = []
    keep = tables.Stretches.keep
    monkeypatch.setattr(
        tables.Stretches, "keep", lambda self, key, cells: (stretches.append(len(cells)), keep(self, key, cells))
    )
    reader = ImageReader(tmp_path)
    for k in range(60):
        assert reader.read(f"t.parquet::image/{k}/0") == b"%04d" % k * 250
    assert sum(stretches) == 60
    assert max(stretches) < 20


def test_kept_stretches_stay_within_their_limit():
    stretches = tables.Stretches(limit_bytes=10_000)
    for k in range(50):
        stretches.keep(("t", "image", 0, k), pa.array([bytes(1000)], pa.binary()))
    kept = [k for k in range(50) if stretches.get(("t", "image", 0, k)) is not None]
    assert kept == list(range(50 - len(kept), 50))
    assert 5 <= len(kept) <= 10


def test_the_spool_is_written_once_and_found_by_the_next_reader(tmp_path):
    pq.write_table(image_table(), tmp_path / "t.parquet")
    write_tar(tmp_path / "x.tar.gz", MEMBERS, "w:gz")
    spool = tmp_path / "spool"
    for _ in range(2):
        reader = ImageReader(tmp_path, spool)
        assert reader.read("t.parquet::image/5/0") == b"image5"
        assert reader.read("x.tar.gz::two.jpg") == MEMBERS["two.jpg"]
        assert sorted(path.suffix for path in spool.iterdir()) == [".arrow", ".tar"]


def test_a_changed_table_gets_a_new_spool_file(tmp_path):
    pq.write_table(image_table(), tmp_path / "t.parquet")
    assert ImageReader(tmp_path, tmp_path / "spool").read("t.parquet::image/5/0") == b"image5"
    pq.write_table(pa.table({"image": [b"new"]}), tmp_path / "t.parquet")
    assert ImageReader(tmp_path, tmp_path / "spool").read("t.parquet::image/0/0") == b"new"


def test_archives_are_listed_once_however_many_threads_ask(tmp_path, monkeypatch):
    write_tar(tmp_path / "x.tar", MEMBERS)
    listed = []
    plain = tarfile.open
    monkeypatch.setattr(archives.tarfile, "open", lambda *a, **k: (listed.append(a), plain(*a, **k))[1])
    reader = ImageReader(tmp_path)
    read: list[bytes] = []
    threads = [threading.Thread(target=lambda: read.append(reader.read("x.tar::two.jpg"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [MEMBERS["two.jpg"]] * 8
    assert len(listed) == 1


def test_many_threads_read_one_parquet(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "STRETCH_BYTES", 500)
    pq.write_table(image_table(), tmp_path / "t.parquet", row_group_size=20)
    reader = ImageReader(tmp_path)
    wrong: list[int] = []

    def read(start: int) -> None:
        wrong.extend(k for k in range(start, 40, 4) if reader.read(f"t.parquet::image/{k}/0") != b"image%d" % k)

    threads = [threading.Thread(target=read, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_cheapest_reading_order_goes_through_tables_by_row(tmp_path):
    refs = ["t.parquet::image/10/0", "z.jpg", "t.parquet::image/9/0", "a.jpg", "t.parquet::image/9/1"]
    order = ImageReader(tmp_path).reading_order(refs)
    assert [refs[k] for k in order] == [
        "a.jpg",
        "t.parquet::image/9/0",
        "t.parquet::image/9/1",
        "t.parquet::image/10/0",
        "z.jpg",
    ]
