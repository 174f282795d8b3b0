"""ScienceQA: 21,208 school questions with two to five choices; half of them have an image.

https://scienceqa.github.io (CC BY-NC-SA 4.0)
Layout: ``path`` is ``problems.json``; ``image_root`` is the folder with ``train/``, ``val/`` and ``test/``, below
which a problem's image is ``<split>/<id>/image.png``. The file is an object of problems: "1": {"question": "Which
of these states is farthest north?", "choices": ["West Virginia", "Louisiana", "Arizona", "Oklahoma"], "answer": 0,
"hint": "", "image": "image.png", "split": "train", "task": "closed choice", "grade": "grade2", "subject": "social
science", "topic": "geography", "category": "Geography", "skill": "Read a map: cardinal directions", "lecture": "To
determine ...", "solution": "..."}
Quirks: ``image`` is null (or empty) where there is none; ``hint`` is what the question presupposes and often empty;
``pid_splits.json`` beside it names further splits (trainval, minitrain ...), the ids of which need not all be in a
trimmed ``problems.json``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import StrictBool

from vldata.errors import SourceError, nearest
from vldata.paths import packed_or_not
from vldata.shapes.language import captions, questions
from vldata.sources.base import Keys
from vldata.sources.native_rows import BY_KEY, NativeRows
from vldata.sources.reading.files import expand, read_json
from vldata.sources.reading.inline_images import path_or_text
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import TEXT, TEXTS, WHOLE, NativeType
from vldata.sources.reading.rows import note, one_image, turns_of
from vldata.sources.standins import draw, scenes_for, write_json, written

OWN_SPLITS = ("train", "val", "test")


class ScienceQa(NativeRows):
    """One turn a problem; ``row`` is its id, ``context`` its hint, and text-only problems have no image.

    Args:
        text_only: Problems without an image are questions in text alone; false filters them as ``not_for_task``.
        split: Only these problems; the others are filtered as ``other_split``. None takes all. The problems' own
            splits are train, val and test; any other is looked up in ``pid_splits.json`` beside ``path``.
    """

    format: ClassVar[str] = "scienceqa"
    about: ClassVar[str] = "ScienceQA: school questions with choices, with and without images (problems.json)"
    licence: ClassVar[str] = "CC BY-NC-SA 4.0"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_mc",)
    version: ClassVar[int] = 2
    has_text_rows: ClassVar[bool] = True

    names: ClassVar[tuple[str, ...]] = ("problems*.json",)
    rows_at: ClassVar[str] = BY_KEY
    key_feeds: ClassVar[tuple[str, ...]] = ("row", "images")
    native: ClassVar[Mapping[str, NativeType]] = {
        "question": TEXT,
        "choices": TEXTS,
        "answer": WHOLE,
        "hint": TEXT.to("context"),
        "image": TEXT.to("images"),
        "split": TEXT.to("images"),
    }
    optional: ClassVar[Collection[str]] = ("hint", "image")
    unread: ClassVar[Collection[str]] = keys_named("task grade subject topic category skill lecture solution")

    text_only: StrictBool = True
    split: str | None = None

    def files(self) -> list[Path]:
        """The problems, and the ``pid_splits.json`` that a split needs."""
        problems = self.row_files()
        if self.split is None or self.split in OWN_SPLITS:
            return problems
        return [*problems, *dict.fromkeys(_splits_beside(self.split, path) for path in problems)]

    def row_files(self) -> list[Path]:
        """``path``, or the ``problems*.json`` below it."""
        return expand(self.path, suffixes=(".json",), names=self.names)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Three questions a scene and one about numbers only, as ``problems.json`` and ``train/<id>/image.png``.

        A problem has an image file of its own, as in the corpus; the problems of a scene share its bytes.
        """
        problems: dict[str, dict[str, Any]] = {}
        for scene in scenes_for(rows, 4, seed):
            visual = [(q.question, q.choices, q.answer) for q in questions(scene)[:3]]
            for k, (question, choices, answer) in enumerate([*visual, _about_numbers(scene.number)]):
                pid = str(4 * scene.number + k + 1)
                problems[pid] = {
                    "question": question,
                    "choices": choices,
                    "answer": choices.index(answer),
                    "hint": captions(scene)[1] if k == 1 else "",
                    "image": "image.png" if k < 3 else None,
                    "task": "closed choice",
                    "grade": "grade1",
                    "subject": "natural science",
                    "topic": "shapes" if k < 3 else "numbers",
                    "lecture": "",
                    "solution": f"The answer is {answer}.",
                    "split": "train",
                }
                if images and k < 3:
                    draw(folder / "train" / pid, "image.png", scene)
        splits = {"train": [*problems], "val": [], "test": [], "minitrain": [*problems][::10]}
        write_json(folder / "pid_splits.json", splits)
        return written(folder / "problems.json", problems, folder)

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """The problems of one file."""
        rows = rows.with_columns(pl.col("hint", "image").replace("", None))
        if self.split is not None:
            is_own = pl.col("split").eq_missing(pl.lit(self.split))
            is_in_split = is_own if self.split in OWN_SPLITS else pl.col("row").is_in(_ids_in(self.split, path))
            own = pl.format("a problem of {}", pl.col("split").fill_null("no split"))
            rows = note(rows, ~is_in_split, "other_split", own)
        if not self.text_only:
            rows = note(rows, pl.col("image").is_null(), "not_for_task", pl.lit("it has no image"))
        images = one_image(path_or_text(pl.col("image"), pl.concat_str("split", "row", "image", separator="/")))
        return turns_of(rows, "row", "question", "choices", "answer", context=pl.col("hint"), images=images)


def _ids_in(split: str, path: Path) -> list[str]:
    listed = _splits_beside(split, path)
    splits = read_json(listed)
    if not isinstance(splits, dict) or not isinstance(splits.get(split), list):
        names = splits if isinstance(splits, dict) else OWN_SPLITS
        raise SourceError(str(listed), f"no split named {split!r}", nearest(split, {*names, *OWN_SPLITS}))
    return [str(pid) for pid in splits[split]]


def _splits_beside(split: str, path: Path) -> Path:
    beside = packed_or_not(path.with_name("pid_splits.json"))
    if not beside.is_file():
        fix = f"put pid_splits.json there, or use one of: {', '.join(OWN_SPLITS)}"
        raise SourceError(str(path), f"the split {split!r} needs a pid_splits.json beside it", fix)
    return beside


def _about_numbers(number: int) -> tuple[str, tuple[str, ...], str]:
    start = 10 + number * 7 % 83
    listed = tuple(str(start + step) for step in ((0, 5, 2), (3, 0, 9), (8, 1, 4))[number % 3])
    return f"Which number is largest? {', '.join(listed)}", listed, max(listed, key=int)
