"""A phrase that several things of one image bear is never asked for one of them."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from tests.curate.table import turns
from vldata.curate.ambiguous import ambiguous_phrases
from vldata.schema.turns import BOX


def box(*corners: float, image: int = 0, phrase: str | None = None) -> dict[str, Any]:
    return {**dict(zip(("x0", "y0", "x1", "y1"), map(float, corners), strict=True)), "image": image, "phrase": phrase}


ONE, OTHER = box(1, 2, 3, 4), box(5, 6, 7, 8)


def ambiguous(*rows: dict[str, Any]) -> dict[str, str]:
    table = turns([{"phrase": "a dog", **row} for row in rows], phrase=pl.String, boxes=pl.List(BOX))
    return dict(ambiguous_phrases(table).sort("row").iter_rows())


@pytest.mark.parametrize("second", ["a dog", "A Dog", " a\n dog ", "A dog."])
def test_other_boxes_in_another_turn_make_a_phrase_ambiguous(second: str) -> None:
    found = ambiguous({"boxes": [ONE]}, {"boxes": [OTHER], "phrase": second}, {"boxes": [ONE], "phrase": "a cat"})
    assert found == {row: '"a dog" has other boxes too on this image' for row in "ab"}


def test_also_where_one_turn_has_some_of_the_other_s_boxes() -> None:
    assert [*ambiguous({"boxes": [ONE, OTHER]}, {"boxes": [ONE]})] == ["a", "b"]


def test_also_where_the_box_is_of_another_image_of_the_turn() -> None:
    both = {"images": ["1.jpg", "2.jpg"]}
    assert [*ambiguous({"boxes": [ONE], **both}, {"boxes": [{**ONE, "image": 1}], **both})] == ["a", "b"]


@pytest.mark.parametrize(
    "rows",
    [
        ({"boxes": [ONE, OTHER]},),
        ({"boxes": [ONE]}, {"boxes": [ONE]}),
        ({"boxes": [ONE, OTHER]}, {"boxes": [{**OTHER, "phrase": "x"}, ONE]}),
        ({"boxes": [ONE]}, {"boxes": [OTHER], "image": "2.jpg"}),
        ({"boxes": [ONE]}, {"boxes": [OTHER], "phrase": "the dog"}),
        ({"boxes": [ONE]}, {"boxes": []}, {"boxes": None}),
        ({"boxes": [ONE]}, {"boxes": [box(5, 6, 5, 8)]}, {"boxes": [OTHER, box(7, 6, 5, 8)]}),
        ({"boxes": [ONE], "phrase": None}, {"boxes": [OTHER], "phrase": None}),
        ({"boxes": [ONE], "image": None}, {"boxes": [OTHER], "image": None}),
        (),
    ],
)
def test_what_is_one_thing_or_stands_on_other_images_is_clear(rows: tuple[dict[str, Any], ...]) -> None:
    assert not ambiguous(*rows)


def test_marks_alone_are_phrases_of_their_own() -> None:
    assert ambiguous({"boxes": [ONE], "phrase": "!"}, {"boxes": [OTHER], "phrase": "?"}) == {}


@pytest.mark.parametrize(
    ("one", "other", "count"), [("./1.jpg", "1.jpg", 2), ("a/./1.jpg", "a/1.jpg", 2), ("a./1.jpg", "a1.jpg", 0)]
)
def test_a_path_is_the_same_with_a_dot_before_it(one, other, count):
    corners = {"image": 0, "phrase": None, "y0": 0.0, "y1": 9.0}
    rows = [
        {"row": str(k), "images": [name], "phrase": "cup", "boxes": [{**corners, "x0": 10.0 * k, "x1": 10.0 * k + 5}]}
        for k, name in enumerate((one, other))
    ]
    assert ambiguous_phrases(pl.DataFrame(rows)).height == count
