"""Rows that are parts of one turn, such as a text region or an answer a row: they agree in the values of columns."""

from __future__ import annotations

import polars as pl

from vldata.errors import SourceError
from vldata.schema.turns import KEPT_PREFIX
from vldata.sources.reading.rows import note

LISTS = ("boxes", "answers", "choices", "phrases")
"""Columns of turns that are put together; all others must agree."""

_GROUP, _FIRST, _PLACE = "\0group", "\0first", "\0at"


def gathered(turns: pl.DataFrame, keys: pl.DataFrame, task: str) -> pl.DataFrame:
    """One turn for all rows whose keys agree, in the order of the first of each: their lists behind one another.

    A turn one of whose rows has a problem has that problem. Native columns are lists of all rows' texts. Where they
    have no ``row``, the key is it.

    Args:
        keys: As many rows; one with a null belongs to no other.

    Raises:
        SourceError: Nothing of the task is a list, or a key is one.
    """
    lists = [name for name in LISTS if isinstance(turns.schema.get(name), pl.List)]
    if not lists:
        problem = f"of the task {task!r} nothing here is a list that rows could be gathered into"
        raise SourceError("gather", problem, f"name one in `fields`: {', '.join(LISTS)}")
    for name, dtype in keys.schema.items():
        if dtype.is_nested() or dtype == pl.Binary:
            raise SourceError("gather", f"{name!r} is {dtype}", "name columns of texts or numbers")
    names = keys.columns
    alone = pl.any_horizontal(pl.col(name).is_null() for name in names)
    group = pl.when(alone).then(_PLACE).otherwise(pl.col(_PLACE).first().over(names))
    keys = pl.DataFrame([_whole_where_all_are(one) for one in keys])
    key = pl.concat_str([pl.col(name).cast(pl.String) for name in names], separator="/")
    table = turns.with_columns(keys.with_row_index(_PLACE).select(group.alias(_GROUP), key.alias(_FIRST)))
    if "row" not in table.columns:
        table = table.with_columns(row=_FIRST)
    kept = [name for name in turns.columns if name.startswith(KEPT_PREFIX)]
    others = [name for name in turns.columns if name not in (*lists, *kept, "problem", "detail", "row")]
    common = [name for name in others if not name.startswith("\0")]
    found = table.group_by(_GROUP, maintain_order=True).agg(
        *(pl.col(name).explode(empty_as_null=False, keep_nulls=False) for name in lists),
        *kept,
        *(pl.col(name).first() for name in (*others, "row")),
        *(pl.col(name).drop_nulls().first() for name in ("problem", "detail")),
        *((pl.col(name).ne_missing(pl.col(name).first())).any().alias(f"{_FIRST}{name}") for name in common),
    )
    for name in common:
        said = pl.lit(f"{name!r} is not the same in all rows that `gather` puts together")
        found = note(found, pl.col(f"{_FIRST}{name}"), "unparsable_row", said)
    return found.select(*turns.columns, *({"row"} - {*turns.columns}))


def with_kept_joined(turns: pl.DataFrame) -> pl.DataFrame:
    """Turns of `gathered` with native columns as JSON texts again: of each all rows' values as a list.

    A column that never differs among the rows of a turn is a single value.
    """
    for name in (name for name in turns.columns if name.startswith(KEPT_PREFIX)):
        values = pl.col(name)
        listed = pl.format("[{}]", values.list.eval(pl.element().fill_null("null")).list.join(","))
        is_single = bool((turns[name].list.n_unique() <= 1).all())
        turns = turns.with_columns(values.list.first() if is_single else listed.alias(name))
    return turns


def _whole_where_all_are(values: pl.Series) -> pl.Series:
    if not values.dtype.is_float():
        return values
    whole = values.cast(pl.Int64, strict=False)
    return whole if values.ne_missing(whole).sum() == 0 else values
