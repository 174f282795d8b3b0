"""SQL expressions in recipes: whether what they give a row depends on that row alone, and what is wrong with them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from itertools import pairwise

import polars as pl

_WORD = r"[^\W\d]\w*"
_TOKEN = re.compile(rf"'(?:[^']|'')*'|\"[^\"]*\"|{_WORD}(?:\.{_WORD})*|\d[\d.]*|\|\||<>|[<>!=]=|::|\S")
_DOTTED = re.compile(rf"('(?:[^']|'')*'|\"[^\"]*\")|({_WORD}(?:\.{_WORD})+)")
_FUNCTIONS = (
    "abs array_contains array_get array_length array_max array_min array_sum array_to_string array_unique "
    "cast ceil coalesce concat concat_ws ends_with floor greatest if ifnull initcap least left length "
    "lower ltrim mod nullif octet_length regexp_like replace reverse right round rtrim starts_with "
    "string_to_array strpos substr trim try_cast upper "
)

_TEXT_FUNCTIONS = """
    concat concat_ws initcap left lower ltrim replace reverse right rtrim substr substring trim upper
    cast as varchar text string
"""
_TEXT_WORDS = frozenset(_TEXT_FUNCTIONS.split())
_TEXT_MARKS = frozenset(["||", "(", ")", ",", "[", "]"])


def quoted_paths(text: str, columns: Collection[str]) -> str:
    """An expression in which dotted names of columns stand in double quotes, so that SQL takes each for one name."""
    return _DOTTED.sub(lambda found: f'"{found[2]}"' if found[2] in columns else found[0], text)


def only_builds_text(text: str, columns: Collection[str]) -> bool:
    """Whether an expression does nothing with these columns but put their values, or those of a list, into a text."""
    tokens = (token[0] for token in _TOKEN.finditer(text))
    return all(
        token in columns or token in _TEXT_MARKS or token[0] in "'\"0123456789" or token.lower() in _TEXT_WORDS
        for token in tokens
    )


def trouble(text: str, error: Exception) -> tuple[str, str]:
    """What is wrong with an expression that the parser refused, for whoever wrote it, and what fixes it."""
    said = str(error).partition("\n")[0]
    if re.fullmatch(r"\s*(?:array)?\s*\[.*\]\s*", text, re.IGNORECASE | re.DOTALL):
        inside = text.partition("[")[2].rpartition("]")[0].strip()
        return (
            "SQL makes no list of columns",
            f"name the columns in a list of YAML, without quotes around it: [{inside}]",
        )
    if function := re.search(r"unsupported function '(\w+)'", said):
        name = function[1]
        place = text.lower().find(name.lower()) + 1
        close = difflib.get_close_matches(name.lower(), _FUNCTIONS.split(), n=1, cutoff=0.7)
        fix = f"did you mean {close[0].upper()}?" if close else f"use one of: {', '.join(_FUNCTIONS.split())}"
        return f"there is no function {name!r} (character {place})", fix
    if "Unterminated" in said and (mark := re.search(r"Line: (\d+), Column: (\d+)", said)):
        return f"nothing closes the quotation mark at character {mark[2]}", "close it; a mark in a text is doubled: ''"
    if not text.strip():
        return "there is nothing to parse", "name a column, or write an expression"
    return _first_trouble(text, said)


def _first_trouble(text: str, said: str) -> tuple[str, str]:
    """Where the longest beginning that is an expression ends."""
    tokens = list(_TOKEN.finditer(text))
    for token, after in reversed(list(pairwise(tokens))):
        if _is_expression(text[: token.end()]):
            problem = f"it cannot be parsed from {after[0]!r} on (character {after.start() + 1})"
            if after is tokens[-1]:
                return problem, f"take {after[0]!r} out, or write what belongs to it"
            return problem, f"{text[: token.end()]!r} can be; fix what follows"
    parser_words = re.search(r"\b(?:Ident|Span|Location|Token\w*|Some|None)\b *[({]", said)
    return (
        f"it cannot be parsed{'' if parser_words else f': {said}'}",
        "close every bracket; texts stand in 'single quotes'",
    )


def _is_expression(text: str) -> bool:
    try:
        pl.sql_expr(text)
    except pl.exceptions.PolarsError:
        return False
    return True


def is_row_by_row(expression: pl.Expr) -> bool:
    """Whether no part of an expression looks at other rows: no aggregate, no window, no count of the table.

    Constants are row by row. Every part is looked at, since Polars answers for the outermost one only.
    """
    parts = [expression]
    while parts:
        part = parts.pop()
        if part.meta.eq(pl.len()) or (part.meta.root_names() and not _keeps_rows_apart(part)):
            return False
        parts += part.meta.pop()
    return True


def _keeps_rows_apart(part: pl.Expr) -> bool:
    meta = part.meta
    try:
        return meta.is_row_separable() and (meta.is_length_preserving() or meta.is_scalar())
    except pl.exceptions.ColumnNotFoundError:
        return True  # a function that Polars only resolves against a schema (IN, ROUND): its inputs are looked at next
