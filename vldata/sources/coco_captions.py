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

from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import captions
from vldata.sources.base import Keys, Source
from vldata.sources.reading.files import open_json
from vldata.sources.reading.lookup import with_coco_images
from vldata.sources.reading.rows import ID, TEXT, files_named, image_sizes, one_image, rows_under, turns_of, typed
from vldata.sources.standins import draw, keys_for, scenes_for, write_json


class CocoCaptions(Source):
    """One turn a caption; ``row`` is the annotation's id."""

    format: ClassVar[str] = "coco_captions"
    about: ClassVar[str] = "COCO captions (captions_*.json)"
    licence: ClassVar[str] = "annotations CC BY 4.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("caption",)
    version: ClassVar[int] = 3

    def files(self) -> list[Path]:
        """``path``, or the ``captions_*.json`` below it."""
        return files_named(self.path, "captions_*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every caption, tidied, with its photograph; one that the file does not list is a ``missing_value``."""
        return pl.concat([_captions(path, self.ignore, self.keep) for path in self.files()])

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Five captions a scene, as ``captions_train2017.json`` and ``train2017/``."""
        root = folder / "train2017"
        listed, annotations = [], []
        for scene in scenes_for(rows, 5, seed):
            listed.append(coco_image(scene.number + 1, scene.width, scene.height))
            for k, caption in enumerate(islice(captions(scene), 5)):
                annotations.append({"image_id": scene.number + 1, "id": 5 * scene.number + k + 1, "caption": caption})
            if images:
                draw(root, listed[-1]["file_name"], scene)
        path = folder / "annotations" / "captions_train2017.json"
        write_json(path, {"info": {"year": 2017}, "licenses": [], "images": listed, "annotations": annotations})
        return keys_for(path, root)


def coco_image(image_id: int, width: int, height: int) -> dict[str, Any]:
    """A stand-in's row of ``images``, with the native form of name."""
    return {"id": image_id, "file_name": f"{image_id:012d}.jpg", "width": width, "height": height}


def _captions(path: Path, ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    document = open_json(path)
    fields = {"id": ID.to("row"), "image_id": ID.to("images"), "caption": TEXT}
    rows = typed(rows_under(document, "annotations", path), fields, ignored=ignore, keep=keep)
    return turns_of(
        with_coco_images(rows, document, path, keep=keep),
        "urls",
        row="id",
        images=one_image(pl.col("file_name")),
        image_sizes=image_sizes(),
        caption=pl.col("caption").str.strip_chars().str.replace_all(r"\s*\n\s*", " "),
    )
