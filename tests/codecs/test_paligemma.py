"""PaliGemma's location tokens, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.paligemma import PaliGemma
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_y_stands_before_x() -> None:
    assert PaliGemma().encode([Box(0, 0.5, 1, 0.75)]) == "<loc0512><loc0000><loc0767><loc1023>"
    assert PaliGemma().decode("<loc0512><loc0000><loc0767><loc1023>") == [Box(0, 512 / 1023, 1, 767 / 1023)]


def test_each_box_has_the_phrase_behind_it() -> None:
    text = PaliGemma().encode_phrase("cat", [Box(0, 0, 1, 1), Box(0, 0, 1, 1)])
    assert text == "<loc0000><loc0000><loc1023><loc1023> cat ; <loc0000><loc0000><loc1023><loc1023> cat"


@given(st.integers(0, 1023))
def test_every_token_comes_back_as_it_is(n: int) -> None:
    text = f"<loc{n:04d}><loc0000><loc1023><loc1023>"
    assert PaliGemma().encode(PaliGemma().decode(text)) == text


@pytest.mark.parametrize("count", [1, 3, 5, 8])
def test_another_number_of_tokens_than_four_is_refused(count: int) -> None:
    with pytest.raises(CodecError, match=f"{count} <locNNNN> tokens"):
        PaliGemma().decode("<loc0001>" * count)


def test_a_token_beyond_the_last_is_refused() -> None:
    with pytest.raises(CodecError, match="outside the image"):
        PaliGemma().decode("<loc0000><loc0000><loc1023><loc1024>")
