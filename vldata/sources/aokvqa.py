"""A-OKVQA: questions that need knowledge of the world, each with four choices and ten free answers.

https://allenai.org/project/a-okvqa (Apache-2.0; photographs: COCO 2017, their Flickr owners' terms)
Layout: ``path`` is an ``aokvqa_v1p0_<split>.json`` or the folder of them; ``image_root`` holds ``train2017/`` and its
like.
A row: {"split": "train", "image_id": 299207, "question_id": "22MexNkBPpdZGX6sxbxVBH", "question": "What is the man by
the bags awaiting?", "choices": ["skateboarder", "train", "delivery", "cab"], "correct_choice_idx": 3,
"direct_answers": ["ride", "ride", "bus", ...], "difficult_direct_answer": false, "rationales": ["A train would not be
on the street ...", ...]}
Quirks: the test files have neither right choice nor free answers; where ``difficult_direct_answer`` is true, people
did not agree on a free answer.
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import questions
from vldata.sources.base import Source
from vldata.sources.reading.answers import with_answer, without_blank_remarks
from vldata.sources.reading.files import open_json
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.rows import (
    ID,
    TEXT,
    TEXTS,
    WHOLE,
    checked_pattern,
    files_named,
    image_name,
    list_of_rows,
    note,
    one_image,
    typed,
)
from vldata.sources.standins import draw, scenes_for, write_json


class AokVqa(Source):
    """Task ``vqa_mc``: the four choices. Task ``vqa_open``: the free answers. ``row`` is the question's id.

    Args:
        split: Only these rows; the others are filtered as ``other_split``. None takes all.
        image_name: Photograph of a question: ``{id}`` is its image_id, ``{split}`` its split.
        answer: Which of the free answers is learnt: the most frequent one, every one in a turn of its own, or the one
            listed first.
    """

    format: ClassVar[str] = "aokvqa"
    about: ClassVar[str] = "A-OKVQA: four choices and ten free answers"
    licence: ClassVar[str] = "Apache-2.0; photographs under their Flickr owners' terms"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_mc", "vqa_open")
    version: ClassVar[int] = 3

    split: Literal["train", "val", "test"] | None = None
    image_name: Annotated[str, AfterValidator(checked_pattern("id", "split"))] = "{split}2017/{id:012d}.jpg"
    answer: Literal["majority", "all", "first"] = "majority"

    def files(self) -> list[Path]:
        """``path``, or the ``aokvqa_*.json`` below it."""
        return files_named(self.path, "aokvqa_*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every question; one without the answer that ``task`` needs is a ``missing_value``."""
        rows = without_blank_remarks(pl.concat([self._read(path, task) for path in self.files()]))
        if self.split is None:
            return rows.drop("split")
        other = pl.col("split") != self.split
        return note(rows, other, "other_split", pl.format("a row of {}", "split")).drop("split")

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Questions about scenes that have four choices, as ``aokvqa_v1p0_train.json`` and ``train2017/``."""
        every = (
            (scene, k, question)
            for scene in scenes_for(rows, 1, seed)
            for k, question in enumerate(q for q in questions(scene) if len(q.choices) == 4)
        )
        table = []
        for scene, k, question in islice(every, rows):
            row = {
                "split": "train",
                "image_id": scene.number + 1,
                "question_id": f"shapes{scene.number:012d}{k:04d}",
                "question": question.question,
                "choices": question.choices,
                "correct_choice_idx": question.choices.index(question.answer),
                "direct_answers": [question.answer] * 10,
                "difficult_direct_answer": False,
                "rationales": [f"It is {question.answer}."] * 3,
            }
            table.append(row)
            if images and k == 0:
                draw(folder / "train2017", f"{scene.number + 1:012d}.jpg", scene)
        path = folder / "aokvqa_v1p0_train.json"
        write_json(path, table)
        return {"path": str(path.resolve()), "image_root": str(folder.resolve())}

    def _read(self, path: Path, task: str) -> pl.DataFrame:
        fields = {"question_id": ID, "image_id": ID, "split": TEXT, "question": TEXT}
        wanted = {"choices": TEXTS, "correct_choice_idx": WHOLE} if task == "vqa_mc" else {"direct_answers": TEXTS}
        ignored = {"choices", "correct_choice_idx", "direct_answers", "difficult_direct_answer", "rationales"}
        rows = typed(
            list_of_rows(open_json(path), path), {**fields, **wanted}, ignored={*ignored, *self.ignore}, keep=self.keep
        )
        image = image_name(self.image_name, id=pl.col("image_id"), split=pl.col("split"))
        rows = rows.with_columns(row="question_id", images=one_image(image))
        if task == "vqa_mc":
            rows = rows.rename({"correct_choice_idx": "answer"}).with_columns(remark=pl.lit(None, pl.String))
            columns = ("question", "choices", "answer", "split", "problem", "detail", "remark", "row", "images", KEPT)
            return rows.select(columns)
        rows = with_answer(rows.rename({"direct_answers": "answers"}), self.answer, key="row")
        return rows.select(
            "question", "answer", "answers", "split", "problem", "detail", "remark", "row", "images", KEPT
        )
