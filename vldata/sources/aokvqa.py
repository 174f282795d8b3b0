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

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import Question, questions
from vldata.shapes.scene import Scene
from vldata.sources.base import Keys
from vldata.sources.native_rows import NativeRows
from vldata.sources.reading.answers import with_answer, without_blank_remarks
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import ID, TEXT, TEXTS, WHOLE, NativeType
from vldata.sources.reading.rows import note, one_image, turns_of
from vldata.sources.standins import drawn, scenes_for, written


class AokVqa(NativeRows):
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

    names: ClassVar[tuple[str, ...]] = ("aokvqa_*.json",)
    native: ClassVar[Mapping[str, NativeType]] = {
        "question_id": ID.to("row"),
        "image_id": ID.to("images"),
        "split": TEXT.to("images"),
        "question": TEXT,
    }
    unread: ClassVar[Collection[str]] = keys_named(
        "choices correct_choice_idx direct_answers difficult_direct_answer rationales"
    )

    split: Literal["train", "val", "test"] | None = None
    image_name: Annotated[str, AfterValidator(checked_pattern("id", "split"))] = "{split}2017/{id:012d}.jpg"
    answer: Literal["majority", "all", "first"] = "majority"

    def fields_for(self, task: str) -> Mapping[str, NativeType]:
        """Those of every row, and the answers that the task needs."""
        choices = {"choices": TEXTS, "correct_choice_idx": WHOLE.to("answer")}
        answers = {"direct_answers": TEXTS.to("answer", "answers")}
        return {**self.native, **(choices if task == "vqa_mc" else answers)}

    def turns(self, task: str) -> pl.DataFrame:
        """Every question; one without the answer that ``task`` needs is a ``missing_value``."""
        return without_blank_remarks(super().turns(task))

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """The questions of one file, with their choices or their free answers."""
        if task == "vqa_mc":
            rows = rows.rename({"correct_choice_idx": "answer"}).with_columns(remark=pl.lit(None, pl.String))
        else:
            rows = with_answer(rows.rename({"direct_answers": "answers"}), self.answer, key="question_id")
        if self.split is not None:
            rows = note(rows, pl.col("split") != self.split, "other_split", pl.format("a row of {}", "split"))
        images = one_image(image_name(self.image_name, id=pl.col("image_id"), split=pl.col("split")))
        answers = "choices" if task == "vqa_mc" else "answers"
        return turns_of(rows, "question", "answer", answers, row=pl.col("question_id"), images=images)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Questions about scenes that have four choices, as ``aokvqa_v1p0_train.json`` and ``train2017/``."""
        table = []
        scenes = scenes_for(rows, lambda scene: len(_with_four_choices(scene)), seed)
        for scene, name in drawn(scenes, folder / "train2017", "{:012d}.jpg", images):
            for k, question in enumerate(_with_four_choices(scene)):
                row = {
                    "split": "train",
                    "image_id": int(Path(name).stem),
                    "question_id": f"shapes{scene.number:012d}{k:04d}",
                    "question": question.question,
                    "choices": question.choices,
                    "correct_choice_idx": question.choices.index(question.answer),
                    "direct_answers": [question.answer] * 10,
                    "difficult_direct_answer": False,
                    "rationales": [f"It is {question.answer}."] * 3,
                }
                table.append(row)
        return written(folder / "aokvqa_v1p0_train.json", table[:rows], folder)


def _with_four_choices(scene: Scene) -> list[Question]:
    return [question for question in questions(scene) if len(question.choices) == 4]
