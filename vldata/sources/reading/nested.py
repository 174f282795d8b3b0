"""What lies inside the columns of a table: values at dotted paths, and nested lists whose items become rows.

``elements.bbox`` is the field ``bbox`` of the column ``elements``, unless a column has that very name. A list that is
exploded gives a row for each item, and its path then leads to the item.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from vldata.errors import SourceError, nearest
from vldata.sources.reading.keep import splits
from vldata.sources.reading.keys import is_blank
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.text_lists import list_in, lists_from_texts

PLACE = "\0place"
"""The place of a row in the table that is read, from 0; no file has a column of this name."""

ROW = "\0row"
"""In a table of exploded lists: the place in its file of the row that had the list."""

ITEM = "\0item"
"""In a table of exploded lists: the place in the list; null where it has no items, `UNEVEN` where it
cannot be exploded."""

UNEVEN = -1

_IS_UNEVEN = "\0uneven"

_PLACES = {PLACE: pl.UInt32, ROW: pl.UInt32, ITEM: pl.Int32}


def paths(schema: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """Dotted paths to everything that the structs of a table hold, without the columns themselves."""
    for name, dtype in schema.items():
        if before:
            yield before + name
        if isinstance(dtype, pl.Struct):
            yield from paths(dtype.to_schema(), f"{before}{name}.")


def paths_of_objects(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Dotted paths to everything that the objects inside rows of JSON hold."""
    found: dict[str, None] = {}

    def walk(inside: Mapping[str, Any], before: str) -> None:
        for name, value in inside.items():
            if before:
                found.setdefault(before + name)
            if type(value) is dict:
                walk(value, f"{before}{name}.")

    for row in rows:
        walk(row, "")
    return tuple(found)


def column(name: str, schema: Mapping[str, Any]) -> tuple[pl.Expr, Any] | None:
    """What lies at a dotted path, and its type; the longest name of a column wins. None: nothing lies there."""
    for head, rest in splits(name):
        if head not in schema:
            continue
        expression, dtype = pl.col(head), schema[head]
        while rest and isinstance(dtype, pl.Struct):
            inner = dtype.to_schema()
            step = next(((field, left) for field, left in splits(rest) if field in inner), None)
            if step is None:
                break
            field, rest = step
            expression, dtype = expression.struct.field(field), inner[field]
        if not rest:
            return expression.alias(name), dtype
    return None


def value(row: Mapping[str, Any], name: str) -> Any:
    """What lies at a dotted path in an object, None where nothing does; the longest key wins."""
    if name in row or "." not in name:
        return row.get(name)
    for head, rest in splits(name):
        inside = row.get(head)
        if type(inside) is dict:
            return value(inside, rest)
    return None


def exploded(rows: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """A row for each item of the lists at these paths, which go side by side; with `PLACE`, `ROW` and `ITEM`.

    Raises:
        SourceError: A path leads nowhere, or not to a list.
    """
    schema = rows.collect_schema()
    lists = [_list_at(name, schema) for name in names]
    lengths = [one.list.len().fill_null(0) for one in lists]
    is_even = pl.all_horizontal(length == lengths[0] for length in lengths)
    is_sound = is_even & (lengths[0] > 0)
    items = pl.int_ranges(lengths[0].cast(pl.Int32), dtype=pl.Int32)
    return (
        rows.with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW),
            *(pl.when(is_sound).then(one).alias(name) for name, one in zip(names, lists, strict=True)),
            pl.when(is_sound).then(items).alias(ITEM),
            (~is_even).alias(_IS_UNEVEN),
        )
        .explode(*names, ITEM)
        .with_columns(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias(PLACE),
            pl.when(_IS_UNEVEN).then(UNEVEN).otherwise(ITEM).alias(ITEM),
        )
        .drop(_IS_UNEVEN)
    )


def exploded_objects(
    rows: Sequence[dict[str, Any]], notes: Mapping[int, str], names: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[int, str], pl.DataFrame]:
    """As `exploded`, of objects.

    Args:
        notes: Place of a row to what is wrong with it.

    Returns:
        The rows, what is wrong with them by their new places, and `PLACE`, `ROW` and `ITEM`.
    """
    made: list[dict[str, Any]] = []
    found: dict[int, str] = {}
    places: list[tuple[int, int, int | None]] = []
    for place, row in enumerate(rows):
        lists = [_list_of(value(row, name)) for name in names]
        odd = next((k for k, one in enumerate(lists) if one is not None and not isinstance(one, list)), None)
        note = notes.get(place)
        if note is None and odd is not None:
            what = "an object" if isinstance(lists[odd], dict) else shown(lists[odd])
            note = f"{names[odd]!r} is {what}, not a list"
        lengths = {len(one or ()) for one in lists} if odd is None else set()
        if note is not None:
            found[len(made)] = note
        if note is not None or len(lengths) > 1:
            items: list[int | None] = [UNEVEN]
        else:
            items = [*range(lengths.pop())] or [None]
        for k in items:
            inside = [one[k] if k is not None and k != UNEVEN else None for one in lists]
            places.append((len(made), place, k))
            made.append({**row, **dict(zip(names, inside, strict=True))})
    for name in names:
        held = [of for row in rows if not is_blank(of := value(row, name))]
        if held and not any(isinstance(_list_of(of), list) for of in held):
            what = f"an object of {', '.join(held[0])}" if isinstance(held[0], dict) else shown(held[0])
            raise SourceError("explode", f"{name!r} is {what}, not a list", "name a column that holds lists")
        if rows and "." not in name and not any(name in row for row in rows):
            raise SourceError("explode", f"no row has {name!r}", nearest(name, {key for row in rows for key in row}))
    return made, found, pl.DataFrame(places, schema=_PLACES, orient="row")


def _list_of(found: Any) -> Any:
    """A list that stands in a text, none of a blank one; anything else as it is."""
    text = found.strip() if isinstance(found, str) else "-"
    if not text:
        return None
    inside = list_in(text) if text[0] == "[" and text[-1] == "]" else None
    return found if inside is None else inside


def _list_at(name: str, schema: Mapping[str, Any]) -> pl.Expr:
    found = column(name, schema)
    if found is None:
        raise SourceError("explode", f"no column {name!r}", nearest(name, [*schema, *paths(schema)]))
    expression, dtype = found
    if isinstance(dtype, pl.Array):
        return expression.arr.to_list()
    if dtype == pl.Null:
        return expression.cast(pl.List(pl.Null))
    if dtype == pl.String:
        return expression.map_batches(_lists_in, return_dtype=pl.List(pl.String))
    if isinstance(dtype, pl.Struct):
        inside = ", ".join(field.name for field in dtype.fields)
        fix = f"its values are columns already, such as {name}.{dtype.fields[0].name}" if dtype.fields else ""
        raise SourceError("explode", f"{name!r} is an object of {inside}, not a list", fix or "name a list")
    if not isinstance(dtype, pl.List):
        raise SourceError("explode", f"{name!r} is {dtype}, not a list", "name a column that holds lists")
    return expression


def _lists_in(values: pl.Series) -> pl.Series:
    """Lists that stand in texts, null for blank ones.

    Raises:
        SourceError: A text is none.
    """
    lists = lists_from_texts(values)
    if isinstance(lists.dtype, pl.List):
        return lists
    other = next((text for text in values.to_list() if isinstance(_list_of(text), str)), None)
    if other is not None:
        raise SourceError("explode", f"{values.name!r} holds {shown(other)}, not a list", "name a column with lists")
    return pl.Series(values.name, [None], dtype=pl.List(pl.String)).new_from_index(0, values.len())
