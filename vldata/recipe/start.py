"""`vldata init`: a recipe to start from."""

from __future__ import annotations

from pathlib import Path

from vldata import bundled
from vldata.errors import RecipeError


def write_start(path: Path) -> None:
    """Copy the bundled recipe that explains every section.

    Raises:
        RecipeError: The file exists, or cannot be written.
    """
    text = (bundled("recipes") / "forkme.yaml").read_text(encoding="utf-8")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise RecipeError(str(path), "the file exists", "name another one: vldata init other.yaml") from None
    except OSError as error:
        raise RecipeError(
            str(path), error.strerror or str(error), "name a file in a folder that you can write"
        ) from None
