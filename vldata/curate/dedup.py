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
from vldata.schema.spec import Spec
from vldata.schema.turns import COMMON, KEY

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
    of_turns = units(turns, value=value, text=text)
    gone = _equal(of_turns)
    if options.similarity is not None:
        gone = pl.concat([gone, _alike(of_turns.join(gone, on="unit", how="anti", maintain_order="left"), options)])
    dropped = rows_of(turns, gone.with_columns(detail=pl.format("kept: {}", "kept"))).select(*LEDGER)
    return Cut(turns.join(dropped, on="row", how="anti", maintain_order="left"), dropped)


def compared(options: Dedup, schema: pl.Schema, answer: str | None) -> list[str]:
    """The columns that ``by`` means in a table; empty when one of them is not there."""
    if ALL in options.by:
        return [name for name in schema if name not in COMMON and name not in (KEY, "rank")]
    columns = [answer if name == "answer" and answer else name for name in options.by]
    if "box_unit" in schema and "boxes" not in columns:
        columns.append("boxes")  # their places look alike in every text, whatever stands there
    return columns if all(name in schema for name in columns) else []


def _equal(of_turns: pl.DataFrame) -> pl.DataFrame:
    """The units that equal one of lower rank: ``unit``, ``reason`` and which was ``kept``."""
    # of equal units the first is the one of lowest rank, as `units` orders them
    judged = of_turns.filter(pl.col("value").is_not_null()).with_columns(
        first=pl.struct("image", "value").is_first_distinct()
    )
    first = judged.filter("first").select("image", "value", kept="unit")
    again = judged.filter(~pl.col("first")).join(first, on=["image", "value"], how="left", maintain_order="left")
    return again.select("unit", "kept", reason=pl.lit("duplicate"))


def _alike(of_turns: pl.DataFrame, options: Dedup) -> pl.DataFrame:
    """As `_equal`, for the units that resemble a kept one."""
    kept = near_duplicates(of_turns["image"], of_turns["text"], options.similarity or 1.0, options.measure)
    places = pl.Series(kept).replace(-1, None)
    judged = of_turns.select("unit", kept=of_turns["unit"].gather(places), reason=pl.lit("near_duplicate"))
    return judged.filter(pl.col("kept").is_not_null())
