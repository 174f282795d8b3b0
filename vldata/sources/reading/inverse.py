"""Canonical columns -> a table from which a recipe's own ``fields`` read them again: how stand-ins of tables are made.

An expression is inverted by trying: whatever column it gives the wanted values of is the right one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import polars as pl

from vldata.errors import SourceError

_PLAIN = re.compile(r"[\w\- ]+")
_LITERAL = re.compile(r"'[^']*'|\b\d+\b")
_MARK = "\ue000"


def table_for(turns: pl.DataFrame, fields: Mapping[str, str]) -> pl.DataFrame:
    """The turns under the names that ``fields`` read; columns that it does not name keep their own.

    Raises:
        SourceError: An expression that cannot be inverted, or two that cannot be at once.
    """
    table = turns.select(name for name in turns.columns if name not in fields)
    plain = {name: text for name, text in fields.items() if _PLAIN.fullmatch(text) and name in turns.columns}
    for name, text in plain.items():
        if text in plain.values() and text in table.columns and text not in turns.columns:
            _same_or_refused(name, text, turns[name], table[text])
        table = table.with_columns(turns[name].alias(text))
    for name, text in fields.items():
        if name not in plain and name in turns.columns:
            table = _inverted(name, text, turns[name], table)
    return table


def _inverted(name: str, text: str, wanted: pl.Series, table: pl.DataFrame) -> pl.DataFrame:
    try:
        expression = pl.sql_expr(text)
        roots = list(dict.fromkeys(expression.meta.root_names()))
    except pl.exceptions.PolarsError as error:
        problem = f"{text!r}: {str(error).partition(chr(10))[0]}"
        raise SourceError(f"fields.{name}", problem, "write a column or a Polars SQL expression") from None
    if not roots or (set(roots) <= set(table.columns) and _gives(expression, table, None)):
        return table  # a constant, or made of columns that are there for others
    alone = wanted.list.first() if isinstance(wanted.dtype, pl.List) else wanted
    for target in (wanted, alone):
        for native in _candidates(expression, roots, text, target):
            tried = table.with_columns(native)
            if _gives(expression, tried, target):
                return tried
    problem = f"{text!r} cannot be inverted, so there is no stand-in that it could read"
    raise SourceError(f"fields.{name}", problem, "name a plain column, or build from the files themselves")


def _candidates(expression: pl.Expr, roots: list[str], text: str, target: pl.Series) -> Iterator[list[pl.Series]]:
    """Columns of which an expression might give the wanted values."""
    first, *others = roots
    texts = target.cast(pl.String) if not target.dtype.is_nested() else target
    for rest in (None, ""):
        beside = [pl.Series(name, [rest] * target.len(), dtype=pl.String) for name in others]
        yield [target.alias(first), *beside]
        yield [texts.alias(first), *beside]
        listed = target.to_frame("v").select(pl.concat_list("v") if not target.dtype.is_nested() else pl.col("v"))
        yield [listed.to_series().alias(first), *beside]
        if texts.dtype == pl.String:
            marked = [pl.Series(first, [_MARK], dtype=pl.String), *(one.head(1) for one in beside)]
            around = _evaluated(expression, pl.DataFrame(marked))
            if around is not None and around.dtype == pl.String and str(around[0]).count(_MARK) == 1:
                before, after = str(around[0]).split(_MARK)
                yield [texts.str.strip_prefix(before).str.strip_suffix(after).alias(first), *beside]
    if target.dtype == pl.Boolean:
        for value in _LITERAL.findall(text):  # such as label = 'yes'
            there, not_there = pl.lit(value.strip("'")), pl.lit("0" if value == "1" else "1" if value == "0" else "")
            values = target.to_frame("v").select(pl.when("v").then(there).otherwise(not_there)).to_series()
            for column in (values, values.cast(pl.Int64, strict=False)):
                yield [column.alias(first)]
            values = target.to_frame("v").select(pl.when("v").then(not_there).otherwise(there)).to_series()
            yield [values.alias(first)]
    if target.dtype.is_integer():
        yield from ([(target + offset).alias(first)] for offset in (1, -1))
    path = text.split(".")
    if len(path) > 1 and all(part.isidentifier() for part in path):
        inner = target.to_frame(path[-1]).to_struct(path[-1])
        for part in reversed(path[:-1]):
            inner = inner.alias(part) if part == path[0] else inner.alias(part).to_frame().to_struct(part)
        yield [inner.alias(path[0])]


def _gives(expression: pl.Expr, table: pl.DataFrame, wanted: pl.Series | None) -> bool:
    """Whether an expression gives the wanted values; with None, whether it gives any."""
    found = _evaluated(expression, table)
    if found is None or found.len() != table.height:
        return False
    if wanted is None:
        return found.null_count() < found.len()
    if found.dtype != wanted.dtype and not (found.dtype.is_nested() or wanted.dtype.is_nested()):
        found, wanted = found.cast(pl.String), wanted.cast(pl.String)
    return found.dtype == wanted.dtype and found.equals(wanted, check_names=False)


def _evaluated(expression: pl.Expr, table: pl.DataFrame) -> pl.Series | None:
    try:
        return table.select(expression.alias("v"))["v"]
    except (pl.exceptions.PolarsError, TypeError):
        return None


def _same_or_refused(name: str, text: str, wanted: pl.Series, there: pl.Series) -> None:
    if wanted.dtype != there.dtype or not wanted.equals(there, check_names=False):
        problem = f"another field is read from {text!r} as well, so there is no stand-in that gives both"
        raise SourceError(f"fields.{name}", problem, "build from the files themselves")
