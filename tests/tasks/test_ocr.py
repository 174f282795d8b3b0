"""Reading text: lines in order, with boxes only where the option says so."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from vldata.codecs.base import Codec
from vldata.schema.boxes import Box
from vldata.schema.turns import BOX
from vldata.tasks.ocr import Ocr


class Corner(Codec):
    name = "corner"

    def encode(self, boxes: Sequence[Box]) -> str:
        return "".join(f"<{box.x0}>" for box in boxes)


ROWS = [[("STOP", Box(0, 0, 1, 1)), ("ALL WAY", Box(0.5, 0, 1, 1))]]


def turns(*phrases: str | None) -> pl.DataFrame:
    box = {"x0": 0.0, "y0": 0.0, "x1": 9.0, "y1": 9.0, "image": 0}
    return pl.DataFrame({"boxes": [[{**box, "phrase": phrase} for phrase in phrases]]}, schema={"boxes": pl.List(BOX)})


def test_lines_stand_in_reading_order() -> None:
    assert Ocr().prepare(turns("b", "a"), seed=0, salt="")["lines"].to_list() == [["b", "a"]]


def test_places_are_written_only_with_the_option_boxes() -> None:
    assert Ocr().write_boxes({}, ROWS, Corner()) == {"bbox": ["<0><0.5>"], "located": [None]}
    assert Ocr(boxes=True).write_boxes({}, ROWS, Corner())["located"] == [["STOP <0>", "ALL WAY <0.5>"]]


def test_a_box_without_text_is_rejected() -> None:
    assert turns("a", None).select(**Ocr.rejects()).row(0) == (True, False)
    assert turns("a", " ").select(**Ocr.rejects()).row(0) == (False, True)
    assert turns("a", "b").select(**Ocr.rejects()).row(0) == (False, False)
