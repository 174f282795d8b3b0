"""Small recipes and a short way to build them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vldata import build
from vldata.pipeline.build import Built
from vldata.recipe.load import from_tree
from vldata.store.store import Store, open_store

Tree = dict[str, Any]


def mix(**sources: Tree) -> Tree:
    """A recipe tree over shapes sources."""
    return {
        "name": "mix",
        "seed": 7,
        "sources": {n: {"format": "shapes", "scenes": 40, **s} for n, s in sources.items()},
    }


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return open_store(tmp_path / "store")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Built]:
    """Build a tree into ``tmp_path / out``, with a store that all builds of the test share."""

    def build_tree(tree: Tree, out: str = "out", **options: Any) -> Built:
        options = {"workers": 1, "store": tmp_path / "store", **options}
        return build(from_tree(tree), tmp_path / out, **options)

    return build_tree


@pytest.fixture
def small() -> Tree:
    """Four tasks, one of them grouped and deduplicated."""
    return mix(
        captions={"task": "caption"},
        vqa={"task": "vqa_open", "conversation": {"max_turns": 5, "dedup": {"by": "answer"}}},
        choices={"task": "vqa_mc"},
        refs={"task": "rec"},
    )
