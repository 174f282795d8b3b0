"""Locks: a recipe as it was built, with the digests of all it read, and the promise to build that or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vldata.errors import RecipeError
from vldata.recipe import yaml
from vldata.recipe.load import from_tree
from vldata.recipe.merge import read_recipe
from vldata.recipe.models import Recipe


def load_with_lock(
    path: Path, sets: Sequence[str] = (), out: Path | None = None
) -> tuple[Recipe, dict[str, Any] | None]:
    """Load a recipe or a lock file, with its lock.

    Args:
        path: A recipe, or a ``recipe.lock.yaml``.
        sets: As `vldata.recipe.load.load`.
        out: The build is to be locked: where the recipe itself holds no lock, the one beside it (``<name>.lock.yaml``)
            or in this folder counts.

    Raises:
        RecipeError: ``out`` was given and no lock is found.
    """
    tree = read_recipe(path, sets)
    lock = tree.pop("lock", None)
    recipe = from_tree(tree)
    if out is None or lock is not None:
        return recipe, lock
    candidates = [path.with_name(f"{path.stem}.lock.yaml"), out / "recipe.lock.yaml"]
    for candidate in candidates:
        if candidate.is_file():
            document = yaml.parse_file(candidate)
            if isinstance(document, dict) and isinstance(document.get("lock"), dict):
                return recipe, document["lock"]
    looked = " or ".join(str(candidate) for candidate in candidates)
    raise RecipeError("--locked", f"no lock: {looked}", "build once without --locked, and keep its recipe.lock.yaml")
