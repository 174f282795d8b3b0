"""Multi30k: the photographs of Flickr30k with captions in English and German (task 1 also French and Czech).

https://github.com/multi30k/dataset (no licence stated for the captions; photographs: their Flickr owners' terms, for research)
Layout: ``path`` is the repository's ``data`` folder; ``image_root`` is the folder of Flickr30k's photographs. The files are parallel:
line N of ``task1/raw/train.en.gz`` ("Two young, White males are outside near many bushes.") and of ``train.de.gz`` ("Zwei junge
weiße Männer sind im Freien in der Nähe vieler Büsche.") belongs to line N of ``task1/image_splits/train.txt`` ("1000092795.jpg").
``task2/raw/train.1.en.gz`` … ``train.5.en.gz`` hold five captions by five people for the lines of ``task2/image_splits/train_images.txt``.
Quirks: task 2's captions get shorter from file 1 to file 5; a few lines repeat; task 1's English is one of task 2's five.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import Field

from vldata.errors import SourceError
from vldata.shapes.language import captions
from vldata.sources.base import Source
from vldata.sources.native import one_image
from vldata.sources.read import read_text
from vldata.sources.standins import draw, scenes_for

_PEOPLE = (1, 2, 3, 4, 5)
Name = Annotated[str, Field(pattern=r"^\w+$")]


class Multi30k(Source):
    """One turn a caption; ``row`` is the photograph's name, "#" and what tells its captions apart ("en", "en.3").

    Args:
        split: As in the files' names: train, val, test_2016_flickr …
        language: en, de, fr or cs.
        task2: None reads task 1, one caption a photograph; a number reads that file of task 2's five, ``all`` reads all.
    """

    format: ClassVar[str] = "multi30k"
    about: ClassVar[str] = "Multi30k: Flickr30k's captions in several languages, one a line, beside a list of photographs"
    licence: ClassVar[str] = "none stated; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("caption",)

    split: Name = "train"
    language: Name = "en"
    task2: Literal["all", 1, 2, 3, 4, 5] | None = None

    def files(self) -> list[Path]:
        """The list of photographs, then the files of captions."""
        names = f"task1/image_splits/{self.split}.txt" if self.task2 is None else f"task2/image_splits/{self.split}_images.txt"
        return [self._beneath(names), *(self._beneath(f"task{2 if self.task2 else 1}/raw/{self.split}.{tag}") for tag in self._tags())]

    def turns(self, task: str) -> pl.DataFrame:
        """Every line with its photograph.

        Raises:
            SourceError: A file of captions has more or fewer lines than there are photographs.
        """
        listed, *texts = self.files()
        names = [name.partition("#")[0] for name in _lines(listed)]
        tables = []
        for path, tag in zip(texts, self._tags(), strict=True):
            lines = _lines(path)
            if len(lines) != len(names):
                problem = f"{len(lines)} lines, but {listed.name} names {len(names)} photographs"
                raise SourceError(str(path), problem, "take both files from the same release")
            tables.append(pl.DataFrame({"image": names, "caption": lines}, schema={"image": pl.String, "caption": pl.String}).with_columns(tag=pl.lit(tag)))
        return pl.concat(tables).select(
            "caption", row=pl.format("{}#{}", "image", "tag"), images=one_image(pl.col("image"))
        )
