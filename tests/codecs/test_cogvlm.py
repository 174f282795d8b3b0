"""CogVLM's cells, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.cogvlm import CogVlm
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_x_stands_before_y_in_three_digits() -> None:
    assert CogVlm().encode([Box(0.0532, 0.3536, 0.9437, 1.0)]) == "[[053,353,943,999]]"
    assert CogVlm().decode("[[053,353,943,999]]") == [Box(0.0535, 0.3535, 0.9435, 0.9995)]


def test_boxes_share_one_double_bracket() -> None:
    text = "[[000,100,200,300;400,500,600,700]]"
    assert CogVlm().encode(CogVlm().decode(text)) == text


@given(st.integers(0, 999))
def test_every_cell_comes_back_as_it_is(n: int) -> None:
    text = f"[[000,{n:03d},999,999]]"
    assert CogVlm().encode(CogVlm().decode(text)) == text


@pytest.mark.parametrize("text", ["[[53,353,943,999]]", "[[053,353,943]]", "[[943,353,053,999]]", "[[a]]"])
def test_a_malformed_box_is_refused(text: str) -> None:
    with pytest.raises(CodecError):
        CogVlm().decode(text)
