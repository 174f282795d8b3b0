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

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import questions
from vldata.sources.base import Source
from vldata.sources.reading.files import open_json
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.rows import ID, TEXT, checked_pattern, files_named, image_name, one_image, rows_by_id, typed
from vldata.sources.standins import draw, scenes_for, write_json

UNREAD = keys_named("answer fullAnswer isBalanced groups entailed equivalent types annotations semantic semanticStr")
"""What else a question of GQA says, as its authors list it: how it was made from the scene graph."""


class Gqa(Source):
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

    answer: Literal["short", "full"] = "short"
    image_name: Annotated[str, AfterValidator(checked_pattern("id"))] = "{id}.jpg"

    def files(self) -> list[Path]:
        """``path``, or the ``*questions*.json`` below it."""
        return files_named(self.path, "*questions*.json")

    def turns(self, task: str) -> pl.DataFrame:
        """Every question with its answer; those of a test file are ``missing_value``."""
        return pl.concat([self._read(path) for path in self.files()])

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Ten questions a scene, as ``train_balanced_questions.json`` and ``images/``."""
        by_key: dict[str, dict[str, Any]] = {}
        for scene in scenes_for(rows, 10, seed):
            image_id = str(2_300_001 + scene.number)
            for k, question in enumerate(questions(scene)[:10]):
                by_key[f"{scene.number:06d}{k:02d}"] = {
                    "imageId": image_id,
                    "question": question.question,
                    "answer": question.answer,
                    "fullAnswer": f"The answer is {question.answer}.",
                    "isBalanced": True,
                    "types": {"semantic": question.kind},
                }
            if images:
                draw(folder / "images", f"{image_id}.jpg", scene)
        path = folder / "train_balanced_questions.json"
        write_json(path, by_key)
        return {"path": str(path.resolve()), "image_root": str((folder / "images").resolve())}

    def _read(self, path: Path) -> pl.DataFrame:
        ids, questions = rows_by_id(open_json(path), path)
        answer = "answer" if self.answer == "short" else "fullAnswer"
        rows = typed(
            questions, {"imageId": ID, "question": TEXT, answer: TEXT}, ignored={*UNREAD, *self.ignore}, keep=self.keep
        )
        return rows.select(
            ids,
            KEPT,
            question="question",
            answer=answer,
            images=one_image(image_name(self.image_name, id=pl.col("imageId"))),
            problem="problem",
            detail="detail",
        )
