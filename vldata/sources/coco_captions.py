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
from vldata.sources.base import Source
from vldata.sources.reading.files import open_json
from vldata.sources.reading.keep import BESIDE, KEPT, merged, set_beside
from vldata.sources.reading.rows import (
    ID,
    SIDE,
    TEXT,
    files_named,
    image_sizes,
    note,
    one_image,
    one_of_each,
    rows_under,
    typed,
    with_both_sides,
)
from vldata.sources.standins import draw, scenes_for, write_json


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
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
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
        return {"path": str(path.resolve()), "image_root": str(root.resolve())}


def coco_image(image_id: int, width: int, height: int) -> dict[str, Any]:
    """A stand-in's row of ``images``, with the native form of name."""
    return {"id": image_id, "file_name": f"{image_id:012d}.jpg", "width": width, "height": height}


def coco_images(document: Any, path: Path, keep: Sequence[str] = ()) -> pl.DataFrame:
    """The photographs of a COCO file: ``image_id``, ``file_name``, ``width``, ``height``, ``urls``; one row an id.

    LVIS has no ``file_name``: its file is the last two parts of ``coco_url``. Of an id that the file gives to different
    photographs ``is_contradicted`` is true; ``image_problem`` and ``image_detail`` say what is wrong with one, as a
    side that is no number.

    Raises:
        SourceError: The document is not a COCO file.
    """
    fields = {"id": ID, "file_name": TEXT, "width": SIDE, "height": SIDE, "coco_url": TEXT, "flickr_url": TEXT}
    rows = typed(rows_under(document, "images", path), fields, optional={*fields} - {"id"}, keep=keep)
    rows = with_both_sides(rows).rename({"id": "image_id", "problem": "image_problem", "detail": "image_detail"})
    return one_of_each(set_beside(rows), "image_id").select(
        BESIDE,
        "image_id",
        "image_problem",
        "image_detail",
        "width",
        "height",
        "is_contradicted",
        file_name=pl.coalesce("file_name", pl.col("coco_url").str.extract(r"([^/]+/[^/]+)$")),
        urls=pl.concat_list("flickr_url", "coco_url").list.drop_nulls(),
        is_listed=True,
    )


def with_coco_images(annotations: pl.DataFrame, images: pl.DataFrame) -> pl.DataFrame:
    """Annotations, each with its photograph's columns; one whose photograph is not listed gets a problem."""
    joined = annotations.join(images, on="image_id", how="left", maintain_order="left")
    joined = merged(joined)
    unlisted = pl.format("image {} is not among the file's `images`", pl.col("image_id"))
    joined = note(joined, pl.col("is_listed").is_null(), "missing_value", unlisted)
    twice = pl.format("the file's `images` lists {} twice, with different values", pl.col("image_id"))
    joined = note(joined, pl.col("is_contradicted").fill_null(False), "unparsable_row", twice)
    unfit = pl.format("image {}: {}", "image_id", "image_detail")
    joined = note(joined, pl.col("image_problem").is_not_null(), "unparsable_row", unfit)
    return note(
        joined, pl.col("file_name").is_null(), "missing_value", pl.format("image {} has no file_name", "image_id")
    )


def _captions(path: Path, ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    document = open_json(path)
    fields = {"id": ID, "image_id": ID, "caption": TEXT}
    rows = typed(rows_under(document, "annotations", path), fields, ignored=ignore, keep=keep)
    return with_coco_images(rows, coco_images(document, path, keep)).select(
        KEPT,
        row="id",
        images=one_image(pl.col("file_name")),
        image_sizes=image_sizes(),
        urls="urls",
        caption=pl.col("caption").str.strip_chars().str.replace_all(r"\s*\n\s*", " "),
        problem="problem",
        detail="detail",
    )
