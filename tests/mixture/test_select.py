"""Prefixes in rank order: nested, exact for samples, nearest for other units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.mixture.select import Taken, take

_samples = st.lists(st.integers(0, 9), min_size=1, max_size=60).filter(any)


def ones(n: int) -> np.ndarray:
    return np.ones(n, dtype=np.int64)


def taken(units: list[int], got: Taken) -> int:
    return got.full_passes * sum(units) + sum(units[: got.prefix_len])


@given(st.integers(1, 500), st.integers(0, 5000))
def test_samples_are_taken_exactly(n: int, units: int) -> None:
    got = take(ones(n), units)
    assert got.full_passes * n + got.prefix_len == units
    assert got.prefix_len < n


@given(st.integers(20, 2000))
def test_5_percent_is_inside_10_percent_inside_20(n: int) -> None:
    lengths = [take(ones(n), n * percent // 100).prefix_len for percent in (5, 10, 20)]
    assert lengths == sorted(lengths)


@given(_samples, st.integers(0, 500), st.integers(0, 500))
def test_less_is_always_a_part_of_more(units: list[int], a: int, b: int) -> None:
    assert take(np.array(units), min(a, b)) <= take(np.array(units), max(a, b))


@given(_samples, st.integers(0, 500))
def test_other_units_come_as_near_as_whole_samples_can(units: list[int], wanted: int) -> None:
    got = taken(units, take(np.array(units), wanted))
    reachable = [p * sum(units) + sum(units[:k]) for p in range(wanted // sum(units) + 2) for k in range(len(units))]
    assert abs(got - wanted) == min(abs(r - wanted) for r in reachable)
    assert abs(got - wanted) <= max(units) / 2


def test_of_two_equally_near_prefixes_the_shorter_is_taken() -> None:
    assert take(np.array([2, 2]), 1) == Taken(0, 0)
    assert take(np.array([2, 2, 2]), 3) == Taken(0, 1)


def test_nearly_everything_is_a_full_pass() -> None:
    assert take(np.array([1, 9]), 9) == Taken(1, 0)


def test_samples_without_units_are_not_taken_at_the_end_of_a_prefix() -> None:
    assert take(np.array([1, 0, 0, 1]), 1) == Taken(0, 1)


def test_small_integer_types_do_not_overflow() -> None:
    assert take(np.full(1000, 200, dtype=np.uint8), 150_000) == Taken(0, 750)


def test_nothing_is_nothing_even_of_nothing() -> None:
    assert take(np.array([], dtype=np.int64), 0) == Taken(0, 0)


def test_units_of_samples_that_have_none_are_refused() -> None:
    with pytest.raises(ValueError, match="5 units to take from 2 samples"):
        take(np.array([0, 0]), 5)
