"""Native JSON rows -> typed columns: what does not fit stays as a row that says why.

An adapter names the fields it reads and what each must be; a value of another kind makes its row an
``unparsable_row``, an absent or null one a ``missing_value``. Values are checked column by column, which reads
250,000 rows in well under a second.
"""

from __future__ import annotations

import json
import reprlib
import string
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from functools import partial
from itertools import compress
from math import isfinite
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.schema.turns import SIZE
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.doubled_keys import FEW_ROWS, doubled_keys_of
from vldata.sources.reading.files import Written, expand, visible
from vldata.sources.reading.keep import KEPT, columns_of_rows, heads
from vldata.sources.reading.keys import is_harmless, keys_of, unknown_keys

PolarsType = pl.DataType | type[pl.DataType]

_LARGEST_PX = 1e9
_FIELD = "field"
_STRETCH = 20_000
"""Encoded rows that are decoded at a time."""


_NUMBER = frozenset({int, float, Written})
_shown = reprlib.Repr()
_shown.maxstring = _shown.maxother = 60


class Misfit(ValueError):
    """A value is not of the `NativeType` that it must be."""


class NativeType(NamedTuple):
    """What the values of one native field must be.

    Args:
        name: As an error calls it.
        types: Exact Python types that ``json`` may give (``bool`` is not an ``int`` here).
        column: Turns values of these types, none of them null, into a column of as many rows.
        json: What a JSON decoder must find, no wider than ``types`` and ``column`` together; None: nothing.
        decoded: ``column`` for values of type ``json``; None: the same function.
        feeds: Canonical columns that the field goes into; None: the one of its own name (see `to`).

    ``column`` and ``decoded`` raise `Misfit`, TypeError, KeyError or OverflowError when one of the values does not fit;
    ``column`` is then called for each by itself.
    """

    name: str
    types: frozenset[type]
    dtype: PolarsType
    column: Callable[[list[Any]], pl.Series]
    json: Any = None
    decoded: Callable[[list[Any]], pl.Series] | None = None
    feeds: tuple[str, ...] | None = None

    def to(self, *canonical: str) -> NativeType:
        """The same for a field that feeds these canonical columns; none: it only decides which rows there are."""
        return self._replace(feeds=canonical)


def texts(values: list[Any]) -> pl.Series:
    """A column of text; a number is the text that the file writes it with.

    Raises:
        Misfit: A value is neither, or holds half a surrogate pair, which JSON can write and UTF-8 cannot.
    """
    try:
        column = pl.Series(values, dtype=pl.String)
    except (TypeError, UnicodeEncodeError):
        if not any(type(value) in _NUMBER for value in values):
            raise Misfit from None
        return texts([as_written(value) for value in values])
    if column.null_count():
        raise Misfit
    return column


def as_written(value: Any) -> Any:
    """A number as the text that the file writes it with, null where it is not finite; another value as it is."""
    if type(value) is Written:
        return value.text
    if type(value) is float:
        return repr(value) if isfinite(value) else None
    return str(value) if type(value) is int else value


def lists_of_texts(values: Sequence[Sequence[str]]) -> pl.Series:
    """A column of lists of text, built flat: a Polars series made of lists takes ten times as long.

    Raises:
        Misfit: As `texts`.
    """
    return listed([text for value in values for text in value], [len(value) for value in values])


def listed(flat: list[str], lengths: list[int]) -> pl.Series:
    """A column of lists of text from all texts in a row and how many each list holds.

    Raises:
        Misfit: As `texts`.
    """
    import pyarrow as pa

    ends = pl.Series(np.cumsum([0, *lengths], dtype=np.int64))
    lists = pa.LargeListArray.from_arrays(ends.to_arrow(), texts(flat).to_arrow())
    return pl.Series(lists, dtype=pl.List(pl.String))


def _ids(values: list[int | float | str]) -> pl.Series:
    """Whole floats are whole numbers: pandas writes them so where a column has a gap."""
    if {int}.issuperset(map(type, values)):
        with suppress(TypeError, OverflowError):  # larger than a column's: one by one
            return pl.Series(values, dtype=pl.Int64).cast(pl.String)
    if {str}.issuperset(map(type, values)):
        return texts(values)
    return texts([str(int(v)) if isinstance(v, float) and v.is_integer() else as_written(v) for v in values])


def _whole(values: list[int | float]) -> pl.Series:
    if not {int}.issuperset(map(type, values)):
        if not all(float(value).is_integer() for value in values):
            raise Misfit
        values = [int(value) for value in values]
    return pl.Series(np.array(values, dtype=np.int64))


