"""The same photograph with the same words in several sources."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.curate.table import ledger, rows_of, turns
from vldata.curate.across import across
from vldata.curate.cut import Cut
from vldata.errors import RecipeError

COLUMNS = {"question": pl.String, "answer": pl.String, "identity": pl.List(pl.String)}


def source(*rows: tuple[Any, ...]) -> pl.DataFrame:
    """Turns from (identity, question, answer)."""
    return turns([{"identity": i, "question": q, "answer": a} for i, q, a in rows], **COLUMNS)


def run(order: str = "vqa gqa", by: str = "question answer", **tables: pl.DataFrame) -> dict[str, Cut]:
    return across(tables, identity="identity", by=by.split(), order=order.split())


VQA = source((["p"], "q", "yes"), (["p"], "r", "no"), (["o"], "q", "yes"))
GQA = source((["p"], "q", "yes"), (["p"], "q", "no"), (["p"], "r", "no"))


def test_the_source_listed_first_keeps_the_turn() -> None:
    cuts = run(vqa=VQA, gqa=GQA)
    assert rows_of(cuts["vqa"].kept) == "abc"
    assert rows_of(cuts["gqa"].kept) == "b"
    assert ledger(cuts["gqa"].dropped) == {
        "a": ("duplicate_across", "kept: vqa/a"),
        "c": ("duplicate_across", "kept: vqa/b"),
    }


def test_another_order_keeps_it_elsewhere() -> None:
    cuts = run("gqa vqa", vqa=VQA, gqa=GQA)
    assert rows_of(cuts["vqa"].kept) == "c"
    assert rows_of(cuts["gqa"].kept) == "abc"


def test_equal_turns_of_one_source_are_its_own_affair() -> None:
    cuts = run(vqa=source((["p"], "q", "a"), (["p"], "q", "a")), gqa=source((["p"], "q", "a"), (["p"], "q", "a")))
    assert rows_of(cuts["vqa"].kept) == "ab"
    assert rows_of(cuts["gqa"].kept) == ""


def test_unknown_photographs_and_texts_without_any_are_left_alone() -> None:
    some = source((None, "q", "a"), ([], "q", "a"))
    assert rows_of(run(vqa=some, gqa=some)["gqa"].kept) == "ab"


def test_several_photographs_count_in_their_order() -> None:
    cuts = run(vqa=source((["p", "o"], "q", "a")), gqa=source((["o", "p"], "q", "a"), (["p", "o"], "q", "a")))
    assert rows_of(cuts["gqa"].kept) == "a"


def test_a_conversation_leaves_only_as_a_whole() -> None:
    alone = source((["p"], "hello", "x"))
    talk = pl.DataFrame({"thread": ["t", "t"], "position": [0, 1]}, schema={"thread": pl.String, "position": pl.Int32})
    longer = source((["p"], "hello", "x"), (["p"], "more", "x")).with_columns(talk["thread"], talk["position"])
    assert rows_of(run(vqa=alone, gqa=longer)["gqa"].kept) == "ab"
    cuts = run(vqa=longer, gqa=longer.with_columns(thread=pl.lit("u")))
    assert ledger(cuts["gqa"].dropped) == {
        "a": ("duplicate_across", "kept: vqa/a"),
        "b": ("duplicate_across", "kept: vqa/a"),
    }


def test_a_missing_column_is_an_error_that_names_the_source() -> None:
    with pytest.raises(RecipeError, match="the source 'gqa' has no column 'qestion'") as caught:
        run(by="qestion", vqa=VQA.rename({"question": "qestion"}), gqa=GQA)
    assert caught.value.fix == "did you mean 'question'?"


_tables = st.lists(st.tuples(st.sampled_from([["p"], ["o"], None]), st.sampled_from("qr"), st.just("a")), max_size=8)


@given(_tables, _tables, _tables, st.randoms())
@settings(max_examples=30)
def test_the_order_of_the_rows_decides_nothing(a: list[Any], b: list[Any], c: list[Any], random: Any) -> None:
    tables = {"a": source(*a), "b": source(*b), "c": source(*c)}
    shuffled = {}
    for name, table in reversed(tables.items()):
        places = list(range(table.height))
        random.shuffle(places)
        shuffled[name] = table[places]
    one, other = run("b c a", **tables), run("b c a", **shuffled)
    for name in tables:
        assert set(one[name].kept["row"]) == set(other[name].kept["row"])
        assert ledger(one[name].dropped) == ledger(other[name].dropped)
        assert one[name].kept.height + one[name].dropped.height == tables[name].height
    assert one["b"].dropped.is_empty()
