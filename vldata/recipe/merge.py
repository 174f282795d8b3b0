"""``extends``, ``--set`` and ``${ENV}``: how a recipe's text becomes one tree of plain data."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vldata import bundled
from vldata.errors import RecipeError, nearest
from vldata.recipe import yaml

_VARIABLE = re.compile(r"\$\{(\w+)\}")


def merged(base: Any, over: Any) -> Any:
    """``over`` laid on ``base``: maps merge, lists and scalars replace, null removes."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    result = dict(base)
    for key, value in over.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = merged(result.get(key) if isinstance(result.get(key), dict) else {}, value)
        else:
            result[key] = value
    return result


def read_recipe(path: Path, sets: Sequence[str] = ()) -> dict[str, Any]:
    """The recipe file with everything it extends, and ``--set`` on top.

    Args:
        path: A file, or the name of a bundled recipe.
        sets: ``key.path=value``, the value in YAML.

    Raises:
        RecipeError: Unreadable, not a mapping, extends itself, or a ``--set`` that is malformed or removes nothing.
    """
    tree = _read(find_recipe(str(path)), ())
    for text in sets:
        parts, value = _set_parts(text)
        if value is None:
            _check_removable(tree, parts, text)
        for part in reversed(parts):
            value = {part: value}
        tree = merged(tree, value)
    return tree


def find_recipe(name: str) -> Path:
    """The file of that name, else the bundled recipe of that name."""
    path = Path(name)
    if path.is_file():
        return path
    for candidate in (bundled("recipes") / name, bundled("recipes") / f"{name}.yaml"):
        if candidate.is_file():
            return candidate
    if path.parts[:1] == ("recipes",) and (bundled("recipes") / Path(*path.parts[1:])).is_file():
        return bundled("recipes") / Path(*path.parts[1:])
    return path


def environment(value: str, where: str) -> str:
    """``${NAME}`` in a local path replaced by the variable's value.

    Raises:
        RecipeError: The variable is not set.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        if name not in os.environ:
            problem = f"the environment variable {name} is not set"
            raise RecipeError(where, problem, f"export {name}=…, or write the path")
        return os.environ[name]

    return _VARIABLE.sub(replace, value)


def has_variable(value: Any) -> bool:
    """Whether a value is a string that names an environment variable."""
    return isinstance(value, str) and bool(_VARIABLE.search(value))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        chain = " -> ".join(p.name for p in (*seen, resolved))
        raise RecipeError(f"{path}: extends", f"recipes extend each other in a circle: {chain}", "remove one `extends`")
    tree = yaml.parse_file(path)
    if not isinstance(tree, dict):
        problem = f"a recipe is a mapping, this is a {type(tree).__name__}"
        raise RecipeError(str(path), problem, "start from `vldata init`")
    base = tree.pop("extends", None)
    if base is None:
        return tree
    if not isinstance(base, str):
        raise RecipeError(f"{path}: extends", f"{base!r} is not a file name", "name one recipe file")
    beside = path.parent / base
    return merged(_read(beside if beside.is_file() else find_recipe(base), (*seen, resolved)), tree)  # type: ignore[no-any-return]


def _set_parts(text: str) -> tuple[list[str], Any]:
    key, equals, value = text.partition("=")
    parts = key.strip().split(".")
    where = f"--set {text}"
    if not equals or not all(parts):
        raise RecipeError(where, "not of the form key.path=value", "for example --set mixture.total=1000")
    if not value.strip():
        raise RecipeError(where, "the value is empty", f"write {key.strip()}=null to remove the key")
    try:
        return parts, yaml.parse(value, where)
    except RecipeError as error:
        raise RecipeError(where, f"the value {value!r}: {error.problem}", "put it in quotes") from None


def _check_removable(tree: Any, parts: Sequence[str], text: str) -> None:
    """Null removes; of a key that is not there it would hide a misspelt name."""
    for k, part in enumerate(parts):
        if not isinstance(tree, dict) or part not in tree:
            problem = f"the recipe has no {'.'.join(parts[: k + 1])!r} to remove"
            raise RecipeError(f"--set {text}", problem, nearest(part, tree if isinstance(tree, dict) else ()))
        tree = tree[part]
