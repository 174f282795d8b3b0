"""COCO instances: the boxes of 80 kinds of things, as phrases to find and regions to name.

https://cocodataset.org (annotations: CC BY 4.0; photographs: their Flickr owners' terms); LVIS and Objects365 have
the same form.
Layout: ``path`` is an ``instances_*.json``, or the folder of them; ``image_root`` is the folder of the photographs.
A row of ``annotations``: {"id": 1768, "image_id": 289343, "category_id": 18, "bbox": [473.07, 395.93, 38.65, 28.67],
"iscrowd": 0, "area": 702.1, "segmentation": [[...]]}; ``categories``: {"id": 18, "name": "dog", "supercategory":
"animal"}.
Quirks: a box is [x, y, width, height] in pixels and may overshoot its photograph by a rounding error; a crowd region
("iscrowd": 1) covers many things at once, so where a category has one in a photograph, its boxes are not all of its
things; so has one that converters mark with "ignore": 1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.boxes import BoxesAre, BoxOrder, BoxUnit, box_of, box_unit
from vldata.sources.reading.keep import KEPT, listed
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.lookup import looked_up, with_coco_images
from vldata.sources.reading.native_types import FLAG, ID, TEXT, XYWH, NativeType
from vldata.sources.reading.rows import image_sizes, note, one_image, rows_under, turns_of, typed
from vldata.sources.standins import coco_image, drawn, scenes_for, written, xywh

UNREAD = keys_named(
    "area attributes category_name isfake isreflected iscrowded keypoints num_keypoints occluded segmentation "
    "truncated supercategory"
)
"""What annotations of COCO, LVIS, Objects365 and their converters say besides a box and its category."""


class CocoInstances(NativeRows):
    """Task ``rec``: one turn a photograph and category, with all its boxes. Task ``reg``: one turn a box.

    Args:
        box_order: What the four numbers of a ``bbox`` are, of files that some converter wrote in another order.
        boxes_are: Pixels of the photograph, or fractions, percent or thousandths of its sides.
    """

    format: ClassVar[str] = "coco_instances"
    about: ClassVar[str] = "COCO object boxes (instances_*.json)"
    licence: ClassVar[str] = "annotations CC BY 4.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg")
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("instances_*.json",)
    rows_at: ClassVar[str] = "annotations"
    native: ClassVar[Mapping[str, NativeType]] = {
        "id": ID.to("row"),
        "image_id": ID.to("images", "row"),
        "category_id": ID.to("phrase", "row"),
        "bbox": XYWH.to("boxes"),
        "iscrowd": FLAG.to(),
        "ignore": FLAG.to(),
    }
    optional: ClassVar[Collection[str]] = ("iscrowd", "ignore")
    unread: ClassVar[Collection[str]] = UNREAD

    box_order: BoxOrder = "xywh"
    boxes_are: BoxesAre = "px"

    @property
    def box_unit(self) -> BoxUnit:  # type: ignore[override]
        """Frame of the boxes that `turns` returns."""
        return box_unit(self.boxes_are)

    def turns(self, task: str) -> pl.DataFrame:
        """``row`` is "image id/category id" for ``rec``, the annotation's id for ``reg``; the phrase is the category.

        Ids are a file's own: boxes of two files are never in one turn.

        ``rec``: one unusable box makes the whole turn unusable, since the rest would not be all there is.
        """
        files = self.row_files()
        boxes = pl.concat([self.rows_in(path, task).with_columns(file=pl.lit(str(path))) for path in files])
        rows = _by_category(boxes) if task == "rec" else _one_by_one(boxes)
        images = one_image(pl.col("file_name"))
        return turns_of(rows, "row", "phrase", "boxes", "urls", images=images, image_sizes=image_sizes())

    def rows_of(self, document: Any, path: Path, task: str) -> pl.DataFrame:
        """Annotations with their photographs and the names of their categories."""
        rows = super().rows_of(document, path, task)
        rows = rows.with_columns(pl.col("iscrowd").fill_null(False) | pl.col("ignore").fill_null(False))
        if self.keep and task == "rec":  # what is said of each box becomes a list, so it cannot wait for the others
            rows = _with_lists(rows)
        named = {"id": ID.to("phrase"), "name": TEXT.to("phrase", "boxes")}
        names = typed(rows_under(document, "categories", path), named, of="categories", keep=self.keep)
        nothing = pl.lit(None, pl.String)
        unnamed = "category {} has no name in the file's `categories`"
        rows = looked_up(
            with_coco_images(rows, document, path, keep=self.keep),
            names.select(KEPT, category_id="id", phrase="name", problem=nothing, detail=nothing),
            "category_id",
            unlisted=unnamed,
            twice="the file's `categories` names {} twice, differently",
        )
        rows = note(rows, pl.col("phrase").is_null(), "missing_value", pl.format(unnamed, "category_id"))
        return rows.with_columns(box=box_of("bbox", "phrase", order=self.box_order, boxes_are=self.boxes_are))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The shapes of each scene as categories, as ``instances_train2017.json`` and ``train2017/``."""
        listed: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        categories: dict[str, int] = {}
        scenes = scenes_for(rows, lambda scene: len({thing.shape for thing in scene.things}), seed)
        for scene, name in drawn(scenes, folder / "train2017", "{:012d}.jpg", images):
            listed.append(coco_image(scene, name))
            for thing in scene.things:
                box = xywh(thing.box)
                row = {
                    "id": len(annotations) + 1,
                    "image_id": scene.number + 1,
                    "category_id": categories.setdefault(thing.shape, len(categories) + 1),
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
                annotations.append(row)
        named = [{"supercategory": "shape", "id": number, "name": name} for name, number in categories.items()]
        document = {"info": {"year": 2017}, "images": listed, "annotations": annotations, "categories": named}
        return written(folder / "annotations" / "instances_train2017.json", document, folder / "train2017")


def _one_by_one(boxes: pl.DataFrame) -> pl.DataFrame:
    crowds = note(boxes, pl.col("iscrowd"), "is_crowd", pl.lit("a crowd region"))
    return crowds.with_columns(row="id", boxes=pl.concat_list("box"))


def _with_lists(annotations: pl.DataFrame) -> pl.DataFrame:
    """Annotations of which each has the native columns of all of its photograph and category, as lists."""
    of = ["image_id", "category_id"]
    boxes = annotations.filter(~pl.col("iscrowd"))
    lists = boxes.group_by(of, maintain_order=True).agg(listed(boxes))
    return annotations.drop(KEPT).join(lists, on=of, how="left", nulls_equal=True, maintain_order="left")


def _by_category(boxes: pl.DataFrame) -> pl.DataFrame:
    crowd, lone = pl.col("iscrowd"), pl.coalesce("id", pl.row_index().cast(pl.String))
    row = pl.coalesce(pl.format("{}/{}", "image_id", "category_id"), pl.format("annotation/{}", lone))
    problem = pl.format("annotation {}: {}", pl.col("id").fill_null("without id"), "detail")
    turns = boxes.group_by("file", row.alias("row"), maintain_order=True).agg(
        pl.col("phrase", "file_name", "width", "height", "urls").first(),
        KEPT.first(),
        boxes=pl.col("box").filter(~crowd),
        problem=pl.col("problem").drop_nulls().first(),
        detail=problem.drop_nulls().first(),
        crowds=crowd.sum(),
    )
    return note(turns, pl.col("crowds") > 0, "is_crowd", pl.format("{} of its regions are crowds", "crowds"))
