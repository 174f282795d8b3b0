"""Rows that name a row of another list."""

from __future__ import annotations

from typing import Any

import polars as pl

from vldata.sources.reading.lookup import looked_up

SCHEMA = {"id": pl.String, "size": pl.Int64, "problem": pl.String, "detail": pl.String}
OTHERS = [
    ("a", 1, None, None),
    ("b", 2, None, None),
    ("b", 3, None, None),
    ("c", None, "unknown_key", "'x' is not read here"),
    ("a", 1, None, None),
    (None, 9, None, None),
]


def found(**options: Any) -> list[tuple[Any, ...]]:
    names = ["a", "b", "c", "d", "a"]
    given = [None, None, None, None, "empty_text"]
    rows = pl.DataFrame({"id": names, "problem": given, "detail": given}, schema_overrides={"problem": pl.String})
    others = pl.DataFrame(OTHERS, schema=SCHEMA, orient="row")
    table = looked_up(rows, others, "id", unlisted="no {}", twice="{} twice", **options)
    assert table.columns == ["id", "problem", "detail", "size"]
    return table.select("id", "size", "problem", "detail").rows()


def test_each_row_has_what_the_other_says_or_a_reason() -> None:
    assert found(unfit="of {}: {}") == [
        ("a", 1, None, None),
        ("b", 2, "unparsable_row", "b twice"),
        ("c", None, "unparsable_row", "of c: 'x' is not read here"),
        ("d", None, "missing_value", "no d"),
        ("a", 1, "empty_text", "empty_text"),
    ]


def test_the_problem_of_the_other_is_its_own_where_no_words_are_given() -> None:
    assert found()[2] == ("c", None, "unknown_key", "'x' is not read here")
