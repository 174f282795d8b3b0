"""The files that `datasets` opens a build by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.tables import recipe
from vldata.pipeline.hf_dataset_files import write_hf_dataset_files

Row = tuple[str, str, str]
"""Split, file and digest of a block."""


def written(folder: Path, blocks: list[Row], **splits: float) -> dict[str, Any]:
    """Each file's contents by its path."""
    folder.mkdir()
    listed = [{"split": split, "file": file, "digest": digest} for split, file, digest in blocks]
    whole = recipe({"src": {"task": "vqa_open"}}, about="cats", splits=splits)
    write_hf_dataset_files(folder, whole, listed)
    return {str(p.relative_to(folder)): json.loads(p.read_text()) for p in folder.rglob("*.json")}


def test_one_split_stands_in_the_folder_itself(tmp_path: Path) -> None:
    files = written(tmp_path / "a", [("train", "data-1.arrow", "d1"), ("train", "data-2.arrow", "d2")])
    assert sorted(files) == ["dataset_info.json", "state.json"]
    assert files["state.json"]["_data_files"] == [{"filename": "data-1.arrow"}, {"filename": "data-2.arrow"}]
    assert files["state.json"]["_split"] == "train"
    assert files["dataset_info.json"]["description"] == "cats"
    assert files["dataset_info.json"]["features"]["images"] == {"feature": {"_type": "Image"}, "_type": "List"}


def test_several_splits_have_folders_and_an_empty_one_is_left_out(tmp_path: Path) -> None:
    blocks = [("val", "val/data-1.arrow", "d1"), ("train", "train/data-1.arrow", "d2")]
    files = written(tmp_path / "a", blocks, val=0.1, test=0.1)
    assert files["dataset_dict.json"] == {"splits": ["train", "val"]}
    assert files["val/state.json"]["_data_files"] == [{"filename": "data-1.arrow"}]
    assert not any(name.startswith("test/") for name in files)


@pytest.mark.parametrize(
    ("digests", "same"), [(("d1", "d2"), True), (("d2", "d1"), False), (("d1", "d3"), False), (("d1",), False)]
)
def test_the_fingerprint_changes_with_a_block_and_with_the_order(
    tmp_path: Path, digests: tuple[str, ...], same: bool
) -> None:
    before, after = (
        written(tmp_path / name, [("train", f"data-{digest}.arrow", digest) for digest in of])["state.json"]
        for name, of in (("a", ("d1", "d2")), ("b", digests))
    )
    assert (before["_fingerprint"] == after["_fingerprint"]) == same


def test_the_fingerprint_is_kept_for_ever(tmp_path: Path) -> None:
    blocks = [("train", "data-1.arrow", "d1"), ("train", "data-2.arrow", "d2")]
    assert written(tmp_path / "a", blocks)["state.json"]["_fingerprint"] == "a5d950b26a242ff3"
