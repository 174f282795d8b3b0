"""What a source's ``keep`` leaves beside its turns: native values in types of their own, and the finished ``meta``."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from vldata.errors import SourceError, VldataError, nearest
from vldata.schema.turns import KEPT_PREFIX, META
from vldata.sources.reading.json import json_document
from vldata.sources.reading.keep import VALUE, columns_of_table
from vldata.sources.reading.nested import paths_of_objects
from vldata.sources.reading.pickle import load_pickle
from vldata.sources.reading.table_file import suffix_of
from vldata.sources.reading.tables import open_frame

_SHOWN, _LONG = 40, 800


def with_kept(turns: pl.DataFrame, names: Sequence[str], *, meta: bool, files: Sequence[Path]) -> pl.DataFrame:
    """Turns with native columns in types of their own, still under `KEPT_PREFIX`, and `META` where it is requested.

    Args:
        turns: As a format gives them: native columns are JSON texts under `KEPT_PREFIX`, or typed under own names.
        files: Of the source, to say which columns they have.

    Raises:
        SourceError: No file has a column of such a name.
    """
    texts = {}
    for name in names:
        column = KEPT_PREFIX + name
        if name in turns.columns:
            turns = turns.rename({name: column})
            texts[name] = columns_of_table(turns.select(pl.col(column).alias(name)), [name])[0]
        elif column in turns.columns and (turns[column].count() or not turns.height):
            texts[name] = turns[column]
            turns = turns.with_columns(_typed(turns[column]).alias(column))
        else:
            known = _names_in(files)
            fix = nearest(name, known) if known else "leave it out: its rows have no columns by name"
            fix = fix if len(fix) < _LONG else f"use one of: {', '.join(known[:_SHOWN])} …"
            raise SourceError("keep", f"no column {name!r} in any file", fix)
    return turns.with_columns(_object(texts, turns.height)) if meta else turns


def _object(texts: Mapping[str, pl.Series], height: int) -> pl.Series:
    """One JSON object a row, its keys in order; a key that a row has not is null."""
    parts: list[pl.Expr | pl.Series] = []
    for k, name in enumerate(sorted(texts)):
        key = json.dumps(name, ensure_ascii=False)
        parts += [pl.lit(f"{',' if k else '{'}{key}:"), texts[name].fill_null("null")]
    made = pl.select(pl.concat_str(*parts, pl.lit("}"))).to_series() if height else pl.Series([], dtype=pl.String)
    return made.alias(META)


def _typed(texts: pl.Series) -> pl.Series:
    """JSON texts as a column; values of different kinds as text, where numbers stand as they are written."""
    is_text = texts.str.starts_with('"').fill_null(False)
    some = texts.filter(texts.is_not_null() & (texts != "null"))
    if is_text.sum() in (0, some.len()):
        try:
            values = _parsed(texts)
            if "Struct({})" not in str(values.dtype) and (values.dtype != pl.String or is_text.any()):
                return values.cast(pl.String) if values.dtype == pl.Int128 else values
        except pl.exceptions.PolarsError:
            pass
    words = _parsed(pl.select(pl.when(is_text).then(texts)).to_series())
    return pl.select(pl.when(is_text).then(words.cast(pl.String)).when(texts != "null").then(texts)).to_series()


def _parsed(texts: pl.Series) -> pl.Series:
    lines = pl.select(pl.concat_str(pl.lit(VALUE), texts.fill_null("null"), pl.lit("}")).str.join("\n")).item()
    if not texts.len():
        return pl.Series([], dtype=pl.String)
    return pl.read_ndjson(io.BytesIO(lines.encode()), infer_schema_length=None)["v"]


def _names_in(files: Sequence[Path]) -> list[str]:
    """The columns of the first files, whatever they are; of JSON the keys of all objects, and paths into them."""
    found: dict[str, None] = {}
    for path in files[:4]:
        try:
            if suffix_of(path) in (".parquet", ".arrow", ".csv", ".tsv"):
                frame = open_frame(path)
                found |= dict.fromkeys((*frame.columns, *frame.inside()))
                continue
            rows = list(_objects(load_pickle(path) if path.suffix == ".p" else json_document(path)))
            found |= dict.fromkeys((*(key for row in rows for key in row), *paths_of_objects(rows)))
        except VldataError:
            continue  # a file of lines has no columns
    return list(found)


def _objects(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from _objects(inner)
