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

from collections.abc import Collection, Sequence
from glob import has_magic
from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.paths import home
from vldata.shapes.language import questions
from vldata.sources.base import Source
from vldata.sources.reading.files import open_json
from vldata.sources.reading.inline_images import path_or_text
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.rows import TEXT, files_named, list_of_rows, one_image, typed
from vldata.sources.standins import draw, scenes_for, write_json


class ChartQa(Source):
    """One turn a question."""

    format: ClassVar[str] = "chartqa"
    about: ClassVar[str] = "ChartQA: questions about charts (<split>_human.json, <split>_augmented.json)"
    licence: ClassVar[str] = "GPL-3.0"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_open",)
    version: ClassVar[int] = 2

    def files(self) -> list[Path]:
        """``path``, or the files below it that are named after a split; ``annotations/`` holds other things."""
        return files_named(self.path, "train_*.json", "val_*.json", "test_*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every question with its answer as written."""
        root = _root(self.path)
        return pl.concat([_read(path, root, self.ignore, self.keep) for path in self.files()])

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Ten questions a scene, shared by ``train_human.json`` and ``train_augmented.json``, and ``train/png/``."""
        human: list[dict[str, str]] = []
        augmented: list[dict[str, str]] = []
        for scene in scenes_for(rows, 10, seed):
            name = f"{scene.number + 1:05d}.png"
            pairs = [{"imgname": name, "query": q.question, "label": q.answer} for q in questions(scene)[:10]]
            human += pairs[::2]
            augmented += pairs[1::2]
            if images:
                draw(folder / "train" / "png", name, scene)
        write_json(folder / "train" / "train_human.json", human)
        write_json(folder / "train" / "train_augmented.json", augmented)
        return {"path": str(folder.resolve()), "image_root": str(folder.resolve())}


def _read(path: Path, root: Path, ignore: Collection[str], keep: Sequence[str]) -> pl.DataFrame:
    fields = {"imgname": TEXT, "query": TEXT, "label": TEXT}
    rows = typed(list_of_rows(open_json(path), path), fields, ignored=ignore, keep=keep)
    beside = (path.parent.relative_to(root) / "png").as_posix()
    return rows.select(
        KEPT,
        "problem",
        "detail",
        question="query",
        answer="label",
        images=one_image(path_or_text(pl.col("imgname"), pl.lit(f"{beside}/") + pl.col("imgname"))),
    )


def _root(path: str) -> Path:
    """The folder from which charts are named."""
    whole = home(path)
    if whole.is_dir():
        return whole
    if not has_magic(path) or whole.exists():
        return whole.parent
    root = whole
    while has_magic(str(root)):
        root = root.parent
    return root
