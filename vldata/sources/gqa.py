"""GQA: questions made from scene graphs, about 113,000 photographs of Visual Genome.

https://cs.stanford.edu/people/dorarad/gqa (CC BY 4.0)
Layout: ``path`` is a ``*questions*.json`` or a folder of them (``train_all_questions/`` has ten); ``image_root`` is
``images/``.
A file is an object of questions: "02930152": {"imageId": "2354786", "question": "Is the sky dark?", "answer": "yes",
"fullAnswer": "Yes, the sky is dark.", "isBalanced": true, "groups": {...}, "types": {...}, "semantic": [...]}
Quirks: the balanced files (943,000 training questions) are a choice out of the "all" ones (14 million); many
questions of an image have the same answer, "yes" above all (see `dedup.by: answer`); the test files have no answers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import questions
from vldata.sources.base import Keys
from vldata.sources.native_rows import BY_KEY, NativeRows
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import ID, TEXT, NativeType
from vldata.sources.reading.rows import one_image, turns_of
from vldata.sources.standins import drawn, scenes_for, written

UNREAD = keys_named("answer fullAnswer isBalanced groups entailed equivalent types annotations semantic semanticStr")
"""What else a question of GQA says, as its authors list it: how it was made from the scene graph."""


class Gqa(NativeRows):
    """One turn a question; ``row`` is the question's key.

    Args:
        answer: The word or phrase, or the whole sentence (``fullAnswer``).
        image_name: Photograph of a question: ``{id}`` is its imageId.
    """

    format: ClassVar[str] = "gqa"
    about: ClassVar[str] = "GQA: questions from scene graphs (*_questions.json)"
    licence: ClassVar[str] = "CC BY 4.0"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_open",)
    version: ClassVar[int] = 2

    names: ClassVar[tuple[str, ...]] = ("*questions*.json",)
    rows_at: ClassVar[str] = BY_KEY
    unread: ClassVar[Collection[str]] = UNREAD

    answer: Literal["short", "full"] = "short"
    image_name: Annotated[str, AfterValidator(checked_pattern("id"))] = "{id}.jpg"

    def fields_for(self, task: str) -> Mapping[str, NativeType]:
        """The short answer or the full one."""
        answer = "answer" if self.answer == "short" else "fullAnswer"
        return {"imageId": ID.to("images"), "question": TEXT, answer: TEXT.to("answer")}

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every question with its answer; those of a test file are ``missing_value``."""
        answer = pl.col("answer" if self.answer == "short" else "fullAnswer")
        images = one_image(image_name(self.image_name, id=pl.col("imageId")))
        return turns_of(rows, "row", "question", answer=answer, images=images)

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Ten questions a scene, as ``train_balanced_questions.json`` and ``images/``."""
        by_key: dict[str, dict[str, Any]] = {}
        for scene, image in drawn(scenes_for(rows, 10, seed), folder / "images", "{}.jpg", images, first=2_300_001):
            for k, question in enumerate(questions(scene)[:10]):
                by_key[f"{scene.number:06d}{k:02d}"] = {
                    "imageId": Path(image).stem,
                    "question": question.question,
                    "answer": question.answer,
                    "fullAnswer": f"The answer is {question.answer}.",
                    "isBalanced": True,
                    "types": {"semantic": question.kind},
                }
        return written(folder / "train_balanced_questions.json", by_key, folder / "images")
