"""The sides of an image beside its boxes are its size as annotated; where they cannot be, nobody believes they were."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from vldata.sources.table import Table


def turns_of(folder: Path, *more: dict[str, Any]) -> pl.DataFrame:
    rows = [
        {"id": k, "images": ["a.jpg"], "phrase": "cup", "boxes": [10, 20, 60, 50], **of} for k, of in enumerate(more)
    ]
    (folder / "t.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return Table(path=str(folder / "t.jsonl")).turns("rec")


@pytest.mark.parametrize("names", [("image_width", "image_height"), ("img_w", "img_h"), ("Width", "HEIGHT")])
def test_sides_have_many_names(tmp_path: Path, names: tuple[str, str]) -> None:
    turns = turns_of(tmp_path, dict(zip(names, (200, 100), strict=True)))
    assert turns["image_sizes"].to_list() == [[{"width": 200, "height": 100}]]


def test_a_row_of_unknown_sides_leaves_those_of_others_what_they_are(tmp_path: Path) -> None:
    known = [{"width": 200, "height": 100}] * 9
    turns = turns_of(
        tmp_path, *known, {"width": 0, "height": 0}, {"width": -1, "height": -1}, {"width": None, "height": 7}
    )
    assert turns["image_sizes"].null_count() == 3
    assert "remark" not in turns.columns


def test_sides_that_are_none_are_told(tmp_path: Path) -> None:
    turns = turns_of(tmp_path, *[{"width": 200, "height": 100}] * 9, {"width": 80.5, "height": 60})
    assert turns["image_sizes"].null_count() == 1
    assert turns["remark"].to_list()[9].startswith("width and height beside its boxes are 80.5 x 60, no sides")
    turns = turns_of(tmp_path, *[{"width": 1.8, "height": 0.4}] * 3)
    assert "image_sizes" not in turns.columns
    assert turns["remark"].null_count() == 0


def test_boxes_of_several_images_that_name_none_are_told(tmp_path: Path) -> None:
    pair = {"images": ["a.jpg", "b.jpg"]}
    turns = turns_of(tmp_path, pair, {"images": ["a.jpg"]})
    assert turns["remark"].to_list() == [
        "its boxes do not say which of its images they are in, and were taken to be in the first", None
    ]  # fmt: skip
    named = {"boxes": [{"x0": 1, "y0": 2, "x1": 3, "y1": 4, "image": 1}]}
    assert "remark" not in turns_of(tmp_path, {**pair, **named}).columns
