"""Native columns that a recipe keeps: JSON texts on the way through a format, as the file writes them, then columns.

A format's tables carry them under names of their own (`KEPT` selects them), so that a native ``id`` is no canonical
one; as texts, they have one type whatever a file holds, and a number has every digit for the finished row.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import polars.selectors as cs

from vldata.errors import SourceError, VldataError, nearest
from vldata.sources.reading.files import Written

PREFIX = "\0keep "
"""Before the name of a native column in a table of turns."""

KEPT = cs.starts_with(PREFIX)
"""All native columns of a table, however many there are."""

META = "\0meta"
"""Column of turns: an object with the native columns, as JSON, for the finished row."""

BESIDE = cs.starts_with("\0beside ")
"""Those of a table that another is joined with."""

_BESIDE = "\0beside "
_CHANGES_LEARNING = re.compile("loss|mask|weight|train|reject|chosen|tool|func|system|prompt")
_VALUE = '{"v":'
_SHOWN, _LONG = 40, 800


def heads(names: Iterable[str]) -> frozenset[str]:
    """Keys of a row that kept names lead into; without those that say what is learnt, which keeping does not answer."""
    keys = {key for name in names for key, _ in splits(name)}
    return frozenset(key for key in keys if not _CHANGES_LEARNING.search(key.lower()))


def texts_of_row(row: Any, names: Sequence[str]) -> tuple[str | None, ...]:
    """The JSON text of each name's value in an object; None where it has no such key."""
    return tuple(_text_at(row, name) for name in names)


def columns_of_rows(rows: Sequence[Any], names: Sequence[str]) -> list[pl.Series]:
    """A column of JSON texts a name, `KEPT`, of rows as `vldata.sources.reading.rows.typed` takes them."""
    if not names:
        return []
    if rows and type(rows[0]) is msgspec.Raw:
        texts = _texts_of_encoded(rows, names)
    else:
        texts = [texts_of_row(row, names) for row in rows]
    return columns_of_texts(texts, names)


def columns_of_texts(texts: Sequence[Sequence[str | None]], names: Sequence[str]) -> list[pl.Series]:
    """Rows of texts as columns, `KEPT`; a row with none has null in each."""
    return [
        pl.Series(PREFIX + name, [row[k] if row else None for row in texts], dtype=pl.String)
        for k, name in enumerate(names)
    ]


