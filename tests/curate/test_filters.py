"""Each filter on both sides of its limit."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from vldata.curate.filters import FILTERS, Filters, image_filters, text_filters
from vldata.schema.turns import SIZE


def why(text: str | None, **options: Any) -> tuple[str, str] | None:
    table = pl.DataFrame({"row": ["a"], "t": [text]}, schema={"row": pl.String, "t": pl.String})
    dropped = text_filters(table, Filters(**options), ["t"]).dropped
    return dropped.select("reason", "detail").row(0) if dropped.height else None


def why_sizes(*sizes: tuple[int, int] | None, **options: Any) -> str | None:
    column = pl.Series([[s and {"width": s[0], "height": s[1]} for s in sizes]], dtype=pl.List(SIZE))
    return image_filters(pl.DataFrame({"sizes": column}), Filters(**options)).item()


@pytest.mark.parametrize(
    ("option", "value", "passes", "leaves", "reason"),
    [
        ("min_chars", 3, "añb", "ab", ("text_too_short", "2 (min_chars 3)")),
        ("max_chars", 3, "añb", "abcd", ("text_too_long", "4 (max_chars 3)")),
        ("min_words", 2, "a  b", "ab", ("text_too_short", "1 (min_words 2)")),
        ("max_words", 2, "a\nb", "a b c", ("text_too_long", "3 (max_words 2)")),
        (
            "max_word_repetition",
            0.4,
            "a b c a b c",
            "yes Yes YES yes",
            ("text_repetitive", "0.5 (max_word_repetition 0.4)"),
        ),
        ("max_word_repetition", 0, "a b c d", "a a a a", ("text_repetitive", "0.5 (max_word_repetition 0)")),
        ("ascii_only", True, "plain", "naïve", ("text_not_ascii", "ascii_only")),
        ("no_file_names", True, "a dog", "IMG_1234.JPG", ("text_is_file_name", "no_file_names")),
    ],
)
def test_a_text_filter_drops_what_is_beyond_its_limit(
    option: str, value: Any, passes: str, leaves: str, reason: tuple[str, str]
) -> None:
    assert why(passes, **{option: value}) is None
    assert why(leaves, **{option: value}) == reason


@pytest.mark.parametrize(
    ("option", "value", "passes", "leaves", "reason"),
    [
        ("min_side_px", 10, (10, 50), (9, 50), "image_too_small"),
        ("max_side_px", 50, (10, 50), (10, 51), "image_too_large"),
        ("max_aspect", 2.0, (100, 200), (100, 201), "image_too_long"),
        ("max_aspect", 2.0, (200, 100), (201, 100), "image_too_long"),
    ],
)
def test_an_image_filter_drops_what_is_beyond_its_limit(
    option: str, value: float, passes: tuple[int, int], leaves: tuple[int, int], reason: str
) -> None:
    assert why_sizes(passes, passes, **{option: value}) is None
    assert why_sizes(passes, leaves, **{option: value}) == reason


def test_every_filter_is_tested_above() -> None:
    text = {"min_chars", "max_chars", "min_words", "max_words", "max_word_repetition", "ascii_only", "no_file_names"}
    assert set(FILTERS) == text | {"min_side_px", "max_side_px", "max_aspect"}


@pytest.mark.parametrize(
    "name", ["20160716113957.JPG", "DSC00012", "image 0042.png", "2014-05-03 12.33.44.jpg", "IMG_1234"]
)
def test_names_that_cameras_give_are_file_names(name: str) -> None:
    assert why(name, no_file_names=True)


@pytest.mark.parametrize("text", ["2", "42", "1999", "yes.", "A photo of IMG_1234.JPG", "Route 66", "a.b", ""])
def test_short_answers_and_sentences_are_not_file_names(text: str) -> None:
    assert why(text, no_file_names=True) is None


def test_the_texts_of_a_task_are_judged_together_and_a_missing_one_is_empty() -> None:
    table = pl.DataFrame({"row": ["a", "b"], "question": ["What is it?", "Why"], "answer": ["a cat", None]})
    kept, dropped = text_filters(table, Filters(min_words=5), ("question", "answer", "absent"))
    assert kept["row"].to_list() == ["a"]
    assert dropped.rows() == [("b", "text_too_short", "1 (min_words 5)")]


def test_a_task_without_texts_has_an_empty_text() -> None:
    assert text_filters(pl.DataFrame({"row": ["a", "b"]}), Filters(min_chars=1), ()).kept.is_empty()


def test_a_natural_paragraph_repeats_little() -> None:
    text = (
        "The cat sat on the mat and looked at the dog, which had been lying in the sun since the early morning. "
        "Nobody knew where the dog had come from, nor why the cat did not mind, but the two of them were seen on "
        "the same mat every day of that long summer, until the owner of the house came back from the coast."
    )
    assert why(text, max_word_repetition=0.1) is None


def test_unknown_sizes_pass() -> None:
    assert why_sizes(None, min_side_px=10) is None
    assert why_sizes(min_side_px=10) is None
    assert why_sizes(None, (5, 5), min_side_px=10) == "image_too_small"


def test_limits_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ValidationError, match="min_words 5 is above max_words 4: nothing could pass"):
        Filters(min_words=5, max_words=4)


def test_an_unknown_filter_is_refused() -> None:
    with pytest.raises(ValidationError):
        Filters.model_validate({"min_wrods": 3})
