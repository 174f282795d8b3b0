"""The ledger: every turn that is not in the dataset, with stage and reason; and the invariant that nothing is lost."""

from __future__ import annotations

from fractions import Fraction

import polars as pl

from vldata.errors import BuildError
from vldata.pipeline.choose import ChosenSamples
from vldata.recipe.models import Entry
from vldata.schema.reasons import OUTCOMES, REJECTED

LEDGER = {
    "source": pl.String,
    "row": pl.String,
    "stage": pl.String,
    "outcome": pl.String,
    "reason": pl.String,
    "detail": pl.String,
}


def staged(dropped: pl.DataFrame, source: str, stage: str) -> pl.DataFrame:
    """Dropped rows (``row, reason`` and maybe ``detail``) as ledger rows."""
    detail = pl.col("detail") if "detail" in dropped.columns else pl.lit(None, pl.String)
    return dropped.select(
        source=pl.lit(source),
        row="row",
        stage=pl.lit(stage),
        outcome=pl.col("reason").replace_strict(OUTCOMES, return_dtype=pl.String),
        reason="reason",
        detail=detail.cast(pl.String),
    )


def ledger_of(entry: Entry, before: pl.DataFrame, chosen: ChosenSamples, rows_in: int) -> pl.DataFrame:
    """The whole ledger of a source, after checking that its rows and the chosen ones are all that there were.

    Args:
        before: Ledger rows of the stages before choosing.
        chosen: What was chosen, refused and left over.
        rows_in: Turns that were read.

    Raises:
        BuildError: The counts do not add up, which is a bug: nothing is written.
    """
    ledger = pl.concat([before, staged(chosen.refused, entry.name, "look"), staged(chosen.rest, entry.name, "choose")])
    rows_out = chosen.turns.height
    distinct = pl.concat([ledger["row"], chosen.turns["row"]]).n_unique()
    if ledger.height + rows_out != rows_in or distinct != rows_in:
        raise RuntimeError(
            f"{entry.where}: {rows_in} turns read, but {rows_out} chosen + {ledger.height} in the ledger "
            f"({distinct} distinct)"
        )
    return ledger


def refuse_too_many_rejects(entry: Entry, ledger: pl.DataFrame, rows_in: int) -> BuildError | None:
    """The error that stops a build when a source is more broken than its ``max_reject_rate`` allows.

    The rate is over the turns that were looked at: those not needed say nothing about the source. One of which the
    mixture takes nothing, such as a source that only others are made from, breaks no dataset.
    """
    num_unneeded = ledger.filter(pl.col("outcome") == "not_chosen").height
    looked_at = rows_in - num_unneeded
    rejected = ledger.filter(pl.col("outcome") == "rejected")
    rate = Fraction(str(entry.settings.max_reject_rate))  # 0.29 is meant, not its nearest float
    if rejected.height <= rate * looked_at or (num_unneeded and ledger.height == rows_in):
        return None
    counts = rejected.group_by("reason").len().sort("len", "reason", descending=[True, False])
    reasons = "\n".join(f"    {n:>9,}  {reason}: {REJECTED[reason]}" for reason, n in counts.iter_rows())
    examples = "\n".join(
        f"    {row['row']}: {row['reason']}" + (f" ({row['detail'][:160]})" if row["detail"] else "")
        for row in rejected.unique("reason", keep="first", maintain_order=True).head(5).iter_rows(named=True)
    )
    share = rejected.height / looked_at
    counted = (
        f"{rejected.height:,} of {looked_at:,} turns are broken ({share:.1%}; max_reject_rate is {float(rate):.1%})"
    )
    return BuildError(
        entry.where,
        f"{counted}\n{reasons}\n  for example\n{examples}",
        f"fix the source, {_left_out(entry, rejected)}"
        f"or set {entry.where}.max_reject_rate: {min(1.0, round(share + 0.005, 2)):g}",
    )


def _left_out(entry: Entry, rejected: pl.DataFrame) -> str:
    """How to leave rows without an image to another task, where they are what is missed."""
    if (rejected["reason"] == "no_image").sum() * 2 < rejected.height or entry.settings.where:
        return ""
    return f"leave its rows without an image out with {entry.where}.where: ARRAY_LENGTH(images) > 0, "