def _sides(values: list[int | float | str]) -> pl.Series:
    if not {int}.issuperset(map(type, values)):
        try:
            values = [float(value) for value in values]
        except ValueError:
            raise Misfit from None
    sides = _whole(values)  # type: ignore[arg-type]
    if not sides.is_between(1, 2**31 - 1).all():
        raise Misfit
    return sides.cast(pl.Int32)


def _flags(values: list[int | bool]) -> pl.Series:
    if not {0, 1}.issuperset(values):
        raise Misfit
    return pl.Series([bool(v) for v in values], dtype=pl.Boolean)


def _boxes(values: list[list[float]]) -> pl.Series:
    flat = [number for value in values for number in value]
    if not ({4}.issuperset(map(len, values)) and _NUMBER.issuperset(map(type, flat))):
        raise Misfit
    table = np.array(flat, dtype=np.float64).reshape(-1, 4)
    if not (np.abs(table) < _LARGEST_PX).all():
        raise Misfit
    return pl.Series(table, dtype=pl.Array(pl.Float64, 4))


_NUMERIC, _WORDS = frozenset({int, float, Written}), frozenset({str, int, float, Written})
TEXT = NativeType("text", _WORDS, pl.String, texts, str)
ID = NativeType("a text or a number", _WORDS, pl.String, _ids, int | str)
WHOLE = NativeType("a whole number", _NUMERIC, pl.Int64, _whole, int)
FLAG = NativeType("true, false, 0 or 1", frozenset({int, bool}), pl.Boolean, _flags, int | bool)
SIDE = NativeType("a side in pixels", _WORDS, pl.Int32, _sides, int)
TEXTS = NativeType("a list of texts", frozenset({list}), pl.List(pl.String), lists_of_texts, list[str])
XYWH = NativeType("a list of 4 numbers", frozenset({list}), pl.Array(pl.Float64, 4), _boxes, list[float])


def typed(
    rows: Sequence[Any],
    columns: Mapping[str, NativeType],
    *,
    optional: Collection[str] = (),
    ignored: Collection[str] | None = None,
    of: str | None = None,
    keep: Sequence[str] = (),
) -> pl.DataFrame:
    """A column a field, and ``problem`` and ``detail`` for the rows that do not fit; rows keep number and order.

    Args:
        rows: Objects as ``json`` gives them, or all as ``msgspec.Raw``, of which only these fields are decoded; a row
            that could not be read may be its exception.
        columns: Field to what it must be.
        optional: Fields that may be absent or null.
        ignored: Fields that change nothing of what is learnt, besides those that never do
            (`vldata.sources.reading.keys`); a row with any other that is not empty is an ``unknown_key``. None of rows
            that the caller has put together itself, or that only say more about what other rows name.
        of: The list in the document that the rows stand in, where they are not those that become turns.
        keep: Native columns that go along under names of their own (`vldata.sources.reading.keep`).
    """
    if keep:
        known = None if ignored is None else {*ignored, *heads(keep)}
        read = typed(rows, columns, optional=optional, ignored=known, of=of)
        return read.with_columns(columns_of_rows(rows, keep))
    if rows and type(rows[0]) is msgspec.Raw:
        keys = _keys(rows[0])
        row_type = _row_type(columns, ignored, keys)
        stretches = (rows[at : at + _STRETCH] for at in range(0, len(rows), _STRETCH))
        whole = pl.concat([_decoded(raw, row_type, columns, optional, ignored, of) for raw in stretches], rechunk=True)
        _note_columns(whole, columns, keys, of)
        return whole
    notes: dict[int, tuple[str, str]] = {}
    for place, row in enumerate(rows):
        if type(row) is not dict:
            notes[place] = (
                "unparsable_row",
                str(row) if isinstance(row, Exception) else f"not an object: {shown(row)}",
            )
    objects = [row if type(row) is dict else {} for row in rows] if notes else rows
    keys = keys_of(objects)
    if ignored is not None:
        notes |= unknown_keys(objects, {*columns, *ignored}, keys)
    table = [
        _column([row.get(name) for row in objects], name, kind, name in optional, notes)
        for name, kind in columns.items()
    ]
    whole = _noted(table, len(rows), notes)
    _note_columns(whole, columns, keys, of)
    return whole


def _note_columns(table: pl.DataFrame, columns: Mapping[str, NativeType], keys: Iterable[str], of: str | None) -> None:
    there = {name: kind for name, kind in columns.items() if table[name].null_count() < table.height}
    read = {name: (name,) if kind.feeds is None else kind.feeds for name, kind in there.items()}
    note_columns(read, (key for key in keys if key not in columns), of=of)


