"""A whole ablation: builds in one store, cells kept by key, one table.

    <out>/ablation.json     what was asked
    <out>/plan.json         variants, what each adds to the store, trainings
    <out>/builds/<variant>  a plain build of each; the base's holds the questions
    <out>/held_out/         the questions in other words, where they are asked in those
    <out>/cells/<key>/      see `vldata.ablation.cells`
    <out>/results.json      the table; results.md has its differences, to paste

Whatever is there already is found and not made again, so that a killed ablation goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from vldata.ablation.builds import Builder, VariantBuild, of_seed, picked, sharing, with_amounts, write_text
from vldata.ablation.cells import SCORES, Cell, CellFailure, Questions, Trainer, outcome_of
from vldata.ablation.checks import check_seeds, few_seeds, split_of
from vldata.ablation.leaks import same_pictures, same_rows, same_texts
from vldata.ablation.load import Opened
from vldata.ablation.markdown import matrix
from vldata.ablation.results import Found, Training, results
from vldata.ablation.schedule import Board, run_cells
from vldata.ablation.scores import TaskScores, image_lines, photographs, read_metric, read_scores
from vldata.ablation.statistics import DEFAULT_SEEDS, MIN_SEEDS, base_seeds
from vldata.ablation.variants import BASE, Variant, notes_of, recipe_key
from vldata.errors import BuildError, VldataError
from vldata.generate.for_builds import AnsweredSources
from vldata.paths import home
from vldata.pipeline.session import open_session
from vldata.recipe.load import from_tree
from vldata.store.lock import exclusive


def run(
    opened: Opened,
    out: Path,
    *,
    identity: Callable[[], str] | None = None,
    store: Path | None = None,
    workers: int | None = None,
    seeds: int | None = None,
    jobs: int = 1,
    threads: int | None = None,
    gpus: Sequence[str] = (),
    chosen: Iterable[str] = (),
    builds_only: bool = False,
    board: Board | None = None,
) -> dict[str, Any]:
    """Build every variant, train each with every seed, ask all the same questions, and compare.

    Args:
        opened: The ablation.
        out: Its folder: new, empty, or an ablation's, which goes on.
        identity: Gives the hash of the bundled trainer's config; not needed for a command.
        store: Where blocks are kept; see `vldata.store.store.default_store`.
        workers: Processes that build.
        seeds: In place of the file's.
        jobs: Trainings at a time.
        threads: Threads of each training; None is the machine's own choice.
        gpus: For trainings to take turns on; see `Trainer`.
        chosen: Only these variants, and the base.
        builds_only: Stop when everything is built.

    Returns:
        What is in ``results.json``; with ``builds_only`` what is in ``plan.json``.

    Raises:
        VldataError: The base cannot be built or holds nothing out, or the folder is something else's. A variant that
            cannot be built, and a training that fails, are in the table instead.
    """
    out = home(out).resolve()
    _refuse_other(out)
    with exclusive(out / ".lock", wait=False):
        asked = {**opened.ablation.model_dump(mode="json"), "base": opened.tree}
        write_text(out / "ablation.json", json.dumps(asked, indent=1, ensure_ascii=False) + "\n")
        ablation = opened.ablation
        num_seeds = seeds or ablation.seeds or DEFAULT_SEEDS
        known = identity() if identity is not None and ablation.train.command is None else None
        trainer = Trainer(ablation.train, known, threads, tuple(gpus))
        trainer.words()  # an unreadable command is told before anything is built
        with open_session(store, workers, board, synthetic=AnsweredSources(), is_shared=True) as session:
            work = _AblationWork(opened, Builder(out, session), num_seeds, list(chosen))
            work.build_all()
        plan = work.plan()
        write_text(out / "plan.json", json.dumps(plan, indent=1, ensure_ascii=False) + "\n")
        if builds_only:
            return plan
        cells = work.cells()
        run_cells(list(cells.values()), trainer, out / "cells", jobs, board or Board())
        table = work.table(cells, trainer, out / "cells")
        write_text(out / "results.json", json.dumps(table, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
        write_text(out / "results.md", matrix(table))
        return table


def _refuse_other(out: Path) -> None:
    if out.is_file():
        raise BuildError(f"--out {out}", "it is a file", "name a folder")
    found = {path.name for path in out.iterdir()} - {".lock"} if out.is_dir() else set()
    if found and "ablation.json" not in found:
        raise BuildError(f"--out {out}", "the folder holds something that is no ablation", "name a new or empty folder")


class _AblationWork:
    """One ablation while it goes on."""

    def __init__(self, opened: Opened, builder: Builder, num_seeds: int, chosen: Sequence[str]) -> None:
        self.opened, self.builder, self.num_seeds, self.chosen = opened, builder, num_seeds, chosen
        self.first_seed = opened.base.head.seed
        self.variants: list[Variant] = []
        self.num_base_seeds = 0
        self.made: dict[tuple[str, int], VariantBuild] = {}
        self.broken: list[tuple[str, int, str]] = []
        self.questions: dict[str, Questions] = {}
        self.notes: list[str] = []
        check_seeds(opened.ablation.data_seeds, num_seeds)
        if num_seeds < MIN_SEEDS:
            self.notes.append(few_seeds(num_seeds))

    def data_seed(self, number: int) -> int:
        """The data seed of a variant's training of this number."""
        return self.first_seed + (number if self.opened.ablation.data_seeds > 1 else 0)

    def build_all(self) -> None:
        """Every variant with every data seed, and the questions."""
        self._build_seed(self.first_seed, None)
        split = self._split()
        exclude = None
        if self.opened.ablation.data_seeds > 1 and self.opened.held_out is None:
            exclude = self._exclusion(split)
        for number in range(1, self.num_base_seeds if self.opened.ablation.data_seeds > 1 else 0):
            self._build_seed(self.data_seed(number), exclude, base_only=number >= self.num_seeds)
        self._tell_leaks()

    def _tell_leaks(self) -> None:
        """Take out variants that train on what is asked where the base does not; say it where the base does too."""
        places = {self._folder(*place).removeprefix("builds/"): place for place in self.made}
        named = {name: self.made[place] for name, place in places.items()}
        asked = self.questions[BASE]
        kinds = {"pictures": same_pictures(named, asked), "texts": same_texts(named, asked)}
        if self.opened.held_out is None:
            kinds["rows"] = same_rows(named, asked)
        for what, found in kinds.items():
            if BASE in found:
                told = ", ".join(f"{name} {number:,}" for name, number in found.items())
                self.notes.append(f"trained on {what} that are asked about, so that scores say less: {told}")
                continue
            for name, number in found.items():
                problem = f"it would be trained on {number:,} of the {what} that are asked about, and the base is not"
                if self.made.pop(places[name], None) is not None:
                    fix = "ask it from a recipe of its own: evaluate: {recipe: …}"
                    self.broken.append((*places[name], f"{problem}; {fix}"))

    def _build_seed(self, seed: int, exclude: Path | None, *, base_only: bool = False) -> None:
        tree, base = (
            (self.opened.tree, self.opened.base) if seed == self.first_seed else of_seed(self.opened, seed, exclude)
        )
        self.made[BASE, seed], reports = self.builder.build(base, self._folder(BASE, seed))
        if base_only:
            return
        variants = picked(with_amounts(self.opened, tree, base, reports), self.chosen)
        known = {BASE: self.made[BASE, seed]}
        for number, variant in enumerate(variants):
            if variant.name == BASE or variant.same_as is not None:
                continue
            try:
                made, _ = self.builder.build(variant.recipe, self._folder(variant.name, seed))
            except VldataError as error:
                self.broken.append((variant.name, seed, str(error)))
                continue
            self.made[variant.name, seed] = made
            keys = [key for key, _ in made.blocks]
            same = next((name for name, other in known.items() if [key for key, _ in other.blocks] == keys), None)
            if same is not None:
                variants[number] = replace(variant, same_as=same)
            known[variant.name] = made
        if not self.variants:
            self.variants = variants
            distinct = sum(variant.same_as is None for variant in variants) - 1
            self.num_base_seeds = base_seeds(self.num_seeds, max(1, distinct))

    def _folder(self, name: str, seed: int) -> str:
        return f"builds/{name}" if seed == self.first_seed else f"builds/{name}@{seed}"

    def _split(self) -> str:
        """Find the questions: which split of which build each variant is asked."""
        asked = self.opened.ablation.evaluate
        made = self.made[BASE, self.first_seed]
        if self.opened.held_out is not None:
            made, _ = self.builder.build(from_tree(self.opened.held_out), "held_out/questions")
        has = [name for name, rows in made.manifest["splits"].items() if rows]
        split = split_of(asked.split, has, is_own=self.opened.held_out is None)
        self.questions = dict.fromkeys((variant.name for variant in self.variants), Questions(made, split))
        self.notes += notes_of(self.opened.ablation, self.variants)
        if asked.words == "own":
            self._in_own_words(split)
        return split

    def _in_own_words(self, split: str) -> None:
        by_key: dict[str, VariantBuild] = {}
        if self.opened.held_out is None:
            by_key = {
                v.key: self.made[v.name, self.first_seed]
                for v in self.variants
                if (v.name, self.first_seed) in self.made
            }
        for variant in self.variants:
            if variant.words is None or variant.same_as is not None:
                continue
            key = recipe_key(variant.words)
            try:
                if key not in by_key:
                    by_key[key], _ = self.builder.build(variant.words, f"held_out/{variant.name}")
            except VldataError as error:
                self.broken.append((variant.name, self.first_seed, f"the questions in its own words: {error}"))
                self.made.pop((variant.name, self.first_seed), None)
                continue
            self.questions[variant.name] = Questions(by_key[key], split)

    def _exclusion(self, split: str) -> Path:
        """What is asked is held out under the first data seed; the others must not train on it either."""
        base = self.opened.base
        if any(entry.settings.images.max_side_px for entry in base.entries.values()):
            problem = "pictures are scaled, so those of the questions cannot be told from their bytes"
            raise BuildError("data_seeds", problem, "name questions of their own in evaluate.recipe")
        own = Path(base.head.exclude).read_text(encoding="utf-8") if base.head.exclude else ""
        lines = sorted(set(image_lines(self.made[BASE, self.first_seed].folder, split)))
        path = self.builder.out / "held_out" / "exclude.txt"
        write_text(path, "\n".join([own, *lines, ""]))
        return path

    def plan(self) -> dict[str, Any]:
        """What ``plan.json`` says."""
        built = {
            v.name: self.made[v.name, self.first_seed] for v in self.variants if (v.name, self.first_seed) in self.made
        }
        shared = sharing({name: made.blocks for name, made in built.items()})
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
                    "samples": built[v.name].manifest["totals"]["samples"] if v.name in built else None,
                    **(shared[v.name]._asdict() if v.name in shared else {}),
                }
                for v in self.variants
            ],
            "trainings": self.num_base_seeds + self.num_seeds * (sum(v.same_as is None for v in self.variants) - 1),
            "failed": [{"variant": name, "data_seed": seed, "error": error} for name, seed, error in self.broken],
            "notes": list(self.notes),
        }

    def cells(self) -> dict[tuple[str, int], Cell]:
        """Variant and number of the training to its cell."""
        found = {}
        for variant in self.variants:
            if variant.same_as is not None:
                continue
            for number in range(self.num_base_seeds if variant.name == BASE else self.num_seeds):
                made = self.made.get((variant.name, self.data_seed(number)))
                if made is not None:
                    seed = self.data_seed(number)
                    found[variant.name, number] = Cell(variant.name, number, seed, made, self.questions[variant.name])
        return found

    def table(self, cells: Mapping[tuple[str, int], Cell], trainer: Trainer, folder: Path) -> dict[str, Any]:
        """What ``results.json`` says."""
        trainings: dict[str, list[Training]] = {}
        for (variant, number), cell in cells.items():
            came = outcome_of(folder / cell.key(trainer), self._scores)
            scores, failure = (None, came) if isinstance(came, CellFailure) else (came, None)
            trainings.setdefault(variant, []).append(Training(number, cell.data_seed, scores, failure))
        self._check_metric(trainings, cells, trainer, folder)
        asked = self.questions[BASE]
        found = Found(
            variants=self.variants,
            made={name: made for (name, seed), made in self.made.items() if seed == self.first_seed},
            trainings=trainings,
            photographs=photographs(asked.made.folder, asked.split),
            broken=self.broken,
            notes=self.notes,
        )
        varied = sorted({cell.data_seed for cell in cells.values()})
        ablation = self.opened.ablation
        return results(found, name=ablation.name, held=ablation.held, seeds=range(self.num_seeds), data_seeds=varied)

    def _check_metric(
        self,
        trainings: Mapping[str, Sequence[Training]],
        cells: Mapping[tuple[str, int], Cell],
        trainer: Trainer,
        folder: Path,
    ) -> None:
        """A metric that no training has is a mistake of the file, not a failure of all trainings."""
        asked = self.opened.ablation.evaluate.metric
        if asked is None or any(training.scores for of in trainings.values() for training in of):
            return
        for cell in cells.values():
            own = folder / cell.key(trainer)
            if (own / "done.json").is_file():
                read_metric(own / SCORES, asked)

    def _scores(self, path: Path) -> dict[str, TaskScores]:
        """What a cell scored, by the metric that is asked for."""
        metric = self.opened.ablation.evaluate.metric
        if metric is None:
            return read_scores(path)
        scores, lacking = read_metric(path, metric)
        note = f"not scored by {metric}, and so not compared: {', '.join(lacking)}"
        if lacking and note not in self.notes:
            self.notes.append(note)
        return scores
