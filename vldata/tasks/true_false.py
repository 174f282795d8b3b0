"""A statement about an image, true or false."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from vldata.tasks.base import PolarsType, Task
from vldata.tasks.question_form import question_form


class TrueFalse(Task):
    r"""A statement and whether it holds; ``question`` is the same as a yes/no question.

    In:  statement "The cat is on top of the suitcase.", answer True
    Out: user "Is the cat on top of the suitcase?\nAnswer yes or no.", assistant "yes"
    """

    name: ClassVar[str] = "true_false"
    about: ClassVar[str] = "say whether a statement about the image is true"
    columns: ClassVar[dict[str, PolarsType]] = {"statement": pl.String, "answer": pl.Boolean}
    texts: ClassVar[tuple[str, ...]] = ("statement",)
    answer_column: ClassVar[str | None] = "answer"
    version: ClassVar[int] = 2

    def prepare(self, turns: pl.DataFrame, *, seed: int, salt: str) -> pl.DataFrame:
        """Add ``question``."""
        return turns.with_columns(question_form(turns["statement"]).alias("question"))

    @classmethod
    def template_columns(cls) -> frozenset[str]:
        """The declared columns and ``question``."""
        return super().template_columns() | {"question"}
