"""Turns of an image that say the same."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.curate.table import ledger, rows_of, turns
from vldata.curate.cut import Cut
from vldata.curate.dedup import Dedup, dedup
from vldata.schema.turns import BOX

QA = {"question": pl.String, "answer": pl.String}


def table(*rows: str, **more: Any) -> pl.DataFrame:
    """Turns from ``image|question|answer``, ranked in this order."""
    parts = [row.split("|") for row in rows]
    return turns([{"image": i or None, "question": q, "answer": a} | more for i, q, a in parts], **QA)


def run(turns: pl.DataFrame, **options: Any) -> Cut:
    return dedup(turns, Dedup.model_validate(options), texts=("question", "answer"), answer="answer")


def test_honeybees_rule_keeps_one_turn_for_each_answer_of_an_image() -> None:
    kept, dropped = run(table("1|is it red?|yes", "1|is it big?|yes", "1|who?|me", "2|is it big?|yes"), by="answer")
    assert rows_of(kept) == "acd"
    assert ledger(dropped) == {"b": ("duplicate", "kept: a")}


def test_the_turn_of_lowest_rank_stays_wherever_it_stands() -> None:
    some = table("1|q|yes", "1|r|yes", "1|s|yes").with_columns(rank=pl.Series([7, 9, 3], dtype=pl.UInt64))
    kept, dropped = run(some, by="answer")
    assert rows_of(kept) == "c"
    assert ledger(dropped) == {"a": ("duplicate", "kept: c"), "b": ("duplicate", "kept: c")}


def test_all_columns_named_must_be_equal() -> None:
    some = table("1|q|yes", "1|q|no", "1|q|yes")
    assert rows_of(run(some, by=["question", "answer"]).kept) == "ab"


def test_by_default_all_columns_of_the_task_must_be_equal() -> None:
    boxes = [{"x0": 0.0, "y0": 0.0, "x1": 1.0, "y1": 1.0, "image": 0, "phrase": None}]
    other = [boxes[0] | {"x1": 2.0}]
    some = turns(
        [{"phrase": "cat", "boxes": boxes}, {"phrase": "cat", "boxes": other}, {"phrase": "cat", "boxes": boxes}],
        phrase=pl.String,
        boxes=pl.List(BOX),
    )
    kept, dropped = dedup(some, Dedup(), texts=("phrase",), answer="boxes")
    assert rows_of(kept) == "ab"
    assert ledger(dropped) == {"c": ("duplicate", "kept: a")}


def test_the_word_answer_means_the_column_that_the_task_answers_in() -> None:
    some = turns(
        [{"instruction": "a", "response": "x"}, {"instruction": "b", "response": "x"}],
        instruction=pl.String,
        response=pl.String,
    )
    assert rows_of(dedup(some, Dedup(by="answer"), texts=("instruction",), answer="response").kept) == "a"


def test_a_task_without_one_of_the_columns_is_left_alone() -> None:
    some = turns([{"caption": "x"}, {"caption": "x"}], caption=pl.String)
    assert rows_of(dedup(some, Dedup(by=["question", "answer"]), texts=("caption",), answer=None).kept) == "ab"


def test_null_equals_null_and_is_not_the_empty_text() -> None:
    some = turns([{"question": None}, {"question": ""}, {"question": None}], **QA)
    assert rows_of(run(some, by="question").kept) == "ab"


def test_several_images_are_the_same_only_in_the_same_order() -> None:
    some = turns(
        [
            {"images": ["1", "2"], "answer": "x"},
            {"images": ["2", "1"], "answer": "x"},
            {"images": ["1", "2"], "answer": "x"},
        ],
        **QA,
    )
    assert rows_of(run(some, by="answer").kept) == "ab"


def test_similar_questions_leave_and_name_the_one_that_stays() -> None:
    some = table(
        "1|what color is the big cat|red",
        "1|what color is the cat|red",
        "1|where is it|here",
        "2|what color is the cat|red",
    )
    kept, dropped = run(some, similarity=0.8)
    assert rows_of(kept) == "acd"
    assert ledger(dropped) == {"b": ("near_duplicate", "kept: a")}


def test_likeness_may_look_at_another_column() -> None:
    some = table("1|q|a long answer here", "1|r|a long answer there", "1|r|else")
    assert rows_of(run(some, similarity=0.6, near="answer").kept) == "ac"


def test_texts_without_an_image_are_compared_for_equality_only() -> None:
    some = table("|one two three|x", "|one two three|x", "|one two three four|x")
    assert rows_of(run(some, similarity=0.5).kept) == "ac"


def conversation(thread: str, *exchanges: str, rank: int, image: str = "1") -> list[dict[str, Any]]:
    return [
        {
            "row": f"{thread}{p}",
            "thread": thread,
            "position": p,
            "image": image,
            "question": q,
            "answer": "x",
            "rank": rank + p,
        }
        for p, q in enumerate(exchanges)
    ]


def test_a_conversation_is_compared_as_a_whole_and_leaves_whole() -> None:
    some = turns(
        conversation("s", "hello", "more", rank=10)
        + conversation("t", "hello", "less", rank=20)
        + conversation("u", "hello", "more", rank=30)
        + conversation("v", "hello", "more", rank=40, image="2"),
        **QA,
    )
    kept, dropped = run(some)
    assert rows_of(kept) == "s0s1t0t1v0v1"
    assert ledger(dropped) == {"u0": ("duplicate", "kept: s0"), "u1": ("duplicate", "kept: s0")}


def test_conversations_without_the_columns_are_not_all_equal() -> None:
    some = turns(conversation("s", "hello", rank=0) + conversation("t", "bye", rank=9), **QA)
    assert run(some, by=["question", "caption"]).kept.height == 2
    assert run(some, by="caption", similarity=0.9, near="caption").kept.height == 2


def test_a_conversation_resembles_another_by_all_its_words() -> None:
    some = turns(
        conversation("s", "one two", "three four five", rank=0)
        + conversation("t", "one two", "three four six", rank=9),
        **QA,
    )
    assert rows_of(run(some, similarity=0.6).kept) == "s0s1"
    assert run(some, similarity=0.9).kept.height == 4


def test_the_kept_turns_keep_their_columns_and_order() -> None:
    some = table("1|q|yes", "1|r|no", "1|s|yes")[::-1]
    kept = run(some, by="answer").kept
    assert kept.equals(some.filter(pl.col("row") != "c"))


def test_a_table_without_rows_passes() -> None:
    assert run(table("1|q|a").clear(), similarity=0.5).kept.is_empty()


@pytest.mark.parametrize(
    "options",
    [{"by": []}, {"similarity": 0}, {"similarity": 1.1}, {"measure": "cosine"}, {"simlarity": 0.5}, {"by": [3]}],
)
def test_senseless_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Dedup.model_validate(options)


_rows = st.lists(
    st.tuples(
        st.sampled_from(["", "1", "2"]),
        st.sampled_from(["is it red", "is it red now", "who is it", "a b c d"]),
        st.sampled_from(["yes", "no"]),
        st.none() | st.sampled_from(["s", "t"]),
    ),
    max_size=20,
)


@given(_rows, st.randoms(), st.sampled_from([None, 0.7]), st.sampled_from(["all", "answer"]))
@settings(max_examples=40)
def test_the_order_of_the_rows_decides_nothing_and_no_turn_is_lost(
    rows: list[tuple[str, str, str, str | None]], random: Any, similarity: float | None, by: str
) -> None:
    some = turns(
        [
            {"row": f"r{n}", "image": i or None, "question": q, "answer": a, "thread": t, "position": n if t else None}
            for n, (i, q, a, t) in enumerate(rows)
        ],
        **QA,
    ).with_columns(rank=pl.col("rank") * 7919 % 101)
    places = list(range(some.height))
    random.shuffle(places)
    one, other = (run(t, by=by, similarity=similarity) for t in (some, some[places]))
    assert set(one.kept["row"]) == set(other.kept["row"])
    assert ledger(one.dropped) == ledger(other.dropped)
    assert sorted([*one.kept["row"], *one.dropped["row"]]) == sorted(some["row"])
    whole = one.kept.filter(pl.col("thread").is_not_null())["thread"].unique()
    assert some.filter(pl.col("thread").is_in(whole.implode()))["row"].is_in(one.kept["row"].implode()).all()


@given(_rows)
@settings(max_examples=30)
def test_doing_it_twice_changes_nothing(rows: list[tuple[str, str, str, str | None]]) -> None:
    some = turns(
        [{"row": f"r{n}", "image": i or None, "question": q, "answer": a} for n, (i, q, a, _) in enumerate(rows)], **QA
    )
    once = run(some, by="answer", similarity=0.7).kept
    assert run(once, by="answer", similarity=0.7).kept.equals(once)
