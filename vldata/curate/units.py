"""What is compared with what: a turn stands for itself, the exchanges of a native conversation for the whole of it.

So removing duplicates takes out a conversation or leaves it alone, and never makes a hole in one.
"""

from __future__ import annotations

import polars as pl

SEPARATOR = "\x1d"
"""Between the exchanges of a conversation and between images."""


def units(turns: pl.DataFrame, **values: pl.Expr) -> pl.DataFrame:
    """One row for each unit, ordered by rank: ``unit``, ``rank``, ``image`` and a column for each of ``values``.

    Args:
        turns: With ``row``, ``rank``, ``images``, ``thread`` and ``position``.
        values: Name to an expression of text; a conversation's value is that of its exchanges, joined.

    Returns:
        ``unit`` is the row of the first turn, ``rank`` its rank, ``image`` its images as one string ("" for none).
    """
    image = pl.col("images").list.join(SEPARATOR).alias("image")
    flat = turns.select("row", "rank", "thread", "position", image, **values)
    alone = flat.filter(pl.col("thread").is_null()).select("rank", *values, unit="row", image="image")
    if alone.height < flat.height:
        threads = flat.filter(pl.col("thread").is_not_null()).sort("thread", "position", "rank", "row")
        whole = threads.group_by("thread", maintain_order=True).agg(
            pl.col("rank", "image").first(),
            *(_joined(pl.col(name)).alias(name) for name in values),
            unit=pl.col("row").first(),
        )
        alone = pl.concat([alone, whole.select(alone.columns)])
    return alone.sort("rank", "unit").select("unit", "rank", "image", *values)


def rows_of(turns: pl.DataFrame, dropped: pl.DataFrame) -> pl.DataFrame:
    """Ledger rows of units as ledger rows of all their turns.

    Args:
        turns: The turns that the units were made of.
        dropped: ``unit``, ``reason``, ``detail``.
    """
    named = dropped.rename({"unit": "row"})
    threads = turns.filter(pl.col("thread").is_not_null())
    if threads.is_empty():
        return named
    of = threads.select("row", first=pl.col("row").sort_by("position", "rank", "row").first().over("thread"))
    members = of.join(named, left_on="first", right_on="row", how="inner", maintain_order="left").select(named.columns)
    return pl.concat([named.join(of, on="row", how="anti", maintain_order="left"), members])


def _joined(value: pl.Expr) -> pl.Expr:
    """Null where all are null, since joining nothing gives a text that equals every other nothing."""
    return pl.when(value.is_not_null().any()).then(value.str.join(SEPARATOR, ignore_nulls=True))
