"""TextVQA: questions that need reading, about 28,000 photographs of Open Images.

https://textvqa.org (CC BY 4.0)
Layout: ``path`` is a ``TextVQA_0.5.1_<split>.json``, or a folder of them; ``image_root`` is ``train_images/`` (val
too).
Its list ``data`` holds rows such as {"question_id": 34602, "question": "what is the brand of this camera?", "image_id":
"003a8ae2ef43b901", "answers": ["nous les gosses", "dakota", ... ten], "image_width": 1024, "image_height": 664,
"flickr_original_url": "https://farm2.staticflickr.com/...jpg", "set_name": "val", "image_classes": [...],
"question_tokens": [...]}
Quirks: answers are of ten people, lower case, and often all different; "unanswerable" is one of them; the test files
have none.
OpenFlamingo's form is read too: VQAv2's pair of files, questions and annotations (see `vldata.sources.vqa_pairs`). Its
``multiple_choice_answer`` is the answer listed first, in 1,297 of 5,000 rows not the most frequent one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import polars as pl

from vldata.shapes.language import questions, words
from vldata.sources.base import Keys
from vldata.sources.reading.answers import with_answer
from vldata.sources.reading.image_names import image_name
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import ID, SIDE, TEXT, TEXTS
from vldata.sources.reading.rows import image_sizes, one_image, rows_under, turns_of, typed
from vldata.sources.standins import drawn, scenes_for, written
from vldata.sources.vqa_pairs import ImageName, VqaPairs

UNREAD = keys_named("question_tokens image_classes flickr_300k_url set_name split ocr_tokens")
"""What a question of TextVQA says besides itself, its answers and its photograph."""


class TextVqa(VqaPairs):
    """One turn a question; ``row`` is the question's id.

    Args:
        image_name: Photograph of a question: ``{id}`` is its image_id.
    """

    format: ClassVar[str] = "textvqa"
    about: ClassVar[str] = "TextVQA: questions that need reading, native or as VQAv2's pair of files"
    licence: ClassVar[str] = "CC BY 4.0"

    names: ClassVar[tuple[str, ...]] = ("TextVQA*.json", "*questions*.json")

    image_name: ImageName = "{id}.jpg"

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Questions about scenes, the first about a printed word where there is one, in the native form."""
        table: list[dict[str, Any]] = []
        for scene, name in drawn(scenes_for(rows, 10, seed), folder / "train_images", "{:016x}.jpg", images, first=0):
            pairs = [(q.question, q.answer) for q in questions(scene)[:10]]
            printed = [word.phrase for word in words(scene)]
            if printed:
                pairs[0] = ("what does the text in the picture say?", " ".join(printed).lower())
            for question, answer in pairs:
                row = {
                    "question": question,
                    "image_id": Path(name).stem,
                    "image_classes": ["Shape"],
                    "image_width": scene.width,
                    "image_height": scene.height,
                    "answers": [answer] * 10,
                    "question_id": len(table),
                    "set_name": "train",
                }
                table.append(row)
        document = {"dataset_type": "train", "dataset_name": "textvqa", "data": table}
        return written(folder / "TextVQA_0.5.1_train.json", document, folder / "train_images")

    def _read_alone(self, document: Any, path: Path) -> pl.DataFrame | None:
        if isinstance(document, dict) and "questions" in document:
            return None
        fields = {
            "question_id": ID.to("row"),
            "image_id": ID.to("images"),
            "question": TEXT,
            "answers": TEXTS.to("answer", "answers"),
            "image_width": SIDE.to("image_sizes"),
            "image_height": SIDE.to("image_sizes"),
            "flickr_original_url": TEXT.to("urls"),
        }
        optional = {"image_width", "image_height", "flickr_original_url"}
        ignored = {*UNREAD, *self.ignore}
        rows = typed(rows_under(document, "data", path), fields, optional=optional, ignored=ignored, keep=self.keep)
        split = pl.lit(self._split(document, path))
        return turns_of(
            with_answer(rows, self.answer, key="question_id"),
            "question",
            "answer",
            "answers",
            row="question_id",
            images=one_image(image_name(self.image_name, id=pl.col("image_id"), split=split)),
            image_sizes=image_sizes("image_width", "image_height"),
            urls=one_image(pl.col("flickr_original_url")),
        )
