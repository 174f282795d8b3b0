"""A caption whose phrases carry the boxes of what they name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import polars as pl

from vldata.codecs.base import Codec
from vldata.schema.boxes import Box
from vldata.schema.turns import BOX
from vldata.tasks.base import PhraseBox, PolarsType, Task


class GroundedCaption(Task):
    """A caption, and boxes whose ``phrase`` occurs in it; several boxes may share a phrase.

    In:  caption "two dogs on a sofa", boxes: two with phrase "two dogs", one with "a sofa"
    Out: user "Describe the image, and mark …", assistant "two dogs [0.10, …] [0.52, …] on a sofa [0.00, …]"
    """

    name: ClassVar[str] = "grounded_caption"
    about: ClassVar[str] = "describe the image and give the boxes of what the description names"
    columns: ClassVar[dict[str, PolarsType]] = {"caption": pl.String, "boxes": pl.List(BOX)}
    texts: ClassVar[tuple[str, ...]] = ("caption",)
    answer_column: ClassVar[str | None] = "caption"
    needs_box: ClassVar[bool] = True

    @classmethod
    def rejects(cls) -> dict[str, pl.Expr]:
        """A box without a phrase, and a phrase that the caption does not have."""
        phrases = pl.col("boxes").list.eval(pl.element().struct.field("phrase"))
        blank = phrases.list.eval(pl.element().str.strip_chars() == "")
        said = pl.col("caption").str.extract_many(phrases.list.drop_nulls(), overlapping=True)
        return {
            "missing_value": phrases.list.eval(pl.element().is_null()).list.any(),
            "empty_text": blank.list.any(),
            "phrase_not_in_caption": phrases.list.drop_nulls().list.set_difference(said).list.len() > 0,
        }

    def write_boxes(
        self, columns: Mapping[str, Sequence[Any]], boxes: Sequence[Sequence[PhraseBox]], codec: Codec
    ) -> dict[str, list[Any]]:
        """Adds ``grounded``: the caption with every phrase in the codec's form; null where phrases overlap."""
        written = super().write_boxes(columns, boxes, codec)
        rows = zip(columns["caption"], boxes, strict=True)
        return {**written, "grounded": [ground(caption, row, codec) for caption, row in rows]}

    @classmethod
    def template_columns(cls) -> frozenset[str]:
        """The declared columns, ``bbox`` and ``grounded``."""
        return super().template_columns() | {"grounded"}


def ground(caption: str, boxes: Sequence[PhraseBox], codec: Codec) -> str | None:
    """The caption with each phrase, once, in the codec's form with all its boxes.

    A phrase is put where it first stands as whole words, else where its letters first stand. Longer phrases take
    their place first.

    Returns:
        None when a phrase has no place of its own: it is not there, or only inside another one's place.
    """
    grouped: dict[str, list[Box]] = {}
    for phrase, box in boxes:
        grouped.setdefault(phrase or "", []).append(box)
    places: list[tuple[int, int, str]] = []
    for phrase in sorted(grouped, key=len, reverse=True):
        place = _place(caption, phrase, places)
        if place is None:
            return None
        places.append((place, place + len(phrase), phrase))
    pieces, done = [], 0
    for start, end, phrase in sorted(places):
        pieces += [caption[done:start], codec.encode_phrase(phrase, grouped[phrase])]
        done = end
    return "".join([*pieces, caption[done:]])


def _place(caption: str, phrase: str, taken: Sequence[tuple[int, int, str]]) -> int | None:
    if not phrase:
        return None
    for pattern in (rf"(?<!\w){re.escape(phrase)}(?!\w)", re.escape(phrase)):
        for match in re.finditer(pattern, caption):
            if all(match.end() <= start or match.start() >= end for start, end, _ in taken):
                return match.start()
    return None
