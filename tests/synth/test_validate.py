"""Checks of what a model replied."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.synth.writing import longest_shared_run
from vldata.schema.reasons import GENERATED
from vldata.synth.diversity import OPENING, QUESTION
from vldata.synth.exchange import Exchange, Link
from vldata.synth.inputs import Inputs, Region
from vldata.synth.kinds import load_kind
from vldata.synth.replies import REASONS
from vldata.synth.review import OUTDATED, REJECTED
from vldata.synth.validate import VALIDATORS, Answered, Comparison, Exchanges, Finding, SameAnswers, across, text_of
from vldata.synth.validate.base import Lexicon, words_of
from vldata.synth.validate.grounding import plurals

KIND = load_kind("llava.conversation")
NOTHING = Inputs("1")
YARD = Inputs(
    "1", ("A dog beside two parked cars.",), (Region("dog", 0.1, 0.2, 0.374, 0.4), *[Region("car", 0, 0, 1, 1)] * 2)
)
LONG = "The quick brown fox jumps over the lazy dog while a small bird watches it from a high branch"


def reply(text: str = "x", finish: Any = "stop", **message: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}]}


def find(name: str, *answers: str, inputs: Inputs = NOTHING, question: str = "What?", **options: Any) -> list[Finding]:
    exchanges = Exchanges(Exchange(question, answer) for answer in answers)
    return VALIDATORS[name].model_validate(options).check(exchanges, inputs, reply("\n".join(answers)), KIND)


def reasons(name: str, *answers: str, **options: Any) -> list[str]:
    return [finding.reason for finding in find(name, *answers, **options)]


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", []),
        ("length", ["reply_truncated"]),
        ("content_filter", ["reply_filtered"]),
        ("tool_calls", ["reply_unfinished"]),
        ("max_tokens", ["reply_truncated"]),
        ("SAFETY", ["reply_filtered"]),
        (None, []),
        ("eos", []),
        ("STOP", []),
        ("end_turn", []),
        ({}, ["reply_unfinished"]),
    ],
)
def test_a_reply_must_have_ended_by_itself(finish: Any, expected: list[str]) -> None:
    found = VALIDATORS["finish_reason"]().check((), NOTHING, reply(finish=finish), KIND)
    assert [finding.reason for finding in found] == expected


@pytest.mark.parametrize(
    "text", ["I'm sorry, but no.", "I’m sorry.", "It is red. As an AI language model I …", "I CANNOT see the image."]
)
def test_refusals_are_found(text: str) -> None:
    assert reasons("refusal", "It is red.", text) == ["refusal"]


@pytest.mark.parametrize("text", ["She seems to say: I'm sorry.", "It cannot be seen.", "Unfortunate, is it not?"])
def test_people_in_the_image_may_be_sorry(text: str) -> None:
    assert reasons("refusal", text) == []


def test_a_refusal_that_the_api_reports_counts_without_words() -> None:
    found = VALIDATORS["refusal"]().check((), NOTHING, reply("", refusal="no"), KIND)
    assert found == [Finding("refusal", None, "the API says: 'no'")]


def test_turns_are_counted() -> None:
    assert reasons("turns", "a", least=2) == ["too_few_turns"]
    assert reasons("turns", "a", "b", "c", most=2) == ["too_many_turns"]
    assert reasons("turns", "a", "b", least=2, most=2) == []


def test_lengths_are_in_characters() -> None:
    assert reasons("length", "abc", answer=[4, 9]) == ["answer_too_short"]
    assert reasons("length", "abcd", answer=[4, 4]) == []


@pytest.mark.parametrize(
    ("limits", "expected"), [((1, 4), ["question_too_long"]), ((5, 5), []), ((6, 9), ["question_too_short"])]
)
def test_only_generated_questions_have_a_length(limits: tuple[int, int], expected: list[str]) -> None:
    check = VALIDATORS["length"].model_validate({"question": limits})
    asked = Exchanges([Exchange("What?", "It is.")])
    assert [finding.reason for finding in check.check(asked, NOTHING, reply(), KIND)] == expected
    assert check.check(asked, NOTHING, reply(), load_kind("llava.detail")) == []


@pytest.mark.parametrize("text", ["As the caption says.", "Its Bounding  Boxes overlap.", "The (annotations) tell."])
def test_words_about_the_source_leak(text: str) -> None:
    assert reasons("leak", "Fine.", text) == ["source_leaked"]
    assert find("leak", "Fine.", text)[0].exchange == 1


@pytest.mark.parametrize("text", ["A captioned film.", "It is a box, bounding away.", "It has an inscription."])
def test_parts_of_words_do_not_leak(text: str) -> None:
    assert reasons("leak", text) == []


def test_what_the_image_itself_shows_is_no_leak() -> None:
    assert reasons("leak", "The caption reads: home.", inputs=Inputs("1", ("A film with a caption.",))) == []
    assert reasons("leak", "The caption reads: home.", allow=["Caption"]) == []
    assert reasons("leak", "The element is red.", more=["element"]) == ["source_leaked"]


@pytest.mark.parametrize("text", ["at [0.1, 0.25]", "(0.1, 0.2, 0.3, 1.0)", "in [12, 40, 220, 460]", "ends at 0.374"])
def test_coordinates_are_found(text: str) -> None:
    assert reasons("raw_coordinates", text, inputs=YARD) == ["raw_coordinates"]


@pytest.mark.parametrize("text", ["0.5 litres", "in (2, 3) ways", "costs 0.375 a piece", "1.5 or 2.5", "[1]", "(1)"])
def test_ordinary_numbers_are_no_coordinates(text: str) -> None:
    assert reasons("raw_coordinates", text, inputs=YARD) == []


def test_marks_of_chat_templates_are_found() -> None:
    assert reasons("special_tokens", "a <b> [x]", "Look: <image>") == ["special_token_in_text"]


def test_a_few_shot_said_again_is_found_even_in_the_middle() -> None:
    words = KIND.few_shots[0].answer.split()
    piece = " ".join(words[-14:])
    assert reasons("few_shot_echo", f"Well, as I said, {piece} Good.") == ["few_shot_echo"]
    assert reasons("few_shot_echo", f"Well, {piece}", inputs=Inputs("1", (piece,))) == []
    assert reasons("few_shot_echo", " ".join(words[-8:])) == []


@given(st.integers(0, 200), st.integers(0, 30), st.integers(4, 16))
def test_no_echo_is_overlooked_wherever_it_begins(start: int, before: int, run: int) -> None:
    words = words_of(KIND.system_message).all[start : start + run]
    text = " ".join([*(f"w{n}" for n in range(before)), *words, "end"])
    assert reasons("prompt_echo", text, question="", run=run) == ["prompt_echo"]


def test_instructions_said_again_are_found() -> None:
    assert reasons("prompt_echo", KIND.system_message[:200]) == ["prompt_echo"]


def test_loops_and_repeated_questions_are_found() -> None:
    assert reasons("repetition", "the same thing over again and " * 20, question="") == ["answer_runs_in_circles"]
    assert reasons("repetition", LONG, LONG, question="") == ["answer_repeated"]
    assert reasons("repetition", "Yes.", "Yes.", question="") == []
    assert reasons("repetition", "Yes.", "No.") == ["question_repeated"]


def test_more_than_annotated_is_found_and_fewer_is_not() -> None:
    assert reasons("objects", "There are three red cars.", inputs=YARD) == ["count_above_annotation"]
    assert reasons("objects", "There are 2 cars and one dog.", inputs=YARD) == []
    assert reasons("objects", "One of the cars is red.", inputs=YARD) == []
    assert reasons("objects", "There are three cars.", inputs=YARD, excess=1) == []


def test_objects_that_nobody_annotated_are_found() -> None:
    assert reasons("objects", "A bicycle leans on the wall. The bicycle is old.", inputs=YARD) == [
        "object_not_annotated"
    ]
    assert reasons("objects", "There is no bicycle. If a horse came, it would run.", inputs=YARD) == []
    assert reasons("objects", "A bicycle leans there.", inputs=YARD, question="Is there a bicycle?") == []
    assert reasons("objects", "A bicycle leans there.", inputs=NOTHING) == []


def test_names_of_several_words_are_objects_too() -> None:
    inputs = Inputs("1", (), (Region("dining table", 0, 0, 1, 1),))
    assert reasons("objects", "Four dining tables stand here.", inputs=inputs) == ["count_above_annotation"]


@pytest.mark.parametrize(
    ("one", "many"),
    [("person", "people"), ("bus", "buses"), ("bench", "benches"), ("knife", "knives"), ("boy", "boys")],
)
def test_plurals(one: str, many: str) -> None:
    assert many in plurals(one)


def box_reasons(*links: Link, inputs: Inputs = YARD, **options: Any) -> list[str]:
    exchanges = [Exchange("Q", "a dog", (), links)]
    found = VALIDATORS["box_references"].model_validate(options).check(exchanges, inputs, reply(), KIND)
    return [finding.reason for finding in found]


def test_links_lead_to_boxes_that_exist_and_lie_in_the_image() -> None:
    assert box_reasons(Link(2, "dog", (1, 3))) == []
    assert box_reasons(Link(2, "dog", (0, 4))) == ["box_reference_unknown"] * 2
    outside = Inputs("1", (), (Region("dog", 0.5, 0.2, 1.2, 0.4), Region("dog", 0.5, 0.2, 0.5, 0.4)))
    assert box_reasons(Link(2, "dog", (1, 2)), inputs=outside) == ["box_reference_outside"] * 2


def test_links_are_missed_where_they_are_wanted() -> None:
    assert box_reasons() == ["box_references_missing"]
    assert box_reasons(overall=0) == []
    assert box_reasons(Link(2, "dog", (1,)), answer=2) == ["box_references_missing"]


def test_an_answer_that_is_read_off_stands_in_the_image() -> None:
    screen = Inputs("1", (), (Region("TEXT Departs 14:32", 0, 0, 1, 1),))
    assert reasons("said_in_inputs", "at 14:32", "departs", "yes", "two", inputs=screen) == []
    assert reasons("said_in_inputs", "Paris", inputs=screen) == ["answer_not_in_inputs"]


def test_an_expanded_answer_keeps_the_short_one() -> None:
    asked = Inputs("1", fields={"question": "When?", "answer": "14:32"})
    assert reasons("keeps_answer", "It leaves at 14:32.", inputs=asked) == []
    assert reasons("keeps_answer", "It leaves at 14:33.", inputs=asked) == ["short_answer_lost"]
    assert reasons("keeps_answer", "It is not.", inputs=Inputs("1", fields={"answer": "No"})) == []


def test_an_instruction_that_evolved_is_another_one() -> None:
    old = Inputs("1", fields={"text": "How do I keep bread fresh?"})
    assert reasons("evolved", "x", question="How do I keep bread fresh??", inputs=old) == ["not_evolved"]
    assert reasons("evolved", "x", question="How do I keep bread fresh for four days?", inputs=old) == []
    assert reasons("evolved", "x", question="long " * 200, inputs=old) == ["evolved_too_long"]
    leaked = "Write a harder version of a question about bread."
    assert reasons("evolved", "x", question=leaked, inputs=old) == ["evolution_leaked"]


@pytest.mark.parametrize(
    "broken", [{}, {"choices": []}, {"choices": None}, {"choices": [None]}, {"choices": [{"message": 1}]}]
)
def test_a_reply_of_any_form_can_be_looked_at(broken: dict[str, Any]) -> None:
    assert text_of(broken) == ""
    found = KIND.check((), NOTHING, broken)
    assert [finding.reason for finding in found] == ["reply_unfinished"]


def test_content_in_parts_is_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "x"}, None, {"type": "text", "text": "b"}]
    assert text_of({"choices": [{"message": {"content": parts}}]}) == "ab"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=4), st.text())
def test_no_check_fails_whatever_was_said(pairs: list[tuple[str, str]], caption: str) -> None:
    exchanges = Exchanges(Exchange(*pair) for pair in pairs)
    inputs = Inputs("1", (caption,), (Region(caption, 0, 0, 1, 1),), fields={"answer": caption, "text": caption})
    for check in VALIDATORS.values():
        for finding in check().check(exchanges, inputs, reply(caption), KIND):
            assert finding.reason in check.reasons


@given(st.text())
def test_words_are_the_same_for_plain_and_for_other_characters(text: str) -> None:
    assert words_of(text).all == words_of(text + " é").all[:-1]


@given(st.lists(st.text("abc ", min_size=1), max_size=5), st.text("abc ", max_size=40))
def test_a_lexicon_finds_what_a_plain_search_finds(phrases: list[str], text: str) -> None:
    padded = f" {' '.join(text.split())} "
    expected = [phrase for phrase in phrases if phrase.strip() and f" {' '.join(phrase.split())} " in padded]
    assert Lexicon(phrases).occurring(words_of(text)) == expected


def test_every_reason_has_words_and_one_owner() -> None:
    told = [reason for check in VALIDATORS.values() for reason in check.reasons]
    told += [*SameAnswers.reasons, *REASONS, "not_best", "no_exchange", REJECTED, OUTDATED, OPENING, QUESTION]
    assert len(told) == len(set(told))
    assert set(told) == GENERATED.keys()


def samples(*answers: str) -> list[Answered]:
    return [Answered(f"r{n}", f"image {n}", [Exchange("What?", answer)]) for n, answer in enumerate(answers)]


def compared(check: SameAnswers, answered: Iterable[Answered]) -> dict[str, list[Finding]]:
    comparison = Comparison(check)
    for sample in answered:
        comparison.add(sample)
    return comparison.findings()


def test_one_answer_for_many_images_is_found() -> None:
    found = compared(SameAnswers(), samples(LONG, LONG + "!", "A cat.", LONG.upper(), "A cat.", "A cat."))
    assert sorted(found) == ["r0", "r1", "r3"]
    assert found["r0"] == [Finding("same_answer_over_images", 0, "it is given for 3 different images", "drop")]
    assert compared(SameAnswers(images=4), samples(LONG, LONG, LONG)) == {}


def test_one_answer_for_one_image_is_fine() -> None:
    assert compared(SameAnswers(), [sample._replace(image="same") for sample in samples(LONG, LONG, LONG)]) == {}


def essay(n: int, words: int = 60) -> str:
    return " ".join(f"w{random.Random(n * 1000 + place).randrange(10**6)}" for place in range(words))


def test_nearly_the_same_answer_is_found_too() -> None:
    base = essay(1)
    near = [f"{base} and {end}" for end in ("here", "there", "now")]
    assert len(compared(SameAnswers(), samples(*near, essay(2), essay(3)))) == 3
    assert compared(SameAnswers(similarity=1), samples(*near)) == {}


def test_different_answers_are_not_alike() -> None:
    assert compared(SameAnswers(), samples(*(essay(n) for n in range(200)))) == {}


@given(st.permutations(range(8)), st.integers(0, 3))
def test_the_order_of_samples_does_not_matter(order: list[int], seed: int) -> None:
    some = samples(*(f"{essay(seed)} {essay(100 + n, n)}" for n in range(8)))
    assert compared(SameAnswers(), [some[n] for n in order]) == compared(SameAnswers(), some)


def test_llavas_published_answers_pass(shared_data: Path) -> None:
    folder = shared_data / "llava"
    kinds = {
        "conv": load_kind("llava.conversation", folder / "playground/data/prompts/conversation"),
        "detail": load_kind("llava.detail", folder / "playground/data/prompts/detail_description"),
        "complex": load_kind("llava.reasoning", folder / "playground/data/prompts/complex_reasoning"),
    }
    known = [json.loads(line) for line in (folder / "caps_boxes_coco2014_val_80.jsonl").read_text().splitlines()]
    inputs = {
        row["id"]: Inputs(
            row["id"], tuple(row["captions"]), tuple(Region(b["category"], *b["bbox"]) for b in row["instances"])
        )
        for row in known
    }
    published = folder / "playground/data/coco2014_val_gpt4_qa_30x3.jsonl"
    rows = [json.loads(line) for line in published.read_text().splitlines()]
    assert len(rows) == 90
    runs = []
    for row in rows:
        kind = kinds[row["type"]]
        exchanges = Exchanges([Exchange(row["instruction"], row["output"])])
        found = kind.check(exchanges, inputs[row["id"]], reply(row["output"]))
        # the published conversations were taken apart into single exchanges
        assert {finding.reason for finding in found} <= {"too_few_turns"}, (row["id"], found)
        runs.append(longest_shared_run(exchanges.words.all, [shot.answer for shot in kind.few_shots]))
    assert max(runs) == 8


@pytest.mark.parametrize("at_once", [1, 2, 1_000])
def test_how_many_answers_are_read_at_once_changes_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(across, "_AT_ONCE", at_once)
    near = LONG.replace("the", "a", 1)
    found = compared(SameAnswers(similarity=0.5), samples(LONG, near, "A cat.", LONG.upper(), "Other. " * 15))
    assert sorted(found) == ["r0", "r1", "r3"]
