"""A table on disk that has been looked at, and not been read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading import nested
from vldata.sources.reading.nested import PLACE

KEY, VALUE, FILE_NAME, FILE_STEM = "key", "value", "file_name", "file_stem"
"""Columns that the form of a file gives: the key of an object of objects (or, with the value, of single values), the
file's name, and that without suffix."""


class Form(NamedTuple):
    """How the rows lie in a file; the arguments of `open_frame`."""

    path: Path
    at: str | None = None
    explode: tuple[str, ...] = ()
    is_whole: bool = False
    written: Callable[[], Sequence[Any]] | None = None
    columns: Sequence[str] | None = None


@dataclass(frozen=True)
class TableFile:
    """A file that has been looked at, and not been read.

    Args:
        columns: Their names, in order.
        read: The columns of these names or dotted paths, behind `PLACE` (the place of each row, from 0; behind `ROW`
            and `ITEM`, too, when lists are exploded), and the rows that are none, or have a value of another kind than
            the rest of its column: place to what is wrong. Such a value is null. Of the second names, which are to
            become text, numbers are written as the file writes them.
        images: For a column that holds images as bytes: for each row the places of those that are there, a list of
            whole numbers; None for any other column.
        inside: Dotted paths to what the columns hold.
        row: The column, or an expression over columns, that says which row it is, where the form of the file tells.
        form: How it was opened.
        talks: Its rows as conversations have them, where these are not its columns.
        written: Of JSON: the rows as objects, numbers with a fraction as `vldata.sources.reading.files.Written`.
        beside: Of a file that others are joined with: columns of theirs as JSON texts, null throughout of any other.
        remark: What a reader of the plan should know of how it is read.
        is_part: Whether it holds objects from many files, or is one: it may lack columns that other files have.
    """

    path: Path
    columns: tuple[str, ...]
    read: Callable[..., tuple[pl.DataFrame, dict[int, str]]]
    images: Callable[[str], pl.Series | None] = lambda column: None
    inside: Callable[[], tuple[str, ...]] = lambda: ()
    row: str | None = None
    form: Form | None = None
    talks: Callable[[], list[Any]] | None = None
    written: Callable[[], Sequence[Any]] | None = None
    beside: Callable[[Sequence[str]], list[pl.Series]] | None = None
    remark: str | None = None
    is_part: bool = False


def guarded(path: Path, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """What a call of Polars returns.

    Raises:
        SourceError: It cannot read the file.
    """
    try:
        return call(*args, **options)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = f"not readable as {suffix_of(path)}: {first_line(error)}"
        raise SourceError(str(path), problem, "fix the file or its suffix") from None


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).partition("\n")[0]


def suffix_of(path: Path) -> str:
    """The suffix, ``.gz`` apart."""
    return Path(path.name.removesuffix(".gz")).suffix


def typed_table(
    form: Form, rows: pl.LazyFrame, read: Callable[..., Any], images: Callable[[str], pl.Series | None] | None = None
) -> TableFile:
    """A file whose columns have types."""
    columns = tuple(guarded(form.path, rows.collect_schema))
    schema = guarded(form.path, shaped(form, rows).collect_schema)

    def own_images(column: str) -> pl.Series | None:
        return images(column) if images is not None and column in columns else None

    return TableFile(form.path, columns, read, own_images, inside=lambda: tuple(nested.paths(schema)), form=form)


def shaped(form: Form, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The table with lists exploded; no file is read."""
    return nested.exploded(rows, form.explode) if form.explode else rows


def placed(rows: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    """The columns of these names or dotted paths, behind the places of the rows."""
    schema = rows.collect_schema()
    own = [name for name in (PLACE, nested.ROW, nested.ITEM) if name in schema]
    found = {name: nested.column(name, schema) for name in names}
    columns = [pl.col(name) if at is None else at[0] for name, at in found.items()]
    places = [pl.col(name) for name in own] or [pl.int_range(pl.len(), dtype=pl.UInt32).alias(PLACE)]
    return rows.select(*places, *columns)
