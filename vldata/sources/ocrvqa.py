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

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import polars as pl
from pydantic import AfterValidator

from vldata.shapes.language import questions, words
from vldata.sources.base import Keys
from vldata.sources.native_rows import BY_KEY, NativeRows
from vldata.sources.reading.image_names import checked_pattern, image_name
from vldata.sources.reading.keys import keys_named
from vldata.sources.reading.native_types import TEXT, TEXTS, WHOLE, NativeType
from vldata.sources.reading.rows import note, one_image, turns_of
from vldata.sources.standins import drawn, scenes_for, written

SPLITS = {"train": 1, "val": 2, "test": 3}


class OcrVqa(NativeRows):
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

    names: ClassVar[tuple[str, ...]] = ("dataset*.json",)
    rows_at: ClassVar[str] = BY_KEY
    key_feeds: ClassVar[tuple[str, ...]] = ("row", "images")
    native: ClassVar[Mapping[str, NativeType]] = {
        "imageURL": TEXT.to("images", "urls"),
        "questions": TEXTS.to("question"),
        "answers": TEXTS.to("answer"),
        "split": WHOLE.to(),
    }
    optional: ClassVar[Collection[str]] = ("imageURL", "split")
    unread: ClassVar[Collection[str]] = keys_named("title authorName genre")

    split: Literal["train", "val", "test"] | None = None
    image_name: Annotated[str, AfterValidator(checked_pattern("id", "suffix"))] = "{id}{suffix}"

    @classmethod
    def standin(cls, folder: Path, *, rows: int, seed: int, task: str | None = None, images: bool = True) -> Keys:
        """Scenes as covers, their printed words as titles, as ``dataset.json`` and ``images/``."""
        books: dict[str, dict[str, Any]] = {}
        for scene, cover in drawn(scenes_for(rows, 5, seed), folder / "images", "{}.jpg", images, first=100_000_001):
            title = " ".join(word.phrase for word in words(scene))
            printed = [("What is the title of this book?", title)] if title else []
            pairs = [*printed, *((q.question, q.answer) for q in questions(scene))][:5]
            books[Path(cover).stem] = {
                "imageURL": f"http://example.org/covers/{cover}",
                "questions": [question for question, _ in pairs],
                "answers": [answer for _, answer in pairs],
                "title": title,
                "authorName": "",
                "genre": "Shapes",
                "split": 1,
            }
        return written(folder / "dataset.json", books, folder / "images")

    def of_rows(self, rows: pl.DataFrame, path: Path, task: str) -> pl.DataFrame:
        """Every question with its answer; a book with more of one than of the other is one ``unparsable_row``."""
        questions, answers = pl.col("questions").list.len(), pl.col("answers").list.len()
        counts = pl.format("{} questions, {} answers", questions, answers)
        rows = note(rows, questions != answers, "unparsable_row", counts)
        rows = note(rows, questions == 0, "missing_value", pl.lit("no question"))
        if self.split is not None:
            own = pl.format("a book of split {}", pl.col("split").cast(pl.String).fill_null("?"))
            rows = note(rows, pl.col("split").ne_missing(SPLITS[self.split]), "other_split", own)
        each = pl.when((questions == answers) & (questions > 0))
        rows = rows.with_columns(each.then(pl.col("questions", "answers")), place=each.then(pl.int_ranges(questions)))
        suffix = pl.col("imageURL").str.extract(r"(\.[A-Za-z0-9]+)$").fill_null(".jpg")
        book = pl.col("row").str.split("/").list.first()
        return turns_of(
            rows.explode("place", "questions", "answers"),
            row=pl.coalesce(pl.format("{}/{}", "row", "place"), "row"),
            question=pl.col("questions"),
            answer=pl.col("answers"),
            images=one_image(image_name(self.image_name, id=book, suffix=suffix)),
            urls=one_image(pl.col("imageURL")),
        )
