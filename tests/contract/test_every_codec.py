"""What every box format promises, whoever adds it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vldata.codecs import CODECS, codec, codec_names
from vldata.codecs.base import Codec
from vldata.errors import CodecError, RecipeError
from vldata.schema.boxes import Box

every_codec = pytest.mark.parametrize("name", sorted(CODECS))

_fraction = st.floats(0, 1) | st.sampled_from([0.0, 0.5, 1.0, 0.9995, 0.4996, 0.0005, 1 / 32, 31 / 32])


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    x0, x1 = sorted((draw(_fraction), draw(_fraction)))
    y0, y1 = sorted((draw(_fraction), draw(_fraction)))
    return Box(x0, y0, x1, y1)


def moves(before: Box, after: Box) -> float:
    """The largest move of an edge, less what floating point itself may add."""
    return max(abs(a - b) for a, b in zip(before, after, strict=True)) - 1e-12


@every_codec
@given(many=st.lists(boxes(), min_size=1, max_size=4))
@settings(max_examples=60)
def test_a_round_trip_keeps_the_number_of_boxes_and_moves_no_edge_by_more_than_it_says(
    name: str, many: list[Box]
) -> None:
    used = codec(name)
    back = used.decode(used.encode(many))
    assert len(back) == len(many)
    assert all(moves(b, a) <= used.max_error for b, a in zip(many, back, strict=True))


@every_codec
@given(box=boxes())
@settings(max_examples=60)
def test_what_was_read_is_written_as_the_same_text_again(name: str, box: Box) -> None:
    used = codec(name)
    text = used.encode([box])
    again = used.encode(used.decode(text))
    assert used.encode(used.decode(again)) == again


@every_codec
def test_the_four_edges_come_back_each_in_its_own_place(name: str) -> None:
    used = codec(name)
    box = Box(0.1, 0.3, 0.55, 0.95)
    assert moves(box, used.decode(used.encode([box]))[0]) <= used.max_error


@every_codec
def test_coordinates_outside_the_image_are_clamped(name: str) -> None:
    used = codec(name)
    (back,) = used.decode(used.encode([Box(-0.25, -0.0, 1.5, 1.0000001)]))
    assert moves(Box(0, 0, 1, 1), back) <= used.max_error
    assert "-" not in used.encode([Box(-0.0, -1.0, 0.5, 0.5)])


@every_codec
def test_a_coordinate_that_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(CodecError, match="no number"):
        codec(name).encode([Box(0.1, math.nan, 0.5, 0.5)])


@every_codec
def test_a_phrase_is_written_as_it_is_and_its_boxes_are_read_back(name: str) -> None:
    used = codec(name)
    two = [Box(0.1, 0.2, 0.4, 0.6), Box(0.5, 0.1, 0.9, 0.8)]
    text = used.encode_phrase("the red dogs, (both)", two)
    assert "the red dogs, (both)" in text
    assert all(moves(b, a) <= used.max_error for b, a in zip(two, used.decode(text), strict=True))


@every_codec
def test_boxes_are_found_inside_prose(name: str) -> None:
    used = codec(name)
    box = Box(0.1, 0.2, 0.4, 0.6)
    text = f"It is here: {used.encode([box])}"
    assert moves(box, used.decode(text)[0]) <= used.max_error


@every_codec
@pytest.mark.parametrize("text", ["", "no box in sight", "a [sic] (see above) <box", "1", "[]", "<object>"])
def test_a_text_without_a_box_is_refused(name: str, text: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec(name).decode(text)
    assert caught.value.where == repr(text)


@every_codec
def test_a_codec_describes_itself(name: str) -> None:
    used = codec(name)
    assert used.name == name
    assert used.about and "\n" not in used.about
    assert 0 < used.max_error < 0.05


@every_codec
def test_the_example_in_the_description_can_be_read(name: str) -> None:
    used = codec(name)
    shown = used.about.split(": ")[0].replace(";0.500,...", "")
    assert used.decode(shown)


def test_a_misspelt_name_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(RecipeError) as caught:
        codec("lava", "sources.refs.box_format")
    assert caught.value.where == "sources.refs.box_format"
    assert caught.value.fix == "did you mean 'llava'?"


def test_an_installed_package_can_offer_a_codec(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(Codec):
        name = "mine"

    class Entry:
        name = "mine"

        def load(self) -> type[Codec]:
            return Mine

    monkeypatch.setattr("vldata.codecs.entry_points", lambda group: [Entry()] if group == "vldata.codecs" else [])
    assert isinstance(codec("mine"), Mine)
    assert "mine" in codec_names()
