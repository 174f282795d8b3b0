"""ScreenAI's integers, to the letter, and the published screens."""

from __future__ import annotations

import csv
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.screenai import ScreenAi
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_both_x_stand_before_both_y() -> None:
    box = Box(0, 31 / 999, 1, 109 / 999)
    assert ScreenAi().encode_phrase("TOOLBAR", [box]) == "TOOLBAR 0 999 31 109"
    assert ScreenAi().decode("TOOLBAR 0 999 31 109") == [box]


def test_children_and_numbers_in_texts_do_not_confuse_it() -> None:
    text = "LIST 0 999 0 500 (TEXT 12 171 352 54 84, BUTTON Save (2) 60 287 108 165)"
    assert ScreenAi().decode(text) == [
        Box(0, 0, 1, 500 / 999),
        Box(171 / 999, 54 / 999, 352 / 999, 84 / 999),
        Box(60 / 999, 108 / 999, 287 / 999, 165 / 999),
    ]


@given(st.integers(0, 999))
def test_every_number_comes_back_as_it_is(n: int) -> None:
    assert ScreenAi().encode(ScreenAi().decode(f"0 {n} 0 999")) == f"0 {n} 0 999"


def test_the_published_screens_are_read_but_for_the_one_with_boxes_the_wrong_way_round(shared_data: Path) -> None:
    with (shared_data / "screen_annotation" / "valid_part1.csv").open(encoding="utf-8", newline="") as lines:
        screens = [row["screen_annotation"] for row in csv.DictReader(lines)]
    read, refused = 0, []
    for screen in screens:
        try:
            read += len(ScreenAi().decode(screen))
        except CodecError as error:
            refused.append(error.problem)
    assert len(refused) == 1
    assert refused[0].endswith("is not the upper left one")
    assert read == 39_529
