"""Each mixing rule against numbers worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.mixture.strategies import STRATEGIES, Member

MEMBERS = {"big": Member(900, "vqa"), "mid": Member(400, "vqa"), "small": Member(100, "caption")}


@pytest.mark.parametrize(
    ("name", "option", "expected"),
    [
        ("proportional", 0, {"big": 900, "mid": 400, "small": 100}),
        ("uniform", 0, {"big": 1, "mid": 1, "small": 1}),
        ("uniform_tasks", 0, {"big": Fraction(1, 2), "mid": Fraction(1, 2), "small": 1}),
        ("sqrt", 0, {"big": 30, "mid": 20, "small": 10}),
        ("temperature", 1, {"big": 900, "mid": 400, "small": 100}),
        ("temperature", 2, {"big": 30, "mid": 20, "small": 10}),
        ("capped", 250, {"big": 250, "mid": 250, "small": 100}),
    ],
)
def test_a_rule_gives_the_shares_of_its_formula(name: str, option: float, expected: dict[str, Fraction]) -> None:
    assert STRATEGIES[name].shares(MEMBERS, option) == expected


def test_every_rule_is_tested_above() -> None:
    assert set(STRATEGIES) == {"proportional", "uniform", "uniform_tasks", "sqrt", "temperature", "capped"}


@given(st.sampled_from(sorted(STRATEGIES)), st.lists(st.integers(0, 10**9), min_size=1, max_size=8))
def test_no_rule_gives_a_larger_source_less_than_a_smaller_one_of_its_task(name: str, sizes: list[int]) -> None:
    members = {str(i): Member(n, "t") for i, n in enumerate(sizes)}
    shares = STRATEGIES[name].shares(members, STRATEGIES[name].option or 0)
    assert all(shares[a] >= shares[b] >= 0 for a in members for b in members if members[a].size >= members[b].size)


def test_a_power_is_cut_to_twelve_digits_so_that_platforms_agree() -> None:
    share = STRATEGIES["temperature"].shares({"a": Member(10, "t")}, 3.0)["a"]
    assert share == Fraction("2.15443469003")
