"""What a field of a row of JSON must be, and the column that values of it make."""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from vldata.sources.reading.files import Written

PolarsType = pl.DataType | type[pl.DataType]

_LARGEST_PX = 1e9
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


def shown(value: object) -> str:
    """A value for a message: its ``repr``, shortened."""
    return _shown.repr(value)
