"""What can be said before a row is read: `vldata check` and `vldata formats`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from vldata.codecs import codec, codec_names
from vldata.curate.exclude import ExclusionList
from vldata.curate.where import compiled
from vldata.errors import BuildError, RecipeErrors, VldataError
from vldata.mixture.strategies import STRATEGIES
from vldata.pipeline.first_rows import FirstRows, look
from vldata.pipeline.plan import folder_notes, language_notes, load_templates
from vldata.prompts.template import Template
from vldata.recipe.models import Entry, Recipe
from vldata.schema.turns import COMMON
from vldata.sources import format_names, source_class
from vldata.synth.kinds import kind_names, load_kind
from vldata.tasks import task_class, task_names


def check(recipe: Recipe, *, files: bool = True) -> list[dict[str, Any]]:
    """Look for the files and templates of every source, and at its first rows and their images.

    Args:
        files: False leaves files, rows and images alone.

    Returns:
        A source each: its name, format, task, template, number of files, ``rows`` looked at (None: its files were not
        opened) and whether they are ``all_rows``, ``columns`` as `vldata.pipeline.plan_record.SourceReport` has
        them, and ``notes``.

    Raises:
        RecipeErrors: Everything that is missing or unusable.
    """
    problems: list[VldataError] = []
    templates, wrong = _templates(recipe)
    problems += wrong + _exclusion_problems(recipe)
    spoken = language_notes(recipe, templates)
    rows: list[dict[str, Any]] = []
    left: list[int | None] = []
    for name, entry in recipe.entries.items():
        native, wrong = _native_files(entry) if files else ([], [])
        stores_paths = recipe.head.output.images == "path"
        seen = FirstRows() if entry.synth is not None else look(entry, native, stores_paths=stores_paths)
        problems += wrong + seen.problems
        left.append(seen.left)
        if not any(problem.where == f"{entry.where}.where" for problem in seen.problems):
            problems += _where_problems(entry)
        problems += _root_problems(entry) if files else []
        notes = [*seen.notes, *(folder_notes(entry) if native else [])]
        row = {
            "source": name,
            "format": entry.source.format,
            "task": entry.task.name,
            "template": templates[name].lineage if name in templates else "",
            "files": len(native),
            "rows": seen.rows,
            "all_rows": seen.is_all,
            "columns": seen.columns,
            "notes": [*notes, *(note for note in spoken if note.startswith(f"{name}: "))],
        }
        rows.append(row)
    if not problems and not any(num is None or num for num in left):
        why = "; ".join(note for row in rows for note in row["notes"]) or "the sources have no rows"
        problems.append(BuildError("mixture", f"nothing is left of any source: {why}", "see the sources' rows"))
    if problems:
        raise RecipeErrors(problems)
    return rows


def _templates(recipe: Recipe) -> tuple[dict[str, Template], list[VldataError]]:
    try:
        return load_templates(recipe, {}), []
    except RecipeErrors as errors:
        return {}, [*errors.errors]


def _exclusion_problems(recipe: Recipe) -> list[VldataError]:
    try:
        if recipe.head.exclude:
            ExclusionList.read(recipe.head.exclude)
    except VldataError as error:
        return [error]
    return []


def _native_files(entry: Entry) -> tuple[list[Path], list[VldataError]]:
    try:
        return entry.source.files(), []
    except VldataError as error:
        return [], [type(error)(f"{entry.where}: {error.where}", error.problem, error.fix)]


def _root_problems(entry: Entry) -> list[VldataError]:
    root = entry.source.image_root
    if root is None or entry.settings.images.missing != "reject" or Path(root).exists():
        return []
    problem, fix = f"no such folder or archive: {root}", "fix the path, or try --standin 200"
    return [VldataError(f"{entry.where}.image_root", problem, fix)]


def _where_problems(entry: Entry) -> list[VldataError]:
    """What is wrong with a source's ``where``, seen from the columns' types alone."""
    if not entry.settings.where or entry.source.keep:
        return []  # the types of kept columns are those of the files
    schema = pl.Schema({**COMMON, **entry.task.columns})
    try:
        compiled(entry.settings.where, schema, f"{entry.where}.where")
    except VldataError as error:
        return [error]
    return []


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
