"""How often an ablation's verdicts are wrong, and what they find, over simulated ablations whose spreads are known.

    python tests/bench/verdicts.py [--ablations 10000] [--only NAME]

Every simulated ablation is a base and variants, scored on held-out items by runs with different seeds. Nothing differs
(any claim is false), and again with one variant moved on one task by twice the noise. The noise is the standard
deviation of one run's score from seed to seed, items held: the narrowest thing that may be called so. `vldata.ablation.
statistics` sees the scores only. Seeds fix every number; rates from 10,000 ablations are within 0.4 points.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from vldata.ablation.statistics import DEFAULT_SEEDS, VariantScores, base_seeds, compare_all

Floats = npt.NDArray[np.float64]
PLANTED = 2.0
"""Of the planted difference, in standard deviations of the noise."""


@dataclass(frozen=True)
class World:
    """Ablations with known spreads.

    Args:
        name: For the table.
        seeds: Runs of a variant.
        base: Runs of the base; 0 is `base_seeds`.
        variants: Beside the base.
        tasks: Each with its own runs' spread.
        items: Held out, on each task.
        per_photograph: Items that share a photograph.
        between_runs: Share of the noise's variance that moves all items of a run together; the rest differs from item
            to item.
        by_photograph: Variance over photographs of a variant's own difference, whose mean is zero, as it adds to the
            variance of a mean, in variances of the noise.
        is_binary: Items are right or wrong, of very different difficulty; else real numbers.
        uneven: Standard deviation over variants of the log of their runs' spread.
        unsteady: One variant's spread is this many times the others'.
        bursts: Share of the runs whose own spread is four times what it would be.
    """

    name: str
    seeds: int = DEFAULT_SEEDS
    base: int = 0
    variants: int = 8
    tasks: int = 4
    items: int = 300
    per_photograph: int = 3
    between_runs: float = 0.5
    by_photograph: float = 0.0
    is_binary: bool = False
    uneven: float = 0.0
    unsteady: float = 1.0
    bursts: float = 0.0

    @property
    def base_runs(self) -> int:
        """Runs of the base, those of its control among them."""
        return self.base or base_seeds(self.seeds, self.variants)

    @property
    def clusters(self) -> npt.NDArray[np.int64]:
        """The photograph of each item."""
        return np.arange(self.items) // self.per_photograph


@dataclass(frozen=True)
class Rates:
    """Shares of simulated ablations, 0 to 1.

    Args:
        any_false: Nothing differs and some verdict says otherwise.
        detected: The planted difference is called, and on its side.
        detected_paired: So with twice the noise of the difference of two single runs, which is wider by the root of 2.
        false_single: Over comparisons, not ablations: one run of each, an interval over items alone, nothing corrected.
    """

    any_false: float
    detected: float
    detected_paired: float
    false_single: float


WORLDS = [
    World("default"),
    World("3 seeds", seeds=3),
    World("4 seeds", seeds=4),
    World("5 seeds", seeds=5),
    World("base as a variant", base=DEFAULT_SEEDS),
    World("base twice a variant", base=2 * DEFAULT_SEEDS),
    World("1 variant, 1 task", variants=1, tasks=1),
    World("20 variants, 8 tasks", variants=20, tasks=8, items=120),
    World("right or wrong", is_binary=True),
    World("right or wrong, 30 items", is_binary=True, items=30, per_photograph=1),
    World("30 items", items=30),
    World("5,000 items", items=5000, tasks=1),
    World("all spread between runs", between_runs=1.0),
    World("all spread within runs", between_runs=0.0),
    World("variants differ by photograph", by_photograph=0.25),
    World("same, 30 items", by_photograph=0.25, items=30),
    World("uneven spreads", uneven=0.35),
    World("one variant twice as unsteady", unsteady=2.0),
    World("one variant ten times as unsteady", unsteady=10.0),
    World("same, 20 variants, 3 seeds", unsteady=10.0, variants=20, seeds=3),
    World("a tenth of the runs go astray", bursts=0.1),
]


@dataclass(frozen=True)
class Ablation:
    """One simulated ablation in which nothing differs.

    Args:
        base: Task to scores.
        variants: Variant to task to scores.
        moved: The last variant's scores on the first task if it were better by that many times the noise.
    """

    base: dict[str, VariantScores]
    variants: dict[str, dict[str, VariantScores]]
    moved: Callable[[float], VariantScores]


def ablations(world: World, count: int, seed: int = 0) -> Iterator[Ablation]:
    """Simulated ablations, a function of the world, the seed and the place."""
    rng = np.random.Generator(np.random.PCG64(seed))
    runs = [world.base_runs] + [world.seeds] * world.variants
    draw = RightOrWrong(world) if world.is_binary else Real(world)
    photographs = world.clusters[-1] + 1
    for _ in range(count):
        arms: list[dict[str, VariantScores]] = [{} for _ in runs]
        hard = rng.normal(size=(world.tasks, photographs))[:, world.clusters] + rng.normal(
            size=(world.tasks, world.items)
        )
        for task, place in itertools.product(range(world.tasks), range(len(runs))):
            spread = np.exp(world.uneven * rng.normal()) * (world.unsteady if place == 1 else 1.0)
            own = rng.normal(size=photographs) * np.sqrt(world.by_photograph * photographs) * (place > 0)
            values = draw(rng, runs[place], hard[task], spread, 0.0) + own[world.clusters]
            arms[place][f"task{task}"] = VariantScores(values, world.clusters)
        again = int(rng.integers(2**32))

        def moved(size: float, hard: Floats = hard[0], again: int = again, own: Floats = own) -> VariantScores:
            values = draw(np.random.Generator(np.random.PCG64(again)), world.seeds, hard, 1.0, size)
            return VariantScores(values + own[world.clusters], world.clusters)

        yield Ablation(arms[0], {f"variant{place}": arm for place, arm in enumerate(arms[1:])}, moved)


def rates(world: World, count: int, seed: int = 0) -> Rates:
    """What the verdicts do in ``count`` simulated ablations."""
    false = detected = detected_paired = false_single = compared = 0
    for simulated in ablations(world, count, seed):
        base, variants = simulated.base, simulated.variants
        false += any(c.verdict != "no difference shown" for c in compare_all(base, variants).values())
        detected += _finds(simulated, PLANTED)
        detected_paired += _finds(simulated, PLANTED * 2**0.5)
        single = [_single(base[task], scores) for tasks in variants.values() for task, scores in tasks.items()]
        false_single += sum(single)
        compared += len(single)
    return Rates(false / count, detected / count, detected_paired / count, false_single / compared)


def _finds(simulated: Ablation, size: float) -> bool:
    """Is a difference of that many times the noise, planted in one variant's one task, called better?"""
    name = list(simulated.variants)[-1]
    variants = {**simulated.variants, name: {**simulated.variants[name], "task0": simulated.moved(size)}}
    return compare_all(simulated.base, variants)[name, "task0"].verdict == "better"


