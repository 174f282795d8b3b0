"""Which boxes are drawn on which image of a sample, and how they are numbered."""

from __future__ import annotations

from typing import Any

from vldata.report.boxes_on_images import ImageBox, SampleImage, boxes_by_image, stage_px


def box(image: int | None, x0: float, y0: float, x1: float, y1: float, phrase: str | None = None) -> dict[str, Any]:
    return {"image": image, "x0": x0, "y0": y0, "x1": x1, "y1": y1, "phrase": phrase}


def test_boxes_go_to_their_image_and_are_numbered_through_all() -> None:
    turns = [
        {"boxes": [box(1, 5, 6, 15, 26, "a dog"), box(None, 1, 2, 4, 8, "a cat")]},
        {"boxes": None},
        {"boxes": [box(0, 0, 0, 3, 3), box(2, 0, 0, 9, 9)]},  # the third image is not shown
    ]
    assert boxes_by_image(turns, 2) == [
        (ImageBox(1, 2, 3, 6, 1, "a cat"), ImageBox(0, 0, 3, 3, 2, "")),
        (ImageBox(5, 6, 10, 20, 3, "a dog"),),
    ]


def test_no_more_than_forty_boxes_are_drawn() -> None:
    first, second = boxes_by_image([{"boxes": [box(n % 2, n, 0, n + 1, 1) for n in range(100)]}], 2)
    assert [one.number for one in (*first, *second)] == list(range(1, 41)) and not second


def test_an_image_is_as_wide_as_its_card_and_neither_high_nor_blown_up() -> None:
    sizes = {(1000, 500): 420, (500, 1000): 190, (64, 64): 192, (20, 20): 160}
    assert {size: stage_px(SampleImage(*size, None, "", ())) for size in sizes} == sizes
