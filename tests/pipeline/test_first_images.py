"""The first images of every source, and the boxes on them, as `vldata check` looks at them."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.pipeline.test_first_rows import ROWS, checked, folder, write
from vldata.errors import RecipeErrors
from vldata.pipeline.check import check
from vldata.recipe.load import from_tree

__all__ = ["folder"]  # a fixture


def test_images_that_cannot_be_used_are_a_note(folder: Path) -> None:
    (folder / "b.jpg").write_text("<html>404</html>")
    rows = [{**ROWS[k], "image": "b.jpg" if k == 2 else "a.jpg"} for k in range(4)]
    row = checked(path=write(folder / "rows.jsonl", rows))
    (note,) = row["notes"]
    assert "1 of the first 2 images cannot be used, such as b.jpg (image_unreadable: an HTML page" in note


@pytest.mark.parametrize("num_outside", [1, 3])
def test_boxes_that_do_not_fit_the_first_images_are_found(folder: Path, num_outside: int) -> None:
    far, near = [1, 1, 300, 200], [1, 1, 6, 5]
    rows = [{"id": k, "image": "a.jpg", "phrase": f"p{k}", "boxes": far if k < num_outside else near} for k in range(3)]
    keys = {"task": "rec", "fields": {}, "path": write(folder / "rows.jsonl", rows), "max_reject_rate": 1}
    said = f"boxes of {num_outside} of the first 3 turns that have any do not fit their images, such as 0: box_outside"
    if num_outside < 3:
        (note,) = checked(**keys)["notes"]
        assert said in note
    else:
        with pytest.raises(RecipeErrors, match=said) as raised:
            checked(**keys)
        assert "check `boxes_are` and `box_order`" in str(raised.value)


def test_images_inside_a_table_are_looked_at_and_have_no_path(folder: Path) -> None:
    good = (folder / "a.jpg").read_bytes()
    cells = [{"bytes": data, "path": None} for data in (good, b"", good)]
    table = pl.DataFrame({"image": cells, "question": ["a?", "b?", "c?"], "label": ["x", "y", "z"]})
    table.write_parquet(folder / "rows.parquet")
    (note,) = checked(path="rows.parquet")["notes"]
    assert "1 of the first 3 images cannot be used" in note
    source = {"format": "table", "task": "vqa_open", "fields": {"answer": "label"}, "path": "rows.parquet"}
    with pytest.raises(RecipeErrors, match="where no path leads"):
        check(from_tree({"name": "t", "sources": {"t": source}, "output": {"images": "path"}}))


def test_boxes_in_pixels_of_images_that_need_not_be_there_want_their_sizes(folder: Path) -> None:
    row = {"id": 1, "image": "gone.jpg", "phrase": "cup", "boxes": [1, 1, 6, 5]}

    def notes(**more: int) -> list[str]:
        source = {"format": "table", "task": "rec", "images": {"missing": "keep"}}
        source["path"] = write(folder / "rows.jsonl", [{**row, **more}])
        (said,) = check(from_tree({"name": "t", "sources": {"t": source}, "output": {"images": "path"}}))
        return said["notes"]  # type: ignore[no-any-return]

    with pytest.raises(RecipeErrors, match="such as 1: image_size_unknown"):
        notes()
    assert notes(width=8, height=6) == []
