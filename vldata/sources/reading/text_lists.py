"""Lists that a table holds as text, as CSV files do: JSON's, Python's, and those that NumPy writes without commas."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from itertools import pairwise
from typing import Any

import msgspec
import polars as pl

_Numbers = list[float | list[float | list[float | None] | None] | None]
_NO_COMMA = re.compile(r"(?<=[\d.\]])\s+(?=[-\d\[])")
_NO_FRACTION = re.compile(r"(?<=\d)\.(?!\d)")

_FIRST = 16
"""Values that are looked at before all others."""


def lists_from_texts(values: pl.Series) -> pl.Series:
    """The lists of texts that a column of texts holds; the column as it is unless every value that is not empty is one.

    A lone text in brackets among others is a text.
    """
    if values.dtype != pl.String:
        return values
    if any(text and text.strip() and not text.strip().startswith("[") for text in values.head(_FIRST)):
        return values
    texts = values.str.strip_chars()
    filled = texts.replace("", None)
    if not (filled.str.starts_with("[") & filled.str.ends_with("]")).fill_null(True).all() or not filled.count():
        return values
    lists = [None if text is None else list_in(text) for text in filled.to_list()]
    if any(one is None for one, text in zip(lists, filled.is_not_null().to_list(), strict=True) if text):
        return values
    return pl.Series(values.name, lists, dtype=pl.List(pl.String))


def list_in(text: str) -> list[str | None] | None:
    """The items of a list of texts or numbers that is written in a text; None where it is no such list."""
    try:
        return msgspec.json.decode(text, type=list[str | None])
    except msgspec.MsgspecError:
        return _of_tokens(text)


def _of_tokens(text: str) -> list[str | None] | None:
    """Python would join texts between which no comma stands; NumPy means two items, if none has a comma."""
    items: list[str | None] = []
    commas = 0
    try:
        tokens = [
            token
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type not in (tokenize.NL, tokenize.NEWLINE, tokenize.ENDMARKER)
        ]
        inside = [token.string for token in tokens[1:-1]]
        if any(one.end == other.start for one, other in pairwise(tokens) if one.type == other.type == tokenize.STRING):
            return None
        wants_comma = False
        sign = ""
        for token in inside:
            if token == ",":
                if not wants_comma:
                    return None
                commas, wants_comma = commas + 1, False
            elif token in "+-" and not sign:
                sign = token
            elif token == "None" and not sign:
                items.append(None)
                wants_comma = True
            else:
                item = ast.literal_eval(token)
                if (isinstance(item, str) and sign) or not isinstance(item, str | int | float):
                    return None
                items.append(item if isinstance(item, str) else sign.replace("+", "") + token)
                sign, wants_comma = "", True
    except (tokenize.TokenError, SyntaxError, ValueError):
        return None
    return items if commas in (0, len(items) - 1, len(items)) and not sign else None


def numbers_from_texts(values: pl.Series) -> pl.Series:
    """Lists of numbers, or lists of such, that stand in texts; of numerals in lists their numbers.

    A text that holds none is a list with a null. A column of which no text holds any stays as it is.
    """
    if isinstance(values.dtype, pl.List) and values.dtype.inner == pl.String:
        numbers = values.list.eval(pl.element().str.strip_chars().cast(pl.Float64, strict=False))
        return numbers if numbers.explode().count() else values
    if values.dtype != pl.String:
        return values
    texts = values.str.strip_chars().replace("", None)
    found = [None if text is None else _numbers_in(text) for text in texts.to_list()]
    depths = [_depth(one) for one in found if one]
    if not depths:
        return values
    depth = max(depths, key=depths.count)
    nothing: Any = None
    dtype: pl.DataType = pl.Float64()
    for _ in range(depth):
        nothing, dtype = [nothing], pl.List(dtype)
    lists = [one if one is None or (one and _depth(one) == depth) else nothing for one in found]
    return pl.Series(values.name, lists, dtype=dtype, strict=False)


def _numbers_in(text: str) -> Any:
    """The numbers, or lists of them, that a text holds as JSON, Python and NumPy write them; [] of anything else."""
    text = text.translate({ord("("): "[", ord(")"): "]"})
    text = text if text.startswith("[") else f"[{text}]"
    try:
        return msgspec.json.decode(_NO_COMMA.sub(",", _NO_FRACTION.sub("", text)), type=_Numbers)
    except msgspec.MsgspecError:
        return []


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0
