"""Turns -> samples: the questions of an image become one conversation, native conversations stay whole."""

from __future__ import annotations

from typing import Literal

import polars as pl

from vldata.curate.cut import LEDGER, Cut
from vldata.curate.units import SEPARATOR


def conversations(
    turns: pl.DataFrame, *, group_by: Literal["image", "thread", "none"], max_turns: int | None
) -> pl.DataFrame:
    """Say which turns make a sample, and in which order.

    The turns of an image stand in keyed-rank order and are cut into conversations of ``max_turns``; the last may be
    shorter. Native conversations stand in their own order and are never cut. A text without either is its own sample.

    Args:
        turns: With ``rank``.
        group_by: ``image``: native conversations, else the turns with the same images. ``thread``: native
            conversations, every other turn alone. ``none``: every turn alone.
        max_turns: Most turns in a sample; None: no limit.

    Returns:
        The turns with ``sample`` (UInt64, rank of the sample's first turn), ``sample_row`` (its row) and ``place``
        (Int32, 0-based within the sample), sorted by these.
    """
    one = pl.concat_str(pl.lit("r"), pl.col("row"))
    whole = pl.concat_str(pl.lit("t"), pl.col("thread"))
    has_image = pl.col("images").list.len() > 0
    same = pl.when(has_image).then(pl.concat_str(pl.lit("i"), pl.col("images").list.join(SEPARATOR))).otherwise(one)
    unit = {"none": one, "thread": pl.coalesce(whole, one), "image": pl.coalesce(whole, same)}[group_by]
    in_thread = pl.col("thread").is_not_null() if group_by != "none" else pl.lit(False)
    position = pl.when(in_thread).then(pl.col("position")).otherwise(None)
    order = turns.select("rank", "row", unit=unit, position=position, limited=~in_thread).with_row_index("at")
    # sorting by a hash is faster than by the text; the text behind it keeps two units apart should their hashes meet
    order = order.sort(pl.col("unit").hash(), "unit", "position", "rank", "row", nulls_last=False)
    start = (pl.col("unit") != pl.col("unit").shift(1)).fill_null(True)
    index = pl.int_range(pl.len(), dtype=pl.Int64)
    order = order.with_columns(start=start, index=index).with_columns(
        place=pl.col("index") - pl.when("start").then("index").forward_fill()
    )
    if max_turns is not None:
        place = pl.when("limited").then(pl.col("place") % max_turns).otherwise("place")
        order = order.with_columns(place=place)
    first = pl.col("place") == 0
    order = order.with_columns(
        pl.col("place").cast(pl.Int32),
        sample=pl.when(first).then("rank").forward_fill(),
        sample_row=pl.when(first).then("row").forward_fill(),
    ).sort("sample", "sample_row", "place")
    return turns[order["at"]].with_columns(order["sample"], order["sample_row"], order["place"])


def whole_threads(before: pl.DataFrame, kept: pl.DataFrame) -> Cut:
    """Drop what is left of native conversations that have lost an exchange.

    Args:
        before: The turns before anything was dropped.
        kept: The turns that are left of them.

    Returns:
        ``kept`` without the broken conversations, and the ledger rows of the turns that this takes.
    """
    left = kept.filter(pl.col("thread").is_not_null())
    if left.is_empty():
        return Cut(kept, pl.DataFrame(schema=LEDGER))
    threads = before.filter(pl.col("thread").is_in(left["thread"].unique().implode()))
    lost = threads.join(kept, on="row", how="anti")
    broken = lost.group_by("thread").agg(row=pl.col("row").sort_by("position", "row").first())
    lost_with = left.select("row", "thread").join(
        broken.rename({"row": "lost"}), on="thread", how="inner", maintain_order="left"
    )
    dropped = lost_with.select("row", reason=pl.lit("broken_conversation"), detail=pl.format("lost: {}", "lost"))
    return Cut(kept.join(dropped, on="row", how="anti", maintain_order="left"), dropped)
