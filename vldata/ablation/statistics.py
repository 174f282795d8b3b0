"""Differences between variants and a base, with intervals that know about seeds, items and how many are looked at.

Trained again with another seed a recipe scores something else, and on other held-out items something else again. So the
difference of two means over runs varies by three parts, estimated apart and added:

    seed spread of the variant / its runs  +  seed spread of the base / its runs  +  spread over items of the difference

*Seeds.* The spread from run to run, on the same items, is estimated for every variant and drawn towards the pooled
spread of its task, by as much as the spreads of this ablation agree (Smyth 2004,
https://doi.org/10.2202/1544-6115.1027; the agreement is found here by moments). Three runs alone would say little of a
spread; nine variants that agree say enough, and one that trains less steadily keeps some of its own. A variant whose
spread is out of all proportion, as on a task that it never learned, is set apart: it says nothing of the others.

*Items.* All variants answer the same items, so what makes an item hard falls out of a difference. Items of one
photograph count as one draw. What is left over runs of the same variant is part of the seed spread already, so it is
subtracted, not counted twice.

*Many comparisons.* Intervals are wide enough that with the requested probability all of them hold at once, over every
variant and task (Šidák 1967, https://doi.org/10.1080/01621459.1967.10482935), with Student quantiles at Satterthwaite's
degrees of freedom. A difference is called exactly when its interval does not contain zero.

The base stands in every comparison, so its runs are worth more than a variant's: see `base_seeds`.

*Ours or scipy's.* Student's tails and quantiles are ours, 25 lines held to printed tables: scipy comes with the extra
``tune`` alone, and an ablation with a command of one's own needs no extra. The comparisons are ours too:
``scipy.stats.dunnett`` knows one spread for all arms, and nothing of items. Tuning, which needs scipy anyway, takes
ranks, the permutation test and the gamma function from it (`vldata.ablation.tune`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Verdict = Literal["better", "worse", "no difference shown"]

DEFAULT_SEEDS = 6
"""Runs of a variant. With `base_seeds` of the base it is the least that finds a difference of twice the spread of one
run in 80 % of ablations of 8 variants on 4 tasks, all 32 comparisons at once (measured: tests/bench/verdicts.py)."""

MIN_SEEDS = 3
"""Fewest runs of a variant that an ablation takes: it then finds that difference in 30 % of them."""

_MAX_DF = 1000.0
"""Degrees of freedom beyond which Student's quantiles are taken as at 1,000 (0.3 % too wide in the far tail)."""

_CAUTION = 4.0
"""How many times their estimate the variances of an ablation are taken to differ: few runs estimate it badly. With
one variant twice as unsteady as the others this brings false claims from 8.2 % of ablations to 4.9 % (measured:
tests/bench/verdicts.py, 1,000 ablations); where all are alike it costs half a point of what is found."""

_APART = 10.0
"""How many times the variance of all other arms sets a variant apart; three runs of an arm like the others come out so
in one case of 4,500. Without it one variant ten times as unsteady as the others leaves 3 % to be found of what is found
in 83 % (measured: tests/bench/verdicts.py, 1,000 ablations)."""

_APART_PRIOR = 3.0
"""Degrees of freedom that the other arms are worth for a variant that is set apart on any task. With 4 in their place,
or on that task alone, up to 9.6 % of ablations with such a variant hold a false claim; with this at most 5.1 %
(measured there, 1,500 ablations, one variant 2 to 10 times as unsteady, 3 and 6 seeds)."""

