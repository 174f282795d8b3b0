"""Multi30k: the photographs of Flickr30k with captions in English and German (task 1 also French and Czech).

https://github.com/multi30k/dataset (no licence stated for the captions; photographs: their Flickr owners' terms, for
research)
Layout: ``path`` is the repository's ``data`` folder; ``image_root`` is the folder of Flickr30k's photographs. The
files are parallel: line N of ``task1/raw/train.en.gz`` ("Two young, White males are outside near many bushes.") and
of ``train.de.gz`` ("Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche.") belongs to line N of
``task1/image_splits/train.txt`` ("1000092795.jpg"). ``task2/raw/train.1.en.gz`` … ``train.5.en.gz`` hold five
captions by five people for the lines of ``task2/image_splits/train_images.txt``.
Quirks: task 2's captions get shorter from file 1 to file 5; a few lines repeat; task 1's English is one of task 2's
five.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import Field

from vldata.errors import SourceError
from vldata.paths import home
from vldata.shapes.language import captions
from vldata.sources.base import Keys, Source
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.lines import text_lines
from vldata.sources.reading.rows import one_image
from vldata.sources.standins import drawn, keys_for, scenes_for

_PEOPLE = (1, 2, 3, 4, 5)
Name = Annotated[str, Field(pattern=r"^\w+$")]


class Multi30k(Source):
    """One turn a caption; ``row`` is the photograph's name, "#" and what tells its captions apart ("en", "3.en").

    Args:
        split: As in the files' names: train, val, test_2016_flickr …
        language: en, de, fr or cs.
        task2: None reads task 1, one caption a photograph; a number, that file of task 2's five; ``all``, all five.
    """

    format: ClassVar[str] = "multi30k"
    about: ClassVar[str] = (
        "Multi30k: Flickr30k's captions in several languages, one a line, beside a list of photographs"
    )
    licence: ClassVar[str] = "none stated; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("caption",)

    split: Name = "train"
    language: Name = "en"
    task2: Literal["all", 1, 2, 3, 4, 5] | None = None

    def files(self) -> list[Path]:
        """The list of photographs, then the files of captions."""
        part = "task1" if self.task2 is None else "task2"
        listed = f"{self.split}.txt" if self.task2 is None else f"{self.split}_images.txt"
        texts = [self._below(f"{part}/raw/{self.split}.{tag}") for tag in self._tags()]
        return [self._below(f"{part}/image_splits/{listed}"), *texts]

    def turns(self, task: str) -> pl.DataFrame:
        """Every line with its photograph.

        Raises:
            SourceError: A file of captions has more or fewer lines than there are photographs.
        """
        listed, *texts = self.files()
        note_columns({listed.name: ("row", "images"), texts[0].name: ("caption",)})
        images = text_lines(listed).alias("image").str.strip_chars().str.replace(r"#\d+$", "")
        tables = []
        for path, tag in zip(texts, self._tags(), strict=True):
            said = text_lines(path).alias("caption").str.strip_chars()
            if said.len() != images.len():
                problem = f"{said.len()} lines, but {listed.name} names {images.len()} photographs"
                raise SourceError(str(path), problem, "take both files from the same release")
            tables.append(pl.DataFrame([images, said]).with_columns(tag=pl.lit(tag)))
        captions = pl.concat(tables)
        return captions.select("caption", row=pl.format("{}#{}", "image", "tag"), images=one_image(pl.col("image")))

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """One caption a scene as task 1 and five as task 2, both in English, with ``images/``."""
        names: list[str] = []
        said: list[list[str]] = []
        for scene, name in drawn(scenes_for(rows, 1, seed), folder / "images", "{}.jpg", images, first=1000000000):
            names.append(name)
            said.append(captions(scene)[: len(_PEOPLE)])
        _write_lines(folder / "data/task1/image_splits/train.txt", names)
        _write_lines(folder / "data/task1/raw/train.en", [by_five[0] for by_five in said])
        _write_lines(folder / "data/task2/image_splits/train_images.txt", names)
        for k in _PEOPLE:
            _write_lines(folder / f"data/task2/raw/train.{k}.en", [by_five[k - 1] for by_five in said])
        return keys_for(folder / "data", folder / "images")

    def _tags(self) -> list[str]:
        """How the names of the caption files differ: "en", or "1.en" to "5.en"."""
        if self.task2 is None:
            return [self.language]
        return [f"{k}.{self.language}" for k in (_PEOPLE if self.task2 == "all" else (self.task2,))]

    def _below(self, name: str) -> Path:
        path = home(self.path) / name
        zipped = path.with_name(f"{path.name}.gz")
        if path.is_file() or zipped.is_file():
            return path if path.is_file() else zipped
        fix = "`path` is the folder with task1/ and task2/; fix it, `split` or `language`"
        raise SourceError(str(path), "no such file, nor with .gz", fix)


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
