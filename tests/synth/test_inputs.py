"""What is known about a sample, as text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.synth.writing import write_links
from vldata.codecs import codec
from vldata.schema.boxes import Box
from vldata.synth.exchange import Link, linked_regions, read_links, with_boxes
from vldata.synth.inputs import (
    Inputs,
    Reading,
    Region,
    Section,
    coordinate,
    inputs_text,
    read_inputs,
)

CAPTIONS_AND_BOXES = (Section("captions"), Section("boxes"))
SEEN = Inputs(
    "1", ("A cat sits.", "One cat."), (Region("cat", 0.24, 0.5, 1, 0.9999), Region("potted plant", 0, 0.0625, 0.5, 1))
)


def test_the_layout_is_llavas_to_the_letter() -> None:
    assert inputs_text(SEEN, CAPTIONS_AND_BOXES) == (
        "A cat sits.\nOne cat.\n\ncat: [0.24, 0.5, 1.0, 1.0]\npotted plant: [0.0, 0.062, 0.5, 1.0]"
    )
    assert inputs_text(SEEN, [Section("captions")]) == "A cat sits.\nOne cat."


def test_llavas_own_few_shots_are_read_and_written_back_unchanged(shared_data: Path) -> None:
    files = sorted((shared_data / "llava/playground/data/prompts").glob("*/*_caps.txt"))
    assert len(files) == 8
    for file in files:
        text = file.read_text().strip("\n")
        assert inputs_text(read_inputs(text, CAPTIONS_AND_BOXES), CAPTIONS_AND_BOXES) == text


def test_three_decimals_at_most_and_one_at_least() -> None:
    assert [coordinate(value) for value in (0, 1, 0.5, 0.24, 0.12345, -0.0001)] == [
        "0.0",
        "1.0",
        "0.5",
        "0.24",
        "0.123",
        "0.0",
    ]


def test_a_caption_is_one_line_whatever_is_in_it() -> None:
    assert inputs_text(Inputs("1", ("two\n\nlines ", " \t ")), CAPTIONS_AND_BOXES) == "two lines"


def test_numbered_boxes_count_from_one() -> None:
    assert inputs_text(SEEN, [Section("numbered_boxes", "Things:")]).split("\n")[:2] == [
        "Things:",
        "1. cat: [0.24, 0.5, 1.0, 1.0]",
    ]


def test_a_section_with_nothing_to_say_is_left_out_with_its_title() -> None:
    assert (
        inputs_text(Inputs("1", ("x",)), [Section("ocr", "Text:"), Section("captions"), Section("name", "N:")]) == "x"
    )


def test_readings_stand_under_the_name_of_their_tool() -> None:
    readings = (Reading("EXIT", Box(0, 0, 0.5, 0.25), "one"), Reading("EX1T", None, "two"))
    text = inputs_text(Inputs("1", ocr=readings), [Section("ocr", "Read:")])
    assert text == "Read:\n[one]\nEXIT: [0.0, 0.0, 0.5, 0.25]\n[two]\nEX1T"
    assert read_inputs(text, [Section("ocr", "Read:")]).ocr == readings


def test_what_a_sample_has() -> None:
    inputs = Inputs("1", ("a",), fields={"question": "what?", "answer": "  "})
    assert [need for need in ("captions", "boxes", "ocr", "image", "question", "answer") if inputs.has(need)] == [
        "captions",
        "question",
    ]


words = st.text("abcdefgh ,'é", min_size=1).map(lambda text: " ".join(text.split())).filter(bool)
fractions = st.integers(0, 1000).map(lambda n: n / 1000)
regions = st.builds(Region, words, fractions, fractions, fractions, fractions)
boxes = st.builds(Box, fractions, fractions, fractions, fractions)
readings = st.builds(Reading, words, st.none() | boxes, st.sampled_from(["", "one", "two"]))
LAYOUT = [Section("captions"), Section("boxes"), Section("ocr", "READ"), Section("question", "ASKED")]


@given(
    st.lists(words, min_size=1),
    st.lists(regions),
    st.lists(readings).map(lambda some: sorted(some, key=lambda reading: reading.tool != "")),
    words,
)
def test_what_is_written_is_read_back(
    captions: list[str], things: list[Region], ocr: list[Reading], question: str
) -> None:
    inputs = Inputs("r", tuple(captions), tuple(things), tuple(ocr), fields={"question": question})
    assert read_inputs(inputs_text(inputs, LAYOUT), LAYOUT, row="r") == inputs


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    found = read_inputs(text, LAYOUT)
    assert all(caption in text for caption in found.captions)
    assert all(region.phrase in text for region in found.boxes)


plain = st.text(st.characters(exclude_characters="[]", codec="utf-8"), min_size=1)


@given(st.lists(st.tuples(plain, plain, st.lists(st.integers(1, 99), min_size=1)), max_size=4), plain)
def test_links_are_read_as_they_were_written(parts: list[tuple[str, str, list[int]]], end: str) -> None:
    text, links = "", []
    for before, phrase, numbers in parts:
        links.append(Link(len(text + before), phrase, tuple(numbers)))
        text += before + phrase
    assert read_links(write_links(text + end, links)) == (text + end, tuple(links))


def test_a_linked_phrase_gets_its_boxes_in_the_codecs_form() -> None:
    text, links = read_links("[Both](1, 2) are near [a cat](1).")
    assert text == "Both are near a cat."
    assert [tuple(link) for link in links] == [(0, "Both", (1, 2)), (14, "a cat", (1,))]
    llava = codec("llava")
    pair = llava.encode([SEEN.boxes[0].box, SEEN.boxes[1].box])
    assert with_boxes(text, links, SEEN, llava) == f"Both {pair} are near a cat {llava.encode([SEEN.boxes[0].box])}."
    assert [region.phrase for region in linked_regions(links, SEEN)] == ["Both", "Both", "a cat"]


def test_a_web_link_is_no_link_to_a_box() -> None:
    assert read_links("see [here](https://example.org)") == ("see [here](https://example.org)", ())
