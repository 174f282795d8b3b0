"""Ablation files -> `Opened`: typed, with the base recipe read, every problem named as the user typed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vldata.ablation.changes import Tree
from vldata.ablation.file import Ablation
from vldata.errors import RecipeError, RecipeErrors, VldataError
from vldata.recipe.load import from_tree
from vldata.recipe.merge import find_recipe, merged, read_recipe
from vldata.recipe.models import Recipe
from vldata.schema.translate import validated


@dataclass(frozen=True)
class Opened:
    """An ablation with what it names.

    Args:
        tree: The base recipe as merged plain data.
        held_out: The recipe of `Evaluate.recipe` as merged plain data, if it names one.
    """

    ablation: Ablation
    tree: Tree
    base: Recipe
    held_out: Tree | None = None


def load(path: Path | str, sets: Sequence[str] = ()) -> Opened:
    """Read an ablation file.

    Args:
        path: A file, or the name of a bundled one (``ablations/honeybee``).
        sets: ``key.path=value`` changes.

    Raises:
        RecipeErrors: All that is wrong with it, or with its base.
        RecipeError: A file cannot be read at all.
    """
    file = find_recipe(str(path))
    return from_data(read_recipe(file, sets), file.parent)


def from_data(data: dict[str, Any], folder: Path) -> Opened:
    """An ablation from plain data; ``folder`` is where its files are looked for first.

    Raises:
        RecipeErrors: All that is wrong with it, or with its base.
    """
    problems: list[VldataError] = []
    ablation = validated(Ablation, data, "", problems)
    if ablation is None:
        raise RecipeErrors(problems)
    tree = ablation.base if isinstance(ablation.base, dict) else read_recipe(_beside(ablation.base, folder, "base"))
    if "extends" in tree:
        tree = dict(tree)
        extended = tree.pop("extends")
        tree = merged(read_recipe(_beside(str(extended), folder, "base.extends")), tree)
    held_out = None
    if ablation.evaluate.recipe is not None:
        held_out = read_recipe(_beside(ablation.evaluate.recipe, folder, "evaluate.recipe"))
        from_tree(held_out)  # its problems are errors before anything is built
    base = from_tree(tree)
    if held_out is None and not base.head.splits:
        problem = "the base recipe holds nothing out, so there is nothing to score on"
        raise RecipeError("base: splits", problem, "add splits: {val: 0.05} to it, or name evaluate.recipe")
    return Opened(ablation, tree, base, held_out)


def _beside(name: str, folder: Path, where: str) -> Path:
    beside = folder / name
    file = beside if beside.is_file() else find_recipe(name)
    if not file.is_file():
        raise RecipeError(where, f"no recipe {name!r}: neither {beside} nor a bundled one", "correct the path")
    return file
