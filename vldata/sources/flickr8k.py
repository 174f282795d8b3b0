"""Flickr8k and Flickr30k: five captions a photograph, one a line.

https://hockenmaier.cs.illinois.edu/8k-pictures.html (captions: CC BY-SA 3.0 for Flickr30k, none stated for Flickr8k;
photographs: their Flickr owners' terms, for research)
Layout: ``path`` is ``Flickr8k.token.txt`` (Flickr30k: ``results_20130124.token``) or the folder of it; ``image_root``
is ``Flicker8k_Dataset/``. A line is the photograph's name, "#", the caption's number, a tab and the caption:
1000268201_693b08cb0e.jpg#0	A child in a pink dress is climbing up a set of stairs in an entry way .
Splits are files of names beside it: ``Flickr_8k.trainImages.txt`` (6,000), ``devImages`` and ``testImages`` (1,000
each).
Quirks: captions are tokenised (a blank before the full stop); 92 photographs belong to no split; one key of Flickr8k
names a photograph that does not exist, ``2258277193_586949ec62.jpg.1#0``.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import ClassVar

import polars as pl

from vldata.shapes.language import captions
from vldata.sources.base import Keys, Source
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.files import expand
from vldata.sources.reading.lines import text_lines
from vldata.sources.reading.rows import files_named, note, one_image
from vldata.sources.standins import drawn, keys_for, scenes_for

_KEY = r"(?i)^([^#]+\.(?:jpg|jpeg|png))#(\d+)$"


class Flickr8k(Source):
    """One turn a caption; ``row`` is the line's key.

    Args:
        split_file: Names of photographs, one a line; captions of others are ``other_split``. None takes all.
    """

    format: ClassVar[str] = "flickr8k"
    about: ClassVar[str] = "Flickr8k, Flickr30k: captions as name#number, tab, caption (*.token.txt)"
    licence: ClassVar[str] = (
        "CC BY-SA 3.0 (Flickr30k), none stated (Flickr8k); photographs under their Flickr owners' terms"
    )
    tasks: ClassVar[tuple[str, ...]] = ("caption",)
    paths: ClassVar[tuple[str, ...]] = ("path", "image_root", "split_file")

    split_file: str | None = None

    def files(self) -> list[Path]:
        """The captions, then the file of the split's names."""
        return [*self._caption_files(), *(expand(self.split_file) if self.split_file else ())]

    def turns(self, task: str) -> pl.DataFrame:
        """Every line; one without a tab, or whose key names no photograph, is an ``unparsable_row``."""
        turns = pl.concat([_captions(path) for path in self._caption_files()])
        if self.split_file is None:
            return turns
        names = pl.concat([text_lines(path) for path in expand(self.split_file)]).str.strip_chars()
        in_split = pl.col("images").list.first().is_in(names.implode())
        return note(turns, ~in_split, "other_split", pl.lit(f"not in {Path(self.split_file).name}"))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Five captions a scene, as ``Flickr8k.token.txt``, the train split's names and ``Flicker8k_Dataset/``."""
        root = folder / "Flicker8k_Dataset"
        folder.mkdir(parents=True, exist_ok=True)
        lines, names = [], []
        for scene, name in drawn(scenes_for(rows, 5, seed), root, f"{{}}_{seed:010x}.jpg", images, first=1000000000):
            names.append(name)
            lines += [f"{name}#{k}\t{caption}" for k, caption in enumerate(islice(captions(scene), 5))]
        path = folder / "Flickr8k.token.txt"
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (folder / "Flickr_8k.trainImages.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
        return keys_for(path, root)

    def _caption_files(self) -> list[Path]:
        return files_named(self.path, "*.token.txt", "*.token")


def _captions(path: Path) -> pl.DataFrame:
    note_columns({"name#number": ("row", "images"), "caption": ("caption",)})
    parts = pl.col("line").str.splitn("\t", 2)
    table = (
        text_lines(path)
        .to_frame()
        .filter(pl.col("line").str.strip_chars() != "")
        .select(
            "line",
            key=parts.struct.field("field_0").str.strip_chars(),
            caption=parts.struct.field("field_1").str.strip_chars(),
            problem=pl.lit(None, pl.String),
            detail=pl.lit(None, pl.String),
        )
    )
    table = table.with_columns(image=pl.col("key").str.extract(_KEY, 1))
    table = note(
        table, pl.col("caption").is_null(), "unparsable_row", pl.format("no tab in {}", pl.col("line").str.slice(0, 80))
    )
    table = note(table, pl.col("image").is_null(), "unparsable_row", pl.format("{} is no <image>#<number>", "key"))
    return table.select("caption", "problem", "detail", row="key", images=one_image(pl.col("image")))
