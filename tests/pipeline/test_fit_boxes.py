"""Boxes against their images: clamped by a pixel, else rejected with a reason each."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.inspecting import IMAGE, look_at, reason
from tests.pipeline.tables import box


@pytest.mark.parametrize("side", range(4))
def test_a_box_may_stick_out_by_a_pixel_and_is_clamped(side: int) -> None:
    inside = [10.0, 10.0, 190.0, 90.0]
    inside[side] = (-0.9, -0.9, 200.9, 100.9)[side]
    (clamped,) = look_at({"r": [tuple(inside)]}).turns["boxes"].to_list()[0]
    edges = [10.0, 10.0, 190.0, 90.0]
    edges[side] = (0.0, 0.0, 200.0, 100.0)[side]
    assert [clamped[corner] for corner in ("x0", "y0", "x1", "y1")] == edges


@pytest.mark.parametrize("side", range(4))
def test_a_box_that_sticks_out_by_more_than_a_pixel_is_rejected(side: int) -> None:
    outside = [10.0, 10.0, 190.0, 90.0]
    outside[side] = (-1.1, -1.1, 201.1, 101.1)[side]
    assert reason(tuple(outside)) == "box_outside_image"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rejected", "why"),
    [
        ((10.0, 10.0, 10.0, 20.0), "box_empty"),
        ((10.0, 20.0, 30.0, 20.0), "box_empty"),
        ((30.0, 10.0, 10.0, 20.0), "box_corners_swapped"),
        (box(10.0, 10.0, 20.0, 20.0, image=1), "box_wrong_image"),
        (box(10.0, 10.0, 20.0, 20.0, image=-1), "box_wrong_image"),
        ({**box(10.0, 10.0, 20.0, 20.0), "x1": None}, "no_box"),
    ],
)
def test_what_is_no_box_on_the_image_is_rejected_with_its_own_reason(rejected: Any, why: str) -> None:
    assert reason(rejected) == why
    assert reason((10.0, 10.0, 20.0, 20.0), rejected) == why


def test_fractions_are_of_the_upright_image() -> None:
    (of_turn,) = look_at({"r": [(50.0, 25.0, 100.0, 100.0)]}).turns["fractions"].to_list()
    assert [of_turn[0][corner] for corner in ("x0", "y0", "x1", "y1")] == [0.25, 0.25, 0.5, 1.0]


def test_a_size_that_the_annotation_says_otherwise_is_a_mismatch() -> None:
    fine = (10.0, 10.0, 20.0, 20.0)
    assert reason(fine, sizes=[{"width": 200, "height": 100}]) is None
    assert reason(fine, sizes=[{"width": 100, "height": 200}]) == "image_size_mismatch"


def test_a_box_on_an_image_of_unknown_size_is_rejected() -> None:
    unknown = [{"ref": IMAGE, "width": None, "height": None}]
    assert reason((10.0, 10.0, 20.0, 20.0), facts=unknown) == "image_size_unknown"
