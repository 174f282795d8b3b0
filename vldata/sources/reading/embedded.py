"""References to images that lie as bytes inside a table."""

from __future__ import annotations

import os
from pathlib import Path

import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.sources.reading.table_file import TableFile


def name_below(path: Path, image_root: str | None) -> str:
    """A file, seen from ``image_root``."""
    return Path(os.path.relpath(path, home(image_root or "."))).as_posix()


def prefix_of(path: Path, image_root: str | None) -> str:
    """What references to the images inside a file begin with, seen from ``image_root``.

    Raises:
        SourceError: The file lies outside ``image_root``, or there is none.
    """
    if image_root is None:
        raise SourceError(str(path), "it holds images, and `image_root` is not set", "name a folder above it")
    name = name_below(path, image_root)
    if name.startswith(".."):
        fix = f"leave `image_root` out, or name a folder above {path.parent}"
        raise SourceError(str(path), f"it holds images and lies outside image_root {image_root!r}", fix)
    return f"{name}::"


def embedded_images(frame: TableFile, column: str, image_root: str | None) -> pl.Series | None:
    """A list of references for each row of a table, ``<file>::<column>/<row>/<place>``; None for other columns.

    Raises:
        SourceError: The table lies outside ``image_root``, or there is none.
    """
    present = frame.images(column)
    if present is None:
        return None
    before = prefix_of(frame.path, image_root)
    rows = pl.DataFrame({"k": present}).with_row_index("place")
    each = rows.filter(pl.col("k").list.len() > 0).explode("k")
    references = each.group_by("place").agg(
        images=pl.format("{}{}/{}/{}", pl.lit(before), pl.lit(column), "place", "k")
    )
    joined = rows.join(references, on="place", how="left", maintain_order="left")
    return joined.select(pl.col("images").fill_null(pl.lit([], dtype=pl.List(pl.String)))).to_series()
