"""Visual Genome's regions: 5.4 million phrases with a box on 108,000 photographs.

https://homes.cs.washington.edu/~ranjay/visualgenome (CC BY 4.0)
Layout: ``path`` is ``region_descriptions.json`` with ``image_data.json`` beside it, or the folder of both;
``image_root`` is the folder with ``VG_100K/`` and ``VG_100K_2/``. A row of the first: {"id": 1, "regions":
[{"region_id": 1382, "image_id": 1, "x": 421, "y": 57, "width": 82, "height": 139, "phrase": "the clock is green in
colour"}, ...]}, of the second: {"image_id": 1, "width": 800, "height": 600, "url":
"https://cs.stanford.edu/people/rak248/VG_100K_2/1.jpg", "coco_id": null, "flickr_id": null}
Quirks: a photograph lies in one of two folders, which only its URL tells; some boxes stick out of the photograph, or
start left of or above it; phrases repeat within a photograph, and as captions they tell of a part of it only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.paths import packed_or_not
from vldata.shapes.language import regions
from vldata.sources.base import Keys, Source
from vldata.sources.reading.boxes import box_of
from vldata.sources.reading.files import Written, expand, read_json
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.lookup import looked_up
from vldata.sources.reading.rows import (
    ID,
    SIDE,
    TEXT,
    WHOLE,
    files_named,
    image_sizes,
    list_of_rows,
    note,
    one_image,
    shown,
    turns_of,
    typed,
    with_both_sides,
)
from vldata.sources.standins import draw, keys_for, scenes_for, write_json

_XYWH = ("x", "y", "width", "height")
_OF_PHOTOGRAPH = ("image_id", "image_url", "url", "width", "height")


class VisualGenome(Source):
    """One turn a region; ``row`` is its region_id.

    Args:
        image_data: File of the photographs' sizes and URLs; None is ``image_data.json`` beside the regions.
    """

    format: ClassVar[str] = "visual_genome"
    about: ClassVar[str] = "Visual Genome: phrases for regions (region_descriptions.json, image_data.json)"
    licence: ClassVar[str] = "CC BY 4.0"
    tasks: ClassVar[tuple[str, ...]] = ("rec", "reg", "caption")
    version: ClassVar[int] = 3
    paths: ClassVar[tuple[str, ...]] = ("path", "image_root", "image_data")

    image_data: str | None = None

    def files(self) -> list[Path]:
        """The regions, then the photographs."""
        found = files_named(self.path, "region_descriptions*.json")
        return list(dict.fromkeys([*found, *(file for path in found for file in self._image_data(path))]))

    def turns(self, task: str) -> pl.DataFrame:
        """Every region; one of a photograph that ``image_data.json`` does not list is a ``missing_value``."""
        described = files_named(self.path, "region_descriptions*.json")
        return pl.concat([self._turns(path, task) for path in described])

    def _image_data(self, described: Path) -> list[Path]:
        """The files of the photographs of a file of regions."""
        return expand(self.image_data or str(packed_or_not(described.with_name("image_data.json"))))

    def _turns(self, path: Path, task: str) -> pl.DataFrame:
        """The regions of one file: ids are a file's own."""
        photographs = pl.concat([_photographs(file, self.keep) for file in self._image_data(path)])
        phrase = TEXT.to("phrase", "caption", "boxes")
        box = dict.fromkeys(_XYWH, WHOLE.to("boxes"))
        fields = {"region_id": ID.to("row"), "image_id": ID.to("images"), **box, "phrase": phrase}
        rows = typed(list(_regions(path)), fields, ignored={"synsets", *self.ignore}, keep=self.keep)
        xywh = pl.concat_arr(pl.col(name).cast(pl.Float64) for name in _XYWH)
        has_box = pl.all_horizontal(pl.col(name).is_not_null() for name in _XYWH)
        rows = rows.select(
            KEPT, "region_id", "image_id", "phrase", "problem", "detail", bbox=pl.when(has_box).then(xywh)
        )
        turns = looked_up(
            rows,
            photographs,
            "image_id",
            unlisted="image_data.json has no image {}",
            twice="image_data.json lists image {} twice, with different values",
            unfit="image {}: {}",
        )
        unnamed = pl.format("the `url` of image {} names no file", "image_id")
        turns = note(turns, pl.col("file").is_null(), "missing_value", unnamed)
        common = {
            "row": pl.col("region_id"),
            "images": one_image(pl.col("file")),
            "image_sizes": image_sizes(),
            "urls": one_image(pl.col("url")),
        }
        if task == "caption":
            return turns_of(turns, **common, caption=pl.col("phrase").str.strip_chars())
        boxes = pl.when(pl.col("bbox").is_not_null()).then(pl.concat_list(box_of("bbox", "phrase")))
        return turns_of(turns.with_columns(pl.col("phrase").str.strip_chars()), "phrase", **common, boxes=boxes)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The things of each scene as regions, as the two files and ``VG_100K/`` and ``VG_100K_2/`` in turn."""
        described: list[dict[str, Any]] = []
        photographs: list[dict[str, Any]] = []
        region_id = 0
        for scene in scenes_for(rows, 3, seed):
            image_id = scene.number + 1
            name = f"VG_100K{'_2' if scene.number % 2 else ''}/{image_id}.jpg"
            own = []
            for region in regions(scene):
                region_id += 1
                x0, y0, x1, y1 = map(int, region.boxes[0])
                box = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0}
                own.append({"region_id": region_id, "image_id": image_id, **box, "phrase": region.phrase})
            described.append({"id": image_id, "regions": own})
            size = {"image_id": image_id, "width": scene.width, "height": scene.height}
            photographs.append(
                {**size, "url": f"https://cs.stanford.edu/people/rak248/{name}", "coco_id": None, "flickr_id": None}
            )
            if images:
                draw(folder / "images", name, scene)
        write_json(folder / "region_descriptions.json", described)
        write_json(folder / "image_data.json", photographs)
        return keys_for(folder / "region_descriptions.json", folder / "images")


def _regions(path: Path) -> Iterator[Any]:
    for entry in list_of_rows(read_json(path, floats=Written), path):
        found = entry.get("regions") if isinstance(entry, dict) else None
        if isinstance(found, list):
            beside = {key: value for key, value in entry.items() if key not in ("regions", "id", *_OF_PHOTOGRAPH)}
            # what stands beside the regions of a photograph is said of each of them
            yield from (
                [{**beside, **region} if isinstance(region, dict) else region for region in found] if beside else found
            )
        else:
            yield ValueError(f"no list 'regions' in {shown(entry)}")


def _photographs(path: Path, keep: Sequence[str]) -> pl.DataFrame:
    """``image_id``, ``file`` (the URL's last folder and name), ``width``, ``height``, ``url``, and what is wrong."""
    sides = dict.fromkeys(("width", "height"), SIDE.to("image_sizes"))
    fields = {"image_id": ID.to("images"), **sides, "url": TEXT.to("images", "urls")}
    rows = typed(
        list_of_rows(read_json(path, floats=Written), path),
        fields,
        optional={*sides, "url"},
        of="image_data",
        keep=keep,
    )
    file = pl.col("url").str.extract(r"([^/]+/[^/]+)$", 1)
    return turns_of(with_both_sides(rows), "image_id", "width", "height", "url", file=file)
