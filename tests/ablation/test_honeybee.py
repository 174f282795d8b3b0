"""The bundled ablation: its questions, and a few steps of it with the bundled trainer."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ablation.conftest import in_this_process, run  # type: ignore[import-not-found]

from vldata.ablation import cells
from vldata.ablation.load import Opened, load
from vldata.ablation.variants import facts_of, variants
from vldata.recipe.load import from_tree
from vldata.recipe.load import load as load_recipe


@pytest.fixture(scope="module")
def honeybee() -> Opened:
    return load("ablations/honeybee")


def test_it_asks_the_papers_questions(honeybee: Opened) -> None:
    facts = facts_of(honeybee.base, dict.fromkeys(honeybee.base.entries, 100))
    every = variants(honeybee.ablation, honeybee.tree, honeybee.base, facts, honeybee.held_out)
    names = [variant.name for variant in every]
    assert len(names) == 20 and all(variant.same_as is None for variant in every)
    assert {f"drop-{entry.task.name}" for entry in honeybee.base.entries.values()} <= set(names)
    in_other_words = {variant.name for variant in every if variant.words is not None}
    assert in_other_words == {"per-task", "per-instruction", "per-dataset_name", "per-task_name", "prompts-many"}


def test_its_sources_and_weights_are_those_of_the_real_recipe(honeybee: Opened) -> None:
    real = load_recipe("honeybee")
    assert {n: e.task.name for n, e in honeybee.base.entries.items()} == {
        n: e.task.name for n, e in real.entries.items()
    }
    assert honeybee.base.mixture.sources == real.mixture.sources


def test_the_questions_come_from_worlds_that_nobody_learns(honeybee: Opened) -> None:
    assert honeybee.held_out is not None
    worlds = [
        {entry.source.world_seed for entry in recipe.entries.values()}  # type: ignore[attr-defined]
        for recipe in (honeybee.base, from_tree(honeybee.held_out))
    ]
    assert len(worlds[0]) == len(worlds[1]) == 13 and not worlds[0] & worlds[1]


@pytest.mark.timeout(600)
def test_two_variants_and_a_few_steps_of_it_run(
    honeybee: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first cell's two commands are processes, as always; those of the others are run here."""
    pytest.importorskip("torch")
    apart, number = cells.to_its_end, count()

    def to_its_end(*arguments: Any) -> str | None:
        problem: str | None = (apart if next(number) < 2 else in_this_process)(*arguments)
        return problem

    monkeypatch.setattr(cells, "to_its_end", to_its_end)
    tree, questions = copy.deepcopy(honeybee.tree), copy.deepcopy(honeybee.held_out or {})
    for source in (*tree["sources"].values(), *questions["sources"].values()):
        source["scenes"] = 24
    tree["mixture"] |= {"total": 117, "max_epochs": 9}
    for entry in questions["mixture"]["sources"].values():
        entry["count"] = 2
    small = ["vision.width=16", "vision.heads=2", "vision.mlp_width=32", "decoder.width=32", "decoder.heads=2"]
    train = honeybee.ablation.train.model_copy(update={"steps": 2, "device": "cpu", "set": small})
    ablation = honeybee.ablation.model_copy(update={"train": train})
    opened = replace(honeybee, ablation=ablation, tree=tree, base=from_tree(tree), held_out=questions)
    options = {"store": tmp_path / "store", "workers": 1, "jobs": 1, "threads": 1}
    table = run(opened, tmp_path / "out", seeds=1, chosen=["per-task_name"], **options)
    assert next(number) == 6
    assert not table["failed"] and not table["missing"]
    tasks = {entry.task.name for entry in opened.base.entries.values()}
    assert {one["task"] for one in table["comparisons"]} == tasks
    assert {one["verdict"] for one in table["comparisons"]} <= {"no difference shown", "better", "worse"}
    assert {(one["variant"], one["seed"]) for one in table["cells"]} == {("base", 0), ("base", 1), ("per-task_name", 0)}
