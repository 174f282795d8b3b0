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

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.paths import packed_or_not
from vldata.shapes.language import regions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.files import Written, expand, read_json
from vldata.sources.reading.lookup import looked_up
from vldata.sources.reading.native_types import ID, SIDE, TEXT, WHOLE, NativeType, shown
from vldata.sources.reading.regions import one_box
from vldata.sources.reading.rows import image_sizes, list_of_rows, note, one_image, turns_of, typed, with_both_sides
from vldata.sources.standins import draw, scenes_for, write_json, written, xywh

_XYWH = ("x", "y", "width", "height")
_OF_PHOTOGRAPH = ("regions", "id", "image_id", "image_url", "url", "width", "height")
"""What stands beside the regions of a photograph and is not said of each of them."""


class VisualGenome(NativeRows):
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

    names: ClassVar[tuple[str, ...]] = ("region_descriptions*.json",)
    native: ClassVar[Mapping[str, NativeType]] = {
        "region_id": ID.to("row"),
        "image_id": ID.to("images"),
        **dict.fromkeys(_XYWH, WHOLE.to("boxes")),
        "phrase": TEXT.to("phrase", "caption", "boxes"),
    }
    unread: ClassVar[Collection[str]] = ("synsets",)

    image_data: str | None = None

    def files(self) -> list[Path]:
        """The regions, then the photographs."""
        found = self.row_files()
        return list(dict.fromkeys([*found, *(file for path in found for file in self._image_data(path))]))

    def rows_in(self, path: Path, task: str) -> pl.DataFrame:
        """Regions with their photographs; one that ``image_data.json`` does not list is a ``missing_value``."""
        photographs = pl.concat([_photographs(file, self.keep) for file in self._image_data(path)])
        rows = self.typed_rows([*_regions(path)], task)
        box = pl.concat_arr(pl.col(name).cast(pl.Float64) for name in _XYWH)
        has_box = pl.all_horizontal(pl.col(name).is_not_null() for name in _XYWH)
        turns = looked_up(
            rows.with_columns(bbox=pl.when(has_box).then(box)).drop(_XYWH),
            photographs,
            "image_id",
            unlisted="image_data.json has no image {}",
            twice="image_data.json lists image {} twice, with different values",
            unfit="image {}: {}",
        )
        unnamed = pl.format("the `url` of image {} names no file", "image_id")
        return note(turns, pl.col("file").is_null(), "missing_value", unnamed)

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every region, as a caption or as a phrase with its box."""
        phrase = pl.col("phrase").str.strip_chars()
        images, urls = one_image(pl.col("file")), one_image(pl.col("url"))
        common = {"row": pl.col("region_id"), "images": images, "image_sizes": image_sizes(), "urls": urls}
        if task == "caption":
            return turns_of(rows, caption=phrase, **common)
        return turns_of(rows.with_columns(phrase), "phrase", boxes=one_box(), **common)

    def _image_data(self, described: Path) -> list[Path]:
        """The files of the photographs of a file of regions."""
        return expand(self.image_data or str(packed_or_not(described.with_name("image_data.json"))))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """The things of each scene as regions, as the two files and ``VG_100K/`` and ``VG_100K_2/`` in turn."""
        described: list[dict[str, Any]] = []
        photographs: list[dict[str, Any]] = []
        region_ids = count(1)
        for scene in scenes_for(rows, 3, seed):
            image_id = scene.number + 1
            name = f"VG_100K{'_2' if scene.number % 2 else ''}/{image_id}.jpg"
            own = []
            for region in regions(scene):
                box = dict(zip(_XYWH, map(int, xywh(region.boxes[0])), strict=True))
                own.append({"region_id": next(region_ids), "image_id": image_id, **box, "phrase": region.phrase})
            described.append({"id": image_id, "regions": own})
            url = f"https://cs.stanford.edu/people/rak248/{name}"
            size = {"width": scene.width, "height": scene.height}
            photographs.append({"image_id": image_id, **size, "url": url, "coco_id": None, "flickr_id": None})
            if images:
                draw(folder / "images", name, scene)
        write_json(folder / "image_data.json", photographs)
        return written(folder / "region_descriptions.json", described, folder / "images")


def _regions(path: Path) -> Iterator[Any]:
    for entry in list_of_rows(read_json(path, floats=Written), path):
        found = entry.get("regions") if isinstance(entry, dict) else None
        if not isinstance(found, list):
            yield ValueError(f"no list 'regions' in {shown(entry)}")
            continue
        beside = {key: value for key, value in entry.items() if key not in _OF_PHOTOGRAPH}
        yield from ({**beside, **region} if beside and isinstance(region, dict) else region for region in found)


def _photographs(path: Path, keep: Sequence[str]) -> pl.DataFrame:
    """``image_id``, ``file`` (the URL's last folder and name), ``width``, ``height``, ``url``, and what is wrong."""
    sides = dict.fromkeys(("width", "height"), SIDE.to("image_sizes"))
    fields = {"image_id": ID.to("images"), **sides, "url": TEXT.to("images", "urls")}
    listed = list_of_rows(read_json(path, floats=Written), path)
    rows = typed(listed, fields, optional={*sides, "url"}, of="image_data", keep=keep)
    file = pl.col("url").str.extract(r"([^/]+/[^/]+)$", 1)
    return turns_of(with_both_sides(rows), "image_id", "width", "height", "url", file=file)
