"""Tasks are found by name."""

from __future__ import annotations

import pytest

from vldata.errors import RecipeError
from vldata.tasks import task_class, task_names


def test_a_misspelt_task_is_named_with_the_nearest_one() -> None:
    with pytest.raises(RecipeError) as caught:
        task_class("vqa_opne", "sources.mine.task")
    assert str(caught.value) == "sources.mine.task: no task named 'vqa_opne'\n  fix: did you mean 'vqa_open'?"


def test_the_ten_tasks_are_known() -> None:
    assert task_names() == [
        "caption",
        "grounded_caption",
        "instruction",
        "ocr",
        "rec",
        "reg",
        "text_instruction",
        "true_false",
        "vqa_mc",
        "vqa_open",
    ]
