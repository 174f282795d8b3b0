"""Phrases that other things of the same image bear as well: who asks where "the chair" is must not mean one of two."""

from __future__ import annotations

import polars as pl

from vldata.schema.keyed import canonical_text


def ambiguous_phrases(turns: pl.DataFrame) -> pl.DataFrame:
    """``row`` and ``detail`` of the turns whose phrase has other boxes in another turn about the same images.

    Phrases are compared without regard to case and spacing. The same boxes said twice are one thing.

    Args:
        turns: All of a source, those too that are not used: ``row``, ``images``, ``phrase``, ``boxes``.
    """
    phrase = pl.col("phrase").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars()
    has_all = [pl.col("phrase").is_not_null(), *(pl.col(name).list.len() > 0 for name in ("boxes", "images"))]
    named = turns.lazy().filter(has_all)
    named = named.select("row", "boxes", phrase=phrase, images=pl.col("images").list.join("\0"))
    repeated = named.filter(pl.struct("images", "phrase").is_duplicated()).collect()
    corners = pl.struct(pl.element().struct.field(name) for name in ("x0", "y0", "x1", "y1", "image"))
    boxes = repeated.select(pl.col("boxes").list.eval(corners).list.unique().list.sort())
    placed = repeated.with_columns(boxes.select(place=canonical_text(dict(boxes.schema))))
    said = pl.format('"{}" has other boxes too on this image', "phrase")
    return placed.filter(pl.col("place").n_unique().over("images", "phrase") > 1).select("row", detail=said)
