"""Qwen-VL's corners, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.qwen_vl import QwenVl
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_x_stands_before_y_in_each_corner() -> None:
    box = Box(588 / 999, 499 / 999, 725 / 999, 789 / 999)
    assert QwenVl().encode([box]) == "<box>(588,499),(725,789)</box>"
    assert QwenVl().decode("<ref>格子衬衫</ref><box>(588,499),(725,789)</box>") == [box]


def test_the_whole_image_runs_from_0_to_999() -> None:
    assert QwenVl().encode([Box(0, 0, 1, 1)]) == "<box>(0,0),(999,999)</box>"


def test_one_phrase_stands_before_all_its_boxes() -> None:
    text = QwenVl().encode_phrase("dogs", [Box(0, 0, 1, 1), Box(0, 0, 1, 1)])
    assert text == "<ref>dogs</ref><box>(0,0),(999,999)</box><box>(0,0),(999,999)</box>"


@given(st.integers(0, 999))
def test_every_number_comes_back_as_it_is(n: int) -> None:
    text = f"<box>(0,{n}),(999,999)</box>"
    assert QwenVl().encode(QwenVl().decode(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "<box>(1,2),(3,4)</box><box>(1,2),(3)</box>",
        "<box>(1,2),(3,4)",
        "<box>(1,2),(3,1000)</box>",
        "<box>(9,2),(3,4)</box>",
    ],
)
def test_a_malformed_box_is_refused_even_beside_a_good_one(text: str) -> None:
    with pytest.raises(CodecError):
        QwenVl().decode(text)
