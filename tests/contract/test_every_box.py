"""What every format with boxes promises: one that cannot be where it is said to be is in the ledger, with a reason."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from PIL import Image

from tests.contract.native import NOT_INSTALLED
from vldata.images.references import ImageReader
from vldata.pipeline.fit_boxes import fit_boxes
from vldata.pipeline.index import keyed_turns
from vldata.recipe.load import from_tree
from vldata.recipe.models import Entry
from vldata.sources import SOURCES, source_class
from vldata.sources.reading.box_units import wrong_unit
from vldata.tasks import task_class

NAMES = sorted(set(SOURCES) - NOT_INSTALLED)
PAIRS = [(name, task) for name in NAMES for task in source_class(name).tasks if "boxes" in task_class(task).columns]
Box = dict[str, Any]


@pytest.fixture(params=PAIRS, ids="-".join)
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Entry:
    """A source of each format and task with boxes, over a stand-in of it."""
    name, task = request.param
    keys = source_class(name).standin(tmp_path, rows=8, seed=3, task=task)
    tree = {"name": "r", "seed": 1, "sources": {"s": {"format": name, "task": task, **keys}}}
    entry: Entry = from_tree(tree).entries["s"]
    return entry


def sound_turns(source: Entry) -> pl.DataFrame:
    """The usable turns that have a box, each at its own ``at``."""
    turns = keyed_turns(source.source.turns(source.task.name), source.task, where="sources.s")
    turns = turns.filter(pl.col("problem").is_null() & (pl.col("boxes").list.len() > 0))
    return turns.with_columns(reason=pl.lit(None, pl.String)).with_row_index("at")


def sizes_of(source: Entry, turns: pl.DataFrame, folder: Path) -> dict[str, dict[str, int]]:
    """Width and height of every image, from its file."""
    if source.source.images_key() is not None:
        source.source.draw_images(folder)
        reader = ImageReader(folder)
    else:
        reader = ImageReader(source.source.image_root)
    sizes = {}
    for ref in turns["images"].explode().unique():
        with Image.open(io.BytesIO(reader.read(ref))) as image:
            sizes[ref] = {"width": image.width, "height": image.height}
    return sizes


def outside(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "x0": box["x0"] + wide, "x1": box["x1"] + wide}


def above(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "y0": box["y0"] - high, "y1": box["y1"] - high}


def speck(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "x1": box["x0"] + 0.9 * px[0], "y1": box["y0"] + 0.9 * px[1]}


def line(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "x1": box["x0"]}


def swapped(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "x0": box["x1"], "x1": box["x0"]}


def not_a_number(box: Box, wide: float, high: float, px: tuple[float, float]) -> Box:
    return {**box, "y0": float("nan")}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (None, None),
        (outside, "box_outside_image"),
        (above, "box_outside_image"),
        (not_a_number, "box_outside_image"),
        (swapped, "box_corners_swapped"),
        (speck, "box_empty"),
        (line, "box_empty"),
    ],
)
def test_a_box_that_is_none_on_its_image_is_rejected(
    change: Any, reason: str | None, source: Entry, tmp_path: Path
) -> None:
    turns = sound_turns(source)
    sizes = sizes_of(source, turns, tmp_path)
    in_fractions = source.source.box_unit == "fraction"
    rows = turns.to_dicts()
    for row in rows:
        first, *others = row["boxes"]
        size = sizes[row["images"][first["image"]]]
        wide, high = (1.0, 1.0) if in_fractions else (size["width"], size["height"])
        px = (1 / size["width"], 1 / size["height"]) if in_fractions else (1.0, 1.0)
        row["boxes"] = [*others, change(first, wide, high, px) if change else first]
        row["sizes"] = [sizes[ref] for ref in row["images"]]
    changed = pl.DataFrame(rows, schema={**turns.schema, "sizes": turns.schema["image_sizes"]})
    fitted = fit_boxes(changed.drop("sizes"), changed.select("at", "images", "sizes", "image_sizes"), source)
    assert fitted.height == turns.height > 0
    assert set(fitted["reason"]) == {reason}


def test_boxes_of_a_stand_in_do_not_pass_for_those_of_another_unit(source: Entry) -> None:
    turns = sound_turns(source)
    assert wrong_unit(turns, source.source) is None
    if source.source.box_unit == "px":
        edges = [pl.element().struct.field(edge) / 4096 for edge in ("x0", "y0", "x1", "y1")]
        rest = [pl.element().struct.field(name) for name in ("image", "phrase")]
        small = turns.with_columns(boxes=pl.col("boxes").list.eval(pl.struct(*edges, *rest)))
        found = wrong_unit(small, source.source)
        assert found is not None and found.likely == ("fraction",)
        assert "boxes_are: fraction" in str(found.error(source.source, "sources.s"))


SIZED = [name for name in NAMES if not source_class(name).tasks[0].startswith("text") and name != "shapes"]


def with_sides(folder: Path, change: Any) -> int:
    """Change the width of every image that a JSON file below a folder lists; how many there were."""

    def changed(value: Any) -> Any:
        nonlocal count
        if isinstance(value, list):
            return [changed(item) for item in value]
        if not isinstance(value, dict):
            return value
        value = {key: changed(item) for key, item in value.items()}
        side = next((key for key in ("width", "image_width") if key in value and "x" not in value), None)
        if side is not None:
            value[side] = change(value[side])
            count += 1
        return value

    count = 0
    for path in folder.rglob("*.json"):
        path.write_text(json.dumps(changed(json.loads(path.read_text()))))
    return count


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize(
    ("change", "is_side"),
    [
        (float, True),
        (str, True),
        (lambda side: side + 0.5, False),
        (lambda side: "wide", False),
        (lambda _: None, False),
    ],
    ids=["float", "text", "half", "word", "half-unknown"],
)
def test_a_side_that_is_none_costs_the_rows_of_its_image(name: str, change: Any, is_side: bool, tmp_path: Path) -> None:
    cls = source_class(name)
    source = cls(**cls.standin(tmp_path, rows=8, seed=3))
    task = cls.tasks[0]
    before = source.turns(task)
    if "boxes" not in before.columns and change(1) is None:
        return  # there is no frame to be checked
    if not with_sides(tmp_path, change):
        assert "image_sizes" not in before.columns or not before["image_sizes"].drop_nulls().len()
        return
    after = source.turns(task)
    if is_side:
        assert after.equals(before)
    else:
        assert after.height == before.height
        assert set(after["problem"]) <= {"unparsable_row", "missing_value"}
