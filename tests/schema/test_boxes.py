"""Boxes on the square that an image is padded to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vldata.schema.boxes import Box, padded_square

_side = st.integers(1, 5000)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    y0, y1 = sorted((draw(st.floats(0, 1)), draw(st.floats(0, 1))))
    return Box(x0, y0, x1, y1)


def test_a_wide_image_is_padded_above_and_below() -> None:
    assert padded_square(Box(0.25, 0, 0.75, 1), 200, 100) == Box(0.25, 0.25, 0.75, 0.75)


def test_a_tall_image_is_padded_left_and_right() -> None:
    assert padded_square(Box(0, 0.25, 1, 0.75), 100, 200) == Box(0.25, 0.25, 0.75, 0.75)


def test_an_odd_difference_leaves_the_larger_margin_below() -> None:
    assert padded_square(Box(0, 0, 1, 1), 4, 1) == Box(0, 0.25, 1, 0.5)


@given(boxes(), _side)
def test_a_box_of_a_square_image_stays_where_it_is(box: Box, side: int) -> None:
    moved = padded_square(box, side, side)
    assert all(abs(a - b) < 1e-9 for a, b in zip(box, moved, strict=True))


@given(boxes(), _side, _side)
def test_a_box_keeps_its_size_in_pixels_and_stays_inside_the_square(box: Box, width: int, height: int) -> None:
    moved, side = padded_square(box, width, height), max(width, height)
    assert abs((moved.x1 - moved.x0) * side - (box.x1 - box.x0) * width) < 1e-6
    assert abs((moved.y1 - moved.y0) * side - (box.y1 - box.y0) * height) < 1e-6
    assert all(-1e-9 <= c <= 1 + 1e-9 for c in moved)


@given(boxes(), _side, _side)
def test_turning_image_and_box_on_their_side_turns_the_result(box: Box, width: int, height: int) -> None:
    moved = padded_square(box, width, height)
    turned = padded_square(Box(box.y0, box.x0, box.y1, box.x1), height, width)
    assert turned == Box(moved.y0, moved.x0, moved.y1, moved.x1)


@given(_side, _side)
def test_the_margins_differ_by_one_pixel_at_most(width: int, height: int) -> None:
    moved, side = padded_square(Box(0, 0, 1, 1), width, height), max(width, height)
    assert 0 <= round((1 - moved.x1) * side) - round(moved.x0 * side) <= 1
    assert 0 <= round((1 - moved.y1) * side) - round(moved.y0 * side) <= 1
