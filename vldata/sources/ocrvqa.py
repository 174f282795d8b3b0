"""OCR-VQA: a million questions about 207,000 book covers, answered from their titles, authors and genres.

https://ocr-vqa.github.io (no licence stated; the covers are their publishers')
Layout: ``path`` is ``dataset.json``; ``image_root`` is ``images/``, where the authors' loader puts every cover as its
key with the suffix of its URL. The file is an object of books: "761183272": {"imageURL":
"http://ecx.images-amazon.com/images/I/61Y5cOdHJbL.jpg", "questions": ["Who wrote this book?", ...], "answers":
["Sandra Boynton", ...], "title": "Mom's Family Wall Calendar 2016", "authorName": "Sandra Boynton", "genre":
"Calendars", "split": 1}
Quirks: splits are numbers (1 train, 2 val, 3 test); a few covers are gif or png (LLaVA's instructions save all as
``.jpg``: set ``image_name: "{id}.jpg"``); every book asks nearly the same five questions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import questions, words
from vldata.sources.base import Source
from vldata.sources.reading.files import expand, open_json
from vldata.sources.reading.keep import KEPT
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.rows import (
    TEXT,
    TEXTS,
    WHOLE,
    checked_pattern,
    image_name,
    note,
    one_image,
    rows_by_id,
    typed,
)
from vldata.sources.standins import draw, scenes_for, write_json

SPLITS = {"train": 1, "val": 2, "test": 3}


UNREAD = keys_named("title authorName genre")
"""What a book says besides its cover, its questions and answers."""


class OcrVqa(Source):
    """One turn a question; ``row`` is "book's key/place of the question".

    Args:
        split: Only these books; the others are filtered as ``other_split``. None takes all.
        image_name: Cover of a book: ``{id}`` is its key, ``{suffix}`` that of its URL, with the dot.
    """

    format: ClassVar[str] = "ocrvqa"
    about: ClassVar[str] = "OCR-VQA: questions about book covers (dataset.json)"
    licence: ClassVar[str] = "not stated; covers belong to their publishers"
    tasks: ClassVar[tuple[str, ...]] = ("vqa_open",)
    version: ClassVar[int] = 2

    split: Literal["train", "val", "test"] | None = None
    image_name: Annotated[str, AfterValidator(checked_pattern("id", "suffix"))] = "{id}{suffix}"

    def files(self) -> list[Path]:
        """The files that ``path`` names."""
        return expand(self.path, suffixes=(".json",), names=("dataset*.json",))

    def turns(self, task: str) -> pl.DataFrame:
        """Every question with its answer; a book with more of one than of the other is one ``unparsable_row``."""
        return pl.concat([self._read(path) for path in self.files()])

    @classmethod
    def standin(
        cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True
    ) -> dict[str, Any]:
        """Scenes as covers, their printed words as titles, as ``dataset.json`` and ``images/``."""
        books: dict[str, dict[str, Any]] = {}
        for scene in scenes_for(rows, 5, seed):
            title = " ".join(word.phrase for word in words(scene))
            pairs = [(q.question, q.answer) for q in questions(scene)[: 4 if title else 5]]
            if title:
                pairs.insert(0, ("What is the title of this book?", title))
            key = str(100_000_001 + scene.number)
            books[key] = {
                "imageURL": f"http://example.org/covers/{key}.jpg",
                "questions": [question for question, _ in pairs],
                "answers": [answer for _, answer in pairs],
                "title": title,
                "authorName": "",
                "genre": "Shapes",
                "split": 1,
            }
            if images:
                draw(folder / "images", f"{key}.jpg", scene)
        path = folder / "dataset.json"
        write_json(path, books)
        return {"path": str(path.resolve()), "image_root": str((folder / "images").resolve())}

    def _read(self, path: Path) -> pl.DataFrame:
        ids, books = rows_by_id(open_json(path), path)
        fields = {"imageURL": TEXT, "questions": TEXTS, "answers": TEXTS, "split": WHOLE}
        rows = typed(books, fields, optional={"imageURL", "split"}, ignored={*UNREAD, *self.ignore}, keep=self.keep)
        rows = rows.with_columns(ids)
        n_questions, n_answers = pl.col("questions").list.len(), pl.col("answers").list.len()
        counts = pl.format("{} questions, {} answers", n_questions, n_answers)
        rows = note(rows, n_questions != n_answers, "unparsable_row", counts)
        rows = note(rows, n_questions == 0, "missing_value", pl.lit("no question"))
        if self.split is not None:
            other = pl.col("split").ne_missing(SPLITS[self.split])
            rows = note(
                rows,
                other,
                "other_split",
                pl.format("a book of split {}", pl.col("split").cast(pl.String).fill_null("?")),
            )
        whole = (n_questions == n_answers) & (n_questions > 0)
        none = pl.lit(None, pl.List(pl.String))
        rows = rows.with_columns(
            row=pl.when(whole).then(pl.format("{}/", "row")).otherwise("row"),
            place=pl.when(whole).then(pl.int_ranges(n_questions)),
            questions=pl.when(whole).then("questions").otherwise(none),
            answers=pl.when(whole).then("answers").otherwise(none),
        ).explode("place", "questions", "answers")
        suffix = pl.col("imageURL").str.extract(r"(\.[A-Za-z0-9]+)$").fill_null(".jpg")
        book = pl.col("row").str.split("/").list.first()
        return rows.select(
            KEPT,
            row=pl.concat_str("row", pl.col("place").cast(pl.String).fill_null("")),
            question="questions",
            answer="answers",
            images=one_image(image_name(self.image_name, id=book, suffix=suffix)),
            urls=one_image(pl.col("imageURL")),
            problem="problem",
            detail="detail",
        )
