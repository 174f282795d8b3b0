"""Grounded captions: each phrase gets its boxes, at its own place in the caption."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest

from vldata.codecs.base import Codec
from vldata.schema.boxes import Box
from vldata.schema.turns import BOX
from vldata.tasks.grounded_caption import GroundedCaption, ground

LEFT, RIGHT = Box(0, 0, 0.5, 1), Box(0.5, 0, 1, 1)


class Corners(Codec):
    name = "corners"

    def encode(self, boxes: Sequence[Box]) -> str:
        return "".join(f"<{box.x0}>" for box in boxes)

    def encode_phrase(self, phrase: str, boxes: Sequence[Box]) -> str:
        return f"[{phrase}]{self.encode(boxes)}"


def box(phrase: str | None) -> dict[str, object]:
    return {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 9.0, "image": 0, "phrase": phrase}


def rejected(caption: str, phrases: list[str | None]) -> dict[str, bool | None]:
    table = pl.DataFrame(
        {"caption": [caption], "boxes": [[box(phrase) for phrase in phrases]]},
        schema={"caption": pl.String, "boxes": pl.List(BOX)},
    )
    return table.select(**GroundedCaption.rejects()).row(0, named=True)


@pytest.mark.parametrize(
    ("caption", "boxes", "written"),
    [
        ("a dog on a sofa", [("a sofa", LEFT), ("a dog", RIGHT)], "[a dog]<0.5> on [a sofa]<0>"),
        ("two dogs", [("two dogs", LEFT), ("two dogs", RIGHT)], "[two dogs]<0><0.5>"),
        ("a caterpillar and a cat", [("cat", LEFT)], "a caterpillar and a [cat]<0>"),
        ("redcurrants", [("red", LEFT)], "[red]<0>currants"),
        ("a red dog and a dog", [("dog", LEFT), ("red dog", RIGHT)], "a [red dog]<0.5> and a [dog]<0>"),
        ("it costs $5 (about)", [("$5 (about)", LEFT)], "it costs [$5 (about)]<0>"),
        ("nothing here", [], "nothing here"),
        ("a dog", [("a cat", LEFT)], None),
        ("a red dog", [("red dog", LEFT), ("dog", RIGHT)], None),
        ("a dog", [(None, LEFT)], None),
    ],
)
def test_phrases_get_their_boxes(caption: str, boxes: list[tuple[str | None, Box]], written: str | None) -> None:
    assert ground(caption, boxes, Corners()) == written


def test_the_template_is_given_the_caption_and_all_boxes() -> None:
    rows = [[("a dog", LEFT), ("a cat", RIGHT)], []]
    columns = {"caption": ["a dog and a cat", "fog"]}
    assert GroundedCaption().write_boxes(columns, rows, Corners()) == {
        "bbox": ["<0><0.5>", ""],
        "grounded": ["[a dog]<0> and [a cat]<0.5>", "fog"],
    }


def test_a_phrase_that_the_caption_lacks_is_rejected() -> None:
    assert rejected("two dogs run", ["two dogs", "dogs run", "run"])["phrase_not_in_caption"] is False
    assert rejected("two dogs run", ["two dogs", "three dogs"])["phrase_not_in_caption"] is True


def test_a_box_without_a_phrase_is_rejected() -> None:
    assert rejected("two dogs run", ["two dogs", None])["missing_value"] is True
    assert rejected("two dogs run", ["two dogs", " "])["empty_text"] is True
