"""Turns -> samples, and conversations that have lost an exchange."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.curate.table import ledger, rows_of, turns
from vldata.curate.group import conversations, whole_threads


def samples(grouped: pl.DataFrame) -> list[str]:
    """The rows of each sample as a word, in the order of the table."""
    found = grouped.group_by("sample", "sample_row", maintain_order=True).agg(pl.col("row"), pl.col("place"))
    assert all(places == list(range(len(places))) for places in found["place"].to_list())
    assert found["sample_row"].to_list() == [rows[0] for rows in found["row"].to_list()]
    assert found["sample"].is_sorted()
    return ["".join(rows) for rows in found["row"].to_list()]


IMAGES = turns([{"image": "1"}, {"image": "2"}, {"image": "1"}, {"image": None}, {"image": "1"}, {"image": None}])


def test_the_turns_of_an_image_are_one_conversation_in_rank_order() -> None:
    ranked = IMAGES.with_columns(rank=pl.Series([5, 4, 3, 2, 1, 0], dtype=pl.UInt64))
    assert samples(conversations(ranked, group_by="image", max_turns=None)) == ["f", "eca", "d", "b"]


def test_a_conversation_is_cut_after_max_turns_and_each_piece_has_its_own_rank() -> None:
    grouped = conversations(IMAGES, group_by="image", max_turns=2)
    assert samples(grouped) == ["ac", "b", "d", "e", "f"]
    assert grouped["sample"].to_list() == [0, 0, 1, 3, 4, 5]


def test_one_turn_each_is_no_grouping() -> None:
    one = conversations(IMAGES, group_by="image", max_turns=1)
    none = conversations(IMAGES, group_by="none", max_turns=None)
    assert samples(one) == samples(none) == list("abcdef")


def test_texts_without_an_image_stand_alone() -> None:
    some = turns([{"image": None}, {"image": None}])
    assert samples(conversations(some, group_by="image", max_turns=None)) == ["a", "b"]


def test_several_images_are_the_same_only_in_the_same_order() -> None:
    some = turns([{"images": ["1", "2"]}, {"images": ["2", "1"]}, {"images": ["1", "2"]}, {"images": ["1"]}])
    assert samples(conversations(some, group_by="image", max_turns=None)) == ["ac", "b", "d"]


THREADS = turns(
    [
        {"row": "x", "thread": "t", "position": 1},
        {"row": "y"},
        {"row": "z", "thread": "t", "position": 0},
        {"row": "w"},
        {"row": "v", "thread": "u", "position": 0},
    ]
)


def test_native_conversations_keep_their_order_and_are_never_cut() -> None:
    grouped = conversations(THREADS, group_by="image", max_turns=1)
    assert samples(grouped) == ["y", "zx", "w", "v"]


def test_native_conversations_about_one_image_stay_apart_from_it_and_each_other() -> None:
    assert samples(conversations(THREADS, group_by="image", max_turns=None)) == ["yw", "zx", "v"]
    assert samples(conversations(THREADS, group_by="thread", max_turns=None)) == ["y", "zx", "w", "v"]


def test_none_takes_even_native_conversations_apart() -> None:
    assert samples(conversations(THREADS, group_by="none", max_turns=None)) == ["x", "y", "z", "w", "v"]


def test_a_thread_named_like_a_row_or_an_image_is_another_thing() -> None:
    some = turns([{"row": "1", "thread": "1", "position": 0}, {"row": "2", "image": "1"}, {"row": "t1", "image": None}])
    assert len(samples(conversations(some, group_by="image", max_turns=None))) == 3


def test_the_columns_have_their_types_and_the_others_stay() -> None:
    grouped = conversations(IMAGES, group_by="image", max_turns=2)
    assert grouped.schema == {**IMAGES.schema, "sample": pl.UInt64, "sample_row": pl.String, "place": pl.Int32}
    assert conversations(IMAGES.clear(), group_by="image", max_turns=2).schema == grouped.schema


_rows = st.lists(
    st.tuples(st.sampled_from([[], ["1"], ["2"], ["1", "2"]]), st.none() | st.sampled_from("tu")), max_size=25
)


@given(_rows, st.sampled_from(["image", "thread", "none"]), st.none() | st.integers(1, 4), st.randoms())
@settings(max_examples=60)
def test_any_order_of_rows_gives_the_same_samples(
    rows: list[tuple[list[str], str | None]], group_by: Any, max_turns: int | None, random: Any
) -> None:
    some = turns(
        [{"row": f"r{n};", "images": i, "thread": t, "position": n if t else None} for n, (i, t) in enumerate(rows)]
    ).with_columns(rank=pl.col("rank") * 7919 % 101)
    places = list(range(some.height))
    random.shuffle(places)
    grouped = conversations(some, group_by=group_by, max_turns=max_turns)
    assert conversations(some[places], group_by=group_by, max_turns=max_turns).equals(grouped)
    assert sorted(grouped["row"]) == sorted(some["row"])
    for _, sample in grouped.group_by("sample", "sample_row"):
        assert sample["thread"].n_unique() == 1 or group_by == "none"
        if sample["thread"][0] is None:
            assert sample["images"].n_unique() == 1
            assert max_turns is None or sample.height <= max_turns
            assert sample["rank"].is_sorted()


TALK = turns([{"row": f"{t}{p}", "thread": t, "position": p} for t in "st" for p in range(3)] + [{"row": "z"}])


def test_what_is_left_of_a_conversation_that_lost_an_exchange_is_rejected() -> None:
    kept, dropped = whole_threads(TALK, TALK.filter(~pl.col("row").is_in(["s1", "s2"])))
    assert rows_of(kept) == "t0t1t2z"
    assert ledger(dropped) == {"s0": ("broken_conversation", "lost: s1")}


def test_a_conversation_that_is_gone_altogether_leaves_nothing_to_reject() -> None:
    kept, dropped = whole_threads(TALK, TALK.filter(pl.col("thread") == "t"))
    assert rows_of(kept) == "t0t1t2"
    assert dropped.is_empty()


def test_turns_outside_conversations_may_come_and_go() -> None:
    some = turns([{}, {}])
    kept, dropped = whole_threads(some, some[:1])
    assert rows_of(kept) == "a"
    assert ledger(dropped) == {}


@given(st.sets(st.sampled_from(TALK["row"].to_list())), st.randoms())
def test_conversations_are_whole_or_gone(lost: set[str], random: Any) -> None:
    places = list(range(TALK.height))
    random.shuffle(places)
    before = TALK[places]
    left = before.filter(~pl.col("row").is_in(list(lost)))
    kept, dropped = whole_threads(before, left)
    assert sorted([*kept["row"], *dropped["row"]]) == sorted(left["row"])
    counts = kept.filter(pl.col("thread").is_not_null()).group_by("thread").len()
    assert counts["len"].eq(3).all()


def test_a_million_turns_would_not_be_looked_at_one_by_one() -> None:
    n = 100_000
    some = pl.DataFrame(
        {"row": [str(i) for i in range(n)], "rank": range(n), "images": [[str(i % 9973)] for i in range(n)]},
        schema_overrides={"rank": pl.UInt64},
    ).with_columns(thread=pl.lit(None, pl.String), position=pl.lit(None, pl.Int32))
    grouped = conversations(some, group_by="image", max_turns=10)
    assert grouped["place"].max() == 9
    assert grouped["sample"].n_unique() == sum(-(-(n // 9973 + (i < n % 9973)) // 10) for i in range(9973))


@pytest.mark.parametrize("group_by", ["image", "thread", "none"])
def test_one_turn_is_one_sample(group_by: Any) -> None:
    assert samples(conversations(turns([{}]), group_by=group_by, max_turns=3)) == ["a"]
