"""JSON as a table: where the rows lie in a document, and the columns that objects make."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from vldata.errors import SourceError
from vldata.sources.reading import nested
from vldata.sources.reading.doubled_keys import refuse_doubled_keys_of_lines
from vldata.sources.reading.files import Written, read_bytes
from vldata.sources.reading.json import at_path, json_document, written_rows
from vldata.sources.reading.native_types import shown
from vldata.sources.reading.nested import PLACE
from vldata.sources.reading.rows import list_of_rows
from vldata.sources.reading.table_file import (
    FILE_STEM,
    KEY,
    VALUE,
    Form,
    TableFile,
    first_line,
    placed,
    shaped,
    typed_table,
)

_FLOAT = r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"
_AN_ID = re.compile(r"^\d+$|\d{5}|\.(?:jpe?g|png|webp|gif|bmp|tiff?)$", re.IGNORECASE)


def open_json_lines(form: Form) -> TableFile:
    """Look at a file of JSON lines: by Polars where all rows have the same types, else row by row."""
    refuse_doubled_keys_of_lines(form.path)
    try:
        schema = pl.scan_ndjson(form.path, infer_schema_length=None).collect_schema()
        rows = pl.scan_ndjson(form.path, schema=schema)
        whole = shaped(form, rows)
    except (pl.exceptions.PolarsError, SourceError):
        return open_json_table(form)
    frame = typed_table(form, rows, partial(_read_json_lines, form, whole))
    return replace(frame, written=partial(_written_objects, form))


def open_json_table(form: Form) -> TableFile:
    """Look at a JSON document."""
    rows, notes, places, row = _objects(form)
    return replace(table_of_objects(form, rows, notes, places), row=row, is_part=row == FILE_STEM)


def table_of_objects(form: Form, rows: list[dict[str, Any]], notes: dict[int, str], places: pl.DataFrame) -> TableFile:
    """Objects as a table.

    Args:
        notes: What is wrong with those that are none, by their places.
        places: Of each row, in the file.
    """
    columns = tuple(dict.fromkeys(key for row in rows for key in row))
    read = partial(_read_objects, form, rows, notes, places)
    inside = partial(nested.paths_of_objects, rows)
    written = None if form.written else partial(_written_objects, form)  # of many files there are only texts
    return TableFile(form.path, columns, read, inside=inside, form=form, written=written)


def _read_json_lines(
    form: Form, rows: pl.LazyFrame, names: Sequence[str], texts: Collection[str] = ()
) -> tuple[pl.DataFrame, dict[int, str]]:
    try:
        table = placed(rows, names).collect()
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
    form: Form,
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
        all_written = form.written() if form.written else as_objects(written_rows(form.path), form)[0]
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
        problem = f"the column {name!r} holds values of several kinds ({first_line(error)})"
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


def _objects(form: Form) -> tuple[list[dict[str, Any]], dict[int, str], pl.DataFrame, str | None]:
    """The rows of a JSON file as objects, those that are none, the places of all, and `TableFile.row`.

    Raises:
        SourceError: Not a single row is one.
    """
    rows: list[dict[str, Any]] = []
    notes: dict[int, str] = {}
    found, name = as_objects(json_document(form.path), form)
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


def _written_objects(form: Form) -> Sequence[Any]:
    """The rows of a JSON file as objects, numbers as they are written."""
    rows = as_objects(json_document(form.path, floats=Written), form)[0]
    if not form.explode:
        return rows
    return nested.exploded_objects([row if isinstance(row, dict) else {} for row in rows], {}, form.explode)[0]


def as_objects(document: Any, form: Form) -> tuple[Sequence[Any], str | None]:
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


def _named_items(row: list[Any], form: Form) -> Any:
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
