"""Conversations about images: each exchange is a turn, and a conversation is a thread."""

from __future__ import annotations

from typing import ClassVar, Literal

import polars as pl

from vldata.tasks.base import PolarsType, Task


class Instruction(Task):
    """One exchange of a native conversation; ``thread`` and ``position`` keep the exchanges together and in order.

    In:  instruction "What is odd here?", response "A man irons on the roof of a taxi.", system None
    Out: user "What is odd here?", assistant "A man irons on the roof of a taxi."
    """

    name: ClassVar[str] = "instruction"
    about: ClassVar[str] = "converse about the image, as the source has it"
    columns: ClassVar[dict[str, PolarsType]] = {
        "instruction": pl.String,
        "response": pl.String,
        "system": pl.String,
    }
    optional: ClassVar[frozenset[str]] = frozenset({"system"})
    texts: ClassVar[tuple[str, ...]] = ("instruction", "response")
    places: ClassVar[tuple[str, ...]] = ("instruction",)
    answer_column: ClassVar[str | None] = "response"
    group_by: ClassVar[Literal["image", "thread"]] = "thread"
