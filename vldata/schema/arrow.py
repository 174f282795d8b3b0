"""Python's and NumPy's values as Arrow arrays. `pyarrow.array` would import pandas, in every process that builds.

The buffers are those that it would make, to the last bit behind the last value: a block is its bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa


def strings(values: Sequence[str | None]) -> pa.StringArray:
    """Texts as Arrow's ``string``."""
    series = pl.Series(values, dtype=pl.String)
    texts = series.to_arrow().cast(pa.string())
    if not series.null_count():
        return texts
    buffers = [_bits(series.is_not_null()), *texts.buffers()[1:]]
    return pa.Array.from_buffers(pa.string(), len(texts), buffers, series.null_count())


def numbers(values: npt.NDArray[Any] | Sequence[int], dtype: type[pl.DataType] | None = None) -> pa.Array:
    """Numbers, none of them missing; in their own type, unless one is named.

    Raises:
        polars.exceptions.InvalidOperationError: One does not fit the type.
    """
    series = pl.Series(values)
    return (series if dtype is None else series.cast(dtype)).to_arrow()


def flags(values: pl.Series) -> pa.BooleanArray:
    """Flags, none of them missing."""
    return pa.Array.from_buffers(pa.bool_(), values.len(), [None, _bits(values)], 0)


def nested(values: pl.Series, dtype: pa.DataType) -> pa.Array:
    """Lists and structs as an Arrow type of the same fields."""
    return values.to_arrow().cast(dtype).take(numbers(np.arange(values.len())))  # what is taken is written anew


def _bits(values: pl.Series) -> pa.Buffer:
    return pa.py_buffer(np.packbits(values.to_numpy(), bitorder="little"))
