"""Columns of class numbers (``ClassLabel`` of Hugging Face `datasets`) -> the names of the classes.

``datasets`` writes the names into the schema's metadata of Parquet and Arrow files, as JSON under ``huggingface``; -1
is its number of a row without a class.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

Classes = Mapping[str, list[str]]
"""Column, or dotted path to what one holds -> the name of class 0, 1, 2 …"""


def of_parquet(path: Path) -> Classes:
    """The classes of a Parquet file's columns; none of a file that ``datasets`` did not write."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return of_schema(pq.read_schema(path))
    except (pa.ArrowInvalid, OSError):
        return {}  # whoever reads the rows says what is wrong with the file


def of_schema(schema: pa.Schema) -> Classes:
    """The classes of an Arrow table's columns."""
    try:
        said = msgspec.json.decode((schema.metadata or {})[b"huggingface"])
        features = said["info"]["features"].items()
    except (KeyError, TypeError, AttributeError, msgspec.MsgspecError):
        return {}
    return dict(_found(features, ""))


def _found(features: Iterable[tuple[str, Any]], before: str) -> Iterator[tuple[str, list[str]]]:
    for name, feature in features:
        names = _names(feature)
        if names is not None:
            yield before + name, names
        else:
            yield from _found(_fields(feature).items(), f"{before}{name}.")


def _fields(feature: Any) -> Mapping[str, Any]:
    """The features of a struct, or of a list of them; none of anything else."""
    if isinstance(feature, list) and len(feature) == 1:
        return _fields(feature[0])
    if not isinstance(feature, dict):
        return {}
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _fields(feature.get("feature"))
    return {} if "_type" in feature else feature


def named(table: pl.DataFrame, classes: Classes) -> pl.DataFrame:
    """The table with class names for numbers in the columns that have classes, or whose lists and structs have them.

    A number without a class is null.
    """
    heads = {name for column in classes for name in (column, column.partition(".")[0]) if name in table.columns}
    return table.with_columns(_named(pl.col(name), table.schema[name], name, classes).alias(name) for name in heads)


def _named(values: pl.Expr, dtype: Any, path: str, classes: Classes) -> pl.Expr:
    """Values at a dotted path of the table, with the names of the classes there or inside them."""
    if isinstance(dtype, pl.List):
        return values.list.eval(_named(pl.element(), dtype.inner, path, classes))
    if isinstance(dtype, pl.Struct):
        inside = {field.name: f"{path}.{field.name}" for field in dtype.fields}
        own = [name for name, at in inside.items() if any(f"{one}.".startswith(f"{at}.") for one in classes)]
        types = dtype.to_schema()
        parts = [_named(values.struct.field(name), types[name], inside[name], classes).alias(name) for name in own]
        return values.struct.with_fields(parts) if parts else values
    names = classes.get(path)
    if names is None or not dtype.is_integer():
        return values
    return values.replace_strict(list(range(len(names))), names, default=None, return_dtype=pl.String)


def _names(feature: Any) -> list[str] | None:
    """The names of a ``ClassLabel``, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        return _names(feature[0])
    if not isinstance(feature, dict):
        return None
    if feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _names(feature.get("feature"))
    names = feature.get("names")
    if feature.get("_type") != "ClassLabel" or not isinstance(names, list):
        return None
    return names if all(type(name) is str for name in names) else None
