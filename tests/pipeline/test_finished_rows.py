"""Chosen samples as finished rows, written out literally."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.pipeline.tables import box, leaf, words
from vldata.pipeline.finished_rows import Piece, RenderSettings, render_leaf
from vldata.prompts.models import Templates
from vldata.prompts.template import load
from vldata.schema.rows import arrow_schema
from vldata.store.blocks import write_stream
from vldata.tasks import TASKS, task_class

IMAGE = {"type": "image", "text": None}


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def said(role: str, *content: Mapping[str, Any] | str) -> dict[str, Any]:
    return {"role": role, "content": [text(part) if isinstance(part, str) else part for part in content]}


def rendered(one: RenderSettings, *samples: Mapping[str, Any]) -> Piece:
    piece = render_leaf(*leaf(*samples, task=one.task.name), one)
    assert isinstance(piece, Piece)
    return piece


def failed(one: RenderSettings, *samples: Mapping[str, Any]) -> dict[str, str]:
    rows = render_leaf(*leaf(*samples, task=one.task.name), one)
    assert isinstance(rows, dict)
    return rows


def messages(one: RenderSettings, *samples: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    return rendered(one, *samples).table.column("messages").to_pylist()


def test_a_finished_row(tmp_path: Path) -> None:
    sample = {
        "turns": [("what is it?", "a cat"), {"question": "a red one?", "answer": "yes", "generator": "a2b4"}],
        "split": "val",
        "image_bytes": 1234,
    }
    piece = rendered(words(tmp_path), sample)
    turn = {"template": "vqa_open.jinja@4439f281", "variant": "user", "boxes": [], "weight": 1.0}
    assert piece.table.to_pylist() == [
        {
            "id": "src/0.0",
            "images": [{"bytes": None, "path": "1.jpg"}],
            "image_sizes": [{"width": 200, "height": 100}],
            "messages": [
                said("user", IMAGE, "what is it?"),
                said("assistant", "a cat"),
                said("user", "a red one?"),
                said("assistant", "yes"),
            ],
            "source": "src",
            "task": "vqa_open",
            "split": "val",
            "turns": [
                {"row": "0.0", "synthetic": None, **turn},
                {"row": "0.1", "synthetic": "a2b4", **turn},
            ],
            "num_text_chars": 11 + 5 + 10 + 3,
        }
    ]
    assert piece.table.schema.equals(arrow_schema(), check_metadata=True)
    assert piece.hashes == ["#1.jpg"]
    counts = (piece.num_images, piece.num_turns, piece.answer_chars, piece.text_chars, piece.image_bytes)
    assert counts == (1, 2, 8, 29, 1234)


def test_what_is_counted_is_of_all_samples(tmp_path: Path) -> None:
    piece = rendered(
        words(tmp_path),
        {"turns": [("q", "one")], "images": ["1.jpg", "2.jpg"], "hashes": ["x", None]},
        {"turns": [("qq", "three"), ("q", "1")], "images": []},
        {"turns": [("q", "four")], "images": ["1.jpg"], "hashes": ["x"]},
    )
    assert piece.hashes == ["x", None, "x"]
    counts = (piece.num_images, piece.num_turns, piece.answer_chars, piece.text_chars, piece.image_bytes)
    assert counts == (3, 4, 13, 18, 30)
    assert piece.table.column("num_text_chars").to_pylist() == [4, 9, 5]
    assert piece.table.column("id").to_pylist() == ["src/0.0", "src/1.0", "src/2.0"]


TWO = {"turns": [("which one?", "left"), ("sure?", "yes")], "images": ["1.jpg", "2.jpg"]}
NONE = {"turns": [("who?", "me")], "images": []}


@pytest.mark.parametrize(
    ("position", "first"), [("before", [IMAGE, IMAGE, "which one?"]), ("after", ["which one?", IMAGE, IMAGE])]
)
def test_images_stand_in_the_first_question_before_its_text_or_after(
    tmp_path: Path, position: str, first: list[Any]
) -> None:
    assert messages(words(tmp_path, image_position=position), NONE, TWO, NONE) == [
        [said("user", "who?"), said("assistant", "me")],
        [said("user", *first), said("assistant", "left"), said("user", "sure?"), said("assistant", "yes")],
        [said("user", "who?"), said("assistant", "me")],
    ]


def test_a_random_place_is_each_samples_own(tmp_path: Path) -> None:
    def images_first(**options: Any) -> str:
        one = words(tmp_path, image_position="random", **options)
        found = messages(one, *[{"turns": [("q", "a")]}] * 12)
        return "".join("b" if first["content"][0] == IMAGE else "a" for first, _ in found)

    assert images_first() == "ababbbbabbab"
    assert images_first(seed=8) != images_first() != images_first(source="other")


@pytest.mark.parametrize("position", ["before", "after", "random"])
def test_marks_in_the_text_say_where_each_image_stands(tmp_path: Path, position: str) -> None:
    marked = {"turns": [("is <image> larger\nthan <image> ?", "no"), ("why?", "look")], "images": ["1.jpg", "2.jpg"]}
    later = {"turns": [("look at <image>", "yes"), ("<image>and at this", "<image>")], "images": ["1.jpg", "2.jpg"]}
    alone = {"turns": [("<image>", "a cat")]}
    one = words(tmp_path, "instruction", image_position=position)
    assert messages(one, marked, later, alone) == [
        [
            said("user", "is", IMAGE, "larger\nthan", IMAGE, "?"),
            said("assistant", "no"),
            said("user", "why?"),
            said("assistant", "look"),
        ],
        [
            said("user", "look at", IMAGE),
            said("assistant", "yes"),
            said("user", IMAGE, "and at this"),
            said("assistant", "<image>"),
        ],
        [said("user", IMAGE), said("assistant", "a cat")],
    ]


def test_the_characters_of_marks_do_not_count(tmp_path: Path) -> None:
    piece = rendered(words(tmp_path, "instruction"), {"turns": [("see <image> there", "yes")]})
    assert piece.table.column("num_text_chars").to_pylist() == [3 + 5 + 3]


def test_samples_whose_marks_and_images_differ_in_number_fail_and_only_these(tmp_path: Path) -> None:
    rows = failed(
        words(tmp_path, "instruction"),
        {"turns": [("<image> and <image>", "no")]},
        {"turns": [("<image>", "fine")]},
        {"turns": [("no mark", "fine")], "images": ["1.jpg", "2.jpg"]},
        {"turns": [("first <image>", "a"), ("none", "b"), ("then <image>", "c")], "images": ["1", "2", "3"]},
        {"turns": [("<image>", "no")], "images": []},
    )
    assert rows == {
        "0.0": "image_count_mismatch: 2 <image> in the text, 1 images",
        "3.0": "image_count_mismatch: 2 <image> in the text, 3 images",
        "3.2": "image_count_mismatch: 2 <image> in the text, 3 images",
        "4.0": "image_count_mismatch: 1 <image> in the text, 0 images",
    }


@pytest.mark.parametrize(("position", "first"), [("before", [IMAGE, "what?"]), ("after", ["what?", IMAGE])])
def test_a_mark_is_a_word_where_the_task_places_no_images(tmp_path: Path, position: str, first: list[Any]) -> None:
    asked = "Is <image>\n closed by </image>, or by <image> ?"
    one = words(tmp_path, image_position=position)
    sample = {"turns": [("what?", "that"), (asked, "<image> is"), ("<image>", "<image>")]}
    second = {"turns": [(asked, "no")], "images": []}
    assert messages(one, sample, second) == [
        [
            said("user", *first),
            said("assistant", "that"),
            said("user", asked),
            said("assistant", "<image> is"),
            said("user", "<image>"),
            said("assistant", "<image>"),
        ],
        [said("user", asked), said("assistant", "no")],
    ]


def test_a_template_may_place_the_image_around_words_that_look_like_it(tmp_path: Path) -> None:
    shaped = (
        "{% block system %}See <image>.{% endblock %}{% block user %}Look:\n<image>\n{{ question }}{% endblock %}"
        "{% block assistant %}<image> {{ answer }}{% endblock %}"
    )
    one = words(tmp_path, text=shaped, image_position="after")
    assert messages(one, {"turns": [("the <image> tag?", "yes")]}) == [
        [
            said("system", "See <image>."),
            said("user", "Look:", IMAGE, "the <image> tag?"),
            said("assistant", "<image> yes"),
        ]
    ]


@pytest.mark.parametrize("per", ["instruction", "dataset_name"])
def test_places_go_through_the_sentence_around_a_conversation(tmp_path: Path, per: Any) -> None:
    one = words(tmp_path, "instruction", templates=Templates(per=per))
    wrapped = load("instruction", one.task.template_names(), Templates(per=per))
    [[user, _]] = messages(replace(one, template=wrapped), {"turns": [("see <image> there", "yes <image>")]})
    assert user["content"][1] == IMAGE
    assert all("<image>" not in part["text"] for part in user["content"] if part != IMAGE)


def test_every_text_of_every_task_keeps_its_marks(tmp_path: Path) -> None:
    there = [box(0.1, 0.1, 0.5, 0.6, phrase="the <image> tag")]
    placed = {"boxes": there, "fractions": there}
    said_of: dict[str, dict[str, Any]] = {
        "caption": {"caption": "the <image> tag"},
        "rec": {"phrase": "the <image> tag", **placed},
        "reg": {"phrase": "the <image> tag", **placed},
        "ocr": placed,
        "grounded_caption": {"caption": "the <image> tag", **placed},
        "true_false": {"statement": "The text is the <image> tag.", "answer": True},
        "vqa_open": {"question": "the <image> tag?", "answer": "the <image> tag"},
        "vqa_mc": {
            "question": "which?",
            "choices": ["the <image> tag", "the <image> tag."],
            "answer": 0,
            "context": None,
        },
    }
    assert {*said_of, "instruction", "text_instruction"} == {*TASKS}
    for name, turn in said_of.items():
        task = task_class(name)()
        bundled = load(name, task.template_names(), Templates())
        one = replace(words(tmp_path), task=task, template=bundled)
        [found] = messages(one, {"turns": [turn]})
        assert sum(part == IMAGE for message in found for part in message["content"]) == 1
        written = "".join(part["text"] or "" for message in found for part in message["content"])
        assert "the <image> tag" in written, name


def test_a_system_message_stands_first_and_is_the_first_turns(tmp_path: Path) -> None:
    def turn(instruction: str, response: str, system: str | None = None) -> dict[str, str | None]:
        return {"instruction": instruction, "response": response, "system": system}

    one = words(tmp_path, "instruction")
    several = {"turns": [turn("hello", "hi", "be kind"), turn("bye", "see you", "be rude")]}
    without = {"turns": [turn("hello", "hi"), turn("bye", "see you", "be rude")]}
    last = {"turns": [turn("x", "y", "sys")], "images": []}
    plain = [said("user", IMAGE, "hello"), said("assistant", "hi"), said("user", "bye"), said("assistant", "see you")]
    assert messages(one, without, several, last) == [
        plain,
        [said("system", "be kind"), *plain],
        [said("system", "sys"), said("user", "x"), said("assistant", "y")],
    ]
    assert rendered(one, without, several, last).table.column("num_text_chars").to_pylist() == [17, 24, 5]


def test_a_system_message_and_marks_in_the_same_leaf(tmp_path: Path) -> None:
    first = {"instruction": "see <image> ?", "response": "yes", "system": "sys"}
    assert messages(words(tmp_path, "instruction"), {"turns": [first]}) == [
        [said("system", "sys"), said("user", "see", IMAGE, "?"), said("assistant", "yes")]
    ]


def test_an_image_may_be_all_that_the_user_says_once(tmp_path: Path) -> None:
    one = words(tmp_path)
    assert messages(one, {"turns": [("", "a cat")]}) == [[said("user", IMAGE), said("assistant", "a cat")]]
    rows = failed(one, {"turns": [("q", "a"), ("", "b"), ("q", " ")]}, {"turns": [("q", "")]}, {"turns": [("q", "a")]})
    assert rows == {
        "0.1": "empty_message: the user's text",
        "0.2": "empty_message: the assistant's text",
        "1.0": "empty_message: the assistant's text",
    }


def test_a_row_on_which_the_template_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    broken = "{% block user %}{{ question }}{% endblock %}{% block assistant %}{{ answers[1] }}{% endblock %}"
    rows = failed(
        words(tmp_path, text=broken),
        {"turns": [{"question": "q", "answers": ["a", "b"]}]},
        {"turns": [{"question": "q", "answers": ["a"]}, {"question": "q", "answers": ["a", "b"]}]},
    )
    assert list(rows) == ["1.0"]
    assert rows["1.0"].startswith("template_error: ")


def phrase(**more: Any) -> dict[str, Any]:
    """A phrase whose box lies from (20, 10) to (100, 50) on an image of 200 x 100."""
    a, b = box(20.0, 10.0, 100.0, 50.0), box(0.1, 0.1, 0.5, 0.5)
    return {"turns": [{"phrase": "a cat", "boxes": [a], "fractions": [b]}], **more}


def test_boxes_are_words_in_fractions_and_data_in_pixels(tmp_path: Path) -> None:
    (row,) = rendered(words(tmp_path, "rec"), phrase()).table.to_pylist()
    assert row["messages"][1] == said("assistant", "[0.10, 0.10, 0.50, 0.50]")
    assert row["turns"][0]["boxes"] == [box(20.0, 10.0, 100.0, 50.0)]
    (row,) = rendered(words(tmp_path, "rec", box_format="paligemma"), phrase()).table.to_pylist()
    assert row["messages"][1] == said("assistant", "<loc0102><loc0102><loc0512><loc0512>")


@pytest.mark.parametrize(
    ("max_side_px", "size", "stored"),
    [(50, (50, 25), (5.0, 2.5, 25.0, 12.5)), (200, (200, 100), (20, 10, 100, 50)), (1, (1, 1), (0.1, 0.1, 0.5, 0.5))],
)
def test_sizes_and_boxes_are_those_of_the_stored_image(
    tmp_path: Path, max_side_px: int, size: tuple[int, int], stored: tuple[float, float, float, float]
) -> None:
    (row,) = rendered(words(tmp_path, "rec", max_side_px=max_side_px), phrase()).table.to_pylist()
    assert row["image_sizes"] == [{"width": size[0], "height": size[1]}]
    assert row["turns"][0]["boxes"] == [box(*stored)]
    assert row["messages"][1] == said("assistant", "[0.10, 0.10, 0.50, 0.50]")


def test_a_box_is_scaled_like_the_image_that_it_lies_on(tmp_path: Path) -> None:
    boxes = [box(20.0, 10.0, 100.0, 50.0, image=1, phrase="it"), box(1.0, 2.0, 3.0, 4.0, image=0)]
    sample = phrase(images=["small", "large"], sizes=[{"width": 10, "height": 10}, {"width": 200, "height": 100}])
    sample["turns"][0]["boxes"] = boxes
    (row,) = rendered(words(tmp_path, "rec", max_side_px=100), sample).table.to_pylist()
    assert row["image_sizes"] == [{"width": 10, "height": 10}, {"width": 100, "height": 50}]
    assert row["turns"][0]["boxes"] == [box(10.0, 5.0, 50.0, 25.0, image=1, phrase="it"), boxes[1]]


@pytest.mark.parametrize("max_side_px", [None, 50])
def test_a_size_that_nobody_knows_stays_unknown(tmp_path: Path, max_side_px: int | None) -> None:
    sample = {"turns": [("q", "a")], "images": ["1", "2"], "sizes": [None, {"width": 40, "height": 30}]}
    (row,) = rendered(words(tmp_path, max_side_px=max_side_px), sample).table.to_pylist()
    assert row["image_sizes"] == [None, {"width": 40, "height": 30}]


def test_boxes_may_be_given_in_the_square_that_the_image_is_padded_to(tmp_path: Path) -> None:
    wide, tall = phrase(), phrase(sizes=[{"width": 100, "height": 200}])
    table = rendered(words(tmp_path, "rec", padded=True), wide, tall).table
    answers = [row[1]["content"][0]["text"] for row in table.column("messages").to_pylist()]
    assert answers == ["[0.10, 0.30, 0.50, 0.50]", "[0.30, 0.10, 0.50, 0.50]"]
    assert table.to_pylist()[0]["turns"][0]["boxes"] == [box(20.0, 10.0, 100.0, 50.0)]


def test_a_padded_box_takes_the_size_of_its_own_image(tmp_path: Path) -> None:
    sample = phrase(images=["square", "wide"], sizes=[{"width": 50, "height": 50}, {"width": 200, "height": 100}])
    sample["turns"][0]["fractions"] = [box(0.1, 0.1, 0.5, 0.5, image=1)]
    (row,) = messages(words(tmp_path, "rec", padded=True), sample)
    assert row[1] == said("assistant", "[0.10, 0.30, 0.50, 0.50]")


def test_paths_are_put_below_the_image_root_when_they_are_what_is_stored(tmp_path: Path) -> None:
    (row,) = rendered(words(tmp_path, image_prefix="/data/"), {"turns": [("q", "a")]}).table.to_pylist()
    assert row["images"] == [{"bytes": None, "path": "/data/1.jpg"}]


def test_lineage_says_which_wording_a_turn_has(tmp_path: Path) -> None:
    several = "{% block user %}{{ question }}{% endblock %}{% block user_2 %}Say: {{ question }}{% endblock %}"
    several += "{% block assistant %}{{ answer }}{% endblock %}"
    one = words(tmp_path, text=several, templates=Templates(prompts="many"))
    (row,) = rendered(one, {"turns": [("q", "a")] * 8}).table.to_pylist()
    questions = [m["content"][-1]["text"] for m in row["messages"][0::2]]
    variants = [turn["variant"] for turn in row["turns"]]
    assert variants == ["user_2", "user", "user", "user", "user_2", "user", "user", "user"]
    assert questions == ["q" if variant == "user" else "Say: q" for variant in variants]
    assert {turn["template"] for turn in row["turns"]} == {one.template.lineage}


def test_a_question_without_an_image_never_speaks_of_one(tmp_path: Path) -> None:
    shaped = (
        "{% block user %}{{ question }}{% endblock %}{% block user_2 %}Look at the image. {{ question }}{% endblock %}"
        "{% block assistant %}{{ answer }}{% endblock %}"
    )
    one = words(tmp_path, text=shaped, templates=Templates(prompts="many"))
    found = messages(one, *[{"turns": [("q", "a")], "images": images} for images in ([], ["1.jpg"]) for _ in range(8)])
    assert found[:8] == [[said("user", "q"), said("assistant", "a")]] * 8
    assert said("user", IMAGE, "Look at the image. q") in [first for first, _ in found[8:]]


def test_a_sample_is_the_same_row_in_whatever_leaf_it_stands(tmp_path: Path) -> None:
    def turn(n: int, **more: Any) -> dict[str, Any]:
        return {"instruction": f"question {n}", "response": "a" * n, "system": None, **more}

    whole = leaf(
        {"turns": [turn(1)], "images": []},
        {"turns": [turn(2, system="be kind"), turn(3)], "images": ["1.jpg", "2.jpg"]},
        {"turns": [turn(4, instruction="see <image> ?")], "split": "val"},
        {"turns": [turn(5)], "images": ["3.jpg"], "sizes": [None]},
        task="instruction",
    )
    one = replace(words(tmp_path, "instruction"), image_position="random", max_side_px=50)

    def part(low: int, high: int) -> Piece:
        samples, turns = whole
        piece = render_leaf(samples[low:high], turns.filter(pl.col("at").is_between(low, high, "left")), one)
        assert isinstance(piece, Piece)
        return piece

    def stream(piece: Piece) -> bytes:
        sink = BytesIO()
        write_stream(piece.table, sink)
        return sink.getvalue()

    together = part(0, 4).table.to_pylist()
    assert [row for at in range(4) for row in part(at, at + 1).table.to_pylist()] == together
    assert part(1, 3).table.to_pylist() == together[1:3]
    for low, high in ((0, 4), (1, 3), (3, 4)):  # whose bytes name it, so they must not depend on the table around it
        samples, turns = (table.clone().rechunk() for table in whole)
        apart = samples[low:high].to_dicts(), turns.filter(pl.col("at").is_between(low, high, "left")).to_dicts()
        fresh = render_leaf(*(pl.DataFrame(a, schema=t.schema) for a, t in zip(apart, whole, strict=True)), one)
        assert isinstance(fresh, Piece)
        assert stream(fresh) == stream(part(low, high))


def test_the_weight_of_a_turn_is_that_of_its_answer_s_loss(tmp_path: Path) -> None:
    masked = {"question": "What is it?", "answer": "a dog", "weight": 0.0}
    piece = rendered(words(tmp_path), {"turns": [masked, ("Where?", "here")]})
    assert [turn["weight"] for turn in piece.table.to_pylist()[0]["turns"]] == [0.0, 1.0]
