"""`vldata init`: a recipe to start from."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from vldata import bundled
from vldata.errors import RecipeError


def write_start(path: Path) -> None:
    """Copy the bundled recipe that explains every section, under the name of the file.

    Raises:
        RecipeError: The file exists, or cannot be written.
    """
    text = (bundled("recipes") / "forkme.yaml").read_text(encoding="utf-8")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-") or "mine"
    if yaml.safe_load(name) != name:  # such as 12 and on
        name = f'"{name}"'
    text = _replaced(text, "name: forkme", f"name: {name}")
    text = _replaced(text, "forkme.yaml", shlex.quote(path.name))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(str(path), "the file exists", "name another one: vldata init other.yaml") from None
    except OSError as error:
        problem, fix = error.strerror or str(error), "name a file in a folder that you can write"
        raise RecipeError(str(path), problem, fix) from None


def _replaced(text: str, old: str, new: str) -> str:
    """What stands in a column behind ``old`` stays in its column, where there is room."""

    def line(match: re.Match[str]) -> str:
        return new.ljust(len(match[0]) - 1) + " " if match[1] else new

    return re.sub(re.escape(old) + r"( {2,})?", line, text)
