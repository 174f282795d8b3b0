"""From the mixtures of small runs to the loss of a task: several regressions, the one that predicts best is taken.

Such curves have known shapes: losses fall like a power of a source's data, or exponentially with its share (data mixing
laws, Ye et al. 2024, https://arxiv.org/abs/2403.16952); a linear regression on the shares finds good mixtures from
small runs (RegMix, Liu et al. 2024, https://arxiv.org/abs/2407.01492). So all of these are tried, a Gaussian process
where none of them fits, and the mean where the mixture decides nothing. Regressions and folds are scikit-learn's, ranks
and the permutation test scipy's; ours are the curves' floors alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import permutation_test, rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Floats = npt.NDArray[np.float64]
Predict = Callable[[Floats], Floats]
Fit = Callable[[Floats, Floats], Predict]

MAX_CHANCE = 0.05
"""Most probability with which predictions that know nothing would put the mixtures in so good an order."""

_FOLDS = 8
_PENALTIES = np.logspace(-4, 3, 15)
_FLOORS = (0.05, 0.3, 1.0)
"""How far below the least loss seen the loss would end with endless data, in spreads of the losses seen."""


@dataclass(frozen=True)
class Model:
    """A fitted regression of one task's loss.

    Args:
        errors: Each candidate's mean absolute error over cross-validation.
        predict: Shares, (n, sources), to losses, (n,).
    """

    name: str
    errors: Mapping[str, float]
    predict: Predict


@dataclass(frozen=True)
class Error:
    """How far predictions are from what was measured on mixtures that were not fitted.

    Args:
        mean_abs: Mean absolute error, in the loss.
        mean_abs_of_mean: Of always saying the mean of the fitted runs.
        rank_correlation: Spearman's, -1 to 1; NaN where predictions or losses are all the same.
        chance: Probability that so high a rank correlation comes about by luck: predictions dealt out at random.
    """

    mixtures: int
    mean_abs: float
    mean_abs_of_mean: float
    rank_correlation: float
    chance: float

    @property
    def is_better_than_mean(self) -> bool:
        """Whether the prediction may be trusted at all."""
        return self.mean_abs < self.mean_abs_of_mean and self.chance <= MAX_CHANCE


def fitted(shares: Floats, losses: Floats, total: int) -> Model:
    """The candidate with the least error over cross-validation, fitted to all.

    Args:
        shares: (runs, sources), each row sums to 1.
        losses: (runs,).
    """
    errors = dict.fromkeys(CANDIDATES, 0.0)
    folds = KFold(min(_FOLDS, len(losses)), shuffle=True, random_state=0)
    for fit_to, measure_on in folds.split(shares):
        for name in CANDIDATES:
            predicted = refitted(name, shares[fit_to], losses[fit_to], total)(shares[measure_on])
            errors[name] += float(np.abs(predicted - losses[measure_on]).sum()) / len(losses)
    best = min(errors, key=lambda name: errors[name])
    return Model(best, errors, refitted(best, shares, losses, total))


def refitted(name: str, shares: Floats, losses: Floats, total: int) -> Predict:
    """One candidate, fitted: shares, (n, sources), to losses, (n,).

    Args:
        shares: (runs, sources), each row sums to 1.
        losses: (runs,).
        total: Units of each dataset; half of one stands for a share of 0 where logarithms are taken.
    """
    kind, fit = CANDIDATES[name]

    def seen(rows: Floats) -> Floats:
        return rows if kind == "shares" else np.log(rows + 0.5 / total)

    predict = fit(seen(shares), losses)
    return lambda rows: predict(seen(rows))


def error_of(predicted: Floats, measured: Floats, mean: float) -> Error:
    """Predictions against what was measured.

    Args:
        predicted: (n,).
        measured: (n,).
        mean: Of the runs that were fitted.
    """
    off, off_of_mean = np.abs(predicted - measured).mean(), np.abs(mean - measured).mean()
    ranks, chance = float("nan"), 1.0
    if np.ptp(predicted) > 0 and np.ptp(measured) > 0:
        places, of_measured = rankdata(predicted), rankdata(measured)
        ranks = float(np.corrcoef(places, of_measured)[0, 1])
        dealt = permutation_test(
            (places,),
            lambda order, axis: (order * of_measured).sum(axis=axis),
            permutation_type="pairings",
            alternative="greater",
            vectorized=True,
            n_resamples=9999,
            rng=0,
        )
        chance = float(dealt.pvalue)
    return Error(len(measured), float(off), float(off_of_mean), ranks, chance)


def _mean(x: Floats, y: Floats) -> Predict:
    return lambda new: np.full(len(new), y.mean())


def _ridge(x: Floats, y: Floats) -> Predict:
    model = make_pipeline(StandardScaler(), RidgeCV(_PENALTIES)).fit(x, y)
    return lambda new: np.asarray(model.predict(new), np.float64)


def _decay(floor: float) -> Fit:
    """Loss = end + exp(linear): with logarithms of shares a product of powers, with shares an exponential."""

    def fit(x: Floats, y: Floats) -> Predict:
        if not np.ptp(y):
            return _mean(x, y)
        end = y.min() - floor * np.ptp(y)
        predict = _ridge(x, np.log(y - end))
        return lambda new: end + np.exp(predict(new))

    return fit


def _process(x: Floats, y: Floats) -> Predict:
    kernel = ConstantKernel(1.0, (1e-3, 1e3)) * RBF(2.0, (1e-1, 1e3)) + WhiteKernel(0.1, (1e-6, 1e1))
    model = GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound reached: cross-validation judges the fit
        model = make_pipeline(StandardScaler(), model).fit(x, y)
    return lambda new: np.asarray(model.predict(new), np.float64)


CANDIDATES: Mapping[str, tuple[str, Fit]] = {
    "mean": ("shares", _mean),
    "linear": ("shares", _ridge),
    "log-linear": ("log", _ridge),
    **{f"exponential law, floor {floor:g}": ("shares", _decay(floor)) for floor in _FLOORS},
    **{f"power law, floor {floor:g}": ("log", _decay(floor)) for floor in _FLOORS},
    "Gaussian process": ("log", _process),
}
"""Name to what it sees, shares or their logarithms, and how it is fitted."""