def _keys(first: msgspec.Raw) -> list[str]:
    """The keys of an encoded row; none of what is no object."""
    try:
        return [*msgspec.json.decode(first, type=dict[str, msgspec.Raw])]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return []


def _row_type(
    columns: Mapping[str, NativeType], ignored: Collection[str] | None, keys: Sequence[str]
) -> type[msgspec.Struct] | None:
    """An object with these fields, each of them null or absent perhaps; None when a kind has no JSON type.

    Its fields stand in the order of the first row's keys: a decoder that meets them so need not look for them.
    """
    if any(kind.json is None for kind in columns.values()):
        return None
    types: dict[str, Any] = {}
    if ignored is not None:
        types = {key: msgspec.Raw for key in keys if key in columns or key in ignored or is_harmless(key)}
    types |= {name: kind.json | None for name, kind in columns.items()}
    places = {f"{_FIELD}{place}": name for place, name in enumerate(types)}
    fields = [(place, types[name], None) for place, name in places.items()]
    return msgspec.defstruct("Row", fields, rename=places, gc=False, forbid_unknown_fields=ignored is not None)


def _decoded(
    rows: Sequence[msgspec.Raw],
    row_type: type[msgspec.Struct] | None,
    columns: Mapping[str, NativeType],
    optional: Collection[str],
    ignored: Collection[str] | None,
    of: str | None,
) -> pl.DataFrame:
    """`typed` of rows that are still encoded: at once where all of them fit, else one by one."""
    try:
        if row_type is None:
            raise Misfit
        joined = b",".join(rows)
        found: list[Any] = msgspec.json.decode(b"[%b]" % joined, type=list[row_type])  # type: ignore[valid-type]
        notes = _doubled_keys(rows, joined)
        table = []
        fields = {field.encode_name: field.name for field in msgspec.structs.fields(row_type)}
        for name, kind in columns.items():
            values = list(map(attrgetter(fields[name]), found))
            given = [value for value in values if value is not None] if values.count(None) else values
            fitting = (kind.decoded or kind.column)(given)
            if len(given) < len(values):
                fitting = _spread(
                    fitting, [place for place, value in enumerate(values) if value is not None], len(values)
                )
                if name not in optional:
                    absent = (place for place, value in enumerate(values) if value is None)
                    notes |= {place: ("missing_value", f"no {name!r}") for place in absent if place not in notes}
            table.append(fitting.alias(name))
        return _noted(table, len(rows), notes)
    except (msgspec.MsgspecError, UnicodeDecodeError, Misfit, TypeError, KeyError, OverflowError):
        said = _doubled_keys(rows, b",".join(rows))
        objects = [
            ValueError(said[place][1]) if place in said else _written_or_error(row) for place, row in enumerate(rows)
        ]
        return typed(objects, columns, optional=optional, ignored=ignored, of=of)


def _doubled_keys(rows: Sequence[msgspec.Raw], joined: bytes) -> dict[int, tuple[str, str]]:
    """Rows that say two things under one key; all have equally many keys where most files have none of these."""
    if len(rows) > FEW_ROWS and joined.count(b'":') == len(rows) * bytes(rows[0]).count(b'":'):
        return {}
    said = doubled_keys_of([bytes(row) for row in rows])
    return {place: ("unparsable_row", detail) for place, detail in said.items()}


def _written_or_error(row: msgspec.Raw) -> Any:
    try:
        return json.loads(bytes(row), parse_float=Written)
    except (ValueError, RecursionError) as error:
        return error


def _noted(table: list[pl.Series], height: int, notes: dict[int, tuple[str, str]]) -> pl.DataFrame:
    if not notes:
        blank = [pl.Series(name, [None], dtype=pl.String) for name in ("problem", "detail")]
        return pl.DataFrame([*table, *(column.new_from_index(0, height) for column in blank)])
    problems: list[str | None] = [None] * height
    details: list[str | None] = [None] * height
    for place, (problem, detail) in notes.items():
        problems[place], details[place] = problem, detail
    table += [pl.Series("problem", problems, dtype=pl.String), pl.Series("detail", details, dtype=pl.String)]
    return pl.DataFrame(table)


