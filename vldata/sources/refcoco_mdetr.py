"""RefCOCO, RefCOCO+ and RefCOCOg as MDETR (and after it Honeybee) has them: COCO's form with a phrase for a caption.

https://github.com/ashkamath/mdetr (annotations: Apache-2.0; photographs: COCO 2014, their Flickr owners' terms)
Layout: ``path`` is ``finetune_refcoco_train.json``: ``images`` {"id": 0, "original_id": 581857, "file_name":
"COCO_train2014_000000581857.jpg", "height": 640, "width": 427, "caption": "the lady with the blue shirt", ...},
``annotations`` {"id": 0, "image_id": 0, "bbox": [103.93, 299.99, 134.22, 177.42], ...}
Quirk: ``image_id`` numbers phrases, so a photograph stands once for each of its phrases.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import expressions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.boxes import box_of
from vldata.sources.reading.keep import listed, merged, set_beside
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import ID, SIDE, TEXT, XYWH, NativeType
from vldata.sources.reading.regions import with_problem_of
from vldata.sources.reading.rows import image_sizes, note, one_image, rows_under, turns_of, typed, with_both_sides
from vldata.sources.standins import coco_image, drawn, scenes_for, written, xywh

UNREAD = keys_named(
    "area category_id coco_url flickr_url iscrowd original_img_id segmentation sent_id tokens_negative "
    "tokens_positive ann_id ref_id split"
)
"""What MDETR's rows say besides the phrase, its photograph and its boxes."""


class RefCocoMdetr(NativeRows):
    """One turn a phrase; ``row`` is the id of its row of ``images``."""

    format: ClassVar[str] = "refcoco_mdetr"
    about: ClassVar[str] = "RefCOCO as MDETR has it: finetune_refcoco_train.json"
    licence: ClassVar[str] = "annotations Apache-2.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg")
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("finetune_*.json",)
    rows_at: ClassVar[str] = "images"
    native: ClassVar[Mapping[str, NativeType]] = {
        "id": ID.to("row"),
        "caption": TEXT.to("phrase", "boxes"),
        "file_name": TEXT.to("images"),
        "width": SIDE.to("image_sizes"),
        "height": SIDE.to("image_sizes"),
    }
    optional: ClassVar[Collection[str]] = ("width", "height")
    unread: ClassVar[Collection[str]] = UNREAD

    def rows_of(self, document: Any, path: Path, task: str) -> pl.DataFrame:
        """Every phrase with its boxes, one without any has ``no_box``; then the boxes of none."""
        phrases = with_both_sides(super().rows_of(document, path, task))
        sized = phrases.select("caption", "width", "height", image_id="id", is_listed=True)
        boxes = self._boxes(document, path).join(
            sized.unique("image_id", keep="first"), on="image_id", how="left", maintain_order="left"
        )
        owned = boxes.filter(pl.col("is_listed")).with_columns(box=box_of("bbox", "caption"))
        by_phrase = owned.group_by("image_id", maintain_order=True).agg(
            *listed(owned),
            boxes="box",
            box_problem=pl.col("problem").drop_nulls().first(),
            box_detail=pl.col("detail").drop_nulls().first(),
        )
        rows = merged(phrases.join(by_phrase, left_on="id", right_on="image_id", how="left", maintain_order="left"))
        rows = with_problem_of(rows, "box_problem", "box_detail")
        rows = note(rows, pl.col("boxes").is_null(), "no_box", pl.lit("no annotation names it"))
        lost = merged(boxes.filter(pl.col("is_listed").is_null())).with_columns(id=pl.format("annotation/{}", "id"))
        lost = note(lost, pl.lit(True), "missing_value", pl.lit("no row of `images` has its image_id"))
        return pl.concat([rows, lost], how="diagonal")

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every phrase in canonical columns."""
        images = one_image(pl.col("file_name"))
        return turns_of(rows, "boxes", row="id", phrase="caption", images=images, image_sizes=image_sizes())

    def _boxes(self, document: Any, path: Path) -> pl.DataFrame:
        fields = {"id": ID.to(), "image_id": ID.to("boxes"), "bbox": XYWH.to("boxes")}
        rows, ignored = rows_under(document, "annotations", path), {*UNREAD, *self.ignore}
        return set_beside(typed(rows, fields, ignored=ignored, of="annotations", keep=self.keep))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The phrases that fit one thing of a scene, as ``finetune_refcoco_train.json`` and ``train2014/``."""
        root = folder / "train2014"
        phrases: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        scenes = scenes_for(rows, lambda scene: len(expressions(scene)), seed)
        for scene, name in drawn(scenes, root, "COCO_train2014_{:012d}.jpg", images):
            for phrase, (box,) in expressions(scene):
                number = len(phrases)
                own = {"id": number, "original_id": scene.number + 1, "caption": phrase}
                annotations.append({"id": number, "image_id": number, "bbox": xywh(box), "iscrowd": 0})
                phrases.append({**coco_image(scene, name), **own})
        document = {"info": [], "licenses": [], "images": phrases, "annotations": annotations, "categories": []}
        return written(folder / "finetune_refcoco_train.json", document, root)