def columns_of_table(table: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """The columns of a table as JSON texts, `KEPT`; null throughout where it has none of the name."""
    found = []
    for name in names:
        if name not in table.columns:
            found.append(pl.Series(PREFIX + name, [None], dtype=pl.String).new_from_index(0, table.height))
            continue
        dtype = table.schema[name]
        value = pl.col(name).cast(_as_json_type(dtype, name))
        if dtype.is_decimal():
            text = pl.col(name).cast(pl.String).fill_null("null")
        else:
            value = pl.when(value.is_finite()).then(value) if dtype.is_float() else value
            text = pl.struct(value.alias("v")).struct.json_encode().str.slice(len(_VALUE)).str.head(-1)
        found.append(table.select(text.alias(PREFIX + name)).to_series())
    return found


def _as_json_type(dtype: Any, name: str) -> Any:
    """The type in which a table's values can be written as JSON; Polars panics at some.

    Raises:
        SourceError: There is none, as for bytes.
    """
    if isinstance(dtype, pl.Struct):
        return pl.Struct({key: _as_json_type(inner, name) for key, inner in dtype.to_schema().items()})
    if isinstance(dtype, pl.List | pl.Array):
        return pl.List(_as_json_type(pl.Series(dtype=dtype.inner).dtype, name))
    if dtype in (pl.Binary, pl.Object):
        raise SourceError("keep", f"{name!r} is {dtype}, which is no text, number, list or object", "keep another one")
    if dtype in (pl.Categorical, pl.Enum, pl.Time, pl.Int128):
        return pl.String()
    return pl.Int64() if dtype == pl.Duration else pl.Float64() if dtype.is_decimal() else dtype


def set_beside(table: pl.DataFrame) -> pl.DataFrame:
    """A table that another is joined with: its native columns make way for the other's of the same name."""
    return table.rename({name: name.replace(PREFIX, _BESIDE, 1) for name in table.columns if name.startswith(PREFIX)})


def merged(table: pl.DataFrame) -> pl.DataFrame:
    """A joined table: native columns that it has not are those of the table that was `set_beside` it."""
    beside = [name for name in table.columns if name.startswith(_BESIDE)]
    pairs = [(name.replace(_BESIDE, PREFIX, 1), name) for name in beside]
    return table.with_columns(
        pl.coalesce(own, other).alias(own) if own in table.columns else pl.col(other).alias(own) for own, other in pairs
    ).drop(beside)


def listed(table: pl.DataFrame) -> list[pl.Expr]:
    """A table's native columns of several rows as JSON lists, for an aggregation; null where no row has the key."""
    columns = [pl.col(name) for name in table.columns if name.startswith((PREFIX, _BESIDE))]
    return [
        pl.when(column.is_not_null().any()).then(pl.format("[{}]", column.fill_null("null").str.join(",")))
        for column in columns
    ]


def with_kept(turns: pl.DataFrame, names: Sequence[str], *, meta: bool, files: Sequence[Path]) -> pl.DataFrame:
    """Turns with native columns in types of their own, still under `PREFIX`, and `META` where it is requested.

    Args:
        turns: As a format gives them: native columns are JSON texts under `PREFIX`, or typed under their own names.
        files: Of the source, to say which columns they have.

    Raises:
        SourceError: No file has a column of such a name.
    """
    texts = {}
    for name in names:
        column = PREFIX + name
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
    lines = pl.select(pl.concat_str(pl.lit(_VALUE), texts.fill_null("null"), pl.lit("}")).str.join("\n")).item()
    if not texts.len():
        return pl.Series([], dtype=pl.String)
    return pl.read_ndjson(io.BytesIO(lines.encode()), infer_schema_length=None)["v"]


def _texts_of_encoded(rows: Sequence[Any], names: Sequence[str]) -> list[tuple[str | None, ...]]:
    keys = list(dict.fromkeys(key for name in names for key, _ in splits(name)))
    fields = [(f"field{k}", msgspec.Raw, None) for k in range(len(keys))]
    row_type = msgspec.defstruct("Keys", fields, rename={f"field{k}": key for k, key in enumerate(keys)}, gc=False)
    place_of = {key: f"field{k}" for k, key in enumerate(keys)}
    decoder = msgspec.json.Decoder(row_type)

    def text(row: Any, name: str) -> str | None:
        for key, rest in splits(name):
            value = getattr(row, place_of[key])
            if value is not None:
                return _text_at(msgspec.json.decode(value, type=dict[str, msgspec.Raw]), rest) if rest else _text(value)
        return None

    found: list[tuple[str | None, ...]] = []
    for raw in rows:
        try:
            row = decoder.decode(raw)
            found.append(tuple(text(row, name) for name in names))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            found.append(texts_of_row(_plain(raw), names))
    return found


def _plain(raw: Any) -> Any:
    try:
        return json.loads(bytes(raw), parse_float=Written)
    except (ValueError, RecursionError):
        return None  # the row is named by whoever reads it


def _text_at(row: Any, name: str) -> str | None:
    """What lies at a dotted path in an object, as JSON; None where nothing does; the longest key wins."""
    if not isinstance(row, dict):
        return None
    for key, rest in splits(name):
        if key in row:
            inside = row[key]
            if not rest:
                return _text(inside)
            if type(inside) is msgspec.Raw:
                inside = _plain(inside)
            return _text_at(inside, rest)
    return None


def _text(value: Any) -> str:
    """A value as JSON in one line, numbers as they were written."""
    if type(value) is msgspec.Raw:
        encoded = bytes(value)
        return (msgspec.json.format(encoded, indent=-1) if encoded[:1] in b"[{" else encoded).decode()
    if type(value) is Written:
        return value.text
    if type(value) is str:
        return json.dumps(value, ensure_ascii=not value.isprintable())
    if type(value) is dict:
        return f"{{{','.join(f'{json.dumps(str(key))}:{_text(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_text, value))}]"
    if type(value) is float and not math.isfinite(value):
        return "null"
    return json.dumps(value, default=str)


def _names_in(files: Sequence[Path]) -> list[str]:
    """The columns of the first files, whatever they are; of JSON the keys of all objects, and paths into them."""
    from vldata.sources.reading.json import json_document
    from vldata.sources.reading.nested import paths_of_objects
    from vldata.sources.reading.pickle import load_pickle
    from vldata.sources.reading.tables import open_frame, suffix_of

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


def splits(name: str) -> Iterator[tuple[str, str]]:
    """A dotted name cut in two at each of its dots, the longest head first; the whole name has an empty rest."""
    yield name, ""
    parts = name.split(".")
    for k in range(len(parts) - 1, 0, -1):
        yield ".".join(parts[:k]), ".".join(parts[k:])


def names_kept(keep: Sequence[str], canonical: Collection[str]) -> list[str]:
    """What a recipe's ``keep`` says, each name once.

    Raises:
        ValueError: A name is a canonical column's, or empty.
    """
    for name in keep:
        if not name.strip():
            raise ValueError("a name is empty")
        if name in canonical:
            raise ValueError(f"{name!r} is a canonical column's name, which `where` has anyway")
    return list(dict.fromkeys(keep))
