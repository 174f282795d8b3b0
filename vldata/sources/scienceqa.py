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
from vldata.shapes.language import captions, questions
from vldata.sources.base import Keys
from vldata.sources.native_rows import BY_KEY, NativeRows
from vldata.sources.reading.files import expand, read_json
from vldata.sources.reading.inline_images import path_or_text
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.rows import TEXT, TEXTS, WHOLE, NativeType, note, one_image, turns_of
from vldata.sources.standins import draw, keys_for, scenes_for, write_json

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
        """``path``, and the ``pid_splits.json`` that a split needs."""
        problems = self._problems()
        return [*problems, *({self._splits_beside(path): None for path in problems} if self._is_listed else ())]

    def _problems(self) -> list[Path]:
        return expand(self.path, suffixes=(".json",), names=("problems*.json",))

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
        path = folder / "problems.json"
        write_json(path, problems)
        write_json(
            folder / "pid_splits.json", {"train": [*problems], "val": [], "test": [], "minitrain": [*problems][::10]}
        )
        return keys_for(path, folder)

    @property
    def _is_listed(self) -> bool:
        return self.split is not None and self.split not in OWN_SPLITS

    def turns(self, task: str) -> pl.DataFrame:
        """Every problem, each once."""
        return pl.concat([self.of_rows(self.rows_in(path, task), path, task) for path in self._problems()])

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """The problems of one file."""
        rows = rows.with_columns(pl.col("hint", "image").replace("", None))
        if self.split is not None:
            own = pl.format("a problem of {}", pl.col("split").fill_null("no split"))
            rows = note(rows, ~self._is_in_split(path), "other_split", own)
        if not self.text_only:
            rows = note(rows, pl.col("image").is_null(), "not_for_task", pl.lit("it has no image"))
        images = one_image(path_or_text(pl.col("image"), pl.concat_str("split", "row", "image", separator="/")))
        return turns_of(rows, "row", "question", "choices", "answer", context=pl.col("hint"), images=images)

    def _is_in_split(self, path: Path) -> pl.Expr:
        if not self._is_listed:
            return pl.col("split").eq_missing(pl.lit(self.split))
        listed = self._splits_beside(path)
        splits = read_json(listed)
        if not isinstance(splits, dict) or not isinstance(splits.get(self.split), list):
            names = splits if isinstance(splits, dict) else OWN_SPLITS
            raise SourceError(
                str(listed), f"no split named {self.split!r}", nearest(str(self.split), {*names, *OWN_SPLITS})
            )
        return pl.col("row").is_in([str(pid) for pid in splits[self.split]])

    def _splits_beside(self, path: Path) -> Path:
        for name in ("pid_splits.json", "pid_splits.json.gz"):
            if path.with_name(name).is_file():
                return path.with_name(name)
        fix = f"put pid_splits.json there, or use one of: {', '.join(OWN_SPLITS)}"
        raise SourceError(str(path), f"the split {self.split!r} needs a pid_splits.json beside it", fix)


def _about_numbers(number: int) -> tuple[str, tuple[str, ...], str]:
    start = 10 + number * 7 % 83
    listed = tuple(str(start + step) for step in ((0, 5, 2), (3, 0, 9), (8, 1, 4))[number % 3])
    return f"Which number is largest? {', '.join(listed)}", listed, max(listed, key=int)
