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
        detail: What exactly, for the ledger; may be null.
    """

    reason: str
    when: pl.Expr
    detail: pl.Expr


def cut(turns: pl.DataFrame, drops: Sequence[Drop]) -> Cut:
    """Drop turns; of several grounds the first is the one in the ledger."""
    if not drops:
        return Cut(turns, pl.DataFrame(schema=LEDGER))
    when = [drop.when.fill_null(False) for drop in drops]
    reason = pl.coalesce(pl.when(w).then(pl.lit(d.reason)) for w, d in zip(when, drops, strict=True))
    detail = pl.coalesce(
        # a null detail of the first ground must not let through the detail of the second
        pl.when(w).then(pl.struct(detail=d.detail.cast(pl.String)))
        for w, d in zip(when, drops, strict=True)
    )
    judged = turns.select("row", reason=reason, detail=detail.struct.field("detail"))
    is_dropped = judged["reason"].is_not_null()
    return Cut(turns.filter(~is_dropped), judged.filter(is_dropped))
