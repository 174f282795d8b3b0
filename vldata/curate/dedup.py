"""Turns of an image that say the same: exact, by named columns, and nearly, by one text.

Honeybee's finding is that an image's five "yes" questions teach one thing; its rule is ``by: answer``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import polars as pl
from pydantic import BeforeValidator, Field

from vldata.curate.cut import LEDGER, Cut
from vldata.curate.near import near_duplicates
from vldata.curate.units import rows_of, units
from vldata.schema.keyed import canonical_text
from vldata.schema.turns import COMMON, KEY
from vldata.spec import Spec

ALL = "all"


def _one_name(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Dedup(Spec):
    """Which turns of an image are too many. Of equal turns the one of lowest keyed rank stays.

    Args:
        by: Columns whose values must all be equal; ``answer`` is whatever column the task answers in; ``all`` is every
            column of the task. A task without one of the columns is left alone, so a default may serve many tasks.
        similarity: Also leave out turns whose ``near`` text is at least so similar to that of a kept one; null: no.
        measure: ``jaccard`` of the words (paraphrases in other words stay), or ``edit``, character by character (for
            languages without spaces, or to catch typing errors).
        near: The column that is compared; null is the task's first text, such as the question.
    """

    by: Annotated[
        tuple[str, ...], BeforeValidator(_one_name, json_schema_input_type=str | list[str]), Field(min_length=1)
    ] = (ALL,)
    similarity: Annotated[float, Field(gt=0, le=1)] | None = None
    measure: Literal["jaccard", "edit"] = "jaccard"
    near: str | None = None


def dedup(turns: pl.DataFrame, options: Dedup, *, texts: Sequence[str], answer: str | None) -> Cut:
    """Drop turns that say what a kept turn about the same images says.

    Native conversations are compared as wholes with their exchanges joined, and stay or leave whole. Texts
    without an image are compared with one another for equality, and not for likeness.

    Args:
        turns: With ``rank``.
        options: What counts as the same.
        texts: The task's text columns.
        answer: The task's answer column.
    """
    value, text = pl.lit(None, pl.String), pl.lit(None, pl.String)
    columns = compared(options, turns.schema, answer)
    if columns:
        value = canonical_text({name: turns.schema[name] for name in columns})
    near = options.near or (texts[0] if texts else None)
    if options.similarity is not None and near in turns.columns:
        text = pl.col(near)
    found = units(turns, value=value, text=text)
    twice = _equal(found)
    if options.similarity is not None:
        rest = found.filter(twice["reason"].is_null())
        place = near_duplicates(rest["image"], rest["text"], options.similarity, options.measure)
        like = rest["unit"].gather(pl.Series(place).replace(-1, None))
        alike = rest.select("unit", reason=pl.when(like.is_not_null()).then(pl.lit("near_duplicate")), detail=like)
        twice = pl.concat([twice.filter(pl.col("reason").is_not_null()), alike])
    gone = twice.filter(pl.col("reason").is_not_null()).with_columns(detail=pl.format("kept: {}", "detail"))
    dropped = rows_of(turns, gone).select(*LEDGER)
    return Cut(turns.join(dropped, on="row", how="anti", maintain_order="left"), dropped)


def compared(options: Dedup, schema: pl.Schema, answer: str | None) -> list[str]:
    """The columns that ``by`` means in a table; empty when one of them is not there."""
    if ALL in options.by:
        return [name for name in schema if name not in COMMON and name not in (KEY, "rank")]
    columns = [answer if name == "answer" and answer else name for name in options.by]
    return columns if all(name in schema for name in columns) else []


def _equal(found: pl.DataFrame) -> pl.DataFrame:
    """``unit``, ``reason``, ``detail``; of equal units the first is the one of lowest rank, as `units` orders them."""
    first = pl.col("unit").first().over("image", "value")
    again = pl.col("value").is_not_null() & (pl.col("unit") != first)
    return found.select("unit", reason=pl.when(again).then(pl.lit("duplicate")), detail=first)
