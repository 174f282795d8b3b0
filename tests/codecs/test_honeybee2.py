"""Honeybee's shorter decimals, to the letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.honeybee2 import Honeybee2
from vldata.schema.boxes import Box


def test_x_stands_before_y_with_two_decimals_and_no_spaces() -> None:
    assert Honeybee2().encode([Box(0.1234, 0.4561, 0.7894, 0.9)]) == "[0.12,0.46,0.79,0.90]"
    assert Honeybee2().decode("[0.12,0.46,0.79,0.90]") == [Box(0.12, 0.46, 0.79, 0.9)]


@given(st.floats(0, 1))
def test_a_coordinate_moves_by_half_a_hundredth_at_most(c: float) -> None:
    assert abs(Honeybee2().decode(Honeybee2().encode([Box(c, 0, 1, 1)]))[0].x0 - c) <= 0.005 + 1e-12
