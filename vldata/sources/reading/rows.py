"""Native JSON rows -> typed columns: what does not fit stays as a row that says why.

An adapter names the fields it reads and what each must be; a value of another kind makes its row an
``unparsable_row``, an absent or null one a ``missing_value``. Values are checked column by column, which reads
250,000 rows in well under a second.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatch
from itertools import compress
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl

from vldata.errors import SourceError
from vldata.paths import home
from vldata.schema.turns import SIZE
from vldata.sources.reading.columns import note_columns
from vldata.sources.reading.doubled_keys import FEW_ROWS, doubled_keys_of, num_keys
from vldata.sources.reading.files import Written, expand, visible
from vldata.sources.reading.keep import KEPT, columns_of_rows, heads
from vldata.sources.reading.keys import is_harmless, keys_of, unknown_keys
from vldata.sources.reading.native_types import Misfit, NativeType, shown

_FIELD = "field"
_STRETCH = 20_000
"""Encoded rows that are decoded at a time."""


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
    if len(rows) > FEW_ROWS and num_keys(joined) == len(rows) * num_keys(bytes(rows[0])):
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


def _outline(document: Any) -> str:
    if isinstance(document, dict):
        return f"an object with {', '.join(shown(key) for key in list(document)[:6]) or 'nothing'}"
    return "a list" if isinstance(document, list) else shown(document)
