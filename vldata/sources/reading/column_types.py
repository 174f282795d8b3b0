"""Column types that Arrow and Parquet have and that hardly anything computes with -> ones in common use.

Half floats are read by their shortest decimal digits, as their writer showed them; extension types are what they store.
"""

from __future__ import annotations

from typing import Any

import polars as pl


def in_common_types(table: pl.DataFrame) -> pl.DataFrame:
    """The table with such columns, and such values inside lists and structs, in types in common use."""
    rare = [name for name, dtype in table.schema.items() if _common(dtype) != dtype]
    return table.with_columns(_converted(table[name]) for name in rare) if rare else table


def _converted(values: pl.Series) -> pl.Series:
    if isinstance(values.dtype, pl.BaseExtension):
        return in_common_types(values.ext.storage().to_frame(values.name)).to_series()
    if values.dtype == pl.Float16:
        texts = pl.Series(values.name, values.fill_null(0).to_numpy().astype(str)).cast(pl.Float64)
        return texts.zip_with(values.is_not_null(), pl.Series([None], dtype=pl.Float64))
    return values.cast(_common(values.dtype))


def _common(dtype: Any) -> Any:
    if isinstance(dtype, pl.List):
        return pl.List(_common(dtype.inner))
    if isinstance(dtype, pl.Array):
        return pl.Array(_common(dtype.inner), dtype.size)
    if isinstance(dtype, pl.Struct):
        return pl.Struct({field.name: _common(field.dtype) for field in dtype.fields})
    if isinstance(dtype, pl.BaseExtension):
        return dtype.ext_storage()
    return pl.Float64() if dtype == pl.Float16 else dtype
