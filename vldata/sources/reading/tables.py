"""Tables on disk, however they are written: which columns they have, and the ones that are wanted.

Parquet, Arrow IPC (files and streams), CSV, TSV, JSON lines and JSON. Only the columns requested are read, by Polars;
of a column that holds images only its shape is looked at, never the bytes. Python takes over where a text file has
rows that Polars refuses, so that one bad line costs one row and not the file.
"""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from vldata.errors import SourceError
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.reading import class_names, nested
from vldata.sources.reading.column_types import in_common_types
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
from vldata.sources.reading.doubled_keys import refuse_doubled_keys_of_lines
from vldata.sources.reading.files import UTF8, Written, read_bytes
from vldata.sources.reading.json import LINES, YAML, at_path, json_document, written_rows
from vldata.sources.reading.keep import columns_of_rows, columns_of_table
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.rows import list_of_rows, shown

if TYPE_CHECKING:
    import pyarrow as pa

KEY, VALUE, FILE_NAME, FILE_STEM = "key", "value", "file_name", "file_stem"
"""Columns that the form of a file gives: the key of an object of objects (or, with the value, of single values), the
file's name, and that without suffix."""

_AN_ID = re.compile(r"^\d+$|\d{5}|\.(?:jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)
_PLACES = pl.List(pl.UInt32)
_FLOAT = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"
SUFFIXES = (".parquet", ".arrow", *SEPARATORS, *LINES, ".json")
"""Of the files that `open_frame` reads; ``.gz`` may follow those that hold text."""


class _Form(NamedTuple):
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
    form: _Form | None = None
    talks: Callable[[], list[Any]] | None = None
    written: Callable[[], Sequence[Any]] | None = None
    beside: Callable[[Sequence[str]], list[pl.Series]] | None = None
    remark: str | None = None
    is_part: bool = False


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
    form = _Form(path, at, tuple(explode), is_whole, columns=columns)
    is_json = suffix in (*LINES, *YAML, ".json")
    refuse_options(path, at=None if is_json else at, columns=None if is_json or suffix in SEPARATORS else columns)
    if suffix == ".parquet":
        return _open_parquet(form)
    if suffix == ".arrow":
        return _open_arrow(form)
    if suffix in SEPARATORS:
        return _open_delimited(form, SEPARATORS[suffix], columns, encoding)
    if suffix in LINES and at is None and columns is None:
        return _open_json_lines(form)
    if is_json:
        return _open_json(form)
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
    return TableFile(path, tuple(rows.columns), lambda names, texts=(): (_placed(rows.lazy(), names).collect(), {}))


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
    form = _Form(path, explode=tuple(explode), written=written)
    places = pl.DataFrame({PLACE: pl.Series(range(len(rows)), dtype=pl.UInt32)})
    if explode:
        rows, notes, places = nested.exploded_objects(rows, notes, explode)
    frame = replace(_of_objects(form, rows, notes, places), is_part=True)
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
    return list(_as_objects(json_document(frame.path, floats=Written), frame.form)[0])


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


def suffix_of(path: Path) -> str:
    """The suffix, ``.gz`` apart."""
    return Path(path.name.removesuffix(".gz")).suffix


def _open_parquet(form: _Form) -> TableFile:
    path = form.path
    rows = _polars(path, pl.scan_parquet, path, glob=False)
    read = partial(_read_parquet, path, _shaped(form, rows), class_names.of_parquet(path))
    return _table_file(form, rows, read, partial(_parquet_images, path))


def _open_arrow(form: _Form) -> TableFile:
    table = _arrow_table(form.path)
    empty = pl.from_arrow(table.slice(0, 0))
    assert isinstance(empty, pl.DataFrame)
    return _table_file(form, empty.lazy(), partial(_read_arrow, form, table), partial(_arrow_images, table))


def _open_delimited(form: _Form, separator: str, columns: Sequence[str] | None, encoding: str) -> TableFile:
    usual, separator = separator, separator_of(form.path, separator, columns, encoding)
    rows = _polars(form.path, scan, form.path, separator, columns, encoding)
    read = partial(_read_delimited, form, rows, separator, columns, encoding)
    found = _table_file(form, rows, read)
    said = f"a table was read with {separator!r} between its fields, as its first line has no {usual!r}"
    return found if separator == usual else replace(found, remark=said)


def _open_json_lines(form: _Form) -> TableFile:
    refuse_doubled_keys_of_lines(form.path)
    try:
        schema = pl.scan_ndjson(form.path, infer_schema_length=None).collect_schema()
        rows = pl.scan_ndjson(form.path, schema=schema)
        shaped = _shaped(form, rows)
    except (pl.exceptions.PolarsError, SourceError):
        return _open_json(form)
    frame = _table_file(form, rows, partial(_read_json_lines, form, shaped))
    return replace(frame, written=partial(_written_objects, form))


def _open_json(form: _Form) -> TableFile:
    rows, notes, places, row = _objects(form)
    return replace(_of_objects(form, rows, notes, places), row=row, is_part=row == FILE_STEM)


def _of_objects(form: _Form, rows: list[dict[str, Any]], notes: dict[int, str], places: pl.DataFrame) -> TableFile:
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    read = partial(_read_objects, form, rows, notes, places)
    inside = partial(nested.paths_of_objects, rows)
    written = None if form.written else partial(_written_objects, form)  # of many files there are only texts
    return TableFile(form.path, columns, read, inside=inside, form=form, written=written)


def _table_file(
    form: _Form, rows: pl.LazyFrame, read: Callable[..., Any], images: Callable[[str], pl.Series | None] | None = None
) -> TableFile:
    """A file whose columns have types."""
    columns = tuple(_polars(form.path, rows.collect_schema))
    schema = _polars(form.path, _shaped(form, rows).collect_schema)

    def own_images(column: str) -> pl.Series | None:
        return images(column) if images is not None and column in columns else None

    return TableFile(form.path, columns, read, own_images, inside=lambda: tuple(nested.paths(schema)), form=form)


def _shaped(form: _Form, rows: pl.LazyFrame) -> pl.LazyFrame:
    """The table with lists exploded; no file is read."""
    return nested.exploded(rows, form.explode) if form.explode else rows


def _read_parquet(
    path: Path, rows: pl.LazyFrame, classes: class_names.Classes, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    return class_names.named(in_common_types(_polars(path, _placed(rows, names).collect)), classes), {}


def _read_delimited(
    form: _Form,
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
            return blank_rows(collected(_placed(with_blanks(rows, has_header=has_header), [*names, BLANK])), PLACE)
        if not collected(with_blanks(rows, has_header=has_header))[BLANK].count():
            return collected(_placed(_shaped(form, rows), names)), {}
    except pl.exceptions.ComputeError:
        pass  # a row has too many values
    each, notes = rows_one_by_one(form.path, separator, columns, encoding)
    places = pl.DataFrame({PLACE: pl.Series(range(len(each)), dtype=pl.UInt32)})
    if form.explode:
        each, notes, places = nested.exploded_objects(each, notes, form.explode)
    values = (pl.Series(name, [row.get(name) for row in each], dtype=pl.String, strict=False) for name in names)
    return places.hstack([*values]), notes


def _read_json_lines(
    form: _Form, rows: pl.LazyFrame, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    try:
        table = _placed(rows, names).collect()
    except pl.exceptions.PolarsError:
        return _read_objects(form, *_objects(form)[:3], names, texts)
    doubtful = [name for name in texts if name in table.columns and _may_hold_floats(table[name])]
    if doubtful and not _are_all_quoted(form.path, table, doubtful):
        return _read_objects(form, *_objects(form)[:3], names, texts)
    suspects = [name for name in names if _may_hold_json(table[name])]
    if not suspects:
        return table, {}
    objects, notes, places, _ = _objects(form)
    are_texts = all(_fits(nested.value(row, name), table.schema[name]) for name in suspects for row in objects)
    return (table, {}) if are_texts and not notes else _read_objects(form, objects, notes, places, names, texts)


def _read_objects(
    form: _Form,
    rows: Sequence[Mapping[str, Any]],
    notes: dict[int, str],
    places: pl.DataFrame,
    names: Sequence[str],
    texts: Collection[str] = (),
) -> tuple[pl.DataFrame, dict[int, str]]:
    """JSON's values by Polars' own rules for JSON lines, column by column: a column that nobody needs may be a mess."""
    table = places
    notes = dict(notes)
    written: Sequence[Any] = ()
    if any(_has_float(nested.value(row, name)) for name in texts for row in rows):
        all_written = form.written() if form.written else _as_objects(written_rows(form.path), form)[0]
        written = [row if isinstance(row, dict) else {} for row in all_written]
        written = nested.exploded_objects(written, {}, form.explode)[0] if form.explode else written
    for name in names:
        values = [nested.value(row, name) for row in (written if written and name in texts else rows)]
        kind = _prevailing_kind(values)
        is_of_texts = kind == "a list" and all(_holds_texts(value) for value in values)
        lines = []
        for place, value in enumerate(values):
            if is_of_texts and type(value) is str:
                value = [value]
            if value is not None and _kind(value) != kind:
                notes.setdefault(place, f"{name!r} is {shown(value)}, elsewhere {kind}")
                value = None
            try:
                lines.append(json.dumps({name: value}, allow_nan=False))
            except ValueError:
                notes.setdefault(place, f"{name!r} is {shown(value)}, which is no JSON")
                lines.append(json.dumps({name: None}))
        column = _column(form.path, name, lines)
        if _may_hold_json(column):
            fits = [_fits(value, column.dtype) for value in values]
            for place in (place for place, fit in enumerate(fits) if not fit):
                said = f"{name!r} is {shown(values[place])}, with a list or an object where others have text"
                notes.setdefault(place, said)
            column = column.set(~pl.Series(fits), None)
        table = table.hstack([column])
    return table, notes


def _column(path: Path, name: str, texts: Sequence[str]) -> pl.Series:
    """One column of JSON lines."""
    if not texts:
        return pl.Series(name, [], dtype=pl.Null)
    try:
        lines = "".join(f"{text}\n" for text in texts).encode()
        return pl.read_ndjson(io.BytesIO(lines), infer_schema_length=None)[name]
    except pl.exceptions.PolarsError as error:
        problem = f"the column {name!r} holds values of several kinds ({_first_line(error)})"
        raise SourceError(str(path), problem, "write it with one kind of value") from None


def _prevailing_kind(values: Iterable[Any]) -> str | None:
    """The kind of most values that are not null, of equally frequent ones the first."""
    counts = Counter(_kind(value) for value in values if value is not None)
    return max(counts, key=counts.__getitem__, default=None)


def _holds_texts(value: Any) -> bool:
    """Whether a value is a list of texts, or may stand for one with a single text; also of none."""
    return value is None or type(value) is str or (type(value) is list and all(type(one) is str for one in value))


def _kind(value: Any) -> str:
    return "a list" if isinstance(value, list) else "an object" if isinstance(value, dict) else "a single value"


def _may_hold_floats(values: pl.Series) -> bool:
    """Whether there are numbers with a fraction or an exponent, or texts that look like one.

    Polars reads 3 as 3.0 in a column with a fraction, and writes numbers in its own way where others are texts.
    """
    if isinstance(values.dtype, pl.List):
        return _may_hold_floats(values.explode(empty_as_null=False))
    if values.dtype == pl.String:
        return bool(values.str.contains(_FLOAT).any())
    return values.dtype.is_float()


def _are_all_quoted(path: Path, table: pl.DataFrame, names: Sequence[str]) -> bool:
    """Whether texts that look like numbers, such as ids, are texts in the file: no key of their name has a number."""
    if any(table.schema[name] != pl.String or not name.isascii() for name in names):
        return False
    raw = read_bytes(path)
    keys = (json.dumps(name.rpartition(".")[2]).encode() for name in names)
    return not any(re.search(re.escape(key) + rb"\s*:\s*[-\d]", raw) for key in keys)


def _has_float(value: Any) -> bool:
    return any(map(_has_float, value)) if type(value) is list else type(value) is float


def _may_hold_json(values: pl.Series) -> bool:
    """Whether there are texts that look like JSON: Polars writes lists and objects so where others hold texts."""
    if values.dtype == pl.String:
        return bool(values.str.contains(r"^[\[{]").any())
    if isinstance(values.dtype, pl.List):
        return _may_hold_json(values.explode())
    if isinstance(values.dtype, pl.Struct):
        return any(_may_hold_json(values.struct.field(name)) for name in values.dtype.to_schema())
    return False


def _fits(value: Any, dtype: object) -> bool:
    """Whether no list or object of a JSON value has become a text."""
    if dtype == pl.String:
        return not isinstance(value, list | dict)
    if isinstance(dtype, pl.List) and isinstance(value, list):
        return all(_fits(element, dtype.inner) for element in value)
    if isinstance(dtype, pl.Struct) and isinstance(value, dict):
        return all(_fits(value.get(name), inner) for name, inner in dtype.to_schema().items())
    return True


def _placed(rows: pl.LazyFrame, names: Sequence[str]) -> pl.LazyFrame:
    schema = rows.collect_schema()
    own = [name for name in (PLACE, nested.ROW, nested.ITEM) if name in schema]
    found = {name: nested.column(name, schema) for name in names}
    columns = [pl.col(name) if at is None else at[0] for name, at in found.items()]
    places = [pl.col(name) for name in own] or [pl.int_range(pl.len(), dtype=pl.UInt32).alias(PLACE)]
    return rows.select(*places, *columns)


def _objects(form: _Form) -> tuple[list[dict[str, Any]], dict[int, str], pl.DataFrame, str | None]:
    """The rows of a JSON file as objects, those that are none, the places of all, and `TableFile.row`.

    Raises:
        SourceError: Not a single row is one.
    """
    rows: list[dict[str, Any]] = []
    notes: dict[int, str] = {}
    found, name = _as_objects(json_document(form.path), form)
    for row in found:
        if not isinstance(row, dict):
            notes[len(rows)] = str(row) if isinstance(row, Exception) else f"not an object: {shown(row)}"
            row = {KEY: row.key} if isinstance(row, _NoObjectError) else {}
        rows.append(row)
    if notes and len(notes) == len(rows):
        raise SourceError(str(form.path), f"no row can be read; the first: {notes[0]}", "fix `path` or `format`")
    if form.explode:
        return *nested.exploded_objects(rows, notes, form.explode), name
    return rows, notes, pl.DataFrame({PLACE: pl.Series(range(len(rows)), dtype=pl.UInt32)}), name


def _written_objects(form: _Form) -> Sequence[Any]:
    """The rows of a JSON file as objects, numbers as they are written."""
    rows = _as_objects(json_document(form.path, floats=Written), form)[0]
    if not form.explode:
        return rows
    return nested.exploded_objects([row if isinstance(row, dict) else {} for row in rows], {}, form.explode)[0]


def _as_objects(document: Any, form: _Form) -> tuple[Sequence[Any], str | None]:
    """The rows of a document, and `TableFile.row`.

    Of a list its items, of an object of columns its rows, of an object of objects each with its key; so of one of
    values or lists, where its keys are surely ids or `at` has led to it, unless it may be one of columns then.

    Raises:
        SourceError: The document has no rows there.
    """
    path, at = form.path, form.at
    if at == ".":
        return [document], FILE_STEM
    document = at_path(document, at, path) if at else document
    if form.columns is not None and not (isinstance(document, list) and any(isinstance(row, list) for row in document)):
        raise SourceError(str(path), "`columns` names the items of lists, and its rows are none", "leave it out")
    if isinstance(document, dict):
        are_objects = [isinstance(value, dict) for value in document.values()]
        if any(are_objects) and (at or all(are_objects) or _are_ids(document)):
            return _keyed(document), KEY
        is_columns = _is_columns(document)
        if document and not any(are_objects) and (_are_ids(document) or (at and not is_columns)):
            return _valued(document.items()), KEY
        if form.is_whole and not is_columns:
            return [document], FILE_STEM
        return list(_from_columns(document, path)), None
    if at and isinstance(document, list) and document and all(isinstance(value, str) for value in document):
        return _valued(enumerate(document)), KEY
    return [_named_items(row, form) if isinstance(row, list) else row for row in list_of_rows(document, path)], None


def _named_items(row: list[Any], form: _Form) -> Any:
    """A row that is a list, such as easy-VQA's triples, as an object: what `columns` or their places call its items."""
    names = form.columns
    if names is None:
        return {f"column_{k}": value for k, value in enumerate(row, start=1)}
    if len(names) != len(row):
        return ValueError(f"{len(row)} values, and `columns` names {len(names)}")
    return dict(zip(names, row, strict=True))


def _valued(items: Iterable[tuple[Any, Any]]) -> list[Any]:
    """Single values, such as the names of classes: each is a row of the columns ``key`` and ``value``."""
    return [{KEY: str(key), VALUE: value} for key, value in items]


def _keyed(document: dict[str, Any]) -> list[Any]:
    """An object of objects: each is a row, and its key is the column ``key``."""
    return [
        {KEY: str(key), **row} if isinstance(row, dict) else _NoObjectError(str(key), row)
        for key, row in document.items()
    ]


class _NoObjectError(ValueError):
    """What an object of objects has under a key instead of one."""

    def __init__(self, key: str, value: object) -> None:
        super().__init__(f"not an object: {shown(value)}")
        self.key = key


def _are_ids(document: Mapping[str, Any]) -> bool:
    """Whether the keys of an object are numbers or names of files, as no column is called."""
    return all(_AN_ID.search(key) for key in document)


def _is_columns(document: dict[str, Any]) -> bool:
    """Whether an object is one of columns: lists of one length."""
    lists = [values for values in document.values() if isinstance(values, list)]
    return len(lists) == len(document) and len({len(values) for values in lists}) == 1


def _from_columns(document: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    if not _is_columns(document):
        problem = f"an object whose values are not lists of one length: {', '.join(map(shown, list(document)[:6]))}"
        odd = [key for key, value in document.items() if not isinstance(value, dict)]
        if 2 * len(odd) < len(document):
            problem = f"an object of objects, but {odd[0]!r} is {shown(document[odd[0]])}"
            raise SourceError(str(path), problem, "take it out, or name the key below which the rows lie with `at`")
        lists = [key for key, value in document.items() if isinstance(value, list | dict) and value]
        fix = "a table is a list of objects, or an object of columns; if the object is one row, say `at: .`"
        if lists:
            longest = max(lists, key=lambda key: len(document[key]))
            fix = f"if its rows lie under {longest!r}, say `at: {longest}`"
        raise SourceError(str(path), problem, fix)
    for values in zip(*document.values(), strict=True):
        yield dict(zip(document, values, strict=True))


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
    form: _Form, table: pa.Table, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    asked = (*names, *form.explode)
    own = [column for column in table.column_names if any(f"{name}.".startswith(f"{column}.") for name in asked)]
    if not own:
        return pl.DataFrame({PLACE: pl.Series(range(table.num_rows), dtype=pl.UInt32)}), {}
    read = pl.from_arrow(table.select(own))
    assert isinstance(read, pl.DataFrame)
    placed = _placed(_shaped(form, read.lazy()), names).collect()
    return class_names.named(in_common_types(placed), class_names.of_schema(table.schema)), {}


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


def _polars(path: Path, call: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """A call into Polars that blames the file for what goes wrong."""
    try:
        return call(*args, **options)
    except (pl.exceptions.PolarsError, OSError) as error:
        problem = f"not readable as {suffix_of(path)}: {_first_line(error)}"
        raise SourceError(str(path), problem, "fix the file or its suffix") from None


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
