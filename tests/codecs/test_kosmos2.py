"""KOSMOS-2's patch tokens, to the letter; the literals are the reference's own example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.kosmos2 import Kosmos2
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_the_published_example_is_read_as_the_reference_reads_it() -> None:
    text = (
        "<grounding> An image of<phrase> a snowman</phrase><object><patch_index_0044><patch_index_0863></object> "
        "warming himself by<phrase> a fire</phrase><object><patch_index_0005><patch_index_0911></object>."
    )
    assert Kosmos2().decode(text) == [
        Box(0.390625, 0.046875, 0.984375, 0.828125),
        Box(0.171875, 0.015625, 0.484375, 0.890625),
    ]


def test_cells_are_numbered_row_by_row() -> None:
    assert Kosmos2().encode([Box(0.39, 0.04, 0.98, 0.82)]) == "<object><patch_index_0044><patch_index_0863></object>"


def test_a_box_within_one_row_is_read_by_the_outer_edges_of_its_cells() -> None:
    assert Kosmos2().decode("<object><patch_index_0033><patch_index_0035></object>") == [
        Box(1 / 32, 1 / 32, 4 / 32, 2 / 32)
    ]


def test_boxes_of_a_phrase_share_one_object() -> None:
    text = Kosmos2().encode_phrase("dogs", [Box(0, 0, 1, 1), Box(0, 0, 0.5, 0.5)])
    assert text == (
        "<phrase>dogs</phrase><object><patch_index_0000><patch_index_1023></delimiter_of_multi_objects/>"
        "<patch_index_0000><patch_index_0495></object>"
    )


def test_a_box_without_area_has_a_second_cell_that_is_not_before_the_first() -> None:
    assert Kosmos2().encode([Box(0, 0, 0, 0)]) == "<object><patch_index_0000><patch_index_0000></object>"
    assert Kosmos2().encode([Box(0.5, 0.5, 0.5, 0.5)]) == "<object><patch_index_0528><patch_index_0528></object>"


@given(st.integers(0, 30), st.integers(0, 30))
def test_every_pair_of_cells_comes_back_as_it_is(x: int, y: int) -> None:
    text = f"<object><patch_index_{y * 32 + x:04d}><patch_index_{(y + 1) * 32 + x + 1:04d}></object>"
    assert Kosmos2().encode(Kosmos2().decode(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "<object><patch_index_0044></object>",
        "<object><patch_index_0044><patch_index_1024></object>",
        "<object><patch_index_0863><patch_index_0044></object>",
        "<object><patch_index_0044><patch_index_0863>",
    ],
)
def test_a_malformed_object_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        Kosmos2().decode(text)
