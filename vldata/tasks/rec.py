"""Referring expression comprehension: from a phrase to the box it means."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from vldata.schema.turns import BOX
from vldata.tasks.base import PolarsType, Task


class Rec(Task):
    """A phrase, answered with the box (or boxes) of what it refers to.

    In:  phrase "the man on the left", boxes [12, 40, 220, 460] px
    Out: user "Give the bounding box of … the man on the left", assistant "[0.02, 0.08, 0.34, 0.96]"
    """

    name: ClassVar[str] = "rec"
    about: ClassVar[str] = "find what a phrase refers to, answer with its box"
    columns: ClassVar[dict[str, PolarsType]] = {"phrase": pl.String, "boxes": pl.List(BOX)}
    texts: ClassVar[tuple[str, ...]] = ("phrase",)
    answer_column: ClassVar[str | None] = "boxes"
    needs_box: ClassVar[bool] = True
    asks_where: ClassVar[Literal["never", "flipped", "always"]] = "always"
