"""What a turn of each task tells a model that is to write about its image."""

from __future__ import annotations

from typing import Any

import pytest

from vldata.schema.boxes import Box
from vldata.tasks import task_class

LEFT, RIGHT = Box(0.0, 0.0, 0.5, 1.0), Box(0.5, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("task", "turn", "boxes", "expected"),
    [
        ("caption", {"caption": "A dog."}, [], (["A dog."], [], [], {"text": "A dog."})),
        (
            "grounded_caption",
            {"caption": "Two dogs."},
            [("dogs", LEFT), ("dogs", RIGHT)],
            (["Two dogs."], [("dogs", LEFT), ("dogs", RIGHT)], [], {"text": "Two dogs."}),
        ),
        ("rec", {"phrase": "the dog"}, [(None, LEFT)], ([], [("the dog", LEFT)], [], {"text": "the dog"})),
        ("ocr", {}, [("STOP", LEFT), (None, RIGHT)], ([], [], [("STOP", LEFT)], {})),
        (
            "vqa_open",
            {"question": "What?", "answer": "A dog.", "answers": ["A dog.", "dogs"]},
            [],
            ([], [], [], {"question": "What?", "answer": "A dog.", "text": "What?"}),
        ),
        (
            "vqa_mc",
            {"question": "What?", "choices": ["a cat", "a dog"], "answer": 1, "context": None},
            [],
            ([], [], [], {"question": "What?", "answer": "a dog", "text": "What?"}),
        ),
        ("true_false", {"statement": "It barks.", "answer": True}, [], ([], [], [], {"text": "It barks."})),
        (
            "instruction",
            {"instruction": "Name it.", "response": "Rex.", "system": None},
            [],
            ([], [], [], {"question": "Name it.", "answer": "Rex.", "text": "Name it."}),
        ),
    ],
)
def test_what_a_turn_says(task: str, turn: dict[str, Any], boxes: list[Any], expected: tuple[Any, ...]) -> None:
    assert tuple(task_class(task)().facts(turn, boxes)) == expected