_ROUNDING = 1e-10
"""Part of the largest score below which means of the same numbers may differ by rounding alone."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(96)


@dataclass(frozen=True)
class VariantScores:
    """What the runs of one variant scored on one task.

    Args:
        values: (runs, items), finite; the same items in the same order for every variant. Every run has its own
            training seed, and where data seeds vary its own data seed: runs that share one would not be independent.
        clusters: (items,) integers; items of one photograph share a number.

    Raises:
        ValueError: Shapes that do not fit, nothing in them, or a value that is not finite.
    """

    values: Floats
    clusters: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape or self.clusters.shape != self.values.shape[1:]:
            raise ValueError(f"values {self.values.shape} and clusters {self.clusters.shape} are not (runs, items)")
        if not np.isfinite(self.values).all():
            raise ValueError("a score is not finite")


@dataclass(frozen=True)
class VariantComparison:
    """A variant against the base on one task.

    Args:
        difference: Mean of the variant's runs minus mean of the base's, in the task's measure.
        ci_low: Lower end of the interval, adjusted for all comparisons made; -inf where nothing can be said: one run of
            everything, or items of one photograph only.
        p_value: 0 to 1, adjusted alike: at most 1 - level exactly when the interval does not contain zero.
        seeds: Runs of the variant.
        verdict: ``better`` when the whole interval is above zero, ``worse`` when it is below.
    """

    difference: float
    ci_low: float
    ci_high: float
    p_value: float
    seeds: int
    items: int
    verdict: Verdict


@dataclass(frozen=True)
class Noise(VariantComparison):
    """The base against itself with other seeds.

    Args:
        sd: Standard deviation of one run's score over seeds, items held.
        band: Two single runs of the same recipe differ by less than this with the level's probability: a difference
            within it, seen between single runs, says nothing.
    """

    sd: float
    band: float


def base_seeds(seeds: int, variants: int) -> int:
    """Runs that the base is worth: a variant's times the root of the number of variants, and a variant's for control.

    The root spends a number of runs best where all are compared with one (Dunnett 1955,
    https://doi.org/10.1080/01621459.1955.10501294). The control holds the base against itself, so the number is
    rounded up to even and half of the runs face the others; in comparisons with variants all of them count.
    """
    return 2 * math.ceil(seeds * (1 + math.sqrt(variants)) / 2)


def joined(first: VariantScores, second: VariantScores) -> VariantScores:
    """The runs of both, over the same items.

    Raises:
        ValueError: The items differ.
    """
    _check_items(first, second, "the second half")
    return VariantScores(np.concatenate([first.values, second.values]), first.clusters)


def compare_all(
    base: Mapping[str, VariantScores], variants: Mapping[str, Mapping[str, VariantScores]], *, level: float = 0.95
) -> dict[tuple[str, str], VariantComparison]:
    """Every variant against the base on every task that both have, as one family.

    Args:
        base: Task to scores: all runs of the base, those of its control among them.
        level: Probability, within (0, 1), with which all intervals hold at once.

    Returns:
        One for each (variant, task), in the order given.

    Raises:
        ValueError: A variant's items are not the base's.
    """
    pairs = [(name, task) for name, tasks in variants.items() for task in tasks if task in base]
    if not pairs:
        return {}
    tasks = {
        task: {None: base[task], **{name: scores[task] for name, scores in variants.items() if task in scores}}
        for task in dict.fromkeys(task for _, task in pairs)
    }
    arms = {task: {name: _arm(scores, base[task], name) for name, scores in of.items()} for task, of in tasks.items()}
    spreads = _seed_spreads(arms)
    estimates = [
        _difference(arms[t][n], arms[t][None], spreads[t].each[n], spreads[t].each[None], spreads[t].df)
        for n, t in pairs
    ]
    differences, errors, df = (np.array(column) for column in zip(*estimates, strict=True))
    reach = np.full(len(pairs), np.inf)
    is_finite = np.isfinite(errors)
    tail = -math.expm1(math.log(level) / len(pairs))  # two-sided, of each, so that all hold with `level`
    reach[is_finite] = _student_quantile(tail, df[is_finite]) * errors[is_finite]
    p_values = [_p(difference, error, f, len(pairs)) for difference, error, f in estimates]
    return {
        (name, task): _comparison(difference, half, p_value, variants[name][task])
        for (name, task), difference, half, p_value in zip(
            pairs, differences.tolist(), reach.tolist(), p_values, strict=True
        )
    }


def noise(
    base: Mapping[str, VariantScores], again: Mapping[str, VariantScores], *, level: float = 0.95
) -> dict[str, Noise]:
    """The base against itself: two sets of runs with different seeds, one comparison a task.

    Args:
        level: Probability, within (0, 1), with which all intervals hold at once, and of each band alone.
    """
    controls = {}
    for (_, task), compared in compare_all(base, {"again": again}, level=level).items():
        arms = [_arm(scores, base[task], task) for scores in (base[task], again[task])]
        df = sum(arm.df for arm in arms)
        sd = math.sqrt(sum(arm.df * arm.spread for arm in arms) / df) if df else math.inf
        width = float(_student_quantile(1 - level, np.array([float(df)]))[0]) if df else 1.0
        controls[task] = Noise(**vars(compared), sd=sd, band=width * math.sqrt(2) * sd)
    return controls


@dataclass(frozen=True)
class _Arm:
    """One variant's runs on one task, as far as a comparison needs them.

    Args:
        mean: Of all runs and items.
        runs: How many.
        spread: Variance of a run's score from run to run; 0 with one run.
        shares: (clusters,) what each adds to the mean beyond its part of it, averaged over runs; they sum to 0.
        within: The part of ``spread`` that differs from cluster to cluster.
        largest: Score, in absolute terms.
    """

    mean: float
    runs: int
    spread: float
    shares: Floats
    within: float
    largest: float

    @property
    def df(self) -> int:
        return self.runs - 1


def _check_items(scores: VariantScores, base: VariantScores, name: str | None) -> None:
    if not np.array_equal(scores.clusters, base.clusters):
        raise ValueError(f"{name!r} was not scored on the items of the base")


def _arm(scores: VariantScores, base: VariantScores, name: str | None) -> _Arm:
    _check_items(scores, base, name)
    values = scores.values.astype(np.float64)
    runs, items = values.shape
    means = values.mean(axis=1)
    order = np.argsort(scores.clusters, kind="stable")
    starts = np.flatnonzero(np.diff(scores.clusters[order], prepend=scores.clusters[order[0]] - 1))
    shares = np.add.reduceat((values - means[:, None])[:, order], starts, axis=1) / items  # (runs, clusters)
    mean_shares = shares.mean(axis=0)
    spread = within = 0.0
    if runs > 1:
        spread = float(means.var(ddof=1))
        within = float(((shares - mean_shares) ** 2).sum()) / (runs - 1) * _small_sample(len(starts))
    return _Arm(float(means.mean()), runs, spread, mean_shares, within, float(np.abs(values).max()))


def _small_sample(clusters: int) -> float:
    return clusters / (clusters - 1) if clusters > 1 else 1.0


def _seed_spreads(arms: Mapping[str, Mapping[str | None, _Arm]]) -> dict[str, _Spreads]:
    """The spreads of every task.

    Every arm's own variance is weighed against the pooled one of its task. The weight of the latter, in degrees of
    freedom, follows from how much the true variances differ over the whole ablation: with variances that are inverse
    chi-square of f degrees of freedom, their squared coefficient of variation is 2 / (f - 4). An arm that is set apart
    has no part in either, and its variant leans little on the others on every task: it may be unsteady there too.
    """
    alike = {task: _alike(of) for task, of in arms.items()}
    apart = {name for task, of in arms.items() for name in of.keys() - alike[task].keys()}
    pooled, df, excess, weight = {}, {}, 0.0, 0
    for task, same in alike.items():
        df[task] = sum(arm.df for arm in same.values())
        pooled[task] = sum(arm.df * arm.spread for arm in same.values()) / max(df[task], 1)
        if pooled[task] > 0:
            for arm in same.values():
                if arm.df:
                    excess += arm.df * ((arm.spread / pooled[task] - 1) ** 2 - 2 / arm.df) / (1 + 2 / arm.df)
                    weight += arm.df
    shared = 4 + 2 * weight / (_CAUTION * excess) if excess > 0 else math.inf
    spreads: dict[str, _Spreads] = {}
    for task, of in arms.items():
        each: dict[str | None, tuple[float, float]] = {}
        for name, arm in of.items():
            prior = _APART_PRIOR if name in apart else shared
            own = arm.df / (prior + arm.df)
            each[name] = (1 - own) * pooled[task] + own * arm.spread, prior + arm.df
        spreads[task] = _Spreads(each, df[task])
    return spreads


@dataclass(frozen=True)
class _Spreads:
    """Spreads of one task.

    Args:
        each: Variant (None is the base) to the variance of one run's score, and its degrees of freedom, which may be
            infinite.
        df: Degrees of freedom of the pooled variance.
    """

    each: Mapping[str | None, tuple[float, float]]
    df: int


def _alike(of: Mapping[str | None, _Arm]) -> dict[str | None, _Arm]:
    """The arms of a task without the variants that are set apart, the widest first; the base always stays."""
    left = dict(of)
    while True:
        widest = max(
            (name for name, arm in left.items() if name is not None and arm.df), default=None, key=_width(left)
        )
        others = [arm for name, arm in left.items() if name != widest]
        df = sum(arm.df for arm in others)
        rest = sum(arm.df * arm.spread for arm in others) / max(df, 1)
        if widest is None or rest == 0 or left[widest].spread <= _APART * rest:
            return left
        del left[widest]


def _width(arms: Mapping[str | None, _Arm]) -> Callable[[str | None], float]:
    return lambda name: arms[name].spread


def _difference(
    variant: _Arm, base: _Arm, of_variant: tuple[float, float], of_base: tuple[float, float], pooled_df: int
) -> tuple[float, float, float]:
    """The difference, its standard error (inf where unknown), and its degrees of freedom."""
    difference = variant.mean - base.mean
    clusters = len(base.shares)
    if clusters < 2 or pooled_df == 0:
        return difference, math.inf, 1.0
    one, other = of_variant[0] / variant.runs, of_base[0] / base.runs
    # both spreads lean on the same pooled one, so together they know no more than all runs of the task do
    doubt = max((one + other) ** 2 / pooled_df, one**2 / of_variant[1] + other**2 / of_base[1])
    over_items = float(((variant.shares - base.shares) ** 2).sum()) * _small_sample(clusters)
    doubt += over_items**2 / (clusters - 1)
    seen_twice = variant.within / variant.runs + base.within / base.runs
    variance = one + other + max(0.0, over_items - seen_twice)
    df = variance**2 / doubt if doubt > 0 else _MAX_DF
    error = math.hypot(math.sqrt(variance), _ROUNDING * max(variant.largest, base.largest))
    return difference, error, min(max(df, 1.0), _MAX_DF)


def _p(difference: float, error: float, df: float, comparisons: int) -> float:
    if difference == 0 or math.isinf(error):
        return 1.0
    alone = float(_student_tail(np.array([abs(difference) / error]), np.array([df]))[0])
    return -math.expm1(comparisons * math.log1p(-alone)) if alone < 1 else 1.0


def _comparison(difference: float, half: float, p_value: float, scores: VariantScores) -> VariantComparison:
    low, high = difference - half, difference + half
    verdict: Verdict = "better" if low > 0 else "worse" if high < 0 else "no difference shown"
    runs, items = scores.values.shape
    return VariantComparison(difference, low, high, p_value, runs, items, verdict)


def _student_tail(t: Floats, df: Floats) -> Floats:
    """P(abs(T) > t) for t >= 0, elementwise; over the angle atan(t / sqrt(df)) the density is a power of the cosine."""
    start = np.arctan2(t, np.sqrt(df))[:, None]
    angles = start + (math.pi / 2 - start) * (1 + _NODES) / 2
    whole = (np.cos(angles) ** (df[:, None] - 1) * _WEIGHTS).sum(axis=1) * (math.pi / 2 - start[:, 0]) / 2
    return np.asarray(2 / math.sqrt(math.pi) * np.exp(_log_scale(df)) * whole)


def _log_scale(df: Floats) -> Floats:
    """log(gamma((df + 1) / 2) / gamma(df / 2)), which makes the density one in all."""
    return np.array([math.lgamma((f + 1) / 2) - math.lgamma(f / 2) for f in df.tolist()])


def _student_quantile(tail: float, df: Floats) -> Floats:
    """The t with P(abs(T) > t) = tail, elementwise.

    Newton's steps from the normal quantile, which lies below: the tail is convex there, so every step stays below too.
    """
    t = np.full(len(df), NormalDist().inv_cdf(1 - tail / 2))
    for _ in range(200):
        density = 2 * np.exp(_log_scale(df) - (df + 1) / 2 * np.log1p(t**2 / df)) / np.sqrt(df * math.pi)
        step = (_student_tail(t, df) - tail) / density
        t = t + step
        if (np.abs(step) <= 1e-12 * t).all():
            break
    return t
