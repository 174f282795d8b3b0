"""An image, described."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from vldata.tasks.base import PolarsType, Task


class Caption(Task):
    """A caption of the whole image.

    In:  caption "A dog runs on the beach."
    Out: user "Describe the image …", assistant "A dog runs on the beach."
    """

    name: ClassVar[str] = "caption"
    about: ClassVar[str] = "describe the image"
    columns: ClassVar[dict[str, PolarsType]] = {"caption": pl.String}
    texts: ClassVar[tuple[str, ...]] = ("caption",)
    answer_column: ClassVar[str | None] = "caption"
