"""Cells -> the table: what every cell scored, what failed, what is missing, and every variant against the base."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vldata.ablation.builds import Sharing, VariantBuild, sharing
from vldata.ablation.cells import CellFailure
from vldata.ablation.scores import Key, TaskScores
from vldata.ablation.statistics import VariantComparison, VariantScores, compare_all, joined, noise
from vldata.ablation.variants import BASE, Variant

FORMAT = 1
LEVEL = 0.95
CORRECTION = "Šidák: all intervals hold at once with the level"

SAME_SEEDS = (
    "every seed of a variant scored the same, so the intervals know nothing of what other seeds would give; "
    "does the command use {seed}?"
)

NO_SPREAD = "every answer of every training scores the same, so this says nothing of the variants"

_LEAST_ANSWERED = 0.9
"""Part of the base's questions that a training must have answered to be compared."""

_SAME_MEAN = 0.01
"""How far, in parts of the largest score, a reported score may be from the mean of its answers before it is noted."""


Arm = tuple[VariantScores, VariantScores | None]
"""A variant's runs on a task; of the base the first half, and the control."""


@dataclass(frozen=True)
class Training:
    """One training of one variant, as it ended.

    Args:
        scores: Task to what was scored; None when it failed.
    """

    seed: int
    data_seed: int
    scores: Mapping[str, TaskScores] | None
    failure: CellFailure | None = None


@dataclass
class AblationOutcome:
    """Everything that an ablation has scored, before it is a table.

    Args:
        variants: The base first; those that are another's ``same_as`` have no trainings.
        builds: Variant to its build of the first data seed.
        trainings: Variant to its trainings, in order of the seeds.
        photographs: What each answer is about (`vldata.ablation.scores.photographs`).
        failed_builds: Builds that failed: variant, data seed, error.
    """

    variants: Sequence[Variant]
    builds: Mapping[str, VariantBuild]
    trainings: Mapping[str, Sequence[Training]]
    photographs: Mapping[tuple[str, str], str]
    failed_builds: Sequence[tuple[str, int, str]] = ()
    notes: Sequence[str] = field(default_factory=list)


def results(
    outcome: AblationOutcome, *, name: str, held: str | None, seeds: Sequence[int], data_seeds: Sequence[int]
) -> dict[str, Any]:
    """The table as plain data; the same cells give the same table.

    Args:
        held: As its file says; None where no source is left out.
    """
    missing: list[dict[str, str]] = []
    arms = _arms(outcome, missing)
    base, variants = arms.get(BASE, {}), {name: of for name, of in arms.items() if name != BASE}
    whole = {task: two[0] if two[1] is None else joined(two[0], two[1]) for task, two in base.items()}
    compared = compare_all(whole, {n: {t: two[0] for t, two in of.items()} for n, of in variants.items()}, level=LEVEL)
    halves = {task: (first, again) for task, (first, again) in base.items() if again is not None}
    control = noise({t: a for t, (a, _) in halves.items()}, {t: b for t, (_, b) in halves.items()}, level=LEVEL)
    metrics = {
        task: one.metric
        for training in outcome.trainings.get(BASE, ())
        for task, one in (training.scores or {}).items()
    }
    return {
        "name": name,
        "base": BASE,
        "format": FORMAT,
        "held": held,
        "level": LEVEL,
        "correction": CORRECTION,
        "seeds": list(seeds),
        "base_seeds": [training.seed for training in outcome.trainings.get(BASE, ())],
        "data_seeds": list(data_seeds),
        "variants": _variants(outcome),
        "cells": list(_cells(outcome)),
        "failed": list(_failed(outcome)),
        "missing": missing,
        "noise": [
            {"task": t, "metric": metrics[t], "band": None, "sd": None, **_comparison(c)}
            for t, c in sorted(control.items())
        ],
        "comparisons": [
            {"variant": v, "task": t, "metric": metrics[t], **_comparison(c)} for (v, t), c in compared.items()
        ],
        "notes": [*outcome.notes, *([SAME_SEEDS] if _is_seedless(arms) else []), *_odd(outcome, arms)],
    }


