"""Tables on disk, however they are written: which columns they have, and the ones that are wanted.

Parquet, Arrow IPC (files and streams), CSV, TSV, JSON lines and JSON. Only the columns requested are read, by Polars;
of a column that holds images only its shape is looked at, never the bytes. Python takes over where a text file has
rows that Polars refuses, so that one bad line costs one row and not the file.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from vldata.errors import SourceError
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.reading import nested
from vldata.sources.reading.arrow_files import open_arrow, open_parquet
from vldata.sources.reading.delimited import (
    BLANK,
    BLANK_LINE,
    SEPARATORS,
    blank_rows,
    collected,
    rows_one_by_one,
    scan,
    separator_of,
    with_blanks,
)
from vldata.sources.reading.files import UTF8, Written
from vldata.sources.reading.json import LINES, YAML, json_document
from vldata.sources.reading.json_tables import as_objects, open_json_lines, open_json_table, table_of_objects
from vldata.sources.reading.keep import columns_of_rows, columns_of_table
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.table_file import (
    FILE_NAME,
    FILE_STEM,
    Form,
    TableFile,
    guarded,
    placed,
    shaped,
    suffix_of,
    typed_table,
)

SUFFIXES = (".parquet", ".arrow", *SEPARATORS, *LINES, ".json")
"""Of the files that `open_frame` reads; ``.gz`` may follow those that hold text."""


def open_frame(
    path: Path,
    *,
    at: str | None = None,
    columns: Sequence[str] | None = None,
    explode: Sequence[str] = (),
    is_whole: bool = False,
    encoding: str = UTF8,
) -> TableFile:
    """Look at a file; its suffix tells how it is written.

    Args:
        at: Dotted path to the rows inside a JSON document; None: the document itself; ``.``: the document is one row.
        columns: Names of the columns of a CSV or TSV file without a header, or of the items of rows that are lists.
        explode: Dotted paths to lists, side by side, whose items become rows.
        encoding: Of a CSV or TSV file.
        is_whole: A JSON document that is an object, and neither one of columns nor one of rows by id, is one row.

    Raises:
        SourceError: An unknown suffix, the file is not what its suffix says, or an option says nothing of such a file.
    """
    suffix = suffix_of(path)
    form = Form(path, at, tuple(explode), is_whole, columns=columns)
    is_json = suffix in (*LINES, *YAML, ".json")
    refuse_options(path, at=None if is_json else at, columns=None if is_json or suffix in SEPARATORS else columns)
    if suffix == ".parquet":
        return open_parquet(form)
    if suffix == ".arrow":
        return open_arrow(form)
    if suffix in SEPARATORS:
        return _open_delimited(form, SEPARATORS[suffix], columns, encoding)
    if suffix in LINES and at is None and columns is None:
        return open_json_lines(form)
    if is_json:
        return open_json_table(form)
    fix = f"one of: {', '.join(SUFFIXES)}; if it is plain text, say `text: lines` or `text: files`"
    raise SourceError(str(path), f"the suffix {suffix!r} does not tell how this table is written", fix)


def refuse_options(path: Path, **options: object) -> None:
    """Options of a recipe that say nothing of a file.

    Raises:
        SourceError: One of them is set.
    """
    for name, value in options.items():
        if value is not None:
            raise SourceError(str(path), f"`{name}` says nothing of such a file", f"leave `{name}` out")


def open_rows(path: Path, rows: pl.DataFrame) -> TableFile:
    """A table that is in memory already.

    Args:
        path: What it comes from.
    """
    return TableFile(path, tuple(rows.columns), lambda names, texts=(): (placed(rows.lazy(), names).collect(), {}))


def open_objects(
    path: Path,
    rows: list[dict[str, Any]],
    notes: dict[int, str],
    *,
    written: Callable[[], Sequence[Any]],
    native: Callable[[], list[dict[str, Any]]] | None = None,
    explode: Sequence[str] = (),
) -> TableFile:
    """A table of objects that come from many files, or from parts of one.

    Args:
        path: What they come from.
        notes: Place of a row to what is wrong with it.
        written: The same rows, in which every number is a text, as its file writes it.
        native: The same rows, in which numbers with a fraction are `vldata.sources.reading.files.Written`.
    """
    form = Form(path, explode=tuple(explode), written=written)
    places = pl.DataFrame({PLACE: pl.Series(range(len(rows)), dtype=pl.UInt32)})
    if explode:
        rows, notes, places = nested.exploded_objects(rows, notes, explode)
    frame = replace(table_of_objects(form, rows, notes, places), is_part=True)
    if native is None:
        return frame
    return replace(frame, written=lambda: nested.exploded_objects(native(), {}, explode)[0] if explode else native())


def with_columns_seen(frame: TableFile, seen: dict[str, None], named: Collection[str] | None = None) -> TableFile:
    """A table that is a part of one, with the columns that other parts have: null in all its rows.

    Args:
        seen: Names of columns, and dotted paths into these; those of the table are added.
        named: The only ones that are taken of other parts, with a remark; None: all.
    """
    columns, paths = frame.columns, frame.inside()
    others = tuple(name for name in seen if name not in {*columns, *paths} and (named is None or name in named))
    seen |= dict.fromkeys((*columns, *paths))

    def read(names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        table, notes = frame.read([name for name in names if name not in others], texts)
        return table.with_columns(pl.lit(None).alias(name) for name in names if name in others), notes

    said = f"its file has no column {', '.join(map(repr, others))}, which other files have"
    return replace(
        frame,
        columns=(*columns, *(name for name in others if "." not in name)),
        inside=lambda: (*paths, *(name for name in others if "." in name)),
        read=read if others else frame.read,
        remark="; ".join(filter(None, (frame.remark, said if named is not None and others else None))) or None,
    )


def kept_in(frame: TableFile, names: Sequence[str]) -> list[pl.Series]:
    """Columns or dotted paths of a file as JSON texts, `vldata.sources.reading.keep.KEPT`.

    Those of JSON stand as they are written there; one that the file has not is null throughout.
    """
    if not names:
        return []
    found: dict[str, pl.Series] = {}
    written = columns_of_rows(frame.written(), names) if frame.written is not None else []
    for column in (*written, *(frame.beside(names) if frame.beside is not None else ())):
        if column.count():
            found[column.name.removeprefix(KEPT_PREFIX)] = column
    known = {*frame.columns, *frame.inside()} - found.keys()
    read = columns_of_table(frame.read([name for name in names if name in known])[0], names)
    return [found.get(name, read[k]) for k, name in enumerate(names)]


def json_objects(frame: TableFile) -> list[Any]:
    """The rows of a JSON file as they are: objects, and what is none.

    Raises:
        SourceError: The document has no rows there.
    """
    assert frame.form is not None, "it was opened"
    return list(as_objects(json_document(frame.path, floats=Written), frame.form)[0])


def with_file_name(frame: TableFile, name: str, *, but: Collection[str] = ()) -> TableFile:
    """The table with its name in two columns more, unless it has columns of these names.

    Args:
        but: Columns of other files that it will be joined with.
    """
    stem = name.removesuffix(".gz")
    values = {FILE_NAME: name, FILE_STEM: stem.removesuffix(suffix_of(frame.path))}
    values = {column: value for column, value in values.items() if column not in (*frame.columns, *but)}

    def read(names: Sequence[str], texts: Collection[str] = ()) -> tuple[pl.DataFrame, dict[int, str]]:
        table, notes = frame.read([name for name in names if name not in values], texts)
        return table.with_columns(pl.lit(values[name]).alias(name) for name in names if name in values), notes

    return replace(frame, columns=(*frame.columns, *values), read=read)


def details_of(places: pl.Series, notes: Mapping[int, str]) -> pl.Series:
    """What `TableFile.read` found wrong with the rows at these places, null of sound ones; the column ``detail``."""
    if not notes:
        return pl.Series("detail", [None], dtype=pl.String).new_from_index(0, places.len())
    found = places.replace_strict(list(notes), list(notes.values()), default=None, return_dtype=pl.String)
    return found.alias("detail")


def problem_of_detail() -> pl.Expr:
    """The column ``problem`` of rows with the details of `details_of`."""
    detail = pl.col("detail")
    is_blank = pl.when(detail == BLANK_LINE).then(pl.lit("blank_line"))
    return is_blank.when(detail.is_not_null()).then(pl.lit("unparsable_row")).alias("problem")


def _open_delimited(form: Form, separator: str, columns: Sequence[str] | None, encoding: str) -> TableFile:
    usual, separator = separator, separator_of(form.path, separator, columns, encoding)
    rows = guarded(form.path, scan, form.path, separator, columns, encoding)
    read = partial(_read_delimited, form, rows, separator, columns, encoding)
    found = typed_table(form, rows, read)
    said = f"a table was read with {separator!r} between its fields, as its first line has no {usual!r}"
    return found if separator == usual else replace(found, remark=said)


def _read_delimited(
    form: Form,
    rows: pl.LazyFrame,
    separator: str,
    columns: Sequence[str] | None,
    encoding: str,
    names: Sequence[str],
    texts: Collection[str] = (),
) -> tuple[pl.DataFrame, dict[int, str]]:
    has_header = columns is None
    try:
        if not form.explode:
            return blank_rows(collected(placed(with_blanks(rows, has_header=has_header), [*names, BLANK])), PLACE)
        if not collected(with_blanks(rows, has_header=has_header))[BLANK].count():
            return collected(placed(shaped(form, rows), names)), {}
    except pl.exceptions.ComputeError:
        pass  # a row has too many values
    each, notes = rows_one_by_one(form.path, separator, columns, encoding)
    places = pl.DataFrame({PLACE: pl.Series(range(len(each)), dtype=pl.UInt32)})
    if form.explode:
        each, notes, places = nested.exploded_objects(each, notes, form.explode)
    values = (pl.Series(name, [row.get(name) for row in each], dtype=pl.String, strict=False) for name in names)
    return places.hstack([*values]), notes
