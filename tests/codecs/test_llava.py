"""LLaVA-1.5's decimals, to the letter, and real texts in the same form."""

from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vldata.codecs.llava import Llava
from vldata.errors import CodecError
from vldata.schema.boxes import Box


def test_x_stands_before_y_with_two_decimals_and_a_space_behind_the_comma() -> None:
    assert Llava().encode([Box(0.271, 0.039, 0.46, 0.812)]) == "[0.27, 0.04, 0.46, 0.81]"
    assert Llava().decode("[0.27, 0.04, 0.46, 0.81]") == [Box(0.27, 0.04, 0.46, 0.81)]


def test_a_phrase_stands_before_its_box() -> None:
    assert Llava().encode_phrase("the cat", [Box(0.1, 0.2, 0.3, 0.4)]) == "the cat [0.10, 0.20, 0.30, 0.40]"


@given(st.floats(0, 1))
def test_a_coordinate_moves_by_half_a_hundredth_at_most(c: float) -> None:
    assert abs(Llava().decode(Llava().encode([Box(0, c, 1, 1)]))[0].y0 - c) <= 0.005 + 1e-12


def test_published_grounded_answers_are_read_but_for_the_three_that_leave_the_image(shared_data: Path) -> None:
    lines = (shared_data / "ferret_gpt4" / "ground_conv" / "answer.jsonl").read_text(encoding="utf-8").splitlines()
    read, refused = 0, []
    for text in (json.loads(line)["text"] for line in lines):
        try:
            read += len(Llava().decode(text))
        except CodecError as error:
            refused.append(error.problem)
    assert refused.count("no box in it") == sum("[" not in line for line in lines)
    assert sum(problem.endswith("lies outside the image") for problem in refused) == 3
    assert read == 241
