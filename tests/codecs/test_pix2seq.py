"""Pix2Seq's bins, to the letter."""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.pix2seq import Pix2Seq
from vldata.errors import CodecError
from vldata.schema.boxes import Box


class Bins500(Pix2Seq):
    bins: ClassVar[int] = 500
    max_error = 0.5 / 499


def test_y_stands_before_x() -> None:
    box = Box(200 / 999, 100 / 999, 600 / 999, 500 / 999)
    assert Pix2Seq().encode([box]) == "100 200 500 600"
    assert Pix2Seq().decode("100 200 500 600 dog") == [box]


def test_each_object_has_its_class_behind_it() -> None:
    text = Pix2Seq().encode_phrase("dog", [Box(0, 0, 1, 1), Box(0.5, 0, 1, 1)])
    assert text == "0 0 999 999 dog 0 500 999 999 dog"


def test_a_subclass_may_have_another_number_of_bins() -> None:
    assert Bins500().encode([Box(0.5, 0, 1, 1)]) == "0 250 499 499"
    assert abs(Bins500().decode("0 250 499 499")[0].x0 - 0.5) <= Bins500.max_error


@given(st.integers(0, 999))
def test_every_bin_comes_back_as_it_is(n: int) -> None:
    assert Pix2Seq().encode(Pix2Seq().decode(f"{n} 0 999 999")) == f"{n} 0 999 999"


@pytest.mark.parametrize("text", ["100 200 500", "100 200 500 600 2 dogs", "100 200 500 1000", "500 200 100 600"])
def test_numbers_that_are_not_boxes_are_refused(text: str) -> None:
    with pytest.raises(CodecError):
        Pix2Seq().decode(text)
