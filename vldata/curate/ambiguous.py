"""Phrases that other things of the same image bear as well: who asks where "the chair" is must not mean one of two."""

from __future__ import annotations

import polars as pl

from vldata.schema.keyed import canonical_text


def ambiguous_phrases(turns: pl.DataFrame) -> pl.DataFrame:
    """``row`` and ``detail`` of the turns whose phrase has other boxes in another turn about the same images.

    Phrases are compared without regard to case, spacing and a full stop or the like behind them. The same boxes said
    twice are one thing, and a box without an area is none: it is for others to name.

    Args:
        turns: All of a source, those too that are not used: ``row``, ``images``, ``phrase``, ``boxes``.
    """
    phrase = pl.col("phrase").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    bare = phrase.str.strip_chars_end(" .,;:!?")
    phrase = pl.when(bare != "").then(bare).otherwise(phrase)
    named = turns.lazy().select(
        phrase=pl.when(pl.col("boxes").list.len() > 0, pl.col("images").list.len() > 0).then(phrase),
        images=pl.col("images").list.join("\0").str.replace_all(r"(^|[\x00/])(?:\./+)+", "${1}"),
        at=pl.int_range(pl.len()),
    )
    same = pl.col("images").hash() ^ pl.col("phrase").hash(1)  # the few that only hash alike are told apart below
    repeated = named.filter(pl.col("phrase").is_not_null()).filter(same.is_duplicated()).collect()
    repeated = repeated.with_columns(turns[repeated["at"]].select("row", "boxes"))
    x0, y0, x1, y1 = (pl.element().struct.field(name) for name in ("x0", "y0", "x1", "y1"))
    repeated = repeated.filter(pl.col("boxes").list.eval((x1 > x0) & (y1 > y0)).list.all())
    corners = pl.struct(x0, y0, x1, y1, pl.element().struct.field("image"))
    boxes = repeated.select(pl.col("boxes").list.eval(corners).list.unique().list.sort())
    placed = repeated.with_columns(boxes.select(place=canonical_text(dict(boxes.schema))))
    said = pl.format('"{}" has other boxes too on this image', "phrase")
    return placed.filter(pl.col("place").n_unique().over("images", "phrase") > 1).select("row", detail=said)