def _odd(outcome: AblationOutcome, arms: Mapping[str, Mapping[str, Arm]]) -> Iterable[str]:
    """What a reader of the numbers should know: tasks that show nothing, scores that are not those of the answers."""
    for task in arms.get(BASE, {}):
        values = [half.values for of in arms.values() if task in of for half in of[task] if half is not None]
        if len({float(value) for one in values for value in (one.min(), one.max())}) == 1:
            yield f"{task}: {NO_SPREAD}"
    for variant, trainings in outcome.trainings.items():
        for training in trainings:
            for task, one in (training.scores or {}).items():
                mean = sum(one.items.values()) / len(one.items) if one.items else one.value
                if abs(mean - one.value) > _SAME_MEAN * max(1.0, abs(one.value)):
                    yield (
                        f"{variant}, seed {training.seed}: {task} is said to be {one.value:.4g}, and its answers' mean "
                        f"is {mean:.4g}; differences are those of the answers"
                    )


def _is_seedless(arms: Mapping[str, Mapping[str, Arm]]) -> bool:
    """Whether no seed of any variant scored any answer otherwise than the first."""
    runs = [scores.values for of in arms.values() for two in of.values() for scores in two if scores is not None]
    several = [values for values in runs if len(values) > 1]
    return bool(several) and all(bool((values == values[0]).all()) for values in several)


def _comparison(c: VariantComparison) -> dict[str, Any]:
    return {name: _plain(value) if isinstance(value, float) else value for name, value in vars(c).items()}


def _plain(value: float) -> float | None:
    """JSON has no infinity: null is an end that is not known."""
    return value if math.isfinite(value) else None


def _variants(outcome: AblationOutcome) -> Iterable[dict[str, Any]]:
    shared = sharing({v.name: outcome.builds[v.name].blocks for v in outcome.variants if v.name in outcome.builds})
    rows = []
    for variant in outcome.variants:
        build = outcome.builds.get(variant.name) or outcome.builds.get(variant.same_as or "")
        sizes = dict(build.blocks) if build else {}
        own = shared.get(variant.name, Sharing(0, len(sizes), 0, sum(sizes.values())))
        samples = build.manifest["totals"]["samples"] if build else 0
        seconds = outcome.builds[variant.name].seconds if variant.name in outcome.builds else 0.0
        rows.append(
            {
                "name": variant.name,
                "changes": dict(variant.changes),
                "same_as": variant.same_as,
                "build": {"samples": samples, **own._asdict(), "seconds": seconds},
            }
        )
    return rows


def _cells(outcome: AblationOutcome) -> Iterable[dict[str, Any]]:
    for variant, trainings in outcome.trainings.items():
        for training in trainings:
            for task, one in (training.scores or {}).items():
                yield {
                    "variant": variant,
                    "seed": training.seed,
                    "data_seed": training.data_seed,
                    "task": task,
                    "metric": one.metric,
                    "value": one.value,
                    "n": one.n,
                    "blind": _plain(one.blind),
                }


def _failed(outcome: AblationOutcome) -> Iterable[dict[str, Any]]:
    for variant, data_seed, error in outcome.failed_builds:
        yield {"variant": variant, "seed": None, "data_seed": data_seed, "stage": "build", "error": error}
    for variant, trainings in outcome.trainings.items():
        for training in trainings:
            if training.failure is not None:
                seeds = {"variant": variant, "seed": training.seed, "data_seed": training.data_seed}
                yield {**seeds, "stage": training.failure.stage, "error": training.failure.error}


