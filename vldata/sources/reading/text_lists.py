"""Lists that a table holds as text, as CSV files do: JSON's, Python's, and those that NumPy writes without commas."""

from __future__ import annotations

import ast
import io
import tokenize
from itertools import pairwise

import msgspec
import polars as pl


def lists_from_texts(values: pl.Series) -> pl.Series:
    """The lists of texts that a column of texts holds; the column as it is unless every value that is not empty is one.

    A lone text in brackets among others is a text.
    """
    if values.dtype != pl.String:
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
