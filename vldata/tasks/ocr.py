"""The words of an image, read out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import polars as pl
from pydantic import StrictBool

from vldata.codecs.base import Codec
from vldata.schema.turns import BOX
from vldata.tasks.base import PhraseBox, PolarsType, Task, TurnFacts


class Ocr(Task):
    r"""The words or lines of an image in reading order, each a box with the text as its ``phrase``.

    In:  boxes with phrases "STOP", "ALL WAY"
    Out: user "Read the text …", assistant "STOP\nALL WAY"

    Args:
        boxes: Answer with each text's box as well.
    """

    name: ClassVar[str] = "ocr"
    about: ClassVar[str] = "read the text in the image, with or without boxes"
    columns: ClassVar[dict[str, PolarsType]] = {"boxes": pl.List(BOX)}
    needs_box: ClassVar[bool] = True

    boxes: StrictBool = False

    @classmethod
    def rejects(cls) -> dict[str, pl.Expr]:
        """A box without text."""
        text = pl.col("boxes").list.eval(pl.element().struct.field("phrase"))
        blank = text.list.eval(pl.element().str.strip_chars() == "")
        return {
            "missing_value": text.list.eval(pl.element().is_null()).list.any(),
            "empty_text": blank.list.any(),
        }

    def prepare(self, turns: pl.DataFrame, *, seed: int, salt: str) -> pl.DataFrame:
        """Add ``lines``, the texts in reading order."""
        return turns.with_columns(lines=pl.col("boxes").list.eval(pl.element().struct.field("phrase")))

    def write_boxes(
        self, columns: Mapping[str, Sequence[Any]], boxes: Sequence[Sequence[PhraseBox]], codec: Codec
    ) -> dict[str, list[Any]]:
        """Adds ``located``: every text with its box, in the codec's form; null unless the option ``boxes`` is on."""
        written = super().write_boxes(columns, boxes, codec)
        located = [
            [codec.encode_phrase(text or "", [box]) for text, box in row] if self.boxes else None for row in boxes
        ]
        return {**written, "located": located}

    def facts(self, turn: Mapping[str, Any], boxes: Sequence[PhraseBox]) -> TurnFacts:
        """Its phrases are texts in the image, not objects."""
        facts = super().facts(turn, boxes)
        return facts._replace(objects=[], readings=facts.objects)

    @classmethod
    def template_columns(cls) -> frozenset[str]:
        """The declared column, ``bbox``, ``lines`` and ``located``."""
        return super().template_columns() | {"lines", "located"}
