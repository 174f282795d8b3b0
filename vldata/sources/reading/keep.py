"""Native columns that a recipe keeps: JSON texts on the way through a format, as the file writes them, then columns.

A format's tables carry them under names of their own (`KEPT` selects them), so that a native ``id`` is no canonical
one; as texts, they have one type whatever a file holds, and a number has every digit for the finished row.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import msgspec
import polars as pl
import polars.selectors as cs

from vldata.errors import SourceError
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.reading.files import Written

KEPT = cs.starts_with(KEPT_PREFIX)
"""All native columns of a table, however many there are."""

BESIDE = cs.starts_with("\0beside ")
"""Those of a table that another is joined with."""

_BESIDE = "\0beside "
_CHANGES_LEARNING = re.compile("loss|mask|weight|train|reject|chosen|tool|func|system|prompt")
VALUE = '{"v":'


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
        pl.Series(KEPT_PREFIX + name, [row[k] if row else None for row in texts], dtype=pl.String)
        for k, name in enumerate(names)
    ]


def columns_of_table(table: pl.DataFrame, names: Sequence[str]) -> list[pl.Series]:
    """The columns of a table as JSON texts, `KEPT`; null throughout where it has none of the name."""
    found = []
    for name in names:
        if name not in table.columns:
            found.append(pl.Series(KEPT_PREFIX + name, [None], dtype=pl.String).new_from_index(0, table.height))
            continue
        dtype = table.schema[name]
        value = pl.col(name).cast(_as_json_type(dtype, name))
        if dtype.is_decimal():
            text = pl.col(name).cast(pl.String).fill_null("null")
        else:
            value = pl.when(value.is_finite()).then(value) if dtype.is_float() else value
            text = pl.struct(value.alias("v")).struct.json_encode().str.slice(len(VALUE)).str.head(-1)
        found.append(table.select(text.alias(KEPT_PREFIX + name)).to_series())
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
    return table.rename(
        {name: name.replace(KEPT_PREFIX, _BESIDE, 1) for name in table.columns if name.startswith(KEPT_PREFIX)}
    )


def merged(table: pl.DataFrame) -> pl.DataFrame:
    """A joined table: native columns that it has not are those of the table that was `set_beside` it."""
    beside = [name for name in table.columns if name.startswith(_BESIDE)]
    pairs = [(name.replace(_BESIDE, KEPT_PREFIX, 1), name) for name in beside]
    return table.with_columns(
        pl.coalesce(own, other).alias(own) if own in table.columns else pl.col(other).alias(own) for own, other in pairs
    ).drop(beside)


def listed(table: pl.DataFrame) -> list[pl.Expr]:
    """A table's native columns of several rows as JSON lists, for an aggregation; null where no row has the key."""
    columns = [pl.col(name) for name in table.columns if name.startswith((KEPT_PREFIX, _BESIDE))]
    return [
        pl.when(column.is_not_null().any()).then(pl.format("[{}]", column.fill_null("null").str.join(",")))
        for column in columns
    ]


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
