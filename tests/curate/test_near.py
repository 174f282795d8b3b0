"""Near-duplicates: the vectorised rounds against the plain definition."""

from __future__ import annotations

from typing import Literal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from vldata.curate import near
from vldata.curate.near import near_duplicates

Measure = Literal["jaccard", "edit"]

_words = st.lists(st.sampled_from(["red", "Red", "cat", "dog?", "is", "it"]), max_size=5).map(" ".join)
_tables = st.lists(st.tuples(st.sampled_from(["", "1", "2"]), st.none() | _words), max_size=25)


def run(pairs: list[tuple[str, str | None]], similarity: float, measure: Measure) -> list[int]:
    images = pl.Series([image for image, _ in pairs], dtype=pl.String)
    texts = pl.Series([text for _, text in pairs], dtype=pl.String)
    return near_duplicates(images, texts, similarity, measure).tolist()


def likeness(a: str, b: str, measure: Measure) -> float:
    if measure == "edit":
        a, b = (" ".join(t.lower().split()) for t in (a, b))
        return Levenshtein.normalized_similarity(a, b) if a or b else 0.0
    one, two = ({w.strip("?") for w in t.lower().split()} for t in (a, b))
    return len(one & two) / len(one | two) if one | two else 0.0


@pytest.mark.parametrize("measure", ["jaccard", "edit"])
@given(pairs=_tables, similarity=st.sampled_from([0.2, 0.5, 2 / 3, 0.8, 1.0]))
@settings(max_examples=80)
def test_each_text_is_compared_with_the_kept_ones_before_it(
    measure: Measure, pairs: list[tuple[str, str | None]], similarity: float
) -> None:
    expected: list[int] = []
    for place, (image, text) in enumerate(pairs):
        before = [
            other
            for other in range(place)
            if expected[other] == -1
            and image != ""
            and pairs[other][0] == image
            and text is not None
            and pairs[other][1] is not None
            and likeness(text, pairs[other][1] or "", measure) >= similarity - 1e-9
        ]
        expected.append(before[0] if before else -1)
    assert run(pairs, similarity, measure) == expected


def test_word_order_and_letter_case_do_not_count_for_jaccard() -> None:
    assert run([("1", "Is it red?"), ("1", "it IS red")], 1.0, "jaccard") == [-1, 0]


def test_a_typing_error_is_near_by_edits_and_far_by_words() -> None:
    pairs = [("1", "elephants"), ("1", "elefants")]
    assert run(pairs, 0.7, "edit") == [-1, 0]
    assert run(pairs, 0.7, "jaccard") == [-1, -1]


def test_a_likeness_that_is_exactly_the_limit_is_enough() -> None:
    assert run([("1", "red red red red dog?"), ("1", "dog?")], 0.2, "edit") == [-1, 0]


def test_languages_without_spaces_are_compared_by_edits() -> None:
    assert run([("1", "这是什么颜色的猫"), ("1", "这是什么颜色的狗")], 0.8, "edit") == [-1, 0]


def test_what_resembles_only_a_dropped_text_is_kept() -> None:
    pairs = [("1", "a b c d"), ("1", "b c d e"), ("1", "c d e f")]
    assert run(pairs, 0.6, "jaccard") == [-1, 0, -1]


def test_texts_of_different_images_are_never_compared() -> None:
    assert run([("1", "the same"), ("2", "the same")], 0.1, "jaccard") == [-1, -1]


def test_texts_without_words_resemble_nothing_by_words() -> None:
    assert run([("1", "???"), ("1", "???"), ("1", "")], 0.5, "jaccard") == [-1, -1, -1]


def test_nothing_at_all_is_fine() -> None:
    assert run([], 0.5, "jaccard") == []
    assert run([("1", None), ("1", None)], 0.5, "edit") == [-1, -1]


def test_a_text_is_compared_with_a_bounded_number_of_kept_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near, "MAX_COMPARED", 2)
    pairs = [("1", "a"), ("1", "b"), ("1", "c"), ("1", "b"), ("1", "c")]
    assert run(pairs, 1.0, "jaccard") == [-1, -1, -1, 1, -1]
