"""RefCOCO-s: phrases that pick one object out of a photograph, or fit nothing in it.

https://github.com/kuoyang1999/refcocos-annotator (annotations: MIT; photographs: COCO 2017, their Flickr owners' terms)
Layout: ``path`` is a list: {"annotation_id": "000000547144_1744240036431", "image": "val2017/000000547144.jpg",
"width": 640, "height": 480, "normal_caption": "the monitor farther from the laptop among the ones that are on",
"solution": [431, 134, 547, 248]}
Quirk: ``solution`` is [x0, y0, x1, y1] in pixels, and null where nothing in the photograph fits: such a row is
``not_for_task``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.schema.turns import BOX
from vldata.shapes.language import expressions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.json import json_rows
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import ID, SIDE, TEXT, XYWH, NativeType
from vldata.sources.reading.rows import image_sizes, note, one_image, turns_of, with_both_sides
from vldata.sources.standins import drawn, scenes_for, written


class RefCocoS(NativeRows):
    """One turn a phrase; ``row`` is its annotation_id."""

    format: ClassVar[str] = "refcocos"
    about: ClassVar[str] = "RefCOCO-s: a list of phrases with a box, or none where nothing fits"
    licence: ClassVar[str] = "annotations MIT; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg")
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("refcocos_*.json",)
    native: ClassVar[Mapping[str, NativeType]] = {
        "annotation_id": ID.to("row"),
        "normal_caption": TEXT.to("phrase", "boxes"),
        "image": TEXT.to("images"),
        "width": SIDE.to("image_sizes"),
        "height": SIDE.to("image_sizes"),
        "solution": XYWH.to("boxes"),
    }
    optional: ClassVar[Collection[str]] = ("annotation_id", "width", "height", "solution")
    unread: ClassVar[Collection[str]] = keys_named(
        "text_type file_name problem normalized_solution categories image_index"
    )

    def rows_in(self, path: Path, task: str) -> pl.DataFrame:
        """The rows of a list, or of JSON lines."""
        return self.typed_rows(json_rows(path), task)

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every phrase; one that fits nothing is ``not_for_task``."""
        has_box = pl.col("solution").is_not_null()
        rows = note(with_both_sides(rows), ~has_box, "not_for_task", pl.lit("nothing in the image fits"))
        x0, y0, x1, y1 = (pl.col("solution").arr.get(k) for k in range(4))
        box = pl.struct(x0=x0, y0=y0, x1=x1, y1=y1, image=pl.lit(0, pl.Int32), phrase=pl.col("normal_caption"))
        return turns_of(
            rows,
            row="annotation_id",
            phrase="normal_caption",
            boxes=pl.when(has_box).then(pl.concat_list(box.cast(BOX))),
            images=one_image(pl.col("image")),
            image_sizes=image_sizes(),
        )

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``refcocos_test.json`` and ``val2017/``."""
        data: list[dict[str, Any]] = []
        scenes = scenes_for(rows, lambda scene: len(expressions(scene)), seed)
        for scene, name in drawn(scenes, folder, "val2017/{:012d}.jpg", images):
            for k, (phrase, (box,)) in enumerate(expressions(scene)):
                head = {"annotation_id": f"{Path(name).stem}_{k}", "image": name}
                size = {"width": scene.width, "height": scene.height}
                data.append({**head, **size, "normal_caption": phrase, "solution": list(box)})
        return written(folder / "refcocos_test.json", data, folder)