def _single(base: VariantScores, variant: VariantScores) -> bool:
    """Does one run of each, looked at over items alone at 95 %, claim a difference?"""
    each = variant.values[0] - base.values[0]
    error = np.sqrt((np.bincount(base.clusters, each - each.mean()) ** 2).sum()) / len(each)
    return bool(abs(each.mean()) > 1.96 * error)


class Real:
    """Scores that are real numbers; the noise is 1."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(self, rng: np.random.Generator, runs: int, hard: Floats, spread: Any, size: float) -> Floats:
        """(runs, items) of a variant that is better by ``size`` times the noise."""
        clusters, share = self.world.clusters, self.world.between_runs
        if self.world.bursts:
            spread = spread * np.where(rng.random((runs, 1)) < self.world.bursts, 4.0, 1.0)
        between = rng.normal(size=(runs, 1)) * np.sqrt(share)
        within = rng.normal(size=(runs, clusters[-1] + 1)) * np.sqrt((1 - share) * (clusters[-1] + 1))
        return 10 * hard + spread * (between + within[:, clusters]) + size


class RightOrWrong:
    """Scores that are 0 or 1, with the odds of an item; a run moves all its log odds. The noise is measured here."""

    def __init__(self, world: World) -> None:
        self.world = world
        hard = np.random.Generator(np.random.PCG64(1)).normal(size=(20_000, 2)).sum(axis=1)
        self.shifts = np.linspace(-6, 6, 241)
        self.means = np.array([_odds(hard + shift).mean() for shift in self.shifts])
        chance = _odds(hard)
        within = (chance * (1 - chance)).mean() / world.items
        between = within * world.between_runs / (1 - world.between_runs)
        self.run_sd = np.sqrt(between) / (chance * (1 - chance)).mean()  # by the slope of the mean in the log odds
        self.noise = np.sqrt(within + between)

    def __call__(self, rng: np.random.Generator, runs: int, hard: Floats, spread: float, size: float) -> Floats:
        """(runs, items) of a variant that is better by ``size`` times the noise."""
        shift = np.interp(0.5 + size * self.noise, self.means, self.shifts)
        chance = _odds(hard + shift + spread * self.run_sd * rng.normal(size=(runs, 1)))
        return (rng.random(chance.shape) < chance).astype(np.float64)


def _odds(logit: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-logit)))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ablations", type=int, default=10_000)
    parser.add_argument("--only", help="Worlds whose name holds this.")
    args = parser.parse_args()
    print(
        "any false: nothing differs, and something is called. found: a difference of 2 x the sd of one run's score, on"
    )
    print("one task of one variant; x1.41: of 2 x the sd of the difference of two single runs. 1 run, false: share of")
    print("comparisons that are called when single runs are compared over items alone at 95 %, and nothing differs.")
    columns = f"{'runs':>10}{'compared':>10}{'any false':>11}{'found':>8}{'x1.41':>8}{'1 run, false':>14}{'s':>7}"
    print(f"{'world':32}{columns}")
    for world in WORLDS:
        if args.only and args.only not in world.name:
            continue
        started = time.monotonic()
        r = rates(world, args.ablations)
        runs = f"{world.base_runs}+{world.variants}x{world.seeds}"
        figures = f"{r.any_false:11.1%}{r.detected:8.1%}{r.detected_paired:8.1%}{r.false_single:14.1%}"
        print(
            f"{world.name:32}{runs:>10}{world.variants * world.tasks:10}{figures}{time.monotonic() - started:7.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
