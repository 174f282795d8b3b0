"""Tables in Parquet and Arrow files, and the images that lie in their cells."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading import class_names
from vldata.sources.reading.column_types import in_common_types
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.table_file import Form, TableFile, guarded, placed, shaped, typed_table

if TYPE_CHECKING:
    import pyarrow as pa

_PLACES = pl.List(pl.UInt32)


def open_parquet(form: Form) -> TableFile:
    """Look at a Parquet file; only its head is read."""
    path = form.path
    rows = guarded(path, pl.scan_parquet, path, glob=False)
    read = partial(_read_parquet, path, shaped(form, rows), class_names.of_parquet(path))
    return typed_table(form, rows, read, partial(_parquet_images, path))


def open_arrow(form: Form) -> TableFile:
    """Look at an Arrow file, a stream or one with a footer."""
    table = _arrow_table(form.path)
    empty = pl.from_arrow(table.slice(0, 0))
    assert isinstance(empty, pl.DataFrame)
    return typed_table(form, empty.lazy(), partial(_read_arrow, form, table), partial(_arrow_images, table))


def _read_parquet(
    path: Path, rows: pl.LazyFrame, classes: class_names.Classes, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    return class_names.named(in_common_types(guarded(path, placed(rows, names).collect)), classes), {}


def _arrow_table(path: Path) -> pa.Table:
    import pyarrow as pa

    try:
        source = pa.memory_map(str(path))
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        return (pa.ipc.open_file(source) if is_file else pa.ipc.open_stream(source)).read_all()
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(
            str(path), f"neither an Arrow file nor an Arrow stream ({error})", "download it again"
        ) from None


def _read_arrow(
    form: Form, table: pa.Table, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    asked = (*names, *form.explode)
    own = [column for column in table.column_names if any(f"{name}.".startswith(f"{column}.") for name in asked)]
    if not own:
        return pl.DataFrame({PLACE: pl.Series(range(table.num_rows), dtype=pl.UInt32)}), {}
    read = pl.from_arrow(table.select(own))
    assert isinstance(read, pl.DataFrame)
    found = placed(shaped(form, read.lazy()), names).collect()
    return class_names.named(in_common_types(found), class_names.of_schema(table.schema)), {}


def _arrow_images(table: pa.Table, column: str) -> pl.Series | None:
    return _present([table.column(column)]) if _holds_bytes(table.schema.field(column).type) else None


def _parquet_images(path: Path, column: str) -> pl.Series | None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        if not _holds_bytes(file.schema_arrow.field(column).type):
            return None
        leaves = [file.schema.column(k).path for k in range(len(file.schema))]
        own = [leaf for leaf in leaves if leaf == column or leaf.startswith(f"{column}.")]
        cheapest = next((leaf for leaf in own if leaf.endswith(".path")), own[0])
        return _present(batch.column(0) for batch in file.iter_batches(1024, columns=[cheapest]))


def _holds_bytes(dtype: Any) -> bool:
    """Whether a column of this Arrow type holds images: bytes, ``datasets``' struct<bytes, path>, or lists."""
    import pyarrow.types as kinds

    if kinds.is_list(dtype) or kinds.is_large_list(dtype) or kinds.is_fixed_size_list(dtype):
        dtype = dtype.value_type
    if kinds.is_struct(dtype):
        return any(dtype.field(k).name == "bytes" and _is_binary(dtype.field(k).type) for k in range(dtype.num_fields))
    return _is_binary(dtype)


def _is_binary(dtype: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_binary(dtype) or kinds.is_large_binary(dtype) or kinds.is_binary_view(dtype))


def _present(arrays: Iterable[Any]) -> pl.Series:
    """Which images are not null, row by row."""
    parts = [pl.Series([], dtype=_PLACES)]
    for array in arrays:
        values = pl.from_arrow(array)
        assert isinstance(values, pl.Series)
        if isinstance(values.dtype, pl.Array):
            values = values.arr.to_list()
        column = pl.col("values")
        if isinstance(values.dtype, pl.List):
            there = column.list.eval(pl.element().is_not_null().arg_true())
        else:
            there = pl.concat_list(pl.when(column.is_not_null()).then(pl.lit(0))).list.drop_nulls()
        none = pl.lit([], dtype=_PLACES)
        parts.append(values.alias("values").to_frame().select(there.cast(_PLACES).fill_null(none)).to_series())
    return pl.concat(parts)
