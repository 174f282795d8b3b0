"""The results of a tuning as plain data, and in words why it proposes nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vldata.ablation.tune.fit import MAX_CHANCE, Error, Model, Predict
from vldata.ablation.tune.runs import Best, MixtureRun, whole
from vldata.ablation.tune.space import Space


def model_row(model: Model, error: Error) -> dict[str, Any]:
    """A task's regression, and how far it was off."""
    return {"model": model.name, "cross_validated": dict(model.errors), **error_row(error)}


def error_row(error: Error) -> dict[str, Any]:
    """How far predictions were off; JSON has no NaN."""
    ranks = None if math.isnan(error.rank_correlation) else error.rank_correlation
    return {
        "mixtures": error.mixtures,
        "mean_abs_error": error.mean_abs,
        "mean_abs_error_of_mean": error.mean_abs_of_mean,
        "rank_correlation": ranks,
        "p_value": error.chance,
    }


def run_row(
    run: MixtureRun, held_out: bool, tasks: Mapping[str, float], predict: Predict, space: Space
) -> dict[str, Any]:
    """A run with its loss, and with what the fitted models say of it."""
    return {
        "name": run.name,
        "held_out": held_out,
        "shares": dict(zip(space.base, run.shares.tolist(), strict=True)),
        "units": dict(run.units),
        "losses": None if run.losses is None else dict(run.losses),
        "measured": None if run.losses is None else whole(run, tasks),
        "predicted": float(predict(run.shares[None])[0]),
        "error": failure_text(run),
    }


def failure_text(run: MixtureRun) -> str | None:
    """Why it has no losses."""
    return None if run.failure is None else f"{run.failure.stage}: {run.failure.error}"


def refusal(error: Error, best: Best) -> str | None:
    """Why nothing is proposed; None where something is."""
    if not error.is_better_than_mean:
        return f"{_unpredicted(error)}: more runs, or longer ones, may distinguish mixtures"
    gain = best.base_predicted - best.predicted
    if gain > error.mean_abs:
        return None
    if gain <= 0:
        return "the best mixture is predicted to be no lower than the base: the base may stay"
    lower, off = _distinct_texts(gain, error.mean_abs)
    return (
        f"the best mixture is predicted to be {lower} lower than the base, and predictions are off by {off}: "
        "the base may stay"
    )


def _unpredicted(error: Error) -> str:
    off, of_mean = _distinct_texts(error.mean_abs, error.mean_abs_of_mean)
    text = f"predictions are off by {off} on {error.mixtures} held-out mixtures, "
    if off == of_mean:
        return f"{text}no better than always saying the mean"
    text += f"always saying the mean by {of_mean}"
    if error.mean_abs < error.mean_abs_of_mean:
        text += (
            f", and luck alone orders them as well with probability {error.chance:.2f} (at most {MAX_CHANCE} is taken)"
        )
    return text


def _distinct_texts(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as many digits as distinguish them, at least 4; alike when 9 do not."""
    for digits in range(4, 10):
        texts = f"{one:.{digits}f}", f"{other:.{digits}f}"
        if texts[0] != texts[1]:
            return texts
    return f"{one:.4f}", f"{other:.4f}"