def _arms(outcome: AblationOutcome, missing: list[dict[str, str]]) -> dict[str, dict[str, Arm]]:
    """Variant to task to scores over the answers that all gave; what cannot stand there is added to ``missing``."""
    base = outcome.trainings.get(BASE, ())
    tasks = sorted({task for training in base for task in training.scores or {}})
    arms: dict[str, dict[str, Arm]] = {variant: {} for variant in outcome.trainings}
    for variant in sorted({name for name, _, _ in outcome.failed_builds} - set(outcome.trainings)):
        missing += [{"variant": variant, "task": task, "why": "its build failed"} for task in tasks or ["*"]]
    if not tasks:
        missing.append({"variant": BASE, "task": "*", "why": "no training of the base gave scores: nothing to compare"})
        return {}
    for variant, trainings in outcome.trainings.items():
        others = sorted({task for training in trainings for task in training.scores or {}} - set(tasks))
        missing += [
            {"variant": BASE, "task": t, "why": f"{variant} has scores on it, and the base has none"} for t in others
        ]
    for task in tasks:
        runs = {v: _scored(v, task, trainings, base, missing) for v, trainings in outcome.trainings.items()}
        runs = {variant: own for variant, own in runs.items() if own}
        keys = _common(task, runs, outcome.trainings, missing)
        if not keys:
            missing.append({"variant": BASE, "task": task, "why": _NO_ITEMS})
            clusters = np.zeros(1, np.int64)
        else:
            names = [outcome.photographs.get(key[:2], "/".join(map(str, key))) for key in keys]
            clusters = np.unique(names, return_inverse=True)[1].astype(np.int64)
            strangers = sum(key[:2] not in outcome.photographs for key in keys)
            if strangers:
                why = f"{strangers:,} of {len(keys):,} answers are to no question; each counts as an image"
                missing.append({"variant": BASE, "task": task, "why": why})
        for variant, own in runs.items():
            first = [one for one in own if variant != BASE or one[0] < len(base) // 2]
            again = own[len(first) :]
            halves = [_scores([scores for _, scores in half], keys, clusters) for half in (first, again)]
            if halves[0] is not None:
                arms[variant][task] = halves[0], halves[1]
            elif halves[1] is not None:  # every training of the base's first half failed
                arms[variant][task] = halves[1], None
    return arms


_NO_ITEMS = "no answers were left one by one (scores.items.jsonl), so no difference can be shown"


def _scored(
    variant: str, task: str, trainings: Sequence[Training], base: Sequence[Training], missing: list[dict[str, str]]
) -> list[tuple[int, TaskScores]]:
    """A variant's trainings that were scored on a task, with their places."""
    scored = [(n, t.scores[task]) for n, t in enumerate(trainings) if t.scores is not None and task in t.scores]
    metric = next(t.scores[task].metric for t in base if t.scores is not None and task in t.scores)
    failed = [str(training.seed) for training in trainings if training.failure is not None]
    why = ""
    if not scored:
        why = "every training failed" if len(failed) == len(trainings) else "it has no scores on this"
    elif other := next((one.metric for _, one in scored if one.metric != metric), None):
        why, scored = f"it was scored by {other}, the base by {metric}", []
    elif failed:
        why = f"{len(scored)} of {len(trainings)} trainings: seed {', '.join(failed)} failed"
    if why:
        missing.append({"variant": variant, "task": task, "why": why})
    return scored


def _common(
    task: str,
    runs: dict[str, list[tuple[int, TaskScores]]],
    trainings: Mapping[str, Sequence[Training]],
    missing: list[dict[str, str]],
) -> list[Key]:
    """The answers that every run gave; runs that gave too few are taken out of ``runs``, and noted in ``missing``."""
    of_base = set[Key]().union(*(one.items for _, one in runs.get(BASE, ())))
    common = set(of_base)
    for variant, own in list(runs.items()):
        kept = []
        for number, one in own:
            answered = len(of_base & one.items.keys())
            if answered >= _LEAST_ANSWERED * len(of_base):
                kept.append((number, one))
                common &= one.items.keys()
            if answered < len(of_base):
                seed = trainings[variant][number].seed
                result = (
                    "left out" if answered < _LEAST_ANSWERED * len(of_base) else "the others are not compared at all"
                )
                why = f"seed {seed} has {answered:,} of {len(of_base):,} answers; {result}"
                missing.append({"variant": variant, "task": task, "why": why})
        runs[variant] = kept
        if not kept:
            del runs[variant]
    return sorted(common)


def _scores(runs: Sequence[TaskScores], keys: Sequence[Key], clusters: Any) -> VariantScores | None:
    if not runs:
        return None
    values = [[one.items[key] for key in keys] if keys else [one.value] for one in runs]
    return VariantScores(np.array(values, np.float64), clusters)
