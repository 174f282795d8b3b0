"""ChartQA: 32,700 questions about charts, written by people ("human") or by a model from summaries ("augmented").

https://github.com/vis-nlp/ChartQA (GPL-3.0)
Layout: ``path`` is a ``<split>_<human|augmented>.json`` or a folder of them; the charts lie in ``png/`` beside each
file, and ``image_root`` is the folder that ``path`` names (of a file, the one it lies in; of a glob, the part before
its first wildcard).
A file is a list of rows: {"imgname": "two_col_100060.png", "query": "What was the export value of microwave ranges
and ovens in 2010?", "label": "23.68"}
Quirks: answers are text, numbers too, and a few are lists written as text ("[0.57, 0.43]"); there is no id, so a row
is known by its contents; most charts are RGBA.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import polars as pl

from vldata.paths import home
from vldata.shapes.language import questions
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.inline_images import path_or_text
from vldata.sources.reading.native_types import TEXT, NativeType
from vldata.sources.reading.open import folder_of
from vldata.sources.reading.rows import one_image, turns_of
from vldata.sources.standins import drawn, keys_for, scenes_for, write_json


class ChartQa(NativeRows):
    """One turn a question."""

    format: ClassVar[str] = "chartqa"
    about: ClassVar[str] = "ChartQA: questions about charts (<split>_human.json, <split>_augmented.json)"
    licence: ClassVar[str] = "GPL-3.0"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_open",)
    version: ClassVar[int] = 2

    names: ClassVar[tuple[str, ...]] = ("train_*.json", "val_*.json", "test_*.json")  # annotations/ holds other things
    native: ClassVar[Mapping[str, NativeType]] = {
        "imgname": TEXT.to("images"),
        "query": TEXT.to("question"),
        "label": TEXT.to("answer"),
    }

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every question with its answer as written."""
        named = home(self.path)
        root = named if named.is_dir() else path.parent if named.is_file() else folder_of(self.path)
        beside = (path.parent.relative_to(root) / "png").as_posix()
        images = one_image(path_or_text(pl.col("imgname"), pl.lit(f"{beside}/") + pl.col("imgname")))
        return turns_of(rows, question=pl.col("query"), answer=pl.col("label"), images=images)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Ten questions a scene, shared by ``train_human.json`` and ``train_augmented.json``, and ``train/png/``."""
        human: list[dict[str, str]] = []
        augmented: list[dict[str, str]] = []
        for scene, name in drawn(scenes_for(rows, 10, seed), folder / "train" / "png", "{:05d}.png", images):
            pairs = [{"imgname": name, "query": q.question, "label": q.answer} for q in questions(scene)[:10]]
            human += pairs[::2]
            augmented += pairs[1::2]
        write_json(folder / "train" / "train_human.json", human)
        write_json(folder / "train" / "train_augmented.json", augmented)
        return keys_for(folder, folder)
