"""Kinds of turns: their columns, checks, and what their templates may name. One a file; `TASKS` is the one list."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points

from vldata.errors import RecipeError, nearest
from vldata.tasks.base import Task

TASKS: dict[str, str] = {
    "caption": "vldata.tasks.caption:Caption",
    "grounded_caption": "vldata.tasks.grounded_caption:GroundedCaption",
    "instruction": "vldata.tasks.instruction:Instruction",
    "ocr": "vldata.tasks.ocr:Ocr",
    "rec": "vldata.tasks.rec:Rec",
    "reg": "vldata.tasks.reg:Reg",
    "text_instruction": "vldata.tasks.text_instruction:TextInstruction",
    "true_false": "vldata.tasks.true_false:TrueFalse",
    "vqa_mc": "vldata.tasks.vqa_mc:VqaMc",
    "vqa_open": "vldata.tasks.vqa_open:VqaOpen",
}
"""Task name -> ``module:class``; a module is imported when its task is first used."""


def task_class(name: str, where: str = "task") -> type[Task]:
    """The class of a task, ours or one that an installed package offers as a ``vldata.tasks`` entry point.

    Raises:
        RecipeError: No such task.
    """
    if name in TASKS:
        module, _, attribute = TASKS[name].partition(":")
        loaded: type[Task] = getattr(import_module(module), attribute)
        return loaded
    for entry in entry_points(group="vldata.tasks"):
        if entry.name == name:
            offered: type[Task] = entry.load()
            return offered
    raise RecipeError(where, f"no task named {name!r}", nearest(name, task_names()))


def task_names() -> list[str]:
    """Every known task, sorted."""
    return sorted({*TASKS, *(entry.name for entry in entry_points(group="vldata.tasks"))})
