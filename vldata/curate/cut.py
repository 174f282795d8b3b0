"""The result of every curation step: what stays, and a ledger row for each turn that does not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

LEDGER = {"row": pl.String, "reason": pl.String, "detail": pl.String}


class Cut(NamedTuple):
    """A table of turns, divided.

    Args:
        kept: Turns that stay, with the columns and in the order of the input.
        dropped: One row for each turn that leaves, columns `LEDGER`; the reason is a name of `vldata.schema.reasons`.
    """

    kept: pl.DataFrame
    dropped: pl.DataFrame


class Drop(NamedTuple):
    """A ground for dropping turns.

    Args:
        reason: A name of `vldata.schema.reasons`.
        when: True for the turns to drop; null counts as false.
        detail: What exactly, for the ledger, as that turn alone says; may be null.
    """

    reason: str
    when: pl.Expr
    detail: pl.Expr


def cut(turns: pl.DataFrame, drops: Sequence[Drop]) -> Cut:
    """Drop turns; of several grounds the first is the one in the ledger."""
    if not drops:
        return Cut(turns, pl.DataFrame(schema=LEDGER))
    grounds = [f"drop {number}" for number in range(len(drops))]
    judged = turns.with_columns(d.when.fill_null(False).alias(g) for g, d in zip(grounds, drops, strict=True))
    is_dropped = judged.select(pl.any_horizontal(grounds)).to_series()
    if not is_dropped.any():  # without a copy, as most turns are sound
        return Cut(turns, pl.DataFrame(schema=LEDGER))
    reason = pl.coalesce(pl.when(g).then(pl.lit(d.reason)) for g, d in zip(grounds, drops, strict=True))
    detail = pl.coalesce(
        # a null detail of the first ground must not let through the detail of the second
        pl.when(g).then(pl.struct(detail=d.detail.cast(pl.String)))
        for g, d in zip(grounds, drops, strict=True)
    )
    dropped = judged.filter(is_dropped).select("row", reason=reason, detail=detail.struct.field("detail"))
    return Cut(turns.filter(~is_dropped), dropped)
