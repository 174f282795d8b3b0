"""What the stages of a build pass to one another, written out in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import polars as pl

from vldata.images.facts import FACTS
from vldata.recipe.load import from_tree
from vldata.recipe.models import Entry, Recipe
from vldata.tasks import task_class

ROOT = "/nowhere"


def recipe(sources: Mapping[str, Mapping[str, Any]], **head: Any) -> Recipe:
    """A recipe with seed 7 over tables that are never read; a source says at least its task."""
    table = {"format": "table", "path": f"{ROOT}/rows.jsonl", "image_root": ROOT}
    return from_tree({"name": "small", "seed": 7, "sources": {n: {**table, **s} for n, s in sources.items()}, **head})


def entry(task: str = "vqa_open", name: str = "vqa", **settings: Any) -> Entry:
    """The only source of such a recipe."""
    return recipe({name: {"task": task, **settings}}).entries[name]


def columns_of(task: str) -> dict[str, Any]:
    """The types of a task's own columns."""
    return dict(task_class(task).columns)


def facts_of(images: Iterable[str | Mapping[str, Any]]) -> pl.DataFrame:
    """Facts of images of 200 x 100 px and 10 bytes whose hash is ``#<ref>``; a mapping says what differs."""
    rows = []
    for image in images:
        given = {"ref": image} if isinstance(image, str) else dict(image)
        common = {"size_bytes": 10, "hash": f"#{given['ref']}", "width": 200, "height": 100, "format": "PNG"}
        nothing = dict.fromkeys(("size_bytes", "hash", "width", "height", "format")) if given.get("problem") else {}
        rows.append({**common, **nothing, **given})
    return pl.DataFrame(rows, schema=FACTS)


def box(x0: float, y0: float, x1: float, y1: float, image: int = 0, phrase: str | None = None) -> dict[str, Any]:
    """A box as turns have it."""
    return {"x0": x0, "y0": y0, "x1": x1, "y1": y1, "image": image, "phrase": phrase}
