"""Conversations about images: each exchange is a turn, and a conversation is a thread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import polars as pl

from vldata.codecs.base import Codec
from vldata.prompts.places import BOX_MARK
from vldata.schema.boxes import Box
from vldata.schema.turns import BOX
from vldata.tasks.base import PhraseBox, PolarsType, Task

_PLACES = re.compile(f"(?:{BOX_MARK})+")


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
    extras: ClassVar[dict[str, PolarsType]] = {"boxes": pl.List(BOX), "box_unit": pl.String}
    texts: ClassVar[tuple[str, ...]] = ("instruction", "response")
    places: ClassVar[tuple[str, ...]] = ("instruction",)
    answer_column: ClassVar[str | None] = "response"
    group_by: ClassVar[Literal["image", "thread"]] = "thread"

    def write_boxes(
        self, columns: Mapping[str, Sequence[Any]], boxes: Sequence[Sequence[PhraseBox]], codec: Codec
    ) -> dict[str, list[Any]]:
        """The question and the answer with a box at each place of one; places side by side are one list of boxes."""
        exchanges = zip(columns["instruction"], columns["response"], boxes, strict=True)
        written = [_written(question, answer, [box for _, box in row], codec) for question, answer, row in exchanges]
        return {name: [pair[k] for pair in written] for k, name in enumerate(("instruction", "response"))}


def _written(question: str, answer: str, boxes: Sequence[Box], codec: Codec) -> list[str]:
    """Both texts, their places filled in order where there are boxes."""
    left = list(boxes)

    def here(places: re.Match[str]) -> str:
        num = len(places[0]) // len(BOX_MARK)
        own, left[:num] = left[:num], []
        return codec.encode(own)

    return [_PLACES.sub(here, text) if boxes else text for text in (question, answer)]
