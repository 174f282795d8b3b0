"""Images written as text in the cells of a table -> references to where the text stands."""

from __future__ import annotations

import json
import mmap
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path

import polars as pl

from vldata.errors import SourceError
from vldata.images.inline import COLUMN, HEAD, LONG, PATTERN, TEXT_TABLES
from vldata.sources.reading.embedded import name_below
from vldata.sources.reading.files import read_bytes

_MAX_LOST = 8
"""Texts that stand nowhere in the file, after which no more are looked for: an expression has changed them all."""

_IMAGE = {"bytes", "path"}


def texts_of_cells(values: pl.Series) -> pl.Series:
    """Cells {bytes, path}, as ``datasets`` writes them to JSON, as the text that they hold; others as they are."""
    if _is_cell(values.dtype):
        return values.to_frame("v").select(_text(pl.col("v"))).to_series().alias(values.name)
    inner = pl.Series(dtype=values.dtype.inner).dtype if isinstance(values.dtype, pl.List) else None
    if inner is not None and _is_cell(inner):
        return values.list.eval(_text(pl.element()))
    return values


def hold_images(images: pl.Series) -> bool:
    """Whether lists of references hold any image as text."""
    flat = images.explode(empty_as_null=False).drop_nulls()
    maybe = flat.filter(flat.str.contains(HEAD) | (flat.str.len_bytes() >= LONG))
    return bool(maybe.str.contains(PATTERN).any())


def located(turns: pl.DataFrame, files: Callable[[], Sequence[Path]], image_root: str | None) -> pl.DataFrame:
    """Turns in which images that are text in a file of text are named by where they stand.

    Args:
        files: Of the source; called only where there are such images.

    Raises:
        SourceError: A file lies outside ``image_root``.
    """
    if turns.schema.get("images") != pl.List(pl.String) or not hold_images(turns["images"]):
        return turns
    images = turns["images"]
    places = pl.Series(range(images.len()), dtype=pl.UInt32)
    for path in files():
        if path.name.endswith(TEXT_TABLES):
            images = referenced(images, path, name_below(path, image_root), places=places)
    return turns.with_columns(images=images)


def path_or_text(cell: pl.Expr, path: pl.Expr) -> pl.Expr:
    """The path that a cell is a part of, or the cell itself where it is an image as text."""
    return pl.when(cell.str.contains(PATTERN)).then(cell).otherwise(path)


def named_in_cells(
    cells: pl.Series, path: Path, name: str, *, places: pl.Series, column: str, items: pl.Series | None = None
) -> pl.Series:
    """A column of images in which those that are text are named by where they stand; the very column if none is.

    Args:
        items: As `referenced`.

    Raises:
        SourceError: The table lies outside ``image_root``.
    """
    lists = cells.to_frame().select(pl.concat_list(cells.name)).to_series() if cells.dtype == pl.String else cells
    if lists.dtype != pl.List(pl.String) or not hold_images(lists):
        return cells
    found = referenced(lists, path, name, places=places, column=column, items=items)
    return found.list.first() if cells.dtype == pl.String else found


def referenced(
    images: pl.Series,
    path: Path,
    name: str,
    *,
    places: pl.Series,
    column: str | None = None,
    items: pl.Series | None = None,
) -> pl.Series:
    """Lists of references in which images that are text are named by where they stand.

    Args:
        path: The table that they come from, rows in its order.
        name: The same, seen from ``image_root``.
        places: Place of each row in the table.
        column: The table's column, when the values are its own.
        items: Of a column whose lists are exploded: the place of each row's image in its list.

    Raises:
        SourceError: The table lies outside ``image_root``.
    """
    if not hold_images(images):
        return images
    if name.startswith(".."):
        fix = f"name a folder above it as `image_root`: {path.parent}, for one"
        raise SourceError(str(path), "it holds images as base64 and lies outside image_root", fix)
    each = (
        images.to_frame("ref")
        .with_row_index("row")
        .with_columns(places.alias("place"), k=pl.int_ranges(pl.col("ref").list.len()))
    )
    if items is not None:
        each = each.with_columns(k=pl.concat_list(items.cast(pl.Int64)))
    each = each.filter(pl.col("ref").list.len() > 0).explode("ref", "k")
    is_inline = pl.col("ref").str.contains(PATTERN)
    if path.name.endswith(TEXT_TABLES):
        texts = each.filter(is_inline)["ref"]
        spans = pl.Series("at", _places(texts.to_list(), path), dtype=pl.String)
        each = each.with_columns(at=pl.lit(None, pl.String))
        each = each.with_columns(each["at"].scatter(each.select(is_inline.arg_true()).to_series(), spans))
    elif column is not None:
        each = each.with_columns(at=pl.format("{}/{}/{}", pl.lit(column), "place", "k"))
    else:
        return images
    ref = pl.when(is_inline & pl.col("at").is_not_null()).then(pl.format("{}::{}", pl.lit(name), "at")).otherwise("ref")
    lists = each.with_columns(ref=ref).group_by("row", maintain_order=True).agg("ref")
    rows = images.to_frame("given").with_row_index("row").join(lists, on="row", how="left", maintain_order="left")
    return rows.select(pl.coalesce("ref", "given")).to_series()


def _places(texts: list[str], path: Path) -> list[str | None]:
    """``text/<offset>/<length>`` of each text in the file, in the file's order as far as the texts follow it."""
    if path.name.endswith(".gz"):
        return _found(texts, read_bytes(path))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return _found(texts, raw)


# how writers of JSON may escape the characters of base64: PHP the slash, .NET and Gson plus and equals
_STYLES = [
    {"/": slash, "+": plus, "=": equals}
    for slash, plus, equals in product(("/", "\\/"), ("+", "\\u002b", "\\u002B"), ("=", "\\u003d", "\\u003D"))
]


def _found(texts: list[str], raw: bytes | mmap.mmap) -> list[str | None]:
    places: list[str | None] = []
    styles = list(_STYLES)
    at, lost = 0, 0
    for text in texts:
        place = None
        for style in styles if lost <= _MAX_LOST else []:
            written = _written(text, style)
            start = raw.find(written, at)
            start = raw.find(written) if start < 0 else start
            if start >= 0:
                place, at = f"{COLUMN}/{start}/{len(written)}", start + len(written)
                if style is not styles[0]:  # a file is written in one style
                    styles.remove(style)
                    styles.insert(0, style)
                break
        lost += place is None
        places.append(place)
    return places


def _written(text: str, style: dict[str, str]) -> bytes:
    escaped = json.dumps(text, ensure_ascii=False)[1:-1]
    for plain, how in style.items():
        escaped = escaped if plain == how else escaped.replace(plain, how)
    return escaped.encode()


def _is_cell(dtype: pl.DataType) -> bool:
    if not isinstance(dtype, pl.Struct):
        return False
    fields = dtype.to_schema()
    known = all(fields.get(name, pl.Null) in (pl.String, pl.Null) for name in _IMAGE)
    return known and bool(_IMAGE & fields.keys()) and all(name in _IMAGE or fields[name] == pl.Null for name in fields)


def _text(cell: pl.Expr) -> pl.Expr:
    """Of a cell the bytes, else the path."""
    texts = [cell.struct.field(name).cast(pl.String).replace("", None) for name in ("bytes", "path")]
    return pl.coalesce(*texts)
