from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vldata.store.keys import key_of


@pytest.mark.parametrize(
    ("parts", "key"),
    [
        ((), "2d09894dff54f5d9850160ed9d5bf110"),
        ((None, True, 7, 1.5, "é", b"\0"), "ee9c99f1401fb05489704facb0065470"),
        (({"b": [1, {"c": "x"}], "a": ()},), "fa6b29746f7a8ab18fa4d2d30cd840e6"),
        ((10**30, -1, -0.0, math.inf), "9cfd25024523470fe5dfb62344ea6910"),
    ],
)
def test_keys_are_what_they_were(parts, key):
    assert key_of(*parts) == key


def test_the_order_of_a_mapping_does_not_count_and_that_of_a_list_does():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert key_of([1, 2]) != key_of([2, 1])


def test_a_tuple_is_a_list():
    assert key_of((1, 2)) == key_of([1, 2])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((1,), (True,)),
        ((1,), (1.0,)),
        ((1,), ("1",)),
        (("a",), (b"a",)),
        ((None,), (False,)),
        (("",), (None,)),
        (("",), ()),
        (([],), ({},)),
        (("ab", "c"), ("a", "bc")),
        (([1], 2), ([1, 2],)),
        (({"a": None},), ({},)),
        ((0.0,), (-0.0,)),
        ((0.1 + 0.2,), (0.3,)),
        (("s1:a",), ("s1", "a")),
    ],
)
def test_different_values_have_different_keys(one, other):
    assert key_of(*one) != key_of(*other)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def spelt(value: object) -> str:
    """What tells values apart, written another way than the code does."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{k!r}:{spelt(v)}" for k, v in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spelt, value)) + "]"
    return f"{type(value).__name__} {value!r}"


@given(plain, plain)
def test_two_values_share_a_key_only_when_they_are_the_same(one, other):
    assert (key_of(one) == key_of(other)) == (spelt(one) == spelt(other))


@pytest.mark.parametrize("value", [Path("a"), {1, 2}, object(), {1: "a"}, [{"a": {None: 1}}]])
def test_what_has_no_one_form_is_refused(value):
    with pytest.raises(TypeError, match="key cannot be made of"):
        key_of(value)


def test_lone_surrogates_have_a_key():
    assert key_of("\ud800") != key_of("\ud801")
