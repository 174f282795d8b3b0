"""``where``: true keeps, everything else drops, and nothing reads a file."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from tests.curate.table import ledger, rows_of, turns
from vldata.curate.where import where
from vldata.errors import RecipeError

TURNS = turns(
    [
        {"question": "What is it?", "n": 1},
        {"question": "Select the colour", "n": 2, "image": None},
        {"question": None, "n": 3},
    ],
    question=pl.String,
    n=pl.Int64,
)
PATH = "sources.mine.where"


def refused(expression: str) -> RecipeError:
    with pytest.raises(RecipeError) as caught:
        where(TURNS, expression, PATH)
    assert caught.value.where == PATH
    return caught.value


@pytest.mark.parametrize(
    ("expression", "rows"),
    [
        ("n > 1", "bc"),
        ("ARRAY_LENGTH(images) > 0", "ac"),
        ("question LIKE '%colour%'", "b"),
        ("question LIKE 'Select the%'", "b"),
        ("NOT (question = 'What is it?')", "b"),
        ("images[1] = '1.jpg' AND n BETWEEN 1 AND 2", "a"),
        ("length(question) > 100", ""),
        ("n IN (1, 3)", "ac"),
        ("ROUND(n * 1.0, 0) = 2 OR question = 'over (x)'", "b"),
    ],
)
def test_turns_for_which_it_is_true_stay_and_null_is_false(expression: str, rows: str) -> None:
    kept, dropped = where(TURNS, expression, PATH)
    assert rows_of(kept) == rows
    assert ledger(dropped) == {row: ("where", expression) for row in "abc" if row not in rows}


def test_an_expression_in_words_works_on_a_table_without_rows() -> None:
    assert where(TURNS.clear(), "n > 1", PATH).kept.is_empty()


def test_an_unknown_column_is_answered_with_the_nearest_and_all_others() -> None:
    error = refused("qestion = 'x'")
    assert error.problem == "no column 'qestion' in \"qestion = 'x'\""
    assert error.fix.startswith("did you mean 'question'? columns: row, images,")
    assert "rank" not in error.fix


def test_text_in_double_quotes_is_explained() -> None:
    assert refused('question = "blue"').fix.startswith("text stands in single quotes: 'blue'; columns: ")


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("n", "is Int64, not true or false"),
        ("question", "is String, not true or false"),
        ("NULL", "one value for the whole table"),
        ("SUM(n) > 3", "one value for the whole table"),
        ("1 = 1", "one value for the whole table"),
        ("n > MAX(n) - 1", "looks at other turns"),
        ("ROW_NUMBER() OVER (ORDER BY n) < 3", "looks at other turns"),
        ("SUM(n) OVER (PARTITION BY question) > 3", "looks at other turns"),
        ("RANK() OVER (ORDER BY n) = 1", "looks at other turns"),
        ("n >", "cannot be used"),
        ("", "cannot be used"),
        ("*", "cannot be used"),
        ("n > 1; DROP TABLE x", "subquery"),
        ("n > 1, n < 2", "cannot be used"),
        ("frobnicate(n)", "no function 'frobnicate'"),
        ("n > 'x'", "cannot be used"),
        ("UNNEST(images) = '1.jpg'", "gives each turn several values or none"),
    ],
)
def test_an_expression_that_is_no_condition_is_refused(expression: str, problem: str) -> None:
    assert problem in refused(expression).problem


def test_a_value_that_cannot_be_converted_is_reported() -> None:
    assert "conversion" in refused("CAST(question AS INT) > 1").problem


@pytest.mark.parametrize(
    "expression",
    [
        "n > (SELECT 1)",
        "n IN (select n FROM self)",
        "EXISTS (VALUES (1))",
        "EXISTS (FROM read_csv('{file}'))",
        "n IN (SELECT a FROM read_csv('{file}'))",
        "n IN (SELECT a FROM READ_PARQUET('{file}'))",
        "question = '$$' OR n IN (SELECT a FROM read_csv('{file}'))",
        "question = $$ ' $$ OR n IN (SELECT a FROM read_csv('{file}')) OR question = ' '",
        "n > 1 -- '\n AND n IN (SELECT a FROM read_csv('{file}')) --'",
        "n > 1 /* ' */ AND n IN (SELECT a FROM read_csv('{file}')) /* ' */",
        "n IN (/**/FROM read_csv('{file}'))",
        "n IN (WITH t AS (SELECT 1) SELECT 1)",
    ],
)
def test_no_subquery_gets_as_far_as_a_file(expression: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("hidden_column\n1\n")
    error = refused(expression.format(file=secret))
    assert "hidden_column" not in str(error)
    assert "subquery" in error.problem or "cannot be used" in error.problem


def test_the_order_of_the_rows_decides_nothing() -> None:
    assert sorted(where(TURNS[::-1], "n > 1", PATH).kept["row"]) == ["b", "c"]


@pytest.mark.parametrize("column", ["rank", "key"])
def test_columns_of_our_own_are_not_for_conditions(column: str) -> None:
    with_own = TURNS.with_columns(pl.lit(1, pl.UInt64).alias(column))
    with pytest.raises(RecipeError, match=f"no column '{column}'"):
        where(with_own, f"{column} > 0", PATH)
