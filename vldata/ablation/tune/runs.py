"""What a tuning's runs are, and their shares and losses as arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vldata.ablation.cells import CellFailure
from vldata.ablation.tune.fit import Floats


@dataclass(frozen=True)
class Best:
    """The best predicted mixture; predictions are from all runs, the held-out ones among them.

    Args:
        shares: As of a `MixtureRun`.
        predicted: What is minimised.
        base_predicted: The same of the base's own mixture.
    """

    shares: Floats
    predicted: float
    base_predicted: float


@dataclass(frozen=True)
class MixtureRun:
    """One mixture and its losses.

    Args:
        name: Its build's folder.
        shares: Of the sources of `Space.base`, in its order, in whole units.
        losses: Task to loss; None when it failed.
    """

    name: str
    shares: Floats
    units: Mapping[str, int]
    losses: Mapping[str, float] | None
    failure: CellFailure | None = None


def shares_of(runs: Sequence[MixtureRun]) -> Floats:
    """Shape (runs, sources)."""
    return np.array([run.shares for run in runs])


def losses_of(runs: Sequence[MixtureRun], task: str) -> Floats:
    """Shape (runs,), of those that have losses."""
    return np.array([run.losses[task] for run in runs if run.losses is not None])


def whole(run: MixtureRun, tasks: Mapping[str, float]) -> float:
    """What is minimised: the weighted mean of the tasks' losses."""
    return sum(weight * run.losses[task] for task, weight in tasks.items()) if run.losses is not None else math.nan
