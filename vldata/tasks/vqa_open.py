"""A question about an image, with a short free answer."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from vldata.tasks.base import PolarsType, Task


class VqaOpen(Task):
    r"""A question and its answer; ``answers`` keeps what all annotators said.

    In:  question "What color is the bus?", answer "red", answers ["red", "red", "dark red"]
    Out: user "What color is the bus?\nAnswer the question using a single word or phrase.", assistant "red"
    """

    name: ClassVar[str] = "vqa_open"
    about: ClassVar[str] = "answer a question in a word or a phrase"
    columns: ClassVar[dict[str, PolarsType]] = {
        "question": pl.String,
        "answer": pl.String,
        "answers": pl.List(pl.String),
    }
    optional: ClassVar[frozenset[str]] = frozenset({"answers"})
    texts: ClassVar[tuple[str, ...]] = ("question", "answer")
    answer_column: ClassVar[str | None] = "answer"
