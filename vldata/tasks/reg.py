"""Referring expression generation: from a box to a phrase for it."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from vldata.schema.turns import BOX
from vldata.tasks.base import PolarsType, Task


class Reg(Task):
    """A box (or boxes), answered with a phrase that refers to it.

    In:  phrase "the man on the left", boxes [12, 40, 220, 460] px
    Out: user "Describe the region … [0.02, 0.08, 0.34, 0.96]", assistant "the man on the left"
    """

    name: ClassVar[str] = "reg"
    about: ClassVar[str] = "describe the region inside a box"
    columns: ClassVar[dict[str, PolarsType]] = {"phrase": pl.String, "boxes": pl.List(BOX)}
    texts: ClassVar[tuple[str, ...]] = ("phrase",)
    answer_column: ClassVar[str | None] = "phrase"
    needs_box: ClassVar[bool] = True
    asks_where: ClassVar[Literal["never", "flipped", "always"]] = "flipped"
