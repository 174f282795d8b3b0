"""The same photograph with the same words in several sources: the source listed first keeps it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from vldata.curate.cut import LEDGER, Cut
from vldata.curate.units import SEPARATOR, rows_of, units
from vldata.errors import RecipeError, nearest
from vldata.schema.keyed import canonical_text


def across(
    tables: Mapping[str, pl.DataFrame], *, identity: str, by: Sequence[str], order: Sequence[str]
) -> dict[str, Cut]:
    """Drop the turns that an earlier source has.

    Only turns of different sources are compared; a native conversation equals another only as a whole. Turns without an
    image, or with one whose contents are unknown, are left alone.

    Args:
        tables: Source name to its turns, with ``rank``.
        identity: Column with the content hashes of the turn's images, in order; null when one is unknown.
        by: Columns whose values must be equal.
        order: Names of all the sources, the one that keeps its turns first.

    Raises:
        RecipeError: A source does not have one of the columns.
    """
    by_source = [_units(tables[name], name, place, identity, by) for place, name in enumerate(order)]
    together = pl.concat(by_source).sort("place", "rank", "unit")
    firsts = together.unique(["identity", "value"], keep="first").select(
        "identity", "value", first="place", kept=pl.concat_str("source", pl.lit("/"), "unit")
    )
    judged = together.join(firsts, on=["identity", "value"], how="left", maintain_order="left").select(
        "source", "unit", again=pl.col("place") > pl.col("first"), detail=pl.format("kept: {}", "kept")
    )
    cuts = {}
    for name in order:
        repeated = judged.filter(pl.col("again") & (pl.col("source") == name))
        gone = repeated.select("unit", "detail", reason=pl.lit("duplicate_across"))
        dropped = rows_of(tables[name], gone).select(*LEDGER)
        cuts[name] = Cut(tables[name].join(dropped, on="row", how="anti", maintain_order="left"), dropped)
    return cuts


def _units(turns: pl.DataFrame, name: str, place: int, identity: str, by: Sequence[str]) -> pl.DataFrame:
    for column in by:
        if column not in turns.columns:
            raise RecipeError(
                "dedup_across.by", f"the source {name!r} has no column {column!r}", nearest(column, turns.columns)
            )
    value = canonical_text({column: turns.schema[column] for column in by})
    own = units(turns, identity=pl.col(identity).list.join(SEPARATOR), value=value)
    own = own.filter((pl.col("identity") != "") & pl.col("identity").is_not_null())
    return own.select(pl.lit(place).alias("place"), pl.lit(name).alias("source"), "unit", "rank", "identity", "value")