def note(turns: pl.DataFrame, where: pl.Expr, problem: str, detail: pl.Expr) -> pl.DataFrame:
    """Mark the rows of which ``where`` is true and that have no problem yet."""
    marked = pl.col("problem").is_null() & where
    return turns.with_columns(
        problem=pl.when(marked).then(pl.lit(problem)).otherwise("problem"),
        detail=pl.when(marked).then(detail).otherwise("detail"),
    )


def with_remarks(turns: pl.DataFrame, remarks: Iterable[str | pl.Expr | None]) -> pl.DataFrame:
    """The turns with these remarks besides what is remarked of them already.

    Args:
        remarks: Of all turns, or an expression that is null for some; None is none.
    """
    for remark in remarks:
        if remark is None:
            continue
        said = pl.lit(remark) if isinstance(remark, str) else remark
        own = [pl.col("remark")] if "remark" in turns.columns else []
        turns = turns.with_columns(
            remark=pl.concat_str(*own, said, separator="\n", ignore_nulls=True).replace("", None)
        )
    return turns


def turns_of(rows: pl.DataFrame, *same: str, **columns: pl.Expr | str) -> pl.DataFrame:
    """Turns in canonical columns, with native ones that are kept, what is wrong with each, and any remark of it.

    Args:
        same: Canonical columns that the rows have already.
        columns: Canonical column -> where it comes from.
    """
    return rows.select(KEPT, *same, "problem", "detail", *({"remark"} & {*rows.columns}), **columns)


def one_of_each(rows: pl.DataFrame, key: str) -> pl.DataFrame:
    """The first row of each key, without rows that have none; ``is_contradicted`` where rows of one key differ."""
    others = pl.struct(name for name in rows.columns if name != key)
    rows = rows.filter(pl.col(key).is_not_null())
    repeated = rows.filter(pl.col(key).is_duplicated())
    differ = repeated.group_by(key).agg(differs=others.n_unique() > 1).filter("differs")[key]
    firsts = rows.unique(key, keep="first", maintain_order=True)
    return firsts.with_columns(is_contradicted=pl.col(key).is_in(differ.implode()))


def rows_under(document: Any, key: str, path: Path) -> list[Any]:
    """The list that a JSON object holds under ``key``.

    Raises:
        SourceError: It is no object, or holds no list there.
    """
    found = document.get(key) if isinstance(document, dict) else None
    if isinstance(found, msgspec.Raw):
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(found, type=list[msgspec.Raw])
    if not isinstance(found, list):
        raise SourceError(
            str(path),
            f"no list {key!r} in it, but {_outline(document)}",
            "point `path` at another file, or fix `format`",
        )
    return found


def list_of_rows(document: Any, path: Path) -> list[Any]:
    """The document, when it is a list.

    Raises:
        SourceError: It is not.
    """
    if not isinstance(document, list):
        raise SourceError(
            str(path), f"not a list of rows, but {_outline(document)}", "point `path` at another file, or fix `format`"
        )
    return document


def rows_by_id(document: Any, path: Path, *, feeds: Collection[str] = ("row",)) -> tuple[pl.Series, list[Any]]:
    """Keys, as a column of text, and values of a document that is an object of rows.

    Args:
        feeds: Canonical columns that the keys go into.

    Raises:
        SourceError: It is not.
    """
    if not isinstance(document, dict):
        raise SourceError(
            str(path),
            f"not an object of rows, but {_outline(document)}",
            "point `path` at another file, or fix `format`",
        )
    try:
        keys = pl.Series("row", [*document], dtype=pl.String)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON can write
        texts_of_keys = [key.encode("utf-8", "backslashreplace").decode() for key in document]
        keys = pl.Series("row", texts_of_keys, dtype=pl.String)
    note_columns({"key": feeds})
    return keys, list(document.values())


def files_named(path: str, *names: str) -> list[Path]:
    """A file or glob as it is; of a folder, the files below it (``.gz`` or not) with one of these name patterns.

    Raises:
        SourceError: There is none.
    """
    folder = home(path)
    if not folder.is_dir():
        return expand(path)
    files = (file for file in visible(folder) if any(fnmatch(file.name.removesuffix(".gz"), name) for name in names))
    found = [file for file in files if file.is_file()]
    if not found:
        raise SourceError(
            path, f"the folder holds no file named {' or '.join(names)}", "point `path` at the file itself"
        )
    return sorted(found)


def one_image(image: pl.Expr) -> pl.Expr:
    """The ``images`` column of a format with one image a row; empty where ``image`` is null."""
    return pl.concat_list(image).list.drop_nulls()


