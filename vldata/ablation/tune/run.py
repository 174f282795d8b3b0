"""Mixture weights from small runs: mixtures around the base's, one proxy run each, a regression, the best predicted.

    <out>/tune.json       everything: mixtures, losses, models, errors, what is proposed
    <out>/recipe.yaml     the base with the proposed weights; only when something is proposed
    <out>/builds, cells   as in an ablation (`vldata.ablation.run`): what is there is not made again

Run 0 has the base's own mixture. Some of the other runs are held out: no model is fitted to them, they tell how far
predictions are off, which is the mean of |predicted - measured| over them. Nothing is proposed where always saying the
mean of the fitted runs is no farther off, or where the best mixture is not predicted to be lower than the base by more
than predictions are off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vldata.ablation.builds import Builder, VariantBuild, write_text
from vldata.ablation.cells import Cell, CellFailure, Questions, Trainer, outcome_of
from vldata.ablation.checks import split_of
from vldata.ablation.schedule import Board, run_cells
from vldata.ablation.scores import TaskScores, read_scores
from vldata.ablation.tune.file import MIN_HELD_OUT, MIN_RUNS, OpenedTune
from vldata.ablation.tune.findings import refusal, told_error, told_failure, told_model, told_run
from vldata.ablation.tune.fit import Floats, Model, Predict, error_of, fitted, refitted
from vldata.ablation.tune.mixtures import drawn
from vldata.ablation.tune.runs import Best, MixtureRun, losses_of, shares_of, whole
from vldata.ablation.tune.space import laid_over, space_of
from vldata.base import Progress
from vldata.errors import BuildError, RecipeError, VldataError, nearest
from vldata.generate.for_builds import AnsweredSources
from vldata.paths import home
from vldata.pipeline.session import open_session
from vldata.pipeline.workers import cores
from vldata.recipe import yaml
from vldata.recipe.load import from_tree
from vldata.schema.keyed import keyed, string_keys
from vldata.store.lock import exclusive

FORMAT = 1
SEED = 0
"""Training seed of every run: what the first weights add is the same in all of them."""

_MIN_FIT = 8
_CANDIDATES = 20_000
_BEST = 0.002  # of the candidates, averaged: the very best of many owes most to the model's own errors


def tune(
    asked: OpenedTune,
    out: Path,
    *,
    identity: Callable[[], str] | None = None,
    store: Path | None = None,
    workers: int | None = None,
    runs: int | None = None,
    jobs: int = 1,
    threads: int | None = None,
    gpus: Sequence[str] = (),
    progress: Progress | None = None,
    board: Board | None = None,
) -> dict[str, Any]:
    """Run the proxies, fit, measure the fit, propose.

    Args:
        asked: The tuning file.
        out: Folder: new, empty, or a tuning's, which goes on.
        identity: Gives the hash of the bundled trainer's config; not needed for a command.
        store: Where blocks are kept; see `vldata.store.store.default_store`.
        workers: Processes that build.
        runs: In place of the file's.
        jobs: Trainings at a time.
        threads: Threads of each training; None is the machine's own choice.
        gpus: For trainings to take turns on; see `Trainer`.
        progress: Who watches the builds.
        board: Who watches the trainings.

    Returns:
        What is in ``tune.json``.

    Raises:
        VldataError: The base cannot be built or trained, or too few runs gave losses.
    """
    if runs is not None and runs < MIN_RUNS:
        raise BuildError(f"--runs {runs}", f"so few say nothing; the least is {MIN_RUNS}", f"write --runs {MIN_RUNS}")
    out = home(out).resolve()
    _claim(out, asked)
    with exclusive(out / ".lock", wait=False):
        train = asked.opened.ablation.train
        known = identity() if identity is not None and train.command is None else None
        trainer = Trainer(train, known, threads, tuple(gpus))
        trainer.words()  # an unreadable command is told before anything is built
        places = _Places(out, store, workers or cores(), progress)
        work = _TuningWork(asked, places, trainer, jobs, board or Board())
        table = work.table(runs or asked.tune.runs)
        write_text(out / "tune.json", json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        return table


def _claim(out: Path, asked: OpenedTune) -> None:
    if out.is_file():
        raise BuildError(f"--out {out}", "it is a file", "name a folder")
    if out.is_dir() and any(out.iterdir()) and not (out / "asked.json").is_file():
        raise BuildError(f"--out {out}", "the folder holds something that is no tuning", "name a new or empty folder")
    plain = {**asked.tune.model_dump(mode="json"), "base": asked.opened.tree}
    write_text(out / "asked.json", json.dumps(plain, indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class _Places:
    """Where a tuning builds, and with how many processes."""

    out: Path
    store: Path | None
    workers: int
    progress: Progress | None

    @contextmanager
    def builder(self) -> Iterator[Builder]:
        """Builds, until the trainings need the cores."""
        synthetic = AnsweredSources()
        with open_session(self.store, self.workers, self.progress, synthetic=synthetic, is_shared=True) as session:
            yield Builder(self.out, session)


class _TuningWork:
    """One tuning while it goes on."""

    def __init__(self, asked: OpenedTune, places: _Places, trainer: Trainer, jobs: int, board: Board) -> None:
        self.asked, self.places, self.trainer, self.jobs, self.board = asked, places, trainer, jobs, board
        with places.builder() as builder:
            base, reports = builder.build(asked.opened.base, "builds/base")
            self.space = space_of(asked, reports)
            self.questions = self._questions(base, builder)

    def table(self, num_runs: int) -> dict[str, Any]:
        """Everything, as plain data."""
        tune, space = self.asked.tune, self.space
        names = [f"run-{number:03}" for number in range(num_runs)]
        base = self._run({names[0]: np.array(list(space.base.values()))})[0]
        tasks = self._tasks(base)  # what cannot work is told after one run
        mixtures = drawn(space.base, space.caps, num_runs - 1, **self._law("mixture"))
        others = self._run(dict(zip(names[1:], mixtures, strict=True)))
        runs = [base, *(_complete(run, tasks) for run in others)]
        held_out = _held_out([run.name for run in runs[1:]], tune.held_out, tune.seed)
        good = [run for run in runs if run.losses is not None]
        fit = [run for run in good if run.name not in held_out]
        told = [run for run in good if run.name in held_out]
        if len(fit) < _MIN_FIT or not told:
            first = next(run.failure for run in runs if run.failure is not None)
            problem = f"{len(good)} of {len(runs)} runs gave losses ({len(told)} of them held out); {first.error}"
            raise BuildError("runs", problem, "mend what failed and run the command again, or ask for more runs")
        models = {task: fitted(shares_of(fit), losses_of(fit, task), space.proxy_total) for task in tasks}
        errors = {
            task: error_of(models[task].predict(shares_of(told)), losses_of(told, task), losses_of(fit, task).mean())
            for task in tasks
        }
        predict = _objective({task: model.predict for task, model in models.items()}, tasks)
        mean = float(np.mean([whole(run, tasks) for run in fit]))
        measured = np.array([whole(run, tasks) for run in told])
        error = error_of(predict(shares_of(told)), measured, mean)
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
            "tasks": {task: {"weight": w, **told_model(models[task], errors[task])} for task, w in tasks.items()},
            "runs": [told_run(run, run.name in held_out, tasks, predict, space) for run in runs],
            "held_out": told_error(error),
            "proposed": proposed,
            "refused": refused,
            "recipe": self._written(proposed),
        }

    def _law(self, purpose: str) -> dict[str, Any]:
        low, high = self.asked.tune.concentration
        return {"concentration": (low, high), "seed": self.asked.tune.seed, "purpose": purpose}

    def _questions(self, base: VariantBuild, builder: Builder) -> Questions:
        made = base
        if self.asked.opened.held_out is not None:
            made, _ = builder.build(from_tree(self.asked.opened.held_out), "held_out/questions")
        has = [name for name, rows in made.manifest["splits"].items() if rows]
        return Questions(made, split_of(self.asked.tune.evaluate.split, has, is_own=made is base))

    def _run(self, mixtures: Mapping[str, Floats]) -> list[MixtureRun]:
        """Build, train and ask, or find that done."""
        opened, folder = self.asked.opened, self.places.out / "cells"
        units = {name: self.space.units(row.tolist(), self.space.proxy_total) for name, row in mixtures.items()}
        cells: dict[str, Cell] = {}
        failed: dict[str, CellFailure] = {}
        with self.places.builder() as builder:
            for name in mixtures:
                recipe = from_tree({**opened.tree, "mixture": self.space.mixture(units[name])})
                try:
                    made, _ = builder.build(recipe, f"builds/{name}")
                except VldataError as error:
                    failed[name] = CellFailure("build", str(error))
                    continue
                cells[name] = Cell(name, SEED, opened.base.head.seed, made, self.questions)
        run_cells(list(cells.values()), self.trainer, folder, self.jobs, self.board)
        found = []
        for name in mixtures:
            shares = np.array([units[name][source] / self.space.proxy_total for source in self.space.base])
            came: dict[str, float] | CellFailure
            came = failed[name] if name in failed else outcome_of(folder / cells[name].key(self.trainer), self._read)
            losses, failure = (None, came) if isinstance(came, CellFailure) else (came, None)
            found.append(MixtureRun(name, shares, units[name], losses, failure))
        return found

    def _read(self, path: Path) -> dict[str, float]:
        return _losses_of(read_scores(path), self.asked.tune.loss)

    def _tasks(self, base: MixtureRun) -> dict[str, float]:
        """Task to its weight in what is minimised; the weights sum to 1."""
        if base.losses is None:
            error = base.failure.error if base.failure else "no losses"
            raise BuildError(
                "the base's own mixture", f"its run failed: {error}", "mend that, and run the command again"
            )
        weights = self.asked.tune.tasks or dict.fromkeys(base.losses, 1.0)
        for task in weights:
            if task not in base.losses:
                raise RecipeError(f"tasks.{task}", "the held-out split does not ask it", nearest(task, base.losses))
        whole = sum(weights.values())
        return {task: weights[task] / whole for task in sorted(weights)}

    def _best(self, models: Mapping[str, Model], runs: Sequence[MixtureRun], tasks: Mapping[str, float]) -> Best:
        """The best of many candidates, by models that are fitted again to all runs."""
        space = self.space
        predict = _objective(
            {t: refitted(m.name, shares_of(runs), losses_of(runs, t), space.proxy_total) for t, m in models.items()},
            tasks,
        )
        tries = drawn(space.base, space.caps, _CANDIDATES, **self._law("candidate"))
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
            "error": told_failure(run),
            "base_predicted": best.base_predicted,
            "base_measured": whole(base, tasks),
            "base_measured_tasks": base.losses,
        }

    def _written(self, proposed: Mapping[str, Any] | None) -> str | None:
        """Write the proposed recipe; one of an earlier, better look goes away when there is none now."""
        path = self.places.out / "recipe.yaml"
        if proposed is None:
            path.unlink(missing_ok=True)
            return None
        opened, mixture = self.asked.opened, self.space.mixture(proposed["units"])
        name = f"{opened.base.head.name}-tuned"
        head = f"# Weights are {self.space.unit} of {self.space.total:,}: proposed by vldata tune, see tune.json.\n"
        if self.asked.extends is None:
            tree = {**opened.tree, "name": name, "mixture": mixture}
        else:
            extends = self.asked.extends
            if isinstance(extends, Path):
                extends = os.path.relpath(extends, path.parent)
            tree = {"extends": extends, "name": name, "mixture": laid_over(opened.tree.get("mixture") or {}, mixture)}
        write_text(path, head + yaml.dump(tree))
        return path.name


def _losses_of(scores: Mapping[str, TaskScores], loss: str) -> dict[str, float]:
    found = {}
    for task, one in scores.items():
        value = one.also.get(loss, one.value if one.metric == loss else None)
        if value is None:
            known = sorted({one.metric, *one.also})
            raise BuildError(f"loss: {loss}", f"the answers of {task!r} have no such score", nearest(loss, known))
        found[task] = value
    return found


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
