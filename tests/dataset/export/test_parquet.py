from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from vldata.dataset.export import export
from vldata.dataset.export.parquet import write
from vldata.dataset.open import open_build
from vldata.schema.rows import arrow_schema

MakeBuild = Callable[..., Path]


def rows_of(build: Path, split: str) -> list[dict[str, Any]]:
    return list(open_build(build).rows(split))


@pytest.fixture
def build(make_build: MakeBuild, jpeg: bytes, png: bytes) -> Path:
    one, two = {"bytes": jpeg, "path": "a.jpg"}, {"bytes": png, "path": None}
    blocks = [
        [{"id": "hand/1", "images": [one]}, {"id": "hand/2"}, {"id": "hand/3", "images": [two, one]}],
        [{"id": "hand/4", "images": [two], "image_sizes": [None]}],
        [{"id": "hand/1", "images": [one]}],
    ]
    return make_build({"train": blocks, "val": [[{"id": "hand/5", "turns": []}]]})


def test_reading_back_is_the_identity_on_every_column(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="parquet")
    for split in ("train", "val"):
        table = pq.read_table(tmp_path / "out" / "data" / f"{split}-00000-of-00001.parquet")
        assert table.schema.equals(arrow_schema())
        assert table.schema.metadata[b"huggingface"] == arrow_schema().metadata[b"huggingface"]
        assert table.to_pylist() == rows_of(build, split)


def test_paths_are_kept_as_paths(make_build: MakeBuild, tmp_path: Path) -> None:
    build = make_build({"train": [[{"id": "hand/1", "images": [{"bytes": None, "path": "/data/a.jpg"}]}]]})
    export(build, tmp_path / "out", to="parquet")
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert table.column("images").to_pylist() == [[{"bytes": None, "path": "/data/a.jpg"}]]


def test_shards_are_cut_at_the_end_of_a_block_and_say_how_many_there_are(build: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(open_build(build), tmp_path / "out", lambda rows: None, shard_bytes=1)
    names = sorted(p.name for p in (tmp_path / "out" / "data").iterdir())
    assert names == [*(f"train-{k:05d}-of-00003.parquet" for k in range(3)), "val-00000-of-00001.parquet"]
    shards = [pq.read_table(tmp_path / "out" / "data" / name) for name in names[:3]]
    assert pa.concat_tables(shards).to_pylist() == rows_of(build, "train")


def test_datasets_opens_the_folder_with_splits_and_pictures(build: Path, tmp_path: Path) -> None:
    import datasets

    export(build, tmp_path / "out", to="parquet")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 5, "val": 1}
    assert isinstance(loaded["train"].features["images"].feature, datasets.Image)
    stored = rows_of(build, "train")[2]["images"][0]["bytes"]
    decoded = loaded["train"][2]["images"][0]
    assert decoded.tobytes() == Image.open(io.BytesIO(stored)).tobytes()
    assert loaded["train"][0]["messages"] == rows_of(build, "train")[0]["messages"]


def test_the_card_names_splits_sources_and_licences(build: Path, tmp_path: Path) -> None:
    export(build, tmp_path / "out", to="parquet")
    _, front, body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(front)["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*.parquet"},
        {"split": "val", "path": "data/val-*.parquet"},
    ]
    assert "# tiny" in body
    assert "6 samples" in body
    assert "| hand | table | vqa_open | 2 | MIT \\| CC0 |" in body
