"""Stand-ins of formats that are tables: turns of the shapes world under canonical names."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import polars as pl

from vldata.sources.reading.casts import PHRASES
from vldata.sources.reading.fields import fields_of
from vldata.sources.shapes import Shapes

_BOX_SCALES = {"fraction": 1, "percent": 100, "thousandths": 1000}


def all_columns(turns: pl.DataFrame, names: Collection[str], task: str, unit: str) -> pl.DataFrame:
    """Turns of the shapes world with all columns of these names that a task has, boxes in the table's unit."""
    box = pl.element().struct
    if PHRASES in names and "boxes" in turns.columns:
        turns = turns.with_columns(pl.col("boxes").list.eval(box.field("phrase")).alias(PHRASES))
    if "answers" in names and "answer" in turns.columns:
        turns = turns.with_columns(answers=pl.concat_list("answer"))
    kinds = {name: dtype for name, dtype in fields_of(task).items() if name in names and name not in turns.columns}
    turns = turns.with_columns(pl.lit(None, dtype).alias(name) for name, dtype in kinds.items())
    if unit in _BOX_SCALES and "boxes" in turns.columns:
        side = turns["image_sizes"][0][0]["width"]  # all scenes are squares of one size
        edges = [box.field(name) * _BOX_SCALES[unit] / side for name in ("x0", "y0", "x1", "y1")]
        rest = [box.field("image"), box.field("phrase")]
        turns = turns.with_columns(pl.col("boxes").list.eval(pl.struct(*edges, *rest)))
    return turns


def turns_of_shapes(
    folder: Path, *, rows: int, seed: int, task: str, images: bool, scenes: int | None = None
) -> dict[str, Any]:
    """A table whose columns have the canonical names already, which need no ``fields``."""
    world = Shapes(scenes=scenes or rows, world_seed=seed)
    turns = world.turns(task)
    while turns.height < rows:  # not every scene has a turn for every task
        world = Shapes(scenes=2 * world.scenes, world_seed=seed)
        turns = world.turns(task)
    image_folder = folder / "images"
    image_folder.mkdir(parents=True, exist_ok=True)
    if images and "images" in turns.columns:
        world.draw_images(image_folder)
    path = folder / "turns.parquet"
    turns.write_parquet(path)
    return {"path": str(path.resolve()), "image_root": str(image_folder.resolve())}
