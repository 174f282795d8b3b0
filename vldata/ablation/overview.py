"""What is known of an ablation before it runs: `vldata ablate plan`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vldata.ablation.builds import Planned, plan_all, sharing
from vldata.ablation.cells import Trainer, seconds_of
from vldata.ablation.checks import notes_on_seeds, num_seeds_of, split_of
from vldata.ablation.load import Opened
from vldata.ablation.statistics import base_seeds
from vldata.ablation.variants import notes_of
from vldata.base import Progress
from vldata.recipe.load import from_tree


def overview(
    opened: Opened,
    *,
    out: Path | None = None,
    store: Path | None = None,
    workers: int | None = None,
    seeds: int | None = None,
    chosen: Iterable[str] = (),
    cost: tuple[int, int] | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Variants, what each shares with those before it and with every other, bytes, and what to train.

    Args:
        out: The ablation's folder, if it ran: finished trainings say how long one takes.
        seeds: In place of the file's.
        chosen: Only these variants, and the base.
        cost: Steps of one training, and the most tokens that it reads, where the file fixes them.

    Raises:
        VldataError: The base cannot be planned, or the file makes no sense.
    """
    Trainer(opened.ablation.train, None).words()  # what a run refuses is an error before anything is planned
    num_seeds = num_seeds_of(opened.ablation, seeds)
    planned = plan_all(opened, store=store, workers=workers, chosen=chosen, progress=progress)
    _check_split(opened, planned[0])
    own = {one.variant.name: one.blocks for one in planned if one.plan is not None and one.variant.same_as is None}
    shared = sharing(own)
    keys = {name: {key for key, _ in blocks} for name, blocks in own.items()}
    base_runs = base_seeds(num_seeds, max(1, len(own) - 1))
    trainings = base_runs + num_seeds * (len(own) - 1)
    took = [s for cell in (out / "cells").glob("*") if (s := seconds_of(cell)) is not None] if out else []
    notes = [*notes_of(opened.ablation, [one.variant for one in planned]), *notes_on_seeds(num_seeds)]
    variants = []
    for one in planned:
        name = one.variant.name
        row: dict[str, Any] = {"name": name, "changes": dict(one.variant.changes), "same_as": one.variant.same_as}
        if name in shared and one.plan is not None:
            row["samples"] = sum(report.achieved["samples"] for report in one.plan.sources.values())
            row |= shared[name]._asdict()
            row["in_common"] = {other: len(keys[name] & theirs) for other, theirs in keys.items() if other != name}
        variants.append(row)
    return {
        "name": opened.ablation.name,
        "held": opened.ablation.held,
        "seeds": num_seeds,
        "base_seeds": base_runs,
        "data_seeds": opened.ablation.data_seeds,
        "variants": variants,
        "bytes_of_base": shared["base"].new_bytes,
        "bytes_to_write": sum(one.new_bytes for one in shared.values()),
        "trainings": trainings,
        "steps": cost[0] if cost else None,
        "tokens_per_training": cost[1] if cost else None,
        "finished": min(len(took), trainings),  # cells of an earlier, larger ablation stay in the folder
        "seconds_per_training": round(sum(took) / len(took), 1) if took else None,
        "failed": [{"variant": one.variant.name, "error": one.error} for one in planned if one.error],
        "notes": notes,
    }


def _check_split(opened: Opened, base: Planned) -> None:
    """Refuse an ablation without a split to score on."""
    is_own = opened.held_out is None
    if opened.held_out is not None:
        has = list(from_tree(opened.held_out).split_shares)
    else:
        has = sorted({block.split for block in base.plan.blocks if block.rows}) if base.plan else []
    split_of(opened.ablation.evaluate.split, has, is_own=is_own)
