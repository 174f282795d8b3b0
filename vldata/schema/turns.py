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

KEPT_PREFIX = "\0keep "
"""Before the name of a native column that goes along with turns (a source's ``keep``)."""

META = "\0meta"
"""Column of turns: an object with those columns, as JSON, for the finished row (a source's ``meta``)."""

DERIVED: dict[str, pl.DataType | type[pl.DataType]] = {
    KEY: pl.UInt64,
    "rank": pl.UInt64,  # keyed place among the turns of the source
    "sample": pl.UInt64,  # rank of the first turn of its sample
    "sample_row": pl.String,  # row of that turn
    "place": pl.Int32,  # within the sample, 0-based
    "at": pl.Int64,  # place of the sample among the source's candidates, 0-based
    "fractions": pl.List(BOX),  # ``boxes``, clamped, as fractions of the image; ``boxes`` is then clamped and in pixels
    "split": pl.String,
    "sizes": pl.List(SIZE),  # as measured, else as annotated
    "hashes": pl.List(pl.String),  # of the images' bytes, null for one that is not there
    "image_bytes": pl.Int64,  # of all of its images
    "num_deep": pl.UInt32,  # of its images whose pixels are scaled to 8 bits
    "num_turns": pl.UInt32,
}
"""Columns that the steps of a build add to turns, or have for samples."""

COLUMNS_AFTER = {
    "index": "row images image_sizes urls thread position generator weight problem detail key",
    "screen": "row images image_sizes thread position generator weight key rank",
    "group": "row images image_sizes thread position generator weight key rank sample sample_row place",
    "choose": "row thread position generator weight key rank sample sample_row place at",
    "choose, with boxes": "row thread position generator weight key rank sample sample_row place at fractions",
    "choose, samples": "at sample images sizes hashes image_bytes num_deep split num_turns sample_row",
}
"""Columns of a table of turns after each step, beside the task's own; of samples, in all."""
