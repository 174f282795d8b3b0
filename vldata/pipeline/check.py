"""What can be said before a row is read: `vldata check` and `vldata formats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from vldata.codecs import codec, codec_names
from vldata.curate.exclude import ExclusionList
from vldata.curate.where import compiled
from vldata.errors import RecipeErrors, VldataError
from vldata.mixture.strategies import STRATEGIES
from vldata.pipeline.plan import load_templates
from vldata.recipe.models import Entry, Recipe
from vldata.schema.turns import COMMON
from vldata.sources import format_names, source_class
from vldata.sources.reading.boxes import wrong_unit
from vldata.synth.kinds import kind_names, load_kind
from vldata.tasks import task_class, task_names

READ_BYTES = 32 * 1024 * 1024
"""Files with boxes that are larger are left to `vldata plan`."""


def check(recipe: Recipe) -> list[dict[str, Any]]:
    """Look for the files and templates of every source, without reading rows but for boxes of small files.

    Raises:
        RecipeErrors: Everything that is missing or unusable.
    """
    problems: list[VldataError] = []
    rows = []
    try:
        templates = load_templates(recipe, {})
    except RecipeErrors as errors:
        problems += errors.errors
        templates = {}
    if recipe.head.exclude:
        try:
            ExclusionList.read(recipe.head.exclude)
        except VldataError as error:
            problems.append(error)
    for name, entry in recipe.entries.items():
        try:
            files = entry.source.files()
        except VldataError as error:
            problems.append(type(error)(f"{entry.where}: {error.where}", error.problem, error.fix))
            files = []
        problems += _where_problems(entry)
        problems += _box_problems(entry, files)
        root = entry.source.image_root
        if root is not None and entry.settings.images.missing == "reject" and not Path(root).exists():
            problems.append(
                VldataError(
                    f"{entry.where}.image_root",
                    f"no such folder or archive: {root}",
                    "fix the path, or try --standin 200",
                )
            )
        row: dict[str, Any] = {"source": name, "format": entry.source.format, "task": entry.task.name}
        rows.append({**row, "template": templates[name].lineage if name in templates else "", "files": len(files)})
    if problems:
        raise RecipeErrors(problems)
    return rows


def _where_problems(entry: Entry) -> list[VldataError]:
    """What is wrong with a source's ``where``, seen from the columns' types alone."""
    if not entry.settings.where or entry.source.kept_columns:
        return []  # the types of kept columns are those of the files
    schema = pl.Schema({**COMMON, **entry.task.columns})
    try:
        compiled(entry.settings.where, schema, f"{entry.where}.where")
    except VldataError as error:
        return [error]
    return []


def _box_problems(entry: Entry, files: list[Path]) -> list[VldataError]:
    """What boxes say of the unit that they are read in, and what is in the way of reading them."""
    if "boxes" not in entry.task.columns or not files or sum(path.stat().st_size for path in files) > READ_BYTES:
        return []
    try:
        in_wrong_unit = wrong_unit(entry.source.turns(entry.task.name), entry.source)
    except VldataError as error:
        return [type(error)(f"{entry.where}: {error.where}", error.problem, error.fix)]
    return [in_wrong_unit.error(entry.source, entry.where)] if in_wrong_unit is not None else []


def formats() -> dict[str, list[dict[str, str]]]:
    """Name and one line about every source format, task, box format and mixing strategy."""
    return {
        "sources": [
            {"name": name, "about": f"{source_class(name).about} ({', '.join(source_class(name).tasks)})"}
            for name in format_names()
        ],
        "tasks": [{"name": name, "about": task_class(name).about} for name in task_names()],
        "box formats": [{"name": name, "about": codec(name).about} for name in codec_names()],
        "strategies": [{"name": name, "about": strategy.about} for name, strategy in STRATEGIES.items()],
        "kinds of synth": [{"name": name, "about": load_kind(name).settings.about} for name in kind_names()],
    }
