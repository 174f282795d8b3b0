"""Largest remainders: exact sums, each within one of its ideal, ties by name."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.mixture.apportion import apportion

shares = st.dictionaries(
    st.text("abcdefg", min_size=1, max_size=3),
    st.fractions(0, 1000, max_denominator=1000),
    min_size=1,
    max_size=12,
).filter(lambda s: any(s.values()))
totals = st.integers(0, 10**7)


@given(shares, totals)
def test_counts_sum_to_the_total_and_each_is_within_one_of_its_ideal(s: dict[str, Fraction], total: int) -> None:
    counts = apportion(s, total)
    assert sum(counts.values()) == total
    assert all(abs(counts[n] - s[n] * total / sum(s.values())) < 1 for n in s)


@given(shares, totals, st.randoms())
def test_the_order_of_listing_decides_nothing(s: dict[str, Fraction], total: int, random: object) -> None:
    names = list(s)
    random.shuffle(names)  # type: ignore[attr-defined]
    assert apportion({n: s[n] for n in names}, total) == apportion(s, total)


@given(shares, totals, st.fractions("1/100", 100))
def test_only_the_ratios_of_the_shares_matter(s: dict[str, Fraction], total: int, factor: Fraction) -> None:
    assert apportion({n: share * factor for n, share in s.items()}, total) == apportion(s, total)


@given(shares, totals)
def test_a_larger_share_never_gets_less(s: dict[str, Fraction], total: int) -> None:
    counts = apportion(s, total)
    assert all(counts[a] >= counts[b] for a in s for b in s if s[a] > s[b])


def test_of_equal_remainders_the_first_name_gets_the_unit() -> None:
    third = Fraction(1)
    assert apportion({"c": third, "a": third, "b": third}, 4) == {"c": 1, "a": 2, "b": 1}


def test_the_largest_remainder_gets_the_unit() -> None:
    assert apportion({"a": Fraction(14), "b": Fraction(36)}, 10) == {"a": 3, "b": 7}


def test_a_share_of_0_gets_nothing_and_stays_listed() -> None:
    assert apportion({"a": Fraction(0), "b": Fraction(1)}, 7) == {"a": 0, "b": 7}


def test_nothing_to_hand_out_is_nothing_for_everyone() -> None:
    assert apportion({"a": Fraction(0)}, 0) == {"a": 0}
    assert apportion({}, 0) == {}


@pytest.mark.parametrize(("s", "total"), [({"a": 0}, 1), ({}, 1), ({"a": -1}, 1), ({"a": 1}, -1)])
def test_impossible_orders_are_refused(s: dict[str, int], total: int) -> None:
    with pytest.raises(ValueError, match="share"):
        apportion({name: Fraction(n) for name, n in s.items()}, total)
