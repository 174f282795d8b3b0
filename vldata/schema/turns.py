"""Turns: one caption, question, phrase, statement or exchange per row, in canonical columns.

A source fills ``row``, ``images`` and the columns of its task; everything else here is optional.
Boxes are data: absolute pixels of the upright image (or fractions of it, when the source's format says so),
``x0, y0`` the upper left corner, ``x1, y1`` the lower right one.
"""

from __future__ import annotations

import polars as pl

SIZE = pl.Struct({"width": pl.Int32, "height": pl.Int32})
"""Width and height in pixels, after EXIF orientation."""

BOX = pl.Struct(
    {"x0": pl.Float64, "y0": pl.Float64, "x1": pl.Float64, "y1": pl.Float64, "image": pl.Int32, "phrase": pl.String}
)
"""A box, the position of its image in ``images`` (0-based), and the phrase it belongs to (may be null)."""

COMMON: dict[str, pl.DataType | type[pl.DataType]] = {
    "row": pl.String,  # native id; null everywhere: a hash of the canonical columns is used
    "images": pl.List(pl.String),  # references below the source's image_root; empty for text
    "image_sizes": pl.List(SIZE),  # as annotated, null when the format does not say
    "urls": pl.List(pl.String),  # where the images came from, for exclusion lists
    "thread": pl.String,  # native conversation id: its exchanges stay together and in order
    "position": pl.Int32,  # place in the thread, 0-based
    "weight": pl.Float32,  # of its answer's loss; null is 1
    "generator": pl.String,  # key of the request whose answer it was made from; null for annotated data
    "problem": pl.String,  # a name of `schema.reasons`: the row is not usable, and why
    "detail": pl.String,  # what exactly, for the ledger
}
"""Columns that every table of turns has, whatever its task."""

KEY = "key"
"""64-bit hash of ``row``: the root of every keyed choice."""
