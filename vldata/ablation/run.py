"""A whole ablation: builds in one store, cells kept by key, one table.

<out>/ablation.json     what is requested
<out>/plan.json         variants, what each adds to the store, trainings
<out>/builds, cells …   see `vldata.ablation.experiment`
<out>/held_out/         the questions in other words, for variants that learn those
<out>/results.json      the table; results.md has its differences, to paste
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vldata.ablation.builds import Builder, VariantBuild, of_seed, picked, sharing, with_amounts, write_text
from vldata.ablation.cells import SCORES, Cell, Questions
from vldata.ablation.checks import notes_on_seeds, num_seeds_of
from vldata.ablation.experiment import Experiment, questions_of
from vldata.ablation.leaks import same_images, same_rows, same_texts
from vldata.ablation.load import Opened
from vldata.ablation.markdown import matrix
from vldata.ablation.results import AblationOutcome, Training, results
from vldata.ablation.scores import TaskScores, image_lines, photographs, read_metric, read_scores
from vldata.ablation.statistics import base_seeds
from vldata.ablation.variants import BASE, Variant, notes_of, recipe_key
from vldata.errors import BuildError, VldataError


def run(
    opened: Opened,
    experiment: Experiment,
    *,
    seeds: int | None = None,
    chosen: Iterable[str] = (),
    builds_only: bool = False,
) -> dict[str, Any]:
    """Build every variant, train each with every seed, score all on the same questions, and compare.

    Args:
        seeds: In place of the file's.
        chosen: Only these variants, and the base.

    Returns:
        What is in ``results.json``; with ``builds_only`` what is in ``plan.json``.

    Raises:
        VldataError: The base cannot be built or holds nothing out, or the folder is something else's. A variant that
            cannot be built, and a training that fails, are in the table instead.
    """
    requested = {**opened.ablation.model_dump(mode="json"), "base": opened.tree}
    with experiment.claimed("ablation", requested):
        with experiment.builder() as builder:
            work = _AblationWork(opened, builder, num_seeds_of(opened.ablation, seeds), list(chosen))
            work.build_all()
        plan = work.plan()
        experiment.write_json("plan.json", plan)
        if builds_only:
            return plan
        cells = work.cells()
        experiment.train(list(cells.values()))
        table = work.table(cells, experiment)
        experiment.write_json("results.json", table)
        write_text(experiment.folder / "results.md", matrix(table))
        return table


class _AblationWork:
    """One ablation while it runs."""

    def __init__(self, opened: Opened, builder: Builder, num_seeds: int, chosen: Sequence[str]) -> None:
        self.opened, self.builder, self.num_seeds, self.chosen = opened, builder, num_seeds, chosen
        self.first_seed = opened.base.head.seed
        self.variants: list[Variant] = []
        self.num_base_seeds = 0
        self.builds: dict[tuple[str, int], VariantBuild] = {}
        self.failed_builds: list[tuple[str, int, str]] = []
        self.questions: dict[str, Questions] = {}
        self.notes = notes_on_seeds(num_seeds)

    def data_seed(self, number: int) -> int:
        """The data seed of a variant's training of this number."""
        return self.first_seed + (number if self.opened.ablation.data_seeds > 1 else 0)

    def build_all(self) -> None:
        """Build every variant with every data seed, and the questions."""
        self._build_seed(self.first_seed, None)
        split = self._build_questions()
        exclude = None
        if self.opened.ablation.data_seeds > 1 and self.opened.held_out is None:
            exclude = self._exclusion(split)
        for number in range(1, self.num_base_seeds if self.opened.ablation.data_seeds > 1 else 0):
            self._build_seed(self.data_seed(number), exclude, base_only=number >= self.num_seeds)
        self._report_leaks()

    def _report_leaks(self) -> None:
        """Take out variants that train on the questions where the base does not; note it where the base does too."""
        places = {self._folder(*place).removeprefix("builds/"): place for place in self.builds}
        by_name = {name: self.builds[place] for name, place in places.items()}
        questions = self.questions[BASE]
        leaks = {"images": same_images(by_name, questions), "texts": same_texts(by_name, questions)}
        if self.opened.held_out is None:
            leaks["rows"] = same_rows(by_name, questions)
        for what, counts in leaks.items():
            if BASE in counts:
                listed = ", ".join(f"{name} {number:,}" for name, number in counts.items())
                self.notes.append(f"trained on {what} of the questions, so that scores say less: {listed}")
                continue
            for name, number in counts.items():
                problem = f"it would be trained on {number:,} of the questions' {what}, and the base is not"
                if self.builds.pop(places[name], None) is not None:
                    fix = "take the questions from a recipe of their own: evaluate: {recipe: …}"
                    self.failed_builds.append((*places[name], f"{problem}; {fix}"))

    def _build_seed(self, seed: int, exclude: Path | None, *, base_only: bool = False) -> None:
        tree, base = (
            (self.opened.tree, self.opened.base) if seed == self.first_seed else of_seed(self.opened, seed, exclude)
        )
        self.builds[BASE, seed], reports = self.builder.build(base, self._folder(BASE, seed))
        if base_only:
            return
        variants = picked(with_amounts(self.opened, tree, base, reports), self.chosen)
        distinct = {BASE: self.builds[BASE, seed]}
        for number, variant in enumerate(variants):
            if variant.name == BASE or variant.same_as is not None:
                continue
            try:
                build, _ = self.builder.build(variant.recipe, self._folder(variant.name, seed))
            except VldataError as error:
                self.failed_builds.append((variant.name, seed, str(error)))
                continue
            self.builds[variant.name, seed] = build
            keys = [key for key, _ in build.blocks]
            same = next((name for name, other in distinct.items() if [key for key, _ in other.blocks] == keys), None)
            if same is not None:
                variants[number] = replace(variant, same_as=same)
            distinct[variant.name] = build
        if not self.variants:
            self.variants = variants
            num_distinct = sum(variant.same_as is None for variant in variants) - 1
            self.num_base_seeds = base_seeds(self.num_seeds, max(1, num_distinct))

    def _folder(self, name: str, seed: int) -> str:
        return f"builds/{name}" if seed == self.first_seed else f"builds/{name}@{seed}"

    def _build_questions(self) -> str:
        """The split that is scored on, and for each variant the build that has it."""
        questions = questions_of(self.opened, self.builds[BASE, self.first_seed], self.builder)
        self.questions = dict.fromkeys((variant.name for variant in self.variants), questions)
        self.notes += notes_of(self.opened.ablation, self.variants)
        if self.opened.ablation.evaluate.words == "own":
            self._build_in_own_words(questions.split)
        return questions.split

    def _build_in_own_words(self, split: str) -> None:
        by_key: dict[str, VariantBuild] = {}
        if self.opened.held_out is None:
            by_key = {v.key: self._first_builds()[v.name] for v in self.variants if v.name in self._first_builds()}
        for variant in self.variants:
            if variant.words is None or variant.same_as is not None:
                continue
            key = recipe_key(variant.words)
            try:
                if key not in by_key:
                    by_key[key], _ = self.builder.build(variant.words, f"held_out/{variant.name}")
            except VldataError as error:
                self.failed_builds.append((variant.name, self.first_seed, f"the questions in its own words: {error}"))
                self.builds.pop((variant.name, self.first_seed), None)
                continue
            self.questions[variant.name] = Questions(by_key[key], split)

    def _exclusion(self, split: str) -> Path:
        """A list of the questions, held out under the first data seed: the others must not train on them either."""
        base = self.opened.base
        if any(entry.settings.images.max_side_px for entry in base.entries.values()):
            problem = "images are scaled, so those of the questions are not recognised by their bytes"
            raise BuildError("data_seeds", problem, "name questions of their own in evaluate.recipe")
        own = Path(base.head.exclude).read_text(encoding="utf-8") if base.head.exclude else ""
        lines = sorted(set(image_lines(self.builds[BASE, self.first_seed].folder, split)))
        path = self.builder.out / "held_out" / "exclude.txt"
        write_text(path, "\n".join([own, *lines, ""]))
        return path

    def _first_builds(self) -> dict[str, VariantBuild]:
        """Variant to its build of the first data seed."""
        return {name: build for (name, seed), build in self.builds.items() if seed == self.first_seed}

    def plan(self) -> dict[str, Any]:
        """What ``plan.json`` says."""
        first = self._first_builds()
        builds = {variant.name: first[variant.name] for variant in self.variants if variant.name in first}
        shared = sharing({name: build.blocks for name, build in builds.items()})
        return {
            "name": self.opened.ablation.name,
            "held": self.opened.ablation.held,
            "seeds": self.num_seeds,
            "base_seeds": self.num_base_seeds,
            "variants": [
                {
                    "name": v.name,
                    "changes": dict(v.changes),
                    "same_as": v.same_as,
                    "samples": builds[v.name].manifest["totals"]["samples"] if v.name in builds else None,
                    **(shared[v.name]._asdict() if v.name in shared else {}),
                }
                for v in self.variants
            ],
            "trainings": self.num_base_seeds + self.num_seeds * (sum(v.same_as is None for v in self.variants) - 1),
            "failed": [
                {"variant": name, "data_seed": seed, "error": error} for name, seed, error in self.failed_builds
            ],
            "notes": list(self.notes),
        }

    def cells(self) -> dict[tuple[str, int], Cell]:
        """Variant and number of the training to its cell."""
        cells = {}
        for variant in self.variants:
            if variant.same_as is not None:
                continue
            for number in range(self.num_base_seeds if variant.name == BASE else self.num_seeds):
                seed = self.data_seed(number)
                build = self.builds.get((variant.name, seed))
                if build is not None:
                    cells[variant.name, number] = Cell(variant.name, number, seed, build, self.questions[variant.name])
        return cells

    def table(self, cells: Mapping[tuple[str, int], Cell], experiment: Experiment) -> dict[str, Any]:
        """What ``results.json`` says."""
        trainings: dict[str, list[Training]] = {}
        for (variant, number), cell in cells.items():
            scores, failure = experiment.outcome(cell, self._scores)
            trainings.setdefault(variant, []).append(Training(number, cell.data_seed, scores, failure))
        self._check_metric(trainings, [experiment.cell_folder(cell) for cell in cells.values()])
        questions = self.questions[BASE]
        outcome = AblationOutcome(
            variants=self.variants,
            builds=self._first_builds(),
            trainings=trainings,
            photographs=photographs(questions.build.folder, questions.split),
            failed_builds=self.failed_builds,
            notes=self.notes,
        )
        varied = sorted({cell.data_seed for cell in cells.values()})
        ablation = self.opened.ablation
        return results(outcome, name=ablation.name, held=ablation.held, seeds=range(self.num_seeds), data_seeds=varied)

    def _check_metric(self, trainings: Mapping[str, Sequence[Training]], folders: Iterable[Path]) -> None:
        """A metric that no training has is a mistake of the file, not a failure of all trainings."""
        metric = self.opened.ablation.evaluate.metric
        if metric is None or any(training.scores for of in trainings.values() for training in of):
            return
        for folder in folders:
            if (folder / "done.json").is_file():
                read_metric(folder / SCORES, metric)

    def _scores(self, path: Path) -> dict[str, TaskScores]:
        """A cell's scores, by the metric that is compared."""
        metric = self.opened.ablation.evaluate.metric
        if metric is None:
            return read_scores(path)
        scores, lacking = read_metric(path, metric)
        note = f"not scored by {metric}, and so not compared: {', '.join(lacking)}"
        if lacking and note not in self.notes:
            self.notes.append(note)
        return scores
