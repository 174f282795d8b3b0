"""Honeybee's decimals, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.honeybee import Honeybee
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_x_stands_before_y_with_three_decimals_and_no_spaces() -> None:
    assert Honeybee().encode([Box(0.1234, 0.4561, 0.7894, 0.9)]) == "[0.123,0.456,0.789,0.900]"


def test_the_same_text_is_read_with_x_before_y() -> None:
    assert Honeybee().decode("[0.123,0.456,0.789,0.900]") == [Box(0.123, 0.456, 0.789, 0.9)]


def test_several_boxes_stand_one_after_another() -> None:
    text = "[0.100,0.200,0.300,0.400] [0.500,0.600,0.700,0.800]"
    assert Honeybee().encode([Box(0.1, 0.2, 0.3, 0.4), Box(0.5, 0.6, 0.7, 0.8)]) == text
    assert Honeybee().decode(text) == [Box(0.1, 0.2, 0.3, 0.4), Box(0.5, 0.6, 0.7, 0.8)]


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_whole_thousandths_come_back_unchanged(a: int, b: int, c: int, d: int) -> None:
    box = Box(min(a, b) / 1000, min(c, d) / 1000, max(a, b) / 1000, max(c, d) / 1000)
    assert Honeybee().decode(Honeybee().encode([box])) == [box]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[0.1,0.2,0.3]", "not four decimals"),
        ("[0.1,0.2,0.3,0.4,0.5]", "not four decimals"),
        ("[0.1,0.2,0.3,.]", "not four decimals"),
        ("[0.1,0.2,0.3,1.4]", "outside the image"),
        ("[0.1,0.2,0.3,-0.4]", "not four decimals"),
        ("[0.3,0.2,0.1,0.4]", "not the upper left"),
        ("[588,499,725,789]", "outside the image"),
        ("[0.1,0.2,0.3,0.4;0.5,0.6,0.7,0.8]", "not four decimals"),
    ],
)
def test_a_malformed_box_is_refused(text: str, problem: str) -> None:
    with pytest.raises(CodecError, match=problem):
        Honeybee().decode(f"it is {text}.")


def test_an_error_does_not_repeat_a_whole_page() -> None:
    with pytest.raises(CodecError) as caught:
        Honeybee().decode("word " * 1000)
    assert len(str(caught.value)) < 500
