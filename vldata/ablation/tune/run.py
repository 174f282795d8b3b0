"""Mixture weights from small runs: mixtures around the base's, one proxy run each, a regression, the best predicted.

    <out>/tune.json       everything: mixtures, losses, models, errors, what is proposed
    <out>/recipe.yaml     the base with the proposed weights; only when something is proposed
    <out>/builds, cells   see `vldata.ablation.experiment`

Run 0 has the base's own mixture. Some of the other runs are held out: no model is fitted to them, they measure how far
predictions are off, which is the mean of |predicted - measured| over them. Nothing is proposed where always saying the
mean of the fitted runs is no farther off, or where the best mixture is not predicted to be lower than the base by more
than predictions are off.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vldata.ablation.builds import write_text
from vldata.ablation.cells import Cell, CellFailure
from vldata.ablation.experiment import Experiment, questions_of
from vldata.ablation.scores import TaskScores, read_scores
from vldata.ablation.tune.file import MIN_HELD_OUT, MIN_RUNS, OpenedTune
from vldata.ablation.tune.findings import error_row, failure_text, model_row, refusal, run_row
from vldata.ablation.tune.fit import Floats, Model, Predict, error_of, fitted, refitted
from vldata.ablation.tune.mixtures import drawn
from vldata.ablation.tune.runs import Best, MixtureRun, losses_of, shares_of, whole
from vldata.ablation.tune.space import laid_over, space_of
from vldata.errors import BuildError, RecipeError, VldataError, nearest
from vldata.recipe import yaml
from vldata.recipe.load import from_tree
from vldata.schema.keyed import keyed, string_keys

FORMAT = 1
SEED = 0
"""Training seed of every run: what the first weights add is the same in all of them."""

_MIN_FIT = 8
_CANDIDATES = 20_000
_BEST = 0.002  # of the candidates, averaged: the very best of many owes most to the model's own errors


def tune(requested: OpenedTune, experiment: Experiment, *, runs: int | None = None) -> dict[str, Any]:
    """Run the proxies, fit, measure the fit, propose.

    Args:
        runs: In place of the file's.

    Returns:
        What is in ``tune.json``.

    Raises:
        VldataError: The base cannot be built or trained, or too few runs gave losses.
    """
    if runs is not None and runs < MIN_RUNS:
        raise BuildError(f"--runs {runs}", f"too few; the least is {MIN_RUNS}", f"write --runs {MIN_RUNS}")
    plain = {**requested.tune.model_dump(mode="json"), "base": requested.opened.tree}
    with experiment.claimed("tuning", plain):
        table = _TuningWork(requested, experiment).table(runs or requested.tune.runs)
        experiment.write_json("tune.json", table)
        return table


class _TuningWork:
    """One tuning while it runs."""

    def __init__(self, requested: OpenedTune, experiment: Experiment) -> None:
        self.tune, self.opened, self.extends = requested.tune, requested.opened, requested.extends
        self.experiment = experiment
        with experiment.builder() as builder:
            base, reports = builder.build(self.opened.base, "builds/base")
            self.space = space_of(requested, reports)
            self.questions = questions_of(self.opened, base, builder)

    def table(self, num_runs: int) -> dict[str, Any]:
        """Everything, as plain data."""
        tune, space = self.tune, self.space
        names = [f"run-{number:03}" for number in range(num_runs)]
        base = self._run({names[0]: np.array(list(space.base.values()))})[0]
        tasks = self._tasks(base)  # what cannot work is an error after one run
        mixtures = drawn(space.base, space.caps, num_runs - 1, **self._draw("mixture"))
        others = self._run(dict(zip(names[1:], mixtures, strict=True)))
        runs = [base, *(_complete(run, tasks) for run in others)]
        held_out = _held_out([run.name for run in runs[1:]], tune.held_out, tune.seed)
        good = [run for run in runs if run.losses is not None]
        fit = [run for run in good if run.name not in held_out]
        unseen = [run for run in good if run.name in held_out]
        if len(fit) < _MIN_FIT or not unseen:
            first = next(run.failure for run in runs if run.failure is not None)
            problem = f"{len(good)} of {len(runs)} runs gave losses ({len(unseen)} of them held out); {first.error}"
            raise BuildError("runs", problem, "fix what failed and run the command again, or request more runs")
        models = {task: fitted(shares_of(fit), losses_of(fit, task), space.proxy_total) for task in tasks}
        errors = {
            task: error_of(
                models[task].predict(shares_of(unseen)), losses_of(unseen, task), losses_of(fit, task).mean()
            )
            for task in tasks
        }
        predict = _objective({task: model.predict for task, model in models.items()}, tasks)
        mean = float(np.mean([whole(run, tasks) for run in fit]))
        measured = np.array([whole(run, tasks) for run in unseen])
        error = error_of(predict(shares_of(unseen)), measured, mean)
        best = self._best(models, good, tasks)
        refused = refusal(error, best)
        proposed = self._proposed(best, base, tasks) if refused is None else None
        return {
            "name": tune.name,
            "format": FORMAT,
            "loss": tune.loss,
            "unit": space.unit,
            "total": space.total,
            "proxy_total": space.proxy_total,
            "max_epochs": tune.max_epochs,
            "sources": {
                name: {"available": space.available[name], "base_share": share, "max_share": space.caps[name]}
                for name, share in space.base.items()
            },
            "tasks": {task: {"weight": w, **model_row(models[task], errors[task])} for task, w in tasks.items()},
            "runs": [run_row(run, run.name in held_out, tasks, predict, space) for run in runs],
            "held_out": error_row(error),
            "proposed": proposed,
            "refused": refused,
            "recipe": self._written(proposed),
        }

    def _draw(self, purpose: str) -> dict[str, Any]:
        low, high = self.tune.concentration
        return {"concentration": (low, high), "seed": self.tune.seed, "purpose": purpose}

    def _run(self, mixtures: Mapping[str, Floats]) -> list[MixtureRun]:
        """Build, train and score, or find that done."""
        units = {name: self.space.units(row.tolist(), self.space.proxy_total) for name, row in mixtures.items()}
        cells: dict[str, Cell] = {}
        failed: dict[str, CellFailure] = {}
        with self.experiment.builder() as builder:
            for name in mixtures:
                recipe = from_tree({**self.opened.tree, "mixture": self.space.mixture(units[name])})
                try:
                    build, _ = builder.build(recipe, f"builds/{name}")
                except VldataError as error:
                    failed[name] = CellFailure("build", str(error))
                    continue
                cells[name] = Cell(name, SEED, self.opened.base.head.seed, build, self.questions)
        self.experiment.train(list(cells.values()))
        runs = []
        for name in mixtures:
            shares = np.array([units[name][source] / self.space.proxy_total for source in self.space.base])
            losses, failure = (
                (None, failed[name]) if name in failed else self.experiment.outcome(cells[name], self._read)
            )
            runs.append(MixtureRun(name, shares, units[name], losses, failure))
        return runs

    def _read(self, path: Path) -> dict[str, float]:
        return _losses_of(read_scores(path), self.tune.loss)

    def _tasks(self, base: MixtureRun) -> dict[str, float]:
        """Task to its weight in what is minimised; the weights sum to 1."""
        if base.losses is None:
            error = base.failure.error if base.failure else "no losses"
            raise BuildError(
                "the base's own mixture", f"its run failed: {error}", "fix that, and run the command again"
            )
        weights = self.tune.tasks or dict.fromkeys(base.losses, 1.0)
        for task in weights:
            if task not in base.losses:
                raise RecipeError(
                    f"tasks.{task}", "the held-out split has no questions of it", nearest(task, base.losses)
                )
        whole = sum(weights.values())
        return {task: weights[task] / whole for task in sorted(weights)}

    def _best(self, models: Mapping[str, Model], runs: Sequence[MixtureRun], tasks: Mapping[str, float]) -> Best:
        """The best of many candidates, by models that are fitted again to all runs."""
        space = self.space
        predict = _objective(
            {t: refitted(m.name, shares_of(runs), losses_of(runs, t), space.proxy_total) for t, m in models.items()},
            tasks,
        )
        tries = drawn(space.base, space.caps, _CANDIDATES, **self._draw("candidate"))
        best = tries[np.argsort(predict(tries), kind="stable")[: int(_CANDIDATES * _BEST)]].mean(axis=0)
        base = np.array(list(space.base.values()))
        return Best(best, *predict(np.stack([best, base])).tolist())

    def _proposed(self, best: Best, base: MixtureRun, tasks: Mapping[str, float]) -> dict[str, Any]:
        """The best predicted mixture, run once to see what it is."""
        space = self.space
        run = _complete(self._run({"proposed": best.shares})[0], tasks)
        units = space.units(best.shares.tolist(), space.total)
        return {
            "shares": dict(zip(space.base, best.shares.tolist(), strict=True)),
            "units": units,
            "epochs": {name: units[name] / space.available[name] for name in space.base},
            "predicted": best.predicted,
            "measured": None if run.losses is None else whole(run, tasks),
            "measured_tasks": run.losses,
            "error": failure_text(run),
            "base_predicted": best.base_predicted,
            "base_measured": whole(base, tasks),
            "base_measured_tasks": base.losses,
        }

    def _written(self, proposed: Mapping[str, Any] | None) -> str | None:
        """Write the proposed recipe; an earlier proposal is removed when there is none now."""
        path = self.experiment.folder / "recipe.yaml"
        if proposed is None:
            path.unlink(missing_ok=True)
            return None
        opened, mixture = self.opened, self.space.mixture(proposed["units"])
        name = f"{opened.base.head.name}-tuned"
        head = f"# Weights are {self.space.unit} of {self.space.total:,}: proposed by vldata tune, see tune.json.\n"
        extends = self.extends
        if extends is None:
            tree = {**opened.tree, "name": name, "mixture": mixture}
        else:
            if isinstance(extends, Path):
                extends = os.path.relpath(extends, path.parent)
            tree = {"extends": extends, "name": name, "mixture": laid_over(opened.tree.get("mixture") or {}, mixture)}
        write_text(path, head + yaml.dump(tree))
        return path.name


def _losses_of(scores: Mapping[str, TaskScores], loss: str) -> dict[str, float]:
    losses = {}
    for task, one in scores.items():
        value = one.also.get(loss, one.value if one.metric == loss else None)
        if value is None:
            names = sorted({one.metric, *one.also})
            raise BuildError(f"loss: {loss}", f"the answers of {task!r} have no such score", nearest(loss, names))
        losses[task] = value
    return losses


def _complete(run: MixtureRun, tasks: Mapping[str, float]) -> MixtureRun:
    """A run without some task's loss is a failed one."""
    lacking = sorted(set(tasks) - set(run.losses)) if run.losses is not None else []
    if not lacking:
        return run
    return MixtureRun(
        run.name, run.shares, run.units, None, CellFailure("evaluate", f"no loss of {', '.join(lacking)}")
    )


def _held_out(names: Sequence[str], part: float, seed: int) -> set[str]:
    """The runs with the smallest keyed numbers."""
    number = max(MIN_HELD_OUT, round(part * len(names)))
    order = np.argsort(keyed(string_keys(names), seed, "held out"), kind="stable")
    return {names[place] for place in order[:number]}


def _objective(predict: Mapping[str, Predict], tasks: Mapping[str, float]) -> Predict:
    return lambda shares: np.sum([weight * predict[task](shares) for task, weight in tasks.items()], axis=0)
