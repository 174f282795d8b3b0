"""COCO captions: five captions a photograph, by five people.

https://cocodataset.org (annotations: CC BY 4.0; photographs: their Flickr owners' terms)
Layout: ``path`` is a ``captions_*.json``, or the folder of them; ``image_root`` is the folder of the photographs
(train2017/).
A row of ``annotations``: {"image_id": 179765, "id": 38, "caption": "A black Honda motorcycle parked in front of a
garage."}
and its photograph in ``images``: {"id": 179765, "file_name": "000000179765.jpg", "width": 640, "height": 480,
"coco_url": "http://images.cocodataset.org/val2017/000000179765.jpg", "flickr_url": ...}.
Quirks: 14 % of captions have blanks around them and 83 of val2017 a line break inside (both are tidied here); a few
photographs have six or seven captions; 2014 and 2017 are the same photographs under other names. A photograph without a
caption is no turn.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import captions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.lookup import with_coco_images
from vldata.sources.reading.native_types import ID, TEXT, NativeType
from vldata.sources.reading.rows import image_sizes, one_image, turns_of
from vldata.sources.standins import coco_image, drawn, scenes_for, written


class CocoCaptions(NativeRows):
    """One turn a caption; ``row`` is the annotation's id."""

    format: ClassVar[str] = "coco_captions"
    about: ClassVar[str] = "COCO captions (captions_*.json)"
    licence: ClassVar[str] = "annotations CC BY 4.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("caption",)
    version: ClassVar[int] = 3

    names: ClassVar[tuple[str, ...]] = ("captions_*.json",)
    rows_at: ClassVar[str] = "annotations"
    native: ClassVar[Mapping[str, NativeType]] = {"id": ID.to("row"), "image_id": ID.to("images"), "caption": TEXT}

    def rows_of(self, document: Any, path: Path, task: str) -> pl.DataFrame:
        """Captions with their photographs; one that the file does not list is a ``missing_value``."""
        return with_coco_images(super().rows_of(document, path, task), document, path, keep=self.keep)

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every caption, tidied."""
        caption = pl.col("caption").str.strip_chars().str.replace_all(r"\s*\n\s*", " ")
        images = one_image(pl.col("file_name"))
        return turns_of(rows, "urls", row="id", images=images, image_sizes=image_sizes(), caption=caption)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Five captions a scene, as ``captions_train2017.json`` and ``train2017/``."""
        root = folder / "train2017"
        listed, annotations = [], []
        for scene, name in drawn(scenes_for(rows, 5, seed), root, "{:012d}.jpg", images):
            listed.append(coco_image(scene, name))
            for k, caption in enumerate(islice(captions(scene), 5)):
                annotations.append({"image_id": scene.number + 1, "id": 5 * scene.number + k + 1, "caption": caption})
        document = {"info": {"year": 2017}, "licenses": [], "images": listed, "annotations": annotations}
        return written(folder / "annotations" / "captions_train2017.json", document, root)
