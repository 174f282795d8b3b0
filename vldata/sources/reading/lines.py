"""Text files with one row a line."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from vldata.sources.reading.files import read_text


def text_lines(path: Path) -> pl.Series:
    """The lines of a file, with blank ones; only line feeds end a line, and a carriage return before one goes.

    Raises:
        SourceError: Empty, or not UTF-8.
    """
    lines = pl.Series("line", read_text(path).removesuffix("\n").split("\n"), dtype=pl.String)
    return lines.str.strip_suffix("\r")
