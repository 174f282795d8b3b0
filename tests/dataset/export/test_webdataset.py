from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.dataset.export import export
from vldata.dataset.export.webdataset import read, running_count, sample_key, write
from vldata.dataset.open import open_build
from vldata.errors import SourceError
from vldata.schema.rows import arrow_schema

MakeBuild = Callable[..., Path]


@pytest.fixture
def build(make_build: MakeBuild, jpeg: bytes, png: bytes) -> Path:
    one, two = {"bytes": jpeg, "path": "a.jpg"}, {"bytes": png, "path": None}
    blocks = [
        [{"id": "hand/a.b/1", "images": [one]}, {"id": "hand/2"}, {"id": "hand/3", "images": [two, one]}],
        [{"id": "hand/a.b/1", "images": [one]}],
        [{"id": "hand/a.b/1", "images": [one]}],
    ]
    return make_build({"train": blocks, "val": [[{"id": "hand/5"}]]})


def names(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


def test_reading_back_is_the_identity_on_every_column(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="webdataset")
    opened = open_build(build)
    assert list(read(tmp_path / "out")) == [*opened.rows("train"), *opened.rows("val")]
    again = pa.Table.from_pylist(list(read(tmp_path / "out")), schema=arrow_schema())
    assert again.equals(pa.Table.from_batches([*opened.batches("train"), *opened.batches("val")]))


def test_the_files_of_a_sample_stand_together_and_repeats_have_keys_of_their_own(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="webdataset")
    assert names(tmp_path / "out" / "train-000000.tar") == [
        "hand%2Fa%2Eb%2F1.json",
        "hand%2Fa%2Eb%2F1.0.jpg",
        "hand%2F2.json",
        "hand%2F3.json",
        "hand%2F3.0.png",
        "hand%2F3.1.jpg",
        "hand%2Fa%2Eb%2F1@2.json",
        "hand%2Fa%2Eb%2F1@2.0.jpg",
        "hand%2Fa%2Eb%2F1@3.json",
        "hand%2Fa%2Eb%2F1@3.0.jpg",
    ]


def test_shards_are_cut_by_rows_and_by_bytes(build: Path, tmp_path: Path) -> None:
    for limits, shards in (({"shard_rows": 2}, 3), ({"shard_bytes": 1}, 5), ({"shard_rows": 5}, 1)):
        out = tmp_path / f"out{shards}"
        out.mkdir()
        written = write(open_build(build), out, lambda rows: None, **limits)
        names = [f"train-{k:06d}.tar" for k in range(shards)] + ["val-000000.tar"]
        assert sorted(p.name for p in out.iterdir()) == names
        assert [row["id"] for row in read(out)] == [
            r["id"] for s in ("train", "val") for r in open_build(build).rows(s)
        ]
        assert (written.rows, written.not_exported) == (6, 0)


def test_headers_hold_no_time_and_no_owner(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="webdataset")
    with tarfile.open(tmp_path / "out" / "train-000000.tar") as tar:
        headers = {(m.mtime, m.uid, m.gid, m.uname, m.gname, m.mode) for m in tar}
    assert headers == {(0, 0, 0, "", "", 0o644)}


def test_stored_paths_are_packed_and_missing_ones_listed(make_build: MakeBuild, jpeg: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg)
    paths = [str(tmp_path / "a.jpg"), str(tmp_path / "gone.jpg")]
    build = make_build(
        {"train": [[{"id": str(k), "images": [{"bytes": None, "path": p}]} for k, p in enumerate(paths)]]}
    )
    result = export(build, tmp_path / "out", to="webdataset")
    assert (result["rows"], result["not_exported"]) == (1, 1)
    assert [row["images"] for row in read(tmp_path / "out")] == [[{"bytes": jpeg, "path": paths[0]}]]
    [line] = (tmp_path / "out" / "not_exported.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == "1"
    assert json.loads(line)["reason"] == "image_missing"


def test_ids_longer_than_a_tar_header_survive(make_build: MakeBuild, tmp_path: Path) -> None:
    long = "https://example.org/" + "é?" * 200
    export(make_build({"train": [[{"id": long}]]}), tmp_path / "out", to="webdataset")
    assert [row["id"] for row in read(tmp_path / "out")] == [long]


def test_datasets_reads_shards_of_samples_that_are_alike(make_build: MakeBuild, tmp_path: Path, jpeg: bytes) -> None:
    import datasets

    images = [{"bytes": jpeg, "path": None}]
    build = make_build({"train": [[{"id": str(k), "images": images} for k in range(2)]]})
    export(build, tmp_path / "out", to="webdataset")
    shards = str(tmp_path / "out" / "train-*.tar")
    loaded = datasets.load_dataset("webdataset", data_files=shards, split="train", streaming=True).decode(False)
    first = next(iter(loaded))
    assert first["0.jpg"]["bytes"] == jpeg
    assert first["json"]["messages"][1]["content"][0]["text"] == "a circle"


def test_datasets_takes_no_type_from_first_samples_that_hold_less(
    make_build: MakeBuild, tmp_path: Path, jpeg: bytes
) -> None:
    import datasets

    turn = {"row": "1", "template": "t@0", "variant": "user", "boxes": [], "synthetic": None, "weight": 1.0}
    box = {"x0": 0.5, "y0": 1.0, "x1": 20.25, "y1": 30.0, "image": 0, "phrase": "a circle"}
    image = {"bytes": jpeg, "path": None}
    bare = [{"id": f"bare/{k}", "images": [image], "turns": [turn], "image_sizes": [None]} for k in range(6)]
    full_turn = {**turn, "boxes": [box], "synthetic": "a generator"}
    full = {"id": "full/0", "images": [{**image, "path": "a.jpg"}], "turns": [full_turn]}
    export(make_build({"train": [[*bare, full]]}), tmp_path / "out", to="webdataset")
    loaded = datasets.load_dataset(
        "webdataset", data_files=str(tmp_path / "out" / "*.tar"), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = loaded.select_columns("json")["json"]
    assert [row["id"] for row in rows] == [row["id"] for row in [*bare, full]]
    assert json.loads(rows[6]["turns"]) == [full_turn]
    assert json.loads(rows[0]["turns"]) == [turn]


def rewritten(path: Path, change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    with tarfile.open(path) as tar:
        files = [(m.name, tar.extractfile(m).read()) for m in tar]  # type: ignore[union-attr]
    with tarfile.open(path, "w") as tar:
        for name, data in change(files):
            header = tarfile.TarInfo(name)
            header.size = len(data)
            tar.addfile(header, io.BytesIO(data))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda files: files[:-1], "lacks 1 of its images"),
        (lambda files: files[:1] + files[2:], "has 1 more images"),
        (lambda files: [files[1], *files], "belongs to no row"),
    ],
)
def test_a_damaged_shard_is_named(change: Callable[[Any], Any], problem: str, build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="webdataset")
    rewritten(tmp_path / "out" / "train-000000.tar", change)
    with pytest.raises(SourceError, match=problem):
        list(read(tmp_path / "out"))


def test_a_shard_that_ends_in_the_middle_is_named(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="webdataset")
    shard = tmp_path / "out" / "train-000000.tar"
    shard.write_bytes(shard.read_bytes()[:700])
    with pytest.raises(SourceError, match=r"train-000000\.tar"):
        list(read(tmp_path / "out"))


@given(a=st.text(), b=st.text(), passes=st.tuples(st.integers(0, 20), st.integers(0, 20)))
def test_keys_are_as_different_as_ids_and_passes_and_have_no_dot(a: str, b: str, passes: tuple[int, int]) -> None:
    first, second = sample_key(a, passes[0]), sample_key(b, passes[1])
    assert (first == second) == ((a, passes[0]) == (b, passes[1]))
    assert not {".", "/"} & set(first)


@given(st.lists(st.integers(0, 5)))
def test_the_running_count_is_how_often_a_value_stood_before(values: list[int]) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for value in values:
        expected.append(seen[value])
        seen[value] += 1
    assert running_count(np.array(values, dtype=np.uint64)).tolist() == expected
