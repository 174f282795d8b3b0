"""Shikra's decimals, to the letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.shikra import Shikra
from vldata.schema.boxes import Box


def test_x_stands_before_y_and_boxes_share_one_bracket() -> None:
    two = [Box(0.1, 0.2, 0.3, 0.4), Box(0.5, 0.5, 0.9, 0.95)]
    assert Shikra().encode(two) == "[0.100,0.200,0.300,0.400;0.500,0.500,0.900,0.950]"
    assert Shikra().decode("[0.100,0.200,0.300,0.400;0.500,0.500,0.900,0.950]") == two


def test_a_coordinate_is_rounded_and_not_cut_off() -> None:
    assert Shikra().encode([Box(0.4996, 0.0004, 0.9996, 0.8)]) == "[0.500,0.000,1.000,0.800]"


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(500, 1000)), min_size=1, max_size=5))
def test_any_number_of_boxes_in_one_bracket_comes_back(edges: list[tuple[int, int]]) -> None:
    many = [Box(a / 1000, b / 2000, b / 1000, b / 1000) for a, b in edges]
    back = Shikra().decode(Shikra().encode(many))
    assert len(back) == len(many)
    assert all(abs(p - q) <= 0.0005 + 1e-12 for b, a in zip(many, back, strict=True) for p, q in zip(b, a, strict=True))
