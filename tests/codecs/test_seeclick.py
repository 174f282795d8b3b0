"""SeeClick's decimals, to the letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.seeclick import SeeClick
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_x_stands_before_y_in_round_brackets() -> None:
    assert SeeClick().encode([Box(0.12, 0.54, 0.3, 0.6)]) == "(0.12,0.54,0.30,0.60)"
    assert SeeClick().decode("(0.12,0.54,0.30,0.60)") == [Box(0.12, 0.54, 0.3, 0.6)]


def test_a_click_point_is_not_a_box() -> None:
    with pytest.raises(CodecError, match="not four decimals"):
        SeeClick().decode("click (0.12, 0.54)")


@given(st.floats(0, 1))
def test_a_coordinate_moves_by_half_a_hundredth_at_most(c: float) -> None:
    assert abs(SeeClick().decode(SeeClick().encode([Box(0, 0, c, 1)]))[0].x1 - c) <= 0.005 + 1e-12
