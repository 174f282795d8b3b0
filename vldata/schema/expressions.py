"""SQL expressions in recipes: whether what they give a row depends on that row alone."""

from __future__ import annotations

import polars as pl


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
