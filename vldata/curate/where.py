"""``where``: one Polars SQL expression over a turn's canonical columns, which can read no file and no other table."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import polars as pl

from vldata.curate.cut import Cut, Drop, cut
from vldata.errors import RecipeError, nearest
from vldata.schema.expressions import is_row_by_row, quoted_paths, trouble
from vldata.schema.turns import KEPT_PREFIX, KEY, META

_INTERNAL = (KEY, "rank", META)

# Polars resolves a subquery's files while it parses, so these are refused before the text gets there. The functions are
# searched in the raw text, quotes or not; the words only outside quotes, since a question may well say "select".
_FILE_FUNCTIONS = re.compile(
    r"\bread_(csv|parquet|ipc|json|ndjson|avro|delta|database|excel)|\bscan_\w+", re.IGNORECASE
)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_SUBQUERY = re.compile(r"\b(select|values|with|table)\b|\(\s*from\b", re.IGNORECASE)
_UNFOLD = re.compile(r"\b(unnest|explode)\b", re.IGNORECASE)


def names_of(expression: str, names: Collection[str]) -> set[str]:
    """Which of these columns an expression looks at; none of one that cannot be parsed."""
    try:
        return {*pl.sql_expr(quoted_paths(expression, names)).meta.root_names()} & {*names}
    except pl.exceptions.PolarsError:
        return set()


def where(turns: pl.DataFrame, expression: str, where_path: str) -> Cut:
    """Keep the turns for which a SQL expression is true; null counts as false.

    Args:
        turns: Any turns.
        expression: For example ``ARRAY_LENGTH(images) > 0 AND question LIKE '%colour%'``.
        where_path: Its place in the recipe, for errors.

    Raises:
        RecipeError: As `compiled`, or the expression fails on a row's values.
    """
    there = turns.drop(_INTERNAL, strict=False)
    native = {name: name.removeprefix(KEPT_PREFIX) for name in there.columns if name.startswith(KEPT_PREFIX)}
    there = there.rename(native)
    compiled_expression = compiled(expression, there.schema, where_path, kept=list(native.values()))
    try:
        true = there.select(compiled_expression.fill_null(False).alias("true"))["true"]
    except pl.exceptions.PolarsError as error:
        raise _failed(expression, where_path, str(error)) from None
    if len(true) != turns.height:
        raise _refused(expression, where_path, "does not give one value for each turn")
    return cut(turns, [Drop("where", pl.lit(~true), pl.lit(expression))])


def compiled(expression: str, schema: pl.Schema, where_path: str, *, kept: Sequence[str] = ()) -> pl.Expr:
    """The expression, checked against the columns without looking at any row.

    Args:
        kept: Columns of the schema that are native ones.

    Raises:
        RecipeError: Not one expression, a subquery, an unknown column or function, not true or false, or something that
            looks at other turns (aggregates, windows).
    """
    unquoted = _QUOTED.sub(" ", expression)
    if _UNFOLD.search(unquoted):
        raise _refused(expression, where_path, "gives each turn several values or none")
    if _FILE_FUNCTIONS.search(expression) or _SUBQUERY.search(unquoted):
        raise RecipeError(
            where_path,
            f"{expression!r} has a subquery or reads a file",
            "use the turn's own columns only; `select` needs quotes",
        )
    try:
        parsed = _parsed(expression, schema, where_path)
        unknown = [name for name in parsed.meta.root_names() if name not in schema]
        if unknown:
            raise _unknown_column(unknown[0], expression, schema, where_path, kept)
        empty = pl.DataFrame(schema=schema).select(parsed.alias("value"))
    except pl.exceptions.PolarsError as error:
        raise _failed(expression, where_path, str(error)) from None
    if empty.height:
        raise _refused(expression, where_path, "gives one value for the whole table, not one for each turn")
    if not is_row_by_row(parsed):
        raise _refused(expression, where_path, "looks at other turns; whether a turn stays must depend on itself alone")
    if empty["value"].dtype != pl.Boolean:
        raise _refused(expression, where_path, f"is {empty['value'].dtype}, not true or false")
    return parsed


def _parsed(expression: str, schema: pl.Schema, where_path: str) -> pl.Expr:
    try:
        return pl.sql_expr(quoted_paths(expression, schema))
    except pl.exceptions.PolarsError as error:
        problem, fix = trouble(expression, error)
        raise RecipeError(where_path, f"{expression!r} cannot be used: {problem}", fix) from None


def _unknown_column(name: str, expression: str, schema: pl.Schema, where_path: str, kept: Sequence[str]) -> RecipeError:
    columns = list(schema)
    native = f"{', '.join(kept)} (kept)" if kept else "none; name those of the files that are needed with `keep`"
    fix = f"columns: {', '.join(column for column in columns if column not in kept)}; native columns: {native}"
    guess = nearest(name, columns)
    if guess.startswith("did you mean"):
        fix = f"{guess} {fix}"
    elif f'"{name}"' in expression:
        fix = f"text stands in single quotes: '{name}'; {fix}"
    return RecipeError(where_path, f"no column {name!r} in {expression!r}", fix)


def _refused(expression: str, where_path: str, problem: str) -> RecipeError:
    return RecipeError(where_path, f"{expression!r} {problem}", "write a comparison, such as ARRAY_LENGTH(images) > 0")


def _failed(expression: str, where_path: str, problem: str) -> RecipeError:
    said = problem.strip().splitlines()[0]
    return RecipeError(where_path, f"{expression!r} cannot be used: {said}", "write one Polars SQL expression")
