"""Boxes that other rows hold, and formats with one box a row."""

from __future__ import annotations

import polars as pl

from vldata.sources.reading.boxes import box_of


def one_box(numbers: str = "bbox", phrase: str = "phrase") -> pl.Expr:
    """The ``boxes`` column: left, top, width and height in pixels of the row's image; null where they are."""
    return pl.when(pl.col(numbers).is_not_null()).then(pl.concat_list(box_of(numbers, phrase)))


def with_problem_of(rows: pl.DataFrame, problem: str, detail: str) -> pl.DataFrame:
    """Rows with the problem of what they were joined with, where they have none of their own."""
    detail_of = pl.when(pl.col("problem").is_null()).then(detail).otherwise("detail")
    return rows.with_columns(problem=pl.coalesce("problem", problem), detail=detail_of)
