"""--standin: any recipe, for any task, before anything is downloaded."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vldata.pipeline.build import Built
from vldata.sources import source_class
from vldata.tasks import task_names

Run = Callable[..., Built]


@pytest.mark.parametrize("task", task_names())
def test_a_table_of_any_task_has_a_stand_in(run: Run, task: str) -> None:
    tree = {"name": "t", "sources": {"t": {"format": "table", "path": "nowhere.csv", "task": task}}}
    built = run(tree, standin=20)
    assert built.manifest["sources"]["t"]["rows_in"] >= 20
    assert built.manifest["sources"]["t"]["rejected"] == 0
    assert built.manifest["totals"]["turns"] >= 20


@pytest.mark.parametrize("task", source_class("llava").tasks)
def test_llava_has_images_or_none_as_the_task_asks(run: Run, task: str) -> None:
    tree = {"name": "t", "sources": {"t": {"format": "llava", "path": "nowhere.json", "task": task}}}
    totals = run(tree, standin=20).manifest["totals"]
    assert totals["samples"] > 0
    assert (totals["images"] > 0) == (task == "instruction")


def test_shares_stay_and_totals_shrink_to_what_there_is(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    tree = {
        "name": "t",
        "sources": {"a": source, "b": source},
        "mixture": {"total": 1_000_000, "max_epochs": 1, "sources": {"a": 1, "b": 3}},
    }
    achieved = {n: s["achieved"]["samples"] for n, s in run(tree, standin=30).manifest["sources"].items()}
    assert achieved == {"a": 10, "b": 30}


def test_counts_become_weights(run: Run) -> None:
    source = {"format": "coco_captions", "path": "nowhere.json"}
    tree = {
        "name": "t",
        "sources": {"a": source, "b": source},
        "mixture": {"sources": {"a": {"count": 20_000}, "b": {"count": 10_000}}},
    }
    achieved = {n: s["achieved"]["samples"] for n, s in run(tree, standin=30).manifest["sources"].items()}
    assert achieved == {"a": 30, "b": 15}