def with_both_sides(rows: pl.DataFrame) -> pl.DataFrame:
    """Mark the rows that say one side of their image and not the other: no frame can be checked by it."""
    sides = [pl.col(side) for side in ("width", "height")]
    size = pl.format("a size of {}x{}", *(side.cast(pl.String).fill_null("?") for side in sides))
    return note(rows, sides[0].is_null() != sides[1].is_null(), "missing_value", size)


def image_sizes(width: str = "width", height: str = "height") -> pl.Expr:
    """The ``image_sizes`` column of a format with one image a row; null where either side is."""
    size = pl.concat_list(pl.struct(pl.col(width).alias("width"), pl.col(height).alias("height")).cast(SIZE))
    return pl.when(pl.col(width).is_not_null() & pl.col(height).is_not_null()).then(size)


def name_parts(pattern: str, *, fields: Collection[str]) -> list[tuple[str, str | None, int]]:
    """An image name's pattern, such as ``COCO_{split}2014_{id:012d}.jpg``, as (text, field after it, least digits).

    Only plain names and zero padding are known: a recipe may come from a stranger, and ``str.format`` reads attributes.

    Raises:
        ValueError: The pattern is broken, or names something else than ``fields``.
    """
    parts = []
    for text, field, spec, conversion in string.Formatter().parse(pattern):
        if field is not None and field not in fields:
            raise ValueError(
                f"{{{field}}} is not known here; use {', '.join(f'{{{name}}}' for name in sorted(fields))}"
            )
        digits = (spec or "").removeprefix("0").removesuffix("d")
        if conversion or (spec and not (spec == f"0{digits}d" and digits.isdecimal() and int(digits) <= 32)):
            raise ValueError(f"{{{field}:{spec}}}: only zero padding such as {{{field}:012d}} is known")
        parts.append((text, field, int(digits or 0)))
    return parts


def checked_pattern(*fields: str) -> Callable[[str], str]:
    """A validator of a recipe's image name pattern, which may name these fields."""
    return partial(_check_pattern, fields)


def image_name(pattern: str, **fields: pl.Expr) -> pl.Expr:
    """The name that a pattern gives each row; null where a field that it uses is."""
    written = []
    for text, field, digits in name_parts(pattern, fields=fields):
        if text:
            written.append(pl.lit(text))
        if field is not None:
            written.append(fields[field].str.zfill(digits) if digits else fields[field])
    return pl.concat_str(written) if written else pl.lit(None, pl.String)


def shown(value: object) -> str:
    """A value for a message: its ``repr``, shortened."""
    return _shown.repr(value)


def _column(
    values: list[Any], name: str, kind: NativeType, optional: bool, notes: dict[int, tuple[str, str]]
) -> pl.Series:
    places: Sequence[int] = range(len(values))
    if values.count(None):
        places = [place for place, value in enumerate(values) if value is not None]
    if not optional and len(places) < len(values):
        for place in {*range(len(values))}.difference(places):
            notes.setdefault(place, ("missing_value", f"no {name!r}"))
    given = [values[place] for place in places] if len(places) < len(values) else values
    column = _fitting(given, kind)
    if column is None:
        fits = [_fitting([value], kind) is not None for value in given]
        for place, value, fit in zip(places, given, fits, strict=True):
            if not fit:
                notes.setdefault(place, ("unparsable_row", f"{name!r} is {shown(value)}, not {kind.name}"))
        places = list(compress(places, fits))
        column = kind.column(list(compress(given, fits)))
    if len(places) < len(values):
        column = _spread(column, places, len(values))
    return column.alias(name)


def _spread(column: pl.Series, places: Sequence[int], height: int) -> pl.Series:
    """The values of a column at these places of a longer one, null elsewhere."""
    if not places:
        return pl.Series([None] * height, dtype=column.dtype)
    source = np.full(height, -1)
    source[places] = np.arange(len(places))
    return column.gather(pl.Series(source).cast(pl.UInt32, strict=False))


def _fitting(values: list[Any], kind: NativeType) -> pl.Series | None:
    """The values as a column, or None when one of them does not fit."""
    if not kind.types.issuperset(map(type, values)):
        return None
    try:
        return kind.column(values)
    except (Misfit, TypeError, KeyError, OverflowError):
        return None


def _check_pattern(fields: Collection[str], pattern: str) -> str:
    name_parts(pattern, fields=fields)
    return pattern


def _outline(document: Any) -> str:
    if isinstance(document, dict):
        return f"an object with {', '.join(shown(key) for key in list(document)[:6]) or 'nothing'}"
    return "a list" if isinstance(document, list) else shown(document)
