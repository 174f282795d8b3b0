"""Marks of images as many corpora write them: a place where one image is there for it, else a reason."""

from __future__ import annotations

import polars as pl
import pytest

from vldata.sources.reading.marks import with_image_places, with_remark_of_marks


def placed(question: str, images: list[str], *, answer: str = "x", system: str | None = None) -> tuple[str, str | None]:
    turns = pl.DataFrame(
        {"thread": ["t"], "position": [0], "images": [images], "instruction": [question], "response": [answer],
         "system": [system], "problem": [None], "detail": [None]},
        schema_overrides={"images": pl.List(pl.String), "system": pl.String, "problem": pl.String, "detail": pl.String},
    )  # fmt: skip
    out = with_image_places(turns)
    return out["instruction"][0], out["problem"][0]


MARKS = [
    "<|vision_start|><|image_pad|><|vision_end|>", "<|vision_start|><|image_pad|><|image_pad|><|vision_end|>",
    "<|image_pad|>", "<ImageHere>", "<Image><ImageHere></Image>", "<Img><ImageHere></Img>", "<Image>", "<IMAGE>",
    "<image_1>", "<image1>", "<image 1>", "<image_0>", "<|image_1|>", "<|image|>", "<img>a.jpg</img>",
    "<image>./</image>",
    "<img><IMG_CONTEXT></img>", "<im_start><image><im_end>", "<start_of_image>", "<image_placeholder>",
    "<img></img>", "<img_1>", "<|img|>", "<image_token>", "<MM_IMG>", "<image_start><image><image_end>",
    "<fake_token_around_image><image><fake_token_around_image>",
]  # fmt: skip


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_means_the_place_of_the_row_s_image(mark: str) -> None:
    assert placed(f"Look: {mark} What is it?", ["a.jpg"]) == ("Look: <image> What is it?", None)
    assert placed(f"{mark}\nWhat is it?", ["a.jpg"]) == ("What is it?", None)


@pytest.mark.parametrize("mark", MARKS)
def test_a_mark_without_an_image_is_refused(mark: str) -> None:
    assert placed(f"{mark} What is it?", [])[1] in ("image_mark_in_text", "image_count_mismatch")
    assert placed(f"{mark} and {mark}?", ["a.jpg"])[1] == "image_mark_in_text"
    assert placed("What is it?", ["a.jpg"], answer=f"See {mark}.")[1] == "image_mark_in_text"
    assert placed("What is it?", ["a.jpg"], system=f"See {mark}.")[1] == "image_mark_in_text"


@pytest.mark.parametrize(
    "mark", ["<video>", "<audio>", "<bbox>", "<ref-object>", "<|video_pad|>", "<|AUDIO|>", "<|box_start|>", "<video_1>"]
)
@pytest.mark.parametrize("images", [[], ["a.jpg"]])
def test_a_mark_of_something_else_is_refused(mark: str, images: list[str]) -> None:
    assert placed(f"{mark}\nDescribe.", images)[1] == "image_mark_in_text"
    assert placed("Describe.", images, answer=mark)[1] == "image_mark_in_text"


def test_numbered_marks_are_places_in_their_order_alone() -> None:
    two = ["a.jpg", "b.jpg"]
    assert placed("<image_1> or <image_2>?", two) == ("<image> or <image>?", None)
    assert placed("<image_2> or <image_1>?", two)[1] == "image_mark_in_text"
    assert placed("<image_1> or <image_1>?", two)[1] == "image_mark_in_text"
    assert placed("<image_1> alone?", two)[1] == "image_mark_in_text"


def test_a_path_in_a_text_must_be_the_row_s_image() -> None:
    assert placed("<img>images/a.jpg</img> What?", ["images/a.jpg"]) == ("What?", None)
    assert placed("<img>b.jpg</img> What?", ["a.jpg"])[1] == "image_mark_in_text"


def test_marks_of_two_kinds_are_counted_together() -> None:
    assert placed("<image> and <ImageHere>?", ["a.jpg", "b.jpg"]) == ("<image> and <image>?", None)
    assert placed("<image> and <ImageHere>?", ["a.jpg"])[1] == "image_mark_in_text"


@pytest.mark.parametrize(
    "text", ['Write <img src="a.jpg"> in HTML.', "What does the <img> tag do?", "a < b | c > d", "<imagery>", "<|end|>"]
)
def test_words_that_are_no_marks_stay(text: str) -> None:
    assert placed(text, []) == placed(text, ["a.jpg"]) == (text, None)


@pytest.mark.parametrize("mark", ["<img>", "<IMG>", "[IMG]", "[image]", "<image/>", "&lt;image&gt;"])
def test_what_may_be_a_mark_is_one_unless_the_images_have_others(mark: str) -> None:
    assert placed(f"{mark}\nWhat is it?", ["a.jpg"]) == ("What is it?", None)
    assert placed(f"{mark} What is it?", []) == (f"{mark} What is it?", None)
    assert placed("What is it?", ["a.jpg"], answer=mark) == ("What is it?", None)
    if mark != "<img>":  # in the middle it is HTML's
        assert placed(f"{mark} or {mark}?", ["a.jpg"])[1] == "image_mark_in_text"
    assert placed(f"<image>\nWhat is it that stands behind {mark}", ["a.jpg"])[1] is None


@pytest.mark.parametrize("mark", ["<|endofchunk|>", "<image_start>", "<|imgpad|>x<|img_end|>", "<vision_start_token>"])
def test_half_a_mark_is_refused(mark: str) -> None:
    assert placed(f"<image>{mark} What is it?", ["a.jpg"])[1] == "image_mark_in_text"


def test_marks_in_tasks_without_places_are_remarked() -> None:
    words = ["Is <image 1> left of <image 2>?", "Is it red?", "<image 3>?"]
    problems = pl.Series([None, None, "no_box"], dtype=pl.String)
    turns = pl.DataFrame({"question": words, "problem": problems})
    first, *others = with_remark_of_marks(turns, "vqa_open")["remark"]
    assert "marks such as <image 1> in its words are text" in first
    assert others == [None, None]
    options = pl.Series([["<image 1>", "<image 2>"], ["x", None], ["x", "y"]])
    first, *others = with_remark_of_marks(turns.with_columns(question=pl.lit("?"), choices=options), "vqa_mc")["remark"]
    assert "marks such as <image 1> in its words are text" in first
    assert others == [None, None]


def test_a_lone_mark_is_a_question() -> None:
    assert placed("<image>", ["a.jpg"]) == ("<image>", None)
    assert placed("<ImageHere>\n", ["a.jpg"])[1] is None


def test_a_conversation_is_refused_as_a_whole() -> None:
    turns = pl.DataFrame(
        {"thread": ["t", "t", "u"], "position": [0, 1, 0], "images": [["a.jpg"]] * 3, "response": ["x"] * 3,
         "instruction": ["<image> What?", "And <video>?", "<ImageHere> What?"], "system": [None] * 3,
         "problem": [None] * 3, "detail": [None] * 3},
        schema_overrides={"system": pl.String, "problem": pl.String, "detail": pl.String},
    )  # fmt: skip
    out = with_image_places(turns)
    assert out["problem"].to_list() == ["image_mark_in_text", "image_mark_in_text", None]
    assert out["instruction"][2] == "What?"
    assert "<video>" in out["detail"][0]
